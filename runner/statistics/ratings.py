"""What several annotators said of the same items, as numbers: what every measure of agreement starts from."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from runner.statistics.estimates import Floats, Ints

Label = Hashable
MISSING = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratings:
    """Distinct patterns of what annotators say, and how many items have each."""

    patterns: Ints
    """Patterns x annotators: the number of a label in `labels`, or `MISSING`."""
    counts: Ints
    """Items with each pattern."""
    labels: tuple[Label, ...]
    """In their order, if they have one."""
    ordered: bool = False
    """Whether the order of the labels means something: it was given, or they are numbers."""

    @property
    def annotators(self) -> int:
        """How many columns there are."""
        return int(self.patterns.shape[1])

    @property
    def given(self) -> Ints:
        """How many annotators said something, for each pattern."""
        return np.asarray((self.patterns != MISSING).sum(axis=1), dtype=np.int64)

    @property
    def places(self) -> Floats | None:
        """Each label's place on its scale: the numbers themselves, else 0, 1, 2...; None if they have no order."""
        if not self.ordered:
            return None
        if all(_is_number(label) for label in self.labels):
            return np.array([float(label) for label in self.labels], dtype=np.float64)  # type: ignore[arg-type]
        return np.arange(len(self.labels), dtype=np.float64)

    def kept(self, which: np.ndarray) -> Ratings:
        """Only the patterns for which `which` is true."""
        return Ratings(
            patterns=self.patterns[which], counts=self.counts[which], labels=self.labels, ordered=self.ordered
        )

    def only(self, *annotators: int) -> Ratings:
        """Only these annotators' columns."""
        return _merged(self.patterns[:, list(annotators)], self.counts, self.labels, self.ordered)

    def collapsed(self, label: Label) -> Ratings:
        """The same with two labels: this one, and any other."""
        number = self.labels.index(label)
        patterns = np.where(self.patterns == MISSING, MISSING, (self.patterns == number).astype(np.int64))
        return _merged(patterns, self.counts, (False, True), False)

    def occurrences(self) -> Ints:
        """Patterns x labels: how many annotators gave each label."""
        table = np.zeros((len(self.patterns), len(self.labels)), dtype=np.int64)
        for column in self.patterns.T:
            said = column != MISSING
            np.add.at(table, (np.flatnonzero(said), column[said]), 1)
        return table


def ratings(columns: Sequence[Sequence[Label | None]], *, order: Sequence[Label] | None = None) -> Ratings:
    """The ratings of annotators, one sequence for each, all about the same items in the same order.

    None and NaN are missing, and so should be what was invalid. `order` gives the labels of a scale from low to high,
    also those that nobody chose; labels that are all numbers are ordered without it. ValueError if the sequences
    differ in length, or a label is not in `order`.
    """
    if len({len(column) for column in columns}) > 1:
        raise ValueError("Annotators must have been asked about the same items: their sequences differ in length.")
    numbers: dict[Label, int] = {label: at for at, label in enumerate(order or ())}
    seen = {value for column in columns for value in set(column) if not _is_missing(value)}
    if order is not None and not seen <= set(numbers):
        raise ValueError(f"These labels are not in the order given: {sorted(map(repr, seen - set(numbers)))}.")
    if order is None:
        numeric = bool(seen) and all(_is_number(label) for label in seen)
        known = sorted(seen, key=float if numeric else _name)  # type: ignore[arg-type]
        numbers = {label: at for at, label in enumerate(known)}
    else:
        numeric = True
    items = len(columns[0]) if columns else 0
    codes = np.full((items, len(columns)), MISSING, dtype=np.int64)
    for at, column in enumerate(columns):
        codes[:, at] = np.fromiter((numbers.get(value, MISSING) for value in column), dtype=np.int64, count=items)
    return _merged(codes, np.ones(items, dtype=np.int64), tuple(numbers), numeric)


def _merged(codes: Ints, counts: Ints, labels: tuple[Label, ...], ordered: bool) -> Ratings:
    """Rows that are alike become one, and their counts are added."""
    base, width = len(labels) + 1, codes.shape[1]
    if width == 0 or base**width < 2**62:
        keys = (codes + 1) @ (base ** np.arange(width, dtype=np.int64))
        _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        patterns = codes[first]
    else:
        patterns, inverse = np.unique(codes, axis=0, return_inverse=True)
    total = np.bincount(inverse.reshape(-1), weights=counts, minlength=len(patterns)).astype(np.int64)
    return Ratings(patterns=patterns, counts=total, labels=labels, ordered=ordered)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _name(label: Label) -> tuple[str, str]:
    return type(label).__name__, str(label)
