"""Pieces of the source text, read from a reply: a model gives the words; where they stand is found, not believed."""

from __future__ import annotations

import re
from collections.abc import Mapping

from runner.core.answers.fields import json_values
from runner.core.answers.labels import open_reply
from runner.core.answers.structured import field_of
from runner.core.answers.values import Answer, Invalid, Span
from runner.core.answers.vocabulary import Vocabulary
from runner.core.values import Json


def read_spans(text: str, source: str, vocabulary: Vocabulary | None) -> Answer | Invalid:
    """The spans that a reply gives, in its order; Invalid if one does not stand in the source.

    An item without an `occurrence` means the first one that no item before it with the same words and label has taken.
    """
    opened = open_reply(text)
    if isinstance(opened, Invalid):
        return opened
    found = field_of(opened.value, "spans", lists=True)
    if found is None and (lists := json_values(opened.value, lists=True)) and len(lists) == 1:
        found = lists[0]
    if found is None:
        return Invalid("it holds no JSON that can be read")
    if isinstance(found, Invalid):
        return found
    if not isinstance(found.value, list):
        return Invalid("its spans are no list")
    repairs = [*opened.repairs, *found.repairs]
    taken: dict[tuple[str, str | None], set[int]] = {}
    spans: list[Span] = []
    for item in found.value:
        span = _span(item, source, vocabulary, taken, repairs)
        if isinstance(span, Invalid):
            return span
        spans.append(span)
    unique = tuple(dict.fromkeys(spans))
    if len(unique) < len(spans):
        repairs.append("repeated")
    return Answer(unique, tuple(dict.fromkeys(repairs)))


def _span(
    item: Json,
    source: str,
    vocabulary: Vocabulary | None,
    taken: dict[tuple[str, str | None], set[int]],
    repairs: list[str],
) -> Span | Invalid:
    entry: Mapping[str, Json] = item if isinstance(item, dict) else {"text": item}
    words = entry.get("text")
    if not isinstance(words, str) or not words.strip():
        return Invalid("a span has no text")
    label: str | None = None
    if vocabulary is not None:
        match = vocabulary.match(str(entry.get("label")).strip())
        if match is None:
            return Invalid(f"{str(entry.get('label'))[:60]!r} is none of the labels of spans")
        label = match[0]
        repairs.extend(match[1])
    places = _places(words, source)
    if not places:
        places = _loose_places(words, source)
        repairs.append("source")
    shown = words if len(words) <= 60 else f"{words[:57]}..."
    if not places:
        return Invalid(f"{shown!r} does not occur in the text")
    known = taken.setdefault((words, label), set())
    number = entry.get("occurrence")
    if number is None:
        number = next((free for free in range(1, len(places)) if free not in known), len(places))
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= len(places):
        return Invalid(f"{shown!r} occurs {len(places)} times in the text, and occurrence {number!r} is asked for")
    known.add(number)
    start, end = places[number - 1]
    return Span(text=source[start:end], label=label, start=start, end=end, occurrence=number)


def _places(words: str, source: str) -> list[tuple[int, int]]:
    """Where the words stand, from left to right without overlaps."""
    return [match.span() for match in re.finditer(re.escape(words), source)]


def _loose_places(words: str, source: str) -> list[tuple[int, int]]:
    """The same in any case and spacing, if that is found once only."""
    pattern = r"\s+".join(re.escape(word) for word in words.split())
    places = [match.span() for match in re.finditer(pattern, source, re.IGNORECASE)]
    return places if len(places) == 1 else []
