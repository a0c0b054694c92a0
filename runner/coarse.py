"""A simulation of tasks that stand for several each, for what is too much to be simulated one by one.

So many are taken together that a limit still holds some forty of them: what is spent in a window, and when it comes
back, is then as with single tasks, within a fortieth. If there are too many all the same, the first of them are
simulated and the rest follows at the pace of their second half.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from runner.core.caps import Caps, Spending
from runner.core.catalog import Model
from runner.core.estimate import Size
from runner.core.latency import Speed
from runner.core.limits import Budget
from runner.core.ports import Ledger
from runner.core.schedule import Scheduler
from runner.core.values import Charge, Request, Usage
from runner.core.work import Ask, Task
from runner.planning import GOLDEN, Paces, Simulation

FINE, FINE_REQUESTS = 40, 4
"""How many tasks of the coarse copy a limit of tokens, and one of requests, holds at least."""
MOST = 2000
"""Tasks of it that are simulated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Like:
    """What a task is like at a model."""

    reserves: Charge
    input: int
    """Tokens that it really has."""
    outputs: Sequence[int]
    """What its answer may have, in order, each as likely as another: that they differ lets the last room be filled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Tasks that the same models may answer, and that are taken to be all alike."""

    models: tuple[str, ...]
    tasks: float
    of_model: Mapping[str, Like]


class Coarse:
    """Such a simulation, from a moment on."""

    def __init__(
        self,
        lefts: list[Left],
        *,
        ledger: Ledger,
        models: Mapping[str, Model],
        budgets: Mapping[str, Budget],
        speeds: Mapping[str, Speed],
        most_in_flight: int,
        window: float,
        now: float,
    ) -> None:
        self._like = {(left.models, model): like for left in lefts for model, like in left.of_model.items()}
        self._times = _at_once(lefts, budgets)
        wanted = sum(math.ceil(left.tasks / self._times) for left in lefts)
        self._part = min(1.0, MOST / max(1, wanted))
        """Of the tasks: those that are simulated."""
        self._sent: list[float] = []
        paces = Paces(speeds, None, None)
        scheduler = Scheduler(
            budgets=budgets,
            ledger=ledger,
            charge=lambda task, model: self._reserved(task.models, model),
            spending=Spending(Caps(), models.values(), now),
            rng=Random(1),
            window=window,
            most_in_flight=max(1, round(most_in_flight / self._times)),
        )
        self._simulation = Simulation(
            scheduler,
            self._tasks(lefts, scheduler),
            models,
            self._truth,
            lambda model, tokens: paces(model, round(tokens / self._times)),
            started=now,
        )

    def advance(self, decisions: int) -> float | None:
        """Go on for so many decisions; the moment at which all will have ended, once it is known."""
        return self._simulation.now + self._beyond() if self._simulation.advance(decisions) else None

    def _tasks(self, lefts: list[Left], scheduler: Scheduler) -> Iterator[Task]:
        """The tasks that are simulated, those of all groups spread evenly; `scheduler` is told what to expect."""
        placed: list[tuple[float, Task]] = []
        for left in lefts:
            count = math.ceil(left.tasks / self._times * self._part)
            if len(left.models) == 1:
                charge = self._reserved(left.models, left.models[0])
                scheduler.expect(left.models[0], Charge(count, count * charge.input, count * charge.output))
            caps = dict.fromkeys(left.models, 0)
            for row in range(count):
                task = Task(row=row, models=left.models, size=Size(0), caps=caps, request=Request())
                placed.append(((row + 0.5) / count, task))
        placed.sort(key=lambda one: one[0])
        return (task for _, task in placed)

    def _reserved(self, models: tuple[str, ...], model: str) -> Charge:
        charge, times = self._like[models, model].reserves, self._times
        return Charge(round(times), round(times * charge.input), round(times * charge.output))

    def _truth(self, ask: Ask) -> Usage:
        self._sent.append(ask.at)
        like = self._like[ask.task.models, ask.model]
        output = like.outputs[int(len(self._sent) * GOLDEN % 1 * len(like.outputs))]
        output = min(round(self._times * output), ask.lease.charge.output)
        return Usage(input=round(self._times * like.input), output=output)

    def _beyond(self) -> float:
        """Seconds for the tasks that were not simulated, by least squares over the second half of those that were."""
        late = self._sent[len(self._sent) // 2 :]
        if self._part == 1.0 or len(late) < 2:
            return 0.0
        middle, mean = (len(late) - 1) / 2, sum(late) / len(late)
        slope = sum((place - middle) * (at - mean) for place, at in enumerate(late))
        slope /= sum((place - middle) ** 2 for place in range(len(late)))
        return slope * len(self._sent) * (1 / self._part - 1)


def _at_once(lefts: list[Left], budgets: Mapping[str, Budget]) -> float:
    """How many tasks are taken together."""
    held = [
        limit.amount / (FINE_REQUESTS if limit.measure == "requests" else FINE) / max(1, limit.of(like.reserves))
        for left in lefts
        for model, like in left.of_model.items()
        for limit in budgets[model]
    ]
    return max(1.0, min([sum(left.tasks for left in lefts) / FINE, *held]))
