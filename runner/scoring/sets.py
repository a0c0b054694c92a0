"""Answers of several labels, in any order."""

from __future__ import annotations

from collections.abc import Mapping

from runner.core.values import Json
from runner.scoring.scores import RIGHT, Judge, Score, as_json, as_text, graded


def as_set(value: Json) -> frozenset[str]:
    """The labels of a list, or of a text that is a JSON list, or of its parts between commas."""
    read = as_json(value) if isinstance(value, str) and value.lstrip().startswith("[") else value
    if isinstance(read, (list, tuple, set, frozenset)):
        return frozenset(as_text(item) for item in read)
    return frozenset(part.strip() for part in as_text(value).split(",") if part.strip())


def same_set(_options: Mapping[str, Json]) -> Judge:
    """The same labels, no more and no fewer."""

    def judge(answer: Json, expected: Json) -> Score:
        given, wanted = as_set(answer), as_set(expected)
        return RIGHT if given == wanted else Score(0.0, _difference(given, wanted))

    return judge


def jaccard(_options: Mapping[str, Json]) -> Judge:
    """Labels in common, as a share of all that either has; two empty sets are the same."""

    def judge(answer: Json, expected: Json) -> Score:
        given, wanted = as_set(answer), as_set(expected)
        union = given | wanted
        return graded(len(given & wanted) / len(union), _difference(given, wanted)) if union else RIGHT

    return judge


def _difference(given: frozenset[str], wanted: frozenset[str]) -> str:
    parts = (("missing", wanted - given), ("too many", given - wanted))
    return "; ".join(f"{word}: {', '.join(sorted(labels))}" for word, labels in parts if labels)
