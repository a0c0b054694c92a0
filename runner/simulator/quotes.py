"""Finding the text that a prompt asks about, and copying a few words of it.

The text is told from the instructions by its place: it follows a line that ends in a colon. Where no line does, the
longest line is taken for it.
"""

from __future__ import annotations

import re

LONGEST_QUOTE = 3
"""Words that are copied at most."""
READ = 6_000
"""Characters of a prompt that are looked at, from its end."""
_INTRODUCED = re.compile(r":[ \t]*\n+(?P<line>[^\n]*\S[^\n]*)")
_EDGES = ".,;:!?()[]{}\"'`*_"


def quote(prompt: str, where: float, length: float) -> str:
    """A few words as they stand in the text that a prompt shows; `where` and `length`, from 0 to 1, say which."""
    words = list(re.finditer(r"\S+", shown(prompt)))
    if not words:
        return ""
    first = int(where * len(words))
    last = min(first + int(length * LONGEST_QUOTE), len(words) - 1)
    copied = words[0].string[words[first].start() : words[last].end()]
    return copied.strip(_EDGES) or copied


def shown(prompt: str) -> str:
    """A line of the text that a prompt asks about."""
    end = prompt[-READ:]
    introduced = [found["line"] for found in _INTRODUCED.finditer(end)]
    return max(introduced or end.splitlines() or [""], key=len).strip()
