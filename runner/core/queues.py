"""Tasks that wait, by the models that may answer them and by their size, so that finding one that fits costs little.

Tasks of about one size stand in one line, the oldest first. Of each line only the head is looked at, and what it
would cost at a model is reckoned once in a while, not at every look.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from runner.core.ports import Room
from runner.core.values import Charge

if TYPE_CHECKING:
    from runner.core.schedule import Task

FRESH = 1.0
"""Seconds for which a head's charge is taken to be what it was; it is reckoned anew before anything is taken."""


class Line:
    """Tasks of about one size, the oldest first."""

    __slots__ = ("_charges", "tasks")

    def __init__(self) -> None:
        self.tasks: deque[Task] = deque()
        self._charges: dict[str, tuple[Task, float, Charge]] = {}

    def push(self, task: Task) -> None:
        """Add a task at its place by age."""
        tasks = self.tasks
        if tasks and task.sequence < tasks[-1].sequence:
            bisect.insort(tasks, task, key=lambda other: other.sequence)
        else:
            tasks.append(task)

    def charge(self, model: str, charge: Callable[[Task, str], Charge], now: float) -> Charge:
        """What the head would cost at a model."""
        head = self.tasks[0]
        known = self._charges.get(model)
        if known is not None and known[0] is head and now < known[1]:
            return known[2]
        found = charge(head, model)
        self._charges[model] = (head, now + FRESH, found)
        return found


class Queue:
    """Tasks that the same models may answer."""

    __slots__ = ("_oldest", "_order", "length", "lines", "models")

    def __init__(self, models: tuple[str, ...]) -> None:
        self.models = models
        self.lines: dict[tuple[int, int], Line] = {}
        """By size, on a logarithmic scale: of the input, and of the output."""
        self._order: list[tuple[int, int]] = []
        """The keys of the lines, the least input first."""
        self._oldest: tuple[int, int] | None = None
        """The key of the line with the oldest head; None until it is asked for."""
        self.length = 0

    @staticmethod
    def _key(task: Task) -> tuple[int, int]:
        cap = task.least if task.free else max(task.caps.values())
        return int(4 * math.log2(task.size.text + 1)), int(4 * math.log2(cap + 1))

    def push(self, task: Task) -> None:
        """Add a task."""
        key = self._key(task)
        line = self.lines.get(key)
        if line is None:
            line = self.lines[key] = Line()
            bisect.insort(self._order, key)
        line.push(task)
        if self._oldest is not None and task.sequence < self._age(self._oldest):
            self._oldest = key
        self.length += 1

    def pop(self, key: tuple[int, int]) -> Task:
        """Take out the head of a line."""
        line = self.lines[key]
        task = line.tasks.popleft()
        if key == self._oldest:
            self._oldest = None
        if not line.tasks:
            del self.lines[key]
            self._order.remove(key)
        self.length -= 1
        return task

    def drain(self) -> Iterator[Task]:
        """Take out everything."""
        while self.lines:
            yield self.pop(next(iter(self.lines)))

    def oldest_that_fits(
        self, model: str, room: Room, charge: Callable[[Task, str], Charge], now: float, newest: float
    ) -> tuple[tuple[int, int] | None, Task | None]:
        """The line of the oldest task that fits, and the oldest that does not; of those up to `newest` in sequence."""
        if self._oldest is None:
            self._oldest = min(self._order, key=self._age)
        oldest = self._oldest
        head = self.lines[oldest].tasks[0]
        if head.sequence <= newest and room.fits(self.lines[oldest].charge(model, charge, now)):
            return oldest, None
        best: tuple[int, int] | None = None
        first, passed = newest + 1, None
        too_large = too_long = math.inf
        for key in self._order:
            line = self.lines[key]
            head = line.tasks[0]
            sequence = head.sequence
            if sequence > newest:
                continue
            if sequence < first and key[0] <= too_large and key[1] < too_long:
                cost = line.charge(model, charge, now)
                if room.fits(cost):
                    best, first = key, sequence
                    continue
                # What is larger does not fit either; within the width of a line that is taken to be so.
                if cost.input > room.input:
                    too_large = key[0]
                if cost.output > room.output:
                    too_long = min(too_long, key[1])
            elif sequence > first:
                continue  # it is neither sent nor passed
            if passed is None or sequence < passed.sequence:
                passed = head
        return best, passed

    def _age(self, key: tuple[int, int]) -> int:
        return self.lines[key].tasks[0].sequence

    def largest_that_fits(
        self, model: str, room: Room, charge: Callable[[Task, str], Charge], now: float, newest: float
    ) -> tuple[int, int] | None:
        """The line of the largest task that fits; of those up to `newest` in sequence."""
        for key in reversed(self._order):
            line = self.lines[key]
            if line.tasks[0].sequence <= newest and room.fits(line.charge(model, charge, now)):
                return key
        return None

    def smallest(
        self, model: str, charge: Callable[[Task, str], Charge], now: float, newest: float
    ) -> list[tuple[tuple[int, int], Task]]:
        """The lines and heads that will fit first: the one with the least input, and the one with the least output."""
        keys = [key for key in self._order if self.lines[key].tasks[0].sequence <= newest]
        if not keys:
            return []
        least_out = min(keys, key=lambda key: key[::-1])
        chosen = (keys[0],) if keys[0] == least_out else (keys[0], least_out)
        return [(key, self.lines[key].tasks[0]) for key in chosen]
