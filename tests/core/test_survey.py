"""What a look at the input sums up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner.core.estimate import Size
from runner.core.survey import Survey
from runner.core.values import Charge, Request
from runner.core.work import Task


def task(*models: str, cap: int = 1024) -> Task:
    return Task(row=0, models=models, size=Size(7), caps=dict.fromkeys(models, cap), request=Request())


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], "int"),
        ([1, 2.5], "float"),
        ([2.5, 1], "float"),
        ([True, False], "bool"),
        ([True, 1], "json"),
        (["a", "b"], "str"),
        (["a", 1], "json"),
        ([[1], [2]], "json"),
        ([None, 1], "int"),
        ([1, None], "int"),
        ([None, None], "null"),
        ([1, "a", 1], "json"),
    ],
)
def test_a_columns_kind_is_the_narrowest_that_holds_all_its_values(values: list[Any], kind: str) -> None:
    """In whatever order they come; a missing value is of every kind."""
    survey = Survey()
    for value in values:
        survey.note_columns({"x": value})
    assert survey.kinds == {"x": kind}


def test_a_survey_sums_the_work_of_single_models_and_of_pools() -> None:
    """The scheduler is told of the first before it sees a task."""
    survey = Survey()
    for one in (task("plain"), task("plain"), task("plain", "terse", cap=70)):
        survey.note_task(one)
    assert survey.tasks == 3
    assert survey.pinned == {"plain": Charge(2, 2 * 7, 2 * 1024)}
    assert survey.pooled == Charge(1, 7, 70)
    assert list(survey.models) == ["plain", "terse"]


def test_a_survey_says_each_reason_once_with_the_first_of_its_places() -> None:
    """A file that is wrong in one way is one line to read."""
    survey = Survey()
    for row in range(50):
        survey.note_bad(f"line {row}", "it is empty")
    survey.note_bad("line 50", "it is no row")
    first = "line 0, line 1, line 2, line 3, line 4 and 45 more: it is empty"
    assert (survey.bad, survey.problems) == (51, [first, "line 50: it is no row"])


def test_a_survey_keeps_a_bounded_number_of_reasons() -> None:
    """Twenty are enough to read; the others are counted."""
    survey = Survey()
    for row in range(50):
        survey.note_bad(f"line {row}", f"reason {row}")
    assert (survey.bad, len(survey.problems), survey.problems[-1]) == (50, 21, "... and 30 more, for other reasons")


def test_a_survey_says_what_an_earlier_one_did_not_know() -> None:
    """The scheduler was told of the first rows' work; it is told of the rest when that is known."""
    first, whole = Survey(), Survey()
    first.note_task(task("plain"))
    for one in (task("plain"), task("plain"), task("terse"), task("plain", "terse")):
        whole.note_task(one)
    assert dict(whole.pinned_beyond(first)) == {"plain": Charge(1, 7, 1024), "terse": Charge(1, 7, 1024)}


def test_a_survey_survives_being_written_down() -> None:
    """The process that looks and the manifest that remembers speak JSON."""
    survey = Survey(complete=True, selected=40)
    survey.note_columns({"x": 1, "y": "a"})
    survey.note_task(task("plain"))
    survey.note_task(task("plain", "terse"))
    for row in range(30):
        survey.note_bad(f"line {row}", f"reason {row % 25}")
    assert Survey.from_json(json.loads(json.dumps(survey.to_json()))) == survey


def test_tokens_are_told_from_what_rows_are_taken_to_have() -> None:
    """A look counts bytes, which are more; of some rows it is known how many tokens they are."""
    survey = Survey()
    assert survey.tokens_of_text == 1.0
    survey.note_size(400, 100)
    survey.note_size(200, 50)
    assert survey.tokens_of_text == 0.25
    assert Survey.from_json(json.loads(json.dumps(survey.to_json()))) == survey
