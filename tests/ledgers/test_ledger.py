"""What every ledger does, whatever keeps it: all of them run this suite. Time is a number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runner.core.errors import BrokenInvariant
from runner.core.limits import ALL, Budget, Limit
from runner.core.ports import Lease, Ledger, Refusal
from runner.core.values import Charge

INPUT = Limit(scope="a", measure="input", amount=100, window=10.0)
OUTPUT = Limit(scope="a", measure="output", amount=50, window=10.0)
INPUT_B = Limit(scope="b", measure="input", amount=100, window=10.0)
COMBINED = Limit(scope=ALL, measure="input", amount=150, window=10.0)
BUDGETS: Mapping[str, Budget] = {"a": (INPUT, OUTPUT, COMBINED), "b": (INPUT_B, COMBINED)}


@pytest.fixture
def ledger(ledgers: Callable[..., Ledger]) -> Ledger:
    return ledgers(BUDGETS)


def taken(ledger: Ledger, model: str, charge: Charge, now: float) -> Lease:
    """A take that must succeed."""
    lease = ledger.take(model, charge, now)
    assert isinstance(lease, Lease), lease
    return lease


def refused(ledger: Ledger, model: str, charge: Charge, now: float) -> Refusal:
    """A take that must not."""
    refusal = ledger.take(model, charge, now)
    assert isinstance(refusal, Refusal), refusal
    return refusal


# One take.


def test_a_limit_can_be_used_to_the_last_token(ledger: Ledger) -> None:
    """A charge that fills a limit exactly is taken."""
    taken(ledger, "a", Charge(1, 60, 0), 0.0)
    taken(ledger, "a", Charge(1, 40, 0), 0.0)
    assert ledger.spent(0.0)[INPUT] == 100


def test_one_token_too_many_is_refused(ledger: Ledger) -> None:
    """There is no tolerance above the amount."""
    taken(ledger, "a", Charge(1, 60, 0), 0.0)
    refused(ledger, "a", Charge(1, 41, 0), 0.0)


@pytest.mark.fault("B10")
def test_a_refused_charge_is_held_against_none_of_the_limits(ledger: Ledger) -> None:
    """All or nothing: when the last limit has no room, the ones before it are as they were."""
    taken(ledger, "b", Charge(1, 100, 0), 0.0)
    before = ledger.spent(1.0)
    refused(ledger, "a", Charge(1, 60, 10), 1.0)
    assert ledger.spent(1.0) == before


def test_a_refusal_names_the_limit_that_has_room_last(ledger: Ledger) -> None:
    """Of two limits without room, the one that is waited for is the one to name."""
    taken(ledger, "a", Charge(1, 100, 0), 0.0)
    taken(ledger, "a", Charge(1, 0, 50), 3.0)
    refusal = refused(ledger, "a", Charge(1, 1, 1), 4.0)
    assert (refusal.limit, refusal.until) == (OUTPUT, 13.0)


def test_models_share_a_combined_limit(ledger: Ledger) -> None:
    """What one model takes of it is missing for the other, though that one's own limit is empty."""
    taken(ledger, "a", Charge(1, 100, 0), 0.0)
    refusal = refused(ledger, "b", Charge(1, 51, 0), 0.0)
    assert refusal.limit == COMBINED
    taken(ledger, "b", Charge(1, 50, 0), 0.0)
    assert ledger.spent(0.0)[COMBINED] == 150


def test_models_do_not_share_limits_of_their_own(ledger: Ledger) -> None:
    """A full model leaves the other's own window empty."""
    taken(ledger, "a", Charge(1, 100, 0), 0.0)
    assert ledger.spent(0.0)[INPUT_B] == 0


def test_a_total_limit_counts_input_and_output(ledgers: Callable[..., Ledger]) -> None:
    """Both directions draw on one amount."""
    total = Limit(scope="a", measure="total", amount=100, window=10.0)
    ledger = ledgers({"a": (total,)})
    taken(ledger, "a", Charge(1, 70, 30), 0.0)
    assert ledger.spent(0.0) == {total: 100}


def test_a_model_without_limits_is_never_refused(ledgers: Callable[..., Ledger]) -> None:
    """An empty budget binds nothing, and is never in use."""
    ledger = ledgers({"a": ()})
    taken(ledger, "a", Charge(1, 10**9, 10**9), 0.0)
    assert ledger.use("a", 0.0) == 0.0


