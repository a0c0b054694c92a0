"""The run directory: who holds it, what the run is (`manifest.json`), and where its files stand."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shlex
import shutil
import socket
import stat
import time
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from runner.core.commands import command
from runner.core.errors import RunBusy, StorageDamaged, StorageFailed, UsageError
from runner.storage.names import complaint_about_name

LOOSE = stat.S_IWGRP | stat.S_IWOTH
"""What lets others write."""
RUNS = Path("runs")
"""Where runs stand, unless somebody says otherwise."""
COPIES = ("input.jsonl", "input.csv", "input.tsv")
"""What a copy of standard input is called in a run directory."""
TAKEN_OVER = ("journal.jsonl", "decisions.jsonl", *COPIES)
"""What a new run takes over, from an earlier one or from standard input; until it has a manifest that has another name
(`beginning`)."""
LEFTOVERS = {"lock", "log", ".manifest.json.new", *(f".{name}.new" for name in TAKEN_OVER)}
"""What a process leaves that is killed before it has written what its run is, and so before anything was sent."""
NEEDED = {
    "manifest.json": {"run", "created", "job", "input", "models", "limits", "catalogs", "gateway"},
    "summary.json": {"exit_code", "tasks", "models"},
}
"""A run's files -> what has to stand in them."""
LOCK_TRIES, LOCK_SECONDS = 10, 0.01
"""A look at a lock holds it for a moment, so one that is held is tried again, so many times and so often."""
LEAST_ROOM = 64 * 1024 * 1024
"""Bytes that have to be free on the disk when a run starts."""


