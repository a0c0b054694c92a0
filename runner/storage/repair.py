"""Saves what can be read of a damaged journal into a copy of the run; the damaged run is left as it is."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from runner.core.errors import UsageError
from runner.storage import journal
from runner.storage.journal import Damage
from runner.storage.rundir import COPIES, RunDirectory

PARTS = ("manifest.json", *COPIES, "decisions.jsonl")
"""What a copy needs of a run directory beside its journal; tables are made again."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """A copy of a run, with a journal that reads back whole."""

    directory: Path
    frames: int
    """Saved."""
    damaged: tuple[Damage, ...]
    """Bytes of the old journal that were left out; what stood there will be asked again."""

    @property
    def lost(self) -> int:
        """How many bytes that are."""
        return sum(damage.end - damage.offset for damage in self.damaged)


def repair(run: RunDirectory, out: Path) -> Repaired:
    """Copy a run to `out`, with every whole frame of its journal chained anew.

    Raises UsageError if there is something at `out`, and StorageFailed if it cannot be written, or the run has no
    manifest that can be read.
    """
    if out.exists():
        raise UsageError(f"{out} exists already. Name another place for the copy with --out.")
    run.read_json(run.manifest_path)  # without it nobody could go on with the copy
    is_there = run.journal_path.is_file()
    if not is_there and not run.summary_path.is_file():
        raise UsageError(f"{run.path} has no journal: nothing was sent, and nothing needs to be repaired.")
    copy = RunDirectory.create(out, out.name)
    book = journal.Journal(journal.DiskFile(copy.journal_path))
    frames, damaged = 0, []
    for found in journal.scan(run.journal_path) if is_there else ():
        if isinstance(found, Damage):
            damaged.append(found)
            continue
        book.append(found.payload)
        frames += 1
        if frames % 1000 == 0:
            book.write()
    book.close()
    for name in PARTS:
        if (run.path / name).is_file():
            shutil.copyfile(run.path / name, copy.path / name)
            (copy.path / name).chmod(0o600)
    return Repaired(copy.path, frames, tuple(damaged))
