"""What a gateway can do to a whole run: the engine and the scheduler, in time that jumps."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from runner.core.gates import FIRST_PAUSE, JITTER, OUTAGE_AFTER
from runner.core.limits import Limit
from runner.core.retry import Action
from runner.core.values import Failure, Kind, Reply, Response, Status
from runner.core.work import Ask
from runner.gateway.dialects import DIALECTS
from runner.testing import ScriptedGateway, as_reserved, failure, task

WINDOW = 60.0
LIMIT = Limit(scope="a", measure="input", amount=100, window=WINDOW)


def decoded(status: int, body: bytes = b"", **headers: str) -> Failure:
    """What the runner takes a response for."""
    response = Response(
        status=status, headers={name.replace("_", "-"): text for name, text in headers.items()}, body=body
    )
    result = DIALECTS["chat"].decode(response)
    assert isinstance(result, Failure)
    return result


def while_(bad: Failure, *, since: float = 0.0, until: float, latency: float = 1.0, **only: str) -> ScriptedGateway:
    """A gateway that fails so for a time, to one `model` or to all."""

    def script(ask: Ask, number: int) -> Reply | Failure:
        hit = since <= ask.at < until and ask.model == only.get("model", ask.model)
        return bad if hit else as_reserved(ask, number)

    return ScriptedGateway(script, latency=latency)


def rows(count: int, *models: str, first: int = 0) -> list[Any]:
    return [task(row, *(models or ("a",))) for row in range(first, first + count)]


def all_succeeded(count: int) -> dict[int, Status]:
    return dict.fromkeys(range(count), Status.SUCCEEDED)


# Refusals.


@pytest.mark.fault("H1")
def test_nothing_is_sent_to_a_model_before_it_said_to_come_back(play: Any) -> None:
    """Its rows lose no attempt, other models go on, and the refusal is told as what it closed."""
    gateway = while_(decoded(429, retry_after="7"), until=1.0, model="a")
    played = play([*rows(20), *rows(40, "b", first=20)], gateway, {"a": (), "b": (LIMIT,)})
    refused_at, again = 1.0, sorted(set(played.sent("a")))[1]
    assert 7.0 <= again - refused_at <= 7.0 * (1 + JITTER)
    assert [at for at in played.sent("b") if refused_at <= at < again] or len(played.sent("b")) == 40
    assert played.ends == all_succeeded(60)
    back = [event.landing for event in played.landings() if isinstance(event.result, Failure)]
    assert {landing.action for landing in back} == {Action.REQUEUE}
    assert [landing.closed for landing in back if landing.closed] == ["a"]
    assert {event.ask.task.attempts for event in played.landings()} == {0}


@pytest.mark.fault("H2")
def test_a_refusal_that_names_no_time_is_followed_by_single_probes_at_growing_distances(play: Any) -> None:
    """A fifteenth of a window at first, doubled by each refusal, and never more than a window."""
    played = play(rows(30), while_(decoded(429), until=200.0, latency=0.0))
    probes = [at for at in played.sent() if at > 0.0 and at < 200.0]
    pauses = [later - earlier for earlier, later in itertools.pairwise([0.0, *probes])]
    wanted = [min(WINDOW, WINDOW * FIRST_PAUSE * 2**number) for number in range(len(pauses))]
    assert len(pauses) >= 5
    assert all(want <= pause <= want * (1 + JITTER) for pause, want in zip(pauses, wanted, strict=True))
    assert played.ends == all_succeeded(30)


@pytest.mark.fault("H8")
@pytest.mark.parametrize("stated", [{}, {"retry_after": "0"}, {"retry_after": "1"}, {"retry_after_ms": "50"}], ids=repr)
def test_a_storm_of_refusals_is_sat_out_with_few_requests(play: Any, stated: dict[str, str]) -> None:
    """Ten minutes of nothing else, whatever the refusals say: no row ends, and soon one request in half a window."""
    gateway = while_(decoded(429, **stated), until=600.0, latency=0.1)
    played = play(rows(50, "a", "b"), gateway, {"a": (), "b": ()})
    assert played.ends == all_succeeded(50)
    for model in ("a", "b"):
        probes = [at for at in played.sent(model) if 0.0 < at < 600.0]
        assert len(probes) <= 20
        settled = probes[7:]
        assert all(later - earlier >= WINDOW / 2 for earlier, later in itertools.pairwise(settled))
    assert {event.ask.task.attempts for event in played.landings()} == {0}


@pytest.mark.fault("B16", "H8")
def test_what_waited_behind_a_gate_comes_out_as_the_budget_allows(play: Any) -> None:
    """One request goes first when the time is up; then what a window holds, and not the whole backlog."""
    gateway = while_(decoded(429, retry_after="30"), until=20.0)
    gateway.judge = type(gateway.judge)([LIMIT])
    played = play(rows(60), gateway, {"a": (LIMIT,)})
    opened = min(at for at in played.sent() if at > 20.0)
    assert played.sent().count(opened) == 1
    assert gateway.refused == 0
    assert gateway.judge.most[LIMIT] <= LIMIT.amount
    assert played.ends == all_succeeded(60)


# Outages.


@pytest.mark.fault("H9")
@pytest.mark.parametrize(
    ("status", "kept"), [(500, False), (502, True), (504, True)], ids=["500", "502: it may have been done", "504"]
)
def test_an_error_of_the_gateway_is_tried_again_and_what_it_may_have_cost_stays_counted(
    play: Any, status: int, kept: bool
) -> None:
    """Two of the row together are more than a window holds: it goes at once only if the first one cost nothing."""
    gateway = ScriptedGateway(lambda ask, n: decoded(status) if n == 1 else as_reserved(ask, n))
    played = play([task(0, "a", input=60)], gateway, {"a": (LIMIT,)})
    first, second = played.sent()
    assert (second - first >= WINDOW) == kept
    assert kept or second <= 1.0 + 1.0
    assert played.ends == all_succeeded(1)


@pytest.mark.fault("H9", "H12")
@pytest.mark.parametrize("status", [408, 409, 425, 500, 502, 504, 524])
def test_a_row_that_fails_so_each_time_ends_after_its_attempts(play: Any, status: int) -> None:
    """Full jitter between them; others go on beside it."""
    bad = decoded(status)
    gateway = ScriptedGateway(lambda ask, n: bad if ask.task.row == 0 else as_reserved(ask, n), latency=0.1)
    played = play(rows(50), gateway, attempts=3)
    assert played.ends == {**all_succeeded(50), 0: Status.ERRORED}
    tries = [sent.at for sent in gateway.sent if sent.row == 0]
    assert len(tries) == 3
    pauses = [later - earlier - 0.1 for earlier, later in itertools.pairwise(tries)]
    assert all(0 < pause <= bound for pause, bound in zip(pauses, (1.0, 2.0), strict=True))


@pytest.mark.fault("H10")
@pytest.mark.parametrize("status", [503, 529])
def test_a_busy_model_is_left_alone_for_as_long_as_it_says(play: Any, status: int) -> None:
    """Also by the rows that were not turned away; what is believed of its limits stays."""
    bad = decoded(status, retry_after="25")
    gateway = ScriptedGateway(lambda ask, n: bad if ask.task.row == 0 and n == 1 else as_reserved(ask, n))
    played = play(rows(30), gateway, {"a": (LIMIT,)}, learns=True)
    assert not [at for at in played.sent() if 1.0 <= at < 26.0]
    assert played.ends == all_succeeded(30)
    assert [window.belief.amount(played.ended_at) for window in played.ledger.windows] == [100]


@pytest.mark.fault("H11")
@pytest.mark.parametrize(
    "bad", [decoded(502), decoded(503), decoded(503, retry_after="5")], ids=["502", "503", "asked"]
)
def test_an_outage_of_three_minutes_is_sat_out(play: Any, bad: Failure) -> None:
    """Rows that were under way when it began have an attempt less; none of them ends, and few requests ask after it."""
    gateway = while_(bad, since=5.0, until=185.0, latency=0.5)
    played = play(rows(100), gateway, {"a": (LIMIT,)}, attempts=2)
    assert played.ends == all_succeeded(100)
    assert len([at for at in played.sent() if 60.0 <= at < 185.0]) <= OUTAGE_AFTER + 125 / 5 + 1


@pytest.mark.fault("H11")
def test_an_outage_of_three_hours_ends_the_run_and_no_row(play: Any) -> None:
    """When its patience is over the run says so; the rows stay for a resume."""
    gateway = while_(decoded(502), since=5.0, until=10_800.0)
    played = play(rows(100), gateway, {"a": (LIMIT,)}, patience=1800.0)
    assert "has not answered for" in played.gave_up
    assert 1800.0 <= played.ended_at <= 1800.0 + 2 * WINDOW + 60.0
    assert played.ends == all_succeeded(10)


@pytest.mark.fault("H32", "H34")
def test_a_gateway_that_cannot_be_reached_costs_no_attempt(play: Any) -> None:
    """However often: nothing was sent, so nothing was tried."""
    nowhere = failure(Kind.UNREACHABLE, scope="all")
    played = play(rows(30), while_(nowhere, since=1.0, until=300.0), {"a": (LIMIT,)}, attempts=1)
    assert played.ends == all_succeeded(30)


@pytest.mark.fault("H34")
def test_a_gateway_that_was_never_reached_is_given_up_soon(play: Any) -> None:
    """A wrong name is noticed within half a minute, by a handful of requests and not by every row."""
    nowhere = failure(Kind.UNREACHABLE, "No connection to https://gateway.example", scope="all")
    played = play(rows(500), while_(nowhere, until=1e9, latency=0.01), {"a": (LIMIT,), "b": ()})
    assert played.gave_up
    assert 30.0 <= played.ended_at <= 37.0
    assert (played.ends, len([at for at in played.sent() if at > 0.0]) <= 12) == ({}, True)


@pytest.mark.fault("H26")
def test_pages_instead_of_answers_end_the_run_and_no_row(play: Any) -> None:
    """A network that wants a sign-in answers everything with 200."""
    page = decoded(200, b"<!DOCTYPE html><html><title>Sign in</title></html>")
    played = play(rows(80), while_(page, until=1e9, latency=0.1), {"a": (LIMIT,)}, attempts=3)
    assert played.gave_up
    assert played.ends == {}


@pytest.mark.fault("H24", "H26", "H27")
@pytest.mark.parametrize("body", [b"", b"null", b'{"choices":[]}', b"[]", b"ok"])
def test_an_answer_that_is_none_is_asked_for_three_times(play: Any, body: bytes) -> None:
    """Each of them may have been paid for; a row that gets nothing else ends with what it got."""
    gateway = ScriptedGateway(lambda ask, n: decoded(200, body) if ask.task.row == 0 else as_reserved(ask, n))
    played = play(rows(20), gateway)
    assert played.ends == {**all_succeeded(20), 0: Status.ERRORED}
    assert len([sent for sent in gateway.sent if sent.row == 0]) == 3
    assert [failed.kind for failed in played.failures] == [Kind.INVALID_RESPONSE]


@pytest.mark.fault("H16")
def test_a_row_of_which_half_arrived_is_sent_again(play: Any) -> None:
    """And a row that never arrives whole ends like any other that fails each time."""
    lost = decoded(400, b'{"error":{"message":"unexpected EOF"}}')
    gateway = ScriptedGateway(lambda ask, n: lost if n == 1 or ask.task.row == 0 else as_reserved(ask, n))
    played = play(rows(5), gateway, attempts=3)
    assert played.ends == {**all_succeeded(5), 0: Status.ERRORED}


# What concerns more than one row.


@pytest.mark.fault("H18")
def test_a_token_that_expires_stops_the_run_and_costs_no_row_its_outcome(play: Any) -> None:
    """What is under way lands, nothing more is sent, and what was refused stays for a resume."""
    gateway = while_(decoded(401), since=50.0, until=1e9)
    played = play(rows(40), gateway, {"a": (LIMIT,)})
    assert isinstance(played.scheduler.stopped, Failure)
    assert played.scheduler.stopped.kind is Kind.UNAUTHORIZED
    assert set(played.ends.values()) == {Status.SUCCEEDED}
    left = {task.row for task in played.scheduler.leftover()}
    assert left | set(played.ends) == set(range(40))
    assert not left & set(played.ends)
    assert played.ended_at == max(played.sent()) + 1.0


@pytest.mark.fault("H20")
@pytest.mark.parametrize(
    "gone",
    [
        decoded(404, b'{"error_code":"ENDPOINT_NOT_FOUND","message":"The given endpoint does not exist."}'),
        decoded(410),
        decoded(400, b'{"error":{"message":"unknown model \\"a\\""}}'),
    ],
    ids=["404", "410", "400"],
)
def test_a_model_that_is_gone_concerns_its_own_rows_alone(play: Any, gone: Failure) -> None:
    """The rest of a pool takes over; rows that only it can answer end with the gateway's words, and nothing stops."""
    gateway = while_(gone, since=30.0, until=1e9, model="a")
    pooled, own, others = rows(30, "a", "b"), rows(30, "a", first=30), rows(10, "b", first=60)
    played = play([*pooled, *own, *others], gateway, {"a": (LIMIT,), "b": (LIMIT,)})
    ends = played.ends
    assert len(ends) == 70
    assert {ends[row] for row in (*range(30), *range(60, 70))} == {Status.SUCCEEDED}
    assert {ends[row] for row in range(30, 60)} == {Status.SUCCEEDED, Status.ERRORED}
    assert {failed.kind for failed in played.failures} == {Kind.MODEL_UNAVAILABLE}


