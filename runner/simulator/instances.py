"""A valid value for a JSON schema: small, and the same each time. What to say where a text is free is handed in.

It covers what structured output allows and a little more; `pattern` and rare values of `format` are left to luck.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from runner.simulator.asked import Json, MalformedError

DEEPEST = 6
"""Levels after which only what is required is written, so that a schema that contains itself comes to an end."""

LARGEST = 1_000
"""Items or characters that are written at most, whatever is asked for."""

RANGE = re.compile(r"\bfrom (?P<low>-?\d+(?:\.\d+)?) to (?P<high>-?\d+(?:\.\d+)?)\b")
"""A range in a description: some dialects of structured output know no other."""

BOUND = re.compile(
    r"\b(minimum|maximum|multipleOf|minLength|maxLength|minItems|maxItems): (-?(?:0|[1-9]\d*)(?:\.\d+)?)"
)
"""A bound in a description, as clients write them that ask a dialect which refuses bounds in a schema."""

COPIED = re.compile(r"\b(?:copied|verbatim|word for word|exactly as it stands)\b", re.IGNORECASE)
"""Says of a text that it is a piece of what was shown."""
COUNTED = re.compile(r"\bcounted from (?P<first>\d+)\b", re.IGNORECASE)
"""Says of a number that it is the place in a row of things; there is a first one, if there is any."""

FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "simulator@example.org",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "127.0.0.1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Writes values; its four functions say what the schema leaves open."""

    choose: Callable[[Sequence[Json]], Json]
    """One of the values of an enum."""
    text: Callable[[str], str]
    """A text for a property of this name."""
    quote: Callable[[], str]
    """A piece of the text that the request shows."""
    fraction: Callable[[str], float]
    """Where in its range a number of this name lies, from 0 to 1."""

    def write(self, schema: Mapping[str, Json]) -> Json:
        """A value that satisfies the schema; raises MalformedError for what is no schema."""
        try:
            return self._value(schema, schema, "", 0)
        except (TypeError, ValueError, AttributeError) as error:
            raise MalformedError(f"Invalid schema: {error}") from error

    def _value(self, schema: Json, root: Mapping[str, Json], name: str, depth: int) -> Json:
        schema = _resolved(schema, root)
        schema = {**{word: orjson.loads(bound) for word, bound in BOUND.findall(_description(schema))}, **schema}
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self.choose(schema["enum"])
        options = schema.get("anyOf") or schema.get("oneOf")
        if options:
            return self._value(_first(options, root), root, name, depth)
        match _type(schema):
            case "object":
                return self._object(schema, root, depth)
            case "array":
                return self._array(schema, root, name, depth)
            case "integer" | "number" as kind:
                return self._number(schema, name, whole=kind == "integer")
            case "boolean":
                return self.fraction(name) < 0.5
            case "null":
                return None
        return self._string(schema, name)

    def _object(self, schema: Mapping[str, Json], root: Mapping[str, Json], depth: int) -> dict[str, Json]:
        properties = schema.get("properties", {})
        required = schema.get("required", ())
        names = [name for name in properties if depth < DEEPEST or name in required]
        names += [name for name in required if isinstance(name, str) and name not in properties]
        return {name: self._value(properties.get(name, {}), root, name, depth + 1) for name in names}

    def _array(self, schema: Mapping[str, Json], root: Mapping[str, Json], name: str, depth: int) -> list[Json]:
        items = schema.get("items", {})
        count = max(int(schema.get("minItems", 0)), 1 if depth < DEEPEST else 0)
        count = min(count, int(schema.get("maxItems", count)), LARGEST)
        if not schema.get("uniqueItems"):
            return [self._value(items, root, name, depth + 1) for _ in range(count)]
        allowed = _resolved(items, root).get("enum")
        if allowed:
            first = self.choose(allowed)
            return [first, *(value for value in allowed if value != first)][:count]
        return [self._value(items, root, f"{name} {place}" if place else name, depth + 1) for place in range(count)]

    def _number(self, schema: Mapping[str, Json], name: str, *, whole: bool) -> float:
        if whole and (counted := COUNTED.search(_description(schema))):
            return int(counted["first"])
        step = schema.get("multipleOf") or (1 if whole else 0)
        low, high = _range(schema, step)
        value = low + (high - low) * self.fraction(name)
        if step:
            value = min(max(round(value / step), math.ceil(low / step)), math.floor(high / step)) * step
        return int(value) if whole else round(value, 4) if low <= round(value, 4) <= high else value

    def _string(self, schema: Mapping[str, Json], name: str) -> str:
        if schema.get("format") in FORMATS:
            return FORMATS[schema["format"]]
        text = self.quote() if COPIED.search(_description(schema)) else self.text(name)
        return text[: schema.get("maxLength")].ljust(min(schema.get("minLength", 0), LARGEST), ".")


def _range(schema: Mapping[str, Json], step: float) -> tuple[float, float]:
    """The lowest and the highest number; ten wide where the schema and its description leave it open."""
    inside = step or 1e-3
    low, high = schema.get("minimum"), schema.get("maximum")
    described = RANGE.search(_description(schema))
    if low is None and high is None and described is not None:
        low, high = float(described["low"]), float(described["high"])
    if isinstance(below := schema.get("exclusiveMinimum"), int | float) and not isinstance(below, bool):
        low = below + inside if low is None else max(low, below + inside)
    if isinstance(above := schema.get("exclusiveMaximum"), int | float) and not isinstance(above, bool):
        high = above - inside if high is None else min(high, above - inside)
    if low is None:
        low = 0 if high is None else min(0, high)
    return low, max(low, low + 10 if high is None else high)


def _resolved(schema: Json, root: Mapping[str, Json]) -> Mapping[str, Json]:
    """The schema with its reference followed and its `allOf` merged; anything else than an object allows all."""
    for _ in range(DEEPEST):
        if not isinstance(schema, dict) or not isinstance(schema.get("$ref"), str):
            break
        found: Json = root
        for step in schema["$ref"].removeprefix("#").strip("/").split("/"):
            found = found.get(step, {}) if step and isinstance(found, dict) else found
        schema = {**found, **{key: value for key, value in schema.items() if key != "$ref"}}
    if not isinstance(schema, dict):
        return {}
    merged = dict(schema)
    for part in merged.pop("allOf", ()):
        more = dict(_resolved(part, root))
        more["properties"] = {**merged.get("properties", {}), **more.get("properties", {})}
        more["required"] = [*merged.get("required", ()), *more.get("required", ())]
        merged |= more
    return merged


def _description(schema: Mapping[str, Json]) -> str:
    return str(schema.get("description", ""))


def _first(options: Sequence[Json], root: Mapping[str, Json]) -> Json:
    """The first option that says something."""
    return next((option for option in options if _type(_resolved(option, root)) != "null"), options[0])


def _type(schema: Mapping[str, Json]) -> str:
    """The type's name in JSON schema's lower case (Gemini's are in upper case); guessed where it is not stated."""
    stated = schema.get("type")
    if isinstance(stated, list):
        stated = next((kind for kind in stated if kind != "null"), "null")
    if isinstance(stated, str):
        return stated.lower()
    guesses = {"properties": "object", "required": "object", "items": "array", "minimum": "number"}
    return next((kind for word, kind in guesses.items() if word in schema), "string")
