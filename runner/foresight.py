"""How long a run that goes will still take: the plan's own simulation, of a coarse copy of what is left (`coarse`).

The same scheduler runs in virtual time from the present moment on, with a ledger of its own that knows what the run's
ledger knows and has spent what the run has spent. What is under way counts as not sent yet. It is done in short slices
beside the run, and again after a while: a fiftieth of the time goes into it at most. Only a view of a run asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from runner.coarse import Coarse, Left, Like
from runner.core.catalog import Model
from runner.core.charges import Charges
from runner.core.estimate import Size
from runner.core.events import Event, What
from runner.core.knowledge import Facts
from runner.core.lag import guard
from runner.core.lengths import MEMORY
from runner.core.limits import Budget, Limit
from runner.core.retry import Action
from runner.core.survey import Survey
from runner.core.values import NOTHING, Charge, Reply
from runner.core.work import Ask, Finished
from runner.ledgers.memory import MemoryLedger
from runner.planning import ASSUMED, Paces

SLICE = 0.004
"""Seconds of our own work at once."""
BETWEEN = 0.02
"""Seconds from one such slice to the next."""
PART = 50
"""A simulation is followed by a pause of so many times its own work at least."""
AGAIN = 1 / 4
"""The pause is this part of a window, ..."""
OF_THE_REST = 1 / 50
"""... or this part of the time that is left, whichever is longer; but no longer than the run has gone."""
SLOTS = 120
"""Of a window: how finely it is known when something was spent."""
FORGETS = 1 / 100
"""How much a request weighs in the averages over the last ones."""
SAMPLE = Size(10_000)
OF_OTHERS = 50
"""Answers of each model, for those that have none."""


@dataclass(slots=True)
class _Seen:
    """What requests of some tasks to some model were like, on average over the last ones."""

    guess_of_text: float
    """Uncorrected tokens of input for each token of text: images count here."""
    cap: float
    free: bool
    """Whether answers that are cut short are asked for again."""

    def add(self, guess_of_text: float, cap: float) -> None:
        self.guess_of_text += FORGETS * (guess_of_text - self.guess_of_text)
        self.cap += FORGETS * (cap - self.cap)


@dataclass(slots=True)
class _Group:
    """Tasks that the same models may answer."""

    sent: int = 0
    ended: int = 0
    """In this session."""
    text: int = 0
    """Tokens of text in those."""


class Foresight:
    """Watches a run, and says how long it will still take. All times are seconds of the run's clock."""

    def __init__(
        self,
        *,
        survey: Callable[[], Survey],
        ended: Mapping[str, int],
        models: Mapping[str, Model],
        budgets: Mapping[str, Budget],
        charges: Charges,
        ledger: MemoryLedger,
        most_in_flight: int,
        window: float,
    ) -> None:
        """`survey` gives the look at the input as far as it is, `ended` the tasks that ended in earlier sessions.

        `charges` and `ledger` are the run's own: they are read and never changed.
        """
        self._survey = survey
        self._ended_before = ended
        self._models = models
        self._budgets = budgets
        self._charges = charges
        self._ledger = ledger
        self._most_in_flight = most_in_flight
        self._window = window
        self._seen: dict[tuple[tuple[str, ...], str], _Seen] = {}
        self._groups: dict[tuple[str, ...], _Group] = {}
        self._spent: dict[int, dict[str, list[int]]] = {}
        """By slot of time and model, tokens of input and of output."""
        self._held: dict[str, Charge] = dict.fromkeys(budgets, NOTHING)
        """By model, what is under way."""
        self._gone: set[str] = set()
        """Models that are lost, or out of quota: what is left goes to others, or waits for another session."""
        self._recalled: tuple[dict[str, Facts], float] | None = None
        """What the ledger knew of spending before the first request, and when that was."""
        self._coarse: Coarse | None = None
        self._worked = 0.0
        self._due = -math.inf
        self._finish: float | None = None

    def watch(self, event: Event) -> None:
        """Take in what happened."""
        ask = event.ask
        if event.what is What.SENT and ask is not None:
            self._sent(ask)
        elif event.what is What.LANDED and ask is not None:
            self._held[ask.model] -= ask.lease.charge
            if event.landing is not None and event.landing.action in (Action.MOVE, Action.PEND):
                self._gone.add(ask.model)
            if isinstance(event.result, Reply):
                slot = self._spent.setdefault(int(ask.at / self._window * SLOTS), {})
                tokens = slot.setdefault(ask.model, [0, 0])
                tokens[0] += event.result.usage.input
                tokens[1] += event.result.usage.output
        elif event.what is What.FINISHED and event.finished is not None:
            self._ended(event.finished)

    def _sent(self, ask: Ask) -> None:
        task, charge = ask.task, ask.lease.charge
        if self._recalled is None:
            self._recalled = self._ledger.remember(ask.at, ask.at), ask.at
        self._held[ask.model] += charge
        guess = self._charges.estimator.guess(task.size, ask.model) / max(1, task.size.text)
        seen = self._seen.get((task.models, ask.model))
        if seen is None:
            self._seen[task.models, ask.model] = _Seen(guess, charge.output, task.free)
        else:
            seen.add(guess, charge.output)
        self._groups.setdefault(task.models, _Group()).sent += ask.number == 1

    def _ended(self, finished: Finished) -> None:
        group = self._groups.setdefault(finished.task.models, _Group())
        group.ended += 1
        group.text += finished.task.size.text

    def left(self, now: float) -> float | None:
        """Seconds to go; None while that cannot be said, or when the foreseen end has passed and the run goes on."""
        return None if self._finish is None or self._finish <= now else self._finish - now

    def work(self, clock: Callable[[], float]) -> float:
        """Do a slice of work, if any is due; the seconds after which to be called again."""
        began = clock()
        if self._coarse is None:
            if began < self._due:
                return min(1.0, self._due - began)
            self._worked = 0.0
            if not self.begin(began):
                self._due = began + BETWEEN
                return BETWEEN
        done = False
        while not done and clock() < began + SLICE:
            done = self.advance(8)
        self._worked += clock() - began
        if done:
            pause = max(AGAIN * self._window, OF_THE_REST * (self.left(began) or 0.0))
            gone = began - self._recalled[1] if self._recalled is not None else 0.0
            self._due = began + max(PART * self._worked, min(pause, gone))
        return BETWEEN

    def begin(self, now: float) -> bool:
        """Start a simulation from this moment on; whether there is anything to go by yet.

        Caps alone are nothing to go by: answers may be a hundredth of them.
        """
        survey = self._survey()
        if not survey.complete or not self._seen or not self._has_answers():
            return False
        self._coarse = Coarse(
            [left for left in self._what_is_left(survey) if left.tasks > 0 and left.models],
            ledger=self._fresh_ledger(now),
            models=self._models,
            budgets=self._budgets,
            seconds=Paces(self._charges.latencies.speeds(), None, None),
            most_in_flight=self._most_in_flight,
            window=self._window,
            now=now,
        )
        return True

    def advance(self, decisions: int) -> bool:
        """Go on with it for so many decisions; whether it has come to its end."""
        if self._coarse is not None:
            finish = self._coarse.advance(decisions)
            if finish is None:
                return False
            self._finish, self._coarse = finish, None
        return True

    def _has_answers(self) -> bool:
        """Whether any was seen, in this session or before it; some gateways do not say how long they are."""
        return any(group.ended for group in self._groups.values()) or any(
            answers.count for answers in self._charges.lengths.of_model.values()
        )

    def _what_is_left(self, survey: Survey) -> Iterator[Left]:
        before = dict(self._ended_before)
        for model, work in survey.pinned.items():
            if model not in self._budgets:
                continue  # a look beside the run may find what the run will refuse
            earlier = min(before.get(model, 0), work.requests)
            before[model] = before.get(model, 0) - earlier
            yield self._left((model,), work, survey.tokens_of_text, earlier, 1.0)
        pools = [models for models in self._groups if len(models) > 1] or [tuple(self._budgets)]
        sent = {models: self._groups[models].sent if models in self._groups else 1 for models in pools}
        for models in pools if survey.pooled.requests else ():
            share = sent[models] / max(1, sum(sent.values()))
            yield self._left(models, survey.pooled, survey.tokens_of_text, sum(before.values()), share)

    def _left(self, models: tuple[str, ...], work: Charge, tokens: float, earlier: int, share: float) -> Left:
        """What is left of a group that is this share of some work, `earlier` tasks of which ended in other sessions.

        The work has so many `tokens` for each that is stated.
        """
        group = self._groups.get(models, _Group())
        tasks = (work.requests - earlier) * share
        text = tokens * work.input / max(1, work.requests)
        left = max(0.0, tasks - group.ended)
        text = max(1.0, (text * tasks - group.text) / left) if left >= 1 else text
        there = tuple(model for model in models if model not in self._gone)
        of_model = {model: self._of_model(models, model, text, work.output / max(1, work.requests)) for model in there}
        return Left(models=there, tasks=left, of_model=of_model)

    def _of_model(self, models: tuple[str, ...], model: str, text: float, cap: float) -> Like:
        """What a task of so many tokens of text is like at a model; `cap` is taken where nothing was sent yet."""
        estimator, answers = self._charges.estimator, self._charges.lengths.of_model[model]
        guessed = estimator.guess(SAMPLE, model)
        seen = self._seen.get((models, model), _Seen(guessed / SAMPLE.text, cap, free=False))
        guess = text * seen.guess_of_text / guessed
        assumed = min(ASSUMED, round(seen.cap)) if seen.free else round(seen.cap)
        outputs = answers.sample(MEMORY) or self._of_others() or (assumed,)
        return Like(
            reserves=Charge(1, round(guess * estimator.input_tokens(SAMPLE, model)), round(seen.cap)),
            input=round(guess * estimator.expected(SAMPLE, model)),
            outputs=outputs,
            output=sum(outputs) / len(outputs),
        )

    def _of_others(self) -> tuple[int, ...]:
        """The lengths of all models' answers: what to expect of one that has not answered yet."""
        lengths = self._charges.lengths.of_model.values()
        return tuple(sorted(tokens for answers in lengths for tokens in answers.sample(OF_OTHERS)))

    def _fresh_ledger(self, now: float) -> MemoryLedger:
        """A ledger that knows what the run's knows, and in which what is under way was not sent."""
        ledger = MemoryLedger(self._budgets, guard, learns=True, probes=False)
        if self._recalled is not None:
            facts, at = self._recalled
            ledger.recall(facts, at, at)
        oldest = int((now - self._window) / self._window * SLOTS) - 1
        self._spent = {slot: spent for slot, spent in self._spent.items() if slot >= oldest}
        for slot in sorted(self._spent):
            for model, (read, written) in self._spent[slot].items():
                ledger.restore(model, Charge(0, read, written), min(now, (slot + 0.5) / SLOTS * self._window))
        for mine, theirs in zip(ledger.windows, self._ledger.windows, strict=True):
            mine.share = theirs.share
            told = theirs.tell(now)
            if told is not None:
                if "level" in told:
                    told["level"] = float(told["level"]) + self._under_way(theirs.limit)
                mine.hear(told, now)
        return ledger

    def _under_way(self, limit: Limit) -> int:
        """What of a limit is under way."""
        held = (held for model, held in self._held.items() if limit in self._budgets[model])
        return sum(limit.of(charge) for charge in held)
