"""Shares and means with their intervals, beside scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from runner.statistics.estimates import Resampling
from runner.statistics.intervals import mean_interval, wilson


@settings(deadline=None)
@given(
    st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.8, 0.95, 0.99])
)
def test_wilsons_interval_is_that_of_scipy(pair: tuple[int, int], confidence: float) -> None:
    """At every share, also none and all."""
    reference = stats.binomtest(*pair).proportion_ci(confidence_level=confidence, method="wilson")
    estimate = wilson(*pair, confidence)
    assert (estimate.low, estimate.high) == pytest.approx((reference.low, reference.high), abs=1e-9)
    assert estimate.value == pair[0] / pair[1]


def test_no_items_have_no_share() -> None:
    """And more right ones than there are is a mistake of the caller."""
    assert wilson(0, 0).reason == "there are no items"
    with pytest.raises(ValueError, match="no share"):
        wilson(3, 2)


def test_a_mean_has_the_interval_that_scipy_draws() -> None:
    """Two generators draw differently; with many resamples their percentiles meet."""
    values = np.random.default_rng(1).gamma(2.0, size=200)
    estimate = mean_interval(values.tolist(), Resampling(resamples=4000))
    reference = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=2).confidence_interval
    assert estimate.value == pytest.approx(values.mean(), abs=1e-9)
    assert (estimate.low, estimate.high) == pytest.approx((reference.low, reference.high), abs=0.02)


def test_what_is_missing_is_left_out_of_a_mean_and_counted() -> None:
    """NaN never becomes 0."""
    estimate = mean_interval([1.0, None, math.nan, 0.0])
    assert (estimate.value, estimate.items, estimate.left_out) == (0.5, 2, 2)


@pytest.mark.parametrize(
    ("values", "value", "reason"),
    [
        ([], None, "there are no items"),
        ([None, math.nan], None, "there are no items"),
        ([0.3], 0.3, "one item has no interval"),
        ([0.5, 0.5], 0.5, "no resample differs"),
    ],
)
def test_degenerate_means_have_stated_values(values: list[float | None], value: float | None, reason: str) -> None:
    """Each with its reason."""
    estimate = mean_interval(values)
    assert estimate.value == value
    assert reason in estimate.reason


def test_an_infinite_value_has_no_mean() -> None:
    """It would swallow all others."""
    with pytest.raises(ValueError, match="infinite"):
        mean_interval([math.inf])
