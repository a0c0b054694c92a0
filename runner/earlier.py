"""What a run has to do with earlier sessions and runs: errored rows asked again, and what has changed since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from runner.core.commands import fork_of
from runner.core.errors import InputRejected, UsageError
from runner.core.job import Job
from runner.core.values import Kind
from runner.storage import journal
from runner.storage.history import UNASKABLE
from runner.storage.rows import Row, Source
from runner.storage.rundir import RunDirectory
from runner.storage.sources import Files, open_source
from runner.storage.takeover import reopen_errored


def reopened(directory: RunDirectory, manifest: Mapping[str, Any], kinds: Iterable[Kind]) -> list[str]:
    """Open a run's errored rows again, those with these kinds of failure if any are named; what there is to say."""
    slots = Job.from_json(manifest["job"]).slots
    count, left = reopen_errored(directory, slots, frozenset(kinds) or None)
    said = [f"{count:,} errored {'rows are' if count != 1 else 'row is'} asked again."]
    if left:
        said.append("Left as errored: " + ", ".join(f"{kind} {number:,}" for kind, number in left.most_common()) + ".")
    if not UNASKABLE.isdisjoint(left):
        kinds_left = " and ".join(kind for kind in left if kind in UNASKABLE)
        said.append(
            f"A row with {kinds_left} would end in the same way: mend the input, and take over the other answers with "
            f"runner run ... {fork_of(directory.path)}"
        )
    return said


def mind_what_is_there(job: Job, out: Path) -> None:
    """Raise UsageError, saying what differs, if a new run would go where another one is that asks something else."""
    if not (out / "manifest.json").is_file():
        return
    other = job_of(RunDirectory.open(out))
    lines = job.differences(other)
    if job.input != other.input:
        lines.insert(0, f"input: {other.input} -> {job.input}")
    if lines:
        raise UsageError(
            f"{out} holds a run already, and not of this. A new run elsewhere takes over what is the same with: "
            f"{fork_of(out)}. It differs in\n" + "\n".join(f"  {line}" for line in lines)
        )


def job_of(directory: RunDirectory) -> Job:
    """What a run asks."""
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
            f"To ask about the changed rows only, start a new run with: {fork_of(directory.path)}"
        )


def _changes(directory: RunDirectory, manifest: Mapping[str, Any], source: Source | Files) -> str:
    """In which rows an input differs from what a run has answered."""
    known = digests(directory, manifest["input"].get("mixed_in_from"))
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
    if not changed:
        return f"{counts}; no row with an outcome differs{gone}"
    return f"{counts}; rows with an outcome that differ: {changed:,}, the first in {first}{gone}"


def digests(directory: RunDirectory, end: int | None) -> dict[int, str]:
    """The digest of each row before `end` that has an outcome."""
    if not directory.journal_path.exists():
        return {}
    payloads = (frame.payload for frame in journal.read(directory.journal_path))
    ended = (payload for payload in payloads if payload.get("final") and payload.get("key"))
    return {
        payload["row"]: payload["key"].partition(":")[0] for payload in ended if end is None or payload["row"] < end
    }
