"""How much later than its sending a request may have been counted, told from the latencies alone."""

from __future__ import annotations

from random import Random

import pytest

from runner.core.lag import NEIGHBOURS, Lag


def speed(lag: Lag, *, first: float = 1.0, per_token: float = 0.02, replies: int = 200, seed: int = 1) -> Lag:
    """Teach a model's speed: a time before the first token, and a time for each."""
    rng = Random(seed)
    for _ in range(replies):
        tokens = rng.randint(1, 500)
        lag.learn(first + per_token * tokens, tokens)
    return lag


def test_the_speed_of_a_model_is_learned_from_its_replies() -> None:
    """Both its fixed time and its time for each token."""
    lag = speed(Lag())
    assert lag.seconds_per_token == pytest.approx(0.02)
    assert lag.floor == pytest.approx(1.0, abs=0.05)


def test_a_long_answer_is_no_delay() -> None:
    """Time that the model needs for so many tokens is its own."""
    assert speed(Lag()).learn(1.0 + 0.02 * 4000, 4000) == pytest.approx(0.0, abs=0.05)


def test_one_slow_answer_is_chance() -> None:
    """A queue delays all that come through it, and not one alone."""
    assert speed(Lag()).learn(30.0, 100) < 0.1


def test_a_delay_of_all_answers_is_a_queue() -> None:
    """When every one of the last answers has waited, the least of their waits is the queue's."""
    lag = speed(Lag(), replies=300)
    waits = [lag.learn(1.0 + 2.0 + n / 10 + 0.02 * 100, 100) for n in range(NEIGHBOURS)]
    assert max(waits[:-1]) < 0.1
    assert waits[-1] == pytest.approx(2.0, abs=0.4)


def test_a_model_that_became_slower_is_not_a_queue_for_ever() -> None:
    """The shortest time ever seen is let go of."""
    lag = speed(Lag())
    for _ in range(1500):
        wait = lag.learn(6.0 + 0.02 * 100, 100)
    assert wait < 0.1


def test_the_first_answers_show_no_delay() -> None:
    """There is nothing yet to compare them with."""
    lag = Lag()
    assert lag.floor == 0.0
    assert [lag.learn(5.0, 10) for _ in range(4)] == [0.0] * 4


def test_a_delay_is_never_negative() -> None:
    """Whatever the latencies are, spending is not dated before its sending."""
    rng, lag = Random(3), Lag()
    assert min(lag.learn(rng.uniform(0, 60), rng.randint(0, 2000)) for _ in range(2000)) >= 0.0
