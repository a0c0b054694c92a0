"""How much annotators agree: percent, Cohen's and Fleiss' kappa, Krippendorff's alpha; overall and for each label.

Missing ratings: percent agreement and alpha use the items with two ratings or more, the one each item alike, the other
by the number of its ratings; Cohen's kappa uses items that both annotators rated; Fleiss' kappa is defined for one
number of ratings per item only (Fleiss 1971), so it refuses others unless it is told to leave incomplete items out.
Chance-corrected measures have no value where chance alone would make everyone agree, which is so if only one label was
ever given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from runner.statistics.estimates import Estimate, Floats, Resampling, Statistic, estimate, ratio
from runner.statistics.ratings import MISSING, Label, Ratings

Level = Literal["nominal", "ordinal", "interval"]
Weights = Literal["linear", "quadratic"]

ONE_LABEL = "only one label was given, so agreement by chance is certain"
NO_PAIRS = "no item has ratings of two annotators"
NO_ORDER = "the labels have no order"
DEFAULT = Resampling()
POWERS: Mapping[Weights, int] = {"linear": 1, "quadratic": 2}
"""Weights -> the power of the distance by which they weigh a disagreement."""


def _apart(left: Floats, right: Floats, _places: Floats) -> Floats:
    return np.asarray(left.sum(axis=1) * right.sum(axis=1) - (left * right).sum(axis=1))


def _apart_linear(left: Floats, right: Floats, places: Floats) -> Floats:
    """A distance is the sum of the gaps between, and each gap is crossed by what lies on its two sides."""
    order = np.argsort(places)
    gaps = np.diff(places[order])
    below, other_below = np.cumsum(left[:, order], axis=1), np.cumsum(right[:, order], axis=1)
    above, other_above = below[:, -1:] - below, other_below[:, -1:] - other_below
    return np.asarray((below * other_above + other_below * above)[:, :-1] @ gaps)


def _apart_quadratic(left: Floats, right: Floats, places: Floats) -> Floats:
    centred = places - places.mean()
    squares = (left @ centred**2) * right.sum(axis=1) + left.sum(axis=1) * (right @ centred**2)
    return np.asarray(squares - 2 * (left @ centred) * (right @ centred))


DISAGREEMENTS: Mapping[Weights | None, Callable[[Floats, Floats, Floats], Floats]] = {
    None: _apart,
    "linear": _apart_linear,
    "quadratic": _apart_quadratic,
}
"""Weights -> the weighted disagreement of all pairs of one annotator's labels with the other's, times the items."""
LARGEST_TABLE = 4_000_000
"""Cells of a patterns x labels table that may be made; beyond, labels are counted row by row."""


def percent_agreement(ratings: Ratings, resampling: Resampling = DEFAULT) -> Estimate:
    """Observed agreement: the share of an item's pairs of ratings that agree, averaged over items that have a pair.

    This is the mean of Fleiss (1971), which Gwet (2014) extends to items with missing ratings: each item counts once.
    """
    kept, left_out = _paired(ratings)
    if kept.counts.sum() == 0:
        return Estimate(value=None, reason=NO_PAIRS, left_out=left_out, confidence=resampling.confidence)
    given = kept.given.astype(np.float64)
    agreeing = (_same_pairs(kept) / (given * (given - 1)))[:, np.newaxis]

    def share(counts: Floats) -> Floats:
        return ratio((counts @ agreeing)[:, 0], counts.sum(axis=1))

    return estimate(share, kept.counts, resampling, undefined=NO_PAIRS, left_out=left_out)


def cohen_kappa(ratings: Ratings, weights: Weights | None = None, resampling: Resampling = DEFAULT) -> Estimate:
    """Cohen's kappa of two annotators (1960); with `weights` for a scale (1968), by the distance of its places."""
    if ratings.annotators != 2:
        return Estimate(value=None, reason=f"Cohen's kappa compares two annotators, and there are {ratings.annotators}")
    places = ratings.places
    if weights is not None and places is None:
        return Estimate(value=None, reason=NO_ORDER)
    both = ratings.given == 2
    left_out = int(ratings.counts[~both].sum())
    kept = ratings.kept(both)
    if kept.counts.sum() == 0:
        return Estimate(value=None, reason=NO_PAIRS, left_out=left_out, confidence=resampling.confidence)
    one, other = kept.patterns.T
    size = len(kept.labels)
    scale = np.zeros(size) if weights is None or places is None else places
    disagreement = DISAGREEMENTS[weights]
    observed = np.abs(scale[one] - scale[other]) ** POWERS[weights] if weights else (one != other).astype(np.float64)

    def kappa(counts: Floats) -> Floats:
        expected = disagreement(_margins(counts, one, size), _margins(counts, other, size), scale)
        return 1 - ratio(counts @ observed, expected / counts.sum(axis=1))

    return estimate(kappa, kept.counts, resampling, undefined=ONE_LABEL, left_out=left_out)


