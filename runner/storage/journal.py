"""The append-only record of a run: the single truth about it.

A frame is one line: the length and the CRC-32 of the payload, and the chain, each in eight hexadecimal digits; then the
payload, a JSON object. The chain is the CRC-32 of all checksums so far, so that no frame can be missing or in another's
place. Journals of the first version have no chain; they are read as they are, and continued with one.

Frames of what is about to be sent are handed to the kernel before the request goes out (`write`); they are made durable
a few times a second (`Committer`, a group commit). A failed write or sync is never tried again: the run stops, and the
next start trusts only what reads back whole, from the disk (`read_anew`).

A torn tail is cut off when the journal is opened again; damage with whole frames behind it is refused, and is for
`storage.repair`.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

from runner.core.commands import command
from runner.core.errors import StorageDamaged, StorageFailed
from runner.storage.rundir import sync_directory

VERSION = 2
COMMIT_SECONDS = 0.05
CHUNK = 1024 * 1024
_HEAD = re.compile(rb"[0-9a-f]{8} [0-9a-f]{8} (?:[0-9a-f]{8} )?\{")
_CHAINED = 27
"""Bytes before the payload, for three numbers; the first version has two."""
_UNCHAINED = 18


def frame(payload: Mapping[str, Any], chain: int = 0) -> tuple[bytes, int]:
    """One frame behind others with this chain, newline included; and the chain with it."""
    body = orjson.dumps(payload)
    check = zlib.crc32(body)
    chain = _link(chain, check)
    return b"%08x %08x %08x %b\n" % (len(body), check, chain, body), chain


def _link(chain: int, check: int) -> int:
    return zlib.crc32(b"%08x" % check, chain)


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that reads back whole, and where it stands."""

    offset: int
    end: int
    payload: dict[str, Any]
    chain: int = 0
    """Of this frame and all before it."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are no frame, or a place where frames are missing."""

    offset: int
    end: int


class AppendFile(Protocol):
    """What a journal stands on: a file that only grows. Everything here may raise OSError."""

    name: str

    def size(self) -> int:
        """Its length in bytes."""

    def write(self, data: memoryview) -> int:
        """Append some of the bytes; how many they were."""

    def sync(self) -> None:
        """Make durable what was written."""

    def truncate(self, size: int) -> None:
        """Cut it to a length."""

    def close(self) -> None:
        """Let go of it."""


class DiskFile:
    """A file of the operating system; raises StorageFailed if it cannot be opened."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._fd = os.open(path, flags, 0o600)
            sync_directory(path.parent)  # frames that are durable in a file that has no name would be lost
        except OSError as error:
            raise StorageFailed(f"The journal {path} cannot be opened: {error.strerror}.") from None

    def size(self) -> int:
        """Its length in bytes."""
        return os.fstat(self._fd).st_size

    def write(self, data: memoryview) -> int:
        """Append some of the bytes; how many they were."""
        return os.write(self._fd, data)

    def sync(self) -> None:
        """Make durable what was written."""
        os.fsync(self._fd)

    def truncate(self, size: int) -> None:
        """Cut it to a length."""
        os.ftruncate(self._fd, size)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)


class Journal:
    """The one writer of a run's journal. `sync` may run in a thread of its own, everything else in one thread."""

    def __init__(self, file: AppendFile, chain: int = 0) -> None:
        """Append to a file whose frames have this chain; whoever does holds the run directory's lock."""
        self._file = file
        self._chain = chain
        self._end = file.size()
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._failure: str | None = None
        self.durable = 0
        """Where the last frame ends that would survive a loss of power. What is there already may yet have to be made
        durable: whoever wrote it may have been killed before."""

    def append(self, payload: Mapping[str, Any]) -> int:
        """Add a frame to what the next `write` hands over; the offset at which it will stand."""
        data, self._chain = frame(payload, self._chain)
        offset = self._end + self._buffered
        self._buffer.append(data)
        self._buffered += len(data)
        return offset

    def write(self) -> None:
        """Hand all appended frames to the kernel; raises StorageFailed if it does not take them, and ever after."""
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
                view = view[self._file.write(view) :]
        except OSError as error:
            self._failure = f"The journal {self._file.name} cannot be written: {error.strerror}."
            # What was written of the last frames is taken back, so that the journal ends with a whole frame; if that
            # fails too, the next start takes it for a torn tail.
            with contextlib.suppress(OSError):
                self._file.truncate(self._end)
            raise StorageFailed(self._failure) from None
        self._end += len(data)

    def sync(self) -> None:
        """Make durable what was written. A failure is kept for the next `write`: the kernel may have dropped pages."""
        end = self._end
        if end == self.durable or self._failure is not None:
            return
        try:
            self._file.sync()
        except OSError as error:
            self._failure = f"The journal {self._file.name} could not be made durable: {error.strerror}."
        else:
            self.durable = end

    def close(self) -> None:
        """Write and sync what is left: only then is it acknowledged. Raises StorageFailed if that does not succeed."""
        try:
            self.write()
        finally:
            self.sync()
            self._file.close()
        if self._failure is not None:
            raise StorageFailed(self._failure)


