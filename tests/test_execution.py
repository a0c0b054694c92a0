"""What a run is given to do, from rows and from what has ended already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from runner.core.catalog import Model
from runner.core.estimate import Size
from runner.core.job import Job
from runner.core.prompt import RowError
from runner.core.survey import Survey
from runner.core.values import Kind, Request
from runner.core.work import Finished, Task
from runner.execution import make_scheduler, run, tasks_of
from runner.ledgers.memory import MemoryLedger
from runner.storage.rows import BadRow, Row
from runner.testing import ScriptedGateway, failure, reply, task
from runner.testing import run as in_a_jumping_loop

ROWS = [
    Row(0, "line 1", {}, "a"),
    BadRow(1, "line 2", "not JSON"),
    Row(2, "line 3", {"bad": 1}, "b"),
    Row(3, "line 4", {}, "c"),
]


class Maker:
    """Makes one task for each of so many models, and notes which rows it was asked about."""

    def __init__(self, slots: int = 1) -> None:
        self.slots = slots
        self.rows: list[int] = []

    def tasks(self, row: int, columns: Mapping[str, Any], digest: str, _count: Any) -> list[Task]:
        self.rows.append(row)
        if "bad" in columns:
            raise RowError("it is bad")
        size = Size(1)
        return [
            Task(row=row, slot=slot, models=("m",), size=size, caps={"m": 1}, request=Request(), digest=digest)
            for slot in range(self.slots)
        ]

    def id_of(self, row: int, _columns: Mapping[str, Any]) -> str:
        return str(row)


def given(maker: Maker, ended: set[tuple[int, int]] = frozenset(), **more: Any) -> list[Task | Finished]:  # type: ignore[assignment]
    return list(tasks_of(ROWS, maker, len, lambda row, slot: (row, slot) in ended, **more))  # type: ignore[arg-type]


def said(one: Task | Finished) -> str:
    return one.result.message if isinstance(one, Finished) else f"row {one.row}.{one.slot}"  # type: ignore[union-attr]


def test_rows_that_cannot_be_asked_come_as_finished() -> None:
    """In their places among the others, with place and reason."""
    found = [said(one) for one in given(Maker())]
    assert found == ["row 0.0", "line 2: not JSON", "line 3: it is bad", "row 3.0"]


def test_a_row_that_cannot_be_asked_may_stop_the_reading() -> None:
    """Nothing comes after it, and it has no outcome."""
    reasons: list[str] = []
    found = given(Maker(), stops=lambda reason: bool(reasons.append(reason)) or True)
    assert [said(one) for one in found] == ["row 0.0"]
    assert reasons == ["line 2: not JSON"]


def test_rows_that_have_ended_are_not_even_rendered() -> None:
    """A resume passes over hundreds of thousands of them before it has anything to send."""
    maker = Maker(slots=2)
    ended = {(0, 0), (0, 1), (1, 0), (1, 1), (3, 0)}
    assert [said(one) for one in given(maker, ended)] == ["line 3: it is bad", "row 3.1"]
    assert maker.rows == [2, 3]


def test_a_row_that_was_recorded_as_bad_stops_nothing() -> None:
    """It has its outcome."""
    assert [said(one) for one in given(Maker(), {(1, 0), (2, 0)}, stops=lambda _reason: True)] == ["row 0.0", "row 3.0"]


def test_tasks_know_what_they_have_used_before() -> None:
    """Attempts, and times that an answer was asked for again: a restart makes neither of them anew."""
    made = given(Maker(slots=2), tried=lambda row, slot: (row, slot))
    assert [(one.attempts, one.asked_again) for one in made if isinstance(one, Task)] == [
        (0, 0),
        (0, 1),
        (3, 0),
        (3, 1),
    ]


@pytest.mark.parametrize(("pool", "code"), [(("a", "b"), 0), (("a",), 9)])
def test_a_model_without_quota_matters_only_if_it_leaves_something_undone(pool: tuple[str, ...], code: int) -> None:
    """Where the rest of its pool has answered everything, the run has done what it was to do."""
    spent = failure(Kind.QUOTA_EXHAUSTED, scope="model")
    gateway = ScriptedGateway(lambda ask, _number: spent if ask.model == "a" else reply())

    async def drive() -> int:
        models = {name: Model(id=name, provider="Somebody") for name in "ab"}
        budgets: dict[str, Any] = dict.fromkeys(models, ())
        scheduler, charges, _ = make_scheduler(
            Job(input="rows.jsonl"),
            models,
            budgets,
            MemoryLedger(budgets),
            Survey(),
            window=60.0,
            now=0.0,
            most_in_flight=10,
        )
        tasks = iter([task(row, *pool) for row in range(3)])
        ending = await run(scheduler, charges, tasks, gateway, lambda _event: None, flush=lambda: None, patience=60.0)
        return ending.exit_code

    assert in_a_jumping_loop(drive()) == code
