"""What a job wants read from replies: a declaration, and everything that follows from it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from runner.core.answers.confidence import SCHEMA, stated
from runner.core.answers.fields import Validate, read_fields
from runner.core.answers.labels import open_reply, read_label, read_labels, wanted
from runner.core.answers.ratings import Scale, read_rating
from runner.core.answers.spans import read_spans
from runner.core.answers.unwrapping import opens_thinking
from runner.core.answers.values import Answer, Invalid
from runner.core.answers.vocabulary import Vocabulary, fold
from runner.core.errors import UsageError
from runner.core.values import Json

Kind = Literal["label", "labels", "rating", "fields", "spans", "text"]
LONGEST_REPLY = 2_000_000
"""Characters, about twice as many as any model writes: what is longer is not searched for an answer."""
MOST_SHOWN = 200
"""Characters of a reply that are shown to the model again."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads replies of one kind. UsageError if the declaration contradicts itself."""

    kind: Kind
    labels: tuple[str, ...] = ()
    """The closed set; with `spans` the kinds of spans, or empty."""
    synonyms: Mapping[str, str] = field(default_factory=dict)
    """Word -> label, or the rating's digits; with `fields` a word of an enumeration."""
    schema: Mapping[str, Json] | None = None
    """Only with `fields`: the JSON schema of the answer."""
    low: float = 1
    high: float = 5
    """The ends of a rating's scale, both included."""
    whole: bool = False
    """Whether a rating must be a whole number."""
    fewest: int = 0
    most: int | None = None
    """How many of several labels there may be; no `most` means all of them."""
    confidence: str | None = None
    """The field of the reply's JSON in which the model says how sure it is, from 0 to 1."""

    def __post_init__(self) -> None:
        for wrong in self._contradictions():
            raise UsageError(f"The answer cannot be read as declared: {wrong}.")

    def _contradictions(self) -> list[str]:
        wrong: list[str] = []
        if self.kind not in READERS:
            return [f"{self.kind!r} is no kind; the kinds are {', '.join(READERS)}"]
        if self.kind in ("label", "labels") and not self.labels:
            wrong.append(f"a {self.kind} answer needs labels")
        if any(not label.strip() for label in self.labels) or len(set(self.labels)) < len(self.labels):
            wrong.append("labels must differ, and none may be empty")
        if self.kind in ("label", "labels", "spans"):
            known = set(self.labels)
            wrong += [
                f"the synonym {word!r} means {to!r}, which is no label"
                for word, to in self.synonyms.items()
                if to not in known
            ]
            folded = {fold(label): label for label in self.labels}
            wrong += [
                f"the synonym {word!r} of {to!r} is a label itself"
                for word, to in self.synonyms.items()
                if folded.get(fold(word), to) != to
            ]
        if self.kind == "rating":
            if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
                wrong.append(f"a rating's low ({self.low:g}) must be below its high ({self.high:g})")
            wrong += [
                f"the synonym {word!r} means {to!r}, which is no number"
                for word, to in self.synonyms.items()
                if not _is_number(to)
            ]
        if self.kind == "fields" and not self.schema:
            wrong.append("fields need a schema")
        if self.confidence is not None:
            wrong += self._unsure(self.confidence)
        if self.fewest < 0 or (self.most is not None and self.most < max(1, self.fewest)):
            wrong.append("`fewest` must be 0 or more, and `most` no less than it, and 1 at least")
        return wrong

    def _unsure(self, name: str) -> list[str]:
        """Why a field of this name cannot say how sure a model is."""
        if self.kind == "text":
            return ["a text has no field that states a confidence"]
        if self.kind == "fields" and name not in (self.schema or {}).get("properties", {}):
            return [f"the schema has no property {name!r}, which states the confidence"]
        return [f"{name!r} is the answer's own field, and cannot state the confidence"] if name == self.kind else []

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The labels and their synonyms; with a rating the synonyms alone."""
        if self.kind == "rating":
            return Vocabulary((), self.synonyms)
        return Vocabulary(self.labels, self.synonyms)

    @property
    def scale(self) -> Scale:
        """What a rating may be."""
        return Scale(self.low, self.high, self.whole)

    def read(self, text: str, *, validate: Validate | None = None, source: str = "") -> Answer | Invalid:
        """What a reply says. Never raises, whatever the text.

        `validate` checks a value against `schema` where the kind is `fields`; `source` is the text that spans are of.
        """
        if len(text) > LONGEST_REPLY and self.kind != "text":
            return Invalid(f"it has {len(text):,} characters, and more than {LONGEST_REPLY:,} are not looked through")
        found = READERS[self.kind](self, text, validate, source)
        if self.confidence is None or isinstance(found, Invalid):
            return found
        value = found.value
        if self.kind == "fields" and isinstance(value, dict):  # two who are not equally sure say the same
            value = {name: item for name, item in value.items() if name != self.confidence}
        return dataclasses.replace(found, value=value, confidence=stated(text, self.confidence))

    def ask_schema(self) -> Mapping[str, Json] | None:
        """The JSON schema that asks a model for this answer through structured output; None for free text.

        It says no more than all dialects take: ranges and counts are in descriptions, and checked when it is read.
        """
        if self.kind == "fields":
            return self.schema
        make = SCHEMAS.get(self.kind)
        sure = {} if self.confidence is None else {self.confidence: SCHEMA}
        return None if make is None else _object({self.kind: make(self), **sure})

    def instruction(self, invalid: Invalid, reply: str) -> str:
        """What to tell a model whose reply could not be read, so that it answers again."""
        shown = " ".join(reply.split())
        shown = shown if len(shown) <= MOST_SHOWN else f"{shown[: MOST_SHOWN - 3]}..."
        said = f'Your answer "{shown}"' if shown else "Your answer"
        return f"{said} cannot be used: {invalid.reason}. {self._wanted}"

    @property
    def _wanted(self) -> str:
        if self.confidence is not None and self.kind != "fields":
            return f"Answer with JSON that satisfies this schema only: {json.dumps(self.ask_schema())}"
        return WANTED[self.kind](self)

    def to_json(self) -> dict[str, Any]:
        """The declaration as JSON values."""
        return {**dataclasses.asdict(self), "labels": list(self.labels)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Reader:
        """The declaration that `to_json` wrote."""
        return cls(**{**values, "labels": tuple(values["labels"])})


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _read_text(text: str) -> Answer | Invalid:
    if not opens_thinking(text):
        # Free text may speak of thinking; only what begins with it is known to hold some.
        return Answer(text.strip()) if text.strip() else Invalid("it is empty")
    opened = open_reply(text)
    return opened if isinstance(opened, Invalid) else Answer(opened.value.strip(), opened.repairs)


READERS: Mapping[str, Callable[[Reader, str, Validate | None, str], Answer | Invalid]] = {
    "label": lambda self, text, _validate, _source: read_label(text, self.vocabulary),
    "labels": lambda self, text, _validate, _source: read_labels(
        text, self.labels, self.vocabulary, self.fewest, self.most
    ),
    "rating": lambda self, text, _validate, _source: read_rating(text, self.scale, self.vocabulary),
    "fields": lambda self, text, validate, _source: read_fields(text, self.schema or {}, self.synonyms, validate),
    "spans": lambda self, text, _validate, source: read_spans(text, source, self.vocabulary if self.labels else None),
    "text": lambda _self, text, _validate, _source: _read_text(text),
}
"""Kind of answer -> how a reply is read."""


def _object(properties: Mapping[str, Json]) -> dict[str, Json]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _enum(reader: Reader) -> dict[str, Json]:
    return {"type": "string", "enum": list(reader.labels)}


def _span_schema(reader: Reader) -> dict[str, Json]:
    label = {"label": _enum(reader)} if reader.labels else {}
    text = {"type": "string", "description": "copied from the text exactly"}
    occurrence = {"type": "integer", "description": "which occurrence of these words in the text, counted from 1"}
    return {"type": "array", "items": _object({**label, "text": text, "occurrence": occurrence})}


SCHEMAS: Mapping[str, Callable[[Reader], dict[str, Json]]] = {
    "label": _enum,
    "labels": lambda reader: {
        "type": "array",
        "items": _enum(reader),
        "description": f"each label at most once; {wanted(reader.fewest, reader.most)} wanted",
    },
    "rating": lambda reader: {
        "type": "integer" if reader.whole else "number",
        "description": f"from {reader.low:g} to {reader.high:g}",
    },
    "spans": _span_schema,
}
"""Kind of answer -> the schema of its one field, which has the name of the kind."""

WANTED: Mapping[str, Callable[[Reader], str]] = {
    "label": lambda reader: f"Answer with one of these only: {', '.join(reader.labels)}.",
    "labels": lambda reader: (
        f"Answer with a JSON list of these only: {', '.join(reader.labels)}; "
        f"{wanted(reader.fewest, reader.most)} wanted."
    ),
    "rating": lambda reader: (
        f"Answer with one {'whole ' if reader.whole else ''}number from {reader.low:g} to {reader.high:g} only."
    ),
    "fields": lambda reader: (
        f"Answer with JSON that satisfies this schema only: {json.dumps(reader.schema, ensure_ascii=False)}"
    ),
    "spans": lambda reader: (
        "Answer with JSON that satisfies this schema only, and copy each text exactly: "
        f"{json.dumps(reader.ask_schema(), ensure_ascii=False)}"
    ),
    "text": lambda _reader: "Answer with text.",
}
"""Kind of answer -> the sentence that says what to answer with."""
