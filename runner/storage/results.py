"""Results tables, folded from the journal and the input. They can be thrown away and made again.

The input is read once more, in order, and each task's last frame is fetched from the journal by its offset: neither
is ever in memory whole. The same journal and input give the same bytes.
"""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import polars as pl
from polars.io.plugins import register_io_source

from runner.core.errors import InputRejected, StorageFailed
from runner.core.tasks import naming_column
from runner.core.values import Outcome, Status
from runner.storage import journal
from runner.storage.history import History, Paid, paid_for
from runner.storage.json_objects import written
from runner.storage.rows import BadRow, Record, Row
from runner.storage.times import is_finer, plain

BATCH = 5_000
BATCH_BYTES = 1 * 1024 * 1024
"""Rows of a table that are made at once, at most: so many, and about so many bytes."""
GROUP_BYTES = 16 * 1024 * 1024
"""About so many bytes are in a row group of a table, which is in memory whole while it is written. In smaller ones more
is kept to the end: polars holds some 4 kB of each column of each group until the file is closed."""
GROUP = 100_000
STATISTICS = {"min": False, "max": False, "distinct_count": False, "null_count": True}
"""Of each group's columns. The smallest and the largest text of every group would stay in memory to the end."""
MEASURED = 100
"""Rows by which the others' size is judged."""

RESULT_SCHEMA: dict[str, Any] = {
    "row": pl.Int64,
    "id": pl.String,
    "model": pl.String,
    "annotator": pl.String,
    "status": pl.String,
    "outcome": pl.String,
    "text": pl.String,
    "answer": pl.String,
    "answer_status": pl.String,
    "repairs": pl.String,
    "invalid_reason": pl.String,
    "confidence": pl.Float64,
    "tool_calls": pl.String,
    "error_type": pl.String,
    "error_message": pl.String,
    "finish_reason": pl.String,
    "estimated_input_tokens": pl.Int64,
    "input_tokens": pl.Int64,
    "cached_input_tokens": pl.Int64,
    "output_tokens": pl.Int64,
    "reasoning_tokens": pl.Int64,
    "max_tokens": pl.Int64,
    "cost_usd": pl.Float64,
    "attempts": pl.Int64,
    "latency_s": pl.Float64,
}
"""The runner's own columns; the input's follow."""

SPENT: Mapping[str, str] = {
    "estimated_input_tokens": "est",
    "input_tokens": "input",
    "cached_input_tokens": "cached_input",
    "output_tokens": "output",
    "reasoning_tokens": "reasoning",
    "cost_usd": "cost",
}
"""Columns of what a task has cost, over all replies to it -> their names in frames."""

ERROR_COLUMNS = ("row", "id", "model", "status", "error_type", "error_message", "attempts")

ATTEMPT_SCHEMA: dict[str, Any] = {
    "row": pl.Int64,
    "model": pl.String,
    "attempt": pl.Int64,
    "landed_at": pl.Float64,
    "latency_s": pl.Float64,
    "status": pl.String,
    "http_status": pl.Int64,
    "error_type": pl.String,
    "error_message": pl.String,
    "ambiguous": pl.Boolean,
    "estimated_input_tokens": pl.Int64,
    "input_tokens": pl.Int64,
    "output_tokens": pl.Int64,
}

COLUMN_TYPES: Mapping[str, Any] = {
    "int": pl.Int64,
    "float": pl.Float64,
    "bool": pl.Boolean,
    "str": pl.String,
    "json": pl.String,
    "null": pl.String,
}


Cells = Callable[[str, str, Mapping[str, Any]], Mapping[str, str | float | None]]
"""The text of a reply, its outcome and the row's columns -> the columns that say what it means."""


