"""Standard streams that stop nothing: a reader may go away, a terminal close, a disk be full, a stream be closed.

All text is UTF-8, whatever the locale says.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator


class Spoken(io.TextIOWrapper):
    """A stream that falls silent when what is behind it takes nothing any more."""

    failed: OSError | None = None
    """Why it fell silent."""

    def write(self, text: str) -> int:
        """Write, or be silent."""
        try:
            return super().write(text)
        except OSError as error:
            self._fall_silent(error)
            return len(text)

    def flush(self) -> None:
        """Hand over what was written, or be silent."""
        try:
            super().flush()
        except OSError as error:
            self._fall_silent(error)

    def _fall_silent(self, error: OSError) -> None:
        self.failed = error
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, self.fileno())  # what is still held back goes there, also when the interpreter ends
        os.close(nowhere)


@contextlib.contextmanager
def spoken() -> Iterator[Spoken | None]:
    """For as long as the context lasts, standard output and standard error are such streams; gives standard output.

    None where it is no file but something that a test or another program has put there.
    """
    _open_what_is_closed()
    before = sys.stdout, sys.stderr
    ours = [_spoken(stream) for stream in before]
    sys.stdout, sys.stderr = (mine or stream for mine, stream in zip(ours, before, strict=True))
    try:
        yield ours[0]
    finally:
        sys.stdout, sys.stderr = before
        for stream in ours:
            if stream is not None:
                stream.flush()
                stream.detach()


def _spoken(stream: object) -> Spoken | None:
    if not isinstance(stream, io.TextIOWrapper):
        return None
    stream.flush()
    return Spoken(stream.buffer, "utf-8", "replace", line_buffering=stream.line_buffering)


def _open_what_is_closed() -> None:
    """See to it that no file of ours becomes standard output or standard error, and gets what is said there."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