def fleiss_kappa(
    ratings: Ratings, resampling: Resampling = DEFAULT, *, incomplete: Literal["refuse", "leave out"] = "refuse"
) -> Estimate:
    """Fleiss' kappa (1971): any number of annotators, the same number of ratings for each item."""
    raters = ratings.annotators
    if raters < 2:
        return Estimate(value=None, reason=NO_PAIRS, left_out=int(ratings.counts.sum()))
    complete = ratings.given == raters
    left_out = int(ratings.counts[~complete].sum())
    if left_out and incomplete == "refuse":
        reason = f"Fleiss' kappa needs {raters} ratings for each item, and {left_out} have fewer"
        return Estimate(value=None, reason=f"{reason}; Krippendorff's alpha takes missing ratings", left_out=left_out)
    kept = ratings.kept(complete)
    if kept.counts.sum() == 0:
        return Estimate(value=None, reason=NO_PAIRS, left_out=left_out, confidence=resampling.confidence)
    agreeing = _same_pairs(kept) / (raters * (raters - 1))
    margins = _occurrences(kept)

    def kappa(counts: Floats) -> Floats:
        total = counts.sum(axis=1)
        shares = margins(counts) / (total * raters)[:, np.newaxis]
        chance = (shares**2).sum(axis=1)
        return ratio(counts @ agreeing / total - chance, 1 - chance)

    return estimate(kappa, kept.counts, resampling, undefined=ONE_LABEL, left_out=left_out)


def krippendorff_alpha(ratings: Ratings, level: Level = "nominal", resampling: Resampling = DEFAULT) -> Estimate:
    """Krippendorff's alpha: any number of annotators, any missing ratings; items with fewer than two say nothing."""
    kept, left_out = _paired(ratings)
    if level != "nominal" and ratings.places is None:
        return Estimate(value=None, reason=NO_ORDER, left_out=left_out, confidence=resampling.confidence)
    if kept.counts.sum() == 0:
        return Estimate(value=None, reason=NO_PAIRS, left_out=left_out, confidence=resampling.confidence)
    return estimate(LEVELS[level](kept), kept.counts, resampling, undefined=ONE_LABEL, left_out=left_out)


def _nominal_alpha(kept: Ratings) -> Statistic:
    given = kept.given.astype(np.float64)
    disagreeing = (given * (given - 1) - _same_pairs(kept)) / (given - 1)
    margins = _occurrences(kept)

    def alpha(counts: Floats) -> Floats:
        total = counts @ given
        expected = (total**2 - (margins(counts) ** 2).sum(axis=1)) / (total - 1)
        return 1 - ratio(counts @ disagreeing, expected)

    return alpha