class Tables:
    """Writes the tables of one run."""

    def __init__(
        self,
        records: Callable[[], Iterable[Record]],
        tasks_of: Callable[[Row], list[tuple[int, str, str, str]]],
        history: History,
        journal_path: Path,
        columns: Mapping[str, Any],
        open_status: Status = Status.CANCELED,
        id_column: str | None = None,
        cells: Cells = lambda text, _outcome, _columns: {"answer": text.strip()},
    ) -> None:
        """`tasks_of` gives (slot, id, model, annotator) for each task of a row; `columns` the input's columns and their
        types.

        `open_status` is what a task without an outcome is said to be; `id_column` the job's column of ids; `cells` says
        what the text of a reply means.
        """
        self._records = records
        self._tasks_of = tasks_of
        self._history = history
        self._journal_path = journal_path
        self._open_status = open_status
        self._cells = cells
        repeated = naming_column(id_column, columns) == "id"
        self._columns = {name: kind for name, kind in columns.items() if not (repeated and name == "id")}
        self._names = names_in_table(self._columns)
        self._values = {name: _values_of(kind) for name, kind in self._columns.items()}
        self._finer = {name for name, kind in self._columns.items() if is_finer(kind)}
        self.schema = {**RESULT_SCHEMA, **{self._names[name]: kind for name, kind in self._columns.items()}}

    def write_results(self, path: Path) -> None:
        """One line for each task, in input order."""
        self._sink(self._results, self.schema, path)

    def write_errors(self, results: Path, path: Path) -> None:
        """The tasks that did not succeed, from the results table."""
        frame = pl.scan_parquet(results, glob=False).filter(pl.col("status") != Status.SUCCEEDED).select(ERROR_COLUMNS)
        write_table(frame, path)

    def write_attempts(self, path: Path) -> None:
        """One line for each request that was sent and came back, in the order of their landing."""
        self._sink(self._attempts, ATTEMPT_SCHEMA, path)

    def _sink(self, lines: Callable[[], Iterator[dict[str, Any]]], schema: Mapping[str, Any], path: Path) -> None:
        first = _frame(list(islice(lines(), MEASURED)), schema, None)

        def batches(
            with_columns: list[str] | None, _predicate: Any, _n_rows: int | None, _batch_size: int | None
        ) -> Iterator[pl.DataFrame]:
            rest, rows = lines(), _rows_in(BATCH_BYTES, first, BATCH)
            while batch := list(islice(rest, rows)):
                frame = _frame(batch, schema, with_columns)
                rows = _rows_in(BATCH_BYTES, frame, BATCH)
                yield frame
            yield _frame([], schema, with_columns)

        frame = register_io_source(batches, schema=pl.Schema(schema))
        write_table(frame, path, _rows_in(GROUP_BYTES, first, GROUP))

    def _results(self) -> Iterator[dict[str, Any]]:
        last = -1
        with self._journal_path.open("rb") as file:
            for record in self._records():
                last = record.index
                if isinstance(record, BadRow):
                    yield self._line(record, 0, str(record.index), "", "", {}, file)
                    continue
                for slot, name, model, annotator in self._tasks_of(record):
                    yield self._line(record, slot, name, model, annotator, record.columns, file)
        if last < self._history.last:
            raise _changed(f"row {self._history.last}")

    def _line(
        self,
        record: Record,
        slot: int,
        name: str,
        model: str,
        annotator: str,
        columns: Mapping[str, Any],
        file: BinaryIO,
    ) -> dict[str, Any]:
        line: dict[str, Any] = {"row": record.index, "id": name, "model": model, "annotator": annotator or None}
        offset = self._history.offset(record.index, slot)
        if offset < 0:
            line |= {"status": self._open_status} | _spent(self._history.paid(record.index, slot))
        else:
            payload = journal.read_at(file, offset)
            asked = (payload.get("key") or "").partition(":")[0]
            if asked and asked != (record.digest if isinstance(record, Row) else ""):
                raise _changed(record.where)
            _fill(line, payload, self._history.paid(record.index, slot))
            if not payload.get("failure"):
                said = self._cells(payload["text"], payload["outcome"], columns)
                line |= {name: _clean(value) if isinstance(value, str) else value for name, value in said.items()}
        exact = record.exact if isinstance(record, Row) else {}
        for column, kind in self._columns.items():
            value = (exact if column in self._finer else columns).get(column)
            line[self._names[column]] = _cell(value, kind, self._values[column])
        return line

    def _attempts(self) -> Iterator[dict[str, Any]]:
        under_way: dict[tuple[int, int, int], Mapping[str, Any]] = {}
        for frame in journal.read(self._journal_path):
            payload = frame.payload
            if payload["t"] in ("session", "closed"):  # what is still under way then was cut off
                yield from map(_unanswered, under_way.values())
                under_way.clear()
            if payload["t"] not in ("sent", "landed"):
                continue
            sending = (payload["row"], payload["slot"], payload["n"])
            if payload["t"] == "sent":
                under_way[sending] = payload
                continue
            under_way.pop(sending, None)
            failure = payload.get("failure") or {}
            usage = payload.get("usage") or {}
            yield {
                "row": payload["row"],
                "model": payload["model"],
                "attempt": payload["n"],
                "landed_at": payload["at"],
                "latency_s": payload["latency"],
                "status": "failed" if failure else "replied",
                "http_status": failure.get("status") if failure else 200,
                "error_type": failure.get("kind"),
                "error_message": _clean(failure.get("message")),
                "ambiguous": bool(failure.get("ambiguous")),
                "estimated_input_tokens": payload["est"],
                "input_tokens": usage.get("input"),
                "output_tokens": usage.get("output"),
            }


def _changed(where: str) -> InputRejected:
    return InputRejected(
        f"The input was changed while the run went: {where} is not what was asked. No table was written, so that no"
        " answer stands beside another row; all are kept in the journal. Put the input back as it was, and resume."
    )


