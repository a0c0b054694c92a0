"""How many requests may be under way: down while answers show a queue, up while they do not."""

from __future__ import annotations

import math

import pytest

from runner.core.congestion import LEAST, START, Congestion

WINDOW = 60.0


class Rounds:
    """A gateway's answers, `rate` a second, from a model that needs `own` seconds itself."""

    def __init__(self, congestion: Congestion, rate: float = 100.0, own: float = 1.0) -> None:
        self.congestion = congestion
        self.rate = rate
        self.own = own
        self.now = 0.0

    def answer(self, times: int, waited: float, *, full: bool = True) -> int:
        """So many answers; how many may be under way then."""
        for _ in range(times):
            if full:
                self.congestion.full_until(self.congestion.allowed, self.now)
            self.now += 1 / self.rate
            self.congestion.answered(waited, self.own, self.now)
        return self.congestion.allowed


def test_it_begins_with_no_more_than_is_allowed_at_most() -> None:
    """A user's bound below the start holds from the start."""
    assert (Congestion(50, WINDOW).allowed, Congestion(10**6, WINDOW).allowed) == (50, START)


def test_answers_that_waited_make_it_smaller_by_no_more_than_half_a_round() -> None:
    """A queue is given time to drain before it is judged again."""
    assert Rounds(Congestion(1000, WINDOW)).answer(START, waited=100.0) == START // 2


@pytest.mark.parametrize(("own", "waited"), [(1.0, 0.5), (2.0, 1.0), (4.0, 4.0), (20.0, 20.0)])
def test_waiting_that_is_short_beside_the_models_own_time_is_no_queue(own: float, waited: float) -> None:
    """Half of a quick model's own time, or all of a slow one's, whose answers scatter more; no more than that."""
    assert Rounds(Congestion(1000, WINDOW), own=own).answer(1000, waited=waited, full=False) == START
    assert Rounds(Congestion(1000, WINDOW), own=own).answer(1000, waited=1.5 * waited, full=False) < START


@pytest.mark.fault("B19")
@pytest.mark.parametrize(("full", "allowed"), [(True, 2 * START), (False, START)])
def test_without_a_queue_it_doubles_if_it_was_used(full: bool, allowed: int) -> None:
    """A number that was never reached is no reason to raise it."""
    assert Rounds(Congestion(10**6, WINDOW)).answer(START, waited=0.0, full=full) == allowed


def test_after_the_first_queue_it_grows_little_by_little() -> None:
    """Where the queue begins is known roughly by then."""
    congestion = Congestion(10**6, WINDOW)
    rounds = Rounds(congestion)
    least = rounds.answer(START, waited=100.0)
    assert least < rounds.answer(4 * least, waited=0.0) < 2 * least


def test_it_never_grows_beyond_the_users_bound() -> None:
    """Whatever the answers show."""
    assert Rounds(Congestion(START + 10, WINDOW)).answer(1000, waited=0.0) == START + 10


def test_it_never_shrinks_to_nothing() -> None:
    """Something must be under way for there to be answers to learn from."""
    assert Rounds(Congestion(1000, WINDOW)).answer(10_000, waited=100.0) == LEAST


def test_shrinking_does_not_lift_it_above_the_users_bound() -> None:
    """A bound below the least number that is otherwise kept is the user's to set."""
    assert Rounds(Congestion(4, WINDOW)).answer(1000, waited=100.0) <= 4


def test_a_model_that_has_become_slower_is_not_taken_for_a_queue() -> None:
    """Fewer answers come when fewer requests are under way: that is no queue, and the number is put back."""
    congestion = Congestion(1000, WINDOW)
    rounds = Rounds(congestion)
    for _ in range(10):
        rounds.rate = congestion.allowed / 3.0  # each takes three seconds, whatever is under way
        rounds.answer(congestion.allowed, waited=2.0)
    assert congestion.allowed >= START


def test_a_front_that_takes_in_no_more_is_a_queue() -> None:
    """As many answers come whatever is under way: each waits for those before it."""
    congestion = Congestion(10**6, WINDOW)
    rounds = Rounds(congestion, rate=60.0)
    for _ in range(20):
        rounds.answer(congestion.allowed, waited=max(0.0, congestion.allowed / 60.0 - 1.0))
    assert congestion.allowed <= 150  # half of the model's own second in the queue, and a little


def test_where_nothing_comes_back_it_grows_with_time() -> None:
    """Slow models are not waited for; a user's bound still holds."""
    congestion = Congestion(START + 25, WINDOW)
    now = congestion.full_until(START, 0.0)
    assert 0.0 < now < 1.0
    assert congestion.full_until(START, now) == now
    for _ in range(10):
        now += 1.0
        congestion.full_until(congestion.allowed, now)
    assert congestion.allowed == START + 25
    assert congestion.full_until(START + 25, now) == math.inf
