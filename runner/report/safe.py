"""Text from rows, replies and servers, made safe for a terminal: whatever is printed of theirs goes through here."""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0 and C1 controls: escape sequences, bells, carriage returns, backspaces
    "\u200b-\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff"  # zero-width and bidirectional controls
    "\ud800-\udfff]"
)


def safe(text: str, longest: int = 200) -> str:
    """`text` on one line, without anything that could move the terminal, cut to `longest` characters."""
    text = _UNSAFE.sub(" ", text[: longest * 4])
    return text if len(text) <= longest else text[: longest - 1] + "…"


def safe_lines(text: str, longest: int = 1000, most: int = 40) -> str:
    """The same for a message of several lines of our own."""
    return "\n".join(safe(line, longest) for line in text.split("\n")[:most])
