"""Gates: when a scope that refused, or is down, may be asked again."""

from __future__ import annotations

import itertools
from random import Random

import pytest

from runner.core.gates import FIRST_PAUSE, JITTER, LONGEST_OUTAGE, OUTAGE_AFTER, Gates
from runner.core.limits import ALL
from runner.core.retry import OUTAGES
from runner.core.values import Kind
from runner.testing import failure, refusal

WINDOW = 60.0


@pytest.fixture
def gates() -> Gates:
    return Gates(WINDOW, Random(1))


def refuse(
    gates: Gates, *, sent_at: float, now: float, retry_after: float | None = None, model: str = "a"
) -> str | None:
    """A request that went out at `sent_at` comes back with a 429."""
    return gates.failed(model, object(), refusal(retry_after=retry_after), sent_at, now)


def pause(gates: Gates, now: float) -> float:
    return gates.wait("a", now) - now


def test_a_model_may_be_asked_before_anything_is_known_of_it(gates: Gates) -> None:
    """Gates begin open."""
    assert gates.wait("a", 5.0) == 5.0


@pytest.mark.fault("H1")
def test_a_refusal_closes_for_as_long_as_it_says_and_a_little(gates: Gates) -> None:
    """Never shorter than Retry-After; longer by no more than the jitter."""
    assert refuse(gates, sent_at=1.0, now=2.0, retry_after=30.0) == "a"
    assert 30.0 <= pause(gates, 2.0) <= 30.0 * (1 + JITTER)


@pytest.mark.fault("H2")
def test_a_refusal_without_a_time_closes_for_a_growing_share_of_the_window(gates: Gates) -> None:
    """The pause doubles with each episode, up to a whole window."""
    now, pauses = 0.0, []
    for _ in range(8):
        refuse(gates, sent_at=now + 0.5, now=now + 1.0)
        pauses.append(pause(gates, now + 1.0))
        now = gates.wait("a", now + 1.0)
    wanted = [min(WINDOW, WINDOW * FIRST_PAUSE * 2**n) for n in range(8)]
    assert all(w <= p <= w * (1 + JITTER) for p, w in zip(pauses, wanted, strict=True))


@pytest.mark.fault("H8")
def test_short_times_that_do_not_help_are_lengthened(gates: Gates) -> None:
    """A gateway that says "one second" and refuses again is believed three times; then the pauses grow as if unsaid."""
    now, pauses = 0.0, []
    for _ in range(9):
        refuse(gates, sent_at=now + 0.5, now=now + 1.0, retry_after=1.0)
        pauses.append(pause(gates, now + 1.0))
        now = gates.wait("a", now + 1.0)
    wanted = [1.0] * 3 + [min(WINDOW, WINDOW * FIRST_PAUSE * 2**n) for n in range(6)]
    assert all(w <= p <= w * (1 + JITTER) for p, w in zip(pauses, wanted, strict=True))


def test_refusals_of_one_episode_do_not_lengthen_the_next_pause(gates: Gates) -> None:
    """Ten requests that were under way when the first was refused are one refusal."""
    for n in range(10):
        closed = refuse(gates, sent_at=0.0, now=1.0 + n / 10)
        assert closed == ("a" if n == 0 else None)
    assert gates["a"].refusals == 1
    assert pause(gates, 1.0) <= WINDOW * FIRST_PAUSE * (1 + JITTER)


def test_a_later_time_in_the_same_episode_moves_the_opening(gates: Gates) -> None:
    """The latest Retry-After that was heard holds."""
    refuse(gates, sent_at=0.0, now=1.0, retry_after=5.0)
    refuse(gates, sent_at=0.0, now=2.0, retry_after=20.0)
    assert gates.wait("a", 2.0) >= 22.0


def test_an_earlier_time_in_the_same_episode_does_not(gates: Gates) -> None:
    """A gate never opens sooner because of another refusal."""
    refuse(gates, sent_at=0.0, now=1.0, retry_after=20.0)
    refuse(gates, sent_at=0.0, now=2.0, retry_after=1.0)
    assert gates.wait("a", 2.0) >= 21.0


def test_where_a_ledger_keeps_the_limit_no_herd_waits_and_all_may_go(gates: Gates) -> None:
    """Only if it is refused again, without an answer between, one goes first."""
    gates.failed("a", object(), refusal("model", retry_after=5.0), 0.0, 1.0, paced=True)
    gates.sent("a", object(), 10.0)
    assert gates.wait("a", 10.0) == 10.0
    gates.failed("a", object(), refusal("model", retry_after=5.0), 7.0, 11.0, paced=True)
    gates.sent("a", object(), 20.0)
    assert gates.wait("a", 20.0) > 20.0


