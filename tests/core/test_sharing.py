"""Dividing what is left of a limit: never more than there is, all of it where it is wanted, and fairly."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.sharing import WEIGHTS, Claim, divide, fallback, period

AMOUNTS = st.integers(0, 10_000).map(float)
CLAIMS = st.lists(
    st.builds(
        Claim,
        weight=st.sampled_from(sorted(WEIGHTS.values())),
        used=AMOUNTS,
        want=st.one_of(AMOUNTS, st.just(math.inf)),
        least=st.integers(0, 500).map(float),
    ),
    min_size=1,
    max_size=6,
)


def claim(want: float = math.inf, used: float = 0.0, weight: float = 1.0, least: float = 0.0) -> Claim:
    return Claim(weight=weight, used=used, want=want, least=least)


@given(free=AMOUNTS, claims=CLAIMS)
def test_all_that_is_free_is_given_and_never_more(free: float, claims: list[Claim]) -> None:
    """The grants add up to what is free, or to what is wanted if that is less; none is more than was wanted."""
    grants = divide(free, claims)
    assert sum(grants) == pytest.approx(min(free, sum(one.want for one in claims)), abs=1e-6)
    assert all(0 <= grant <= one.want for grant, one in zip(grants, claims, strict=True))


@given(free=AMOUNTS, claims=CLAIMS)
def test_nobody_is_lifted_above_one_who_wants_more_by_more_than_a_request(free: float, claims: list[Claim]) -> None:
    """Weighted max-min: who got anything stands, for its weight, no higher than any who wants more, but for one
    request that could not be cut."""
    grants = divide(free, claims)
    for grant, one in zip(grants, claims, strict=True):
        if not grant:
            continue
        for other_grant, other in zip(grants, claims, strict=True):
            if other_grant < other.want - 1e-6:
                behind = (other.used + other_grant) / other.weight
                assert (one.used + max(0.0, grant - one.least)) / one.weight <= behind + 1e-6


@given(free=AMOUNTS, claims=CLAIMS)
def test_more_to_divide_gives_nobody_less(free: float, claims: list[Claim]) -> None:
    """What is left over by others is never paid for by anyone."""
    more = divide(free + 100, claims)
    assert all(after >= before - 1e-6 for before, after in zip(divide(free, claims), more, strict=True))


def test_equal_runs_get_equal_parts() -> None:
    """Whoever comes first."""
    assert divide(100.0, [claim()] * 4) == [25.0] * 4


def test_parts_are_as_the_weights() -> None:
    """Urgent, normal and batch."""
    assert divide(1100.0, [claim(weight=weight) for weight in (8.0, 2.0, 1.0)]) == [800.0, 200.0, 100.0]


def test_what_one_does_not_want_the_others_get() -> None:
    """Nothing is kept back for who needs it not."""
    assert divide(100.0, [claim(10.0), claim(), claim()]) == [10.0, 45.0, 45.0]


def test_who_has_used_less_of_the_window_comes_first() -> None:
    """A run that joins gets what leaves the window until it has as much as the others."""
    assert divide(30.0, [claim(used=100.0), claim(used=20.0)]) == [0.0, 30.0]
    assert divide(100.0, [claim(used=100.0), claim(used=20.0)]) == [10.0, 90.0]


def test_a_request_that_cannot_be_cut_is_given_whole() -> None:
    """Where the fair part is less than one request, the one whose turn it is gets it, the other comes next."""
    assert divide(100.0, [claim(least=80.0), claim(least=80.0)]) == [80.0, 20.0]
    assert divide(100.0, [claim(used=80.0, least=80.0), claim(used=20.0, least=80.0)]) == [20.0, 80.0]


def test_a_large_request_is_saved_for() -> None:
    """It gets all that there is while it is its turn, though that is not enough yet: smaller ones do not pass it."""
    assert divide(50.0, [claim(used=500.0, least=1.0), claim(least=300.0)]) == [0.0, 50.0]


def test_without_knowledge_of_the_others_a_run_has_its_part_by_weight() -> None:
    """Alone it has all; the parts of all together are all that there is."""
    assert fallback(2.0, []) == 1.0
    weights = [1.0, 2.0, 8.0]
    parts = [fallback(own, [w for j, w in enumerate(weights) if j != i]) for i, own in enumerate(weights)]
    assert sum(parts) == pytest.approx(1.0)


def test_a_lease_is_for_a_fraction_of_a_second_and_never_for_less_than_a_fifth() -> None:
    """Half a second at real windows; short windows do not make for many transactions."""
    assert (period(60.0), period(1.0)) == (0.5, 0.2)
