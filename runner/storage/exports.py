"""Results in the forms that other programs read: CSV, JSONL, Parquet, and the files of OpenAI's Batch API."""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import polars as pl
import polars.selectors as types

from runner.core.commands import command
from runner.core.errors import StorageFailed, UsageError
from runner.core.values import Status
from runner.storage.results import batches_of
from runner.storage.rundir import RunDirectory
from runner.storage.times import is_finer

HUGE = types.by_dtype(pl.Int128, pl.UInt128)
"""Columns of integers that have more than 64 bits."""
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the beginning of a formula (OWASP, CSV Injection)."""

FINISH = {
    "ok": "stop",
    "truncated": "length",
    "filtered": "content_filter",
    "refused": "stop",
    "tool_calls": "tool_calls",
}


Shown = Callable[[str], str]
"""Makes text safe for the terminal that it is written to."""


def export(
    path: Path,
    form: str,
    out: Path | None,
    *,
    table: str = "results",
    raw_cells: bool = False,
    shown: Shown | None = None,
) -> list[tuple[str, int]]:
    """Write a run's results, or another of its tables, to `out`, or to standard output; the files, and their lines.

    `shown` is given where standard output is a terminal. Raises UsageError if the run has no such table, `out` exists,
    or a terminal is to show Parquet.
    """
    if shown is not None and form == "parquet":
        raise UsageError("Parquet is nothing for a terminal; give --out FILE.")
    directory = RunDirectory.open(path)
    source = directory.path / f"{table}.parquet"
    if form == "openai-batch" and table != "results":
        raise UsageError(f"OpenAI's batch output is made of results, not of {table}.")
    if not source.is_file():
        raise UsageError(f"{path} has no {table}: {_why_not(directory, table)}.")
    beside = None if out is None else out.with_name(f"{out.stem}.errors{out.suffix}")
    for target in (out, beside if form == "openai-batch" else None):
        if target is not None and (target.exists() or target.is_symlink()):
            raise UsageError(f"{target} exists; nothing was written.")
    try:
        return _export(directory, source, form, out, beside, raw_cells, shown)
    except pl.exceptions.PolarsError as error:
        reason = str(error).partition("\n")[0][:300]
        raise StorageFailed(
            f"{source} cannot be read: {reason} Remove it, and {_anew(directory)} writes it anew."
        ) from None


def _why_not(directory: RunDirectory, table: str) -> str:
    if table not in ("results", "attempts"):  # others are not made by every job
        return "its job makes none"
    if directory.summary_path.is_file():
        return f"they are not there any more; {_anew(directory)} writes them anew"
    return "they are written when the run ends, or stops"


def _anew(directory: RunDirectory) -> str:
    """Nothing is asked for that again: the journal has it all."""
    return command("resume", directory.path)


def _export(
    directory: RunDirectory,
    source: Path,
    form: str,
    out: Path | None,
    beside: Path | None,
    raw_cells: bool,
    shown: Shown | None,
) -> list[tuple[str, int]]:
    if form == "parquet":
        return [_copy(source, out)]
    if form == "csv":
        return [_write(out, lambda sink: _csv(source, sink, raw_cells), shown)]
    if form == "jsonl":
        return [_write(out, lambda sink: _lines(source, sink, lambda line: line), shown)]
    created = int(directory.manifest_path.stat().st_mtime)

    def output(line: Mapping[str, Any]) -> dict[str, Any] | None:
        return _batch_output(line, created) if line["status"] == Status.SUCCEEDED else None

    def error(line: Mapping[str, Any]) -> dict[str, Any] | None:
        return None if line["status"] == Status.SUCCEEDED else _batch_error(line)

    written = [_write(out, lambda sink: _lines(source, sink, output), shown)]
    if beside is not None:
        written.append(_write(beside, lambda sink: _lines(source, sink, error)))
    return written


def unanswered(path: Path) -> int:
    """How many lines of a run's results are none of OpenAI's output file, but of its error file."""
    failed = pl.scan_parquet(RunDirectory(path).results_path, glob=False).filter(pl.col("status") != Status.SUCCEEDED)
    return int(failed.select(pl.len()).collect().item())


def rows(results: Path) -> Iterator[dict[str, Any]]:
    """The lines of a results table; durations, and times that are finer than Python's, are texts, by ISO 8601.

    So are integers of 128 bits, which are too large for numbers in JSON.
    """
    table = pl.scan_parquet(results, glob=False)
    kinds = table.collect_schema().items()
    timed = types.by_name(*(name for name, kind in kinds if kind == pl.Duration or is_finer(kind)))
    said = timed.dt.to_string("iso:strict"), HUGE.cast(pl.String)
    for batch in batches_of(table.with_columns(*said)):
        yield from batch.iter_rows(named=True)


class _Screen(io.RawIOBase):
    """Standard output where it is a terminal: what is shown there was made by strangers."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown

    def writable(self) -> bool:
        """It is written to."""
        return True

    def write(self, data: Any, /) -> int:
        """Show text that is whole."""
        sys.stdout.write(self._shown(bytes(data).decode()))
        return len(data)


