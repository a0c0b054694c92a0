"""What a new run takes over from an earlier one: answers to rows that are the same, and what people have decided.

All of it is read before the new run is begun, and written before it is founded: what fails leaves no run behind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from runner.core.answers import Reader
from runner.core.job import Job
from runner.core.prompt import RowError
from runner.core.values import Settings
from runner.core.work import Task
from runner.earlier import digests, job_of
from runner.labelling import decisions, escalation
from runner.manifest import fills
from runner.preparing import Prepared
from runner.storage.history import History, read_history
from runner.storage.rows import Row, Source
from runner.storage.rundir import RunDirectory
from runner.storage.states import mind_the_journal
from runner.storage.takeover import Answers, take_over

Decisions = Mapping[str, deque[str | None]]
"""The digest of rows -> what a person has decided about each of them, in their order; None where nothing was. Those of
which none was decided are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """An earlier run, of which a new one takes over what is the same."""

    path: Path
    changed: Sequence[str]
    """What the new run asks otherwise; then nothing is taken over."""
    answers: Answers | None
    """None if there are none that could be taken."""
    decisions: Decisions | None
    """None if a person would have something else to decide."""
    decided: int
    """How many rows a person has decided about."""
    fills: bool
    """Whether it filled in what batch lines leave open."""


def read(prepared: Prepared, path: Path) -> Fork:
    """Read what there is to be taken over, before a new run is begun.

    Raises UsageError if there is no run at `path`, and StorageFailed if it is damaged.
    """
    other = RunDirectory.open(path)
    old, kept = job_of(other), decisions.kept(path)
    changed = prepared.job.differences(old, but=("models", "each"))  # an answer says itself which model gave it
    changed += _other_columns(prepared, other)
    answers = None if changed or not other.journal_path.exists() else Answers(other.journal_path, old.slots)
    mind_the_journal(other, other.journal_bytes if answers is None else answers.end)
    return Fork(
        path=path,
        changed=changed,
        answers=answers,
        decisions=None if changed or _choices(prepared.job) != _choices(old) else _decisions(other, kept),
        decided=len(kept),
        fills=fills(other.read_json(other.manifest_path)),
    )


def _choices(job: Job) -> Reader | None:
    """What a person who decides can choose from: words that mean the same as a label are no matter."""
    return None if job.answer is None else replace(job.answer.reader, synonyms={}, confidence=None)


def _decisions(directory: RunDirectory, kept: Mapping[int, str]) -> Decisions:
    if not kept:
        return {}
    manifest = directory.read_json(directory.manifest_path)
    rows = digests(directory, manifest["input"].get("mixed_in_from"))
    found: dict[str, deque[str | None]] = {rows[row]: deque() for row in kept if row in rows}
    for row, digest in sorted(rows.items()):
        if digest in found:
            found[digest].append(kept.get(row))
    return found


def begin(prepared: Prepared, directory: RunDirectory, fork: Fork) -> History:
    """Begin a run's journal with the answers that an earlier run has to the same rows, asked in the same way.

    What people have decided about these rows goes with them. What does not is said. Both belong to the run as soon as
    it has a manifest (`RunDirectory.settle`): what is cut off before must be no run that asks everything again.
    """
    count, answers = 0, fork.answers
    begun = directory.beginning(directory.journal_path.name)
    unfilled: list[int] = []
    if answers is not None:
        tasks = _tasks(prepared) if fork.fills else _filled(_tasks(prepared), unfilled)
        count = take_over(begun, directory.path.name, _frames(prepared, answers, tasks))
    why = f", because it asked otherwise: {'; '.join(fork.changed)}" if fork.changed else ""
    prepared.notices.append(f"{count:,} answers were taken over from {fork.path}{why}.")
    if unfilled:
        prepared.notices.append(
            f"Answers to batch lines that were not taken over: {len(unfilled):,}. {fork.path} asked them without the "
            "options that fill in now what they leave open."
        )
    if answers is not None and answers.stronger:
        prepared.notices.append(
            f"Answers of stronger models that were not taken over: {len(answers.stronger):,}. Their rows have changed, "
            "lack another answer, or need no such model now."
        )
    if fork.decided:
        decided = _decided(prepared, fork.decisions or {})
        decisions.keep(directory.beginning(decisions.FILE), decided, fork.path.resolve().name)
        prepared.notices.append(_about_decisions(fork, len(decided)))
    return read_history(begun, prepared.maker.slots)


def _about_decisions(fork: Fork, taken: int) -> str:
    why = ""
    if fork.changed:
        why = f", because {fork.path} asked otherwise"
    elif fork.decisions is None:
        why = ", because there is something else to choose from"
    elif taken < fork.decided:
        why = "; the other rows are not the same"
    return f"Decisions taken over: {taken:,} of {fork.decided:,}{why}."


def _decided(prepared: Prepared, decisions: Decisions) -> dict[int, str]:
    """Row -> what a person has decided about a row that is the same; those with known labels are not theirs."""
    mixed, found = {row.index for row in prepared.gold}, {}
    for record in prepared.records() if decisions else ():
        if isinstance(record, Row) and record.index not in mixed and (waiting := decisions.get(record.digest)):
            label = waiting.popleft()
            if label is not None:
                found[record.index] = label
    return found


def _other_columns(prepared: Prepared, other: RunDirectory) -> list[str]:
    """That columns have other names than in an earlier run, where rows are known by their values alone."""
    said, names = other.read_json(other.manifest_path)["input"], list(prepared.columns)
    before = said.get("columns")  # an early run says nothing
    # Of several files only the look over all of them knows the columns.
    known = isinstance(prepared.source, Source) or (said["rows"] is not None and prepared.survey.complete)
    if prepared.source.format == "jsonl" or before in (None, names) or not known:
        return []
    return [f"columns: {', '.join(before)} -> {', '.join(names)}"]


def _filled(tasks: Iterable[list[Task]], unfilled: list[int]) -> Iterator[list[Task]]:
    """The tasks of rows that an early run asked in the same way; the batch lines that it did not go to `unfilled`."""
    for made in tasks:
        request = made[0].request
        if request.body is not None and replace(request.settings, max_tokens=None) != Settings():
            unfilled.append(made[0].row)
        else:
            yield made


def _frames(prepared: Prepared, answers: Answers, tasks: Iterable[list[Task]]) -> Iterator[dict[str, Any]]:
    """What an earlier run has answered of each row; of stronger models only where they would be asked now."""
    said: dict[int, tuple[str, str]] = {}
    escalator = escalation(prepared.job, lambda _row, slot: said[slot])
    with answers.path.open("rb") as file:
        for made in tasks:
            frames = list(answers.take(file, made))
            yield from frames
            if escalator is not None and len(frames) == len(made):
                said.clear()
                said.update({frame["slot"]: (frame["text"], frame["outcome"]) for frame in frames})
                stronger = prepared.maker.escalations(made)
                yield from answers.take(file, escalator.hold(made, stronger, lambda _row, slot: slot in said))


def _tasks(prepared: Prepared) -> Iterator[list[Task]]:
    """The tasks of each row."""
    for record in prepared.records():
        if isinstance(record, Row):
            try:
                yield prepared.maker.tasks(record.index, record.columns, record.digest, lambda _text: 0)
            except RowError:
                continue  # the run itself says why
