"""JSON as models write it: in fences, in prose, with a comma too many, or in Python's spelling.

Only what leaves no choice is put right. A value that breaks off stays broken, a key that is given twice with different
values is no JSON, and neither is NaN.
"""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from runner.core.values import Json

MOST_STARTS = 24
"""Opening brackets in one reply from which reading is tried in vain: it keeps the work linear."""
LONGEST_PYTHON = 100_000
"""Characters up to which Python's spelling is tried."""

_BRACKETS = re.compile(r'["\\{}\[\]]')
_OPENING = re.compile(r"[{\[]")
_STRING_OR_COMMA = re.compile(r'"(?:[^"\\]++|\\.)*+"?|,(?=\s*[}\]])', re.DOTALL)
"""A string without an end goes to the end of the text: to look for one again behind each quote takes for ever."""


@dataclass(frozen=True, slots=True)
class Found:
    """A JSON value, and what had to be put right to read it."""

    value: Json
    repairs: tuple[str, ...] = ()


def parse(text: str) -> Found | None:
    """The JSON value that this text is, or None. A bare word is none, though Python might read it."""
    for repair, load in _LOADERS:
        try:
            value = load(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        return Found(value, (repair,) if repair else ())
    return None


def embedded(text: str) -> list[Found]:
    """The outermost objects and arrays in a text, in their order; brackets that hold no JSON are passed over."""
    found: list[Found] = []
    at = failures = 0
    while failures < MOST_STARTS and (opening := _OPENING.search(text, at)):
        start = opening.start()
        end = _closing(text, start)
        value = None if end is None else parse(text[start:end])
        if value is None or end is None:
            at, failures = start + 1, failures + 1
        else:
            found.append(value)
            at = end
    return found


def _closing(text: str, start: int) -> int | None:
    """Where the bracket that opens at `start` has been closed, or None."""
    stack: list[str] = []
    inside, skip = False, -1
    for match in _BRACKETS.finditer(text, start):
        mark = match.group()
        if match.start() == skip:
            continue
        if mark == "\\":
            skip = match.end()
        elif mark == '"':
            inside = not inside
        elif not inside and mark in "{[":
            stack.append("}" if mark == "{" else "]")
        elif not inside:
            if stack.pop() != mark:
                return None
            if not stack:
                return match.end()
    return None


def _pairs(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    """An object; ValueError if a key is given twice with different values."""
    value: dict[str, Json] = {}
    for key, item in pairs:
        if key in value and value[key] != item:
            raise ValueError(f"{key} is given twice")
        value[key] = item
    return value


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits} is too large")
    return number


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is no JSON")


def _decoder(*, strict: bool) -> Callable[[str], Json]:
    decoder = json.JSONDecoder(
        object_pairs_hook=_pairs, parse_float=_finite, parse_constant=_no_constant, strict=strict
    )
    return decoder.decode


def _without_commas(text: str) -> Json:
    return _LENIENT(_STRING_OR_COMMA.sub(lambda match: "" if match.group() == "," else match.group(), text))


def _python(text: str) -> Json:
    if len(text) > LONGEST_PYTHON or "\\" in text or not text.lstrip().startswith(("{", "[")):
        raise ValueError("this is not tried as Python")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Python would say of such code, on the user's terminal
        node = ast.parse(text.strip(), mode="eval")
    if any(_twice(child) for child in ast.walk(node)):
        raise ValueError("a key is given twice")
    return json.loads(json.dumps(ast.literal_eval(node), allow_nan=False))


def _twice(node: ast.AST) -> bool:
    keys = [ast.dump(key) for key in node.keys if key is not None] if isinstance(node, ast.Dict) else []
    return len(keys) != len(set(keys))


_LENIENT = _decoder(strict=False)
_LOADERS: tuple[tuple[str, Callable[[str], Json]], ...] = (
    ("", _decoder(strict=True)),
    ("line breaks", _LENIENT),
    ("commas", _without_commas),
    ("python", _python),
)
"""Ways to read JSON, in the order in which they are tried; each named by its repair."""


def objects(text: str) -> Iterator[Found]:
    """The outermost objects in a text."""
    return (found for found in embedded(text) if isinstance(found.value, dict))