class Committer:
    """A thread that makes a journal durable a few times a second, for as long as the context lasts; then closes it."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._commit, name="journal", daemon=True)

    def __enter__(self) -> Journal:
        self._thread.start()
        return self.journal

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()
        self.journal.close()

    def _commit(self) -> None:
        while not self._closing.wait(COMMIT_SECONDS):
            self.journal.sync()


@contextlib.contextmanager
def at_disk(path: Path, deed: str) -> Iterator[None]:
    """Say what of a journal the disk would not do, as StorageFailed."""
    try:
        yield
    except OSError as error:
        raise StorageFailed(f"The journal {path} cannot be {deed}: {error.strerror}.") from None


def scan(path: Path) -> Iterator[Frame | Damage]:
    """Everything in a journal, in order: whole frames, and what else lies between or behind them.

    Raises StorageFailed if the disk does not give it.
    """
    with at_disk(path, "read"), path.open("rb") as file:
        offset, chain = 0, 0
        damage: Damage | None = None
        for line in file:
            end = offset + len(line)
            found = _find(line)
            if found is None:
                damage = Damage(damage.offset if damage else offset, end)
            else:
                start, payload, check, said = found
                after = _link(chain, check)
                if damage or start or said not in (None, after):
                    yield Damage(damage.offset if damage else offset, offset + start)
                damage, chain = None, after if said is None else said
                yield Frame(offset + start, end, payload, chain)
            offset = end
        if damage:
            yield damage


def read(path: Path) -> Iterator[Frame]:
    """All whole frames, in order. A torn tail ends the reading; damage before whole frames raises StorageDamaged."""
    damage: Damage | None = None
    for found in scan(path):
        if isinstance(found, Damage):
            damage = damage or found
        elif damage is not None:
            raise StorageDamaged(
                f"The journal {path} is damaged at byte {damage.offset}, with whole frames behind the damage. "
                f"To save what can be read into a copy: {command('repair', path.parent)}"
            )
        else:
            yield found


def read_anew(path: Path) -> None:
    """Have a journal's next reading come from the disk, where there is one: before a run is gone on with.

    After a failed sync the kernel shows what it could not write as if it were written, also to the process that comes
    after the one which was told. What can be written is written here, then what is in memory is let go; so frames that
    did not get to the disk are missing, and are asked again. Raises StorageFailed if the disk refuses.
    """
    with at_disk(path, "made durable"):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            os.fsync(fd)
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


def checksum(path: Path) -> dict[str, int]:
    """The length and the CRC-32 of a whole journal."""
    check, length = 0, 0
    with at_disk(path, "read"), path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            check = zlib.crc32(chunk, check)
            length += len(chunk)
    return {"bytes": length, "crc32": check}


def _find(line: bytes) -> tuple[int, dict[str, Any], int, int | None] | None:
    """The whole frame in a line, and where it starts: at 0, or behind damage that took the newline before it."""
    if (whole := _payload(line)) is not None:
        return 0, *whole
    for found in _HEAD.finditer(line, 1):
        if (whole := _payload(line[found.start() :])) is not None:
            return found.start(), *whole
    return None


def _payload(line: bytes) -> tuple[dict[str, Any], int, int | None] | None:
    """A whole frame's payload, its checksum, and the chain that it states; None if it is no whole frame."""
    head = _UNCHAINED if line[_UNCHAINED : _UNCHAINED + 1] == b"{" else _CHAINED
    try:
        length, check = int(line[:8], 16), int(line[9:17], 16)
        chain = int(line[18:26], 16) if head == _CHAINED else None
    except ValueError:
        return None
    body = line[head:-1]
    if len(body) != length or line[-1:] != b"\n" or zlib.crc32(body) != check:
        return None
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return (payload, check, chain) if isinstance(payload, dict) else None


def read_at(file: Any, offset: int) -> dict[str, Any]:
    """The payload of the frame at an offset that `read` gave."""
    file.seek(offset)
    found = _payload(file.readline())
    if found is None:
        raise StorageDamaged(f"The journal's frame at byte {offset} no longer reads back.")
    return found[0]


def cut_torn_tail(path: Path, end: int) -> int:
    """Cut the journal to `end`, where its last whole frame ends; the number of bytes that went.

    Raises StorageFailed.
    """
    size = path.stat().st_size
    if size > end:
        with at_disk(path, "cut where it is torn"):
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                os.ftruncate(fd, end)
                os.fsync(fd)
            finally:
                os.close(fd)
    return max(0, size - end)
