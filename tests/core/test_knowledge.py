"""What is remembered, written and read back; and whatever else a file may hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.core.knowledge import MOST_LENGTHS, Knowledge, Ratio, limit_key
from runner.core.latency import Speed
from runner.core.limits import ALL, Limit

KNOWN = Knowledge(
    limits={"a/input": {"amount": 120_000.0, "kind": "bucket"}, "*/input": {"amount": 900_000}},
    ratios={"a": Ratio(1000.0, 1100.0, 12), "b": Ratio(10.0, 9.0, 1)},
    output_caps={"a": 8192, "c": 4096},
    lengths={"label": {"a": (3, 4, 5), "b": (7,)}, "sum": {"a": (90,)}},
    speeds={"a": Speed(first=0.5, per_token=0.01, spread=0.3, tokens=4.0, tokens_spread=1.0, replies=90)},
)
ODD_SPEED = {"first": 0.5, "per_token": 0.01, "spread": 0.3, "tokens": 4.0, "tokens_spread": 1.0}


def test_what_is_written_is_what_is_read() -> None:
    """Through JSON and back."""
    assert Knowledge.from_json(json.loads(json.dumps(KNOWN.to_json()))) == KNOWN


def test_of_nothing_nothing_is_known() -> None:
    """An empty file is no mistake, and neither is one with sections of a later version."""
    assert Knowledge.from_json({}) == Knowledge() == Knowledge.from_json({"moods": {"a": "good"}})


@pytest.mark.parametrize(
    ("section", "entry"),
    [
        ("limits", {}),
        ("limits", {"amount": float("inf")}),
        ("limits", [1, 2]),
        ("limits", {"note": "x" * 10_000}),
        ("ratios", {"guessed": 0, "true": 1, "replies": 1}),
        ("ratios", {"guessed": 1.0, "true": 500.0, "replies": 1}),
        ("ratios", {"guessed": 1.0, "true": float("nan"), "replies": 1}),
        ("ratios", {"guessed": 1.0, "true": 1.0, "replies": 1.5}),
        ("ratios", {"guessed": 1.0, "true": 1.0}),
        ("ratios", 1.2),
        ("output_caps", 0),
        ("output_caps", True),
        ("output_caps", "8192"),
        ("lengths", {"a": []}),
        ("lengths", {"a": "12"}),
        ("lengths", {"a": [-1, 2.5, None]}),
        ("lengths", [3]),
        ("speeds", 0.5),
        ("speeds", ODD_SPEED),
        ("speeds", {**ODD_SPEED, "replies": 0}),
        ("speeds", {**ODD_SPEED, "replies": 1, "first": -1.0}),
        ("speeds", {**ODD_SPEED, "replies": 1, "spread": 400.0}),
        ("speeds", {**ODD_SPEED, "replies": 1, "per_token": float("nan")}),
    ],
)
def test_an_entry_that_is_not_as_it_should_be_is_left_out(section: str, entry: Any) -> None:
    """And those beside it are kept."""
    table = KNOWN.to_json()
    table[section]["odd"] = entry
    assert Knowledge.from_json(table) == KNOWN


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(["limits", "ratios", "output_caps", "lengths", "speeds"]), json_values))
def test_whatever_a_file_holds_it_is_read(table: dict[str, Any]) -> None:
    """Nothing in it can stop a run."""
    known = Knowledge.from_json(table)
    assert Knowledge.from_json(known.to_json()) == known


def test_of_very_many_lengths_the_last_are_kept() -> None:
    """A file that grew for ever would be read for ever."""
    known = Knowledge(lengths={"label": {"a": tuple(range(10 * MOST_LENGTHS))}})
    kept = Knowledge.from_json(known.to_json()).lengths["label"]["a"]
    assert kept == tuple(range(9 * MOST_LENGTHS, 10 * MOST_LENGTHS))


def test_the_models_are_those_that_anything_is_known_of() -> None:
    """All of them together are no model."""
    assert KNOWN.models == {"a", "b", "c"}


def test_one_model_can_be_forgotten_everywhere() -> None:
    """With its limits, its ratio, its cap and its answers; what all share stays."""
    left = KNOWN.without("a")
    assert left.models == {"b", "c"}
    assert (set(left.limits), left.lengths, left.speeds) == ({"*/input"}, {"label": {"b": (7,)}}, {})


def test_a_limit_is_known_by_its_scope_and_measure() -> None:
    """Its amount is what is learned of it."""
    assert limit_key(Limit(scope=ALL, measure="input", amount=5, window=60.0)) == "*/input"