def test_one_probe_goes_when_the_time_is_up(gates: Gates) -> None:
    """Its answer lets all go."""
    refuse(gates, sent_at=0.0, now=1.0, retry_after=5.0)
    probe = object()
    gates.sent("a", probe, 10.0)
    assert gates.wait("a", 10.0) > 10.0
    gates.answered("a", probe)
    assert gates.wait("a", 10.0) == 10.0


def test_an_answer_to_a_request_from_before_the_refusal_opens_nothing(gates: Gates) -> None:
    """It was let in before the limit was hit, and says nothing of now."""
    refuse(gates, sent_at=0.0, now=1.0, retry_after=5.0)
    gates.answered("a", object())
    assert gates["a"].narrow


def test_an_answer_ends_the_series_of_refusals(gates: Gates) -> None:
    """The next pause begins small again."""
    for now in (0.0, 100.0, 200.0):
        refuse(gates, sent_at=now, now=now + 1.0)
    probe = object()
    gates.sent("a", probe, 280.0)
    gates.answered("a", probe)
    refuse(gates, sent_at=300.0, now=301.0)
    assert pause(gates, 301.0) <= WINDOW * FIRST_PAUSE * (1 + JITTER)


@pytest.mark.fault("H11")
@pytest.mark.parametrize("answered", [0, 1, 2])
def test_a_probe_that_hangs_makes_way_for_another_in_a_while(gates: Gates, answered: int) -> None:
    """It may be the one row that is never answered; whichever of them is answered first opens."""
    refuse(gates, sent_at=0.0, now=1.0, retry_after=5.0)
    probes = [object() for _ in range(3)]
    for number, probe in enumerate(probes):
        now = 10.0 + number * WINDOW * LONGEST_OUTAGE
        assert gates.wait("a", now) == now
        gates.sent("a", probe, now)
        assert gates.wait("a", now) == now + WINDOW * LONGEST_OUTAGE
    gates.answered("a", probes[answered])
    assert gates.wait("a", 20.5) == 20.5


def test_what_was_under_way_when_it_closed_again_opens_nothing(gates: Gates) -> None:
    """Of several that were sent alone one was refused: the others are from before that."""
    refuse(gates, sent_at=0.0, now=1.0, retry_after=5.0)
    hanging, refused = object(), object()
    gates.sent("a", hanging, 10.0)
    gates.sent("a", refused, 20.0)
    gates.failed("a", refused, refusal(retry_after=5.0), 20.0, 21.0)
    gates.answered("a", hanging)
    assert gates["a"].narrow


def test_a_lost_probe_makes_way_for_another(gates: Gates) -> None:
    """A probe that timed out must not keep its model closed for ever."""
    refuse(gates, sent_at=0.0, now=1.0, retry_after=5.0)
    probe = object()
    gates.sent("a", probe, 7.0)
    gates.failed("a", probe, failure(Kind.TIMEOUT), 7.0, 30.0)
    assert gates.wait("a", 200.0) == 200.0


def test_a_probe_that_meets_an_outage_closes_again(gates: Gates) -> None:
    """One failure is enough where an answer was waited for."""
    refuse(gates, sent_at=0.0, now=1.0, retry_after=5.0)
    probe = object()
    gates.sent("a", probe, 7.0)
    assert gates.failed("a", probe, failure(Kind.SERVER_ERROR), 7.0, 8.0) == "a"
    assert gates.wait("a", 8.0) > 8.0


def test_a_probe_whose_row_is_at_fault_opens(gates: Gates) -> None:
    """A 400 is an answer."""
    refuse(gates, sent_at=0.0, now=1.0, retry_after=5.0)
    probe = object()
    gates.sent("a", probe, 7.0)
    gates.failed("a", probe, failure(Kind.INVALID_REQUEST), 7.0, 8.0)
    assert not gates["a"].narrow


def test_a_closed_model_leaves_the_others_open(gates: Gates) -> None:
    """The scope is the model that was named."""
    refuse(gates, sent_at=0.0, now=1.0, retry_after=5.0)
    assert gates.wait("b", 1.0) == 1.0
    assert set(gates.closed(1.0)) == {"a"}


