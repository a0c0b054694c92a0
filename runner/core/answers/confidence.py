"""How sure a model says that it is, in a field of its reply. What it says is its word, and is calibrated by nobody."""

from __future__ import annotations

import re

from runner.core.answers.fields import json_values
from runner.core.answers.labels import open_reply
from runner.core.answers.values import Invalid
from runner.core.values import Json

SCHEMA: dict[str, Json] = {"type": "number", "description": "how sure you are that this is right, from 0 to 1"}
"""What the field is asked for with."""
_NUMBER = re.compile(r"(?:0|1)(?:\.\d{1,15})?")


def stated(text: str, name: str) -> float | None:
    """The number from 0 to 1 in the field of this name; None if there is none, or if several differ.

    A percentage is none: whether 1 is all or nearly nothing would be a guess.
    """
    opened = open_reply(text)
    if isinstance(opened, Invalid):
        return None
    said = {_field(found.value, name) for found in json_values(opened.value, lists=False)}
    return said.pop() if len(said) == 1 else None


def _field(value: Json, name: str) -> float | None:
    if not isinstance(value, dict):
        return None
    found = [item for key, item in value.items() if key.casefold() == name.casefold()]
    return share(found[0]) if len(found) == 1 else None


def share(number: Json) -> float | None:
    """A number from 0 to 1, or such a number as text; None for anything else."""
    if isinstance(number, str) and _NUMBER.fullmatch(number.strip()):
        number = float(number)
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1:
        return None
    return float(number)