# Clocks and answers.


@pytest.mark.fault("H38")
@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_clock_that_is_set_while_a_run_goes_changes_nothing(
    play: Any, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    """Every pause, window and patience is of the loop's own time, which nobody sets."""

    def timeline() -> list[tuple[float, int]]:
        gateway = while_(decoded(429, retry_after="20"), since=60.0, until=70.0)
        played = play(rows(40), gateway, {"a": (LIMIT,)})
        assert played.ends == all_succeeded(40)
        return [(sent.at, sent.row) for sent in gateway.sent]

    undisturbed = timeline()
    real: Callable[[], float] = time.time
    monkeypatch.setattr(time, "time", lambda: real() + jump * len(undisturbed))
    assert timeline() == undisturbed


@pytest.mark.fault("H40")
def test_an_answer_that_was_given_up_counts_and_is_no_second_result(play: Any) -> None:
    """The row is asked again, has one outcome, and what the first one may have cost is on the books."""
    late = failure(Kind.TIMEOUT, ambiguous=True)
    gateway = ScriptedGateway(lambda ask, n: late if n == 1 else as_reserved(ask, n), latency=2.0)
    played = play([task(0, "a", input=40)], gateway, {"a": (LIMIT,)})
    assert played.ends == all_succeeded(1)
    assert played.ledger.spent(played.ended_at) == {LIMIT: 80}
