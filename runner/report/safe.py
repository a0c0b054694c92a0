"""Text from rows, replies, servers and files, made safe for a terminal: what is printed of theirs goes through here."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

HIDDEN = (
    "\x00-\x1f\x7f-\x9f"  # C0 and C1 controls: escape sequences, bells, carriage returns, backspaces
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"  # zero-width, invisible and bidirectional
    "\U000e0000-\U000e0fff"  # tags and selectors, which show nothing and hold text
    "\ud800-\udfff"
)
"""What moves a terminal, or turns and hides text on it."""
MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
"""Marks that are put on the character before them, any number of them."""

_HIDDEN = re.compile(f"[{HIDDEN}]")
_HIDDEN_BUT_LINES = re.compile(f"(?!\n)[{HIDDEN}]")
_PILED_UP = re.compile(f"(?<=[{MARKS}]{{3}})[{MARKS}]+")


def safe(text: str, longest: int = 200) -> str:
    """`text` on one line, without anything that could move the terminal, cut to `longest` characters."""
    text = _PILED_UP.sub("", _HIDDEN.sub(" ", text[: longest * 4]))
    return text if len(text) <= longest else text[: longest - 1] + "…"


def safe_lines(text: str, longest: int = 1000, most: int = 40) -> str:
    """The same for a message of several lines of our own."""
    lines = text.split("\n", most)
    shown = [safe(line, longest) for line in lines[:most]]
    return "\n".join(shown if len(lines) <= most else [*shown, "…"])


def safe_whole(text: str) -> str:
    """The same for a text of any length that is shown as it is, line by line."""
    return _PILED_UP.sub("", _HIDDEN_BUT_LINES.sub(" ", text))


def safe_json(value: Any, *, indented: bool = True) -> str:
    """A value as JSON that reads back the same, and in which nothing could move the terminal."""
    option = orjson.OPT_NON_STR_KEYS | (orjson.OPT_INDENT_2 if indented else 0)
    text = orjson.dumps(value, option=option).decode()
    # Between JSON's texts there is none of these but line ends; within them any character may be an escape.
    return _HIDDEN_BUT_LINES.sub(lambda found: json.dumps(found[0])[1:-1], text)
