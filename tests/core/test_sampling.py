"""An even choice of an input's rows."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from runner.core.estimate import Size
from runner.core.sampling import LEAST, MOST, Sample
from runner.core.values import Request
from runner.core.work import Task


def task(text: int, *models: str, request: Request | None = None) -> Task:
    names = models or ("a",)
    return Task(row=0, models=names, size=Size(text), caps=dict.fromkeys(names, 9), request=request or Request())


def sample(rows: Sequence[Sequence[Task]]) -> Sample:
    """A choice of these, of which a token is exactly what was taken for four."""
    made = Sample(lambda task: Size(task.size.text // 4))
    for tasks in rows:
        made.see(tasks)
    return made


def test_few_rows_are_kept_and_stand_for_all() -> None:
    """However many there are; and their tokens add up to what all have."""
    texts = [400 + 4 * (row % 500) for row in range(20_000)]
    made = sample([[task(text)] for text in texts])
    rows = list(made.rows())
    assert made.kept == len(rows) <= MOST
    assert sum(row.stands_for for row in rows) == pytest.approx(20_000)
    tokens = sum(row.stands_for * row.tasks[0].size.text for row in rows)
    assert tokens == pytest.approx(sum(texts) / 4, rel=0.001)


def test_all_of_a_small_input_is_kept() -> None:
    """Each row stands for itself."""
    rows = list(sample([[task(100)] for _ in range(50)]).rows())
    assert [row.stands_for for row in rows] == [1.0] * 50


def test_rare_rows_are_kept_beside_frequent_ones() -> None:
    """A few that are long, or that go to other models, weigh in a plan as much as many that are not."""
    rows = [[task(200)] for _ in range(20_000)] + [[task(100_000)] for _ in range(10)] + [[task(200, "b")]]
    kept = [(row.tasks[0].models[0], row.tasks[0].size.text) for row in sample(rows).rows()]
    assert kept.count(("a", 25_000)) == 10
    assert kept.count(("b", 50)) == 1


def test_only_kept_rows_are_measured_and_nothing_of_what_they_ask_is_held() -> None:
    """A million rows take no memory, and little time."""
    measured: list[Task] = []
    made = Sample(lambda task: measured.append(task) or task.size)  # type: ignore[func-returns-value]
    for row in range(30_000):
        made.see([task(100 + row % 20, request=Request(body={"prompt": "long"}))])
    assert len(measured) < 5 * MOST
    assert all(row.tasks[0].request == Request(body={}) for row in made.rows())


def test_tasks_of_one_row_that_ask_the_same_are_measured_once() -> None:
    """As when every model is asked about it."""
    measured: list[Task] = []
    made = Sample(lambda task: measured.append(task) or task.size)  # type: ignore[func-returns-value]
    request = Request()
    made.see([task(100, model, request=request) for model in "abc"])
    assert len(measured) == 1
    assert [[one.models for one in row.tasks] for row in made.rows()] == [[("a",), ("b",), ("c",)]]


@pytest.mark.parametrize(
    ("models", "even"),
    [
        (["a"] * 3_000, True),
        (["a", "b"] * 1_500, True),
        (["a"] * 1_500 + ["b"] * 1_500, False),
        (["a"] * 3_000 + ["b"] * (LEAST - 1), True),
    ],
)
def test_rows_that_stand_together_are_told_from_those_that_are_spread(models: list[str], even: bool) -> None:
    """Where each model's rows come after another's, they are not asked about side by side; a few do not matter."""
    assert sample([[task(100, model)] for model in models]).is_even is even
