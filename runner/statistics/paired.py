"""Whether B is better than A on the same rows, and what may be said of it in a sentence.

Scores that are all 0 or 1 are judged by McNemar's test, which looks only at the rows in which they differ; other scores
by the bootstrap interval of their mean difference. In either case no difference is claimed that so few differing rows
could not show at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from runner.statistics.estimates import Estimate, Floats, Resampling
from runner.statistics.intervals import DEFAULT, bootstrap_mean, wilson

Method = Literal["exact", "chi2"]
MOST_EXACT = 10_000
"""Differing rows up to which McNemar's test is worked out exactly."""
FEW_ROWS = 30
"""Below this a bootstrap interval is rough, and the sentence says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """A test of whether gains and losses are as likely as each other."""

    p: float
    method: Method
    gained: int
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a comparison shows."""

    kind: Literal["better", "worse", "no difference shown", "nothing to compare"]
    """Of B, beside A."""
    sentence: str
    difference: Estimate
    """Mean score of B less that of A."""
    test: Test | None
    """McNemar's test for scores of 0 and 1, and the sign test for others; the latter only informs."""
    gained: tuple[int, ...]
    """Positions of the rows in which B scores more."""
    lost: tuple[int, ...]
    """Positions of the rows in which B scores less."""
    left_out: int
    """Rows without a score on either side."""


def mcnemar(gained: int, lost: int, method: Method | None = None) -> Test:
    """McNemar's test, two-sided. Without a method: exact, or for more than `MOST_EXACT` differing rows by chi-squared.

    Chi-squared is corrected for continuity (Edwards 1948).
    """
    differing = gained + lost
    method = method or ("exact" if differing <= MOST_EXACT else "chi2")
    if method == "chi2":
        corrected = max(0, abs(gained - lost) - 1)
        p = math.erfc(math.sqrt(corrected**2 / differing / 2)) if differing else 1.0
        return Test(p=p, method=method, gained=gained, lost=lost)
    fewer = min(gained, lost)
    term, tail = 1, 0
    for k in range(fewer + 1):
        tail += term
        if k < fewer:
            term = term * (differing - k) // (k + 1)
    # Twice the tail may count the middle twice; whole numbers divide without any error but the last rounding.
    return Test(p=min(1.0, 2 * tail / 2**differing), method=method, gained=gained, lost=lost)


def compare(
    a: Sequence[float | None],
    b: Sequence[float | None],
    *,
    names: tuple[str, str] = ("A", "B"),
    resampling: Resampling = DEFAULT,
) -> Verdict:
    """Compare two sets of scores of 0 to 1 for the same rows in the same order, and say what that shows.

    None and NaN are rows that cannot be scored on that side; they are left out and counted. A missing or invalid answer
    is no such row: its score is 0. ValueError if the sequences differ in length, or a score is infinite.
    """
    left, right = _array(a), _array(b)
    if left.shape != right.shape:
        raise ValueError("Only the same rows can be compared: the two sets of scores differ in length.")
    known = ~(np.isnan(left) | np.isnan(right))
    rows = np.flatnonzero(known)
    change = right[known] - left[known]
    gained, lost = tuple(rows[change > 0].tolist()), tuple(rows[change < 0].tolist())
    left_out = len(left) - len(rows)
    difference = bootstrap_mean(change, resampling, left_out=left_out)
    if len(rows) == 0 or difference.value is None:
        sentence = f"There is no row that both {names[0]} and {names[1]} have a score for, so nothing can be compared."
        return Verdict(
            kind="nothing to compare", sentence=sentence, difference=difference, test=None, gained=(), lost=(),
            left_out=left_out,
        )  # fmt: skip
    binary = bool(np.isin(left[known], (0, 1)).all() and np.isin(right[known], (0, 1)).all())
    test = mcnemar(len(gained), len(lost))
    shown = _shown(difference, test, binary, 1 - resampling.confidence)
    kind: Literal["better", "worse", "no difference shown"] = "no difference shown"
    if shown:
        kind = "better" if difference.value > 0 else "worse"
    sentence = _sentence(kind, difference, test, binary, names)
    return Verdict(
        kind=kind, sentence=sentence, difference=difference, test=test, gained=gained, lost=lost, left_out=left_out
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for their number (Holm 1979): of many comparisons some differ by chance alone."""
    order = sorted(range(len(p_values)), key=lambda at: p_values[at])
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[at]))
        corrected[at] = highest
    return corrected


def _array(scores: Sequence[float | None]) -> Floats:
    array = np.array([math.nan if score is None else score for score in scores], dtype=np.float64)
    if np.isinf(array).any():
        raise ValueError("An infinite score cannot be compared.")
    return array


def _shown(difference: Estimate, test: Test, binary: bool, level: float) -> bool:
    if binary:
        return test.p < level
    # As many rows as would be needed if all of them changed the same way.
    enough = 2 * 0.5 ** (test.gained + test.lost) < level
    if difference.low is None or difference.high is None or not enough:
        return False
    return difference.low > 0 or difference.high < 0


def _sentence(kind: str, difference: Estimate, test: Test, binary: bool, names: tuple[str, str]) -> str:
    a, b = names
    unit = (
        "answered {:,} more {} right than {} and {:,} fewer"
        if binary
        else "scored higher than {2} in {0:,} {1} and lower in {3:,}"
    )
    facts = (
        f"{b} {unit.format(test.gained, 'row' if test.gained == 1 else 'rows', a, test.lost)}, of {difference.items:,}"
    )
    interval = f"a difference of {_points(difference.value)} points{_interval(difference)}"
    percent = f"{100 * (1 - difference.confidence):g} %"
    evidence = f" (McNemar p {_p(test.p)})" if binary else " (paired bootstrap)"
    if kind == "no difference shown":
        hidden = f"{100 * _hidden(difference, test):.1f}"
        missed = f"one of up to {hidden} points could have been missed"
        text = f"no difference was shown: {facts}; {interval}{evidence}; {missed}"
    else:
        text = f"{facts}; {interval}; not explained by chance at the {percent} level{evidence}"
    rough = "; intervals from so few rows are rough" if difference.items < FEW_ROWS else ""
    left_out = (
        f"; {difference.left_out:,} {'row' if difference.left_out == 1 else 'rows'} could not be scored on both sides"
        if difference.left_out
        else ""
    )
    return f"{text}{rough}{left_out}."


def _hidden(difference: Estimate, test: Test) -> float:
    """How large a difference these rows do not rule out. Where few differ, their share itself is not well known."""
    ends = [abs(end) for end in (difference.value, difference.low, difference.high) if end is not None]
    differing = wilson(test.gained + test.lost, difference.items, difference.confidence).high
    few = 2 * 0.5 ** (test.gained + test.lost) >= 1 - difference.confidence
    return max([*ends, differing or 0.0] if few else ends)


def _points(value: float | None) -> str:
    """A difference of shares in percentage points, with its sign."""
    shown = f"{100 * (value or 0.0):+.1f}"
    return "0.0" if shown in ("+0.0", "-0.0") else shown.replace("-", "−")


def _interval(difference: Estimate) -> str:
    if difference.low is None or difference.high is None or difference.low == difference.high:
        # An interval without any width is what resampling makes of too few differences: it would claim certainty.
        return ""
    low, high = (
        f"{100 * end:.1f}".replace("-0.0", "0.0").replace("-", "−") for end in (difference.low, difference.high)
    )
    return f" ({100 * difference.confidence:g} % interval {low} to {high})"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