def test_a_refusal_of_all_closes_every_model(gates: Gates) -> None:
    """Also those that were never asked."""
    assert gates.failed("a", object(), refusal("all", retry_after=5.0), 0.0, 1.0) == ALL
    assert gates.wait("b", 1.0) >= 6.0


def test_single_outages_close_nothing(gates: Gates) -> None:
    """A 500 now and then is the row's own bad luck."""
    for n in range(OUTAGE_AFTER - 1):
        assert gates.failed("a", object(), failure(Kind.SERVER_ERROR), float(n), n + 0.5) is None
    assert gates.wait("a", 100.0) == 100.0


def test_an_answer_between_outages_starts_the_count_again(gates: Gates) -> None:
    """Only failures in a row mean that the model is down."""
    for n in range(3 * OUTAGE_AFTER):
        gates.failed("a", object(), failure(Kind.SERVER_ERROR), float(n), n + 0.5)
        if n % 3 == 0:
            gates.answered("a", object())
    assert gates.closed(1000.0) == {}
    assert not gates["a"].narrow


@pytest.mark.fault("H11")
@pytest.mark.parametrize("kind", sorted(OUTAGES - {Kind.UNREACHABLE}))
def test_many_outages_in_a_row_close_the_model(gates: Gates, kind: Kind) -> None:
    """For a second at first."""
    closed = [gates.failed("a", object(), failure(kind), float(n), n + 0.5) for n in range(OUTAGE_AFTER)]
    assert closed == [None] * (OUTAGE_AFTER - 1) + ["a"]
    assert 1.0 <= pause(gates, OUTAGE_AFTER - 0.5) <= 1.0 + JITTER


def test_pauses_of_an_outage_grow_to_a_bound(gates: Gates) -> None:
    """A gateway that is down for long is asked about once a minute."""
    now = 0.0
    for _ in range(40):
        gates.failed("a", object(), failure(Kind.SERVER_ERROR), now + 0.1, now + 0.2)
        now = gates.wait("a", now + 0.2)
    gates.failed("a", object(), failure(Kind.SERVER_ERROR), now + 0.1, now + 0.2)
    longest = LONGEST_OUTAGE * WINDOW
    assert longest <= pause(gates, now + 0.2) <= longest * (1 + JITTER)


def take_down(gates: Gates, models: str, retry_after: float | None = None) -> None:
    """So many failures of each of these models that all of them are closed at 10."""
    for model in models:
        for _ in range(OUTAGE_AFTER):
            gates.failed(model, object(), failure(Kind.SERVER_ERROR, retry_after=retry_after), 9.0, 10.0)


@pytest.mark.fault("H11")
def test_models_that_are_out_together_ask_in_turn(gates: Gates) -> None:
    """Each as seldom as one alone would, the gateway so many times as often."""
    take_down(gates, "abcdef")
    asked: list[tuple[float, str]] = []
    while len(asked) < 60:
        now, model = min((gates.wait(model, 10.0), model) for model in "abcdef")
        asked.append((now, model))
        gates.sent(model, flight := object(), now)
        gates.failed(model, flight, failure(Kind.SERVER_ERROR), now, now + 0.1)
    last = asked[-30:]
    longest = LONGEST_OUTAGE * WINDOW
    gaps = [later - sooner for (sooner, _), (later, _) in itertools.pairwise(last)]
    assert max(gaps) <= longest / 6 * (1 + JITTER) + 0.1
    for model in "abcdef":
        own = [at for at, name in last if name == model]
        assert min(later - sooner for sooner, later in itertools.pairwise(own)) >= longest - 0.1


def test_one_that_is_out_takes_no_turns_of_models_that_nobody_asks_any_more(gates: Gates) -> None:
    """They may have no rows left."""
    take_down(gates, "abcdef")
    now, pauses = 10.0, []
    for _ in range(20):
        later = gates.wait("a", now)
        pauses.append(later - now)
        now = later
        gates.sent("a", flight := object(), now)
        gates.failed("a", flight, failure(Kind.SERVER_ERROR), now, now)
    longest = LONGEST_OUTAGE * WINDOW
    assert all(longest <= pause <= longest * (1 + JITTER) for pause in pauses[-10:])


@pytest.mark.fault("H11")
def test_an_answer_of_one_that_was_out_lets_the_others_ask_at_once(gates: Gates) -> None:
    """They were most often out for the same reason. A request each asks first, all the same."""
    take_down(gates, "abc")
    gates.sent("a", flight := object(), 12.0)
    gates.answered("a", flight)
    assert [gates.wait(model, 12.1) for model in "abc"] == [12.1, 12.1, 12.1]
    assert [gates[model].narrow for model in "abc"] == [False, True, True]


