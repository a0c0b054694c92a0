"""Lines out of a file, packed or not, that end: an archive has a bound, and so has a record of many lines."""

from __future__ import annotations

import csv
import gzip
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LARGEST_UNPACKED = 1024**3
MOST_TIMES = 1_000
"""An archive is taken for a bomb where it unpacks to more bytes than this, and to so many times its size."""
UNREADABLE = (OSError, EOFError, ValueError, zlib.error, zstd.ZstdError)
"""What files and archives raise when they cannot be read on."""


def packing_of(head: bytes) -> str | None:
    """How a file that begins with these bytes is packed."""
    return "gzip" if head[:2] == b"\x1f\x8b" else "zstd" if head == b"\x28\xb5\x2f\xfd" else None


@contextmanager
def opened(path: Path, packing: str | None, size: int) -> Iterator[Lines]:
    """The lines of a file of `size` bytes; they raise one of UNREADABLE."""
    with path.open("rb") as file:
        if packing is None:
            yield file
            return
        most = max(LARGEST_UNPACKED, MOST_TIMES * size)
        with gzip.open(file) if packing == "gzip" else zstd.open(file) as unpacked:
            yield Unpacked(unpacked, most)


class Lines(Protocol):
    """What lines are read from."""

    def readline(self, size: int = -1, /) -> bytes:
        """A line with its end, or its first `size` bytes."""


class Unpacked:
    """Lines out of an archive; raises ValueError once they are more than any data unpacks to."""

    def __init__(self, file: Lines, most: int) -> None:
        self._file = file
        self._left = most

    def readline(self, size: int = -1, /) -> bytes:
        """A line, or its first `size` bytes."""
        line = self._file.readline(size)
        self._left -= len(line)
        if self._left < 0:
            raise ValueError(
                f"it unpacks to more than {MOST_TIMES:,} times its size. If that is meant, unpack it beforehand"
            )
        return line


class Text:
    """Text line by line, so that a byte that is not UTF-8 is found in its own line, and no record grows without end."""

    def __init__(self, file: Lines, longest: int) -> None:
        """`longest` is the bound on a record, in bytes."""
        self._file = file
        self._longest = longest
        self._encoding = "utf-8-sig"
        self.taken = 0
        """Bytes since the last record's end; whoever reads records sets it to 0."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(self._longest + 1)
        if not line:
            raise StopIteration
        self.taken += len(line)
        if self.taken > self._longest:
            raise csv.Error(f"a record is longer than {self._longest // 2**20} MiB")
        text = line.decode(self._encoding)
        self._encoding = "utf-8"
        return text
