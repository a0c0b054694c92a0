"""Tasks that are simulated several at a time, against what can be worked out by hand."""

from __future__ import annotations

import pytest

from runner.coarse import Coarse, Left, Like
from runner.core.catalog import Model
from runner.core.limits import Allowance, Limits
from runner.core.values import Charge
from runner.ledgers.memory import MemoryLedger

MODELS = {name: Model(id=name, provider="Somebody") for name in ("a", "b")}


def left(tasks: float, *models: str, read: int = 100, output: int = 10) -> Left:
    like = Like(reserves=Charge(1, read, output), input=read, outputs=(output,), output=output)
    return Left(models=models, tasks=tasks, of_model=dict.fromkeys(models, like))


def finish(*lefts: Left, most: int = 2_000, **allowance: int) -> float:
    """When all will have ended, if an answer takes a second."""
    budgets = Limits(per_model=Allowance(**allowance)).budgets(MODELS.values())
    made = Coarse(
        lefts,
        ledger=MemoryLedger(budgets),
        models=MODELS,
        budgets=budgets,
        seconds=lambda _model, _tokens: 1.0,
        most_in_flight=4_000,
        window=60.0,
        now=0.0,
        most=most,
    )
    found = None
    while found is None:
        found = made.advance(500)
    return found


@pytest.mark.parametrize("most", [2_000, 400])
def test_each_window_takes_what_its_limit_holds(most: int) -> None:
    """Ten and a half windows of work take ten windows and an answer, if all of it is simulated or less than half."""
    assert finish(left(105_000, "a"), input_tokens=1_000_000, most=most) == pytest.approx(601.0, rel=0.01)


def test_the_last_of_several_groups_decides() -> None:
    """What only one model can do goes on after what another had to do."""
    both = finish(left(20_500, "a"), left(105_000, "b"), input_tokens=1_000_000, most=600)
    assert both == pytest.approx(601.0, rel=0.01)


@pytest.mark.parametrize("rate", [4, 10, 11, 14, 18, 100])
def test_a_limit_of_requests_counts_single_tasks(rate: int) -> None:
    """Those that are taken together are as many requests, also when they have landed; there are no parts of them."""
    assert finish(left(60 * rate, "a"), requests_per_second=rate) == pytest.approx(60.0, rel=0.05)


def test_nothing_is_left() -> None:
    """Then all has ended already."""
    assert finish() == 0.0
