"""A simulation of tasks that stand for several each, for what is too much to be simulated one by one.

So many are taken together that a limit still holds some forty of them: what is spent in a window, and when it comes
back, is then as with single tasks, within a fortieth. A task that takes a larger part of a limit stands for itself. If
there are too many all the same, an even choice of them is simulated, and the rest follows in whole windows like theirs.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from runner.core.caps import Caps, Spending
from runner.core.catalog import Model
from runner.core.estimate import Size
from runner.core.forecast import Bound, least_time
from runner.core.limits import Budget
from runner.core.ports import Ledger
from runner.core.schedule import Scheduler
from runner.core.values import NOTHING, Charge, Request, Usage
from runner.core.work import Ask, Task
from runner.planning import GOLDEN, Simulation

FINE, FINE_REQUESTS = 40, 4
"""How many tasks of the coarse copy a limit of tokens, and one of requests, holds at least."""
LEFT_OVER = 0.02
"""Of a limit of requests: what tasks that are taken together may not fit into."""
MOST = 2000
"""Tasks of it that are simulated, if nobody says how many."""
STEADY = 0.1, 0.9
"""From where to where their pace counts for the rest: they begin and end differently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Like:
    """What a task is like at a model."""

    reserves: Charge
    input: int
    """Tokens that it really has."""
    outputs: Sequence[int]
    """What its answer may have, in order, each as likely as another: that they differ lets the last room be filled."""
    output: float
    """Their mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Tasks that the same models may answer, and that are taken to be all alike."""

    models: tuple[str, ...]
    tasks: float
    of_model: Mapping[str, Like]

    def usage(self, tasks: float = 1.0) -> Charge:
        """What so many of them take, on average over their models."""
        likes = self.of_model.values()
        read = sum(like.input for like in likes) / len(likes)
        written = sum(like.output for like in likes) / len(likes)
        return Charge(round(tasks), round(tasks * read), round(tasks * written))


@dataclass(frozen=True, slots=True)
class Sent:
    """What was simulated: tasks taken together."""

    at: float
    left: int
    """Its index."""
    model: str
    output: int
    """Of each of the tasks."""


class Coarse:
    """Such a simulation, from a moment on."""

    def __init__(
        self,
        lefts: Sequence[Left],
        *,
        ledger: Ledger,
        models: Mapping[str, Model],
        budgets: Mapping[str, Budget],
        seconds: Callable[[str, float], float],
        most_in_flight: int,
        window: float,
        now: float,
        fine: int = FINE,
        most: int = MOST,
    ) -> None:
        """`seconds` says how long a model has an answer of so many tokens under way.

        A limit of tokens holds `fine` tasks of the copy at least, of which at most `most` are simulated.
        """
        self._lefts = lefts
        self._window = window
        self._started = now
        self._times = _taken_together(lefts, budgets, fine, most_in_flight / FINE)
        """How many tasks are taken together, by left."""
        parts = [left.tasks / times for left, times in zip(lefts, self._times, strict=True)]
        self._chosen = _evenly(parts, most)
        """The left that each of the simulated tasks stands for, in the order in which they come."""
        together = sum(self._times[left] for left in self._chosen) / max(1, len(self._chosen))
        limit = _bound(lefts, budgets).limit
        self._work = [1 if limit is None else max(1, limit.of(left.usage())) for left in lefts]
        """Of a task, by left: what it takes of the limit that binds."""
        self.sent: list[Sent] = []
        scheduler = Scheduler(
            budgets=budgets,
            ledger=ledger,
            charge=lambda task, model: self._reserved(self._chosen[task.row], model),
            spending=Spending(Caps(), models.values(), now),
            rng=Random(1),
            window=window,
            most_in_flight=max(1, round(most_in_flight / max(1.0, together))),
        )
        self._expect(scheduler)
        self.simulation = Simulation(
            scheduler,
            self._coarse(),
            models,
            self._truth,
            lambda model, _tokens: seconds(model, self.sent[-1].output),  # each of them takes as long as one
            started=now,
        )

    def advance(self, decisions: int) -> float | None:
        """Go on for so many decisions; the moment at which all will have ended, once it is known."""
        return self._finish() if self.simulation.advance(decisions) else None

    def shares(self) -> dict[tuple[str, ...], dict[str, float]]:
        """The share of the tasks of each group of models that went to each of them."""
        went = {left.models: dict.fromkeys(left.models, 1e-9) for left in self._lefts}
        for one in self.sent:
            went[self._lefts[one.left].models][one.model] += self._times[one.left]
        return {
            models: {model: tasks / sum(of_model.values()) for model, tasks in of_model.items()}
            for models, of_model in went.items()
        }

    def _expect(self, scheduler: Scheduler) -> None:
        for left, count in Counter(self._chosen).items():
            models = self._lefts[left].models
            if len(models) == 1:
                charge = self._reserved(left, models[0])
                scheduler.expect(models[0], Charge(count, count * charge.input, count * charge.output))

    def _coarse(self) -> Iterator[Task]:
        for row, left in enumerate(self._chosen):
            models = self._lefts[left].models
            charges = {model: self._reserved(left, model) for model in models}
            caps = {model: charge.output for model, charge in charges.items()}
            size = Size(max(charge.input for charge in charges.values()))
            yield Task(row=row, models=models, size=size, caps=caps, request=Request())

    def _reserved(self, left: int, model: str) -> Charge:
        charge, times = self._lefts[left].of_model[model].reserves, self._times[left]
        return Charge(round(times), round(times * charge.input), round(times * charge.output))

    def _truth(self, ask: Ask) -> Usage:
        left = self._chosen[ask.task.row]
        like, times = self._lefts[left].of_model[ask.model], self._times[left]
        output = like.outputs[int((len(self.sent) + 1) * GOLDEN % 1 * len(like.outputs))]
        output = min(output, like.reserves.output)
        self.sent.append(Sent(ask.at, left, ask.model, output))
        return Usage(input=round(times * like.input), output=round(times * output))

    def _finish(self) -> float:
        """When the last of all tasks will have ended.

        The tasks of each group of models have a pace of their own: those that wait for another limit may end early.
        """
        if not self.sent:
            return self.simulation.now
        ends = [self._last_sent(models) for models in {self._lefts[sent.left].models for sent in self.sent}]
        return max(ends) + self.simulation.now - self.sent[-1].at

    def _last_sent(self, models: tuple[str, ...]) -> float:
        """When the last task of a group of models will be sent."""
        sent = [one for one in self.sent if self._lefts[one.left].models == models]
        work = list(accumulate(self._work[one.left] * self._times[one.left] for one in sent))
        whole = sum(self._work[left] * one.tasks for left, one in enumerate(self._lefts) if one.models == models)
        first, last = (int(part * len(sent)) for part in STEADY)
        pace = _slope(work[first:last], [one.at for one in sent[first:last]])
        if whole - work[-1] < work[-1] / len(work) or not pace:
            return sent[-1].at + max(0.0, whole / work[-1] - 1) * (sent[-1].at - self._started)
        # What is sent in a window comes in waves: so many windows later another wave is as far as this one was.
        in_window = self._window / pace
        windows = math.ceil((whole - work[last - 1]) / in_window)
        place = max(0, min(bisect_left(work, whole - windows * in_window), len(sent) - 1))
        return sent[place].at + windows * self._window


