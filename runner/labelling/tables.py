"""The tables of a labelling run: the input with its labels, and what a person has to decide."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as types

from runner.core.answers import Invalid
from runner.labelling.votes import UNDECIDED, Verdict, Votes, up_to
from runner.storage.exports import defused
from runner.storage.results import RESULT_SCHEMA
from runner.storage.rundir import replace_file

DECISION = "decision"
"""The column that a person fills in."""


def input_columns(results: Path) -> dict[str, str]:
    """The columns of a results table that are the input's -> the names that they have in the input."""
    columns = [name for name in pl.scan_parquet(results, glob=False).collect_schema() if name not in RESULT_SCHEMA]
    return {name: _original(name, columns) for name in columns}


def _original(name: str, columns: Sequence[str]) -> str:
    """A results table calls a column `input_text` where the input's `text` would be taken for its own."""
    inner = name.removeprefix("input_")
    renamed = inner != name and inner in RESULT_SCHEMA and f"input_{name}" not in columns
    return inner if renamed else name


def labels_table(
    results: Path,
    votes: Votes,
    verdicts: Sequence[Verdict],
    sure: Sequence[float] | None,
    provenance: Mapping[str, str],
    without: str | None = None,
) -> pl.DataFrame:
    """One line for each row, in input order: the input's columns, then label, status, support and each annotator's.

    With `sure` there is a column that says how sure the annotators of each row are.

    The input's column `without` is left out. An input column with the name of one of ours is called `input_NAME`.
    """
    own: dict[str, pl.Series] = {
        "label": pl.Series([verdict.label for verdict in verdicts], dtype=pl.String),
        "label_status": pl.Series([verdict.status for verdict in verdicts], dtype=pl.String),
        "support": pl.Series([verdict.support for verdict in verdicts], dtype=pl.Float64),
        **({} if sure is None else {"confidence": pl.Series(sure, dtype=pl.Float64)}),
        **{
            name: pl.Series([cell if isinstance(cell, str) else None for cell in votes.cells[name]], dtype=pl.String)
            for name in votes.cells
        },
        **{name: pl.Series([value] * len(verdicts), dtype=pl.String) for name, value in provenance.items()},
    }
    columns = {name: original for name, original in input_columns(results).items() if original != without}
    names = _beside(columns, own)
    lines = up_to(pl.scan_parquet(results, glob=False), votes.end)
    first = lines.select(types.by_name("row", "id", *columns)).unique("row", keep="first").sort("row")
    return first.collect().rename(names).with_columns(**own)


def _beside(columns: Mapping[str, str], own: Iterable[str]) -> dict[str, str]:
    """The names of input columns in a table: their own, or `input_NAME` beside one of ours that is called so."""
    names: dict[str, str] = {}
    for name, original in columns.items():
        taken = {"row", "id", *own, *names.values(), *(set(columns.values()) - {original})}
        names[name] = next(new for times in range(99) if (new := "input_" * times + original) not in taken)
    return names


def ids_of(results: Path, end: int | None = None) -> dict[int, str]:
    """Row -> its id; rows from the position `end` on are left out."""
    return dict(up_to(pl.scan_parquet(results, glob=False), end).select("row", "id").unique().collect().iter_rows())


def write_disagreements(
    results: Path, votes: Votes, verdicts: Sequence[Verdict], hidden: Sequence[str], path: Path
) -> int:
    """The rows without a label as CSV for a person to decide, with an empty column for that; how many there are.

    Columns that are `hidden`, as those with known labels are, are left out. Cells that a spreadsheet would take for
    formulas are defused; columns are named as in the table of labels.
    """
    kinds = pl.scan_parquet(results, glob=False).collect_schema()
    texts = {
        name: original
        for name, original in input_columns(results).items()
        if kinds[name] == pl.String and original not in hidden
    }
    open_rows = {row: at for at, row in enumerate(votes.rows) if verdicts[at].status in UNDECIDED}
    frame = (
        pl.scan_parquet(results, glob=False)
        .filter(pl.col("row").is_in(list(open_rows)))
        .select(types.by_name("row", "id", *texts))
        .unique("row", keep="first")
        .sort("row")
        .collect()
    )
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    own = [*votes.cells, "reason", DECISION]
    writer.writerow(map(defused, ["row", "id", *_beside(texts, own).values(), *own]))
    for line in frame.iter_rows(named=True):
        at = open_rows[line["row"]]
        said = [_shown(cells[at]) for cells in votes.cells.values()]
        writer.writerow(map(defused, [*line.values(), *said, verdicts[at].reason, ""]))
    replace_file(path, text.getvalue().encode())
    return len(open_rows)


def _shown(cell: Any) -> str:
    return f"(invalid: {cell.reason})" if isinstance(cell, Invalid) else cell or ""
