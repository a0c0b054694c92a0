"""A log file with a bound on its size: ours alone, turned over when it is full, and never in the way of a run."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from runner.core.errors import RunnerError, UsageError
from runner.storage.rundir import make_folder

LARGEST = 1024 * 1024
"""Bytes of a log; there are this one and OLD before it."""
OLD = 2


def open_log(path: Path) -> BinaryIO:
    """A log to write at its end; raises UsageError if it is somebody else's file, or no file, or open to others."""
    try:
        make_folder(path.parent)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise UsageError(f"The log {path} cannot be written: {error.strerror}.") from None
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(fd)
        raise UsageError(f"The log {path} is not a file of yours.")
    os.fchmod(fd, 0o600)
    return os.fdopen(fd, "ab", buffering=0)


class Log(io.TextIOBase):
    """A stream of text into a log."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, path: Path, largest: int = LARGEST) -> None:
        super().__init__()
        self._path, self._largest = path, largest
        self._sink = open_log(path)
        self._size = os.fstat(self._sink.fileno()).st_size

    def writable(self) -> bool:
        """It is for writing."""
        return True

    def write(self, text: str) -> int:
        """Write, and turn the log over before it becomes too large. A full disk loses the text, and stops nothing."""
        data = text.encode(self.encoding, self.errors)
        with contextlib.suppress(OSError, UsageError):
            if self._size and self._size + len(data) > self._largest:
                self._turn()
            self._sink.write(data)
            self._size += len(data)
        return len(text)

    def _turn(self) -> None:
        for number in reversed(range(OLD)):
            older = self._path if number == 0 else self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number + 1}"))
        self._sink.close()
        self._sink = open_log(self._path)
        self._size = 0

    def close(self) -> None:
        """Close it."""
        self._sink.close()
        super().close()


def is_standard_error(path: Path) -> bool:
    """Whether this process was started with the log as its standard error, as a run in the background is."""
    try:
        return os.path.samestat(os.fstat(2), path.stat())
    except OSError:
        return False


@contextlib.contextmanager
def logged(path: Path | None) -> Iterator[None]:
    """What is said goes into a log, for as long as the context lasts; what ends the run is said outside too.

    With None as path everything is said as always.
    """
    if path is None:
        yield
        return
    with Log(path) as log:
        before = sys.stdout, sys.stderr
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} process {os.getpid()} begins\n")
        sys.stdout = sys.stderr = log
        try:
            yield
        except RunnerError as error:
            if not is_standard_error(path):
                log.write(f"runner: {error}\n")
            raise
        finally:
            sys.stdout, sys.stderr = before
