"""Confusion tables and what is made of them, beside scikit-learn."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from runner.core.answers import Invalid
from runner.statistics.confusion import confusion

INVALID = Invalid("it is empty")
EXPECTED = st.sampled_from(["a", "b", "c", None])
ANSWERED = st.sampled_from(["a", "b", "c", "d", None, INVALID])
PAIRS = st.lists(st.tuples(EXPECTED, ANSWERED), max_size=40)


def named(value: object) -> str:
    """A word for what is no label, so that scikit-learn counts it as one more wrong answer."""
    return value if isinstance(value, str) else "~missing" if value is None else "~invalid"


@settings(deadline=None)
@given(PAIRS)
def test_figures_are_those_of_scikit_learn(pairs: list[tuple[Any, Any]]) -> None:
    """Missing and invalid answers are wrong answers, and rows without anything expected are left out."""
    table = confusion([one for one, _ in pairs], [other for _, other in pairs])
    known = [(one, named(other)) for one, other in pairs if one is not None]
    assert table.left_out == len(pairs) - len(known)
    assert table.items == len(known)
    if not known:
        return
    truth, answers = zip(*known, strict=True)
    assert table.right == accuracy_score(truth, answers, normalize=False)
    labels = list(table.labels)
    all_labels = [*labels, "~missing", "~invalid"]
    assert table.counts.tolist() == confusion_matrix(truth, answers, labels=all_labels)[: len(labels)].tolist()
    used = [label for label in labels if label in truth or label in answers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = precision_recall_fscore_support(truth, answers, labels=used, zero_division=0)
    figures = [figure for figure in table.figures() if figure.label in used]
    for figure, precision, recall, f1, support in zip(figures, *reference, strict=True):
        assert (figure.precision or 0, figure.recall or 0, figure.f1) == pytest.approx(
            (precision, recall, f1), abs=1e-9
        )
        assert figure.support == support


def test_what_cannot_be_divided_is_none() -> None:
    """A label that was never answered has no precision, and one that was never expected no recall."""
    table = confusion(["a", "a"], ["b", None])
    never, other = table.figures()
    assert (never.label, never.precision, never.recall, never.f1) == ("a", None, 0.0, 0.0)
    assert (other.label, other.precision, other.recall, other.f1) == ("b", 0.0, None, 0.0)


@pytest.mark.parametrize(
    ("expected", "answered", "right", "items"),
    [([], [], 0, 0), ([None], ["a"], 0, 0), (["a"], [None], 0, 1), (["a"], ["a"], 1, 1), ([math.nan], ["a"], 0, 0)],
)
def test_degenerate_tables_have_stated_values(expected: list[Any], answered: list[Any], right: int, items: int) -> None:
    """No rows, nothing expected, nothing answered, one label."""
    table = confusion(expected, answered)
    assert (table.right, table.items) == (right, items)


def test_the_most_frequent_mistakes_come_first() -> None:
    """They name what was expected and what was answered."""
    table = confusion(["a", "a", "b", "a", "c"], ["b", "b", "a", "a", INVALID])
    assert table.mistakes() == [("a", "b", 2), ("b", "a", 1)]


def test_labels_that_never_occur_have_a_place_in_the_table() -> None:
    """The table has the job's own order."""
    table = confusion(["a", "b"], ["a", "b"], labels=("z", "b", "a"))
    assert table.labels == ("z", "b", "a")
