"""How long a model takes to answer: a first part, and a time for each output token; learned from its replies.

A line is fitted to seconds over tokens by least squares, every reply weighing a little less with each that comes after
it. Where all answers are equally long nothing tells the two parts apart: the slope then stays near what is assumed, and
their sum is right all the same. A reply that took many times as long as expected counts as a few times: one that hung
says little of the next. Waits before a request is sent are none of this; queues of ours and the way are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from runner.core.values import Usage

FIRST, PER_TOKEN = 1.0, 1 / 80
"""Seconds to the first token and for each token, where nothing is known."""
MEMORY = 500
"""Replies over which all is averaged."""
MOST_RECALLED = 50
"""Replies as which counts what an earlier run has learned, however many there were."""
ENOUGH = 10
"""Replies before which none counts as odd, and the spread is not told."""
ODD = 5.0
"""A reply that took more than this many times as long as expected counts as one that took so long."""
STIFFNESS = 10 * 30.0**2
"""How much the assumed slope weighs: as ten replies whose lengths lie thirty tokens apart."""
SHORTEST = 1e-4
"""Seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What is known of a model's time to answer."""

    first: float = FIRST
    """Seconds to the first token."""
    per_token: float = PER_TOKEN
    """Seconds for each output token."""
    spread: float = 0.0
    """The standard deviation of the logarithm of the time, about what these two give."""
    tokens: float = 0.0
    """The mean length of the answers that it was learned from, ..."""
    tokens_spread: float = 0.0
    """... and their standard deviation."""
    replies: int = 0

    def expected(self, tokens: float) -> float:
        """How many seconds an answer takes on average."""
        return self.first + self.per_token * tokens

    def seconds(self, tokens: float, rank: float) -> float:
        """How many seconds an answer takes that is slower than this share of its like."""
        # Tukey's approximation of the normal distribution's quantiles.
        deviation = self.spread * 4.91 * (rank**0.14 - (1 - rank) ** 0.14)
        return self.expected(tokens) * math.exp(deviation - self.spread**2 / 2)


class Latency:
    """One model's time to answer, as its replies come in."""

    __slots__ = ("_covariance", "_deviation", "_seconds", "_tokens", "_variance", "_weight", "learned", "replies")

    def __init__(self, known: Speed | None = None) -> None:
        known = known or Speed()
        self.replies = known.replies
        self.learned = 0
        """Of them, those that came since."""
        self._weight = float(min(known.replies, MOST_RECALLED))
        self._tokens = known.tokens
        self._seconds = known.first + known.per_token * known.tokens
        self._variance = known.tokens_spread**2
        self._covariance = known.per_token * self._variance
        self._deviation = known.spread * math.sqrt(2 / math.pi)
        """The mean distance of the logarithm of the time from what was expected."""

    def learn(self, tokens: int, seconds: float) -> None:
        """Take in a reply."""
        seconds = max(SHORTEST, seconds)
        first, per_token = self._line()
        expected = max(SHORTEST, first + per_token * tokens)
        if self.replies >= ENOUGH:
            seconds = min(seconds, ODD * expected)
        self._weight = min(self._weight + 1, MEMORY)
        share = 1 / self._weight
        longer, later = tokens - self._tokens, seconds - self._seconds
        self._tokens += share * longer
        self._seconds += share * later
        self._variance += share * ((1 - share) * longer * longer - self._variance)
        self._covariance += share * ((1 - share) * longer * later - self._covariance)
        if self.replies:
            self._deviation += share * (abs(math.log(seconds / expected)) - self._deviation)
        self.replies += 1
        self.learned += 1

    def _line(self) -> tuple[float, float]:
        """Seconds at no tokens, and for each; neither is negative."""
        if not self._weight:
            return FIRST, PER_TOKEN
        stiffness = STIFFNESS / self._weight
        slope = (self._covariance + stiffness * PER_TOKEN) / (self._variance + stiffness)
        slope = min(max(0.0, slope), self._seconds / self._tokens if self._tokens else PER_TOKEN)
        return max(0.0, self._seconds - slope * self._tokens), slope

    @property
    def speed(self) -> Speed:
        """What is known by now."""
        first, per_token = self._line()
        return Speed(
            first=first,
            per_token=per_token,
            spread=self._deviation * math.sqrt(math.pi / 2) if self.replies >= ENOUGH else 0.0,
            tokens=self._tokens,
            tokens_spread=math.sqrt(max(0.0, self._variance)),
            replies=self.replies,
        )

    def __repr__(self) -> str:
        first, per_token = self._line()
        return f"<Latency {first:.3f} s and {1000 * per_token:.2f} ms a token, {self.replies} replies>"


class Latencies:
    """The times to answer of all models."""

    def __init__(self, models: Iterable[str]) -> None:
        self._of_model = {model: Latency() for model in models}

    def learn(self, model: str, usage: Usage, seconds: float) -> None:
        """Take in a reply that took so many seconds."""
        if usage.reported:
            self._of_model[model].learn(usage.output, seconds)

    def recall(self, speeds: Mapping[str, Speed]) -> None:
        """Begin with what an earlier run has learned."""
        self._of_model.update((name, Latency(speeds[name])) for name in self._of_model if name in speeds)

    def remember(self) -> dict[str, Speed]:
        """What the next run may begin with: of models that have answered since the start."""
        return {name: latency.speed for name, latency in self._of_model.items() if latency.learned}

    def speeds(self) -> dict[str, Speed]:
        """What is known, of every model of which something is."""
        return {name: latency.speed for name, latency in self._of_model.items() if latency.replies}
