"""Answers that are JSON: field by field, as a whole, and by a schema."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import jsonschema_rs

from runner.core.answers import Invalid
from runner.core.errors import UsageError
from runner.core.values import Json
from runner.scoring.scores import RIGHT, Judge, Score, as_json

LARGEST = 1e300
"""Numbers beyond it are close to none but themselves."""
MOST_ERRORS = 3
"""Violations of a schema that are looked at and named."""


def validator(schema: Mapping[str, Json]) -> Callable[[Json], list[str]]:
    """What is wrong with a value by a schema, one clause each, `MOST_ERRORS` at most; UsageError if it is no schema.

    A reference to another document is refused: nothing is fetched.
    """

    def refuse(address: str) -> Json:
        raise ValueError(f"{address} is not fetched")

    try:
        compiled = jsonschema_rs.validator_for(dict(schema), retriever=refuse)
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"The answer's schema is no JSON schema: {first}.") from error

    def errors(value: Json) -> list[str]:
        try:
            if compiled.is_valid(value):
                return []
            found = compiled.iter_errors(value)
            return [_clause(error) for error, _ in zip(found, range(MOST_ERRORS), strict=False)]
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            return [f"it cannot be checked: {error}"]

    return errors


def _clause(error: jsonschema_rs.ValidationError) -> str:
    path = ".".join(map(str, error.instance_path))
    return f"{path}: {error.message}" if path else str(error.message)


def by_schema(options: Mapping[str, Json]) -> Judge:
    """The answer satisfies the schema."""
    if not isinstance(options["schema"], Mapping):
        raise UsageError("The scorer schema needs a `schema`.")
    errors = validator(options["schema"])

    def judge(answer: Json, _expected: Json) -> Score:
        value = as_json(answer)
        if isinstance(value, Invalid):
            return Score(0.0, value.reason)
        wrong = errors(value)
        return RIGHT if not wrong else Score(0.0, "; ".join(wrong))

    return judge


def json_fields(options: Mapping[str, Json]) -> Judge:
    """The share of fields that are as expected; `fields` names those that count, all expected ones if it is empty."""
    names, tolerance = tuple(options["fields"]), float(options["relative"])

    def judge(answer: Json, expected: Json) -> Score:
        value, wanted = as_json(answer), as_json(expected)
        if not isinstance(wanted, Mapping):
            return Score(None, "what is expected is no JSON object")
        fields = names or tuple(wanted)
        if not fields:
            return Score(None, "what is expected has no fields")
        if not isinstance(value, Mapping):
            return Score(0.0, "it is no JSON object", dict.fromkeys(fields, 0.0))
        parts = {name: float(_same_field(name, value, wanted, tolerance)) for name in fields}
        wrong = [name for name, part in parts.items() if not part]
        reason = f"differs in {', '.join(wrong)}" if wrong else ""
        return Score(math.fsum(parts.values()) / len(parts), reason, parts)

    return judge


def _same_field(name: str, value: Mapping[str, Json], wanted: Mapping[str, Json], tolerance: float) -> bool:
    if name not in value or name not in wanted:
        return name not in value and name not in wanted
    return same_json(value[name], wanted[name], tolerance)


def json_equal(options: Mapping[str, Json]) -> Judge:
    """The same JSON value, whatever the order of keys."""
    tolerance = float(options["relative"])

    def judge(answer: Json, expected: Json) -> Score:
        value, wanted = as_json(answer), as_json(expected)
        if isinstance(wanted, Invalid):
            return Score(None, "what is expected is no JSON")
        if isinstance(value, Invalid):
            return Score(0.0, value.reason)
        return RIGHT if same_json(value, wanted, tolerance) else Score(0.0, "it differs")

    return judge


def same_json(one: Json, other: Json, tolerance: float = 0.0) -> bool:
    """Whether two JSON values are equal: 1 and 1.0 are, true and 1 are not; numbers within a relative tolerance."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        if one == other or not tolerance:
            return one == other
        # A whole number of JSON may be longer than any float.
        return max(abs(one), abs(other)) < LARGEST and math.isclose(one, other, rel_tol=tolerance)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same_json(one[key], other[key], tolerance) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(same_json(left, right, tolerance) for left, right in pairs)
    return type(one) is type(other) and bool(one == other)
