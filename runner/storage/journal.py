"""The append-only record of a run: the single truth about it.

A frame is one line: length and CRC-32 of the payload in hexadecimal, then the payload, a JSON object. Frames of what
is about to be sent are handed to the kernel before the request goes out (`write`); a thread makes frames durable a
few times a second (group commit). A failed write or sync is never tried again: the run stops, and the next start
trusts only what reads back whole.

A torn tail is cut off when the journal is opened again; a damaged frame with whole frames behind it is refused.
"""

from __future__ import annotations

import os
import re
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from runner.core.errors import StorageFailed

VERSION = 1
COMMIT_SECONDS = 0.05
HEAD = 18
"""Bytes before the payload: two numbers of eight hexadecimal digits, each with a space behind it."""
CHUNK = 1024 * 1024
_HEAD = re.compile(rb"[0-9a-f]{8} [0-9a-f]{8} \{")


def frame(payload: Mapping[str, Any]) -> bytes:
    """One frame, newline included."""
    body = orjson.dumps(payload)
    return b"%08x %08x %b\n" % (len(body), zlib.crc32(body), body)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that reads back whole, and where it stands."""

    offset: int
    end: int
    payload: dict[str, Any]


class Journal:
    """The one writer of a run's journal."""

    def __init__(self, path: Path) -> None:
        """Open for appending; whoever opens it holds the run directory's lock."""
        self.path = path
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageFailed(f"The journal {path} cannot be opened: {error.strerror}.") from None
        self._end = os.fstat(self._fd).st_size
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._synced = self._end
        self._failure: str | None = None
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._commit, name="journal", daemon=True)
        self._thread.start()

    def append(self, payload: Mapping[str, Any]) -> int:
        """Add a frame to what the next `write` hands over; the offset at which it will stand."""
        data = frame(payload)
        offset = self._end + self._buffered
        self._buffer.append(data)
        self._buffered += len(data)
        return offset

    def write(self) -> None:
        """Hand all appended frames to the kernel; raises StorageFailed if it does not take them."""
        if self._failure is not None:
            raise StorageFailed(self._failure)
        if not self._buffer:
            return
        data = b"".join(self._buffer)
        self._buffer.clear()
        self._buffered = 0
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            self._failure = f"The journal {self.path} cannot be written: {error.strerror}."
            # What was written of the last frames is taken back, so that the journal ends with a whole frame.
            os.ftruncate(self._fd, self._end)
            raise StorageFailed(self._failure) from None
        self._end += len(data)
        self._wake.set()

    def _commit(self) -> None:
        while not self._closing:
            self._wake.wait()
            self._wake.clear()
            if self._closing or self._failure is not None:
                return
            self._sync()
            threading.Event().wait(COMMIT_SECONDS)

    def _sync(self) -> None:
        end = self._end
        if end == self._synced:
            return
        try:
            os.fsync(self._fd)
        except OSError as error:
            self._failure = f"The journal {self.path} could not be made durable: {error.strerror}."
        else:
            self._synced = end

    def close(self) -> None:
        """Write and sync what is left; raises StorageFailed if that does not succeed."""
        try:
            self.write()
        finally:
            self._closing = True
            self._wake.set()
            self._thread.join()
            if self._failure is None:
                self._sync()
            os.close(self._fd)
        if self._failure is not None:
            raise StorageFailed(self._failure)


def read(path: Path) -> Iterator[Frame]:
    """All whole frames, in order. A torn tail ends the reading; damage before whole frames raises StorageFailed."""
    with path.open("rb") as file:
        offset = 0
        for line in file:
            payload = _payload(line)
            if payload is None:
                if _hides_frame(line) or any(_payload(later) is not None or _hides_frame(later) for later in file):
                    raise StorageFailed(
                        f"The journal {path} is damaged at byte {offset}, with whole frames behind the damage."
                    )
                return
            yield Frame(offset, offset + len(line), payload)
            offset += len(line)


def checksum(path: Path) -> dict[str, int]:
    """The length and the CRC-32 of a whole journal."""
    check, length = 0, 0
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            check = zlib.crc32(chunk, check)
            length += len(chunk)
    return {"bytes": length, "crc32": check}


def _payload(line: bytes) -> dict[str, Any] | None:
    try:
        length, check = int(line[:8], 16), int(line[9:17], 16)
    except ValueError:
        return None
    body = line[HEAD:-1]
    if len(body) != length or line[-1:] != b"\n" or zlib.crc32(body) != check:
        return None
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return payload if isinstance(payload, dict) else None


def _hides_frame(line: bytes) -> bool:
    """Whether a damaged line has a whole frame in it, behind a newline that is gone."""
    return any(_payload(line[found.start() :]) is not None for found in _HEAD.finditer(line, 1))


def read_at(file: Any, offset: int) -> dict[str, Any]:
    """The payload of the frame at an offset that `read` gave."""
    file.seek(offset)
    payload = _payload(file.readline())
    if payload is None:
        raise StorageFailed(f"The journal's frame at byte {offset} no longer reads back.")
    return payload


def cut_torn_tail(path: Path, end: int) -> int:
    """Cut the journal to `end`, where its last whole frame ends; the number of bytes that went."""
    size = path.stat().st_size
    if size > end:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, end)
            os.fsync(fd)
        finally:
            os.close(fd)
    return max(0, size - end)
