"""What is reserved for a task: expected input, and the output cap that is sent."""

from __future__ import annotations

from typing import Any

import pytest

from runner.core.catalog import Model
from runner.core.charges import Charges
from runner.core.estimate import MARGIN, Size
from runner.core.knowledge import Knowledge
from runner.core.lengths import FIRST_CAP
from runner.core.limits import ALL, Limit
from runner.core.values import Request, Usage
from runner.core.work import Task

WINDOW = 60.0


def limit(measure: Any, amount: int, scope: str = "m") -> Limit:
    return Limit(scope=scope, measure=measure, amount=amount, window=WINDOW)


OUTPUT = limit("output", 20_000)


def charges(*limits: Limit, context: int | None = None) -> Charges:
    return Charges([Model(id="m", provider="Somebody", context_tokens=context)], {"m": limits}, WINDOW)


def task(*, size: int = 100, cap: int = 4_096, free: bool = False, least: int = 0, body: Any = None) -> Task:
    request = Request(body=body)
    return Task(row=0, models=("m",), size=Size(size), caps={"m": cap}, free=free, least=least, request=request)


def taught(made: Charges, tokens: int, count: int = 100) -> Charges:
    for _ in range(count):
        made.learn(task(), "m", Usage(input=100, output=tokens), 2.0)
    return made


def test_a_free_cap_follows_the_answers() -> None:
    """It begins with what is allowed at first, and becomes what answers need."""
    made = charges(OUTPUT)
    assert made(task(free=True), "m").output == FIRST_CAP
    assert made(task(free=True, cap=200), "m").output == 200
    assert 50 < taught(made, 50)(task(free=True), "m").output < 100


def test_a_free_cap_grows_for_what_was_cut_short() -> None:
    """Up to the ceiling."""
    made = taught(charges(OUTPUT), 50)
    assert made(task(free=True, least=900), "m").output == 900
    assert made(task(free=True, least=900, cap=600), "m").output == 600


def test_a_given_cap_is_sent_as_it_is() -> None:
    """Whoever gave it means it, however short answers are; but no more than the gateway takes."""
    made = taught(charges(OUTPUT), 50)
    assert made(task(cap=4_096), "m").output == 4_096
    made.lengths.refused("m", 2_000)
    assert made(task(cap=4_096), "m").output == 2_000


def test_the_cap_of_a_batch_line_stays_as_it_is_written() -> None:
    """Its body is sent unchanged, so what it reserves is what it says."""
    made = charges(OUTPUT)
    made.lengths.refused("m", 2_000)
    assert made(task(cap=4_096, body={"max_tokens": 4_096}), "m").output == 4_096


def test_an_answer_and_its_question_share_the_context_window() -> None:
    """A free cap leaves room for the input."""
    made = charges(OUTPUT, context=1_000)
    charge = made(task(free=True, size=700, least=4_096), "m")
    assert charge.input + charge.output == 1_000
    assert made(task(free=True, size=990, least=4_096), "m").output == 1


def test_a_total_limit_bounds_question_and_answer_together() -> None:
    """A row that passed the check against the limit never becomes too large for it."""
    made = charges(limit("total", 1_000, ALL))
    charge = made(task(free=True, size=700, least=4_096), "m")
    assert charge.input + charge.output == 1_000
    assert made(task(size=700, cap=400), "m").input == 600


def test_the_input_is_never_more_than_its_limit() -> None:
    """A margin must not keep out what just fits."""
    assert charges(limit("input", 1_000))(task(size=980), "m").input == 1_000
    assert charges(limit("input", 2_000))(task(size=980), "m").input == pytest.approx(980 * (1 + MARGIN), abs=1)


@pytest.mark.parametrize("limits", [(), (limit("input", 10_000),)])
def test_without_a_limit_of_output_the_ceiling_is_sent(limits: tuple[Limit, ...]) -> None:
    """A tight cap would gain nothing there, and cut answers short."""
    assert taught(charges(*limits), 50)(task(free=True, cap=4_096), "m").output == 4_096


@pytest.mark.parametrize("limits", [(OUTPUT,), (limit("input", 200_000),), ()])
def test_the_ceiling_is_within_what_the_gateway_takes_whatever_the_limits(limits: tuple[Limit, ...]) -> None:
    """Where nothing keeps a cap small, the gateway's own bound does."""
    made = charges(*limits)
    made.lengths.refused("m", 700)
    assert made(task(free=True, cap=4_096, least=4_096), "m").output == 700


def test_another_run_of_the_same_job_begins_with_its_caps_and_another_job_does_not() -> None:
    """How long answers are belongs to a job; how tokens are counted and what caps are taken, to a model."""
    made = taught(charges(OUTPUT), 50)
    made.lengths.refused("m", 2_000)
    known = made.remember(Knowledge(), "labels")
    same, other = charges(OUTPUT), charges(OUTPUT)
    same.recall(known, "labels")
    other.recall(known, "essays")
    assert same(task(free=True), "m").output < 100
    assert other(task(free=True), "m").output == FIRST_CAP
    assert other(task(cap=4_096), "m").output == 2_000
    assert other(task(), "m").input < 1.05 * 100 < made(task(size=110), "m").input
