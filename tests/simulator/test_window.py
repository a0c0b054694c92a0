"""The judge's windows and their meter, in plain numbers: each kind admits what its rule allows, and no more."""

from __future__ import annotations

import heapq
import random

import pytest

from runner.simulator.judge import Limit, Refused, Wanted, admit, charge, settle
from runner.simulator.meter import PEAKS, Log
from runner.simulator.window import Entry, Kind, Shape

KINDS: tuple[Kind, ...] = ("fixed", "sliding", "counter", "bucket")


def fill(kind: Kind, amounts: list[tuple[float, float]], limit: float = 100, **shape: float):
    window = Shape(kind=kind, seconds=60, **shape).window(limit)
    for at, amount in amounts:
        assert window.wait(at, amount) == 0
        window.add(at, amount)
    return window


def test_fixed_forgets_everything_at_the_border() -> None:
    """At the border of a calendar window the whole limit is there again, however recent the last request was."""
    window = fill("fixed", [(59, 100)])
    assert window.wait(59.5, 1) == pytest.approx(0.5)
    assert window.wait(60, 100) == 0


def test_fixed_borders_lie_at_the_phase() -> None:
    """With a phase of 10 the borders are at 10, 70, 130."""
    window = fill("fixed", [(9, 100)], phase=10)
    assert window.wait(9.5, 1) == pytest.approx(0.5)
    window = fill("fixed", [(10, 100)], phase=10)
    assert window.wait(69, 1) == pytest.approx(1)


def test_sliding_lets_in_what_has_run_out() -> None:
    """An entry counts for exactly one window; the wait is for as many of the oldest as are needed."""
    window = fill("sliding", [(0, 40), (10, 40), (20, 20)])
    assert window.wait(30, 40) == pytest.approx(30)
    assert window.wait(30, 41) == pytest.approx(40)
    assert window.wait(60, 40) == 0
    assert window.used(60) == 60


def test_counter_weighs_the_previous_window() -> None:
    """A quarter into the window, three quarters of the previous one still count."""
    window = fill("counter", [(30, 80)])
    assert window.used(75) == pytest.approx(60)
    assert window.wait(75, 40) == 0
    assert window.wait(75, 60) == pytest.approx(15)
    assert fill("counter", [(30, 80)]).wait(30, 30) == pytest.approx(30 + 60 * (1 - 70 / 80))


def test_counter_forgets_after_two_windows() -> None:
    """A window without any request in between leaves nothing to weigh."""
    assert fill("counter", [(30, 80)]).used(121) == 0


def test_bucket_starts_full_and_refills_evenly() -> None:
    """A full bucket of one limit can be drawn at once; afterwards it gives limit / window."""
    window = fill("bucket", [(0, 100)])
    assert window.wait(0, 50) == pytest.approx(30)
    assert window.wait(30, 50) == 0
    assert window.used(1e6) == 0


def test_bucket_holds_its_burst_and_no_more() -> None:
    """With a burst of a quarter, what is larger than a quarter of the limit never fits."""
    window = fill("bucket", [(0, 25)], burst=0.25)
    assert window.wait(600, 25) == 0
    assert window.wait(600, 26) is None


@pytest.mark.parametrize("kind", KINDS)
def test_more_than_the_limit_never_fits(kind: Kind) -> None:
    """An amount above the whole limit is refused at once, in an empty window too."""
    assert fill(kind, []).wait(0, 101) is None


@pytest.mark.parametrize("kind", KINDS)
def test_credit_makes_room_at_once(kind: Kind) -> None:
    """What is given back can be taken by the next request in the same moment."""
    window = Shape(kind=kind, seconds=60).window(100)
    entry = window.add(5, 100)
    assert window.wait(6, 50) != 0
    window.credit(6, entry, 60)
    assert window.wait(6, 50) == 0
    assert window.used(6) == pytest.approx(40 if kind != "bucket" else 40 - 100 / 60, abs=1.7)


