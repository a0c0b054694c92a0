"""What a run waits for, in words that need no explanation."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runner.core.events import Event, What
from runner.core.values import Failure, Kind
from runner.core.waiting import Cause, Holds
from runner.report.progress import View
from runner.report.waits import (
    DONE,
    WAITED_FOR,
    cap_lines,
    divided,
    limit_lines,
    now_waiting,
    silence,
    time_line,
    waits_for_limits,
)


def limit(scope: str, share: float, measure: str = "input") -> dict[str, Any]:
    return {"scope": scope, "measure": measure, "limit": 1000, "window_s": 60.0, "used_share": share}


def test_every_cause_has_its_words() -> None:
    """A cause that is added is not forgotten here."""
    assert {*WAITED_FOR, *DONE} == {*Cause}


@pytest.mark.parametrize(
    ("holds", "said"),
    [
        ({"a": (Cause.INPUT,)}, "waiting for input limits (a)"),
        ({"a": (Cause.INPUT,), "b": (Cause.INPUT,)}, "waiting for input limits (2 models)"),
        ({"a": (Cause.INPUT, Cause.OUTPUT)}, "waiting for input limits and output limits (a)"),
        ({"a": (Cause.COOL_DOWN,), "b": (Cause.OWN_WORK,)}, "waiting for cool-downs (a)"),
        ({"a": (Cause.OUTAGE,), "b": (Cause.OUTAGE,)}, "waiting for an outage to end (2 models)"),
        ({"": (Cause.ANSWERS,)}, "waiting for answers"),
        ({"a": (Cause.QUOTA,), "": (Cause.ANSWERS,)}, "waiting for a quota that is used up (a), answers"),
        ({"": (Cause.READING,)}, ""),
    ],
)
def test_what_is_waited_for_now_is_said_with_who_waits(holds: Holds, said: str) -> None:
    """Work of our own is no waiting."""
    assert now_waiting(holds) == said


@pytest.mark.parametrize(
    ("since_answer", "reached", "said"),
    [
        (None, False, "no answer for 12 s: It is down · gives up in 18 s (nothing has ever come from it)"),
        (None, True, "no answer for 12 s: It is down · gives up in 18 s (--patience)"),
        (200.0, True, "no answer for 12 s (the last one 3 min 20 s ago): It is down · gives up in 18 s (--patience)"),
    ],
)
def test_a_gateway_that_is_down_is_said_to_be(since_answer: float | None, reached: bool, said: str) -> None:
    """With what was last heard of it, and when the waiting ends."""
    assert silence(12.0, since_answer, "It is down.", 18.0, reached=reached) == said


async def test_the_view_says_what_was_heard_last_of_a_gateway_that_is_down() -> None:
    """Instead of the cool-downs that its failures lead to."""
    now = asyncio.get_running_loop().time()
    scheduler = SimpleNamespace(failing_since=now - 7, last_answer=None, reached=True)
    foresight = SimpleNamespace(watch=lambda _event: None)
    view = View(cast("Any", SimpleNamespace(scheduler=scheduler, foresight=foresight, patience=600.0)))
    view.watch(Event(now, What.LANDED, result=Failure(kind=Kind.UNREACHABLE, message="No connection.")))
    assert view.waiting() == "no answer for 7 s: No connection · gives up in 9 min 53 s (--patience)"


def test_limits_are_waited_for_where_the_words_say_so() -> None:
    """What rounds to nothing is none of it."""
    long = {"answers": 30.0}
    assert waits_for_limits({**long, "output": 0.6})
    assert waits_for_limits({"combined_input": 0.06})
    assert not waits_for_limits({**long, "output": 0.4, "cool_down": 9.0})


def test_waits_come_first_and_the_longest_before_the_others() -> None:
    """Then our own work; what rounds to nothing is left out."""
    parts = {"own_work": 50.0, "answers": 6.0, "combined_input": 41.2, "input": 0.3}
    assert divided(parts) == "41 s waited for the combined input limit, 6 s for answers, 50 s own work"


def test_a_short_time_is_told_in_tenths() -> None:
    """And one without waits has no waits."""
    assert divided({"own_work": 1.24, "reading": 0.5}) == "1.2 s own work, 0.5 s reading rows"


def test_a_cause_of_a_later_version_is_passed_over() -> None:
    """A journal may have been gone on with by it."""
    assert divided({"moonlight": 3.0, "answers": 20.0}) == "20 s waited for answers"


def test_the_least_possible_time_stands_beside_the_time_taken() -> None:
    """Where there is one to speak of."""
    summary = {"elapsed_s": 64.0, "waiting_s": {"input": 60.0, "own_work": 4.0}, "least_possible_s": 59.6}
    assert time_line(summary) == "64 s: 60 s waited for input limits, 4 s own work; the least possible was 60 s"
    assert "least" not in time_line({**summary, "least_possible_s": 0.0})


def test_limits_are_told_with_what_was_used_of_them() -> None:
    """The combined one, then the fullest; those that hardly mattered are counted."""
    lines = limit_lines({"limits": [limit("a", 0.2), limit("b", 0.01), limit("b", 0.95, "output"), limit("all", 0.5)]})
    assert lines == [
        "Used of the limits:",
        "  50% of 1,000 input tokens in 60 s for all models",
        "  95% of 1,000 output tokens in 60 s for b",
        "  20% of 1,000 input tokens in 60 s for a",
        "      and 1 more limit, used less",
    ]


def test_limits_that_did_not_matter_are_one_line() -> None:
    """And no limits are none."""
    assert limit_lines({"limits": [limit("a", 0.07), limit("all", 0.01)]}) == ["No limit was used by more than 7%"]
    assert limit_lines({"limits": [limit("a", 0.003)]}) == ["No limit was used by more than 1%"]
    assert limit_lines({"limits": []}) == []


def caps(sent: int, times: float, cut_short: int = 0) -> dict[str, Any]:
    return {"sent": sent, "answers": 102, "enough": 321, "cut_short": cut_short, "held_times": times}


def test_what_generous_caps_cost_is_one_line_about_the_worst() -> None:
    """Where output was waited for, and where a cap held much more than its answers needed."""
    summary = {"waiting_s": {"output": 30.0}, "caps": {"a": caps(4096, 3.0), "b": caps(2048, 1.5), "c": caps(330, 1.0)}}
    assert cap_lines(summary) == [
        "a and 1 more: caps of 4,096 held up to 3.0 times as much of the limit as 321 would have, for answers of 102; "
        "--caps ceiling may save up to 20 s"
    ]
    assert cap_lines({**summary, "waiting_s": {"combined_total": 30.0}}) == cap_lines(summary)
    assert cap_lines({**summary, "waiting_s": {"input": 30.0}}) == []


def test_answers_that_were_asked_for_again_are_counted() -> None:
    """Each was paid for twice."""
    summary = {"waiting_s": {}, "caps": {"a": caps(160, 1.0, cut_short=3), "b": caps(160, 1.0, cut_short=1)}}
    assert cap_lines(summary) == [
        "4 answers were cut short by caps that followed their lengths, and were asked for again"
    ]
