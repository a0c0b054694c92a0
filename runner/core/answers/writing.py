"""An answer as a model would have written it: what reading it gives is the answer again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from runner.core.answers.reader import Reader
from runner.core.answers.values import Answer, Span
from runner.core.values import Json


def write(reader: Reader, answer: Answer, *, structured: bool) -> str:
    """The text of an answer, as structured output has it or as the instruction of its kind wants it."""
    kind, value = reader.kind, _plain(answer)
    sure = {} if reader.confidence is None else {reader.confidence: answer.confidence}
    if kind == "fields":
        return _json({**value, **sure} if isinstance(value, dict) else value)
    if reader.ask_schema() is not None and (structured or sure or kind == "spans"):
        return _json({kind: value, **sure})
    return FREE[kind](value)


def _plain(answer: Answer) -> Json:
    value = answer.value
    return [_piece(item) for item in value] if isinstance(value, tuple) else value


def _piece(item: Json) -> Json:
    """A span without what is found rather than said: where it stands."""
    if not isinstance(item, Span):
        return item
    label: dict[str, Any] = {} if item.label is None else {"label": item.label}
    return {**label, "text": item.text, "occurrence": item.occurrence}


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)


FREE: Mapping[str, Callable[[Json], str]] = {
    "label": str,
    "labels": _json,
    "rating": _json,
    "text": str,
}
"""Kind of answer -> its text where it is not asked for as structured output."""
