"""Which task goes to which model now.

- A model takes tasks that only it can answer before tasks of a pool.
- The model with the most work left for its limits goes first, so that a combined limit is spent where it is needed
  most; among equals the emptiest goes first, then the one with the fewest requests under way.
- Among tasks that fit, the oldest goes first, and of the last ones the largest. One that does not fit is passed by
  smaller ones, but not for ever (`core.passed`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from runner.core.passed import Kept
from runner.core.ports import Lease
from runner.core.queues import Queue
from runner.core.standing import Standing
from runner.core.values import NOTHING, Charge
from runner.core.work import Task

LAST = 100
"""Tasks of a queue, once no more will come, of which the largest that fits goes first: what ends last began early."""

Placed = tuple[Task, str, Lease]
"""A task that is to be sent, the model, and the lease that holds its charge."""


class Placing:
    """Takes tasks out of the backlog, each with a lease at a model that has room for it."""

    def __init__(self, standing: Standing) -> None:
        self._budgets = standing.budgets
        self._ledger = standing.ledger
        self._charge = standing.charge
        self._spending = standing.spending
        self._window = standing.window
        self._backlog = standing.backlog
        self._blocked = standing.blocked
        self._flights = standing.flights
        self._gates = standing.gates
        self._kept = Kept(standing)
        self._work = dict.fromkeys(self._budgets, NOTHING)
        self._windows = dict.fromkeys(self._budgets, 0.0)
        """That work, in windows of the limit that it takes most of."""

    def expect(self, model: str, charge: Charge) -> None:
        """There is so much more work that only this model can do."""
        self._set_work(model, self._work[model] + charge)

    def _set_work(self, model: str, work: Charge) -> None:
        """So much is left that only this model can do; in windows, models within a hundredth count as equal."""
        self._work[model] = work
        seconds = max((limit.of(work) / limit.amount * limit.window for limit in self._budgets[model]), default=0.0)
        self._windows[model] = round(seconds / self._window, 2)

    def next(self, now: float, *, last: bool) -> Placed | str | None:
        """What is to be sent now, or why nothing may be sent any more; `last` says that no more tasks will come."""
        for model in self._by_urgency(now):
            if self._blocked.full and not self._kept.is_due(model, now) and self._is_full(model, now):
                continue
            placed = self._place(model, now, last)
            if placed is not None:
                return placed
        return None

    def _by_urgency(self, now: float) -> Iterator[str]:
        """The models that may be asked."""
        blocked, gates, windows = self._blocked, self._gates, self._windows
        blocked.expire(now)
        self._kept.expire(now)
        ready = [model for model in self._backlog.ready if model not in blocked and gates.wait(model, now) <= now]
        if len(ready) < 2:
            yield from ready
            return
        ready.sort(key=windows.__getitem__, reverse=True)
        for _, equals in groupby(ready, key=windows.__getitem__):
            models = list(equals)
            if len(models) > 1:
                models.sort(key=lambda model: (self._ledger.use(model, now), self._flights.of_model[model]))
            yield from models

    def _place(self, model: str, now: float, last: bool) -> Placed | str | None:
        newest = self._kept.newest(model)
        room = self._ledger.room(model, now)
        for queue in self._backlog.queues(model):
            if not queue.length:
                continue
            key, passes = queue.oldest_that_fits(model, room, self._charge, now, newest)
            if passes:
                oldest = newest + 1 if key is None else queue.lines[key].tasks[0].sequence
                newest = min(newest, self._kept.look(model, queue, oldest, now))
                if oldest > newest:
                    key = None
            if key is None:
                continue
            if last and queue.length <= LAST:
                key = queue.largest_that_fits(model, room, self._charge, now, newest) or key
            placed = self._take(queue, key, model, now)
            if placed is not None:
                return placed
        return self._block(model, newest, now)

    def _take(self, queue: Queue, key: tuple[int, int], model: str, now: float) -> Placed | str | None:
        """Take the head of a line, if the caps of the run and the ledger have room for what it costs by now."""
        charge = self._charge(queue.lines[key].tasks[0], model)
        reason = self._spending.refuses(model, charge)
        if reason is not None:
            return reason
        lease = self._ledger.take(model, charge, now)
        return self._placed(queue, key, model, lease, now) if isinstance(lease, Lease) else None

    def _is_full(self, model: str, now: float) -> bool:
        """Whether a limit that others have found full has no room for this model either; then it is blocked."""
        block = self._kept.block(model, now)
        for queue, key, task in self._smallest(model, self._kept.newest(model)):
            refusal = self._blocked.known_refusal(model, queue.lines[key].charge(model, self._charge, now))
            if refusal is None:
                return False
            block.add(task, refusal)
        self._blocked[model] = block
        return True

    def _block(self, model: str, newest: float, now: float) -> Placed | str | None:
        """Nothing fits: note until when, by what will fit first; unless the ledger wants it to find out more."""
        block = self._kept.block(model, now)
        for queue, key, task in self._smallest(model, newest):
            charge = self._charge(task, model)
            refusal = self._blocked.refusal(model, charge, now)
            if refusal is None:
                if (reason := self._spending.refuses(model, charge)) is not None:
                    return reason
                lease = self._ledger.take(model, charge, now)
                if isinstance(lease, Lease):
                    return self._placed(queue, key, model, lease, now)
                refusal = lease
            block.add(task, refusal)
            if refusal.any_size:
                break
        self._blocked[model] = block
        return None

    def _smallest(self, model: str, newest: float) -> Iterator[tuple[Queue, tuple[int, int], Task]]:
        """What will fit first, of each queue of a model."""
        return ((queue, *first) for queue in self._backlog.queues(model) for first in queue.smallest(newest))

    def _placed(self, queue: Queue, key: tuple[int, int], model: str, lease: Lease, now: float) -> Placed:
        """Take out a task for which there is room: nothing is kept free for it any more, nor is its work to come."""
        task = self._backlog.take(queue, key)
        self._kept.sent(task, model, now)
        if len(task.models) == 1:
            work, spent = self._work[model], lease.charge
            left = max(0, work.requests - 1), max(0, work.input - spent.input), max(0, work.output - spent.output)
            self._set_work(model, Charge(*left))
        return task, model, lease