@pytest.mark.parametrize("kind", ["fixed", "sliding"])
def test_late_credit_gives_nothing(kind: Kind) -> None:
    """What ran out before it was given back cannot be given back a second time."""
    window = Shape(kind=kind, seconds=60).window(100)
    entry = window.add(5, 100)
    window.add(70, 80)
    window.credit(71, entry, 60)
    assert window.used(71) == 80


def test_counter_credits_the_window_it_took_from() -> None:
    """Given back in the next window, it lowers what that one weighs of the previous."""
    window = Shape(kind="counter", seconds=60).window(100)
    entry = window.add(30, 80)
    window.credit(90, entry, 40)
    assert window.used(90) == pytest.approx(20)


@pytest.mark.parametrize("kind", KINDS)
def test_a_lower_limit_holds_at_once(kind: Kind) -> None:
    """After a change the new limit decides; what is in force stays in force."""
    window = Shape(kind=kind, seconds=60).window(100)
    window.add(5, 40)
    window.resize(6, 50)
    assert window.wait(6, 51) is None
    assert window.wait(6, 50) not in (0, None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(8))
def test_random_traffic_stays_within_the_limit_and_waits_are_exact(kind: Kind, seed: int) -> None:
    """Under any traffic the meter's own count stays within the rule, and a wait is neither too short nor too long."""
    rng = random.Random(seed)
    shape = Shape(kind=kind, seconds=60, phase=rng.uniform(-60, 60), burst=rng.choice([0.5, 1.0]))
    window, log, now = shape.window(1_000), Log(), 0.0
    unused: list[tuple[float, Entry, float]] = []
    for _ in range(400):
        now += rng.expovariate(0.5)
        while unused and unused[0][0] <= now:
            _, entry, back = heapq.heappop(unused)
            window.credit(now, entry, back)
            log.give_back(now, entry.at, back)
        amount = float(rng.randint(1, 400))
        wait = window.wait(now, amount)
        assert wait is not None
        if wait:
            assert window.wait(now + wait * 0.999, amount) != 0
            now += wait + 1e-6
            assert window.wait(now, amount) == 0
        entry = window.add(now, amount)
        log.take(now, amount)
        if rng.random() < 0.5:
            heapq.heappush(unused, (now + rng.uniform(0, 20), entry, float(rng.randint(0, int(amount)))))
    most = {"bucket": 1_000 * (1 + shape.burst)}.get(kind, 1_000)
    assert 0 < PEAKS[kind](log, shape) <= most + 1e-6


def test_peak_shows_what_a_window_let_through() -> None:
    """The meter counts from its log alone: 100 before a border and 100 after it are 200 in a sliding minute."""
    log = Log()
    log.take(59, 100)
    log.take(61, 100)
    assert PEAKS["fixed"](log, Shape(kind="fixed", seconds=60)) == 100
    assert PEAKS["sliding"](log, Shape(seconds=60)) == 200
    assert PEAKS["counter"](log, Shape(kind="counter", seconds=60)) == pytest.approx(100 + 100 * 59 / 60)


def test_peak_counts_a_reservation_until_it_is_given_back() -> None:
    """A reservation is in force while the request is, and only the rest afterwards."""
    log = Log()
    log.take(0, 90)
    log.give_back(5, 0, 80)
    log.take(6, 70)
    assert PEAKS["sliding"](log, Shape(seconds=60)) == 90
    assert log.tokens == 80


def limits(**amounts: int) -> list[Limit]:
    return [Limit(measure=name, model="m", amount=amount, shape=Shape()) for name, amount in amounts.items()]


def test_a_request_takes_all_limits_or_none() -> None:
    """Where the output does not fit, no input is taken either; the refusal names the limit that was hit."""
    tokens, output = limits(input=100, output=100)
    assert not isinstance(admit(0, [Wanted(tokens, 10), Wanted(output, 0, 80)]), Refused)
    refused = admit(1, [Wanted(tokens, 10), Wanted(output, 0, 30)])
    assert isinstance(refused, Refused)
    assert refused.limit is output
    assert refused.wait == pytest.approx(59)
    assert tokens.window.used(1) == 10
    assert (tokens.log.refused, output.log.refused) == (0, 1)


