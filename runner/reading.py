"""Reading replies as a job declares it, with the parts that check them: while a run goes, and for its tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from runner.core.again import AskingAgain
from runner.core.answers import Answer, Invalid
from runner.core.errors import UsageError
from runner.core.job import Job
from runner.core.ports import TokenCounter
from runner.core.tasks import TaskMaker
from runner.core.values import Outcome
from runner.scoring.structures import validator

UNREAD: Mapping[str, str] = {
    Outcome.TRUNCATED: "it was cut short",
    Outcome.REFUSED: "the model refused to answer",
    Outcome.FILTERED: "it was stopped by a filter",
    Outcome.TOOL_CALLS: "it calls a tool instead",
}
"""Outcome -> why such a reply is not read: half an answer may look like another one."""


def mind_the_schema(job: Job) -> None:
    """Raise UsageError if the schema that replies must satisfy is none."""
    reading = job.reading
    if reading is not None and reading.reader.schema:
        validator(reading.reader.schema)


class Replies:
    """Reads the replies of one job; UsageError for an [answer] whose schema is none."""

    def __init__(self, job: Job, asks_form: Callable[[Mapping[str, Any]], bool] = lambda _columns: True) -> None:
        """`asks_form` says whether the row with these columns is asked for the form that the job's schema gives."""
        self._asks_form = (lambda _columns: True) if job.answer is not None else asks_form
        self._reading, self._validate = job.reading, None
        try:
            if self._reading is not None and self._reading.reader.schema:
                self._validate = validator(self._reading.reader.schema)
        except UsageError:
            if job.answer is not None:
                raise
            self._reading = None  # of an early run, which sent it unseen
        self._reader = None if self._reading is None else self._reading.reader

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that an answer may name; none where it is of another kind."""
        return () if self._reader is None else self._reader.labels

    def read(self, text: str, source: str = "") -> Answer | Invalid:
        """What a reply says; its text without the spaces around it where the job asks for none by its form."""
        if self._reader is None:
            return Answer(text.strip())
        return self._reader.read(text, validate=self._validate, source=source)

    def cells(self, text: str, outcome: str, columns: Mapping[str, Any]) -> dict[str, str | float | None]:
        """The columns of the results table that say what a reply of a row with these `columns` says."""
        if self._reading is None or self._reader is None or not self._asks_form(columns):
            return {"answer": text.strip()}
        source = columns.get(self._reading.source or "")
        found = Invalid(UNREAD[outcome]) if outcome in UNREAD else self.read(text, source or "")
        if isinstance(found, Invalid):
            return {"answer_status": "invalid", "invalid_reason": found.reason}
        return {
            "answer": as_text(found),
            "answer_status": "repaired" if found.repairs else "read",
            "repairs": ", ".join(found.repairs) or None,
            "confidence": found.confidence,
        }

    def again(self, maker: TaskMaker, count: TokenCounter) -> AskingAgain | None:
        """What asks again for answers that cannot be read, if the job wants that."""
        if self._reading is None or self._reader is None or not self._reading.asks:
            return None
        return AskingAgain(self._reader, self._reading.asks, self.read, count, maker.fits)


def as_text(answer: Answer) -> str:
    """An answer as a cell holds it: a label or a text as it is, everything else as JSON."""
    return answer.value if isinstance(answer.value, str) else json.dumps(answer.to_json(), ensure_ascii=False)


def from_text(cell: str, kind: str) -> Any:
    """The value in a cell that `as_text` has written, for an answer of this kind; spans in their order in the text."""
    if kind in ("label", "text"):
        return cell
    try:
        value = json.loads(cell)
    except json.JSONDecodeError:
        return cell  # a text, which is what its schema asks for
    return sorted(value, key=_place) if kind == "spans" else value


def _place(span: Mapping[str, Any]) -> tuple[int, int, str]:
    return span["start"], span["end"], span["label"] or ""
