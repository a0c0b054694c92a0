"""The table of what to do about each failure, and the waiting times."""

from __future__ import annotations

from random import Random

import pytest

from runner.core.retry import BASE_DELAY, LONGEST_DELAY, OUTAGES, RULES, Action, action, delay
from runner.core.values import Kind
from runner.testing import failure


def test_every_kind_of_failure_has_a_rule() -> None:
    """A kind that is added without a decision about it is found here, not in somebody's run."""
    assert set(RULES) == set(Kind)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (Kind.RATE_LIMITED, Action.REQUEUE),
        (Kind.UNREACHABLE, Action.REQUEUE),
        (Kind.QUOTA_EXHAUSTED, Action.PEND),
        (Kind.OVERLOADED, Action.RETRY),
        (Kind.SERVER_ERROR, Action.RETRY),
        (Kind.TIMEOUT, Action.RETRY),
        (Kind.DISCONNECTED, Action.RETRY),
        (Kind.INVALID_RESPONSE, Action.RETRY),
        (Kind.INVALID_REQUEST, Action.FINISH),
        (Kind.CONTEXT_LENGTH, Action.FINISH),
        (Kind.CONTENT_FILTER, Action.FINISH),
        (Kind.FORBIDDEN, Action.FINISH),
        (Kind.MODEL_UNAVAILABLE, Action.MOVE),
        (Kind.UNAUTHORIZED, Action.STOP),
        (Kind.REDIRECTED, Action.STOP),
        (Kind.CERTIFICATE, Action.STOP),
    ],
)
def test_what_is_done_about_a_first_failure(kind: Kind, wanted: Action) -> None:
    """What may pass is tried again, what cannot ends, what concerns everything stops the run."""
    assert action(failure(kind), 1, 5) is wanted


@pytest.mark.parametrize("kind", [Kind.FORBIDDEN, Kind.QUOTA_EXHAUSTED])
def test_a_failure_that_speaks_of_all_requests_stops_the_run(kind: Kind) -> None:
    """What is forbidden or used up for everybody will not be otherwise for the next row."""
    assert action(failure(kind, scope="all"), 1, 5) is Action.STOP


@pytest.mark.parametrize(("attempts", "wanted"), [(1, Action.RETRY), (4, Action.RETRY), (5, Action.FINISH)])
def test_the_last_attempt_is_not_followed_by_another(attempts: int, wanted: Action) -> None:
    """Five allowed attempts are five requests, not six."""
    assert action(failure(Kind.TIMEOUT), attempts, 5) is wanted


@pytest.mark.parametrize(("allowed", "last"), [(5, 3), (2, 2)])
def test_an_answer_that_makes_no_sense_is_tried_three_times_at_most(allowed: int, last: int) -> None:
    """Such answers were billed; the user's own bound holds where it is lower."""
    broken = failure(Kind.INVALID_RESPONSE)
    assert [action(broken, n, allowed) for n in (last - 1, last)] == [Action.RETRY, Action.FINISH]


@pytest.mark.parametrize("kind", [Kind.RATE_LIMITED, Kind.UNREACHABLE])
def test_waiting_is_never_the_last_attempt(kind: Kind) -> None:
    """However often a row is turned away at the door, it has not been looked at."""
    assert action(failure(kind), 1000, 1) is Action.REQUEUE


def test_outages_are_failures_that_may_pass() -> None:
    """A run that closes its gates for an outage must be able to go on after it."""
    assert all(RULES[kind].action in (Action.RETRY, Action.REQUEUE) for kind in OUTAGES)


@pytest.mark.fault("H9")
@pytest.mark.parametrize("attempts", [1, 2, 5, 7, 100])
def test_delays_fill_the_whole_range_up_to_their_bound(attempts: int) -> None:
    """Full jitter: from nothing to a bound that doubles with each attempt, and no further than the longest."""
    bound = min(LONGEST_DELAY, BASE_DELAY * 2**attempts)
    rng = Random(1)
    delays = [delay(attempts, rng) for _ in range(2000)]
    assert 0 <= min(delays) < 0.01 * bound
    assert 0.99 * bound < max(delays) <= bound
    assert sum(delays) / len(delays) == pytest.approx(bound / 2, rel=0.05)
