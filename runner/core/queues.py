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
    from runner.core.work import Task

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

    __slots__ = ("_ages", "_by_output", "_oldest", "_order", "length", "lines", "models")

    def __init__(self, models: tuple[str, ...]) -> None:
        self.models = models
        self.lines: dict[tuple[int, int], Line] = {}
        """By size, on a logarithmic scale: of the input, and of the output."""
        self._order: list[tuple[int, int]] = []
        """The keys of the lines, the least input first."""
        self._ages: list[int] = []
        """The sequence of each line's head, in the same order."""
        self._by_output: list[tuple[int, int]] = []
        """The keys turned round, the least output first."""
        self._oldest = -1
        """The place of the line with the oldest head; below 0 until it is asked for. Many models ask in one moment."""
        self.length = 0

    @staticmethod
    def _key(task: Task) -> tuple[int, int]:
        cap = task.least if task.free else max(task.caps.values())
        return int(4 * math.log2(task.size.text + 1)), int(4 * math.log2(cap + 1))

    def push(self, task: Task) -> None:
        """Add a task."""
        key = self._key(task)
        line = self.lines.get(key)
        place = bisect.bisect_left(self._order, key)
        if line is None:
            line = self.lines[key] = Line()
            self._order.insert(place, key)
            self._ages.insert(place, task.sequence)
            bisect.insort(self._by_output, key[::-1])
        line.push(task)
        self._ages[place] = line.tasks[0].sequence
        self._oldest = -1
        self.length += 1

    def pop(self, key: tuple[int, int]) -> Task:
        """Take out the head of a line."""
        tasks = self.lines[key].tasks
        task = tasks.popleft()
        place = bisect.bisect_left(self._order, key)
        if tasks:
            self._ages[place] = tasks[0].sequence
        else:
            del self.lines[key], self._order[place], self._ages[place]
            self._by_output.remove(key[::-1])
        self._oldest = -1
        self.length -= 1
        return task

    def drain(self) -> Iterator[Task]:
        """Take out everything."""
        while self.lines:
            yield self.pop(next(iter(self.lines)))

    def has(self, newest: float) -> bool:
        """Whether there is a task up to that sequence; where there is any, the place of the oldest is known then."""
        if self._oldest < 0 and self._ages:
            self._oldest = self._ages.index(min(self._ages))
        return bool(self._ages) and self._ages[self._oldest] <= newest

    def oldest_that_fits(
        self, model: str, room: Room, charge: Callable[[Task, str], Charge], now: float, newest: float
    ) -> tuple[tuple[int, int] | None, bool]:
        """The line of the oldest task that fits, and whether an older one does not; of those up to `newest`."""
        if not self.has(newest):
            return None, False
        oldest = self._order[self._oldest]
        line = self.lines[oldest]
        if room.fits(line.charge(model, charge, now)):
            return oldest, False
        best: tuple[int, int] | None = None
        first = newest + 1
        too_large = too_long = math.inf
        for key, sequence in zip(self._order, self._ages, strict=True):
            if sequence >= first or key[1] >= too_long:
                continue
            if key[0] > too_large:
                break  # what is larger does not fit either; within the width of a line that is taken to be so
            cost = self.lines[key].charge(model, charge, now)
            if room.fits(cost):
                best, first = key, sequence
                continue
            if cost.input > room.input:
                too_large = key[0]
            if cost.output > room.output:
                too_long = min(too_long, key[1])
        return best, True

    def heads(self, before: float) -> list[tuple[tuple[int, int], Task]]:
        """The lines and heads that are older than a sequence, the oldest first."""
        if not self.has(before - 1):
            return []
        ages = sorted(zip(self._ages, self._order, strict=True))
        return [(key, self.lines[key].tasks[0]) for sequence, key in ages if sequence < before]

    def widest(self) -> Iterator[tuple[tuple[int, int], Task]]:
        """The lines and heads, those with the most input first."""
        return ((key, self.lines[key].tasks[0]) for key in reversed(self._order))

    def longest(self) -> Iterator[tuple[tuple[int, int], Task]]:
        """The lines and heads, those with the most output first."""
        return ((key[::-1], self.lines[key[::-1]].tasks[0]) for key in reversed(self._by_output))

    def largest_that_fits(
        self, model: str, room: Room, charge: Callable[[Task, str], Charge], now: float, newest: float
    ) -> tuple[int, int] | None:
        """The line of the largest task that fits; of those up to `newest` in sequence."""
        for key, sequence in zip(reversed(self._order), reversed(self._ages), strict=True):
            if sequence <= newest and room.fits(self.lines[key].charge(model, charge, now)):
                return key
        return None

    def smallest(self, newest: float) -> list[tuple[tuple[int, int], Task]]:
        """The lines and heads that will fit first: the one with the least input, and the one with the least output."""
        order, lines = self._order, self.lines
        if not self.has(newest):
            return []
        if newest < math.inf:
            order = [key for key, age in zip(order, self._ages, strict=True) if age <= newest]
        narrow = order[0]
        short = self._by_output[0][::-1] if newest == math.inf else min(order, key=_turned)
        chosen = (narrow,) if narrow == short else (narrow, short)
        return [(key, lines[key].tasks[0]) for key in chosen]


def _turned(key: tuple[int, int]) -> tuple[int, int]:
    return key[1], key[0]
