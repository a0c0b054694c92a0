"""What reading a reply gives: an answer with the repairs that it took, or the reason why there is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from runner.core.values import Json

REPAIRS: Mapping[str, str] = {
    "thinking": "a block of thinking before the answer was left out",
    "fence": "the answer stood in a code fence",
    "prose": "there was prose around the JSON",
    "line breaks": "strings of the JSON held raw line breaks",
    "commas": "the JSON had a comma before a closing bracket",
    "python": "the JSON was written as Python writes it",
    "key": "the answer stood under another key",
    "list": "the answer stood in a list of one",
    "boxed": r"the answer stood in \boxed{}",
    "tags": "the answer stood between tags",
    "bullet": "the answer was an item of a list",
    "prefix": "words and a colon stood before the answer",
    "quotes": "the answer stood in quotes, brackets or emphasis",
    "punctuation": "the answer ended in punctuation",
    "case": "the answer was in another case or spacing",
    "separators": "the answer had other separators between its words",
    "synonym": "the answer was a synonym that the job lists",
    "remark": "a remark followed the answer",
    "last line": "the answer was the last line by itself",
    "statement": "a sentence stated the answer",
    "out of": "the rating was given out of the highest",
    "unit": "a unit followed the rating",
    "number": "a number stood in quotes",
    "repeated": "the answer was given more than once",
    "source": "a span was found in the text in another case or spacing",
}
"""Every repair by its name -> what was put right. An `Answer` names them in the order in which they were made."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reply says: a label, a tuple of labels, a number, a JSON value, a tuple of spans, or text."""

    value: Json
    repairs: tuple[str, ...] = ()
    """Names in `REPAIRS`; empty if the reply was as it was asked for."""
    confidence: float | None = None
    """How sure the model says that it is, 0 to 1, where it was asked for that and said it."""

    def to_json(self) -> Json:
        """The value with nothing in it but what JSON can hold."""
        if isinstance(self.value, tuple):
            return [dataclasses.asdict(item) if isinstance(item, Span) else item for item in self.value]
        return self.value


@dataclass(frozen=True, slots=True)
class Invalid:
    """A reply that says nothing that can be read without guessing."""

    reason: str
    """A clause that can follow "your answer cannot be used:"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of the source text that an answer names."""

    text: str
    """As it stands in the source."""
    label: str | None
    start: int
    end: int
    """Characters from the beginning of the source; `end` is behind the last one."""
    occurrence: int
    """Which occurrence of this text in the source it is, from 1."""
