"""How long models take to answer, learned from replies whose truth is known."""

from __future__ import annotations

import math
from random import Random

import pytest

from runner.core.knowledge import Knowledge
from runner.core.latency import ENOUGH, FIRST, PER_TOKEN, Latencies, Latency, Speed
from runner.core.values import Usage


def taught(count: int, first: float, per_token: float, lengths: float, sigma: float = 0.0, seed: int = 1) -> Latency:
    """A model's latency after so many replies of about that length."""
    rng, latency = Random(seed), Latency()
    for _ in range(count):
        tokens = max(1, round(rng.lognormvariate(math.log(lengths), 0.4)))
        latency.learn(tokens, (first + per_token * tokens) * rng.lognormvariate(-sigma * sigma / 2, sigma))
    return latency


@pytest.mark.parametrize(("first", "per_token"), [(0.6, 1 / 80), (3.0, 1 / 30), (0.2, 0.002), (20.0, 0.0)])
def test_both_parts_are_learned_from_answers_of_many_lengths(first: float, per_token: float) -> None:
    """Within a tenth over the lengths that were seen, after two hundred replies that scatter by a quarter."""
    speed = taught(200, first, per_token, 230, sigma=0.25).speed
    for tokens in (100, 230, 500):
        assert speed.expected(tokens) == pytest.approx(first + per_token * tokens, rel=0.1)
    assert speed.spread == pytest.approx(0.25, rel=0.25)


def test_answers_of_one_length_tell_their_sum() -> None:
    """What cannot be told apart is taken as it is assumed, and comes to the same."""
    latency = Latency()
    for _ in range(100):
        latency.learn(3, 0.7)
    speed = latency.speed
    assert speed.expected(3) == pytest.approx(0.7)
    assert speed.per_token == pytest.approx(PER_TOKEN)


def test_one_reply_that_hung_says_little() -> None:
    """Ten minutes among answers of a second."""
    latency = taught(100, 1.0, 0.0, 50)
    latency.learn(50, 600.0)
    assert latency.speed.expected(50) == pytest.approx(1.0, rel=0.1)


def test_a_model_that_becomes_slower_is_followed() -> None:
    """Within some hundreds of replies, and not at once."""
    latency = taught(1000, 1.0, 0.01, 100)
    for _ in range(20):
        latency.learn(100, 6.0)
    assert latency.speed.expected(100) < 3.0
    for _ in range(1500):
        latency.learn(100, 6.0)
    assert latency.speed.expected(100) == pytest.approx(6.0, rel=0.1)


def test_with_nothing_known_it_is_as_assumed() -> None:
    """A second, and eighty tokens a second."""
    assert Latency().speed.expected(160) == pytest.approx(FIRST + 160 * PER_TOKEN)


def test_a_few_replies_tell_no_spread() -> None:
    """Two that differ may be chance."""
    assert taught(ENOUGH - 1, 1.0, 0.01, 100, sigma=0.5).speed.spread == 0.0


def test_on_average_an_answer_takes_what_is_expected() -> None:
    """Over all ranks; the slow ones are far slower than the fast ones are fast."""
    speed = Speed(first=2.0, per_token=0.0, spread=0.5)
    seconds = [speed.seconds(0, (rank + 0.5) / 1000) for rank in range(1000)]
    assert sum(seconds) / 1000 == pytest.approx(2.0, rel=0.02)
    assert seconds == sorted(seconds)
    assert seconds[-10] / 2.0 > 2.0 / seconds[500] > 1.0


def test_what_was_recalled_wears_off() -> None:
    """It counts as fifty replies, however many there were."""
    known = Speed(first=9.0, per_token=0.01, tokens=100.0, tokens_spread=40.0, replies=10_000)
    latency = Latency(known)
    assert latency.speed.expected(100) == pytest.approx(10.0, rel=0.05)
    for _ in range(50):
        latency.learn(100, 2.0)
    assert latency.speed.expected(100) == pytest.approx(6.0, rel=0.15)
    assert latency.speed.replies == 10_050


def test_what_is_remembered_is_what_was_learned() -> None:
    """Through a file's values and back; of models that have not answered nothing is."""
    latencies = Latencies(["a", "b", "c"])
    latencies.recall({"b": Speed(first=3.0, replies=7)})
    for tokens in range(10, 60):
        latencies.learn("a", Usage(input=1, output=tokens), 1.0 + tokens / 50)
    latencies.learn("c", Usage(reported=False), 5.0)
    assert (set(latencies.remember()), set(latencies.speeds())) == ({"a"}, {"a", "b"})
    known = Knowledge.from_json(Knowledge(speeds=latencies.remember()).to_json())
    again = Latencies(["a"])
    again.recall(known.speeds)
    assert again.speeds()["a"].expected(40) == pytest.approx(latencies.speeds()["a"].expected(40), rel=0.02)
