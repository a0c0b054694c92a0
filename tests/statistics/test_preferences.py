"""Preferences between two sides, beside scipy."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from runner.statistics.intervals import mean_interval
from runner.statistics.preferences import places, preference, sign_test

WINS = st.integers(0, 3_000)


@settings(deadline=None)
@given(WINS, WINS)
def test_the_sign_test_is_the_two_sided_binomial_test(one: int, other: int) -> None:
    """Of the decided pairs, wins being as likely as losses; without any, nothing is shown."""
    reference = stats.binomtest(one, one + other).pvalue if one + other else 1.0
    assert sign_test(one, other) == pytest.approx(float(reference), rel=1e-9, abs=1e-12)


def test_it_is_exact_for_many_pairs_too() -> None:
    """No approximation comes in."""
    assert sign_test(10_300, 9_900) == pytest.approx(float(stats.binomtest(10_300, 20_200).pvalue), rel=1e-9)


def test_the_rate_is_of_decided_pairs_and_the_points_are_of_all() -> None:
    """Ties count half in the points and not at all in the rate; what nothing is said of counts nowhere."""
    points = [1.0] * 12 + [0.0] * 4 + [0.5] * 8 + [None] * 3
    found = preference(points)
    interval = stats.binomtest(12, 16).proportion_ci(method="wilson")
    assert (found.rate.value, found.rate.items) == (0.75, 16)
    assert (found.rate.low, found.rate.high) == (pytest.approx(interval.low, rel=1e-9), pytest.approx(interval.high))
    assert found.points == mean_interval(points)
    assert (found.points.value, found.points.items, found.points.left_out) == (pytest.approx(16 / 24), 24, 3)
    assert found.p == pytest.approx(float(stats.binomtest(12, 16).pvalue), rel=1e-9)


@pytest.mark.parametrize("points", [[], [None], [0.5, 0.5]], ids=["nothing", "nothing said", "all ties"])
def test_without_decided_pairs_there_is_no_rate(points: list[float | None]) -> None:
    """And nothing is shown."""
    found = preference(points)
    assert (found.rate.value, found.p) == (None, 1.0)


def test_a_judge_that_takes_the_first_place_every_time_is_shown_to() -> None:
    """The share of pairs that changed with the order, and which place was preferred in them."""
    found = places(pairs=40, first=15, second=1, once=4)
    interval = stats.binomtest(20, 40).proportion_ci(method="wilson")
    assert found.inconsistent.value == 0.5
    assert found.inconsistent.low == pytest.approx(interval.low, rel=1e-9)
    assert found.preferred_first.value == 15 / 16
    assert found.p == pytest.approx(float(stats.binomtest(15, 16).pvalue), rel=1e-9)


def test_a_judge_that_never_contradicts_itself_shows_no_preference_for_a_place() -> None:
    """There is no share of nothing."""
    found = places(pairs=10, first=0, second=0, once=0)
    assert (found.inconsistent.value, found.preferred_first.value, found.p) == (0.0, None, 1.0)
