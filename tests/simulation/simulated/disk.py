"""A file on a modelled disk: what was written lies in memory until it is synced, and a loss of power may take it.

What a loss of power leaves: everything up to the last good sync, and of what came after any prefix, behind which there
may be zeros or rubbish, since a file can grow before its data is there. A sync that fails marks what it should have
written as clean: the next one succeeds, and the data is not there. Storage is honest otherwise.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from random import Random
from typing import Any

from runner.storage.journal import Journal


class Crash(BaseException):
    """The process is no more."""


class SimFile:
    """The journal's file, as a process sees it; the disk outlives the process."""

    name = "journal.jsonl"

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.content = bytearray()
        """What a process reads back: the page cache."""
        self.synced = 0
        """Bytes that are on the disk for good."""
        self._lost: list[tuple[int, int]] = []
        """What a failed sync has marked as clean though it was not written."""
        self.is_open = True
        self.writes = 0
        self.syncs = 0
        self.fails_write_at: int | None = None
        """Which write, of this session, finds the disk full."""
        self.fails_sync_at: int | None = None
        self.full = False
        self.truncates = True
        """Whether a full disk lets the file be cut."""
        self.broken_off = False
        """Whether it was not."""
        self.before_write: Callable[[int], bool] = lambda _number: False
        """Told of each write; whether the process dies in the middle of it."""
        self.before_sync: Callable[[int], None] = lambda _number: None

    def size(self) -> int:
        """Its length."""
        return len(self.content)

    def write(self, data: memoryview) -> int:
        """Append some of it."""
        if not self.is_open:
            raise Crash
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.writes += 1
        if self.writes == self.fails_write_at:
            self.full = True
            taken = self._rng.randint(0, len(data) - 1)
            self.content += data[:taken]
            if not taken:
                raise OSError(errno.ENOSPC, "No space left on device")
            return taken
        if self.before_write(self.writes):
            self.content += data[: self._rng.randint(0, len(data))]
            raise Crash
        taken = self._rng.randint(1, len(data)) if self._rng.random() < 0.05 else len(data)
        self.content += data[:taken]
        return taken

    def sync(self) -> None:
        """Make durable what was written."""
        if not self.is_open:
            raise Crash
        self.syncs += 1
        self.before_sync(self.syncs)
        if not self.is_open:
            if self._rng.random() < 0.5:
                self.synced = len(self.content)
            raise Crash
        if self.syncs == self.fails_sync_at:
            self._lost.append((self.synced, len(self.content)))
            self.synced = len(self.content)
            raise OSError(errno.EIO, "Input/output error")
        self.synced = len(self.content)

    def truncate(self, size: int) -> None:
        """Cut it."""
        if not self.truncates:
            self.broken_off = True
            raise OSError(errno.EIO, "Input/output error")
        del self.content[size:]
        self.synced = min(self.synced, size)

    def close(self) -> None:
        """Let go of it."""
        self.is_open = False

    def lose_power(self) -> str:
        """Become what is on the disk afterwards; says what lies at its end."""
        rng, before = self._rng, bytes(self.content)
        kept = rng.choice([self.synced, len(before), rng.randint(self.synced, len(before))])
        tail = rng.choice(["", "", "zeros", "rubbish"]) if kept < len(before) else ""
        rest = len(before) - kept
        behind = {"": b"", "zeros": bytes(rest), "rubbish": rng.randbytes(min(rest, 40))}[tail]
        self.content = bytearray(before[:kept] + behind)
        for begins, ends in self._lost:
            self.content[begins:ends] = bytes(max(0, min(ends, len(self.content)) - begins))
        self._settle()
        return tail or ("torn" if kept < len(before) else "whole")

    def reopen(self) -> None:
        """Another process opens the file. What a failed sync lost was in memory; maybe it still is, maybe not.

        Where it is, it is taken to be written after all: a disk that loses it later, behind the back of a process that
        has read it, is beyond what any journal without a second copy survives.
        """
        if self._lost and self._rng.random() < 0.5:
            self.synced = min(begins for begins, _ in self._lost)
            del self.content[self.synced :]
        elif self._lost:
            self.synced = len(self.content)
        self._lost.clear()
        self.is_open, self.full, self.broken_off, self.truncates = True, False, False, True
        self.writes = self.syncs = 0
        self.fails_write_at = self.fails_sync_at = None
        self.before_write, self.before_sync = (lambda _number: False), (lambda _number: None)

    def _settle(self) -> None:
        self._lost.clear()
        self.synced = len(self.content)


class WatchedJournal(Journal):
    """A journal that says where its last frame ends, and when it was written."""

    timer = False
    """Whether a sync is due."""
    dead = False
    """Whether its process is no more."""
    last_end = 0

    def __init__(self, file: SimFile, chain: int) -> None:
        super().__init__(file, chain)
        self.wrote: Callable[[], None] = lambda: None
        """Told of each write."""

    def append(self, payload: Any) -> int:
        """Add a frame."""
        offset = super().append(payload)
        self.last_end = self._end + self._buffered
        return offset

    def write(self) -> None:
        """Hand the frames to the kernel."""
        super().write()
        self.wrote()

    @property
    def written(self) -> int:
        """Bytes that the kernel has."""
        return self._end
