"""What models put around a short answer, and how it is taken off: one rule each, in a stated order.

A rule gives the text without its wrapping, or the text as it was. Rules take off; none chooses between two readings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from runner.core.answers.doubt import DOUBT

_NAMES = "think|thinking|thought|reasoning"
_THINKING = re.compile(
    rf"^\s*(?:(?:ok(?:ay)?|sure|alright|well|right|hmm+|so)\b[\s,.!:…]*)?<({_NAMES})>.*?</\1>",
    re.DOTALL | re.IGNORECASE,
)
_THINKING_LATER = re.compile(rf"\n[ \t]*<({_NAMES})>(?:(?!\n[ \t]*<\1>).)*?</\1>", re.DOTALL | re.IGNORECASE)
_THINKING_WITHIN = re.compile(rf"<({_NAMES})>(?:(?!<(?:{_NAMES})>).)*?</\1>", re.DOTALL | re.IGNORECASE)
_THINKING_ENDS = re.compile(rf"^(?:(?:[^<]++|<(?!/?(?:{_NAMES})>))*+</(?:{_NAMES})>)+", re.IGNORECASE)
_THINKING_OPENS = re.compile(rf"^\s*<(?:{_NAMES})>", re.IGNORECASE)
_FENCE = re.compile(r"^(?P<before>[^`]*)```(?:[\w+-]*[ \t]*\n)?(?P<inner>[^`]*+)(?:```)?\s*$")
_BOXED = re.compile(r"^\W*\\boxed\s*\{(?:\\text(?:bf|rm)?\s*\{)?(?P<inner>[^{}]*)\}{1,2}[\s.$)\\\]]*$")
_TAGS = re.compile(r"^<(?P<tag>[A-Za-z][\w-]*)>(?P<inner>[^<>]*)</(?P=tag)>$")
_BULLET = re.compile(r"^(?:[-*•]\s+|>\s*|#{1,6}\s+|\(?\d{1,2}[.)]\s+)")
_PREFIX = re.compile(
    r"^[\W_]*(?P<head>[^\W\d_][\w'’ -]{0,60}?)[\s*_\"'`”]*(?::|=|->|→|=>)[\s*_]*(?P<rest>[^\s].*)$", re.DOTALL
)
_MOST_WORDS = 6
"""Words that may stand before a colon."""

QUOTES = "\"'`*_“”‘’«»„‚()[]"
"""Characters that are taken off both ends of an answer."""


def thinking(text: str) -> str | None:
    """The text without blocks of thinking, and without a word like "Okay" before one; None if it ends inside the first.

    Some servers send only the end's tag: what goes before it is thinking, unless a start's tag does.
    """
    text = _THINKING.sub("", text, count=1)
    text = _without_blocks(_THINKING_LATER.sub("\n", text))
    text = _THINKING_ENDS.sub("", text, count=1)
    return None if _THINKING_OPENS.match(text) else text


def _without_blocks(text: str) -> str:
    """The text without the blocks within its lines; from JSON or code on it stays whole, as they may hold tags."""
    pieces, at = [], 0
    for block in _THINKING_WITHIN.finditer(text):
        before = text[at : block.start()]
        if any(opening in before for opening in '{["`'):
            break
        pieces.append(before)
        at = block.end()
    return "\n".join([*pieces, text[at:]])


def opens_thinking(text: str) -> bool:
    """Whether the text begins with thinking."""
    return bool(_THINKING_OPENS.match(text))


def fence(text: str) -> str:
    """What stands in the only fence, if nothing follows it and nothing but an announcement goes before."""
    match = _FENCE.match(text)
    if match is None:
        return text
    before = match["before"].strip()
    announced = not before or (before.endswith(":") and not DOUBT.search(before))
    return match["inner"].strip() if announced else text


def _group(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def unwrap(text: str) -> str:
        match = pattern.match(text)
        return match["inner"].strip() if match else text

    return unwrap


def bullet(text: str) -> str:
    """A single item of a list, a quotation or a heading."""
    return text if "\n" in text else _BULLET.sub("", text)


def prefix(text: str) -> str:
    """What follows "Label:" and the like, unless the words before the colon leave it in doubt."""
    match = _PREFIX.match(text)
    if match is None or len(match["head"].split()) > _MOST_WORDS or DOUBT.search(match["head"]):
        return text
    return match["rest"].strip()


def quotes(text: str) -> str:
    """Without the quotes, brackets and emphasis at both ends."""
    return text.strip(QUOTES + " \t\n") if text[:1] in QUOTES or text[-1:] in QUOTES else text


def punctuation(text: str) -> str:
    """Without what ends a sentence."""
    return text.rstrip(" .,;:!。！،") if not text.endswith("...") else text


RULES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("fence", fence),
    ("boxed", _group(_BOXED)),
    ("tags", _group(_TAGS)),
    ("bullet", bullet),
    ("prefix", prefix),
    ("quotes", quotes),
    ("punctuation", punctuation),
)
"""The rules in their order. After each that took something off, the rest is looked at before the next is tried."""


def unwrapped(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A text as it is, then with one wrapping fewer each time, and the names of the rules that took them off."""
    text = text.strip()
    done: tuple[str, ...] = ()
    yield text, done
    for _ in range(3):
        before = text
        for name, rule in RULES:
            inner = rule(text)
            if inner and inner != text:
                text, done = inner, done if name in done else (*done, name)
                yield text, done
        if text == before:
            return
