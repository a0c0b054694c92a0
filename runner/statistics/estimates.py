"""A figure with its interval, and the resampling that gives intervals.

Items that look alike are interchangeable, so a resample is drawn as counts of the distinct patterns; a statistic is a
function from such counts to values, and is written once for the point and for its interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RESAMPLES = 1000
CONFIDENCE = 0.95
LARGEST_BLOCK = 1_000_000
"""Counts that are held at once, so that resampling takes some tens of megabytes whatever the number of items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure and its interval; whatever is None has its reason."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""
    """Why there is no value, or no interval, or what the interval cannot show; else empty."""
    items: int = 0
    """Items that the figure is worked out from."""
    left_out: int = 0
    """Items that it says nothing about."""
    confidence: float = CONFIDENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampling:
    """How intervals are drawn: percentile bootstrap over items."""

    resamples: int = RESAMPLES
    """How many; 0 gives no intervals."""
    seed: int = 0
    confidence: float = CONFIDENCE


Statistic = Callable[[Floats], Floats]
"""Counts (resamples x patterns) -> values (resamples); NaN where the statistic is not defined."""


def draws(counts: Ints, resampling: Resampling) -> Iterator[Floats]:
    """Resamples of as many items as there are, in blocks of counts."""
    generator = np.random.default_rng(resampling.seed)
    items, patterns = int(counts.sum()), len(counts)
    block = max(1, min(resampling.resamples, LARGEST_BLOCK // max(1, patterns)))
    # A multinomial costs by the pattern, drawing items one by one by the item; take what is cheaper.
    singly = None if patterns * 4 < items else np.repeat(np.arange(patterns), counts)
    left = resampling.resamples
    while left > 0:
        size = min(block, left)
        left -= size
        if singly is None:
            yield generator.multinomial(items, counts / items, size=size).astype(np.float64)
        else:
            drawn = (singly[generator.integers(0, items, size=items)] for _ in range(size))
            yield np.stack([np.bincount(row, minlength=patterns) for row in drawn]).astype(np.float64)


def estimate(
    statistic: Statistic, counts: Ints, resampling: Resampling, *, undefined: str, left_out: int = 0
) -> Estimate:
    """The statistic of patterns that occur so often, with its interval; `undefined` says when it has no value.

    Resamples in which it is not defined are left out of the interval; if they are half of them, there is none.
    """
    items = int(counts.sum())
    facts: dict[str, Any] = {"items": items, "left_out": left_out, "confidence": resampling.confidence}
    if items == 0:
        return Estimate(value=None, reason="there are no items", **facts)
    value = float(statistic(counts[np.newaxis, :].astype(np.float64))[0])
    if not np.isfinite(value):
        return Estimate(value=None, reason=undefined, **facts)
    if resampling.resamples == 0:
        return Estimate(value=value, reason="no interval was asked for", **facts)
    if items == 1:
        return Estimate(value=value, reason="one item has no interval", **facts)
    values = np.concatenate([statistic(block) for block in draws(counts, resampling)])
    values = values[np.isfinite(values)]
    if 2 * len(values) <= resampling.resamples:
        return Estimate(value=value, reason="too few resamples have a value for an interval", **facts)
    tail = (1 - resampling.confidence) / 2
    low, high = (float(end) for end in np.quantile(values, (tail, 1 - tail)))
    alike = "no resample differs, so the interval shows nothing" if values.min() == values.max() else ""
    return Estimate(value=value, low=low, high=high, reason=alike, **facts)


def ratio(above: Floats, below: Floats) -> Floats:
    """Above / below; NaN where below is zero (or as good as)."""
    defined = np.abs(below) > 1e-12
    return np.where(defined, above / np.where(defined, below, 1.0), np.nan)
