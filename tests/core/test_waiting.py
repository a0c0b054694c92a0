"""Where the time of a run goes, against what can be worked out by hand, and as parts of a whole."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.limits import ALL, Limit
from runner.core.waiting import Cause, Holds, Waiting, cause_of, shares


def held(*causes: Cause) -> Callable[[float], Holds]:
    """What says that one model is held back by these."""
    return lambda _now: {"a": causes}


INPUT, ANSWERS = held(Cause.INPUT), held(Cause.ANSWERS)


def session(*, sends: bool) -> Waiting:
    """One that began at 0, waits for an input limit from 2 to 12, and is woken at 12."""
    waiting = Waiting(0.0)
    waiting.wake(1.0)
    waiting.sending()
    waiting.rest(2.0, INPUT)
    waiting.wake(12.0)
    if sends:
        waiting.sending()
    return waiting


def test_what_comes_before_the_first_rest_is_our_own_work() -> None:
    """To start takes time as well."""
    assert Waiting(10.0).split(13.0) == {"own_work": 3.0}


def test_the_time_of_a_rest_belongs_to_what_is_waited_for() -> None:
    """And that from the waking on to us, where it led to something being sent."""
    waiting = session(sends=True)
    waiting.rest(15.0, ANSWERS)
    assert waiting.split(20.0) == {"input": 10.0, "own_work": 5.0, "answers": 5.0}


def test_a_waking_after_which_nothing_is_sent_is_no_work_that_held_anything_up() -> None:
    """Whatever we did meanwhile, nothing could have been sent: the wait goes on."""
    waiting = session(sends=False)
    waiting.rest(15.0, INPUT)
    assert waiting.split(20.0) == {"input": 18.0, "own_work": 2.0}


def test_a_new_reason_begins_where_it_is_told() -> None:
    """Even if nothing was sent between the two."""
    waiting = session(sends=False)
    waiting.rest(15.0, ANSWERS)
    assert waiting.split(20.0) == {"input": 13.0, "answers": 5.0, "own_work": 2.0}


def test_what_is_late_is_our_own_work() -> None:
    """A limit had room at 5, and we were busy until 8."""
    waiting = Waiting(0.0)
    waiting.rest(0.0, INPUT, until=5.0)
    waiting.wake(8.0)
    waiting.sending()
    waiting.rest(9.0, ANSWERS)
    assert waiting.split(9.0) == {"input": 5.0, "own_work": 4.0}


def test_rows_that_had_to_be_read_before_anything_could_be_sent_are_told_apart() -> None:
    """Of our own work, that which the input makes."""
    waiting = session(sends=True)
    waiting.read(2.0)
    waiting.rest(15.0, ANSWERS)
    assert waiting.split(15.0) == {"input": 10.0, "own_work": 3.0, "reading": 2.0}


def test_rows_that_were_read_while_a_limit_held_are_no_cause() -> None:
    """There was time for it."""
    waiting = session(sends=False)
    waiting.read(2.0)
    waiting.rest(15.0, INPUT)
    assert "reading" not in waiting.split(15.0)


def test_models_that_wait_for_different_things_share_the_time() -> None:
    """Equally, and so do the causes of one model."""
    holds = {"a": (Cause.INPUT,), "b": (Cause.INPUT, Cause.OUTPUT), "c": (Cause.COOL_DOWN,), "d": (Cause.OUTPUT,)}
    assert shares(holds) == {Cause.INPUT: 0.375, Cause.OUTPUT: 0.375, Cause.COOL_DOWN: 0.25}


def test_a_model_whose_quota_is_used_up_holds_back_nobody_else() -> None:
    """The run goes on without it, and takes as long as the others do."""
    quota = {"a": (Cause.QUOTA,)}
    assert shares({**quota, "": (Cause.ANSWERS,)}) == {Cause.ANSWERS: 1.0}
    assert shares(quota) == {Cause.QUOTA: 1.0}


@pytest.mark.parametrize(
    ("scope", "measure", "cause"),
    [("a", "input", Cause.INPUT), (ALL, "total", Cause.COMBINED_TOTAL), (ALL, "requests", Cause.COMBINED_REQUESTS)],
)
def test_each_limit_is_a_cause(scope: str, measure: str, cause: Cause) -> None:
    """By its measure, and whether all models share it."""
    assert cause_of(Limit(scope=scope, measure=measure, amount=1, window=1.0)) is cause  # type: ignore[arg-type]


def test_rests_that_follow_each_other_closely_are_looked_at_once() -> None:
    """It is good enough, and asking each time would cost more than it tells."""
    asked: list[float] = []

    def why(now: float) -> Holds:
        asked.append(now)
        return {"a": (Cause.INPUT,)}

    waiting = Waiting(0.0)
    for thousandth in range(1000):
        waiting.rest(thousandth / 1000, why)
        waiting.wake((thousandth + 0.5) / 1000)
    assert len(asked) <= 201
    assert waiting.split(1.0)["input"] == pytest.approx(1.0)


steps = st.lists(
    st.tuples(
        st.sampled_from(["wake", "send", "read", "rest"]),
        st.floats(0, 100),
        st.dictionaries(
            st.sampled_from("abc"), st.lists(st.sampled_from(Cause), min_size=1, max_size=3).map(tuple), min_size=1
        ),
    ),
    max_size=40,
)


@given(steps)
def test_the_parts_add_up_to_the_whole(steps: Sequence[tuple[str, float, Holds]]) -> None:
    """Whatever is told, at every moment, and none of them is less than nothing."""
    waiting, now = Waiting(100.0), 100.0
    for (step, seconds, holds), later in zip(steps, itertools.cycle([0.0, 7.0]), strict=False):
        now += seconds
        if step == "wake":
            waiting.wake(now)
        elif step == "send":
            waiting.sending()
        elif step == "read":
            waiting.read(seconds)
        else:
            waiting.rest(now, lambda _now, holds=holds: holds, now + later)  # type: ignore[misc]
        parts = waiting.split(now + later)
        assert sum(parts.values()) == pytest.approx(now + later - 100.0)
        assert min(parts.values(), default=0.0) >= 0.0