def _write(out: Path | None, write: Callable[[Any], int], shown: Shown | None = None) -> tuple[str, int]:
    if out is None:
        return "-", _say(write, sys.stdout.buffer if shown is None else _Screen(shown))
    beside = out.with_name(f".{out.name}.new")
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as sink:
            lines = write(sink)
        beside.replace(out)
    except OSError as error:
        raise StorageFailed(f"{out} cannot be written: {error.strerror}.") from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()
    return str(out), lines


def _say(write: Callable[[Any], int], sink: Any) -> int:
    """Write to standard output; that nobody reads any more is no error, and ends it."""
    try:
        lines = write(sink)
        sys.stdout.flush()
    except BrokenPipeError:
        return 0
    except OSError as error:
        raise StorageFailed(f"Standard output cannot be written: {error.strerror}.") from None
    return lines


def _copy(results: Path, out: Path | None) -> tuple[str, int]:
    def write(sink: BinaryIO) -> int:
        with results.open("rb") as file:
            shutil.copyfileobj(file, sink)
        return int(pl.scan_parquet(results, glob=False).select(pl.len()).collect().item())

    return _write(out, write)


def _lines(results: Path, sink: BinaryIO, form: Callable[[Mapping[str, Any]], Mapping[str, Any] | None]) -> int:
    count = 0
    for line in rows(results):
        shaped = form(line)
        if shaped is not None:
            sink.write(orjson.dumps(shaped, default=str, option=orjson.OPT_APPEND_NEWLINE))
            count += 1
    return count


def _csv(results: Path, sink: BinaryIO, raw_cells: bool) -> int:
    kinds = pl.scan_parquet(results, glob=False).collect_schema()
    names, safe = list(kinds), {name for name, kind in kinds.items() if kind.is_temporal() or kind.is_integer()}
    writer = csv.writer(codecs.getwriter("utf-8")(sink))  # it leaves the sink open, whatever happens
    writer.writerow(names if raw_cells else [defused(name) for name in names])
    count = 0
    for line in rows(results):
        writer.writerow([value if raw_cells or name in safe else defused(value) for name, value in line.items()])
        count += 1
    return count


def defused(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _batch_id(line: Mapping[str, Any]) -> str:
    return f"batch_req_{line['row']}_{line['model']}"


def _batch_output(line: Mapping[str, Any], created: int) -> dict[str, Any]:
    """A line of OpenAI's batch output file, with a chat completion as its body."""
    message: dict[str, Any] = {"role": "assistant", "content": line["text"], "refusal": None}
    if line["outcome"] == "refused":
        message |= {"content": None, "refusal": line["text"]}
    if line["tool_calls"]:
        message["tool_calls"] = orjson.loads(line["tool_calls"])
    prompt, completion = line["input_tokens"] or 0, line["output_tokens"] or 0
    body = {
        "id": f"chatcmpl-{line['row']}",
        "object": "chat.completion",
        "created": created,
        "model": line["model"],
        "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": FINISH.get(line["outcome"], "stop")}
        ],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
    }
    return {
        "id": _batch_id(line),
        "custom_id": line["id"],
        "response": {"status_code": 200, "request_id": f"row-{line['row']}", "body": body},
        "error": None,
    }


BATCH_CODES = {Status.EXPIRED: "batch_expired", Status.CANCELED: "batch_cancelled"}


def _batch_error(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line of OpenAI's batch error file."""
    code = BATCH_CODES.get(line["status"]) or line["error_type"]
    message = line["error_message"] or "This request was not sent before the run ended."
    return {
        "id": _batch_id(line),
        "custom_id": line["id"],
        "response": None,
        "error": {"code": code, "message": message},
    }
