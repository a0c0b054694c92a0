"""The examples of a job, as its prompt asks and its reader answers: rendered and checked once, beforehand."""

from __future__ import annotations

import json
from collections.abc import Mapping

from runner.core.answers import Answer, Invalid
from runner.core.answers.confidence import share
from runner.core.answers.writing import write
from runner.core.errors import UsageError
from runner.core.examples import Examples, Shot, Shots
from runner.core.job import Job
from runner.core.prompt import RowError
from runner.core.values import Json
from runner.reading import Replies
from runner.storage.templates import Template


def shots_of(job: Job, template: Template | None) -> Shots | None:
    """What shows a job's examples through one of its prompts; None if it has none.

    Raises UsageError, naming the first one, for examples that the prompt cannot ask or the job could not read.
    """
    examples = job.examples
    if examples is None or template is None:
        return None
    if examples.answer in template.columns:
        raise UsageError(
            f"{template.origin} shows the column {examples.answer!r}, which [examples] says holds the answers: "
            "they are shown as the model's turns. Take it out of the prompt."
        )
    replies = Replies(job)
    shots = []
    for number in range(1, len(examples.rows) + 1):
        try:
            shots.append(_shot(job, examples, number, template, replies))
        except RowError as error:
            raise UsageError(f"[examples]: example {number}: {error}.") from None
    return Shots(shots, examples)


def _shot(job: Job, examples: Examples, number: int, template: Template, replies: Replies) -> Shot:
    row = examples.rows[number - 1]
    reading = job.answer
    left_out = {examples.answer, *job.hidden, reading.reader.confidence if reading else None}
    asked = template({name: value for name, value in row.items() if name not in left_out})
    return Shot(asked, _answered(job, row, row[examples.answer], replies))


def _answered(job: Job, row: Mapping[str, Json], value: Json, replies: Replies) -> str:
    source = str(row.get((job.answer.source if job.answer else None) or "") or "")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    found = replies.read(text, source)
    if isinstance(found, Invalid):
        raise RowError(f"its answer {text[:60]!r} is none that the job reads: {found.reason}")
    if not text.strip():
        raise RowError("its answer is empty")
    if job.answer is None:
        return text.strip()
    reader = job.answer.reader
    structured = job.settings.schema is not None and job.settings.schema == reader.ask_schema()
    sure = found.confidence
    if sure is None and reader.confidence is not None:
        sure = share(row.get(reader.confidence))
        if sure is None:
            raise RowError(f"it has no number from 0 to 1 in its column {reader.confidence!r}, and answers state one")
    return write(reader, Answer(found.value, confidence=sure), structured=structured)
