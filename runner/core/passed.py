"""Large tasks that smaller ones have passed: what is kept free until they fit.

What fits goes before what does not, but not for ever. A task whose turn was half a window ago has a limit kept free for
it, from which nothing younger is taken until it fits; for one that takes most of a limit that is so at its turn, or it
would wait longer than a window. Where its model has no room, that is the model's own limits: of a pool's models one at
a time, so that the others can work. Where only a limit that models share has none, it is that one: its room comes in
crumbs while it is spent, and the smallest tasks would take each of them.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from runner.core.blocked import Block
from runner.core.limits import Limit
from runner.core.queues import Queue
from runner.core.standing import Standing
from runner.core.values import Charge
from runner.core.work import Task

PATIENCE = 1 / 2
"""Of a window: how long a task may be passed."""
LARGE = 1 - PATIENCE
"""Of a limit: what takes more is not passed for so long, since so much of a window is needed until it is there."""
LOOK_AGAIN = 1 / 60
"""Of a window: for how long a shared limit is kept, unless the task is looked at again: its model may be gone."""
GRAIN = 1 / 240
"""Of a window: how exactly the moment of passing is known, and how much longer than its model others wait."""


class Progress:
    """A number that grows, and what it was some time ago."""

    __slots__ = ("_before", "_grain", "_lag", "_steps", "highest")

    def __init__(self, lag: float, grain: float) -> None:
        """How many seconds ago, and how exactly."""
        self.highest = 0
        self._lag = lag
        self._grain = grain
        self._before = 0
        self._steps: deque[tuple[float, int]] = deque()

    def reach(self, number: int, now: float) -> None:
        """It is that much by now, if it was not more."""
        if number <= self.highest:
            return
        self.highest = number
        steps = self._steps
        if steps and now < steps[-1][0] + self._grain:
            steps[-1] = (steps[-1][0], number)
        else:
            self.before(now)  # let go of what is too old to be asked for
            steps.append((now, number))

    def before(self, now: float) -> int:
        """What it was then."""
        steps = self._steps
        while steps and steps[0][0] <= now - self._lag:
            self._before = steps.popleft()[1]
        return self._before


@dataclass(slots=True)
class Keep:
    """A shared limit that is kept."""

    task: Task
    """What for."""
    keeper: str
    """The model that is to take it."""
    models: tuple[str, ...]
    """Those that share the limit."""
    until: float
    """How long the others wait, unless the keeper looks at it again."""


class Kept:
    """What is kept free: models for one of their pool's tasks, shared limits for a task of any model."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self._patience = standing.window * PATIENCE
        self._pause = standing.window * LOOK_AGAIN
        self._grain = standing.window * GRAIN
        self._turn = Progress(self._patience, self._grain)
        """How many tasks were sent, under one sequence or another: those up to that sequence have had their turn."""
        self._sent_to = {model: Progress(self._patience, self._grain) for model in standing.budgets}
        """The sequence of the youngest task that was sent to a model."""
        self._sharing = {
            model
            for model in standing.budgets
            if any(len(standing.blocked.models(each)) > 1 for each in standing.budgets[model])
        }
        self._models: dict[str, Task] = {}
        """Models that are kept free, and for what."""
        self._limits: dict[Limit, Keep] = {}

    def is_due(self, model: str, now: float) -> bool:
        """Whether a model is to be looked at though nothing has room: something is kept for it, or may have to be.

        While a shared limit is kept, no other has to be.
        """
        if model in self._models or any(model == keep.keeper for keep in self._limits.values()):
            return True
        passed = self._turn.before(now)
        return not self._limits and any(queue.has(passed) for queue in self._standing.backlog.queues(model))

    def _large(self, queue: Queue, model: str, before: float, now: float) -> dict[tuple[int, int], Task]:
        """The lines and heads that take most of one of a model's limits; of those before a sequence, at their turn."""
        before = min(before, self._turn.highest + 1)
        found: dict[tuple[int, int], Task] = {}
        if not queue.has(before - 1):
            return found
        limits = self._standing.budgets[model]
        for heads in (queue.widest(), queue.longest()):
            for key, task in heads:
                charge = queue.lines[key].charge(model, self._standing.charge, now)
                if not any(_is_most(charge, limit) for limit in limits):
                    break  # what is smaller does not either
                if task.sequence < before:
                    found[key] = task
        return found

    def expire(self, now: float) -> None:
        """Let go of limits whose task was not looked at again."""
        for limit in [limit for limit, keep in self._limits.items() if keep.until <= now]:
            del self._limits[limit]

    def newest(self, model: str) -> float:
        """The sequence of the youngest task that a model may take."""
        task = self._models.get(model)
        newest = math.inf if task is None else task.sequence
        for keep in self._limits.values():
            if model in keep.models:
                newest = min(newest, keep.task.sequence - (model != keep.keeper))
        return newest

    def block(self, model: str, now: float) -> Block:
        """What a model waits for, apart from its tasks: until its oldest one was passed for long, and for what is kept.

        First comes the model for whose task it is kept: nobody else is to take what has come back meanwhile.
        """
        block = Block(now + self._patience if model in self._sharing else math.inf)
        for limit, keep in self._limits.items():
            opens = keep.until - self._grain if keep.keeper == model else keep.until
            if opens > now and model in keep.models:
                block.until = min(block.until, opens)
                block.limits.add(limit)
        return block

    def look(self, model: str, queue: Queue, before: float, now: float) -> float:
        """Look at what was passed of a queue: of the tasks before this sequence, none has room at this model.

        Answers the sequence of the youngest task that the model may take from now on.
        """
        sent_to = self._sent_to[model]
        passed, by_own = self._turn.before(now), sent_to.before(now)
        hopeless: list[tuple[int, int]] = []
        """Lines for which the model has no room of its own, and is not to be kept free: nor for larger ones."""
        old, large = queue.heads(min(before, passed + 1)), self._large(queue, model, before, now)
        for key, task in (*old, *((key, task) for key, task in large.items() if task.sequence > passed)):
            if key not in large and any(key[0] >= width and key[1] >= length for width, length in hopeless):
                continue
            charge = queue.lines[key].charge(model, self._standing.charge, now)
            refusal = None
            if not self._is_kept_elsewhere(task, model, now):
                refusal = self._standing.ledger.refusal(model, charge, now)
            if refusal is None or refusal.resets:
                continue
            is_large = _is_most(charge, refusal.limit) and not refusal.any_size
            if task.sequence > passed and not is_large:
                continue
            models = self._standing.blocked.models(refusal.limit)
            if len(models) > 1:
                until = min(refusal.until, now + self._pause) + self._grain
                self._limits[refusal.limit] = Keep(task, model, models, until)
                return task.sequence
            is_passed = task.sequence < (sent_to.highest if is_large else by_own)
            if is_passed and not self._has_another(model, queue, now):
                self._models[model] = task
                return task.sequence
            hopeless.append(key)
        return math.inf

    def sent(self, task: Task, model: str, now: float) -> None:
        """A task is sent: nothing is kept for it any more."""
        if task.sequence != task.sent_as:
            task.sent_as = task.sequence
            self._turn.reach(self._standing.backlog.turn(self._turn.highest + 1), now)
            self._sent_to[model].reach(task.sequence, now)
        blocked = self._standing.blocked
        if self._models and task in self._models.values():
            free = [model for model, kept in self._models.items() if kept is task]
            for model in free:
                del self._models[model]
            blocked.lift(free)
        for limit, keep in [(limit, keep) for limit, keep in self._limits.items() if keep.task is task]:
            del self._limits[limit]
            blocked.lift(keep.models)

    def _is_kept_elsewhere(self, task: Task, model: str, now: float) -> bool:
        """Whether another model is kept free for a task."""
        return any(task is kept and other != model and self._works(other, now) for other, kept in self._models.items())

    def _has_another(self, model: str, queue: Queue, now: float) -> bool:
        """Whether another model is kept free for a task of this pool."""
        return any(
            kept.models == queue.models
            for other, kept in self._models.items()
            if other != model and self._works(other, now)
        )

    def _works(self, model: str, now: float) -> bool:
        return self._standing.backlog.takes(model) and self._standing.gates.wait(model, now) <= now


def _is_most(charge: Charge, limit: Limit) -> bool:
    return limit.measure != "requests" and limit.of(charge) > LARGE * limit.amount
