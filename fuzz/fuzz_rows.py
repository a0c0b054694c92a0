"""Any bytes, as a file of rows: they are read, or bad rows, or one InputRejected; never more than that."""

from __future__ import annotations

import gzip
import io
import tempfile
from contextlib import suppress
from pathlib import Path

import polars as pl

from runner.core.errors import InputRejected
from runner.storage.rows import BadRow, Row, Source

JSONL = (
    b'\xef\xbb\xbf{"a": 1, "b": {"a": [1.5, null]}}\r\n\n{"a": "\\u003a\\ud83d\\ude00"}\n'
    b'{"a": 1, "a": 2}\n[1]\n{"a": "\xff"}\n'
)
CSV = b'a,b\n1,"x ""y"", z"\n2,"two\nlines"\n3\n'


def _parquet() -> bytes:
    file = io.BytesIO()
    pl.DataFrame({"a": ["x", None, "x"], "b": [[1], [], None]}).write_parquet(file, compression="uncompressed")
    return file.getvalue()


SEEDS = (JSONL, CSV, gzip.compress(JSONL, mtime=0), _parquet())


def one(data: bytes) -> None:
    """Read the bytes as what they say that they are, and as CSV."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("rows.jsonl", "rows.csv"):
            path = Path(folder) / name
            path.write_bytes(data)
            with suppress(InputRejected):
                for index, record in enumerate(Source(path)):
                    assert isinstance(record, Row | BadRow)  # noqa: S101
                    assert record.index == index  # noqa: S101


if __name__ == "__main__":
    from driver import drive

    drive(one, SEEDS)
