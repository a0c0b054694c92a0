"""The least possible time, against what can be worked out by hand."""

from __future__ import annotations

from runner.core.forecast import Bound, least_time
from runner.core.limits import ALL, Limit
from runner.core.values import Charge

A = Limit(scope="a", measure="input", amount=100, window=60.0)
B = Limit(scope="b", measure="input", amount=300, window=60.0)
COMBINED = Limit(scope=ALL, measure="input", amount=200, window=60.0)
NOTHING = Charge(0, 0, 0)


def test_work_that_fits_one_window_takes_no_time() -> None:
    """The whole allowance is there at the start."""
    assert least_time({"a": Charge(1, 100, 0)}, NOTHING, {"a": (A,)}).seconds == 0.0


def test_work_of_three_windows_takes_two() -> None:
    """One window's worth goes at once; the others a window apart."""
    assert least_time({"a": Charge(1, 300, 0)}, NOTHING, {"a": (A,)}) == Bound(120.0, A, 3.0)


def test_the_limit_that_takes_longest_is_named() -> None:
    """Windows of another length count by their seconds."""
    requests = Limit(scope="a", measure="requests", amount=1, window=1.0)
    budgets = {"a": (A, requests)}
    assert least_time({"a": Charge(30, 120, 0)}, NOTHING, budgets).limit == requests
    assert least_time({"a": Charge(30, 200, 0)}, NOTHING, budgets).limit == A


def test_a_combined_limit_sees_the_work_of_all_models() -> None:
    """Where it is smaller than the sum of the models' own, it binds."""
    budgets = {"a": (A, COMBINED), "b": (B, COMBINED)}
    work = {"a": Charge(1, 100, 0), "b": Charge(1, 300, 0)}
    assert least_time(work, NOTHING, budgets) == Bound(60.0, COMBINED, 2.0)


def test_a_pool_has_the_room_of_all_its_models() -> None:
    """Two models with different limits together let through the sum of both."""
    assert least_time({}, Charge(1, 1200, 0), {"a": (A,), "b": (B,)}).seconds == 120.0


def test_a_pool_shares_the_room_with_work_of_single_models() -> None:
    """What only one model can do takes room that the pool would have used."""
    bound = least_time({"a": Charge(1, 100, 0)}, Charge(1, 700, 0), {"a": (A,), "b": (B,)})
    assert bound.seconds == 60.0


def test_a_pool_with_a_model_without_limits_is_not_bound() -> None:
    """One open way is enough."""
    assert least_time({}, Charge(1, 10**6, 0), {"a": (A,), "b": ()}) == Bound(0.0, None, 0.0)


def test_without_limits_there_is_no_bound() -> None:
    """Nothing demands any time."""
    assert least_time({"a": Charge(1, 10**9, 0)}, NOTHING, {"a": ()}) == Bound(0.0, None, 0.0)
