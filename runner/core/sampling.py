"""An even choice of an input's rows, with what each of them stands for: for inputs that are too large to be kept.

Rows are told apart by the models that may answer them and by their length, to a power of two. Of each such class some
rows are kept, drawn by chance, and how many there were and how long they were in all is known exactly.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from runner.core.estimate import Size
from runner.core.values import Request
from runner.core.work import Task

MOST, LEAST = 2048, 32
"""Rows that are kept: about so many in all, and so many of each class at least."""
PARTS = 5
"""Of the input: whether rows are spread evenly is told by how many of them are in each."""

Models = tuple[tuple[str, ...], ...]
"""Those of each task of a row."""


@dataclass(slots=True)
class _Class:
    rows: int = 0
    text: int = 0
    """Of all of them, as it was measured when they were seen."""
    kept: list[tuple[float, int, int, tuple[Task, ...]]] = field(default_factory=list)
    """A heap: the draw, negative; the row's number, its text when it was seen, and its tasks."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A row that was kept."""

    tasks: Sequence[Task]
    """Measured exactly, and without what they ask."""
    stands_for: float
    """Rows."""


class Sample:
    """Such a choice, as the rows come."""

    def __init__(self, measure: Callable[[Task], Size]) -> None:
        """`measure` says exactly how large a task is; it is asked about those alone that are kept."""
        self._measure = measure
        self._chance = Random(1)
        self._classes: dict[tuple[Models, int], _Class] = {}
        self._rows = 0

    def see(self, tasks: Sequence[Task]) -> None:
        """Take in a row's tasks, however roughly they are measured."""
        text = max(task.size.text for task in tasks)
        key = tuple(task.models for task in tasks), text.bit_length()
        found = self._classes.get(key)
        if found is None:
            found = self._classes[key] = _Class()
        self._rows += 1
        found.rows += 1
        found.text += text
        draw, most = -self._chance.random(), self._most
        if len(found.kept) < most or draw > found.kept[0][0]:
            heapq.heappush(found.kept, (draw, self._rows, text, self._exactly(tasks)))
            while len(found.kept) > most:
                heapq.heappop(found.kept)

    @property
    def _most(self) -> int:
        return max(LEAST, MOST // len(self._classes))

    def _exactly(self, tasks: Sequence[Task]) -> tuple[Task, ...]:
        sizes: dict[int, Size] = {}
        for task in tasks:
            if id(task.request) not in sizes:
                sizes[id(task.request)] = self._measure(task)
        return tuple(
            replace(
                task, size=sizes[id(task.request)], request=ASKED if task.request.body is None else WHOLE, source=""
            )
            for task in tasks
        )

    @property
    def kept(self) -> int:
        """The number of rows that are kept."""
        return sum(min(self._most, len(found.kept)) for found in self._classes.values())

    def rows(self) -> Iterator[Sampled]:
        """Those that are kept, the shorter ones of the same models first.

        Their lengths are corrected so that those of a class are, on average, what all of the class were.
        """
        for _, found in sorted(self._classes.items(), key=lambda one: one[0]):
            kept = heapq.nlargest(self._most, found.kept)
            longer = found.text / found.rows / (sum(text for _, _, text, _ in kept) / len(kept))
            for _, _, _, tasks in sorted(kept, key=lambda one: one[2]):
                yield Sampled([_resized(task, longer) for task in tasks], found.rows / len(kept))

    @property
    def is_even(self) -> bool:
        """Whether the rows for any models are spread over the whole input, rather than standing together."""
        places: dict[Models, list[int]] = {}
        for (models, _), found in self._classes.items():
            places.setdefault(models, []).extend(number for _, number, _, _ in found.kept)
        return len(places) == 1 or all(self._are_spread(numbers) for numbers in places.values())

    def _are_spread(self, numbers: Sequence[int]) -> bool:
        if len(numbers) < LEAST:
            return True
        parts = [0] * PARTS
        for number in numbers:
            parts[(number - 1) * PARTS // self._rows] += 1
        return min(parts) > len(numbers) / PARTS / 3


ASKED, WHOLE = Request(), Request(body={})
"""What a kept row asks, and what it asks if it came as a whole request: no more of it is kept."""


def _resized(task: Task, times: float) -> Task:
    return replace(task, size=replace(task.size, text=max(1, round(task.size.text * times))))
