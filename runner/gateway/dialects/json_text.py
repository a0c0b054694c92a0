"""JSON as gateways really write it, and as they will accept it.

Reading never raises: what is not JSON reads as None, which is no answer either. Strict and fast first; only what
the strict parser refuses is repaired and read again: lone surrogates, bytes that are not UTF-8, a byte order mark, NaN.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

import orjson

from runner.core.values import Json

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_ESCAPES = re.compile(r"\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|\\ud[89a-f][0-9a-f]{2}", re.IGNORECASE)
"""An escaped backslash, a whole surrogate pair, or half of one: in this order, so that only true halves are left."""

DEEPEST = 254
"""Levels of nesting, as orjson has it."""

_SURROGATES = re.compile("[\ud800-\udfff]")
_HALF = len(r"\ud800")

_OBJECTS = (dict, Mapping)
"""What is read is nearly always the first, and is then not looked for in the second, which is slow."""


def read(data: bytes | str) -> Json:
    """The value that this JSON text holds; None if it is not JSON."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        text = data.decode("utf-8-sig", "replace") if isinstance(data, bytes) else data
    try:
        return json.loads(_ESCAPES.sub(_whole, _SURROGATES.sub(REPLACEMENT, text)), strict=False)
    except (ValueError, RecursionError):
        return None


def write(value: Json) -> bytes:
    """This value as JSON, with lone surrogates replaced; raises ValueError if no JSON can hold it."""
    try:
        return orjson.dumps(value)
    except TypeError:  # a lone surrogate, an integer of more than 64 bits, or more than 254 levels
        pass
    if _is_deep(value):
        raise ValueError(f"This cannot be written as JSON: it has more than {DEEPEST} levels")
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"This cannot be written as JSON: {error}") from error
    return _SURROGATES.sub(REPLACEMENT, text).encode()


def _is_deep(value: Json) -> bool:
    """Whether a value is nested deeper than is ever meant; Python's own bound differs by version."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list | tuple)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def _whole(escape: re.Match[str]) -> str:
    is_half = len(escape[0]) == _HALF
    return REPLACEMENT if is_half else escape[0]


def as_object(value: Json) -> Mapping[str, Json]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, _OBJECTS) else {}


def as_list(value: Json) -> Sequence[Json]:
    """The value if it is an array, else an empty one."""
    return value if isinstance(value, list | tuple) else ()


def as_text(value: Json) -> str:
    """The value if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def at(value: Json, place: str) -> Json:
    """What stands at a dotted place ("usage.input_tokens"), or None."""
    for key in place.split("."):
        if value is None or not isinstance(value, _OBJECTS):
            return None
        value = value.get(key)
    return value
