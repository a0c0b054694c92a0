"""What a plan says, against what can be worked out by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

import pytest

from runner.core.caps import Caps, Spending
from runner.core.catalog import Model, Price
from runner.core.charges import Charges
from runner.core.estimate import Size
from runner.core.knowledge import Knowledge, Ratio
from runner.core.limits import Allowance, Limits
from runner.core.schedule import Scheduler
from runner.core.values import Kind, Status, Usage
from runner.core.work import Ask, Finished, Task
from runner.ledgers.memory import MemoryLedger
from runner.planning import Likely, Paces, Plan, Simulation, simulate
from runner.testing import charge_of, failure, task

PRICED = Model(id="a", provider="Somebody", price=Price(input=1.0, output=10.0))
FREE = Model(id="b", provider="Somebody")


def plan(
    tasks: Iterable[Task | Finished],
    models: tuple[Model, ...] = (PRICED,),
    caps: Caps = Caps(),  # noqa: B008
    latency: float = 2.0,
    **allowances: Any,
) -> Plan:
    """A plan at a hundred output tokens a second."""
    limits = Limits(**allowances)
    budgets = limits.budgets(models)
    by_name: Mapping[str, Model] = {model.short: model for model in models}
    scheduler = Scheduler(
        budgets=budgets,
        ledger=MemoryLedger(budgets),
        charge=charge_of,
        spending=Spending(caps, models, 0.0),
        rng=Random(1),
    )
    simulation = Simulation(scheduler, iter(tasks), by_name, as_charged, Paces({}, latency, 100.0))
    return simulate(simulation, budgets, limits)


def as_charged(ask: Ask) -> Usage:
    """The truth is the guess."""
    return Usage(input=ask.lease.charge.input, output=ask.lease.charge.output)


def rows(count: int, *models: str, size: int = 100, cap: int = 50) -> list[Task]:
    return [task(row, *(models or ("a",)), input=size, cap=cap) for row in range(count)]


def test_a_plan_without_limits_takes_one_answer() -> None:
    """Everything goes out at once: two seconds, and fifty tokens at a hundred a second."""
    assert plan(rows(20)).seconds == 2.5


def test_three_windows_of_work_take_two_windows_and_an_answer() -> None:
    """The first window's worth goes at once."""
    made = plan(rows(30), per_model=Allowance(input_tokens=1000))
    assert made.seconds == pytest.approx(122.5)
    assert (made.bound.seconds, made.bound.windows) == (120.0, 3.0)


def test_room_for_output_comes_back_with_the_answers() -> None:
    """In flight every answer reserves its cap: with answers as long as that, nothing is given back."""
    made = plan(rows(30), per_model=Allowance(output_tokens=500))
    assert made.seconds == pytest.approx(122.5)


def test_a_pool_takes_as_long_as_its_models_together() -> None:
    """Two models let through twice as much: two windows of work instead of four."""
    made = plan(rows(40, "a", "b"), models=(PRICED, FREE), per_model=Allowance(input_tokens=1000))
    assert made.seconds == pytest.approx(62.5)


def test_a_combined_limit_takes_as_long_as_the_sum_of_the_work() -> None:
    """The models' own limits do not matter where the combined one binds."""
    tasks = [*rows(10), *rows(10, "b")]
    limits = {"combined": Allowance(input_tokens=1000), "per_model": Allowance(input_tokens=1000)}
    made = plan(tasks, models=(PRICED, FREE), **limits)
    assert made.seconds == pytest.approx(62.5)
    assert made.bound.limit is not None
    assert made.bound.limit.scope == "*"


def test_answers_that_outlast_their_window_hold_their_room() -> None:
    """What is in flight counts: with answers of two windows, each window's worth takes two."""
    made = plan(rows(20), latency=119.5, per_model=Allowance(input_tokens=1000))
    assert made.seconds == pytest.approx(240.0)


def test_answers_of_many_lengths_come_to_an_end() -> None:
    """The plan's own latencies differ, and whatever is learned from them no moment is waited for twice."""
    rng = Random(1)
    tasks = [task(row, "a", input=rng.randint(10, 300), cap=rng.choice([1, 20, 500, 4000])) for row in range(500)]
    made = plan(tasks, per_model=Allowance(input_tokens=2000, output_tokens=9000))
    assert (made.requests.total(), made.seconds >= made.bound.seconds) == (500, True)


def test_the_seconds_of_waiting_are_told_by_their_reason() -> None:
    """What to raise to be faster."""
    made = plan(rows(30), per_model=Allowance(input_tokens=1000))
    assert made.waits == {"input": pytest.approx(120.0), "answers": pytest.approx(2.5)}


def test_tokens_and_dollars_are_the_most_that_can_be_spent() -> None:
    """Every answer is taken to be as long as its cap."""
    made = plan(rows(30))
    assert (made.tasks, dict(made.requests), dict(made.input_tokens)) == (30, {"a": 30}, {"a": 3000})
    assert made.output_tokens == {"a": 1500}
    assert made.cost == {"a": pytest.approx(0.003 + 0.015)}
    assert made.unpriced == []


def test_models_without_a_price_are_named() -> None:
    """A sum that leaves something out says so."""
    made = plan([*rows(2), *rows(1, "b")], models=(PRICED, FREE))
    assert (made.cost["b"], made.unpriced) == (0.0, ["b"])


def test_rows_that_never_fit_are_counted_apart() -> None:
    """They end before anything could be sent."""
    never = Finished(task(9, ""), "", Status.ERRORED, failure(Kind.NEVER_FITS))
    made = plan([never, *rows(3), never])
    assert (made.never, made.tasks) == (2, 3)


def test_a_cap_that_would_stop_the_run_is_named() -> None:
    """With what it would stop at."""
    made = plan(rows(30), caps=Caps(max_total_tokens=1500))
    assert made.requests.total() == 10
    assert "--max-total-tokens 1,500" in str(made.stopped)


def test_a_deadline_that_would_stop_the_run_is_named() -> None:
    """At the time at which the last answer before it would be there."""
    made = plan(rows(30), caps=Caps(deadline=61.0), per_model=Allowance(input_tokens=1000))
    assert (made.requests.total(), made.seconds) == (20, pytest.approx(62.5))
    assert "--deadline" in str(made.stopped)


@pytest.mark.parametrize(("combined", "one", "count"), [(1_100_000, 200_000, 6), (1000, 500, 2), (None, 500, None)])
def test_how_many_models_it_takes_until_the_combined_limit_binds(
    combined: int | None, one: int, count: int | None
) -> None:
    """Up to that many, another model makes a pool faster."""
    made = plan([], combined=Allowance(input_tokens=combined), per_model=Allowance(input_tokens=one))
    assert made.models_for_combined == count


def test_what_is_only_supposed_is_nothing_to_learn_from() -> None:
    """Tokens of input are rounded up: if a plan learned from that, the last of many rows would have more of them."""
    model = Model(id="a", provider="Somebody")
    budgets = Limits().budgets([model])
    charges = Charges([model], budgets, 60.0)
    charges.recall(Knowledge(ratios={"a": Ratio(guessed=1000.0, true=953.0, replies=50)}), "job")
    likely, one = Likely(charges, 10), task(0, "a", input=10, cap=50)
    before = likely.input(one, "a"), charges.estimator.expected(Size(10_000), "a")
    for _ in range(2000):
        charges.learn(one, "a", Usage(input=likely.input(one, "a"), output=10), 1.0)
    assert charges.estimator.expected(Size(10_000), "a") > before[1]
    assert likely.input(one, "a") == before[0]
