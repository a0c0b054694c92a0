"""How far a run has come, read from its directory without touching it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.core.commands import command
from runner.core.errors import StorageDamaged, UsageError
from runner.core.job import Job
from runner.core.tally import Tally
from runner.core.values import Status
from runner.storage import batches, journal
from runner.storage.history import read_history
from runner.storage.rundir import RunDirectory

TABLES = (
    "results.parquet", "errors.parquet", "attempts.parquet", "labels.parquet", "scores.parquet", "metrics.parquet",
    "pairs.parquet",
)  # fmt: skip


def seal(directory: RunDirectory) -> dict[str, Any]:
    """What binds a summary to the files that it is of: the journal's content, and the tables' sizes."""
    return {"journal": journal.checksum(directory.journal_path), "tables": sizes(directory)}


def sizes(directory: RunDirectory) -> dict[str, int]:
    """The tables that a run has, and their sizes."""
    return {name: (directory.path / name).stat().st_size for name in TABLES if (directory.path / name).is_file()}


def mind_the_journal(directory: RunDirectory, end: int) -> None:
    """Raise StorageDamaged if a journal, whole up to `end`, is less than the last session's summary was made of.

    A journal only grows; what is missing behind its end looks like a torn tail, and would be paid for again.
    """
    if not directory.summary_path.is_file():
        return
    sealed = batches.sealed(directory.read_json(directory.summary_path)) or 0
    if end < sealed:
        run = directory.path
        raise StorageDamaged(
            f"The journal {directory.journal_path} ends at byte {end:,}, and had {sealed:,} bytes when its summary was "
            f"written: answers are missing. The tables still hold them ({command('results', run)}). "
            f"To ask again for what is missing, in a copy: {command('repair', run)}"
        )


def mind_the_tables(path: Path, table: str) -> str | None:
    """What to say of a table that is older than its run's journal, or all that is left of it.

    Raises UsageError if it is not there at all. A process that goes, or was killed, has left the tables of the session
    before it, or none.
    """
    directory = RunDirectory.open(path)
    is_there = (path / f"{table}.parquet").is_file()
    try:
        if batches.last_summary(directory) is not None:
            return None
        mind_the_journal(directory, directory.journal_bytes)
    except StorageDamaged as error:
        if not is_there:
            raise
        return str(error)
    if directory.is_locked:
        how_far = command("status", path)
        said = f"A process works in {path}, and writes its tables when it ends: {how_far} says how far it is"
    else:
        said = (
            f"The process that worked in {path} is gone, and has not written its tables: "
            f"{command('resume', path)} goes on, {command('cancel', path)} writes what was answered"
            f"{'' if is_there else _once(directory)}"
        )
    if not is_there:
        raise UsageError(f"{said}.")
    return f"{said}. These are the tables of the session before."


def _once(directory: RunDirectory) -> str:
    """What has to be mended before that: the tables have the input's columns, too."""
    source = Path(directory.read_json(directory.manifest_path)["input"]["path"])
    is_there = source.exists() or (directory.path / source.name).exists() or set("*?[").intersection(str(source))
    return "" if is_there else f", once its input is at {source} again"


def finished(directory: RunDirectory) -> dict[str, Any] | None:
    """The summary of a run in which nothing is left to do: every task has ended, and its tables are there."""
    if not directory.summary_path.is_file() or not directory.journal_path.is_file():
        return None
    summary = directory.read_json(directory.summary_path)
    if summary["exit_code"] not in batches.ENDED or summary["tasks"]["open"] or summary.get("files") != seal(directory):
        return None
    job = directory.read_json(directory.manifest_path)["job"]
    if job.get("evaluate") and "evaluation" not in summary:
        return None  # the process ended between the tables and the scores
    return summary


def only_judges_are_left(directory: RunDirectory, manifest: Mapping[str, Any]) -> bool:
    """Whether every task of a run has its outcome, and what is left is for its judges."""
    return batches.has_judges(manifest) and status_of(directory.path)["tasks"]["open"] == 0


def status_of(path: Path) -> dict[str, Any]:
    """A run's state (running, finished, stopped), its sums, and the fields of a batch; UsageError if there is none."""
    directory = RunDirectory.open(path)
    manifest = directory.read_json(directory.manifest_path)
    history = read_history(directory.journal_path, Job.from_json(manifest["job"]).slots)
    mind_the_journal(directory, history.end)
    tally = history.tally
    total = manifest["input"]["tasks"]  # None until the input has been looked over
    if total is not None:
        total += tally.escalated
    counts = {str(status): tally.statuses[status] for status in Status}
    facts = batches.facts_of(directory, manifest, tally.sent, tally.ended, total)
    state = "running" if facts.locked else "finished" if facts.done else "stopped"
    return {
        **batches.batch(directory, manifest, facts, counts),
        "run": manifest["run"],
        "state": state,
        "created": manifest["created"],
        "tasks": {
            "total": total,
            **counts,
            "open": None if total is None else total - tally.ended,
        },
        "outcomes": dict(tally.outcomes),
        "requests": {"sent": tally.sent, "refused_429": tally.total("refused"), "ambiguous": tally.ambiguous},
        "tokens": {"input": tally.total("input_tokens"), "output": tally.total("output_tokens")},
        "cost_usd": round(tally.total("cost"), 6),
        "sessions": tally.sessions,
        "gates": None if facts.summary is None else facts.summary.get("gates"),
        "models": _models(tally, facts.summary),
    }


def _models(tally: Tally, summary: Mapping[str, Any] | None) -> dict[str, Any]:
    """How each model's replies ended, and how many cannot be read: None until the tables are written."""
    said = {} if summary is None else summary["models"]
    return {
        name: {"outcomes": dict(model.outcomes), "invalid": said.get(name, {}).get("invalid")}
        for name, model in sorted(tally.models.items())
    }
