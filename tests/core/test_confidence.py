"""How sure annotators are: read from a field of their reply, or by what their samples have in common."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner.core.answers import Answer, Invalid, Reader
from runner.core.answers.confidence import stated
from runner.core.confidence import by_samples, by_statement

LABEL = Reader(kind="label", labels=("a", "b"), confidence="sure")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"label": "a", "sure": 0.8}', 0.8),
        ('{"label": "a", "Sure": 1}', 1.0),
        ('{"label": "a", "sure": 0}', 0.0),
        ('Here it is:\n```json\n{"label": "a", "sure": "0.25"}\n```', 0.25),
        ('Well, {"label": "a", "sure": 0.4}, I think.', 0.4),
        ('<think>{"sure": 0.1}</think>{"label": "a", "sure": 0.9}', 0.9),
        ('{"label": "a"}', None),
        ('{"label": "a", "sure": 85}', None),
        ('{"label": "a", "sure": "85%"}', None),
        ('{"label": "a", "sure": true}', None),
        ('{"label": "a", "sure": null}', None),
        ('{"label": "a", "sure": -0.1}', None),
        ('{"label": "a", "sure": NaN}', None),
        ('{"sure": 0.2} {"sure": 0.4}', None),
        ('{"sure": 0.2, "SURE": 0.4}', None),
        ("a", None),
        ("", None),
    ],
)
def test_a_stated_confidence_is_a_number_from_0_to_1(text: str, found: float | None) -> None:
    """And nothing else is taken for one."""
    assert stated(text, "sure") == found


def test_an_answer_says_how_sure_the_model_is() -> None:
    """Beside the label; an answer without it is an answer all the same."""
    assert LABEL.read('{"label": "a", "sure": 0.8}') == Answer("a", confidence=0.8)
    assert LABEL.read("b") == Answer("b")
    assert isinstance(LABEL.read('{"label": "c", "sure": 0.8}'), Invalid)


@pytest.mark.parametrize(
    ("reader", "reply", "value"),
    [
        (Reader(kind="labels", labels=("a", "b"), confidence="sure"), {"labels": ["b"]}, ("b",)),
        (Reader(kind="rating", confidence="sure"), {"rating": 4}, 4),
        (Reader(kind="fields", schema={"properties": {"x": {}, "sure": {}}}, confidence="sure"), {"x": 1}, {"x": 1}),
    ],
)
def test_the_confidence_is_no_part_of_what_is_voted_on(reader: Reader, reply: Any, value: Any) -> None:
    """Two who say the same with another confidence agree."""
    assert reader.read(json.dumps({**reply, "sure": 0.5})) == Answer(value, confidence=0.5)


def test_structured_output_asks_for_it() -> None:
    """And so does what a model is told whose answer could not be read."""
    schema = LABEL.ask_schema()
    assert schema is not None
    assert schema["required"] == ["label", "sure"]
    assert '"sure"' in LABEL.instruction(Invalid("it names none of the labels"), "c")


def test_the_declaration_survives() -> None:
    """A resume reads as the run did."""
    assert Reader.from_json(json.loads(json.dumps(LABEL.to_json()))) == LABEL


@pytest.mark.parametrize(
    ("votes", "sure"),
    [
        ({"m#1": "a", "m#2": "a", "m#3": "b"}, 2 / 3),
        ({"m#1": "a", "m#2": "a", "m#3": None}, 2 / 3),
        ({"m#1": "a", "m#2": "b"}, 0.5),
        ({"m#1": None, "m#2": None}, 0.0),
        ({"m#1": "a", "m#2": "a", "n#1": "b", "n#2": "b"}, 1.0),  # they disagree, and each is sure
        ({"m#1": "a", "m#2": "b", "n#1": "b", "n#2": "b"}, 0.75),
        ({"m/brief#1": "a", "m/brief#2": "a", "m/long#1": "a", "m/long#2": "b"}, 0.75),
        ({}, 0.0),
    ],
)
def test_samples_that_say_the_same_are_sure(votes: dict[str, str | None], sure: float) -> None:
    """Each annotator by itself, whatever the others say."""
    assert by_samples(votes) == pytest.approx(sure)


def test_who_states_nothing_is_not_sure() -> None:
    """A row is not spared the stronger model for what nobody said."""
    assert by_statement({"m": 0.8, "n": 0.6}) == pytest.approx(0.7)
    assert by_statement({"m": 0.8, "n": None}) == pytest.approx(0.4)
    assert by_statement({}) == 0.0
