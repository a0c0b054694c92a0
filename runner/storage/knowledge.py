"""What was learned of a gateway, kept for the next run: one file for each gateway and credential.

Nothing here may ever stop a run. A file that cannot be used is put aside, a place that cannot be written is left
alone, and both are told in `notices`. Runs that end at the same time do not undo each other: each writes only what it
learned itself, entry by entry, over what is there by then. The token is known here only by its fingerprint.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import platformdirs

from runner.core.errors import StorageFailed
from runner.core.knowledge import SECTIONS, Knowledge
from runner.storage.rundir import make_folder, replace_file

VERSION = 1
VARIABLE = "RUNNER_STATE_DIR"
"""The environment variable that names another place for it all."""
LASTS = 30 * 86_400.0
"""Seconds for which what was learned is believed."""
MOST_BYTES = 8 * 1024 * 1024
MOST_ENTRIES = 1000
MOST_JOBS = 200
LOCK_SECONDS = 2.0
"""How long another run may hold the file before this one gives up writing to it."""

Entries = dict[str, dict[str, tuple[float, Any]]]
"""By section and name: when it was learned, and what."""


def state_folder() -> Path:
    """Where all that is learned is kept."""
    named = os.environ.get(VARIABLE)
    return (Path(named) if named else Path(platformdirs.user_state_path("runner"))) / "gateways"


class Unusable(Exception):
    """A file that is there and cannot be used, and why."""


class Newer(Exception):
    """A file that a newer runner wrote."""


class Memory:
    """What is remembered of one gateway, as it is under one credential."""

    def __init__(
        self, gateway: str, credential: str, *, folder: Path | None = None, wall: Callable[[], float] = time.time
    ) -> None:
        """`gateway` is its origin, `credential` the token's fingerprint."""
        self.gateway = gateway
        self.credential = credential
        self.folder = state_folder() if folder is None else folder
        name = hashlib.sha256(f"runner knowledge\0{gateway}\0{credential}".encode()).hexdigest()[:24]
        self.path = self.folder / f"{name}.json"
        self.notices: list[str] = []
        self.learned: Mapping[tuple[str, str], float] = {}
        """When each entry was learned, by its section and name, in seconds of the wall clock."""
        self._wall = wall
        self._known = Knowledge()
        self._left_alone = False

    def check(self) -> None:
        """Tell beforehand if nothing can be kept."""
        try:
            with self._locked():
                return
        except StorageFailed as error:
            self._left_alone = True
            self._note(f"What this run learns of {self.gateway} will not be kept: {error}")

    def load(self) -> Knowledge:
        """What is remembered and not too old; nothing if there is nothing, or nothing that can be used."""
        entries = self._read_or_put_aside()
        self.learned = {(section, name): at for section in entries for name, (at, _) in entries[section].items()}
        self._known = Knowledge.from_json(_values(entries))
        return self._known

    def save(self, knowledge: Knowledge) -> None:
        """Keep what is not as it was loaded, beside what others have written meanwhile."""
        before, now = self._known.to_json(), self._wall()
        learned = [
            (section, name, value)
            for section, entries in knowledge.to_json().items()
            for name, value in entries.items()
            if name not in before[section] or before[section][name] != value
        ]
        if not learned or self._left_alone:
            return
        try:
            with self._locked():
                entries = self._read_or_put_aside()
                if self._left_alone:
                    return
                for section, name, value in learned:
                    entries[section][name] = (now, value)
                self._write(entries)
        except (StorageFailed, orjson.JSONEncodeError) as error:
            self._note(f"What this run has learned of {self.gateway} is not kept: {error}")
        self._known = knowledge

    def forget(self, model: str | None = None) -> None:
        """Remember nothing, or nothing of one model. Raises StorageFailed if it cannot be forgotten."""
        with self._locked():
            try:
                if model is None:
                    for path in (self.path, self._aside):
                        path.unlink(missing_ok=True)
                    return
                entries = self._read_or_put_aside()
                if self._left_alone:
                    raise StorageFailed(f"{self.path} was written by a newer runner.")
                kept = Knowledge.from_json(_values(entries)).without(model).to_json()
                self._write({section: _kept(entries[section], kept[section]) for section in SECTIONS})
            except OSError as error:
                raise StorageFailed(f"{self.path} cannot be removed: {error.strerror}.") from None

    @property
    def _aside(self) -> Path:
        return self.path.with_suffix(".unusable")

    def _note(self, notice: str) -> None:
        if notice not in self.notices:
            self.notices.append(notice)

    def _read_or_put_aside(self) -> Entries:
        try:
            table = _read(self.path)
            if table and (table.get("gateway"), table.get("credential")) != (self.gateway, self.credential):
                raise Unusable("it speaks of another gateway")
            return _fresh(table, self._wall())
        except Newer:
            self._left_alone = True
            self._note(f"What was learned of {self.gateway} was written by a newer runner: it is left alone.")
        except Unusable as reason:
            self._put_aside(str(reason))
        return {section: {} for section in SECTIONS}

    def _put_aside(self, reason: str) -> None:
        try:
            self.path.replace(self._aside)
            became = f"and was put aside as {self._aside}"
        except OSError as error:
            self._left_alone = True
            became = f"and cannot be put aside ({error.strerror})"
        self._note(f"What was learned of {self.gateway} in {self.path} cannot be used ({reason}), {became}.")

    def _write(self, entries: Entries) -> None:
        _drop_oldest(entries)
        while len(data := self._encoded(entries)) > MOST_BYTES:
            for section in SECTIONS:
                _keep_latest(entries, section, len(entries[section]) // 2)
        replace_file(self.path, data)

    def _encoded(self, entries: Entries) -> bytes:
        now = time.gmtime(self._wall())
        table: dict[str, Any] = {
            "version": VERSION,
            "gateway": self.gateway,
            "credential": self.credential,
            "updated": time.strftime("%Y-%m-%dT%H:%M:%SZ", now),
        }
        for section in SECTIONS:
            table[section] = {name: {"at": int(at), "value": value} for name, (at, value) in entries[section].items()}
        return orjson.dumps(table, option=orjson.OPT_APPEND_NEWLINE)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the file against other runs, with the folder made; raises StorageFailed if that cannot be."""
        try:
            make_folder(self.folder)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            fd = os.open(self.path.with_suffix(".lock"), flags, 0o600)
        except OSError as error:
            raise StorageFailed(f"{self.folder} cannot be written: {error.strerror}.") from None
        try:
            ends = time.monotonic() + LOCK_SECONDS
            while not _try_lock(fd):
                if time.monotonic() > ends:
                    raise StorageFailed(f"another run holds {self.path}.")
                time.sleep(0.02)
            yield
        finally:
            os.close(fd)


def all_memories(folder: Path | None = None) -> tuple[list[Memory], list[str]]:
    """Every gateway that something is remembered of, and a notice for each file that cannot be used."""
    found, notices = [], []
    for path in sorted((state_folder() if folder is None else folder).glob("*.json")):
        try:
            table = _read(path)
        except (Unusable, Newer) as reason:
            notices.append(f"{path} cannot be used: {reason or 'a newer runner wrote it'}.")
            continue
        memory = Memory(str(table.get("gateway")), str(table.get("credential")), folder=path.parent)
        if memory.path == path:
            found.append(memory)
        else:
            notices.append(f"{path} cannot be used: it speaks of another gateway.")
    return found, notices


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _read(path: Path) -> dict[str, Any]:
    """A file's table; {} if there is no file. Raises Unusable or Newer."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise Unusable(error.strerror or "it cannot be opened") from None
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:
            raise Unusable("it is larger than any that is written" if status.st_size else "it is no file")
        try:
            table = orjson.loads(file.read(MOST_BYTES + 1))
        except (OSError, orjson.JSONDecodeError):
            raise Unusable("it is damaged") from None
    if not isinstance(table, dict) or not isinstance(table.get("version"), int):
        raise Unusable("it is damaged")
    if table["version"] > VERSION:
        raise Newer
    return table


def _fresh(table: Mapping[str, Any], now: float) -> Entries:
    """The entries that are not too old; those of a clock that was wrong are as of now."""
    entries: Entries = {section: {} for section in SECTIONS}
    for section in SECTIONS:
        written = table.get(section)
        for name, entry in written.items() if isinstance(written, dict) else ():
            at = entry.get("at") if isinstance(entry, dict) else None
            if isinstance(at, int | float) and now - at <= LASTS:
                entries[section][name] = (min(float(at), now), entry.get("value"))
    return entries


def _values(entries: Entries) -> dict[str, dict[str, Any]]:
    return {section: {name: value for name, (_, value) in named.items()} for section, named in entries.items()}


def _kept(named: Mapping[str, tuple[float, Any]], kept: Mapping[str, Any]) -> dict[str, tuple[float, Any]]:
    return {name: (named[name][0], value) for name, value in kept.items()}


def _drop_oldest(entries: Entries) -> None:
    for section in SECTIONS:
        _keep_latest(entries, section, MOST_JOBS if section == "lengths" else MOST_ENTRIES)


def _keep_latest(entries: Entries, section: str, most: int) -> None:
    if len(entries[section]) > most:
        latest = sorted(entries[section].items(), key=lambda entry: -entry[1][0])[:most]
        entries[section] = dict(latest)