def test_use_is_the_fullest_of_a_models_own_windows(ledger: Ledger) -> None:
    """The combined limit is not the model's own: it says nothing of which model is emptier."""
    taken(ledger, "a", Charge(1, 40, 40), 0.0)
    taken(ledger, "b", Charge(1, 100, 0), 0.0)
    assert (ledger.use("a", 0.0), ledger.use("b", 0.0)) == (0.8, 1.0)


# Time.


@pytest.mark.parametrize("settled_at", [0.0, 4.0, 9.9])
def test_spending_leaves_its_window_one_window_after_the_take(ledger: Ledger, settled_at: float) -> None:
    """It is dated by the take, not by its settlement."""
    lease = taken(ledger, "a", Charge(1, 100, 0), 0.0)
    ledger.settle(lease, lease.charge, settled_at)
    assert ledger.spent(9.99)[INPUT] == 100
    assert ledger.spent(10.0)[INPUT] == 0


def test_what_is_in_flight_counts_beyond_its_window(ledger: Ledger) -> None:
    """A request that takes longer than a window may be counted by the gateway at any time until it answers."""
    taken(ledger, "a", Charge(1, 100, 0), 0.0)
    assert ledger.spent(1000.0)[INPUT] == 100
    refused(ledger, "a", Charge(1, 1, 0), 1000.0)


@pytest.mark.fault("B14")
def test_what_was_in_flight_beyond_its_window_is_gone_when_it_is_settled(ledger: Ledger) -> None:
    """Its date has long left the window, whatever it cost."""
    lease = taken(ledger, "a", Charge(1, 100, 0), 0.0)
    refused(ledger, "a", Charge(1, 1, 0), 25.0)
    ledger.settle(lease, Charge(1, 400, 0), 25.0)
    assert ledger.spent(25.0)[INPUT] == 0


def test_giving_back_makes_room_at_once(ledger: Ledger) -> None:
    """What was reserved and not used can be taken in the same moment."""
    lease = taken(ledger, "a", Charge(1, 10, 50), 0.0)
    refused(ledger, "a", Charge(1, 10, 42), 2.0)
    ledger.settle(lease, Charge(1, 10, 8), 2.0)
    taken(ledger, "a", Charge(1, 10, 42), 2.0)


@pytest.mark.fault("B14")
def test_a_truth_above_the_guess_is_counted_in_full(ledger: Ledger) -> None:
    """A limit may then stand above its amount: nothing goes out until it is below."""
    lease = taken(ledger, "a", Charge(1, 90, 0), 0.0)
    ledger.settle(lease, Charge(1, 130, 0), 1.0)
    assert ledger.spent(1.0)[INPUT] == 130
    assert refused(ledger, "a", Charge(1, 1, 0), 1.0).until == 10.0


def test_a_settlement_can_date_the_spending_later(ledger: Ledger) -> None:
    """Where the gateway may have counted it later than it was taken, it stays that much longer."""
    lease = taken(ledger, "a", Charge(1, 100, 0), 0.0)
    ledger.settle(lease, lease.charge, 5.0, sent_at=3.0)
    assert ledger.spent(12.99)[INPUT] == 100
    assert ledger.spent(13.0)[INPUT] == 0


def test_a_settlement_never_dates_the_spending_earlier(ledger: Ledger) -> None:
    """A date before the take would let it out of its window too soon."""
    lease = taken(ledger, "a", Charge(1, 100, 0), 5.0)
    ledger.settle(lease, lease.charge, 6.0, sent_at=1.0)
    assert ledger.spent(14.99)[INPUT] == 100


def test_a_lag_that_was_read_from_slow_answers_is_believed_up_to_a_thirtieth_of_a_window(ledger: Ledger) -> None:
    """Models that take half a minute scatter by seconds: that is no queue before the gateway."""
    first = taken(ledger, "a", Charge(1, 60, 0), 0.0)
    second = taken(ledger, "a", Charge(1, 40, 0), 0.0)
    ledger.settle(first, first.charge, 5.0, lag=0.2)
    ledger.settle(second, second.charge, 5.0, lag=4.0)
    assert refused(ledger, "a", Charge(1, 60, 0), 5.0).until == 10.2
    assert refused(ledger, "a", Charge(1, 100, 0), 5.0).until == pytest.approx(10 + 10 / 30)


def test_a_guard_keeps_spending_beyond_its_window(ledgers: Callable[..., Ledger]) -> None:
    """It allows for the time that a request needs to reach the gateway's clock."""
    ledger = ledgers(BUDGETS, guard=lambda window: 0.1 * window)
    lease = taken(ledger, "a", Charge(1, 100, 0), 0.0)
    ledger.settle(lease, lease.charge, 1.0)
    assert refused(ledger, "a", Charge(1, 1, 0), 10.0).until == 11.0
    assert ledger.spent(11.0)[INPUT] == 0


