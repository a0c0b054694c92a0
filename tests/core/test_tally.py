"""The sums of a run, from frames as the journal holds them."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from runner.core.limits import Limit
from runner.core.tally import Quantiles, Tally
from runner.core.values import Charge

REPLY: dict[str, Any] = {
    "t": "landed",
    "row": 0,
    "slot": 0,
    "n": 1,
    "model": "a",
    "final": "succeeded",
    "outcome": "ok",
    "usage": {"input": 100, "output": 20, "reasoning": 5, "reported": True},
    "est": 110,
    "cap": 64,
    "cost": 0.25,
    "latency": 1.5,
}
SILENT = {**REPLY, "usage": {"input": 0, "output": 0, "reasoning": 0, "reported": False}}
SENT: dict[str, Any] = {"t": "sent", "row": 0, "slot": 0, "n": 1, "model": "a", "est": 110, "cap": 64}


def tally(*frames: dict[str, Any]) -> Tally:
    made = Tally()
    for frame in frames:
        made.add(frame)
    return made


def failed(kind: str, final: str | None = None, **failure: Any) -> dict[str, Any]:
    return {**SENT, "t": "landed", "final": final, "failure": {"kind": kind, **failure}}


def test_a_reply_counts_in_all_sums_of_its_model() -> None:
    """Tokens as reported beside tokens as reserved, and what it cost."""
    sums = tally(REPLY, REPLY).models["a"]
    assert (sums.requests, sums.succeeded, sums.errored) == (2, 2, 0)
    assert (sums.input_tokens, sums.estimated_input_tokens) == (200, 220)
    assert (sums.output_tokens, sums.reserved_output_tokens, sums.reasoning_tokens) == (40, 128, 10)
    assert (sums.cost, dict(sums.outcomes), sums.latency.count) == (0.5, {"ok": 2}, 2)


def test_a_reply_without_usage_says_nothing_of_the_estimates() -> None:
    """Its numbers are zero because they are unknown."""
    sums = tally(SILENT).models["a"]
    assert (sums.succeeded, sums.estimated_input_tokens) == (1, 0)


def test_a_failure_that_is_tried_again_is_a_request_and_no_outcome() -> None:
    """Attempts and tasks are counted apart."""
    made = tally(failed("server_error"), failed("timeout", ambiguous=True), REPLY)
    assert made.ended == 1
    assert (made.models["a"].requests, made.models["a"].failures.total(), made.ambiguous) == (3, 2, 1)


@pytest.mark.parametrize("end", [{"t": "session"}, {"t": "closed", "elapsed": 1.0}])
def test_requests_that_a_session_left_without_an_answer_are_ambiguous(end: dict[str, Any]) -> None:
    """A second Ctrl-C and a kill cut off what the gateway may have processed; until then it is only under way."""
    going = [{"t": "session"}, SENT, {**SENT, "row": 1}, {**SENT, "n": 2}, REPLY]
    assert (tally(*going).ambiguous, tally(*going, end).ambiguous) == (0, 2)
    assert tally(*going, end, {"t": "session"}, SENT, REPLY, end).ambiguous == 2


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param([SENT, {"t": "closed", "elapsed": 1.0}], id="cut off"),
        pytest.param([SENT, failed("timeout", ambiguous=True)], id="a time-out"),
        pytest.param([SENT, SILENT], id="no usage"),
    ],
)
def test_what_may_have_been_billed_is_known_by_what_it_reserved(frames: list[dict[str, Any]]) -> None:
    """Nobody said what it took; a request that was answered or refused is none of these."""
    session = {"t": "session"}
    assert tally(session, *frames, session).untold == {("a", Charge(1, 110, 64)): 1}
    assert not tally(session, SENT, REPLY, SENT, failed("rate_limited", ambiguous=False), session).untold


def test_a_refusal_is_counted_as_such() -> None:
    """How often the gateway said 429 is what tells whether limits were right."""
    made = tally(failed("rate_limited"), failed("rate_limited"), failed("server_error"))
    assert (made.models["a"].refused, dict(made.models["a"].failures)) == (2, {"rate_limited": 2, "server_error": 1})


def test_a_last_failure_ends_its_task() -> None:
    """With the status that its frame names."""
    made = tally(failed("invalid_request", final="errored"))
    assert (dict(made.statuses), made.models["a"].errored) == ({"errored": 1}, 1)


def test_a_task_that_ended_without_a_request_counts_for_no_model() -> None:
    """A row that could not be asked has an outcome and nothing else."""
    made = tally({"t": "ended", "final": "errored"})
    assert (dict(made.statuses), made.models) == ({"errored": 1}, {})


def test_sums_of_all_models_are_the_sums_of_each() -> None:
    """And are zero before there is any."""
    made = tally(REPLY, {**REPLY, "model": "b"})
    assert (made.total("input_tokens"), Tally().total("input_tokens")) == (200, 0)


def test_outcomes_of_all_models_are_those_of_each_together() -> None:
    """An answer that was asked for again is none."""
    cut = {**REPLY, "outcome": "truncated"}
    made = tally(REPLY, {**cut, "model": "b"}, {**cut, "final": None}, cut)
    assert made.outcomes == {"ok": 1, "truncated": 2}


def test_sessions_and_their_times_add_up() -> None:
    """Of a run that was resumed; one that broke off has no time."""
    made = tally({"t": "session"}, {"t": "closed", "elapsed": 2.0}, {"t": "session"}, SENT)
    assert (made.sessions, made.elapsed, made.sent) == (2, 2.0, 1)


def test_what_the_time_of_the_sessions_went_into_adds_up() -> None:
    """Cause by cause; a session of an older runner does not say."""
    first = {"t": "closed", "elapsed": 3.0, "waiting": {"input": 2.0, "answers": 1.0}, "least": 2.0}
    made = tally(first, {"t": "closed", "elapsed": 4.0}, {**first, "waiting": {"input": 3.0}})
    assert (made.waiting, made.least, made.elapsed) == ({"input": 5.0, "answers": 1.0}, 4.0, 10.0)


def test_the_least_possible_time_is_that_of_what_the_last_session_spent() -> None:
    """Between two sessions the windows are filled again: what came before demands no time of the next."""
    budgets = {name: (Limit(scope=name, measure="input", amount=100, window=60.0),) for name in "ab"}
    assert tally({"t": "session"}, REPLY, REPLY, REPLY).least_time(budgets) == 120.0
    assert tally({"t": "session"}, REPLY, REPLY, {"t": "session"}, REPLY).least_time(budgets) == 0.0


def test_work_that_several_models_could_do_has_the_room_of_all_of_them() -> None:
    """Whichever of them has done it."""
    budgets = {name: (Limit(scope=name, measure="input", amount=100, window=60.0),) for name in "ab"}
    assert tally(*[{**REPLY, "pooled": True}] * 4).least_time(budgets) == 60.0


def test_frames_of_other_kinds_are_passed_over() -> None:
    """A later version may write what this one does not know."""
    assert tally({"t": "something new"}) == Tally()


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9, 0.99, 1.0])
def test_quantiles_are_within_half_a_per_cent(share: float) -> None:
    """Over five decades of durations, in about a thousand buckets."""
    rng = Random(1)
    durations = sorted(10 ** rng.uniform(-2, 3) for _ in range(5000))
    quantiles = Quantiles()
    for seconds in durations:
        quantiles.add(seconds)
    exact = durations[max(0, round(share * 5000) - 1)]
    assert quantiles.at(share) == pytest.approx(exact, rel=0.0051)
    assert len(quantiles.buckets) < 1200


def test_there_is_no_quantile_of_nothing() -> None:
    """None is not a duration of zero."""
    assert Quantiles().at(0.5) is None


def test_a_duration_of_nothing_is_a_duration() -> None:
    """An answer that took no measurable time has a place in the lowest bucket."""
    quantiles = Quantiles()
    quantiles.add(0.0)
    assert quantiles.at(0.5) == pytest.approx(1e-4, rel=0.0051)
