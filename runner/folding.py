"""The tables of a run that nobody will go on with: what its journal holds, and the rest as canceled. Sends nothing."""

from __future__ import annotations

from pathlib import Path

from runner.app import reopen, write_tables
from runner.core.values import Status
from runner.earlier import mind_the_input
from runner.report.summary import summarise
from runner.storage import journal
from runner.storage.batches import last_summary
from runner.storage.history import read_history
from runner.storage.rundir import RunDirectory
from runner.storage.states import seal

CODE = 143
"""The exit code of a run that was told to stop."""


def fold(path: Path) -> None:
    """Write the tables and the summary of a run, unless its last session did so.

    Raises RunBusy if a process works in it, and InputRejected if the input, whose columns stand in the tables, is not
    what it was.
    """
    directory = RunDirectory.open(path)
    directory.lock()
    try:
        if last_summary(directory) is None:
            _fold(directory)
    finally:
        directory.unlock()


def _fold(directory: RunDirectory) -> None:
    manifest = directory.read_json(directory.manifest_path)
    mind_the_input(directory, manifest)
    prepared = reopen(directory, manifest, {}, {})
    journal.read_anew(directory.journal_path)
    history = read_history(directory.journal_path, prepared.maker.slots)
    if directory.journal_path.exists():
        journal.cut_torn_tail(directory.journal_path, history.end)
    if not prepared.survey.complete:
        prepared.cut(history.last)
    write_tables(prepared, directory, history, Status.CANCELED)
    gateway, job = manifest["gateway"], prepared.job
    summary = summarise(
        tally=history.tally,
        tasks=prepared.survey.total,
        limits=[limit for budget in prepared.budgets.values() for limit in budget],
        ratios={},
        caps={},
        placement={"pool": list(job.models), "each": job.each},
        exit_code=CODE,
        reason="cancelled while no process worked in the run",
        notices=prepared.notices,
        gateway=gateway.get("origin") or "local",
        local=gateway["local"],
    )
    summary["files"] = seal(directory)
    directory.write_json(directory.summary_path, summary)
