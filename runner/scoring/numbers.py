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
_FOUND = {
    mark: re.compile(
        rf"(?<![\w.,])(?P<number>[-+]?(?:\d[\d.,'’\u00a0\u202f]*\d|\d|[{mark}]\d+)(?:[eE][-+]?\d+)?)"
        r"\s?(?P<percent>%|percent\b)?"
    )
    for mark in ".,"
}
"""Decimal mark -> where a number may stand in a text: never within a word."""
_SHAPE = {
    ".": re.compile(r"[-+]?(?:\d{1,3}(?:[,'’\u00a0\u202f]\d{3})+|\d+)?(?:\.\d+)?(?:[eE][-+]?\d+)?"),
    ",": re.compile(r"[-+]?(?:\d{1,3}(?:[.'’\u00a0\u202f]\d{3})+|\d+)?(?:,\d+)?(?:[eE][-+]?\d+)?"),
}
"""Decimal mark -> how a number is written with it; the other marks separate thousands, in threes."""


def number_in(value: Json, *, take: str = "last", decimal: str = ".", percent: str = "hundredths") -> float | str:
    """The number that a value is or holds, or the reason why there is none.

    In text it is the last (or first) number, or the one in a box. A number whose marks fit no way of writing it, as
    3,14 with a decimal point, is not taken apart: there is no number then.
    """
    if isinstance(value, bool):
        return "it is no number"
    if isinstance(value, (int, float)):
        return float(value) if abs(value) < 1e300 else "its number is too large"
    text = as_text(value).translate(SIGNS)
    boxed = _BOXED.findall(text)
    found = list(_FOUND[decimal].finditer(boxed[-1] if boxed else text))
    if not found:
        return "it holds no number"
    match = found[0 if take == "first" else -1]
    written = match["number"]
    if not _SHAPE[decimal].fullmatch(written):
        return f"{written} can be read in more than one way"
    digits = re.sub("[.'’\u00a0\u202f]" if decimal == "," else "[,'’\u00a0\u202f]", "", written).replace(",", ".")
    number = float(digits)
    if not math.isfinite(number):
        return "its number is too large"
    return number / 100 if match["percent"] and percent == "hundredths" else number


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
