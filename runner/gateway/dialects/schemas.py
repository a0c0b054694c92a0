"""A JSON schema as providers take it: two of them refuse one that leaves open what else an object may hold.

These are OpenAI, where a schema is to be strict, and Anthropic, always; their pages on structured outputs say so. What
is sent may ask for more than the user's schema, never for less: it is that which answers are checked against.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping

from runner.core.values import Json
from runner.gateway.dialects.json_text import as_list, as_object

NAMED = ("properties", "$defs", "definitions")
"""Behind these words schemas stand by name,"""
LISTED = ("anyOf", "oneOf", "prefixItems")
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


def closed(schema: Json) -> Json:
    """The schema with each object closed that lists properties and does not say whether there may be others.

    One in which schemas are combined stays as it is.
    """
    return _taken(_Same(schema))[0]


def is_strict(schema: Json) -> bool:
    """Whether OpenAI's strict mode takes this schema once closed: an object, with all of each object required."""
    return _taken(_Same(schema))[1]


class _Same:
    """A schema that is equal to itself only: all rows of a job have one, and none is changed."""

    __slots__ = ("schema",)

    def __init__(self, schema: Json) -> None:
        self.schema = schema

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.schema is self.schema

    def __hash__(self) -> int:
        return id(self.schema)


@functools.lru_cache(maxsize=16)
def _taken(same: _Same) -> tuple[Json, bool]:
    schema = same.schema
    if not any(map(_combines, _parts(schema))):
        schema = _closed(schema)
    return schema, as_object(schema).get("type") == "object" and all(map(_is_strict, _parts(schema)))


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


def _closed(schema: Json) -> Json:
    if not isinstance(schema, Mapping):
        return schema
    result = {word: CLOSED[word](value) if word in CLOSED else value for word, value in schema.items()}
    return {"additionalProperties": False} | result if schema.get("properties") else result


def _by_name(schemas: Json) -> Json:
    return {name: _closed(part) for name, part in schemas.items()} if isinstance(schemas, Mapping) else schemas


def _in_list(schemas: Json) -> Json:
    return [_closed(part) for part in schemas] if isinstance(schemas, list | tuple) else schemas


CLOSED: Mapping[str, Callable[[Json], Json]] = (
    dict.fromkeys(NAMED, _by_name) | dict.fromkeys(LISTED, _in_list) | dict.fromkeys(SINGLE, _closed)
)
"""By word: what stands behind it, closed."""


def _is_strict(schema: Json) -> bool:
    if not isinstance(schema, Mapping) or TELLING.isdisjoint(schema) or not STRICT.issuperset(schema):
        return False
    if "properties" not in schema and schema.get("type") != "object":
        return True
    required = as_list(schema.get("required"))
    is_closed = schema.get("additionalProperties") is False
    return is_closed and all(name in required for name in as_object(schema.get("properties")))
