"""A score, and what holds for every scorer: missing and invalid answers score 0, what cannot be scored has none."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from runner.core.answers import Answer, Invalid
from runner.core.answers.json_text import parse
from runner.core.values import Json


@dataclass(frozen=True, slots=True)
class Score:
    """How right an answer is."""

    value: float | None
    """0 (wrong) to 1 (right); None if that cannot be said."""
    reason: str = ""
    """Why it is no 1, or None."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """Where an answer has fields: each field's own value."""


RIGHT = Score(1.0)
WRONG = Score(0.0, "it differs")
NO_ANSWER = Score(0.0, "no answer")
NOTHING_EXPECTED = Score(None, "nothing is expected of this row")

Judge = Callable[[Json, Json], Score]
"""Scores an answer against what is expected; both are there."""


def is_absent(value: Json) -> bool:
    """Whether a value is null or NaN: a table's ways to say that there is none."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def guarded(judge: Judge, *, expects: bool = True) -> Callable[[Json, Json], Score]:
    """The judge behind what holds for all: it takes `Answer`, `Invalid`, None and NaN too, on either side."""

    def score(answer: Json, expected: Json = None) -> Score:
        if isinstance(answer, Answer):
            answer = answer.to_json()
        if expects and is_absent(expected):
            return NOTHING_EXPECTED
        if isinstance(answer, Invalid):
            return Score(0.0, f"invalid: {answer.reason}")
        return NO_ANSWER if is_absent(answer) else judge(answer, expected)

    return score


def any_of(judge: Judge) -> Judge:
    """The best score over a list of acceptable answers."""

    def best(answer: Json, expected: Json) -> Score:
        if not isinstance(expected, (list, tuple)):
            return judge(answer, expected)
        scores = [judge(answer, one) for one in expected if not is_absent(one)]
        known = [score for score in scores if score.value is not None]
        if not known:
            return scores[0] if scores else NOTHING_EXPECTED
        return max(known, key=lambda score: score.value or 0.0)

    return best


def graded(value: float, reason: str) -> Score:
    """A score between: its reason is left out if it is 1."""
    return RIGHT if value >= 1.0 else Score(value, reason)


def as_text(value: Json) -> str:
    """A value as text: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def as_json(value: Json) -> Json:
    """A value as JSON: text is read as it, and gives `Invalid` if it is none."""
    if not isinstance(value, str):
        return value
    found = parse(value)
    return Invalid("it is no JSON") if found is None else found.value