def _interval_alpha(kept: Ratings) -> Statistic:
    said = kept.patterns != MISSING
    given = kept.given.astype(np.float64)
    # Alpha does not change with the unit; with small numbers round the mean, nothing is lost to rounding.
    places = kept.places - kept.places.mean() if kept.places is not None else np.zeros(0)
    places /= np.abs(places).max() or 1.0
    values = np.where(said, places[kept.patterns], 0.0)
    sums, squares = values.sum(axis=1), (values**2).sum(axis=1)
    centred = np.where(said, values - (sums / given)[:, np.newaxis], 0.0)
    within = 2 * given * (centred**2).sum(axis=1) / (given - 1)
    table = np.stack([given, sums, squares, within], axis=1)

    def alpha(counts: Floats) -> Floats:
        total, first, second, apart = (counts @ table).T
        expected = 2 * (total * second - first**2) / (total - 1)
        return 1 - ratio(apart, np.where(expected > 1e-10 * total, expected, 0.0))

    return alpha


def _ordinal_alpha(kept: Ratings) -> Statistic:
    """Ordinal distances are those of an interval scale on which each label stands at the middle of its ranks."""
    said = kept.patterns != MISSING
    given = kept.given.astype(np.float64)
    size = len(kept.labels)
    flat = kept.patterns[said]
    rows = np.repeat(np.arange(len(kept.patterns)), kept.given)

    def one(weights: Floats) -> float:
        margins = np.bincount(flat, weights=weights[rows], minlength=size)
        total = margins.sum()
        ranks = (np.cumsum(margins) - margins / 2 - total / 2) / total
        values = np.where(said, ranks[kept.patterns], 0.0)
        centred = np.where(said, values - (values.sum(axis=1) / given)[:, np.newaxis], 0.0)
        apart = weights @ (2 * given * (centred**2).sum(axis=1) / (given - 1))
        expected = 2 * (total * (margins @ ranks**2) - (margins @ ranks) ** 2) / (total - 1)
        return float(1 - apart / expected) if expected > 1e-12 * total else float("nan")

    return lambda counts: np.array([one(weights) for weights in counts])


LEVELS: Mapping[Level, Callable[[Ratings], Statistic]] = {
    "nominal": _nominal_alpha,
    "ordinal": _ordinal_alpha,
    "interval": _interval_alpha,
}
"""Level of measurement -> alpha over the patterns of these ratings."""


def per_label(ratings: Ratings, measure: Callable[[Ratings], Estimate]) -> dict[Label, Estimate]:
    """A measure for each label by itself: this label, or any other."""
    return {label: measure(ratings.collapsed(label)) for label in ratings.labels}


def _paired(ratings: Ratings) -> tuple[Ratings, int]:
    """Only the items with at least two ratings, and how many have fewer."""
    enough = ratings.given >= 2
    return ratings.kept(enough), int(ratings.counts[~enough].sum())


def _same_pairs(ratings: Ratings) -> Floats:
    """Ordered pairs of annotators that say the same, for each pattern."""
    same = np.zeros(len(ratings.patterns))
    columns = ratings.patterns.T
    for at, column in enumerate(columns):
        for other in columns[at + 1 :]:
            same += 2.0 * ((column == other) & (column != MISSING))
    return same


def _margins(counts: Floats, column: np.ndarray, size: int) -> Floats:
    """How often each label occurs in one annotator's column, for each resample."""
    if len(column) * size <= LARGEST_TABLE:
        return counts @ np.eye(size)[column] if size else counts[:, :0]
    return np.stack([np.bincount(column, weights=row, minlength=size) for row in counts])


def _occurrences(ratings: Ratings) -> Callable[[Floats], Floats]:
    """How often each label occurs at all, for each resample."""
    size = len(ratings.labels)
    if len(ratings.patterns) * size <= LARGEST_TABLE:
        table = ratings.occurrences().astype(np.float64)
        return lambda counts: counts @ table
    said = ratings.patterns != MISSING
    flat = ratings.patterns[said]
    rows = np.repeat(np.arange(len(ratings.patterns)), ratings.given)
    return lambda counts: np.stack([np.bincount(flat, weights=row[rows], minlength=size) for row in counts])