@pytest.mark.fault("B14")
def test_a_lease_is_settled_once(ledger: Ledger) -> None:
    """A second settlement would give back what is not held: it is a bug of the caller, and is said to be."""
    lease = taken(ledger, "a", Charge(1, 60, 0), 0.0)
    ledger.settle(lease, Charge(1, 20, 0), 1.0)
    with pytest.raises(BrokenInvariant):
        ledger.settle(lease, Charge(1, 20, 0), 1.0)
    assert ledger.spent(1.0)[INPUT] == 20


@pytest.mark.fault("B12")
def test_spending_of_an_earlier_session_counts_from_its_own_date(ledger: Ledger) -> None:
    """A resumed run begins with what is still in its windows, whether it fits or not."""
    for at in (0.0, 2.0):
        ledger.restore("a", Charge(1, 90, 0), at)
    assert ledger.spent(5.0)[INPUT] == ledger.spent(5.0)[COMBINED] == 180
    assert refused(ledger, "a", Charge(1, 20, 0), 5.0).until == 12.0
    assert ledger.spent(10.0)[INPUT] == 90
    assert ledger.spent(12.0)[INPUT] == 0


# When a refusal says to come back.


def test_a_refusal_waits_for_no_more_than_it_needs(ledger: Ledger) -> None:
    """Small takes leave one by one: a small charge waits for the first, a large one for as many as it needs."""
    for at in range(5):
        ledger.settle(taken(ledger, "a", Charge(1, 20, 0), float(at)), Charge(1, 20, 0), float(at))
    assert refused(ledger, "a", Charge(1, 20, 0), 5.0).until == 10.0
    assert refused(ledger, "a", Charge(1, 21, 0), 5.0).until == 11.0
    assert refused(ledger, "a", Charge(1, 100, 0), 5.0).until == 14.0


def dated_later(ledger: Ledger) -> None:
    """60 taken at 0 and dated to 5, then 40 taken at 1 and dated there."""
    first = taken(ledger, "a", Charge(1, 60, 0), 0.0)
    second = taken(ledger, "a", Charge(1, 40, 0), 1.0)
    ledger.settle(first, first.charge, 5.0, sent_at=5.0)
    ledger.settle(second, second.charge, 5.0, sent_at=1.0)


def test_a_refusal_takes_later_dates_into_account(ledgers: Callable[..., Ledger]) -> None:
    """What was dated later holds its room for longer than what was taken after it: both must be gone."""
    ledger = ledgers({"a": (INPUT,)})
    dated_later(ledger)
    until = refused(ledger, "a", Charge(1, 100, 0), 6.0).until
    assert until == 15.0
    taken(ledger, "a", Charge(1, 100, 0), until)


@pytest.mark.parametrize("now", [6.0, 11.0, 12.0, 14.0])
def test_a_refusal_never_says_to_come_back_at_once(ledgers: Callable[..., Ledger], now: float) -> None:
    """Coming back at the very moment of the refusal would be a loop without an end."""
    ledger = ledgers({"a": (INPUT,)})
    dated_later(ledger)
    assert refused(ledger, "a", Charge(1, 100, 0), now).until > now


# Any sequence of takes and settlements.

MANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
"""The fixture makes a new ledger for each example."""


@dataclass
class Held:
    """What a test knows of a lease, in its own words."""

    lease: Lease
    at: float
    guess: Charge
    truth: Charge | None = None

    def counts(self, limit: Limit, now: float) -> int:
        """What the lease holds of a limit at a moment."""
        if limit not in BUDGETS[self.lease.model]:
            return 0
        if self.truth is None:
            return limit.of(self.guess)
        return limit.of(self.truth) if now < self.at + limit.window else 0


STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.25, 1.0, 2.5, 7.0]),  # seconds since the step before
        st.sampled_from("ab"),
        st.integers(0, 60),  # input
        st.integers(0, 30),  # output
        st.integers(0, 100),  # percent of the guess that is really used
        st.integers(0, 4),  # how many leases are settled, the oldest first
    ),
    max_size=40,
)


