"""Tasks that wait: in the queue of the models that may answer them, or for the moment of their next attempt.

A model that cannot be used is lost: its tasks go to the rest of their pools, or end. One whose quota is used up is
pending: it takes no more, and what nobody else may answer is for a later session. Such tasks are counted and let go of,
since the input has them, and may have millions.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from runner.core.queues import Queue
from runner.core.values import Failure, Status
from runner.core.work import Finished, Task


class Backlog:
    """All tasks of a run that are neither under way nor ended."""

    def __init__(
        self, models: Iterable[str], arrived: Callable[[tuple[str, ...]], None], held_back: Collection[str] = ()
    ) -> None:
        """`arrived` is told the models that have got a task to choose from.

        Those that are `held_back` get tasks only when others have answered.
        """
        self.asked: set[str] = set()
        """Models that some task was for."""
        self.lost: dict[str, Failure] = {}
        self.pending: dict[str, Failure] = {}
        self.shelved = 0
        """Tasks that only pending models may answer."""
        self._arrived = arrived
        self._held_back = frozenset(held_back)
        self._queues: dict[tuple[str, ...], Queue] = {}
        self._of_model: dict[str, list[Queue]] = {model: [] for model in models}
        self._later: list[tuple[float, int, Task]] = []
        self._sequence = 0
        self._gone: list[int] = []
        """The numbers of tasks that left before their turn came, the least first."""
        self._length = 0
        """Tasks in queues."""
        self._ready: tuple[str, ...] | None = None
        """Kept until a queue begins or ends, or a model leaves."""

    # What goes in.

    def number(self, task: Task) -> None:
        """Make it the youngest of all tasks."""
        self._sequence += 1
        task.sequence = self._sequence

    def put(self, task: Task) -> Finished | None:
        """Add a task at its place by age; its end, if none of its models can be used any more."""
        models = task.models
        if self.lost:
            models = tuple(model for model in models if model not in self.lost)
            if not models:
                self._let_go(task)
                return Finished(task, task.models[0], Status.ERRORED, self.lost[task.models[0]])
        if self.is_shelved(models):
            self.asked.update(models)
            self._shelve(task)
            return None
        queue = self._queues.get(models)
        if queue is None:
            queue = self._queues[models] = Queue(models)
            self.asked.update(models)
            for model in models:
                self._of_model[model].append(queue)
                self._of_model[model].sort(key=lambda q: len(q.models))
        queue.push(task)
        self._length += 1
        if queue.length == 1:
            self._ready = None
        self._arrived(models)
        return None

    def _shelve(self, task: Task) -> None:
        self.shelved += 1
        self._let_go(task)

    def _let_go(self, task: Task) -> None:
        """It is not sent: nobody's turn comes after its."""
        if task.sequence == self._sequence != task.sent_as:
            self._sequence -= 1
        elif task.sequence != task.sent_as:
            heapq.heappush(self._gone, task.sequence)

    def put_later(self, task: Task, moment: float) -> None:
        """Add a task that is not to be sent before a moment."""
        heapq.heappush(self._later, (moment, task.sequence, task))

    def wake(self, now: float) -> None:
        """Let those come whose moment has come."""
        while self._later and self._later[0][0] <= now:
            self.put(heapq.heappop(self._later)[2])

    # What comes out.

    def queues(self, model: str) -> Sequence[Queue]:
        """The queues that a model takes from, those of the fewest models first."""
        return self._of_model[model]

    def take(self, queue: Queue, key: tuple[int, int]) -> Task:
        """Take out the head of a queue's line."""
        self._length -= 1
        task = queue.pop(key)
        if not queue.length:
            self._ready = None
        return task

    def leave(self) -> Iterator[Task]:
        """Take out everything."""
        self._length, self._ready = 0, None
        for queue in self._queues.values():
            yield from queue.drain()
        while self._later:
            yield heapq.heappop(self._later)[2]

    # Models that leave.

    def lose(self, model: str, failure: Failure) -> list[Finished]:
        """A model cannot be used: the ends of the tasks that nobody else may answer."""
        self.lost[model] = failure
        orphans: list[Task] = []
        for queue in tuple(self._of_model[model]):
            orphans += queue.drain()
            for other in queue.models:
                self._of_model[other].remove(queue)
            del self._queues[queue.models]
        self._length -= len(orphans)
        hopeless = [entry for entry in self._later if self.lost.keys() >= set(entry[2].models)]
        for entry in hopeless:
            self._later.remove(entry)
            orphans.append(entry[2])
        heapq.heapify(self._later)
        self._ready = None
        return [finished for finished in map(self.put, orphans) if finished is not None]

    def suspend(self, model: str, failure: Failure) -> None:
        """A model's quota is used up."""
        self.pending[model] = failure
        for queue in self._of_model[model]:
            if self.is_shelved(queue.models):
                self._length -= queue.length
                for task in queue.drain():
                    self._shelve(task)
        self._ready = None

    # What there is.

    def turn(self, number: int) -> int:
        """So many tasks have had their turn: that number, or more where the next ones have left."""
        while self._gone and self._gone[0] <= number + 1:
            heapq.heappop(self._gone)
            number += 1
        return number

    def takes(self, model: str) -> bool:
        """Whether a model is neither lost nor pending."""
        return model not in self.lost and model not in self.pending

    @property
    def ready(self) -> tuple[str, ...]:
        """The models that have tasks to choose from, and may take them."""
        if self._ready is None:
            self._ready = tuple(model for model in self.working if model not in self.pending)
        return self._ready

    @property
    def working(self) -> Iterator[str]:
        """The models that have tasks in their queues."""
        return (model for model, queues in self._of_model.items() if any(queue.length for queue in queues))

    @property
    def count(self) -> int:
        """Tasks that can be sent in this run, those that wait for another attempt included."""
        return self._length + len(self._later)

    def is_shelved(self, models: tuple[str, ...]) -> bool:
        """Whether a task for these models is one for a later session."""
        left = set(models).difference(self.lost)
        return bool(left) and self.pending.keys() >= left

    @property
    def is_stuck(self) -> bool:
        """Whether nothing can be sent any more, whatever else is read: all models are pending, or lost.

        A model that is held back is asked only about what others have answered.
        """
        if not self.pending:
            return False
        gone = {*self.pending, *self.lost, *self._held_back.difference(self.working)}
        return gone.issuperset(self._of_model)

    @property
    def retry_at(self) -> float:
        """When the next attempt is due of those that wait for one; infinity where none does."""
        return self._later[0][0] if self._later else math.inf

    def __bool__(self) -> bool:
        return self.count + self.shelved > 0
