"""For how long something is refused, where the gateway does not say: when it is asked again, and what answers that."""

from __future__ import annotations

import pytest

from runner.core.counting import Kind
from runner.core.mirrors import Take
from runner.core.questions import Question

WINDOW = 60.0
WAY = 0.1


def refused(amount: int = 500, sent: float = 10.0) -> Question:
    """A question about an amount that was refused."""
    return Question(Take(sent, amount), Kind.UNKNOWN, sent + WAY)


def asked(question: Question, now: float, amount: int = 500) -> Take:
    """A request that is sent to find out."""
    take = Take(now, amount)
    question.ask(take, now)
    return take


def due(question: Question, *beside: Question) -> float:
    return question.next_at((question, *beside), WINDOW)


def test_a_second_goes_by_at_first_and_then_a_quarter_of_the_time_since_the_refusal() -> None:
    question, waits = refused(), []
    while question.asked_at < 60.0:
        now = due(question)
        waits.append(now - question.asked_at)
        question.refuse(asked(question, now), now + WAY)
    assert waits[:3] == pytest.approx([1.0, 1.0, 1.0])
    assert waits[-1] == pytest.approx((question.asked_at - waits[-1] - 10.0) / 4)
    assert len(waits) <= 16


def test_what_is_as_large_as_what_was_refused_and_is_let_in_answers_it() -> None:
    question = refused()
    first = asked(question, 11.0)
    question.refuse(first, 11.1)
    assert question.let_in(asked(question, 13.0))
    assert (question.sent, question.refused_at) == (10.0, 11.0)


def test_smaller_ones_that_are_let_in_answer_it_together() -> None:
    """There may have been room for one of them all the time. The rest follow at once."""
    question = refused()
    assert not question.let_in(asked(question, 11.0, 300))
    assert due(question) == question.asked_at
    assert question.let_in(asked(question, 11.1, 300))


def test_where_a_smaller_one_was_let_in_and_the_next_refused_it_begins_again() -> None:
    """What was left of the limit is spent by then: only what is refused now waits for room."""
    question = refused()
    question.let_in(asked(question, 11.0, 300))
    question.refuse(asked(question, 12.0, 200), 12.1)
    assert (question.sent, question.amount) == (12.0, 200)


def test_what_answers_have_given_back_meanwhile_is_no_room_that_came_back() -> None:
    question = refused()
    question.give_back(400)
    assert not question.let_in(asked(question, 11.0))
    assert question.let_in(asked(question, 12.0))


def test_what_was_sent_before_the_refusal_was_there_answers_nothing() -> None:
    """It overtook what was refused, or there was room for it at the time."""
    question = refused()
    assert not question.was_asked_by(Take(10.05, 500))
    assert question.was_asked_by(asked(question, 11.0))


def test_what_was_refused_before_the_refusal_was_there_is_part_of_it() -> None:
    question = refused()
    question.refuse(Take(10.05, 300), 10.2)
    assert (question.sent, question.amount, question.refused_at) == (10.0, 300, 10.05)


def test_what_is_under_way_is_what_has_no_answer_whatever_was_refused_meanwhile() -> None:
    """A run waited for ever for what it took to be under way."""
    question = refused()
    first, second = asked(question, 11.0), asked(question, 11.2, 90)
    assert question.under_way == 590
    question.refuse(first, 11.3)
    first.settled = True
    assert question.under_way == 90
    question.let_in(second)
    second.settled = True
    assert question.under_way == 0


def test_what_failed_for_another_reason_told_nothing_and_more_is_sent_for_it() -> None:
    question = refused()
    assert not question.let_in(asked(question, 11.0, 300))
    lost = asked(question, 12.0, 400)
    assert due(question) > 12.5
    question.fail(lost)
    assert due(question) == 12.0
    assert question.let_in(asked(question, 12.1, 200))


def test_it_is_asked_at_least_every_quarter_of_a_window() -> None:
    """However long nobody could be asked."""
    question = refused()
    question.asked_at = 100_000.0
    assert due(question) == 100_000.0 + WINDOW / 4


def test_something_is_sent_when_there_should_be_room() -> None:
    question = refused()
    for now in (20.0, 30.0, 45.0):
        question.refuse(asked(question, now), now + WAY)
    later = due(question)
    question.expected_at = 47.0
    assert due(question) == 47.0 < later


def test_who_was_refused_later_asks_later() -> None:
    first, second = refused(), refused(sent=10.5)
    assert due(second, first) > due(first, second)
    asked(first, due(first, second))
    assert due(second, first) > first.asked_at + 1.0


@pytest.mark.parametrize(("asked_for", "hopeless"), [(55.0, False), (70.0, True)])
def test_after_a_window_no_room_will_come_back(asked_for: float, hopeless: bool) -> None:
    question = refused()
    question.refuse(asked(question, 10.0 + asked_for), 10.0 + asked_for + WAY)
    assert question.is_hopeless(WINDOW) is hopeless