def unread(results: Path) -> dict[str, int]:
    """Model -> how many of its whole answers cannot be read, by a results table."""
    invalid = (pl.col("answer_status") == "invalid") & (pl.col("outcome") == Outcome.OK)
    return dict(pl.scan_parquet(results, glob=False).filter(invalid).group_by("model").len().collect().iter_rows())


def _unanswered(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The line of a request of which nothing came back before its session ended."""
    return {
        "row": payload["row"],
        "model": payload["model"],
        "attempt": payload["n"],
        "status": "unanswered",
        "ambiguous": True,
        "estimated_input_tokens": payload["est"],
    }


def names_in_table(columns: Iterable[str]) -> dict[str, str]:
    """The names that input columns have in the table: `input_NAME` where the runner's own has that name."""
    names: dict[str, str] = {}
    taken = {*RESULT_SCHEMA, *(name for name in columns if name not in RESULT_SCHEMA)}
    for name in columns:
        names[name] = name
        if name in RESULT_SCHEMA:
            while names[name] in taken:
                names[name] = f"input_{names[name]}"
            taken.add(names[name])
    return names


def _fill(line: dict[str, Any], payload: Mapping[str, Any], earlier: Paid) -> None:
    """A result line from the frame that ended the task; `earlier` is for early frames, which tell of one reply only."""
    line["status"] = payload["final"]
    line["model"] = payload.get("model") or line["model"]
    line["attempts"] = payload.get("attempts")
    line["latency_s"] = payload.get("latency")
    line["estimated_input_tokens"] = payload.get("est")
    line["max_tokens"] = payload.get("cap")
    failure, before = payload.get("failure"), payload.get("before") or earlier
    line |= _spent(before if failure else paid_for(payload, before))
    if failure:
        line["error_type"] = failure["kind"]
        line["error_message"] = _clean(failure["message"])
        return
    line["outcome"] = payload["outcome"]
    line["text"] = _clean(payload["text"])
    line["finish_reason"] = payload["finish"]
    line["tool_calls"] = orjson.dumps(payload["calls"]).decode() if payload.get("calls") else None


def _spent(paid: Paid) -> dict[str, float]:
    """What all replies to a task have cost, where there are some."""
    return {name: round(paid[part], 12) for name, part in SPENT.items() if paid}


def _clean(text: str | None) -> str | None:
    """Text that a table can hold: lone surrogates are legal in JSON, and no UTF-8."""
    return text if text is None or text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _values_of(kind: Any) -> tuple[type, ...]:
    """The Python types of a column's values."""
    if is_finer(kind):
        return (int,)
    return (int, float) if kind == pl.Float64 else (kind.to_python(),)


def _cell(value: Any, kind: Any, values: tuple[type, ...]) -> Any:
    """A value of the input, as its column's type takes it; None if it does not, as in rows of another file."""
    if value is None:
        return None
    if kind == pl.String and not isinstance(value, str):
        return _json(value)
    if kind == pl.String:
        return _clean(value)
    if not isinstance(value, values) or (isinstance(value, bool) and bool not in values):
        return None
    if isinstance(value, int) and kind == pl.Int64 and not -(2**63) <= value < 2**63:
        return None  # a survey makes such a column text; where none was made, one cell must not stop the table
    return float(value) if kind == pl.Float64 and isinstance(value, int) else value


def _json(value: Any) -> str:
    return _clean(written(value, _odd)) or ""


def _odd(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else plain(value)


def _frame(batch: list[dict[str, Any]], schema: Mapping[str, Any], with_columns: list[str] | None) -> pl.DataFrame:
    data = {name: [line.get(name) for line in batch] for name in schema}
    frame = pl.DataFrame(data, schema=pl.Schema(schema))
    return frame if with_columns is None else frame.select(with_columns)


def _rows_in(amount: int, frame: pl.DataFrame, most: int) -> int:
    """How many rows like those of `frame` are in an amount of bytes: at most `most`, but some."""
    return max(1, min(most, amount * len(frame) // max(1, int(frame.estimated_size()))))


def batches_of(table: pl.LazyFrame) -> Iterator[pl.DataFrame]:
    """The lines of a table in their order, about as many bytes of them at once as a row group has."""
    rows = _rows_in(GROUP_BYTES, table.head(MEASURED).collect(), BATCH)
    return table.collect_batches(chunk_size=rows, maintain_order=True)


def write_table(frame: pl.LazyFrame, path: Path, group: int | None = None) -> None:
    """Write a table whole or not at all. Raises StorageFailed."""
    beside = path.with_name(f".{path.name}.new")
    try:
        # Made beforehand, so that it is the owner's alone from its first byte, and no link is followed.
        os.close(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        frame.sink_parquet(
            beside,
            compression="zstd",
            sync_on_close="all",
            maintain_order=True,
            row_group_size=group,
            statistics=STATISTICS,
        )
        beside.replace(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StorageFailed(f"{path} cannot be written: {str(error).partition(chr(10))[0][:300]}") from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
