"""A run that is named by its slot: begun, gone on with, or found done, and never there twice."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from runner import app
from runner.core.commands import command
from runner.core.errors import RunBusy, UsageError
from runner.core.job import Job
from runner.execution import Ending
from runner.finishing import Finish
from runner.locking import Policy, by_policy
from runner.preparing import Setup, prepare
from runner.schedules.expressions import Expression
from runner.schedules.slots import Act, State, due, latest, name_of
from runner.session import Attend
from runner.storage import marks, runs
from runner.storage.marks import Mark
from runner.storage.rundir import RunDirectory, make_folder, slug
from runner.storage.states import finished

STATES = {Mark.PAUSED: State.PAUSED, Mark.CANCELLED: State.CANCELLED}
CANCELLED = 143
"""The exit code of a slot whose run was cancelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One call of a scheduled job."""

    job: Job
    setup: Setup
    expression: Expression
    base: Path
    """The folder that runs stand in."""
    now: datetime
    policy: Policy

    @property
    def folder(self) -> Path:
        """Where the job's slots are."""
        return self.base / slug(self.job.name)

    @property
    def slot(self) -> str:
        """The name of the slot that it is for."""
        return name_of(latest(self.expression, self.now))


def run_slot(turn: Turn, attend: Attend, say: Callable[[str], None]) -> Finish | None:
    """Run what is due, as far as that is still to be done; None if it was left alone, and `say` was told why.

    Raises RunBusy, by the turn's policy, if an earlier slot's run or this one's is still going.
    """
    if turn.setup.spooled:
        raise UsageError("A scheduled run reads a file: standard input is not the same when it is gone on with.")
    if (turn.folder / "manifest.json").exists():
        raise UsageError(f"{turn.folder} is a run itself, and slots cannot stand in it; give another folder with --in.")

    def call() -> Finish | None:
        make_folder(turn.folder)
        with RunDirectory(turn.folder).held():  # of a job's slots, one runs at a time
            return _run_due(turn, attend, say)

    return by_policy(call, turn.policy, say)


def _run_due(turn: Turn, attend: Attend, say: Callable[[str], None]) -> Finish | None:
    found = due(turn.expression, turn.now, _states(turn.folder))
    path = turn.folder / found.name
    directory = RunDirectory(path)
    if directory.is_locked:
        raise RunBusy(f"Another runner works in {path}: {directory.holder}.")
    if found.missed:
        first, last = name_of(found.missed[0]), name_of(found.missed[-1])
        which = first if len(found.missed) == 1 else f"{first} to {last}"
        say(f"Slots missed since the last run of {turn.job.name}: {len(found.missed):,} ({which}).")
    if found.unfinished:
        newest = turn.folder / found.unfinished[-1]
        again = command("resume", newest) + turn.setup.named
        say(f"Earlier slots not finished: {len(found.unfinished):,}; go on with: {again}")
    if directory.manifest_path.is_file():
        _mind_whose_it_is(turn, directory)
    if found.act is Act.START:
        return app.start(prepare(turn.job, turn.setup), path, attend)
    wish = marks.read(directory)
    if wish is not None and found.act is Act.NOTHING:
        say(f"Slot {found.name} is {wish.mark}, and is left alone.")
        return _left(path, turn.setup.named) if wish.mark is Mark.CANCELLED else None
    if found.act is Act.NOTHING and (summary := finished(directory)) is not None:
        return Finish(path, Ending(summary["exit_code"]), summary, idle=True)
    if found.act is Act.RESUME:
        say(f"Slot {found.name} was begun already; going on with it.")
    gateway, memory, share, env_file = turn.setup.gateway, turn.setup.memory, turn.setup.share, turn.setup.env_file
    return app.resume(path, attend, gateway, memory=memory, share=share, env_file=env_file)


def _mind_whose_it_is(turn: Turn, directory: RunDirectory) -> None:
    """Raise UsageError if the slot holds a run over another input: that of another job of the same name."""
    there = directory.read_json(directory.manifest_path)["job"]["input"]
    if os.path.realpath(there) != os.path.realpath(turn.job.input):
        raise UsageError(
            f"{directory.path} holds a run of another job that is called {turn.job.name!r} too; it reads {there}. "
            "Give one of them another name (--set name=...), or another folder with --in."
        )


def _left(path: Path, named: str) -> Finish | None:
    directory = RunDirectory(path)
    if not directory.summary_path.is_file():
        return None
    return Finish(path, Ending(CANCELLED), directory.read_json(directory.summary_path), idle=True, named=named)


def _states(folder: Path) -> dict[str, State]:
    """The runs of a job by the names of their slots; what else lies there comes too, and names no slot."""
    states = {}
    for path in runs.every(folder):
        directory = RunDirectory(path)
        wish = marks.read(directory)
        if runs.is_finished(directory):
            states[path.name] = State.FINISHED
        else:
            states[path.name] = State.UNFINISHED if wish is None else STATES[wish.mark]
    return states
