"""Answers as a judge is shown them: text that somebody else wrote, and that is not to speak for anybody."""

from __future__ import annotations

import json
import unicodedata

_HIDDEN = ("Cc", "Cf", "Zl", "Zp")
"""Categories of characters that end lines, turn the direction of writing, or are not seen at all."""


def quoted(answer: str) -> str:
    """An answer as a JSON string on one line, out of which nothing in it leads.

    Quotes and backslashes are escaped, and so is each character that a reader could take for the end of a line, or
    that nobody sees.
    """
    text = json.dumps(answer, ensure_ascii=False)
    return "".join(
        json.dumps(character)[1:-1] if unicodedata.category(character) in _HIDDEN else character for character in text
    )
