"""When stronger models are asked: once all annotators of a row have been heard, and agree too little."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest

from runner.core.answers import Answer, Reader
from runner.core.escalation import Escalator, Vote
from runner.core.estimate import Size
from runner.core.values import Failure, Kind, Outcome, Reply, Request, Status
from runner.core.work import Finished, Task
from runner.testing import failure, reply

READER = Reader(kind="label", labels=("a", "b", "c"))


def share(votes: Mapping[str, Vote]) -> float:
    values = [vote.value for vote in votes.values() if isinstance(vote, Answer)]
    return max(Counter(values).values()) / len(values) if values else 0.0


def task(slot: int, *, escalated: bool = False) -> Task:
    made = Task(row=0, slot=slot, models=("m",), size=Size(1), caps={"m": 1}, request=Request())
    made.annotator, made.escalated = f"m{slot}", escalated
    return made


FIRST = [task(0), task(1), task(2)]
HELD = [task(3, escalated=True)]


def escalator(below: float = 0.6, recalled: Mapping[int, tuple[str, str] | None] | None = None) -> Escalator:
    known = recalled or {}
    return Escalator(
        lambda votes: share(votes) < below, lambda text, _source: READER.read(text), lambda _row, slot: known[slot]
    )


def finish(made: Escalator, *results: Reply | Failure | str) -> list[list[Task]]:
    """What is due after each of the results of the row's own tasks."""
    due = []
    for one, said in zip(FIRST, results, strict=False):
        result = reply(said) if isinstance(said, str) else said
        status = Status.ERRORED if isinstance(result, Failure) else Status.SUCCEEDED
        due.append(list(made.finished(Finished(one, "m", status, result))))
    return due


def test_a_row_of_which_some_cannot_be_asked_in_this_session_is_not_held() -> None:
    """Its tasks never end, and an input may have millions of such rows."""

    def is_shelved(each: Task) -> bool:
        return each is FIRST[2]

    made = Escalator(lambda _votes: True, lambda text, _source: READER.read(text), lambda _row, _slot: None, is_shelved)
    assert list(made.hold(FIRST, HELD, lambda _row, _slot: False)) == []
    assert finish(made, "a", "b", "c") == [[], [], []]


@pytest.mark.parametrize(
    ("results", "is_due"),
    [
        (("a", "a", "a"), False),
        (("a", "a", "b"), False),
        (("a", "b", "c"), True),
        (("a", "no idea", "b"), True),
        (("a", failure(Kind.SERVER_ERROR), failure(Kind.SERVER_ERROR)), False),
        ((failure(Kind.SERVER_ERROR),) * 3, True),
        (("a", "a", reply("b", outcome=Outcome.TRUNCATED)), False),
        ((reply("a", outcome=Outcome.REFUSED),) * 3, True),
    ],
)
def test_a_row_is_due_when_the_last_of_its_own_tasks_has_ended(
    results: tuple[Reply | Failure | str, ...], is_due: bool
) -> None:
    """And not before; what cannot be read, was refused or failed is no vote."""
    made = escalator()
    assert made.hold(FIRST, HELD, lambda _row, _slot: False) == ()
    assert finish(made, *results) == [[], [], HELD if is_due else []]


def test_a_row_is_due_once() -> None:
    """The end of the stronger model's own task asks for nothing."""
    made = escalator()
    made.hold(FIRST, HELD, lambda _row, _slot: False)
    finish(made, "a", "b", "c")
    assert list(made.finished(Finished(HELD[0], "m", Status.SUCCEEDED, reply("a")))) == []


def test_a_resume_reckons_with_what_was_said_before() -> None:
    """Some tasks of the row have ended, and their answers come from the journal."""
    made = escalator(recalled={0: ("a", "ok"), 1: None})
    assert made.hold(FIRST, HELD, lambda _row, slot: slot in (0, 1)) == ()
    assert list(made.finished(Finished(FIRST[2], "m", Status.SUCCEEDED, reply("b")))) == HELD


@pytest.mark.parametrize(("last", "is_due"), [("c", True), ("a", False)])
def test_a_row_whose_tasks_have_all_ended_is_due_at_once(last: str, is_due: bool) -> None:
    """A run that broke off between the last answer and the stronger model goes on there."""
    made = escalator(recalled={0: ("a", "ok"), 1: ("b", "ok"), 2: (last, "ok")})
    assert list(made.hold(FIRST, HELD, lambda _row, slot: slot < 3)) == (HELD if is_due else [])


def test_what_a_stronger_model_has_answered_is_not_asked_again() -> None:
    """Nothing is held back for such a row."""
    assert escalator().hold(FIRST, HELD, lambda _row, _slot: True) == ()
