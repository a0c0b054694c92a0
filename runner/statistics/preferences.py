"""Preferences between two sides: how often one of them wins, whether that is chance, and what place does to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from runner.statistics.estimates import Estimate, Resampling
from runner.statistics.intervals import DEFAULT, mean_interval, wilson
from runner.statistics.paired import mcnemar


def sign_test(one: int, other: int) -> float:
    """The exact two-sided p value of so many wins on either side, were each as likely as the other; ties are left out.

    1 if there is no win at all.
    """
    return mcnemar(one, other, "exact").p


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """What decided pairs and ties come to, for the one side."""

    rate: Estimate
    """Its share of the decided pairs, with Wilson's interval."""
    points: Estimate
    """The mean of its points, 1 for a win and half of one for a tie, with a bootstrap interval."""
    p: float
    """Of the sign test over the decided pairs."""


def preference(points: Sequence[float | None], resampling: Resampling = DEFAULT) -> Preference:
    """The preference for a side that has these points (1, 0.5 or 0) of each pair; None for what nothing is said of."""
    wins, losses = points.count(1.0), points.count(0.0)
    return Preference(
        rate=wilson(wins, wins + losses, resampling.confidence),
        points=mean_interval(points, resampling),
        p=sign_test(wins, losses),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """What the places of answers do to a judge that was asked about each pair in both orders."""

    pairs: int
    """Pairs of which both replies could be read."""
    inconsistent: Estimate
    """The share of them in which the replies do not agree."""
    first: int
    """Pairs in which the answer that stood first was preferred both times."""
    second: int
    """Pairs in which the one that stood second was."""
    once: int
    """Pairs with a preference in one order and a tie in the other."""
    preferred_first: Estimate
    """The share of `first` in `first` and `second`: a half if places mean nothing."""
    p: float
    """Of the sign test between these two."""


def places(*, pairs: int, first: int, second: int, once: int) -> Places:
    """What so many pairs of each kind show."""
    return Places(
        pairs=pairs,
        inconsistent=wilson(first + second + once, pairs),
        first=first,
        second=second,
        once=once,
        preferred_first=wilson(first, first + second),
        p=sign_test(first, second),
    )
