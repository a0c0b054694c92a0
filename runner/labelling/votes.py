"""What the annotators said of each row, from a results table, and what becomes of it in a vote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from runner.core.answers import Answer, Invalid
from runner.core.labelling import Voting
from runner.core.votes import Poll, contents, is_below, majority, majority_of_each, middle
from runner.reading import as_text, from_text

Cell = str | Invalid | None
"""An answer as text, or why there is none; None where nobody answered."""

POLLS: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, float] | None], Poll]] = {
    "label": majority,
    "labels": majority_of_each,
    "rating": middle,
    "fields": majority,
    "spans": majority,
}
"""Kind of answer -> how votes on it are counted. Texts have no vote."""

STATUSES: Mapping[str, str] = {
    "agreed": "all annotators who answered said the same",
    "majority": "some said otherwise, and the vote decided",
    "median": "ratings differ, and the middle one was taken",
    "single": "one annotator's answer could be read, and none of the others'",
    "escalated": "annotators left the row in doubt, and a stronger model's answer was taken",
    "tie": "values share the lead, and none was chosen",
    "weak": "the lead has less support than [vote] asks for",
    "none": "nobody's answer could be read",
    "decided": "a person has decided",
}
"""Every `label_status` -> what it means."""
UNDECIDED = ("tie", "weak", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Votes:
    """The answers to a run's rows, in input order."""

    kind: str
    rows: Sequence[int]
    cells: Mapping[str, Sequence[Cell]]
    """Annotator -> its answer to each row."""
    stated: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    """Annotator -> how sure it says that it is of each answer, 0 to 1."""
    said: Mapping[str, Counter[str]] = field(default_factory=dict)
    """Annotator -> how many of its answers were read, repaired, invalid or missing."""
    repairs: Mapping[str, int] = field(default_factory=dict)
    end: int | None = None
    """The position from which on rows are left out; None if none are."""
    stronger: tuple[str, ...] = ()
    """Annotators that were asked only about rows that the others left in doubt."""
    asked: Mapping[str, Sequence[bool]] = field(default_factory=dict)
    """Each of these -> whether it was asked about each row."""

    @property
    def annotators(self) -> tuple[str, ...]:
        """The names of those that were asked about every row, in order."""
        return tuple(name for name in self.cells if name not in self.stronger)

    def values(self, annotator: str) -> list[Any]:
        """An annotator's answers to count with; None where there is none."""
        return [value_of(cell, self.kind) for cell in self.cells[annotator]]


def value_of(cell: Cell, kind: str) -> Any:
    """A cell as something to count with: equal where two answers say the same; None where there is none."""
    if not isinstance(cell, str):
        return None
    value = from_text(cell, kind)
    return contents(sorted(value) if kind == "labels" else value)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the vote says of one row."""

    label: str | None
    status: str
    """One of `STATUSES`."""
    support: float
    reason: str = ""


def read_votes(
    results: Path, kind: str, annotators: Sequence[str], stronger: Sequence[str] = (), end: int | None = None
) -> Votes:
    """The votes in a results table; `annotators` come first, whoever else answered a row behind them.

    Rows from the position `end` on are left out.
    """
    lines = up_to(pl.scan_parquet(results, glob=False), end)
    sure = (
        pl.col("confidence") if "confidence" in lines.collect_schema() else pl.lit(None)
    )  # written before there was one
    frame = lines.select(
        "row", "annotator", "answer", "answer_status", "repairs", "invalid_reason", sure.alias("confidence")
    ).collect()
    rows = frame["row"].unique(maintain_order=True).to_list()
    others = sorted(set(frame["annotator"].drop_nulls().unique().to_list()) - {*annotators, *stronger})
    places = {row: place for place, row in enumerate(rows)}
    cells: dict[str, list[Cell]] = {name: [None] * len(rows) for name in (*annotators, *others, *stronger)}
    stated: dict[str, list[float | None]] = {name: [None] * len(rows) for name in cells}
    asked = {name: [False] * len(rows) for name in stronger}
    said = {name: Counter[str]() for name in cells}
    repairs = Counter[str]()
    for row, annotator, answer, status, repaired, reason, confidence in frame.iter_rows():
        if annotator in asked:
            asked[annotator][places[row]] = True
        if annotator is None or status is None:
            continue
        cells[annotator][places[row]] = Invalid(reason) if status == "invalid" else answer
        stated[annotator][places[row]] = confidence
        said[annotator][status] += 1
        repairs.update(repaired.split(", ") if repaired else ())
    for name, counts in said.items():
        counts["missing"] = (sum(asked[name]) if name in stronger else len(rows)) - counts.total()
    return Votes(
        kind=kind, rows=rows, cells=cells, stated=stated, said=said, repairs=dict(repairs.most_common()), end=end,
        stronger=tuple(stronger), asked=asked,
    )  # fmt: skip


def up_to(lines: pl.LazyFrame, end: int | None) -> pl.LazyFrame:
    """The lines of the rows before a position."""
    return lines if end is None else lines.filter(pl.col("row") < end)


def verdicts(votes: Votes, voting: Voting) -> list[Verdict]:
    """What the vote says of each row."""
    known: dict[tuple[Cell, ...], Verdict] = {}
    found = []
    for cells in zip(*votes.cells.values(), strict=True):
        verdict = known.get(cells)
        if verdict is None:
            said = dict(zip(votes.cells, cells, strict=True))
            verdict = known[cells] = _escalated(said, votes, voting) or _verdict(
                {name: said[name] for name in votes.annotators}, votes.kind, voting
            )
        found.append(verdict)
    return found


def poll(cells: Mapping[str, Cell], kind: str, voting: Voting) -> Poll:
    """A vote on one row."""
    said = {name: from_text(cell, kind) if isinstance(cell, str) else cell for name, cell in cells.items()}
    return POLLS[kind](said, voting.weights or None)


def _escalated(cells: Mapping[str, Cell], votes: Votes, voting: Voting) -> Verdict | None:
    """What the stronger models say, if they were asked and do not contradict each other."""
    stronger = {name: cells[name] for name in votes.stronger if isinstance(cells[name], str)}
    if not stronger:
        return None
    chosen = poll(stronger, votes.kind, voting).value
    if chosen is None:
        return None
    text = as_text(Answer(chosen))
    given = [value_of(cell, votes.kind) for cell in cells.values() if isinstance(cell, str)]
    return Verdict(text, "escalated", given.count(value_of(text, votes.kind)) / len(given))


def _verdict(cells: Mapping[str, Cell], kind: str, voting: Voting) -> Verdict:
    found = poll(cells, kind, voting)
    if not found.votes:
        return Verdict(None, "none", 0.0, found.reason)
    if found.value is None:
        return Verdict(None, "tie", found.share, found.reason)
    if is_below(found.share, voting.least):
        return Verdict(None, "weak", found.share, f"a support of {found.share:.2f} is below {voting.least:.2f}")
    alike = len({value_of(cell, kind) for cell in cells.values() if isinstance(cell, str)}) == 1
    single = found.votes == 1 and len(cells) > 1
    status = "single" if single else "agreed" if alike else "median" if kind == "rating" else "majority"
    return Verdict(as_text(Answer(found.value)), status, found.share)
