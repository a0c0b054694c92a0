"""What a person wishes of a run in the background: a mark in its directory, which outlives processes and reboots."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from runner.core.errors import RunBusy, StorageFailed
from runner.storage.rundir import RunDirectory, sync_directory

NAME = "mark.json"


class Mark(StrEnum):
    """The wishes."""

    PAUSED = "paused"
    """To stop, and to go on when told so."""
    CANCELLED = "cancelled"
    """To stop for good."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A mark, and when it was set, in seconds since the epoch."""

    mark: Mark
    at: float


def read(directory: RunDirectory) -> Wish | None:
    """A run's mark, if there is one; raises StorageFailed if it does not read back."""
    path = directory.path / NAME
    if not path.exists():
        return None
    said = directory.read_json(path)
    try:
        return Wish(Mark(said["mark"]), float(said["at"]))
    except (KeyError, TypeError, ValueError):
        raise StorageFailed(f"{path} does not say what is wished; remove it to go on with the run.") from None


def put(directory: RunDirectory, wish: Wish) -> None:
    """Mark a run."""
    directory.write_json(directory.path / NAME, {"mark": wish.mark, "at": wish.at})


def mind(path: Path, *, lifts: bool) -> None:
    """Take the mark of a run away before it goes on, or leave the run because of it, with RunBusy.

    The mark of a run that a process still works in stays: it says why that is ending.
    """
    directory = RunDirectory(path)
    wish = read(directory)
    if wish is None or directory.is_locked:
        return
    if not lifts:
        raise RunBusy(f"The run in {path} was {wish.mark} before it went on.")
    lift(directory)


def lift(directory: RunDirectory) -> None:
    """Take the mark away, if there is one."""
    (directory.path / NAME).unlink(missing_ok=True)
    sync_directory(directory.path)
