"""A JSON schema as providers take it: two of them refuse one that leaves open what else an object may hold.

These are OpenAI, where a schema is to be strict, and Anthropic, always; their pages on structured outputs say so.
Anthropic's own dialect also refuses ranges, lengths and much else: there these are said in descriptions, as its SDKs do
it. Whatever is sent, it is the user's schema which answers are checked against.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from runner.core.values import Json
from runner.gateway.dialects import json_text
from runner.gateway.dialects.json_text import as_list, as_object, as_text

NAMED = ("properties", "$defs", "definitions")
"""Behind these words schemas stand by name,"""
LISTED = ("allOf", "anyOf", "oneOf", "prefixItems")
"""behind these in a list,"""
SINGLE = ("items", "additionalProperties")
"""and behind these one alone."""

COMBINING = frozenset(
    {"allOf", "not", "if", "dependencies", "dependentSchemas", "patternProperties", "unevaluatedProperties"}
)
"""Words by which several schemas speak of one object: closed, each would forbid what another one lists."""
COMBINING_BESIDE = frozenset({"anyOf", "oneOf", "$ref"})
"""Words that do so beside properties."""

STRICT = frozenset(
    {"$defs", "$ref", "$schema", "additionalProperties", "anyOf", "const", "definitions", "description", "enum"}
    | {"exclusiveMaximum", "exclusiveMinimum", "format", "items", "maxItems", "maximum", "minItems", "minimum"}
    | {"multipleOf", "pattern", "properties", "required", "title", "type"}
)
"""The words that OpenAI's strict mode knows."""
TELLING = frozenset({"type", "anyOf", "$ref"})
"""It wants one of these of each schema."""

FORMATS = frozenset({"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid"})
"""The formats of a text that Claude knows,"""
CLAUDE: Mapping[str, Callable[[Json], bool]] = {
    **dict.fromkeys(
        ("$defs", "$ref", "additionalProperties", "allOf", "anyOf", "default", "definitions"), lambda _: True
    ),
    **dict.fromkeys(("description", "properties", "required", "title", "type"), lambda _: True),
    "const": lambda value: not isinstance(value, Mapping | list),
    "enum": lambda values: not any(isinstance(value, Mapping | list) for value in as_list(values)),
    "format": lambda value: value in FORMATS,
    "items": lambda value: isinstance(value, Mapping),
    "minItems": lambda value: value in (0, 1),
}
"""and its words, each with what it takes behind it (Anthropic, "Structured outputs": JSON schema limitations)."""
ALONE = ("$ref", "$defs", "definitions")
"""What all three of OpenAI, Anthropic and Google take beside a reference;"""
TITLES = frozenset({"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"})
"""what libraries put there, which asks for nothing."""
SILENT = ("$schema", "$id", "$comment")
"""Words that ask for nothing."""


def closed(schema: Json) -> Json:
    """The schema with each object closed that lists properties and does not say whether there may be others.

    One in which schemas are combined stays as it is.
    """
    return _taken(_Same(schema)).closed


def described(schema: Json) -> Json:
    """The schema, closed likewise, as Claude's own dialect takes it: in descriptions stands what it has no word for."""
    return _taken(_Same(schema)).described


def spelt_out(schema: Json) -> Json:
    """The schema with what a reference leads to in its place, where something stands beside it: Gemini refuses that.

    So does OpenAI's strict mode. A reference stays where the two contradict each other, or it leads back to itself.
    """
    return _taken(_Same(schema)).spelt_out


def is_strict(schema: Json) -> bool:
    """Whether OpenAI's strict mode takes this schema once closed: an object, with all of each object required."""
    return _taken(_Same(schema)).strict


class _Same:
    """A schema that is equal to itself only: all rows of a job have one, and none is changed."""

    __slots__ = ("schema",)

    def __init__(self, schema: Json) -> None:
        self.schema = schema

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.schema is self.schema

    def __hash__(self) -> int:
        return id(self.schema)


class _Taken(NamedTuple):
    spelt_out: Json
    closed: Json
    strict: bool
    described: Json


