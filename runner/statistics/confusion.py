"""Who was taken for whom: a table of what was expected against what was answered, and the figures made of it.

An item without an answer, or with an invalid one, is a wrong answer: it lowers recall, and is counted by itself. An
item without anything expected says nothing, and is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from runner.core.answers import Invalid
from runner.statistics.estimates import Ints
from runner.statistics.ratings import Label


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFigures:
    """How well one label was found; None where nothing is there to divide by."""

    label: Label
    precision: float | None
    """Of the items answered with it, the share that has it."""
    recall: float | None
    """Of the items that have it, the share answered with it."""
    f1: float | None
    support: int
    """Items that have it."""
    answered: int
    """Items answered with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """Expected labels by answers."""

    labels: tuple[Label, ...]
    counts: Ints
    """Labels x (labels, then missing, then invalid)."""
    left_out: int
    """Items without anything expected."""

    @property
    def items(self) -> int:
        """Items that something is expected of."""
        return int(self.counts.sum())

    @property
    def right(self) -> int:
        """Items answered as expected."""
        return int(self.counts.trace())

    def figures(self) -> tuple[LabelFigures, ...]:
        """Each label's figures, in the order of the labels."""
        support, answered = self.counts.sum(axis=1), self.counts.sum(axis=0)
        return tuple(
            LabelFigures(
                label=label,
                precision=_share(int(self.counts[at, at]), int(answered[at])),
                recall=_share(int(self.counts[at, at]), int(support[at])),
                f1=_share(2 * int(self.counts[at, at]), int(support[at] + answered[at])),
                support=int(support[at]),
                answered=int(answered[at]),
            )
            for at, label in enumerate(self.labels)
        )

    def mistakes(self, most: int = 10) -> list[tuple[Label, Label, int]]:
        """The labels most often taken for others: expected, answered, how often; the most frequent first."""
        wrong = self.counts[:, : len(self.labels)].copy()
        np.fill_diagonal(wrong, 0)
        found = [(self.labels[row], self.labels[column], int(wrong[row, column])) for row, column in np.argwhere(wrong)]
        return sorted(found, key=lambda mistake: (-mistake[2], str(mistake[0]), str(mistake[1])))[:most]


def confusion(
    expected: Sequence[Label | None], answered: Sequence[Label | Invalid | None], labels: Sequence[Label] = ()
) -> Confusion:
    """What was expected of each item against what was answered; `labels` come first, also if they never occur.

    ValueError if the sequences differ in length.
    """
    pairs = [(_present(one), _present(other)) for one, other in zip(expected, answered, strict=True)]
    seen = {value for pair in pairs for value in pair if value is not None and not isinstance(value, Invalid)}
    known = (*labels, *sorted(seen - set(labels), key=lambda label: (type(label).__name__, label)))
    number = {label: at for at, label in enumerate(known)}
    missing, invalid = len(known), len(known) + 1
    cells = [
        (number[one], missing if other is None else invalid if isinstance(other, Invalid) else number[other])
        for one, other in pairs
        if one is not None
    ]
    counts = np.zeros((len(known), len(known) + 2), dtype=np.int64)
    if cells:
        np.add.at(counts, tuple(np.array(cells).T), 1)
    return Confusion(labels=known, counts=counts, left_out=len(pairs) - len(cells))


def _present(value: Label | None) -> Label | None:
    return None if isinstance(value, float) and math.isnan(value) else value


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
