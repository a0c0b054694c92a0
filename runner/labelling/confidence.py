"""How sure annotators are of rows, and how often those of which they are as sure are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from runner.core.confidence import Basis, by_samples, by_statement
from runner.core.labelling import Voting
from runner.labelling.figures import right
from runner.labelling.votes import Cell, Votes, value_of, verdicts

EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Between two of them lies a bucket; its lower end is in it, and so is 1 in the last."""


def confidence(
    cells: Mapping[str, Cell], stated: Mapping[str, float | None], kind: str, basis: Basis
) -> float:  # fmt: skip
    """How sure the annotators of one row are, 0 to 1."""
    if basis == "stated":
        return by_statement(stated)
    return by_samples({name: value_of(cell, kind) for name, cell in cells.items()})


def confidences(votes: Votes, basis: Basis) -> list[float]:
    """The same of each row; stronger models are not asked how sure they are."""
    names = votes.annotators
    said = zip(*(votes.cells[name] for name in names), strict=True)
    stated = zip(*(votes.stated[name] for name in names), strict=True)
    return [
        confidence(dict(zip(names, cells, strict=True)), dict(zip(names, sure, strict=True)), votes.kind, basis)
        for cells, sure in zip(said, stated, strict=True)
    ]


def calibration(votes: Votes, voting: Voting, basis: Basis, gold: Sequence[str | None]) -> dict[str, Any]:
    """For each bucket of confidence, how many rows there are, and how often the vote is right where a label is known.

    The vote is that of the row's own annotators: what a threshold would have left as it is.
    """
    own = replace(votes, cells={name: votes.cells[name] for name in votes.annotators}, stronger=())
    voted = [verdict.label for verdict in verdicts(own, voting)]
    sure = confidences(own, basis)
    buckets = []
    for low, high in pairwise(EDGES):
        rows = [place for place, value in enumerate(sure) if low <= value and (value < high or high == EDGES[-1])]
        known = [place for place in rows if gold[place] is not None]
        buckets.append({
            "low": low, "high": high, "rows": len(rows), "known": len(known),
            "mean": round(sum(sure[place] for place in rows) / len(rows), 4) if rows else None,
            "quality": right(votes.kind, [gold[place] for place in known], [voted[place] for place in known]),
        })  # fmt: skip
    return {"basis": basis, "buckets": buckets}