def test_a_refusal_names_the_longest_wait() -> None:
    """Of several limits that are hit, the one that never has room comes first, then the one that takes longest."""
    tokens, output = limits(input=100, output=100)
    admit(0, [Wanted(tokens, 90)])
    admit(20, [Wanted(output, 0, 90)])
    longest = admit(30, [Wanted(tokens, 50), Wanted(output, 0, 50)])
    never = admit(30, [Wanted(tokens, 101), Wanted(output, 0, 50)])
    assert isinstance(longest, Refused)
    assert isinstance(never, Refused)
    assert (longest.limit, longest.wait) == (output, pytest.approx(50))
    assert (never.limit, never.wait) == (tokens, None)


def test_settling_gives_back_what_was_not_used_once() -> None:
    """The difference between the reservation and the answer comes back when the answer is complete, and only then."""
    (output,) = limits(output=100)
    taken = admit(0, [Wanted(output, 0, 100)])
    assert isinstance(taken, list)
    settle(5, taken, 30)
    settle(6, taken, 0)
    assert output.window.used(6) == 30
    assert output.log.report(output.shape, 100)["peak"] == 100


def test_an_answer_longer_than_its_reservation_takes_more() -> None:
    """Without a cap the reservation is a guess; what was written above it counts all the same."""
    (output,) = limits(output=100)
    taken = admit(0, [Wanted(output, 0, 10)])
    assert isinstance(taken, list)
    settle(5, taken, 60)
    assert output.window.used(6) == 60


def test_charging_refused_requests_uses_the_limit_up() -> None:
    """A gateway that counts what it refuses stays closed to whoever keeps knocking."""
    (tokens,) = limits(input=100)
    admit(0, [Wanted(tokens, 90)])
    charge(1, [Wanted(tokens, 50)])
    assert tokens.window.used(1) == 140


def test_a_neighbour_leaves_less() -> None:
    """What a neighbour spends is not there for us, of a changed limit neither."""
    limit = Limit(measure="input", model="m", amount=100, shape=Shape())
    limit.change(0, 1.0, 30)
    assert isinstance(admit(0, [Wanted(limit, 71)]), Refused)
    assert isinstance(admit(0, [Wanted(limit, 70)]), list)
    limit.change(70, 0.5, 30)
    assert isinstance(admit(70, [Wanted(limit, 21)]), Refused)
    assert limit.changes == [(0, 70, 30), (70, 20, 30)]


def test_a_neighbour_draws_of_what_is_poured_into_a_bucket() -> None:
    """It holds as much as before, and what was in it stays."""
    limit = Limit(measure="input", model="m", amount=60, shape=Shape(kind="bucket", seconds=60))
    limit.window.add(0, 60)
    limit.change(30, 1.0, 30)
    assert limit.window.wait(30, 30) == 0
    assert limit.window.wait(30, 40) == 20
    limit.change(40, 1.0, 0)
    assert limit.window.wait(40, 45) == 10
    assert limit.window.wait(1000, 60) == 0


def test_a_neighbour_who_leaves_as_much_as_a_lower_limit_leaves_a_larger_bucket() -> None:
    """It refills as fast with half the limit and nobody beside, and holds half as much."""
    limit = Limit(measure="input", model="m", amount=60, shape=Shape(kind="bucket", seconds=60))
    limit.change(0, 1.0, 30)
    assert limit.window.wait(0, 60) == 0
    limit.change(10, 0.5, 0)
    assert limit.window.wait(10, 31) is None


def test_the_series_says_when_it_was_taken() -> None:
    """What is given back is taken off the moment that it was taken at."""
    log = Log()
    log.take(0.2, 10)
    log.take(1.1, 20)
    log.give_back(1.5, 0.2, 4)
    assert log.series(0.5) == [6, 0, 20]
