"""Reading and scoring the replies of a finished run again, as its job says now. Sends nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.core.commands import command, fork_of
from runner.core.errors import UsageError
from runner.core.job import Job
from runner.core.values import Status
from runner.earlier import mind_the_input
from runner.evaluation.ending import conclude
from runner.execution import Ending
from runner.finishing import Finish, keep, write_tables
from runner.labelling import label
from runner.manifest import read, reopen
from runner.preparing import mind_the_evaluation
from runner.storage.history import read_history
from runner.storage.rundir import RunDirectory
from runner.storage.states import finished

READ = ("answer", "vote", "gold", "evaluate", "gates")
"""The sections of a job that are about replies that are there already."""


def rescore(path: Path, job: Job | None) -> Finish:
    """Write a run's tables, labels, scores and summary anew; with `job`, by what that one says of reading and scoring.

    Raises UsageError for a run that has not ended, a job that asks something else, and what cannot be done without
    asking.
    """
    directory = RunDirectory.open(path)
    with directory.held():
        manifest = read(directory)
        mind_the_input(directory, manifest)
        before = finished(directory)
        if before is None:
            raise UsageError(f"{path} has not ended: go on with it first, with {command('resume', path)}")
        new = _merged(Job.from_json(manifest["job"]), job, path)
        manifest |= {"job": new.to_json(), "fingerprint": new.fingerprint}
        return _written(directory, manifest, before)


def _merged(old: Job, job: Job | None, path: Path) -> Job:
    """The run's job with what the other says of reading; raises UsageError if the replies are of another question."""
    new = old if job is None else replace(old, **{name: getattr(job, name) for name in READ})
    if job is not None and (lines := job.differences(old)):
        raise UsageError(
            f"The replies of {path} are to another question than the job asks now: {'; '.join(lines)}. "
            f"What is the same of them, a new run takes over with {fork_of(path)}"
        )
    if _rows(new) != _rows(old):
        raise UsageError(f"{path} asked about other known rows than [gold] names now: it would take a new run.")
    if new.evaluate is not None and (new.evaluate.judge is not None or new.evaluate.pairwise is not None):
        raise UsageError("A judge in [evaluate] asks a model, and this asks nothing: take it out, or begin a new run.")
    return new


def _rows(job: Job) -> Any:
    return job.gold.rows if job.gold else ()


def _written(directory: RunDirectory, manifest: Mapping[str, Any], before: Mapping[str, Any]) -> Finish:
    prepared = reopen(directory, manifest, {}, {})
    mind_the_evaluation(prepared)
    job, maker = prepared.job, prepared.maker
    directory.write_json(directory.manifest_path, manifest)  # from here on a resume would do the same
    invalid = write_tables(prepared, directory, read_history(directory.journal_path, maker.slots), Status.CANCELED)
    summary = {name: value for name, value in before.items() if name not in ("labels", "evaluation", "gates")}
    summary["invalid"] = sum(invalid.values())
    summary["models"] = {name: {**said, "invalid": invalid.get(name, 0)} for name, said in before["models"].items()}
    summary["exit_code"] = 3 if before["tasks"][Status.ERRORED] else 0
    if (labels := label(job, maker.annotators, maker.stronger, directory)) is not None:
        summary["labels"] = labels
    if job.evaluate is not None or job.gates is not None:
        summary |= conclude(directory, job, prepared.columns, {}, summary)
    keep(summary, directory)
    return Finish(directory.path, Ending(summary["exit_code"]), summary)
