"""Multiple choice: which letter an answer gives. An answer that gives two is wrong, and says so."""

from __future__ import annotations

import re
from collections.abc import Mapping

from runner.core.answers.doubt import DOUBT
from runner.core.answers.unwrapping import thinking, unwrapped
from runner.core.errors import UsageError
from runner.core.values import Json
from runner.scoring.scores import RIGHT, Judge, Score, as_text
from runner.scoring.texts import normalised


def letter_in(text: str, letters: str, choices: Mapping[str, str]) -> str | None:
    """The letter that a text gives: alone, before a choice's text, in a sentence that states it; None if not one.

    A capital in running prose is no choice: "A" and "I" are words.
    """
    answer = (thinking(text) or "").strip()
    one = f"[{letters}{letters.lower()}]"
    for inner, _ in unwrapped(answer):
        if match := re.fullmatch(rf"\(?({one})[).:]?", inner.strip()):
            return match[1].upper()
    worded = {normalised(words): letter for letter, words in choices.items()}
    if (letter := worded.get(normalised(answer))) is not None:
        return letter
    stated = _stated(answer, letters)
    leading = re.match(rf"[(*\s]*([{letters}])\s?[).:]", answer)
    if leading and not (stated - {leading[1]}):
        # A list of all choices begins in the same way.
        listed = set(re.findall(rf"(?m)^[(* \t]*([{letters}])\s?[).:]", answer))
        if len(listed) == 1 or stated:
            return leading[1]
    return next(iter(stated)) if len(stated) == 1 else None


_IS = r"\s*+(?:is|was|:|would be|=)"
_SAYS = (
    rf"(?i:\b(?:answer|choice|option|choose|pick|select|correct|one)\b(?:{_IS})*+"
    rf"(?P<aside>[\s:]++I(?:\s++[a-z'’]++){{1,5}}?{_IS})?)"
)
"""What states a choice: "the answer is", with an aside as in "the answer I got was"."""
_BEHIND_I = (
    "because|since|as|due|which|but|or|and|is|seems|appears|with|from|though|although|in|by|for|on|of|to|given|if|when|"
    "while|not"
)
"""Words that follow no pronoun and no article: a letter before them is a choice."""
_BEHIND_A = f"{_BEHIND_I}|was|would|based"
_LARGE = (
    r"(?!\.?[\w'’]|-[a-z]|\s+(?:is|was)\s+(?:not|wrong|incorrect|false)\b)"
    rf"(?:(?<![AI])|(?<=A)(?![^\S\n]+(?!(?:{_BEHIND_A})\b(?!-))[a-z])|(?<=I)(?![^\S\n]+(?!(?:{_BEHIND_I})\b(?!-))[a-z]))"
)
"""What follows a capital that is no word and is not denied: "A" and "I" would have other words behind them."""
_SMALL = r"(?=[\"'`*_)\]}$]*+(?:[.!?;](?!\w)|\s*+$|[^\S\n]*+\n|,?\s+(?:because|since|as|due)\b))"
"""What follows a small letter: the end of its clause, as it may be a word, a variable or the first of a list."""


def _stated(text: str, letters: str) -> set[str]:
    """The letters that sentences, boxes and a last line by itself give."""
    letter = rf"[\s\"'`*_(\[:]*+(?P<letter>[{letters}]{_LARGE}|[{letters.lower()}]{_SMALL})"
    said = [match for match in re.finditer(_SAYS + letter, text) if not DOUBT.search(match["aside"] or "")]
    said += re.finditer(rf"\\boxed\s*\{{(?:\\text\{{)?{letter}", text)
    found = {match["letter"].upper() for match in said}
    lines = [line.strip(" *_`().:") for line in text.splitlines() if line.strip()]
    if lines and len(lines) > 1 and len(lines[-1]) == 1 and lines[-1].upper() in letters:
        found.add(lines[-1].upper())
    if not found:
        brackets = {match[1] for match in re.finditer(rf"\(([{letters}])\)", text)}
        found = brackets if len(brackets) == 1 else set()
    return found


def multiple_choice(options: Mapping[str, Json]) -> Judge:
    """The letter expected. `choices` (letter -> text) lets an answer and what is expected give the text instead."""
    letters, choices = str(options["letters"]).upper(), options["choices"] or {}
    if not letters.isascii() or not letters.isalpha() or len(set(letters)) < len(letters):
        raise UsageError("The scorer choice needs `letters` that differ, as in ABCD.")
    if not isinstance(choices, Mapping) or not set(choices) <= set(letters):
        raise UsageError("The scorer choice needs `choices` as a table of letters and their texts.")

    def judge(answer: Json, expected: Json) -> Score:
        wanted = letter_in(as_text(expected), letters, choices)
        if wanted is None:
            return Score(None, "what is expected is none of the choices")
        given = letter_in(as_text(answer), letters, choices)
        if given is None:
            return Score(0.0, "it gives no choice, or several")
        return RIGHT if given == wanted else Score(0.0, f"it gives {given}")

    return judge
