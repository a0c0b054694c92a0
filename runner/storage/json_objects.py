"""JSON where the fast library is at its end: names that stand twice, nesting deeper than a table, large integers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import orjson

DEEPEST = 250
"""Levels of nesting in a record: what is deeper is never meant, and no table could be written of it."""


def complaint_about(data: bytes, value: dict[str, Any]) -> str | None:
    """What is wrong with a JSON text that reads as `value`; None for nearly every one, after a few counts of bytes."""
    if data.count(b"[") + data.count(b"{") > DEEPEST and _is_deep(value):
        return f"nested more than {DEEPEST} levels deep"
    return None if _names_differ(data, value) else _twice(data)


def exact(data: bytes, value: Any) -> Any:
    """A JSON text that reads as `value`, where the fast library has made floats of integers of more than 64 bits."""
    return json.loads(data) if _is_large(value) else value


def _is_large(value: Any) -> bool:
    """Whether there is a float in a value that may be such an integer."""
    kind = type(value)
    if kind is dict or kind is list:
        return any(map(_is_large, value.values() if kind is dict else value))
    return kind is float and abs(value) >= 2**63


def written(value: Any, default: Callable[[Any], Any]) -> str:
    """JSON for any value, however large its integers are; `default` makes a text of what JSON has no value for."""
    try:
        return orjson.dumps(value, default=default).decode()
    except TypeError:
        return json.dumps(value, default=default, ensure_ascii=False, separators=(",", ":"))


def _names_differ(data: bytes, value: dict[str, Any]) -> bool:
    """Whether no object in this JSON text, which reads as `value`, has a name twice: parsers keep the last silently.

    Every name has a colon, so a text that loses none when it is written again has lost no name. Only a text that does,
    or has colons as escapes, is read again with care.
    """
    if data.count(b":") == orjson.dumps(value).count(b":") and (b"\\" not in data or b"\\u003" not in data):
        return True
    return _twice(data) is None


def _twice(data: bytes) -> str | None:
    """Which name stands twice in one object of a JSON text; None if none does."""
    found: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                found.append(name)
            seen.add(name)

    json.loads(data, object_pairs_hook=note)
    return f"the name {found[0][:100]!r} stands twice in one object" if found else None


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
