"""How long answers are, and the output cap that lets a job finish soonest.

The gateway reserves what a request allows itself (`max_tokens`) until the answer is complete, and counts what was
written from then on. A generous cap keeps others out; a tight one cuts answers short, which have to be asked for again
with more room. For an allowance over a window W, a request that takes d seconds and writes o of at most m tokens holds

    d m + (W - d) min(o, m)      and, where o > m, as much again for the larger cap

of it, in token-seconds. The cap that makes this least over the answers seen so far is sent, with a margin that shrinks
as more of them are seen. (`docs/scheduling.md` has the derivation.)
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from runner.core.values import Usage

FIRST_CAP = 1024
"""Output tokens to allow before anything is known: an answer that is longer is asked for again."""
MEMORY = 1000
"""Answers of a model that are remembered."""
ENOUGH = 5
"""Answers before which nothing is concluded."""
MOST_CUT = 0.02
"""Of the answers: more than this are not cut short for the sake of speed; each is paid for twice."""
CAUTION = 2.0
"""The margin above the chosen length is this over the square root of the number of answers, as a fraction, ..."""
LEAST_MARGIN = 0.05
"""... but at least this."""
SAMPLE = 200
"""Lengths of a model that are remembered for the next run."""
SLACK_TOKENS = 8
"""Added to every cap that is chosen."""


class Answers:
    """The lengths of one model's last answers, and the cap that follows from them."""

    __slots__ = ("_cap", "_due", "_order", "_seconds", "_sorted", "_timed", "count", "window")

    def __init__(self, window: float) -> None:
        self.window = window
        self.count = 0
        self._order: deque[int] = deque()
        self._sorted: list[int] = []
        self._timed = 0
        self._seconds = window / 10
        """Of an answer, averaged; a guess until there is one."""
        self._cap = FIRST_CAP
        self._due = ENOUGH

    def learn(self, tokens: int, seconds: float | None = None) -> None:
        """Take in an answer's length, and how long it took; of one that was cut short, that is what it had room for."""
        self.count += 1
        if seconds is not None:
            self._timed = min(self._timed + 1, MEMORY)
            self._seconds += (seconds - self._seconds) / self._timed
        self._order.append(tokens)
        bisect.insort(self._sorted, tokens)
        if len(self._order) > MEMORY:
            del self._sorted[bisect.bisect_left(self._sorted, self._order.popleft())]
        if self.count >= self._due:
            self._cap = self._best()
            self._due = self.count + max(1, min(self.count, MEMORY) // 10)

    @property
    def cap(self) -> int:
        """The output tokens to allow."""
        return self._cap

    @property
    def longest(self) -> int:
        """The longest answer that is remembered."""
        return self._sorted[-1] if self._sorted else 0

    def advice(self) -> tuple[int, float]:
        """The cap that would be chosen now, and the token-seconds that an answer holds with it."""
        best = self._best() if self.count >= ENOUGH else self._cap
        return best, self.held(best)

    def sample(self, most: int) -> tuple[int, ...]:
        """Lengths for another run to begin with, evenly spaced in rank."""
        count = len(self._sorted)
        step = max(1.0, count / most)
        return tuple(self._sorted[int(index * step)] for index in range(min(most, count)))

    def mean(self) -> float:
        """Of the lengths that are remembered."""
        return sum(self._sorted) / len(self._sorted) if self._sorted else 0.0

    def held(self, cap: int) -> float:
        """Token-seconds of an allowance that an answer holds with this cap, on average."""
        lengths, count = self._sorted, len(self._sorted)
        if not count:
            return cap * self.window
        within = bisect.bisect_right(lengths, cap)
        took = min(self._seconds, self.window)
        written = sum(lengths[:within]) + cap * (count - within)
        again = sum(lengths[within:])
        larger = max(cap, lengths[-1])
        first = took * cap * count + (self.window - took) * written
        return (first + took * larger * (count - within) + (self.window - took) * again) / count

    def _best(self) -> int:
        """Among the lengths seen: at most `MOST_CUT` of the answers are longer."""
        lengths, count = self._sorted, len(self._sorted)
        first = min(count - 1, int(count * (1 - MOST_CUT)))
        best = min(sorted(set(lengths[first:])), key=self.held)
        return int(best * (1 + max(LEAST_MARGIN, CAUTION / self.count**0.5))) + SLACK_TOKENS


@dataclass(frozen=True, slots=True)
class Advice:
    """What a model's answers say of caps."""

    cap: int
    """The one that would be chosen."""
    mean: float
    """Output tokens of an answer."""
    held: float
    """Token-seconds of an allowance that an answer holds with it."""
    holding: Callable[[int], float]
    """The same with another cap."""

    def times(self, cap: float) -> float:
        """How many times as much of an allowance an answer holds with this cap."""
        return self.holding(round(cap)) / self.held if self.held else 1.0


class Lengths:
    """The answers of all models of a job."""

    def __init__(self, models: Iterable[str], window: float) -> None:
        self.of_model: Mapping[str, Answers] = {model: Answers(window) for model in models}
        self.most: dict[str, int] = {}
        """The largest cap that a model takes, where the gateway has said so."""

    def cap(self, model: str, ceiling: int, least: int = 0) -> int:
        """The output tokens to allow an answer, not above `ceiling` nor, where that allows it, below `least`."""
        return min(max(self.of_model[model].cap, least), self.within(model, ceiling))

    def within(self, model: str, ceiling: int) -> int:
        """A cap as the gateway takes it."""
        most = self.most.get(model)
        return ceiling if most is None or ceiling < most else most

    def larger(self, model: str, cap: int) -> int:
        """What to allow an answer that was cut short at `cap`."""
        return max(2 * cap, self.of_model[model].longest)

    def learn(self, model: str, usage: Usage, seconds: float) -> None:
        """Take in an answer that took so many seconds."""
        if usage.reported:
            self.of_model[model].learn(usage.output, seconds)

    def recall(self, samples: Mapping[str, Iterable[int]], most: Mapping[str, int]) -> None:
        """Begin with what an earlier run of the same job has seen, and with the caps that were refused to any."""
        for model, answers in self.of_model.items():
            for tokens in samples.get(model, ()):
                answers.learn(tokens)
        self.most.update((model, cap) for model, cap in most.items() if model in self.of_model)

    def remember(self) -> dict[str, tuple[int, ...]]:
        """A sample of each model's answers, for another run."""
        return {model: answers.sample(SAMPLE) for model, answers in self.of_model.items() if answers.count}

    def advice(self) -> dict[str, Advice]:
        """For each model that has answered, what its answers say of caps."""
        found = {}
        for model, answers in self.of_model.items():
            if answers.count:
                cap, held = answers.advice()
                found[model] = Advice(cap, answers.mean(), held, answers.held)
        return found

    def refused(self, model: str, cap: int) -> None:
        """The gateway said that a model takes no larger cap than this."""
        self.most[model] = min(cap, self.most.get(model, cap))