def test_an_answer_of_one_that_was_out_shortens_no_time_that_was_asked_for(gates: Gates) -> None:
    """What a gateway states is honoured, and a refusal is another matter than an outage."""
    take_down(gates, "a")
    take_down(gates, "b", retry_after=30.0)
    refuse(gates, sent_at=9.0, now=10.0, model="c")
    closed = [gates.wait(model, 12.0) for model in "bc"]
    gates.sent("a", flight := object(), 12.0)
    gates.answered("a", flight)
    assert [gates.wait(model, 12.0) for model in "bc"] == closed
    assert closed[0] >= 40.0


def test_one_model_that_is_out_waits_for_no_others_turn(gates: Gates) -> None:
    """Those that were out before it are back."""
    take_down(gates, "abcdef")
    gates.sent("a", flight := object(), 11.0)
    gates.answered("a", flight)
    for model in "bcdef":
        gates.sent(model, flight := object(), 11.1)
        gates.answered(model, flight)
    for _ in range(OUTAGE_AFTER):
        gates.failed("a", object(), failure(Kind.SERVER_ERROR), 11.2, 11.3)
    assert 1.0 <= gates.wait("a", 11.3) - 11.3 <= 1.0 + JITTER


@pytest.mark.fault("H10")
def test_an_overloaded_model_that_says_when_to_come_back_is_left_alone_until_then(gates: Gates) -> None:
    """As long as it says, and then by all: it is no limit that a herd would run into again."""
    busy = failure(Kind.OVERLOADED, scope="model", retry_after=20.0)
    assert gates.failed("a", object(), busy, 0.0, 1.0) == "a"
    assert 20.0 <= pause(gates, 1.0) <= 20.0 * (1 + JITTER)
    assert gates.wait("b", 1.0) == 1.0
    assert gates.failed("a", object(), failure(Kind.OVERLOADED, scope="model", retry_after=5.0), 0.5, 2.0) is None
    gates.sent("a", object(), 25.0)
    assert gates.wait("a", 30.0) == 30.0


@pytest.mark.fault("H10", "H11")
def test_many_of_these_in_a_row_are_an_outage(gates: Gates) -> None:
    """Then one request asks whether it is over, and rows that wait for it lose nothing."""
    for n in range(OUTAGE_AFTER):
        gates.failed("a", object(), failure(Kind.OVERLOADED, scope="model", retry_after=2.0), 3.0 * n, 3.0 * n + 0.5)
    assert gates["a"].narrow


@pytest.mark.fault("H10")
def test_an_overloaded_model_that_says_nothing_is_tried_again(gates: Gates) -> None:
    """One row's bad luck closes nothing."""
    assert gates.failed("a", object(), failure(Kind.OVERLOADED, scope="model"), 0.0, 1.0) is None
    assert gates.wait("a", 1.0) == 1.0


def test_a_gateway_that_cannot_be_reached_closes_all_at_once(gates: Gates) -> None:
    """Where no connection is made, no model will do better."""
    assert gates.failed("a", object(), failure(Kind.UNREACHABLE), 0.0, 1.0) == ALL


def test_a_refusal_does_not_shorten_the_time_that_an_overloaded_model_asked_for(gates: Gates) -> None:
    """What was said for longer holds: a shorter pause after it is within it."""
    gates.failed("m", object(), failure(Kind.OVERLOADED, retry_after=5.0), 0.0, 1.0)
    gates.failed("m", object(), refusal("model"), 1.1, 1.2)
    assert gates.wait("m", 1.3) >= 6.0


@pytest.mark.fault("H1")
def test_what_an_earlier_process_was_told_holds_for_this_one(gates: Gates) -> None:
    """Until then nothing goes; what is past closes nothing, and no clock that jumps closes a scope for days."""
    gates.restore("a", 12.0, 10.0)
    gates.restore("b", 9.0, 10.0)
    gates.restore("c", 1e9, 10.0)
    assert [gates.wait(model, 10.0) for model in "abc"] == [12.0, 10.0, 910.0]
    assert gates.wait("a", 12.0) == 12.0
    gates.restore(ALL, 30.0, 10.0)
    assert gates.wait("b", 10.0) == 30.0
