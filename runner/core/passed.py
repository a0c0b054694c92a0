"""Large tasks that smaller ones have passed: what is kept free until they fit.

What fits goes before what does not, but not for ever. A task that was passed half a window ago has a limit kept free
for it, from which nothing younger is taken until it fits. Where its model has no room, that is the model's own limits:
of a pool's models one at a time, so that the others can work. Where only a limit that models share has none, it is that
one: its room comes in crumbs while it is spent, and the smallest tasks would take each of them.
"""

from __future__ import annotations

import math
from collections import deque

from runner.core.blocked import Block
from runner.core.limits import Limit
from runner.core.queues import Queue
from runner.core.standing import Standing
from runner.core.work import Task

PATIENCE = 1 / 2
"""Of a window: how long a task may be passed."""
LOOK_AGAIN = 1 / 60
"""Of a window: for how long a shared limit is kept, unless the task is looked at again: its model may be gone."""
GRAIN = 1 / 240
"""Of a window: how exactly the moment of passing is known, and how much longer than its model others wait."""


class Passes:
    """When younger tasks were sent than others that wait."""

    __slots__ = ("_before", "_grain", "_highest", "_sent")

    def __init__(self, grain: float) -> None:
        self._grain = grain
        self._highest = self._before = -1
        self._sent: deque[tuple[float, int]] = deque()

    def sent(self, sequence: int, now: float) -> None:
        """A task was sent."""
        if sequence <= self._highest:
            return
        self._highest = sequence
        sent = self._sent
        if sent and now < sent[-1][0] + self._grain:
            sent[-1] = (sent[-1][0], sequence)
        else:
            sent.append((now, sequence))

    def before(self, moment: float) -> int:
        """The sequence of the youngest task sent up to a moment, which is never earlier than one asked for before."""
        sent = self._sent
        while sent and sent[0][0] <= moment:
            self._before = sent.popleft()[1]
        return self._before


class Kept:
    """What is kept free: models for one of their pool's tasks, shared limits for a task of any model."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self._window = standing.window
        self._grain = standing.window * GRAIN
        self._sent = Passes(self._grain)
        self._sent_of: dict[tuple[str, ...], Passes] = {}
        """The same, of the tasks of one pool."""
        self._models: dict[str, Task] = {}
        """Models that are kept free, and for what."""
        self._limits: dict[Limit, tuple[Task, str, float]] = {}
        """Shared limits that are kept: for what, of which model, and until when the others wait."""

    def __contains__(self, model: str) -> bool:
        """Whether something is kept for a task that a model is to take: it is looked at even where nothing has room."""
        return model in self._models or any(model == keeper for _, keeper, _ in self._limits.values())

    def expire(self, now: float) -> None:
        """Let go of limits whose task was not looked at again."""
        if self._limits:
            self._limits = {limit: kept for limit, kept in self._limits.items() if kept[2] > now}

    def newest(self, model: str) -> float:
        """The sequence of the youngest task that a model may take."""
        task = self._models.get(model)
        newest = math.inf if task is None else task.sequence
        if self._limits:
            budget = self._standing.budgets[model]
            for limit, (kept, _, _) in self._limits.items():
                if kept.sequence < newest and limit in budget:
                    newest = kept.sequence
        return newest

    def block(self, model: str, now: float) -> Block:
        """What a model waits for because shared limits are kept.

        First comes the one for whose task they are kept: nobody else is to take what has come back meanwhile.
        """
        block = Block()
        for limit, (_, keeper, until) in self._limits.items():
            opens = until - self._grain if keeper == model else until
            if opens > now and limit in self._standing.budgets[model]:
                block.until = min(block.until, opens)
                block.limits.add(limit)
        return block

    def look(self, model: str, queue: Queue, before: float, now: float) -> float:
        """Look at what was passed of a queue: of the tasks before this sequence, none has room at this model.

        Answers the sequence of the youngest task that the model may take from now on.
        """
        moment = now - self._window * PATIENCE
        by_any, by_own = self._sent.before(moment), self._passes(queue).before(moment)
        hopeless: list[tuple[int, int]] = []
        """Lines for which the model has no room of its own, and is not to be kept free: nor for larger ones."""
        for key, task in queue.heads(min(before, max(by_any, by_own))):
            if any(key[0] >= width and key[1] >= length for width, length in hopeless):
                continue
            refusal = None
            if not self._is_kept_elsewhere(task, model, now):
                charge = queue.lines[key].charge(model, self._standing.charge, now)
                refusal = self._standing.ledger.refusal(model, charge, now)
            if refusal is None or refusal.resets:
                continue
            if len(self._standing.blocked.models(refusal.limit)) > 1:
                if task.sequence < by_any:
                    until = min(refusal.until, now + self._window * LOOK_AGAIN)
                    self._limits[refusal.limit] = task, model, until + self._grain
                    return task.sequence
            elif task.sequence < by_own and not self._has_another(model, queue, now):
                self._models[model] = task
                return task.sequence
            else:
                hopeless.append(key)
        return math.inf

    def sent(self, task: Task, queue: Queue, now: float) -> None:
        """A task is sent: nothing is kept for it any more."""
        self._sent.sent(task.sequence, now)
        self._passes(queue).sent(task.sequence, now)
        blocked = self._standing.blocked
        if self._models and task in self._models.values():
            free = [model for model, kept in self._models.items() if kept is task]
            for model in free:
                del self._models[model]
            blocked.lift(free)
        for limit in [limit for limit, (kept, _, _) in self._limits.items() if kept is task]:
            del self._limits[limit]
            blocked.lift(blocked.models(limit))

    def _passes(self, queue: Queue) -> Passes:
        passes = self._sent_of.get(queue.models)
        if passes is None:
            passes = self._sent_of[queue.models] = Passes(self._grain)
        return passes

    def _is_kept_elsewhere(self, task: Task, model: str, now: float) -> bool:
        """Whether another model, or a limit for one, is kept free for a task."""
        return any(task is kept and keeper != model for kept, keeper, _ in self._limits.values()) or any(
            task is kept and other != model and self._works(other, now) for other, kept in self._models.items()
        )

    def _has_another(self, model: str, queue: Queue, now: float) -> bool:
        """Whether another model is kept free for a task of this pool."""
        return any(
            kept.models == queue.models
            for other, kept in self._models.items()
            if other != model and self._works(other, now)
        )

    def _works(self, model: str, now: float) -> bool:
        return self._standing.gates.wait(model, now) <= now
