"""Numbers in answers: found in prose, and compared with a tolerance."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from runner.core.errors import UsageError
from runner.core.values import Json
from runner.scoring.scores import RIGHT, Judge, Score, any_of, as_text

SIGNS = str.maketrans("−", "-")
_BOXED = re.compile(r"\\boxed\s*\{([^{}]*)\}")
_CURRENCY = "$€£¥"
_SIGNED_CURRENCY = re.compile(rf"(?<=[-+])[{_CURRENCY}]")
_OPENED = re.compile(rf"(?:^|[:=])[\s{_CURRENCY}]*\([\s{_CURRENCY}]*$")
_CLOSED = re.compile(r"\s*\)\s*(?:[.,;]|$)")
_THOUSANDS = "'’\u00a0\u2009\u202f"
"""What separates thousands whatever the decimal mark is; a plain space may as well part two numbers."""
_FOUND = {
    mark: re.compile(
        rf"(?<![\w.,])(?P<number>[-+]?(?:\d(?:[\d.,{_THOUSANDS}]|(?<!\d{{4}}) (?=\d{{3}}(?!\d)))*\d|\d|[{mark}]\d+)"
        r"(?:[eE][-+]?\d+)?)\s?(?P<percent>%|percent\b)?"
    )
    for mark in ".,"
}
"""Decimal mark -> where a number may stand in a text: never within a word."""
_SHAPE = {
    mark: re.compile(rf"[-+]?(?:\d{{1,3}}(?:[{other}{_THOUSANDS}]\d{{3}})+|\d+)?(?:[{mark}]\d+)?(?:[eE][-+]?\d+)?")
    for mark, other in (".,", ",.")
}
"""Decimal mark -> how a number is written with it; the other marks separate thousands, in threes."""


def number_in(value: Json, *, take: str = "last", decimal: str = ".", percent: str = "hundredths") -> float | str:
    """The number that a value is or holds, or the reason why there is none.

    In text it is the last (or first) number, or the one in a box. A number whose marks fit no way of writing it, as
    3,14 with a decimal point or 5 000, is not taken apart: there is no number then. Neither is there one in brackets by
    itself: accounts write losses so.
    """
    if isinstance(value, bool):
        return "it is no number"
    if isinstance(value, (int, float)):
        return float(value) if abs(value) < 1e300 else "its number is too large"
    text = _SIGNED_CURRENCY.sub("", as_text(value).translate(SIGNS))
    text = (_BOXED.findall(text) or [text])[-1]
    found = list(_FOUND[decimal].finditer(text))
    if not found:
        return "it holds no number"
    match = found[0 if take == "first" else -1]
    written = match["number"]
    if not _SHAPE[decimal].fullmatch(written) or _in_brackets(text, match):
        return f"{written} can be read in more than one way"
    digits = re.sub(rf"[{'.' if decimal == ',' else ','}{_THOUSANDS}]", "", written).replace(",", ".")
    number = float(digits)
    if not math.isfinite(number):
        return "its number is too large"
    return number / 100 if match["percent"] and percent == "hundredths" else number


def _in_brackets(text: str, number: re.Match[str]) -> bool:
    """Whether a number stands in brackets by itself, at the beginning or behind a colon or an equals sign."""
    return bool(_OPENED.search(text[: number.start()]) and _CLOSED.match(text, number.end()))


CHOICES = {"take": ("last", "first"), "decimal": (".", ","), "percent": ("hundredths", "plain")}
"""Option -> what it may be."""


def numeric(options: Mapping[str, Json]) -> Judge:
    """Within an absolute or a relative tolerance of the expected number."""
    for name, allowed in CHOICES.items():
        if options[name] not in allowed:
            raise UsageError(f"The scorer numeric takes {' or '.join(map(repr, allowed))} for {name}.")
    absolute, relative = (_tolerance(name, options[name]) for name in ("absolute", "relative"))
    reading = {name: options[name] for name in CHOICES}

    def judge(answer: Json, expected: Json) -> Score:
        wanted = number_in(expected, **reading)
        if isinstance(wanted, str):
            return Score(None, f"what is expected is no number: {wanted}")
        given = number_in(answer, **reading)
        if isinstance(given, str):
            return Score(0.0, given)
        if abs(given - wanted) <= max(absolute, relative * abs(wanted)):
            return RIGHT
        return Score(0.0, f"{given:g} is not close to {wanted:g}")

    return any_of(judge)


def _tolerance(name: str, value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise UsageError(f"The scorer numeric needs a number of 0 or more for {name}.")
    return float(value)


def closeness(options: Mapping[str, Json]) -> Judge:
    """For ratings: 1 less the distance from what is expected, as a share of the scale."""
    low, high = options["low"], options["high"]
    if not all(isinstance(end, (int, float)) and math.isfinite(end) for end in (low, high)) or low >= high:
        raise UsageError("The scorer closeness needs `low` and `high`, numbers with `low` below `high`.")

    def judge(answer: Json, expected: Json) -> Score:
        wanted = number_in(expected)
        if isinstance(wanted, str):
            return Score(None, f"what is expected is no rating: {wanted}")
        given = number_in(answer)
        if isinstance(given, str):
            return Score(0.0, given)
        if not low <= given <= high:
            return Score(0.0, f"{given:g} is not on the scale")
        apart = abs(given - wanted)
        return RIGHT if apart == 0 else Score(max(0.0, 1 - apart / (high - low)), f"{apart:g} apart")

    return judge