@functools.lru_cache(maxsize=16)
def _taken(same: _Same) -> _Taken:
    whole = _spelt_out(same.schema, same.schema, ())
    closed, described = whole, _described(whole)
    if not any(map(_combines, _parts(whole))):
        closed, described = _closed(closed), _closed(described)
    strict = as_object(closed).get("type") == "object" and all(map(_is_strict, _parts(closed)))
    return _Taken(whole, closed, strict, described)


def _parts(schema: Json) -> Iterator[Json]:
    """The schema and all that stand in it."""
    yield schema
    inner = as_object(schema)
    for word in NAMED:
        for part in as_object(inner.get(word)).values():
            yield from _parts(part)
    for part in (part for word in LISTED for part in as_list(inner.get(word))):
        yield from _parts(part)
    for part in (inner[word] for word in SINGLE if isinstance(inner.get(word), Mapping)):
        yield from _parts(part)


def _combines(schema: Json) -> bool:
    words = as_object(schema).keys()
    return not COMBINING.isdisjoint(words) or ("properties" in words and not COMBINING_BESIDE.isdisjoint(words))


def _spelt_out(schema: Json, root: Json, within: tuple[str, ...]) -> Json:
    if not isinstance(schema, Mapping):
        return schema
    place, others = schema.get("$ref"), {word: value for word, value in schema.items() if word != "$ref"}
    if isinstance(place, str) and place not in within and not _stands_alone(schema):
        meant = _at(root, place)
        if isinstance(meant, Mapping) and (meant.keys() & others.keys()) <= TITLES:
            return _spelt_out({**meant, **others}, root, (*within, place))
    return {word: _within(word, value, lambda part: _spelt_out(part, root, within)) for word, value in schema.items()}


def _stands_alone(schema: Mapping[str, Json]) -> bool:
    """Whether nothing but definitions stands beside a reference."""
    return all(word.startswith("$") or word in ALONE for word in schema)


def _at(root: Json, place: str) -> Json:
    """What a reference within a schema leads to, or None."""
    for step in place.removeprefix("#/").split("/"):
        root = as_object(root).get(step.replace("~1", "/").replace("~0", "~"))
    return root


def _closed(schema: Json) -> Json:
    if not isinstance(schema, Mapping):
        return schema
    result = {word: _within(word, value, _closed) for word, value in schema.items()}
    return {"additionalProperties": False} | result if schema.get("properties") else result


def _described(schema: Json) -> Json:
    if not isinstance(schema, Mapping):
        return schema
    words = {word: value for word, value in schema.items() if word not in SILENT}
    if "$ref" in words:
        words = {word: words[word] for word in ALONE if word in words}
    if "oneOf" in words and "anyOf" not in words:
        words["anyOf"] = words.pop("oneOf")
    taken = {word: value for word, value in words.items() if word in CLAUDE and CLAUDE[word](value)}
    result = {word: _within(word, value, _described) for word, value in taken.items()}
    others = [f"{word}: {json_text.write(value).decode()}" for word, value in words.items() if word not in taken]
    if others:
        said = as_text(schema.get("description"))
        result["description"] = f"{said}{said and chr(10) * 2}{{{', '.join(others)}}}"
    return result


def _within(word: str, value: Json, change: Callable[[Json], Json]) -> Json:
    """What stands behind a word, with the schemas in it changed."""
    if word in NAMED and isinstance(value, Mapping):
        return {name: change(part) for name, part in value.items()}
    if word in LISTED and isinstance(value, list | tuple):
        return [change(part) for part in value]
    return change(value) if word in SINGLE else value


def _is_strict(schema: Json) -> bool:
    if not isinstance(schema, Mapping) or TELLING.isdisjoint(schema) or not STRICT.issuperset(schema):
        return False
    if "$ref" in schema and not _stands_alone(schema):
        return False
    if "properties" not in schema and schema.get("type") != "object":
        return True
    required = as_list(schema.get("required"))
    is_closed = schema.get("additionalProperties") is False
    return is_closed and all(name in required for name in as_object(schema.get("properties")))
