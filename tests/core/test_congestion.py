"""How many requests may be under way: down while answers show a queue, up while they do not."""

from __future__ import annotations

import pytest

from runner.core.congestion import LEAST, START, Congestion


def answer(congestion: Congestion, times: int, waited: float) -> int:
    """So many answers of a model that needs a second; how many may be under way then."""
    for _ in range(times):
        congestion.answered(waited, 1.0)
    return congestion.allowed


def test_it_begins_with_no_more_than_is_allowed_at_most() -> None:
    """A user's bound below the start holds from the start."""
    assert (Congestion(50).allowed, Congestion(10**6).allowed) == (50, START)


def test_answers_that_waited_make_it_smaller_by_no_more_than_half_a_round() -> None:
    """A queue is given time to drain before it is judged again."""
    assert answer(Congestion(1000), 200, waited=100.0) == START // 2


def test_waiting_that_is_short_beside_the_models_own_time_is_no_queue() -> None:
    """Half of the model's own time, and it stays as it was."""
    assert answer(Congestion(1000), 1000, waited=0.5) == START


@pytest.mark.fault("B19")
@pytest.mark.parametrize(("used", "allowed"), [(True, 2 * START), (False, START)])
def test_without_a_queue_it_grows_if_it_was_used(used: bool, allowed: int) -> None:
    """A number that was never reached is no reason to raise it."""
    congestion = Congestion(10**6)
    congestion.used = used
    assert answer(congestion, 200, waited=0.0) == allowed


def test_it_never_grows_beyond_the_users_bound() -> None:
    """Whatever the answers show."""
    congestion = Congestion(START + 100)
    congestion.used = True
    assert answer(congestion, 200, waited=0.0) == START + 100


def test_it_never_shrinks_to_nothing() -> None:
    """Something must be under way for there to be answers to learn from."""
    assert answer(Congestion(1000), 10_000, waited=100.0) == LEAST


def test_shrinking_does_not_lift_it_above_the_users_bound() -> None:
    """A bound below the least number that is otherwise kept is the user's to set."""
    assert answer(Congestion(4), 1000, waited=100.0) <= 4