def part(charge: Charge, percent: int) -> Charge:
    return Charge(charge.requests, charge.input * percent // 100, charge.output * percent // 100)


def settle(ledger: Ledger, held: Held, truth: Charge, now: float) -> None:
    ledger.settle(held.lease, truth, now)
    held.truth = truth


@pytest.mark.fault("B10")
@MANY
@given(steps=STEPS)
def test_no_window_ever_holds_more_than_its_limit(ledgers: Callable[..., Ledger], steps: list[tuple]) -> None:
    """While truths stay within guesses, a window and what is in flight never exceed a limit, and are what is spent."""
    ledger, now, known = ledgers(BUDGETS), 0.0, []
    for gap, model, read, written, percent, settled in steps:
        now += gap
        for held in [held for held in known if held.truth is None][:settled]:
            settle(ledger, held, part(held.guess, percent), now)
        guess = Charge(1, read, written)
        before = {limit: sum(held.counts(limit, now) for held in known) for limit in ledger.spent(now)}
        fits = all(before[limit] + limit.of(guess) <= limit.amount for limit in BUDGETS[model])
        lease = ledger.take(model, guess, now)
        assert isinstance(lease, Lease) == fits
        if isinstance(lease, Lease):
            known.append(Held(lease, now, guess))
        after = {limit: sum(held.counts(limit, now) for held in known) for limit in before}
        assert ledger.spent(now) == after
        assert all(amount <= limit.amount for limit, amount in after.items())


@MANY
@given(steps=STEPS)
def test_when_all_is_settled_and_expired_nothing_is_left(ledgers: Callable[..., Ledger], steps: list[tuple]) -> None:
    """What was held is settled or expired, to the last token: nothing leaks in either direction."""
    ledger, now, held = ledgers(BUDGETS), 0.0, []
    for gap, model, read, written, percent, settled in steps:
        now += gap
        lease = ledger.take(model, Charge(1, read, written), now)
        if isinstance(lease, Lease):
            held.append(lease)
        for lease in held[:settled]:
            ledger.settle(lease, part(lease.charge, 2 * percent), now, sent_at=now - gap / 2)
        held = held[settled:]
    for lease in held:
        ledger.settle(lease, lease.charge, now)
    assert set(ledger.spent(now + 10.0).values()) == {0}


ONE_BIT_LATER = [(0.0, "a", 24, 0, 89, 0), (0.25, "a", 25, 0, 89, 0), (0.0, "a", 52, 0, 0, 0), (0.25, "a", 24, 0, 0, 0)]
"""The last of these has to wait for the least time that a float can tell."""


@MANY
@given(steps=STEPS, late=st.booleans())
@example(steps=ONE_BIT_LATER, late=True)
def test_a_refused_charge_fits_when_the_refusal_says_and_not_before(
    ledgers: Callable[..., Ledger], steps: list[tuple], late: bool
) -> None:
    """With nothing in flight and nothing taken in between, `until` is exact to the instant, also for later dates."""
    ledger, now = ledgers(BUDGETS), 0.0
    for gap, model, read, written, percent, _ in steps:
        now += gap
        charge = Charge(1, read, written)
        lease = ledger.take(model, charge, now)
        if isinstance(lease, Refusal):
            assert lease.until > now
            just_before = min(lease.until - (lease.until - now) / 1000, math.nextafter(lease.until, now))
            assert isinstance(ledger.take(model, charge, just_before), Refusal)
            now = lease.until
            lease = taken(ledger, model, charge, now)
        sent_at = now + 2.0 * percent / 100 if late else now
        ledger.settle(lease, charge, now, sent_at)


@MANY
@given(steps=STEPS, delays=st.lists(st.sampled_from([0.0, 0.25, 0.5]), min_size=40, max_size=40))
def test_a_guard_covers_whatever_the_way_to_the_gateway_takes(
    ledgers: Callable[..., Ledger], steps: list[tuple], delays: list[float]
) -> None:
    """Counted at any moment up to the guard after the take, no window of the gateway's holds more than its limit."""
    ledger, now, counted = ledgers(BUDGETS, guard=lambda window: 0.05 * window), 0.0, []
    for (gap, _, read, written, _, _), delay in zip(steps, delays, strict=False):
        now += gap
        lease = ledger.take("a", Charge(1, read, written), now)
        if isinstance(lease, Lease):
            ledger.settle(lease, lease.charge, now)
            counted.append((now + delay, lease.charge))
    for at, _ in counted:
        window = [charge for then, charge in counted if at - INPUT.window < then <= at]
        assert sum(charge.input for charge in window) <= INPUT.amount
        assert sum(charge.output for charge in window) <= OUTPUT.amount
