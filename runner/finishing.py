"""What a run leaves when it ends, or is ended: its tables, its labels and its summary, folded from the journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from runner.core.commands import command
from runner.core.lengths import Advice
from runner.core.prompt import RowError
from runner.core.values import Status
from runner.earlier import mind_the_input
from runner.execution import Ending
from runner.labelling import label
from runner.manifest import read, reopen
from runner.preparing import Prepared
from runner.reading import Replies
from runner.report.summary import summarise
from runner.session import Session
from runner.storage import journal
from runner.storage.batches import last_summary
from runner.storage.history import History, read_history
from runner.storage.results import Tables, unread
from runner.storage.rows import Row
from runner.storage.rundir import RunDirectory
from runner.storage.states import mind_the_journal, seal

UNSEEN = "The input was not looked over to its end: the tables end with the last row that was answered."
STOPPED = 143
"""The exit code of a run that was told to stop."""


@dataclass(frozen=True, slots=True)
class Finish:
    """What is left when a run has ended."""

    directory: Path
    ending: Ending
    summary: dict[str, Any]
    idle: bool = False
    """Whether nothing was left to do."""
    said: tuple[str, ...] = ()
    """What there is to say of that."""
    named: str = ""
    """The words by which the command that goes on finds its gateway, with a blank before."""

    @property
    def again(self) -> str:
        """The command that goes on with it."""
        return command("resume", self.directory) + self.named

    @property
    def is_empty(self) -> bool:
        """Whether the run has ended, and its input had no rows."""
        return self.ending.exit_code == 0 and not self.summary["tasks"]["total"]

    def results(self) -> pl.DataFrame:
        """The results table: one line for each task, in input order."""
        return pl.read_parquet(self.directory / "results.parquet", glob=False)


def finish(session: Session, ending: Ending) -> Finish:
    """Write the tables, the labels and the summary of a session that has ended."""
    return _written(
        session.prepared,
        session.directory,
        session.history,
        ending,
        ratios=session.charges.estimator.ratios(),
        caps=session.charges.lengths.advice(),
        gateway=session.gateway,
        local=session.local,
    )


def _written(
    prepared: Prepared,
    directory: RunDirectory,
    history: History,
    ending: Ending,
    *,
    ratios: Mapping[str, float],
    caps: Mapping[str, Advice],
    gateway: str,
    local: bool,
) -> Finish:
    if not prepared.survey.complete:
        prepared.cut(history.last)
        ending = replace(ending, reason=f"{ending.reason}\n{UNSEEN}")
    invalid = write_tables(prepared, directory, history, _open_status(ending))
    summary = summarise(
        tally=history.tally,
        tasks=prepared.survey.total + history.tally.escalated,
        limits=[limit for budget in prepared.budgets.values() for limit in budget],
        invalid=invalid,
        placement=_placement(prepared),
        exit_code=ending.exit_code,
        reason=ending.reason,
        ratios=ratios,
        caps=caps,
        notices=prepared.notices,
        gateway=gateway,
        local=local,
    )
    if (labels := label(prepared.job, prepared.maker.annotators, prepared.maker.stronger, directory)) is not None:
        summary["labels"] = labels
    keep(summary, directory)
    return Finish(directory.path, ending, summary)


def fold(path: Path) -> None:
    """Write the tables and the summary of a run that nobody goes on with, unless its last session did so.

    What its journal does not hold is canceled, and nothing is sent. Raises RunBusy if a process works in it, and
    InputRejected if the input, whose columns stand in the tables, is not what it was.
    """
    directory = RunDirectory.open(path)
    with directory.held():
        if last_summary(directory) is None:
            _fold(directory)


def _fold(directory: RunDirectory) -> None:
    journal.read_anew(directory.journal_path)
    manifest = read(directory)
    mind_the_input(directory, manifest)
    prepared = reopen(directory, manifest, {}, {})
    history = read_history(directory.journal_path, prepared.maker.slots)
    mind_the_journal(directory, history.end)
    if directory.journal_path.exists():
        journal.cut_torn_tail(directory.journal_path, history.end)
    ending, gateway = Ending(STOPPED, "cancelled while no process worked in the run"), manifest["gateway"]
    origin = gateway.get("origin") or "local"
    _written(prepared, directory, history, ending, ratios={}, caps={}, gateway=origin, local=gateway["local"])


def keep(summary: dict[str, Any], directory: RunDirectory) -> None:
    """Write a summary, bound to the files that it is of."""
    summary["files"] = seal(directory)
    directory.write_json(directory.summary_path, summary)


def _placement(prepared: Prepared) -> dict[str, Any]:
    """By which rule rows came to models."""
    job = prepared.job
    policy = "every row to every model" if job.each else "most work of its own left, then emptiest; oldest that fits"
    return {"pool": list(job.models), "each": job.each, "policy": policy}


def _open_status(ending: Ending) -> Status:
    deadline = ending.reason is not None and ending.reason.startswith("--deadline")
    return Status.EXPIRED if deadline else Status.CANCELED


def write_tables(prepared: Prepared, directory: RunDirectory, history: History, open_status: Status) -> dict[str, int]:
    """Fold the journal and the input into the run's tables; how many answers of each model cannot be read."""

    def tasks(row: Row) -> list[tuple[int, str, str, str]]:
        maker = prepared.maker
        nobody = [(0, maker.id_of(row.index, row.columns), "", "")]
        is_unaskable = history.is_unaskable(row.index)
        try:
            if maker.slots == 1 and history.has_ended(row.index, 0) and not is_unaskable:
                # To make its request again would take a third of the time of a table.
                return maker.names(row.index, row.columns)
            made = maker.tasks(row.index, row.columns, row.digest, lambda _text: 0)
        except RowError:
            return nobody
        if len(made) > 1 and is_unaskable:  # too large, which is not measured again
            return nobody
        if maker.stronger:
            made += [task for task in maker.escalations(made) if history.has_ended(row.index, task.slot)]
        return [(task.slot, task.id, task.models[0] if len(task.models) == 1 else "", task.annotator) for task in made]

    tables = Tables(
        prepared.in_order,
        tasks,
        history,
        directory.journal_path,
        prepared.columns,
        open_status,
        id_column=prepared.job.id_column,
        cells=Replies(prepared.job, prepared.maker.asks_form).cells,
    )
    tables.write_results(directory.results_path)
    tables.write_errors(directory.results_path, directory.errors_path)
    tables.write_attempts(directory.attempts_path)
    return unread(directory.results_path)
