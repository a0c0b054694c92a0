"""Small tables beside a job's input, as a job file names them: read whole, and kept in the declaration."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from runner.core.errors import InputRejected, UsageError
from runner.storage.rows import BadRow, Row
from runner.storage.sources import open_source
from runner.storage.times import plain

MOST_ROWS = 10_000
MOST_BYTES = 8 * 1024 * 1024
"""A declaration stands in the manifest of each of its runs, which is read for every look at the run."""


def read_small(path: str, section: str, column: str) -> tuple[Mapping[str, Any], ...]:
    """The rows of a JSONL, CSV or Parquet file as JSON values; each has `column`.

    Raises UsageError, naming the section, the file and the line, for what cannot be read, and for a table that is
    empty or too large.
    """
    rows: list[Mapping[str, Any]] = []
    size = 0
    try:
        for record in open_source(Path(path)):
            if isinstance(record, BadRow):
                raise UsageError(f"[{section}]: {path}: {record.where}: {record.reason}.")
            if column not in record.columns:
                names = ", ".join(list(record.columns)[:8]) or "none"
                raise UsageError(f"[{section}]: {path}: {record.where}: no column {column!r}; there are {names}.")
            text = orjson.dumps(dict(record.columns), default=plain)
            size += len(text)
            rows.append(orjson.loads(text))
            if len(rows) > MOST_ROWS or size > MOST_BYTES:
                most = f"{MOST_ROWS:,} rows, and {MOST_BYTES // 2**20} MiB"
                raise UsageError(f"[{section}]: {path} is too large: it may have {most} at most.")
    except InputRejected as error:
        raise UsageError(f"[{section}]: {str(error).removesuffix('.')}.") from None
    except TypeError:
        raise UsageError(
            f"[{section}]: {path}: a number of more than 64 bits cannot be kept in a job: write it as a text."
        ) from None
    if not rows:
        raise UsageError(f"[{section}]: {path} holds no rows.")
    return tuple(rows)


def placed(rows: Iterable[Mapping[str, Any]], first: int, section: str) -> tuple[Row, ...]:
    """Such rows as records, with positions from `first` on; their digests are those of no row of an input."""
    return tuple(
        Row(first + number, f"[{section}] row {number + 1}", columns, _digest(section, columns))
        for number, columns in enumerate(rows)
    )


def _digest(section: str, columns: Mapping[str, Any]) -> str:
    return hashlib.blake2b(section.encode() + orjson.dumps(columns), digest_size=12).hexdigest()
