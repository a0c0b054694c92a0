"""The run directory: who holds it, what the run is (`manifest.json`), and where its files stand."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from runner.core.errors import RunBusy, StorageFailed, UsageError

LEAST_ROOM = 64 * 1024 * 1024
"""Bytes that have to be free on the disk when a run starts."""
LEFT_BY_A_START = {"lock", ".manifest.json.new"}
"""Files of a run that was killed before it had a manifest, and so before anything was sent."""


class RunDirectory:
    """One run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    manifest_path = property(lambda self: self.path / "manifest.json")
    journal_path = property(lambda self: self.path / "journal.jsonl")
    results_path = property(lambda self: self.path / "results.parquet")
    errors_path = property(lambda self: self.path / "errors.parquet")
    attempts_path = property(lambda self: self.path / "attempts.parquet")
    summary_path = property(lambda self: self.path / "summary.json")
    input_path = property(lambda self: self.path / "input.jsonl")

    @classmethod
    def create(cls, path: Path | None, name: str) -> RunDirectory:
        """A new run directory at `path`, or under runs/ by time and name; raises UsageError if there is a run."""
        if path is None:
            stamp = time.strftime("%Y%m%d-%H%M%S")
            slug = re.sub(r"[^a-zA-Z0-9]+", "-", name).strip("-")[:40] or "run"
            base = Path("runs") / f"{stamp}-{slug}"
            path, count = base, 1
            while path.exists():
                count += 1
                path = base.with_name(f"{base.name}-{count}")
        run = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            occupied = any(file.name not in LEFT_BY_A_START for file in path.iterdir())
        except OSError as error:
            raise StorageFailed(f"The run directory {path} cannot be made: {error.strerror}.") from None
        if run.manifest_path.exists():
            raise UsageError(f"{path} holds a run already. Continue it with: runner resume {path}")
        if occupied:
            raise UsageError(f"{path} is not empty, and holds no run. Choose another --out.")
        path.chmod(0o700)
        free = os.statvfs(path)
        if free.f_bavail * free.f_frsize < LEAST_ROOM:
            raise StorageFailed(f"There are less than {LEAST_ROOM // 2**20} MiB free for {path}.")
        return run

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """A run directory that exists; raises UsageError if there is no run in it."""
        run = cls(path)
        if not run.manifest_path.is_file():
            raise UsageError(f"There is no run in {path}: it has no manifest.json.")
        return run

    def lock(self) -> None:
        """Hold the directory for the life of this process; raises RunBusy if another one does."""
        try:
            fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageFailed(f"The lock of {self.path} cannot be opened: {error.strerror}.") from None
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"process {os.getpid()} on {socket.gethostname()} since {started}\n".encode(), 0)
        except BlockingIOError:
            holder = os.read(fd, 200).decode("utf-8", "replace").strip()
            os.close(fd)
            raise RunBusy(f"Another runner works in {self.path}: {holder or 'unknown process'}.") from None
        except OSError as error:  # a full disk, or a file system that knows no locks
            os.close(fd)
            raise StorageFailed(f"The lock of {self.path} cannot be taken: {error.strerror}.") from None
        self._lock = fd

    @property
    def is_locked(self) -> bool:
        """Whether some process works in it."""
        try:
            fd = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False

    def unlock(self) -> None:
        """Let go of the directory."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def read_json(self, path: Path) -> dict[str, Any]:
        """A JSON file of the run; raises StorageFailed if it does not read back."""
        try:
            value = orjson.loads(path.read_bytes())
        except (OSError, orjson.JSONDecodeError) as error:
            raise StorageFailed(f"{path} cannot be read: {error}.") from None
        if not isinstance(value, dict):
            raise StorageFailed(f"{path} does not hold a JSON object.")
        return value

    def write_json(self, path: Path, value: Mapping[str, Any]) -> None:
        """Replace a JSON file of the run in one step."""
        data = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
        replace_file(path, data)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: beside it, synced, then renamed. Raises StorageFailed."""
    beside = path.with_name(f".{path.name}.new")
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        beside.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise StorageFailed(f"{path} cannot be written: {error.strerror}.") from None


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
