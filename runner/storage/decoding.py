"""The process that decodes Parquet for `parquet.py`: a damaged or hostile file may crash it, and nothing else.

It is asked questions, lines of JSON on its standard input: `[path]` for the types of the columns, as a frame without
rows; `[path, 0, null]` for the number of rows, as a frame of one cell; `[path, start, rows]` for rows. It answers each
on its standard output with a kind of one byte, a length of eight, and so many bytes: a frame as Arrow's IPC stream, or
a sentence that says why there is none. It ends with whoever asks: its standard input closes then.
"""

from __future__ import annotations

import contextlib
import io
import os
import queue
import resource
import sys
import threading
from pathlib import Path
from typing import Any

import orjson
import polars as pl

FRAME, REFUSED, BROKEN = b"F", b"R", b"B"
"""Kinds of answers: what was asked for; why the file cannot be read; the same, and this process is of no more use."""
LEAST_MEMORY, MOST_MEMORY = 1 * 1024**3, 4 * 1024**3
"""Bytes that the process may take: half of the machine's memory, between these."""
AHEAD = 16 * 1024**2
"""About so many bytes are decoded at once, and handed over in parts: beginning in the midst of a file has its cost."""
PROCESSOR_SECONDS = 300
"""For one answer. A file on a slow disk takes none while it is waited for."""


def memory() -> int:
    """How many bytes the process may take on this machine."""
    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return max(LEAST_MEMORY, min(MOST_MEMORY, half))


def main() -> None:
    """Answer questions until standard input closes."""
    _bound(resource.RLIMIT_CORE, 0)
    _bound(resource.RLIMIT_DATA, memory())
    with contextlib.suppress(OSError):  # where memory runs out all the same, this process goes, not the run
        Path("/proc/self/oom_score_adj").write_text("1000")
    os.set_blocking(2, False)  # nobody reads what panics say before the process has ended
    questions: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(questions,), daemon=True).start()
    ahead = Ahead()
    while True:
        question = orjson.loads(questions.get())
        usage = resource.getrusage(resource.RUSAGE_SELF)
        _bound(resource.RLIMIT_CPU, int(usage.ru_utime + usage.ru_stime) + PROCESSOR_SECONDS)
        kind, content = _answer(ahead, *question)
        sys.stdout.buffer.write(kind + len(content).to_bytes(8, "little"))
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


def _listen(questions: queue.SimpleQueue[bytes]) -> None:
    for line in sys.stdin.buffer:
        questions.put(line)
    os._exit(0)  # also in the middle of an answer: nobody waits for it


def _bound(what: int, amount: int) -> None:
    _, hard = resource.getrlimit(what)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(what, (amount if hard == resource.RLIM_INFINITY else min(amount, hard), hard))


class Ahead:
    """The rows that were decoded last, of one file, and some behind them."""

    def __init__(self) -> None:
        self._path = ""
        self._start = 0
        self._frame = pl.DataFrame()

    def forget(self) -> None:
        """Another reading begins; the file may have changed."""
        self._path, self._frame = "", pl.DataFrame()

    def rows(self, scan: pl.LazyFrame, path: str, start: int, count: int) -> pl.DataFrame:
        """So many rows from the one numbered `start`; fewer at the end."""
        at, known = start - self._start, len(self._frame)
        if path == self._path and at >= 0 and at + count <= known:
            return self._frame.slice(at, count)
        size = int(self._frame.estimated_size()) if path == self._path else 0
        more = AHEAD * known // size if size else count
        self.forget()  # so that no two are in memory together
        frame = scan.slice(start, max(count, more)).collect()
        frame[[name for name, kind in frame.schema.items() if not _is_plain(kind)]].rows()
        self._path, self._start, self._frame = path, start, frame
        return frame.head(count)


def _answer(ahead: Ahead, path: str, *slice_: Any) -> tuple[bytes, bytes | memoryview]:
    try:
        scan = pl.scan_parquet(path, glob=False)
        if not slice_:
            frame = pl.DataFrame(schema=scan.collect_schema())
        elif slice_[1] is None:
            ahead.forget()
            frame = scan.select(pl.len()).collect()
        else:
            frame = ahead.rows(scan, path, *slice_)
        content = io.BytesIO()
        # With the newest types, a text that many rows share stands there once.
        frame.write_ipc_stream(content, compat_level=pl.CompatLevel.newest())
        return FRAME, content.getbuffer()
    except (pl.exceptions.PanicException, MemoryError) as error:
        return BROKEN, _said(error)
    except Exception as error:
        return REFUSED, _said(error)


def _is_plain(kind: pl.DataType) -> bool:
    """Whether any value of a type is a value of Python, too; there are times, for one, for which it has no date."""
    return kind.is_integer() or kind.is_float() or kind in (pl.String, pl.Binary, pl.Boolean, pl.Null)


def _said(error: BaseException) -> bytes:
    return str(error).partition("\n")[0][:300].encode("utf-8", "replace")


if __name__ == "__main__":
    main()
