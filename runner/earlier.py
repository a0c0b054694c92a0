"""What a run has to do with earlier ones: answers taken over, errored rows asked again, and what has changed since."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.core.errors import InputRejected, UsageError
from runner.core.job import Job
from runner.core.prompt import RowError
from runner.core.values import Kind
from runner.core.work import Task
from runner.preparing import Prepared
from runner.storage import journal
from runner.storage.history import History, read_history
from runner.storage.rows import Row, Source
from runner.storage.rundir import RunDirectory
from runner.storage.sources import Files, open_source
from runner.storage.takeover import FINAL, Answers, reopen_errored, take_over


@dataclass(frozen=True, slots=True)
class Fork:
    """An earlier run, of which a new one takes over what is the same."""

    path: Path
    changed: Sequence[str]
    """What the new run asks otherwise; then nothing is taken over."""
    answers: Answers | None
    """None if there are none that could be taken."""


def fork(prepared: Prepared, path: Path) -> Fork:
    """Read what there is to be taken over, before a new run is begun.

    Raises UsageError if there is no run at `path`, and StorageFailed if it is damaged.
    """
    other = RunDirectory.open(path)
    old = _job(other)
    changed = prepared.job.differences(old, but=("models", "each"))  # an answer says itself which model gave it
    changed += _other_columns(prepared, other)
    nothing = changed or not other.journal_path.exists()
    return Fork(path, changed, None if nothing else Answers(other.journal_path, old.slots))


def forked(prepared: Prepared, directory: RunDirectory, fork: Fork) -> History:
    """Begin a run's journal with the answers that an earlier run has to the same rows, asked in the same way."""
    count, why = 0, f", because it asked otherwise: {'; '.join(fork.changed)}" if fork.changed else ""
    if fork.answers is not None:
        frames = fork.answers.take(_tasks(prepared), fork.path.name)
        count = take_over(directory.journal_path, directory.path.name, frames)
    prepared.notices.append(f"{count:,} answers were taken over from {fork.path}{why}.")
    return read_history(directory.journal_path, prepared.maker.slots)


def _other_columns(prepared: Prepared, other: RunDirectory) -> list[str]:
    """That columns have other names than in an earlier run, where rows are known by their values alone."""
    said, names = other.read_json(other.manifest_path)["input"], list(prepared.columns)
    before = said.get("columns")  # an early run says nothing
    # Of several files only the look over all of them knows the columns.
    known = isinstance(prepared.source, Source) or (said["rows"] is not None and prepared.survey.complete)
    if prepared.source.format == "jsonl" or before in (None, names) or not known:
        return []
    return [f"columns: {', '.join(before)} -> {', '.join(names)}"]


def _tasks(prepared: Prepared) -> Iterator[Task]:
    for record in prepared.records():
        if isinstance(record, Row):
            try:
                yield from prepared.maker.tasks(record.index, record.columns, record.digest, lambda _text: 0)
            except RowError:
                continue  # the run itself says why


def reopened(directory: RunDirectory, manifest: Mapping[str, Any], kinds: Iterable[Kind]) -> list[str]:
    """Open a run's errored rows again, those with these kinds of failure if any are named; what there is to say."""
    slots = Job.from_json(manifest["job"]).slots
    count, left = reopen_errored(directory.journal_path, slots, frozenset(kinds) or None)
    said = [f"{count:,} errored {'rows are' if count != 1 else 'row is'} asked again."]
    if left:
        said.append("Left as errored: " + ", ".join(f"{kind} {number:,}" for kind, number in left.most_common()) + ".")
    if not FINAL.isdisjoint(left):
        kinds_left = " and ".join(kind for kind in left if kind in FINAL)
        said.append(
            f"A row with {kinds_left} would end in the same way: mend the input, and take over the other answers with "
            f"runner run ... --fork {directory.path}"
        )
    return said


def mind_what_is_there(job: Job, out: Path) -> None:
    """Raise UsageError, saying what differs, if a new run would go where another one is that asks something else."""
    if not (out / "manifest.json").is_file():
        return
    other = _job(RunDirectory.open(out))
    lines = job.differences(other)
    if job.input != other.input:
        lines.insert(0, f"input: {other.input} -> {job.input}")
    if lines:
        raise UsageError(
            f"{out} holds a run already, and not of this. A new run elsewhere takes over what is the same with: "
            f"--fork {out}. It differs in\n" + "\n".join(f"  {line}" for line in lines)
        )


def _job(directory: RunDirectory) -> Job:
    return Job.from_json(directory.read_json(directory.manifest_path)["job"])


def mind_the_input(directory: RunDirectory, manifest: Mapping[str, Any]) -> None:
    """Raise InputRejected, saying what has changed, if the input is not what it was when the run began.

    A file that nobody touched, by its size and time, is taken to be the same.
    """
    said, source = manifest["input"], open_source(Path(manifest["job"]["input"]))
    if source.stamp == {name: said.get(name) for name in source.stamp}:
        return
    if said["digest"] is None or source.digest() != said["digest"]:
        changes = _changes(directory, manifest, source)
        raise InputRejected(
            f"{source.path} has changed since the run in {directory.path} began: {changes}. "
            f"To ask about the changed rows only, start a new run with: --fork {directory.path}"
        )


def _changes(directory: RunDirectory, manifest: Mapping[str, Any], source: Source | Files) -> str:
    """In which rows an input differs from what a run has answered."""
    known = _digests(directory, manifest["input"].get("mixed_in_from"))
    rows, changed, first = 0, 0, ""
    for record in source:
        rows += 1
        expected = known.pop(record.index, None)
        if expected is not None and (not isinstance(record, Row) or record.digest != expected):
            changed += 1
            first = first or record.where
    before = manifest["input"]["rows"]
    counts = f"it has {rows:,} rows" + (f", and had {before:,}" if before not in (None, rows) else "")
    gone = f"; {len(known):,} rows with an outcome are gone" if known else ""
    where = f", the first in {first}" if changed else ""
    return f"{counts}; {changed:,} rows with an outcome are not what they were{where}{gone}"


def _digests(directory: RunDirectory, end: int | None) -> dict[int, str]:
    """The digest of each row before `end` that has an outcome."""
    if not directory.journal_path.exists():
        return {}
    payloads = (frame.payload for frame in journal.read(directory.journal_path))
    ended = (payload for payload in payloads if payload.get("final") and payload.get("key"))
    return {
        payload["row"]: payload["key"].partition(":")[0] for payload in ended if end is None or payload["row"] < end
    }
