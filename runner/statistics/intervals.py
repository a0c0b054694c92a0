"""How sure a share or a mean is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from runner.statistics.estimates import CONFIDENCE, Estimate, Floats, Resampling, estimate

DEFAULT = Resampling()


def wilson(right: int, items: int, confidence: float = CONFIDENCE) -> Estimate:
    """A share and Wilson's score interval (1927), which holds up for few items and for shares near 0 and 1."""
    if not 0 <= right <= items:
        raise ValueError(f"{right} of {items} is no share.")
    if items == 0:
        return Estimate(value=None, reason="there are no items", confidence=confidence)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = right / items
    centre = (share + z * z / (2 * items)) / (1 + z * z / items)
    half = z / (1 + z * z / items) * math.sqrt(share * (1 - share) / items + z * z / (4 * items * items))
    low = 0.0 if right == 0 else max(0.0, centre - half)
    high = 1.0 if right == items else min(1.0, centre + half)
    return Estimate(value=share, low=low, high=high, items=items, confidence=confidence)


def mean_interval(values: Sequence[float | None], resampling: Resampling = DEFAULT) -> Estimate:
    """A mean and its bootstrap interval. None and NaN are left out and counted, never taken for 0."""
    known = known_values(values)
    return bootstrap_mean(known, resampling, left_out=len(values) - len(known))


def known_values(values: Sequence[float | None]) -> Floats:
    """The values that are there; ValueError for an infinite one."""
    array = np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    if np.isinf(array).any():
        raise ValueError("An infinite value has no place in a mean.")
    return array[~np.isnan(array)]


def bootstrap_mean(values: Floats, resampling: Resampling, *, left_out: int = 0) -> Estimate:
    """The mean of values that are all there, and its percentile bootstrap interval."""
    distinct, counts = np.unique(values, return_counts=True)

    def mean(resampled: Floats) -> Floats:
        result: Floats = resampled @ distinct / resampled.sum(axis=1)
        return result

    return estimate(mean, counts, resampling, undefined="there are no values", left_out=left_out)