def mind_that_it_is_no_run(path: Path) -> None:
    """Raise UsageError for a run where an input is wanted: its journal would be taken for rows."""
    if (path / "manifest.json").is_file() and (path / "journal.jsonl").is_file():
        raise UsageError(
            f"{path} is a run, and no input. To go on with it: {command('resume', path)}. "
            f"To ask about its answers, give {path / 'results.parquet'}."
        )


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
    scores_path = property(lambda self: self.path / "scores.parquet")
    metrics_path = property(lambda self: self.path / "metrics.parquet")
    pairs_path = property(lambda self: self.path / "pairs.parquet")
    labels_path = property(lambda self: self.path / "labels.parquet")
    disagreements_path = property(lambda self: self.path / "disagreements.csv")
    summary_path = property(lambda self: self.path / "summary.json")

    @property
    def journal_bytes(self) -> int:
        """The length of the journal; 0 if there is none."""
        path: Path = self.journal_path
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return 0

    @classmethod
    def create(cls, path: Path | None, name: str) -> RunDirectory:
        """A new run directory at `path`, or under runs/ by time and name.

        Raises UsageError if there is a run, or `path` is not the user's own.
        """
        if path is None:
            path = fresh(RUNS, name)
        if complaint := complaint_about_name(path):
            raise UsageError(f"A run cannot be kept there: {complaint}")
        run = cls(path)
        try:
            make_folder(path)
            status = _own(path)
            occupied = any(entry.name not in LEFTOVERS for entry in path.iterdir())
        except OSError as error:
            raise StorageFailed(f"The run directory {path} cannot be made: {error.strerror}.") from None
        if run.manifest_path.exists():
            raise UsageError(f"{path} holds a run already. Continue it with: {command('resume', path)}")
        if occupied:
            raise UsageError(f"{path} is not empty, and holds no run. Choose another --out.")
        if stat.S_IMODE(status.st_mode) != 0o700:
            path.chmod(0o700)
        free = os.statvfs(path)
        if free.f_bavail * free.f_frsize < LEAST_ROOM:
            raise StorageFailed(f"There are less than {LEAST_ROOM // 2**20} MiB free for {path}.")
        return run

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """A run directory that exists; raises UsageError if there is no run in it, or others may write to it."""
        if complaint := complaint_about_name(path):
            raise UsageError(complaint)
        run = cls(path)
        if not run.manifest_path.is_file():
            raise UsageError(
                f"There is no run in {path}: it has no manifest.json. `runner list` shows the runs in {RUNS}."
            )
        if stat.S_IMODE(_own(path).st_mode) & LOOSE:
            mend = shlex.join(["chmod", "go-w", str(path)])
            raise UsageError(f"Other users may write to {path}, and so to what a run reads there: {mend}")
        return run

    def lock(self) -> None:
        """Hold the directory for the life of this process; raises RunBusy if another one does."""
        try:
            fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageFailed(f"The lock of {self.path} cannot be opened: {error.strerror}.") from None
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        try:
            if not _taken(fd):
                raise RunBusy(f"Another runner works in {self.path}: {self.holder or 'unknown process'}.")
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"process {os.getpid()} on {socket.gethostname()} since {started}\n".encode(), 0)
        except RunBusy:
            os.close(fd)
            raise
        except OSError as error:  # a full disk, or a file system that knows no locks
            os.close(fd)
            raise StorageFailed(f"The lock of {self.path} cannot be taken: {error.strerror}.") from None
        self._lock = fd

    @property
    def holder(self) -> str:
        """What the process that works in it, or did so last, has said of itself; "" if there was none."""
        try:
            return (self.path / "lock").read_bytes()[:200].decode("utf-8", "replace").strip()
        except OSError:
            return ""

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

    def beginning(self, name: str) -> Path:
        """Where something that is taken over is written, before there is a run that it belongs to."""
        return self.path / f".{name}.new"

    def take_over(self, path: Path, name: str) -> Path:
        """Move a file to where the run begins with it, for good; that place. Raises StorageFailed."""
        begun = self.beginning(name)
        try:
            shutil.move(path, begun)
            with begun.open("rb") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise StorageFailed(f"{self.path / name} cannot be written: {error.strerror}.") from None
        return begun

    def settle(self) -> None:
        """Give what was taken over its name if there is a run by now, and else remove it: whoever wrote it is gone.

        Raises StorageFailed.
        """
        is_run = self.manifest_path.is_file()
        begun = [name for name in TAKEN_OVER if self.beginning(name).is_file()]
        try:
            for name in begun:
                if is_run:
                    self.beginning(name).replace(self.path / name)
                else:
                    self.beginning(name).unlink()
            if begun:
                sync_directory(self.path)
        except OSError as error:
            raise StorageFailed(f"What {self.path} takes over cannot be kept: {error.strerror}.") from None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the directory for as long as the context lasts; raises RunBusy if another process does."""
        self.lock()
        try:
            self.settle()
            yield
        finally:
            with contextlib.suppress(StorageFailed):
                self.settle()
            self.unlock()

    def read_json(self, path: Path) -> dict[str, Any]:
        """A JSON file of the run; raises StorageFailed, with what helps, if it does not read back."""
        try:
            value = orjson.loads(path.read_bytes())
        except OSError as error:
            raise StorageFailed(f"{path} cannot be read: {error.strerror}.") from None
        except orjson.JSONDecodeError as error:
            raise StorageDamaged(f"{path} is damaged: {error}.{self._remedy(path)}") from None
        if not isinstance(value, dict):
            raise StorageDamaged(f"{path} is damaged: it does not hold a JSON object.{self._remedy(path)}")
        if missing := NEEDED.get(path.name, set()) - value.keys():
            raise StorageDamaged(f"{path} is damaged: it has no {min(missing)!r}.{self._remedy(path)}")
        return value

    def _remedy(self, path: Path) -> str:
        if path == self.summary_path:
            return f" It is made again: remove it, and go on with: {command('resume', self.path)}"
        if path == self.manifest_path:
            return f" The run cannot be gone on with; what its tables hold: {command('results', self.path)}"
        return ""

    def write_json(self, path: Path, value: Mapping[str, Any]) -> None:
        """Replace a JSON file of the run in one step."""
        data = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
        replace_file(path, data)


def make_folder(path: Path) -> None:
    """Make a folder for its owner alone; whatever the umask, nobody else can put another in its place."""
    for folder in reversed([folder for folder in (path, *path.parents) if not folder.exists()]):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700 if folder == path else 0o755)
    if not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def _own(path: Path) -> os.stat_result:
    """The status of a folder that is the user's own; raises UsageError for a link, or somebody else's."""
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise UsageError(f"{path} is a link, and a run's directory must be none: give {os.path.realpath(path)}")
    if status.st_uid != os.geteuid():
        raise UsageError(
            f"{path} belongs to another user (number {status.st_uid}); a run needs a directory of its own."
        )
    return status


def slug(name: str) -> str:
    """A job's name as the name of a folder."""
    kept = (c if unicodedata.category(c)[0] in "LNM" else " " for c in unicodedata.normalize("NFC", name))
    return "-".join("".join(kept).split())[:40].strip("-") or "run"


def fresh(base: Path, name: str) -> Path:
    """A path under `base` for a new run, by time and the job's name."""
    first = base / f"{time.strftime('%Y%m%d-%H%M%S')}-{slug(name)}"
    path, count = first, 1
    while path.exists():
        count += 1
        path = first.with_name(f"{first.name}-{count}")
    return path


def _taken(lock: int) -> bool:
    """Take a lock, or find it held for longer than a look at it takes."""
    for left in reversed(range(LOCK_TRIES)):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if left:
                time.sleep(LOCK_SECONDS)
        else:
            return True
    return False


def replace_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: beside it, synced, then renamed. Raises StorageFailed."""
    beside = path.with_name(f".{path.name}.new")
    try:
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
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
