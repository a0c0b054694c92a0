"""How sure the annotators of a row are, each of its own answer; how much they agree with each other is another matter.

There are two signs of it: that repeated samples say the same, and what models state. Neither is a probability.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Literal

Basis = Literal["samples", "stated"]


def by_samples(votes: Mapping[str, Hashable | None]) -> float:
    """The share of an annotator's samples that say what most of them say, as a mean over annotators.

    Samples are called NAME#1, NAME#2. None stands for what could not be read; it is not sure of anything.
    """
    samples: dict[str, list[Hashable | None]] = {}
    for name, vote in votes.items():
        samples.setdefault(name.rpartition("#")[0] or name, []).append(vote)
    return _mean([_of_the_most(said) for said in samples.values()])


def by_statement(stated: Mapping[str, float | None]) -> float:
    """What annotators state of their answers, 0 to 1, as a mean; who states nothing is not sure of anything."""
    return _mean([value or 0.0 for value in stated.values()])


def _of_the_most(said: list[Hashable | None]) -> float:
    counts = Counter(vote for vote in said if vote is not None)
    return max(counts.values(), default=0) / len(said)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
