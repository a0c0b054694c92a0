"""What is believed of a limit: numbers in, numbers out."""

from __future__ import annotations

import math

import pytest

from runner.core.belief import Belief
from runner.core.limits import Limit

LIMIT = Limit(scope="a", measure="input", amount=1000, window=60.0)
LONG = 40.0
"""A Retry-After that speaks of a window rather than of a bucket."""


def refused(
    belief: Belief, held: int, at: float, retry_after: float | None = LONG, sent_at: float | None = None
) -> None:
    belief.refused(held, 10, at - 0.1 if sent_at is None else sent_at, at, retry_after)


def test_the_configured_amount_is_believed_at_first() -> None:
    """And nothing about it is shaken."""
    belief = Belief(LIMIT)
    assert belief.amount(0.0) == 1000
    assert not belief.is_shaken


def test_a_refusal_shows_how_much_there_is() -> None:
    """What was held when the gateway refused is all there is."""
    belief = Belief(LIMIT)
    refused(belief, 500, 5.0)
    assert belief.amount(5.0) == 500
    assert belief.is_shaken


def test_refusals_of_one_episode_cut_to_the_lowest_of_them() -> None:
    """Those that were sent before the cut tell more of the same, and start no episode of their own."""
    belief = Belief(LIMIT)
    refused(belief, 700, 5.0, sent_at=4.0)
    refused(belief, 600, 5.2, sent_at=4.5)
    refused(belief, 650, 5.3, sent_at=4.6)
    assert belief.amount(6.0) == 600


def test_a_refusal_at_the_brim_is_a_matter_of_clocks() -> None:
    """It costs two hundredths, not more."""
    belief = Belief(LIMIT)
    refused(belief, 995, 5.0)
    assert belief.amount(5.0) == pytest.approx(980)


def test_one_episode_cuts_to_a_quarter_at_most() -> None:
    """An empty window that is refused speaks of somebody's passing burst."""
    belief = Belief(LIMIT)
    refused(belief, 0, 5.0)
    assert belief.amount(5.0) == 250


def test_what_was_lost_is_won_back_within_three_windows_after_a_pause() -> None:
    """Slowly at first, and never above the configured amount."""
    belief = Belief(LIMIT)
    refused(belief, 500, 0.0)
    assert belief.amount(60.0) == 500
    assert 500 < belief.amount(90.0) < 560
    assert belief.amount(60.0 + 3 * 60.0) == 1000
    assert belief.amount(10_000.0) == 1000


def test_a_refusal_during_growth_doubles_the_pause() -> None:
    """A limit that stays low is knocked at less and less often."""
    belief = Belief(LIMIT)
    refused(belief, 500, 0.0)
    refused(belief, 520, 100.0)
    level = belief.amount(100.0)
    assert belief.amount(100.0 + 119.0) == level
    assert belief.amount(100.0 + 150.0) > level


def test_a_refusal_that_lifts_at_once_speaks_of_a_small_bucket() -> None:
    """The amount holds; what may be sent at once does not."""
    belief = Belief(LIMIT)
    refused(belief, 100, 1.0, retry_after=1.0)
    assert belief.amount(1.0) == 1000
    assert belief.burst == pytest.approx(90)


def test_behind_a_small_bucket_sending_is_spread_evenly() -> None:
    """A window lets through no more than the limit and the bucket."""
    belief, now, sent = Belief(LIMIT), 1.0, 0
    refused(belief, 100, now, retry_after=1.0)
    while now < 61.0:
        now = max(now, belief.opens(now))
        belief.sent(10, now)
        sent += 10
        now += 1e-6
    assert 900 <= sent <= 1100


def test_the_rate_behind_a_small_bucket_is_measured() -> None:
    """From one empty bucket to the next, what went through is what it refills."""
    belief = Belief(LIMIT)
    refused(belief, 100, 0.0, retry_after=1.0)
    belief.corrected(-10, 0.0)
    for second in range(1, 31):
        belief.sent(10, float(second))
    belief.sent(10, 30.5)
    refused(belief, 300, 31.0, retry_after=1.0, sent_at=30.5)
    assert belief.amount(31.0) == pytest.approx(300 / 31 * 60)


def test_nothing_goes_out_in_one_instant_while_nothing_is_known() -> None:
    """A refusal must have time to come back before all of the limit is sent."""
    belief, sent = Belief(LIMIT), 0
    while belief.opens(0.0) <= 0.0:
        belief.sent(10, 0.0)
        sent += 10
    assert sent <= 100


def test_all_of_the_limit_may_go_out_early() -> None:
    """Haste is bounded to a twentieth of a window for all of it."""
    belief, now = Belief(LIMIT), 0.0
    for _ in range(100):
        now = max(now, belief.opens(now))
        belief.sent(10, now)
    assert now == pytest.approx(3.0, abs=0.2)


def test_many_episodes_never_take_everything() -> None:
    """However long a gateway refuses, some knocking goes on, and no number overflows."""
    belief = Belief(LIMIT)
    for episode in range(1, 3000):
        refused(belief, 0, 1000.0 * episode)
    assert belief.amount(math.nextafter(3_000_000.0, 0)) >= 20
