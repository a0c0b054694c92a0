"""Votes on one row: who leads, who ties, and who did not vote."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.answers import Invalid
from runner.core.votes import majority, majority_of_each, middle

INVALID = Invalid("it is empty")


def test_the_label_with_the_most_votes_wins() -> None:
    """With its share of the valid votes; who gave none is named."""
    poll = majority({"a": "x", "b": "x", "c": "y", "d": None, "e": INVALID, "f": math.nan})
    assert (poll.value, poll.share, poll.votes) == ("x", pytest.approx(2 / 3), 3)
    assert poll.missing == ("d", "f")
    assert poll.invalid == ("e",)
    assert poll.support == {"x": pytest.approx(2 / 3), "y": pytest.approx(1 / 3)}


def test_a_tie_is_named_and_not_broken() -> None:
    """Whoever reads the table sees between what it is."""
    poll = majority({"a": "x", "b": "y", "c": "z", "d": "y", "e": "x"})
    assert poll.value is None
    assert poll.tied == ("x", "y")
    assert poll.reason == "2 values tie"


def test_weights_decide_and_their_rounding_does_not() -> None:
    """0.1 + 0.2 is not exactly 0.3 for a machine, and a tie all the same."""
    assert majority({"a": "x", "b": "y", "c": "y"}, {"a": 3.0}).value == "x"
    assert majority({"a": "x", "b": "x", "c": "y"}, {"a": 0.1, "b": 0.2, "c": 0.3}).tied == ("x", "y")


@pytest.mark.parametrize("votes", [{}, {"a": None}, {"a": INVALID}])
def test_no_valid_vote_decides_nothing(votes: dict[str, object]) -> None:
    """All three kinds of vote say why."""
    for poll in (majority(votes), majority_of_each(votes), middle(votes)):  # type: ignore[arg-type]
        assert (poll.value, poll.reason, poll.votes) == (None, "there is no valid vote", 0)


def test_json_values_are_the_same_whatever_the_order_of_their_keys() -> None:
    """Extracted fields can be voted on as a whole."""
    poll = majority({"a": {"x": 1, "y": [2]}, "b": {"y": [2], "x": 1}, "c": {"x": 2}})
    assert poll.value == {"x": 1, "y": [2]}


def test_json_values_are_the_same_however_their_numbers_are_written() -> None:
    """1970.0 is 1970, at any depth; true is no 1."""
    assert majority({"a": {"born": [1970]}, "b": {"born": [1970.0]}}).share == 1.0
    assert majority({"a": {"x": True}, "b": {"x": 1}}).tied == ({"x": True}, {"x": 1})


@given(st.dictionaries(st.text(max_size=3), st.sampled_from("xyz"), min_size=1, max_size=9))
def test_the_winner_has_more_votes_than_any_other(votes: dict[str, str]) -> None:
    """And whoever ties has as many as the best; shares add up to 1."""
    poll = majority(votes)
    counted = Counter(votes.values())
    best = max(counted.values())
    leaders = {value for value, count in counted.items() if count == best}
    assert ({poll.value} if poll.value is not None else set(poll.tied)) == leaders
    assert math.fsum(poll.support.values()) == pytest.approx(1.0)
    assert list(poll.support.values()) == sorted(poll.support.values(), reverse=True)


def test_of_several_labels_each_is_voted_on() -> None:
    """Those that more than half are for; exactly half is a tie, which is named."""
    poll = majority_of_each({"a": ("x", "y"), "b": ("x",), "c": ("x", "z")})
    assert (poll.value, poll.tied) == (("x",), ())
    assert poll.share == pytest.approx(2 / 3)
    tied = majority_of_each({"a": ("x", "y"), "b": ("x",)})
    assert (tied.value, tied.tied, tied.reason) == (None, ("y",), "half of the votes are for y")
    assert majority_of_each({"a": (), "b": ()}).value == ()


@pytest.mark.parametrize(
    ("votes", "weights", "value"),
    [
        ({"a": 1, "b": 5, "c": 4}, None, 4),
        ({"a": 1, "b": 4}, None, 2.5),
        ({"a": 3}, None, 3),
        ({"a": 1, "b": 5, "c": 4}, {"a": 9.0}, 1),
        ({"a": 2, "b": 2, "c": 5, "d": None}, None, 2),
    ],
)
def test_ratings_have_a_median(votes: dict[str, float], weights: dict[str, float] | None, value: float) -> None:
    """Weighted; between two middle ones, their mean."""
    assert middle(votes, weights).value == value
