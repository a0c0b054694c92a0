"""Numbers of things, in words."""

from __future__ import annotations

import pytest

from runner.report.counts import counted
from runner.report.poor import poor_answers


@pytest.mark.parametrize(("number", "said"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1200, "1,200 rows")])
def test_one_thing_is_not_several(number: int, said: str) -> None:
    """Thousands are set apart."""
    assert counted(number, "row") == said


def test_answers_that_are_none_are_counted_by_outcome_with_what_to_do() -> None:
    """What went well is not spoken of."""
    models = {"a": {"outcomes": {"ok": 9, "truncated": 1, "refused": 1200}}}
    assert poor_answers(models) == [
        "1 answer truncated: allow more with --max-tokens, or ask for shorter ones",
        "1,200 answers refused by the model: word the prompt otherwise, or ask another model",
    ]


def test_answers_that_are_none_are_counted_by_model_where_there_are_several() -> None:
    """The model with the most comes first, and a few are named."""
    counts = {"a": 1, "b": 3, "c": 1, "d": 1, "e": 1, "f": 0}
    models = {name: {"outcomes": {"ok": 2, "filtered": count}} for name, count in counts.items()}
    [line] = poor_answers(models)
    assert line.startswith("7 answers filtered (3 of b, 1 of a, 1 of c, 1 of d, and of 1 more model): ")


def test_answers_that_cannot_be_read_are_told_of_once_that_is_known() -> None:
    """While a run goes nobody knows."""
    assert poor_answers({"a": {"outcomes": {"ok": 9}, "invalid": None}}) == []
    [line] = poor_answers({"a": {"outcomes": {"ok": 9}, "invalid": 2}})
    assert line.startswith("2 answers invalid: invalid_reason in the results says why")


def test_nothing_is_said_where_all_is_well() -> None:
    """Neither of answers that call tools, which were asked for."""
    assert poor_answers({"a": {"outcomes": {"ok": 9, "tool_calls": 1}}, "b": {"outcomes": {}}}) == []
