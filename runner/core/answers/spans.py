"""Pieces of the source text, read from a reply: a model gives the words; where they stand is found, not believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, lru_cache, partial

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
    places_of = cache(partial(_places, source=source))  # a model that runs on says the same words again and again
    repairs = [*opened.repairs, *found.repairs]
    taken: dict[tuple[str, str | None], set[int]] = {}
    spans: list[Span] = []
    for item in found.value:
        span = _span(item, source, places_of, vocabulary, taken, repairs)
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
    places_of: Callable[[str], list[tuple[int, int]]],
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
    places = places_of(words)
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
    places, at = [], source.find(words)
    while at >= 0:
        places.append((at, at + len(words)))
        at = source.find(words, at + len(words))
    return places


def _loose_places(words: str, source: str) -> list[tuple[int, int]]:
    """The same in any case and spacing, if that is found once only."""
    plain, stands = _plain(source)
    found = _places(_plain(words.strip())[0], plain)
    return [(stands[start], stands[end - 1] + 1) for start, end in found] if len(found) == 1 else []


@lru_cache(maxsize=2)
def _plain(text: str) -> tuple[str, list[int]]:
    """A text in one case and single spacing, and where each of its characters stands in it."""
    stands = [at for at, one in enumerate(text) if not one.isspace() or (at and not text[at - 1].isspace())]
    return "".join(" " if (one := text[at]).isspace() else _small(one) for at in stands), stands


def _small(one: str) -> str:
    """A character in lower case, if it stays one."""
    lower = one.lower()
    return lower if len(lower) == 1 else one
