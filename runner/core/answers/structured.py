"""A single value out of a reply that is JSON, or holds it: the field that was asked for."""

from __future__ import annotations

import re

from runner.core.answers import unwrapping
from runner.core.answers.doubt import denying_name
from runner.core.answers.json_text import Found, objects, parse
from runner.core.answers.values import Invalid
from runner.core.values import Json

DEEPEST = 3
"""Objects around the value that are looked into."""
_WORDS = re.compile(r"[_-]+|(?<=[a-z])(?=[A-Z])")
"""Where the words of a field's name part."""


def field_of(text: str, key: str, *, lists: bool = False) -> Found | Invalid | None:
    """The value of the field `key`, Invalid if the JSON leaves it open, or None if the reply is no JSON.

    An object with one field only gives that field's value, whatever its name, if that does not deny it. With `lists` a
    list is a value; without, a list of one is its item.
    """
    found = _only(text)
    if not isinstance(found, Found):
        return found
    value, repairs = found.value, list(found.repairs)
    for _ in range(DEEPEST):
        if isinstance(value, dict):
            names = [name for name in value if name.casefold() == key] or list(value)
            if len(names) != 1 or denying_name(_WORDS.sub(" ", names[0])):
                return Invalid(f'its JSON has no field "{key}"')
            if names[0] != key:
                repairs.append("key")
            value = value[names[0]]
        elif isinstance(value, list) and not lists:
            if len(value) != 1:
                return Invalid(f"it gives {len(value)} values, and one is wanted")
            repairs.append("list")
            value = value[0]
    return Found(value, tuple(dict.fromkeys(repairs)))


def _only(text: str) -> Found | Invalid | None:
    """The one object or list of a reply."""
    inner = unwrapping.fence(text).strip()
    fenced = ("fence",) if inner != text.strip() else ()
    if inner[:1] in ("{", "["):
        whole = parse(inner)
        if whole is not None:
            return Found(whole.value, (*fenced, *whole.repairs))
    if "{" not in text:
        return None
    found = list(objects(text))
    if not found:
        return None
    first = found[0]
    if any(different(first.value, other.value) for other in found):
        return Invalid("it holds several JSON objects that differ")
    repeated = ("repeated",) if len(found) > 1 else ()
    return Found(first.value, ("prose", *repeated, *first.repairs))


def different(one: Json, other: Json) -> bool:
    """Whether two JSON values differ; true is no 1."""
    return bool(one != other) or repr(one) != repr(other)
