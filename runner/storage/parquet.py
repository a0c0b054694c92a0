"""Parquet files of others, decoded in a process of its own (`decoding.py`) and handed over a few rows at a time.

What is damaged, or made to do harm, may crash the library that decodes it, by a panic, a segmentation fault or all of
the machine's memory. Then that process is gone, and the run knows why. Tables that the runner wrote itself are read
without it: they lie in the run's own directory, where only its owner writes.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import orjson
import polars as pl

from runner.storage.decoding import BROKEN, FRAME, REFUSED, memory

LONGEST_ANSWER = 1 * 1024**3
"""Bytes of one answer, at most."""
GIVEN = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
GIVEN_ALIKE = ("PYTHON", "POLARS_")
"""What the process has of our environment: these variables, and those that begin so. No token is among them."""


class Undecodable(Exception):
    """There are no rows to be had; the message says why, in a few words."""


class BrokenDown(Undecodable):
    """The process was lost; with fewer rows at once it may come through."""


class Decoder:
    """The process, started when something is asked and again when it was lost."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def schema(self, path: Path) -> dict[str, pl.DataType]:
        """The types of a file's columns. This and the others raise Undecodable."""
        return dict(self._ask(path).schema)

    def count(self, path: Path) -> int:
        """How many rows a file says that it has."""
        return int(self._ask(path, 0, None).item())

    def rows(self, path: Path, start: int, count: int) -> pl.DataFrame:
        """So many rows from the one numbered `start`; fewer at the end."""
        return self._ask(path, start, count)

    def stop(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # a question that nobody heard
                        pipe.close()

    def _ask(self, path: Path, *slice_: int | None) -> pl.DataFrame:
        with self._lock:
            try:
                kind, content = self._exchange(orjson.dumps([str(path.absolute()), *slice_]) + b"\n")
                if kind == FRAME:
                    return pl.read_ipc_stream(io.BytesIO(content))
            except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
                self.stop()
                raise Undecodable(f"the process that decoded it said what is none: {error}") from None
            except BaseException:  # what comes next would be the answer to this question
                self.stop()
                raise
            if kind == BROKEN:
                self.stop()
        raise Undecodable(content.decode("utf-8", "replace"))

    def _exchange(self, question: bytes) -> tuple[bytes, bytes]:
        process = self._process = self._process or _started()
        questions, answers = process.stdin, process.stdout
        if questions is None or answers is None:
            raise Undecodable("the process to decode it began without pipes")
        with contextlib.suppress(BrokenPipeError):  # it is gone: that is said below
            questions.write(question)
            questions.flush()
        head = answers.read(9)
        kind, length = head[:1], int.from_bytes(head[1:], "little")
        if len(head) == 9 and kind in (FRAME, REFUSED, BROKEN) and length <= LONGEST_ANSWER:
            content = answers.read(length)
            if len(content) == length:
                return kind, content
        raise BrokenDown(_how_it_ended(process))


def _started() -> subprocess.Popen[bytes]:
    env = {name: value for name, value in os.environ.items() if name in GIVEN or name.startswith(GIVEN_ALIKE)}
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "runner.storage.decoding"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env | {"RUST_BACKTRACE": "0"},
            start_new_session=True,  # Ctrl-C in the terminal is for the run, which reads on while its answers land
        )
    except OSError as error:
        raise Undecodable(f"no process to decode it could be started: {error.strerror}") from None


def _how_it_ended(process: subprocess.Popen[bytes]) -> str:
    process.kill()  # if it is still there, it spoke nonsense
    code = process.wait()
    said = os.read(process.stderr.fileno(), 64 * 1024) if process.stderr is not None else b""
    lines = [line for line in said.decode("utf-8", "replace").strip().splitlines() if not line.startswith("note:")]
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    last = f": {lines[-1][:200]}" if lines else ""
    return (
        f"the process that decoded it broke down ({how}{last}). It is damaged, or takes more than the "
        f"{memory() / 1024**3:.1f} GiB of memory that it may have. Write it anew, with smaller row groups"
    )


DECODER = Decoder()
"""One for all files: a folder may hold a thousand."""
atexit.register(DECODER.stop)