def _slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Of a line by least squares; 0 where there is none."""
    middle, mean = sum(xs) / max(1, len(xs)), sum(ys) / max(1, len(ys))
    square = sum((x - middle) ** 2 for x in xs)
    return sum((x - middle) * (y - mean) for x, y in zip(xs, ys, strict=True)) / square if square else 0.0


def _bound(lefts: Sequence[Left], budgets: Mapping[str, Budget]) -> Bound:
    """The least time for all of the tasks."""
    pinned: dict[str, Charge] = {}
    pooled = NOTHING
    for left in lefts:
        charge = left.usage(left.tasks)
        if len(left.models) == 1:
            pinned[left.models[0]] = pinned.get(left.models[0], NOTHING) + charge
        else:
            pooled += charge
    return least_time(pinned, pooled, budgets)


def _taken_together(lefts: Sequence[Left], budgets: Mapping[str, Budget], fine: int, most: float) -> list[float]:
    """How many tasks of each left are taken together: as many as of the mean ones, but for large ones."""
    tasks = sum(left.tasks for left in lefts)
    held = [_held(left, budgets, fine) for left in lefts]
    mean = tasks / max(1e-9, sum(left.tasks / fit for left, fit in zip(lefts, held, strict=True)))
    usual = min(mean, tasks / fine, most)
    # Their lengths differ as those of single tasks do, so that what one model has no room for another may have.
    together = (usual if 2 * fit >= usual else fit for fit in held)
    return [float(max(1, math.floor(times))) for times in together]  # of requests there are only whole ones


def _held(left: Left, budgets: Mapping[str, Budget], fine: int) -> float:
    """How many of such tasks may be taken together."""
    held = [
        _requests(limit.amount)
        if limit.measure == "requests"
        else limit.amount / fine / max(1, limit.of(like.reserves))
        for model, like in left.of_model.items()
        for limit in budgets[model]
    ]
    return min(held, default=math.inf)


def _requests(amount: int) -> float:
    """How many requests may be taken together of so many: such that hardly any of them is left over."""
    most = max(1, amount // FINE_REQUESTS)
    return next(times for times in range(most, 0, -1) if amount % times <= LEFT_OVER * amount)


def _evenly(parts: Sequence[float], most: int) -> list[int]:
    """Indexes, each as often as its number of parts or, if those are too many, in proportion; in any order."""
    whole = sum(parts)
    number = min(math.ceil(whole), most)
    chosen: list[int] = []
    for index, passed in enumerate(accumulate(parts)):
        chosen += [index] * (round(passed / whole * number) - len(chosen))
    Random(1).shuffle(chosen)
    return chosen
