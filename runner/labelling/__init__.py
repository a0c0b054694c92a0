"""What a labelling run is for: a table of labels with where they come from, the open rows, and how good it all is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as types

from runner.core.answers import Answer, Invalid
from runner.core.errors import UsageError
from runner.core.escalation import Escalator
from runner.core.job import Job
from runner.core.votes import is_below
from runner.core.work import Task
from runner.labelling import decisions
from runner.labelling.tables import ids_of, input_columns, labels_table, write_disagreements
from runner.labelling.votes import POLLS, Votes, poll, read_votes, verdicts
from runner.reading import Replies, as_text
from runner.storage import journal
from runner.storage.history import History
from runner.storage.results import write_table
from runner.storage.rundir import RunDirectory
from runner.storage.states import sizes

__all__ = ["adopt", "escalation", "label", "recall"]


def label(
    job: Job, annotators: Sequence[str], stronger: Sequence[str], directory: RunDirectory
) -> dict[str, Any] | None:
    """Write a run's labels and open rows from its results, and give the figures; None for a job that labels nothing."""
    if job.answer is None or job.answer.reader.kind not in POLLS or not job.votes:
        return None
    from runner.labelling.confidence import calibration, confidences
    from runner.labelling.figures import figures, quality, readable

    reader, results, gold = job.answer.reader, directory.results_path, job.gold
    everything = read_votes(results, reader.kind, annotators, stronger)
    votes = _own(job, results, everything)
    voted, kept = verdicts(votes, job.vote), decisions.kept(directory.path)
    final = decisions.decided(votes, voted, kept)
    said = figures(votes, voted, reader.labels)
    shown, without, known = votes, None, [None] * len(everything.rows)
    if gold is not None:
        known, every = _known(results, gold.column), verdicts(everything, job.vote)
        said["gold"] = quality(everything, every, known, reader.labels, Replies(job).read)
        said["gold"]["mixed_in"] = len(gold.rows)
        if gold.keep:
            shown = everything
        elif gold.rows and not any(known[: len(votes.rows)]):
            without = gold.column
    if job.confidence is not None:
        said["confidence"] = calibration(everything, job.vote, job.confidence, readable(known, Replies(job).read)[0])
    found = final if shown is votes else decisions.decided(everything, every, kept)
    provenance = {"run": directory.path.name, "job": job.fingerprint}
    sure = None if job.confidence is None else confidences(shown, job.confidence)
    write_table(labels_table(results, shown, found, sure, provenance, without).lazy(), directory.labels_path)
    said["decided"] = sum(verdict.status == "decided" for verdict in final)
    said["open"] = write_disagreements(results, votes, final, [*job.hidden], directory.disagreements_path)
    return said


def _own(job: Job, results: Path, votes: Votes) -> Votes:
    """The votes on the input's rows, without those that are mixed in and stand behind them."""
    count = len(job.gold.rows) if job.gold else 0
    if not count:
        return votes
    return read_votes(results, votes.kind, votes.annotators, votes.stronger, votes.rows[-count])


def escalation(
    job: Job,
    recall: Callable[[int, int], tuple[str, str] | None],
    is_shelved: Callable[[Task], bool] = lambda _task: False,
) -> Escalator | None:
    """What asks stronger models, if the job wants that; `recall` gives the answers that are there already."""
    if job.escalate is None or job.answer is None:
        return None
    from runner.labelling.confidence import confidence

    kind, voting, basis = job.answer.reader.kind, job.vote, job.confidence
    least_share, least_sure = job.escalate.below, job.escalate.confidence_below

    def is_due(votes: Mapping[str, Answer | Invalid | None]) -> bool:
        cells = {name: as_text(vote) if isinstance(vote, Answer) else vote for name, vote in votes.items()}
        if least_share is not None and is_below(poll(cells, kind, voting).share, least_share):
            return True
        stated = {name: vote.confidence if isinstance(vote, Answer) else None for name, vote in votes.items()}
        return least_sure is not None and basis is not None and confidence(cells, stated, kind, basis) < least_sure

    return Escalator(is_due, Replies(job).read, recall, is_shelved)


def recall(journal_path: Path, history: History, row: int, slot: int) -> tuple[str, str] | None:
    """Text and outcome of the reply that ended a row's task in an earlier session, None for a failure."""
    with journal_path.open("rb") as file:
        frame = journal.read_at(file, history.offset(row, slot))
    return None if frame.get("failure") else (frame["text"], frame["outcome"])


def _known(results: Path, column: str) -> list[Any]:
    """The known label of each row, in input order; None for all if no row has such a column."""
    names = {original: name for name, original in input_columns(results).items()}
    lines = pl.scan_parquet(results, glob=False)
    known = types.by_name(names[column]).as_expr() if column in names else pl.lit(None)
    return (
        lines.select("row", known.alias("known")).unique("row", keep="first").sort("row").collect()["known"].to_list()
    )


def adopt(path: Path, file: Path) -> tuple[int, dict[str, Any]]:
    """Take over what people have decided about a run's rows, and write its labels anew.

    Gives how many decisions there were, and the run's figures. Raises UsageError for a run that labels nothing.
    """
    directory = RunDirectory.open(path)
    manifest = directory.read_json(directory.manifest_path)
    job = Job.from_json(manifest["job"])
    if job.answer is None or job.answer.reader.kind not in POLLS:
        raise UsageError(f"The job of {path} has no [answer] that is voted on: there is nothing to decide.")
    if not job.votes:
        raise UsageError(f"The job of {path} evaluates its models, and has no [vote] among them: nothing is to decide.")
    if not directory.results_path.is_file() or not directory.summary_path.is_file():
        raise UsageError(f"{path} has no results yet: they are written when the run ends, or stops.")
    with directory.held():
        summary = directory.read_json(directory.summary_path)
        known = summary.get("labels") or {}
        stronger = known.get("stronger", [])
        annotators = [name for name in known.get("annotators", ()) if name not in stronger]
        results = directory.results_path
        votes = _own(job, results, read_votes(results, job.answer.reader.kind, annotators, stronger))
        found = decisions.read_decisions(file, ids_of(results, votes.end), Replies(job))
        decisions.keep(directory.path / decisions.FILE, found, file.name)
        summary["labels"] = label(job, annotators, stronger, directory)
        # The journal's seal stays: what came behind it is in no table.
        summary["files"] = {**summary.get("files", {}), "tables": sizes(directory)}
        directory.write_json(directory.summary_path, summary)
    return len(found), summary["labels"]
