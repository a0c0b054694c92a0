"""Scorers: case by case, and what holds for all of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.answers import Answer, Invalid, Reader
from runner.core.errors import UsageError
from runner.scoring import SCORERS, Score
from runner.scoring.structures import validator
from runner.scoring.table import own_scorer

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
CITIES = {"choices": {"A": "Paris", "B": "Rome", "C": "Oslo"}, "letters": "ABC"}

CASES: list[tuple[str, Any, Any, Mapping[str, Any], float | None]] = [
    ("exact", "Paris", "Paris", {}, 1.0),
    ("exact", "paris", "Paris", {}, 0.0),
    ("exact", "Paris ", "Paris", {}, 0.0),
    ("exact", 3, 3.0, {}, 1.0),
    ("exact", True, 1, {}, 0.0),
    ("exact", "3", 3, {}, 1.0),
    ("exact", "4", 4.0, {}, 1.0),
    ("exact", "4.0", 4, {}, 1.0),
    ("exact", "4", 4.5, {}, 0.0),
    ("exact", "4", [3.0, 4.0], {}, 1.0),
    ("exact", "four", 4.0, {}, 0.0),
    ("exact", "true", 1.0, {}, 0.0),
    ("exact", "true", True, {}, 1.0),
    ("exact", "4", "4.0", {}, 0.0),
    ("exact", "", "", {}, 1.0),
    ("exact", "Rome", ["Paris", "Rome"], {}, 1.0),
    ("exact", "Rome", [], {}, None),
    ("normalised", "  The  PARIS! ", "paris", {}, 1.0),
    ("normalised", "ﬁne", "fine", {}, 1.0),
    ("normalised", "the", "a", {}, 0.0),
    ("normalised", "???", "!!!", {}, 0.0),
    ("normalised", "the who", "who", {"articles": False}, 0.0),
    ("normalised", "e.g.", "eg", {"punctuation": False}, 0.0),
    ("contains", "It is Paris, of course.", "paris", {}, 1.0),
    ("contains", "Parisian", "Paris", {}, 0.0),
    ("contains", "Parisian, in Paris", "Paris", {}, 1.0),
    ("contains", "Parisian", "Paris", {"words": False}, 1.0),
    ("contains", "paris", "Paris", {"case": True}, 0.0),
    ("contains", "anything", " ", {}, None),
    ("regex", "order 123", r"\d{3}", {}, 1.0),
    ("regex", "order 12", r"\d{3}", {}, 0.0),
    ("regex", "order 123", r"\d{3}", {"whole": True}, 0.0),
    ("regex", "123", r"1|123", {"whole": True}, 1.0),
    ("regex", "ABC", "abc", {"case": False}, 1.0),
    ("regex", "abc", "unused", {"pattern": "^a"}, 1.0),
    ("regex", "abc", "(", {}, None),
    ("regex", "abab", r"(ab)\1", {}, None),
    ("regex", "abc", "(?=a)", {}, None),
    ("regex", "abc", "a" * 3000, {}, None),
    ("regex", "abc", "((a{1000}){1000}){1000}", {}, None),
    ("regex", "a" * 50_000, "(a+)+$b", {}, 0.0),
    ("regex", "\ud800a", "a", {}, 1.0),
    ("numeric", "The answer is 42.", 42, {}, 1.0),
    ("numeric", "6 * 7 = 42", "42", {}, 1.0),
    ("numeric", "42 is 6 * 7", 42, {"take": "first"}, 1.0),
    ("numeric", "It costs $1,234.50 in all.", 1234.5, {}, 1.0),
    ("numeric", "1\u00a0234", 1234, {}, 1.0),
    ("numeric", "1 234", 1234, {}, 0.0),
    ("numeric", "The answer is 5 000.", 0, {}, 0.0),
    ("numeric", "The answer is 5 000.", "7 000", {}, None),
    ("numeric", "1 000 000", 0, {}, 0.0),
    ("numeric", "5 000 are left", 5, {"take": "first"}, 0.0),
    ("numeric", "1\u2009234", 1234, {}, 1.0),
    ("numeric", "In 2019 300 of them came", 300, {}, 1.0),
    ("numeric", "they came 5 times, 300 in all", 300, {}, 1.0),
    ("numeric", "-$1,200", -1200, {}, 1.0),
    ("numeric", "−€5", -5, {}, 1.0),
    ("numeric", "from $5-$10", 10, {}, 1.0),
    ("numeric", "(1,200)", 1200, {}, 0.0),
    ("numeric", "The loss is: ($1,200)", 1200, {}, 0.0),
    ("numeric", 5, "(5)", {}, None),
    ("numeric", "forty-two (42)", 42, {}, 1.0),
    ("numeric", "f(42)", 42, {}, 1.0),
    ("numeric", "(42) of them came", 42, {}, 1.0),
    ("numeric", "1,234,567", 1234567, {}, 1.0),
    ("numeric", "3,14", 3.14, {}, 0.0),
    ("numeric", "3,14", 3.14, {"decimal": ","}, 1.0),
    ("numeric", "1.234,5", 1234.5, {"decimal": ","}, 1.0),
    ("numeric", "version 1.2.3", 1.2, {}, 0.0),
    ("numeric", "−5", -5, {}, 1.0),
    ("numeric", "it is -5 degrees", -5, {}, 1.0),
    ("numeric", "50%", 0.5, {}, 1.0),
    ("numeric", "50 percent", "50%", {}, 1.0),
    ("numeric", "50%", 50, {"percent": "plain"}, 1.0),
    ("numeric", "50%", 50, {}, 0.0),
    ("numeric", "5kg", 5, {}, 1.0),
    ("numeric", ".5", 0.5, {}, 1.0),
    ("numeric", "1e3", 1000, {}, 1.0),
    ("numeric", r"So \boxed{42}, as 6 times 7 is.", 42, {}, 1.0),
    ("numeric", "3.14", math.pi, {"absolute": 0.01}, 1.0),
    ("numeric", "101", 100, {"relative": 0.01}, 1.0),
    ("numeric", "102", 100, {"relative": 0.01}, 0.0),
    ("numeric", "H2O", 2, {}, 0.0),
    ("numeric", "none", 2, {}, 0.0),
    ("numeric", "2", "two", {}, None),
    ("numeric", "9" * 400, 9, {}, 0.0),
    ("choice", "B", "B", {}, 1.0),
    ("choice", "(b)", "B", {}, 1.0),
    ("choice", "**B.**", "B", {}, 1.0),
    ("choice", "B) Rome", "B", {}, 1.0),
    ("choice", "B. Rome, because it is in Italy.", "B", {}, 1.0),
    ("choice", "The answer is B.", "B", {}, 1.0),
    ("choice", "The correct answer is (B) Rome.", "B", {}, 1.0),
    ("choice", "Let me think. A is wrong.\n\nAnswer: **B**", "B", {}, 1.0),
    ("choice", "A is wrong, so I pick\nB", "B", {}, 1.0),
    ("choice", r"$\boxed{B}$", "B", {}, 1.0),
    ("choice", "It must be (B), I think.", "B", {}, 1.0),
    ("choice", "Rome", "B", CITIES, 1.0),
    ("choice", "B", "Rome", CITIES, 1.0),
    ("choice", "C", "B", {}, 0.0),
    ("choice", "The answer is A or the answer is B", "B", {}, 0.0),
    ("choice", "A) Paris\nB) Rome\nC) Oslo", "A", {}, 0.0),
    ("choice", "A city in Italy is meant.", "A", {}, 0.0),
    ("choice", "I do not know.", "I", {}, 0.0),
    ("choice", "Answer: I think it is B", "B", {}, 1.0),
    ("choice", "The answer I got was B", "B", {}, 1.0),
    ("choice", "Answer: I believe the correct option is B.", "B", {}, 1.0),
    ("choice", "The answer I would pick is C.", "C", {}, 1.0),
    ("choice", "Answer: I do not think it is B", "B", {}, 0.0),
    ("choice", "Answer: I do not know", "I", {}, 0.0),
    ("choice", "Answer: I", "I", {}, 1.0),
    ("choice", "The answer is I, as it rhymes.", "I", {}, 1.0),
    ("choice", "The answer is A because it rhymes.", "A", {}, 1.0),
    ("choice", "Answer: A\n\nIt rhymes.", "A", {}, 1.0),
    ("choice", "Answer: A Paris", "A", {}, 1.0),
    ("choice", "The answer is A city.", "A", {}, 0.0),
    ("choice", "The answer is (A) Paris.", "A", {}, 1.0),
    ("choice", "The answer is (b).", "B", {}, 1.0),
    ("choice", "the answer is b", "B", {}, 1.0),
    ("choice", "The answer is a", "A", {}, 1.0),
    ("choice", "The answer is a city in Italy.", "A", {}, 0.0),
    ("choice", "The answer is e.g. Rome.", "E", {}, 0.0),
    ("choice", "I have read one e-mail.", "E", {}, 0.0),
    ("choice", "So I pick\nb", "B", {}, 1.0),
    ("choice", "Answer: A is correct", "A", {}, 1.0),
    ("choice", "Answer: A is the capital.", "A", {}, 1.0),
    ("choice", "The answer is A with 90% confidence", "A", {}, 1.0),
    ("choice", "The answer is I with 90% confidence", "I", {}, 1.0),
    ("choice", "So the answer is A from the list", "A", {}, 1.0),
    ("choice", "Correct answer: A though C is close", "A", {}, 1.0),
    ("choice", "Answer: A based on the text", "A", {}, 1.0),
    ("choice", "Answer: I based it on the text, so it is B", "I", {}, 0.0),
    ("choice", "Option A is wrong. Answer: B", "B", {}, 1.0),
    ("choice", "Option C is wrong. Answer: B", "B", {}, 1.0),
    ("choice", "Pick one: a, b or c", "A", {}, 0.0),
    ("choice", r"It is \boxed{e^{2}}", "E", {}, 0.0),
    ("choice", r"It is \boxed{b}.", "B", {}, 1.0),
    ("choice", "correct: e^2", "E", {}, 0.0),
    ("choice", "select b where x. Answer: C", "C", {}, 1.0),
    ("choice", "The answer is **b**, because it rhymes.", "B", {}, 1.0),
    ("choice", "B", "Z", {}, None),
    ("f1", "the cat sat", "a cat sat down", {}, 2 * 2 / 5),
    ("f1", "cat cat", "cat", {}, 2 / 3),
    ("f1", "dog", "cat", {}, 0.0),
    ("f1", "dog", ["cat", "dog"], {}, 1.0),
    ("edit", "kitten", "sitting", {}, 1 - 3 / 7),
    ("edit", "", "", {}, 1.0),
    ("edit", "ABC ", "abc", {"normalise": True}, 1.0),
    ("rouge_l", "police kill the gunman", "police killed the gunman", {}, 0.75),
    ("rouge_l", "the gunman kill police", "police killed the gunman", {}, 0.5),
    ("json_fields", '{"a": 1, "b": 2}', {"a": 1, "b": 3}, {}, 0.5),
    ("json_fields", {"a": 1, "b": 2, "c": 9}, '{"a": 1, "b": 2}', {}, 1.0),
    ("json_fields", {"a": 1, "b": 2}, {"a": 1, "b": 3}, {"fields": ["a"]}, 1.0),
    ("json_fields", "no JSON", {"a": 1}, {}, 0.0),
    ("json_fields", {"a": 1}, {}, {}, None),
    ("json_fields", {"a": 1}, "[1]", {}, None),
    ("json_fields", {"a": 1.01}, {"a": 1}, {"relative": 0.02}, 1.0),
    ("json", '{"b": [1], "a": null}', {"a": None, "b": [1.0]}, {}, 1.0),
    ("json", {"a": True}, {"a": 1}, {}, 0.0),
    ("json", "[1, 2]", [2, 1], {}, 0.0),
    ("json", "{", {}, {}, 0.0),
    ("json", 10**400, 1.5, {"relative": 0.1}, 0.0),
    ("exact", 10**400, 1.5, {}, 0.0),
    ("numeric", 10**400, 1.5, {}, 0.0),
    ("closeness", 10**400, 3, {}, 0.0),
    ("schema", '{"a": 1}', None, {"schema": SCHEMA}, 1.0),
    ("schema", {"a": "1"}, None, {"schema": SCHEMA}, 0.0),
    ("schema", "{", None, {"schema": SCHEMA}, 0.0),
    ("set", ("b", "a"), ["a", "b"], {}, 1.0),
    ("set", "b, a", '["a", "b"]', {}, 1.0),
    ("set", ["a"], ["a", "b"], {}, 0.0),
    ("set", [], [], {}, 1.0),
    ("jaccard", ["a", "c"], ["a", "b"], {}, 1 / 3),
    ("jaccard", [], [], {}, 1.0),
    ("jaccard", [], ["a"], {}, 0.0),
    ("closeness", 4, 5, {}, 0.75),
    ("closeness", 1, 5, {}, 0.0),
    ("closeness", "4", "4", {}, 1.0),
    ("closeness", 7, 5, {}, 0.0),
    ("closeness", 4, "good", {}, None),
]


@pytest.mark.parametrize(("name", "answer", "expected", "options", "value"), CASES)
def test_an_answer_scores(
    name: str, answer: Any, expected: Any, options: Mapping[str, Any], value: float | None
) -> None:
    """Each scorer by its own cases; whatever is no 1 has its reason."""
    score = SCORERS[name](answer, expected, options)
    assert score.value == (None if value is None else pytest.approx(value, abs=1e-12))
    assert bool(score.reason) == (score.value != 1.0)


SLOW = [
    "answer" + " " * 100_000, "answer I" + " a" * 50_000, "answer: " * 20_000, "answer" + ": " * 50_000,
    "The answer is" + ": " * 50_000, "answer I " + "a" * 100_000, "A) x\nB) y" + "\n" * 50_000,
]  # fmt: skip


@pytest.mark.parametrize("text", SLOW, ids=lambda text: text[:13])
@pytest.mark.timeout(20)
def test_a_long_answer_without_a_choice_does_not_hold_up_the_scoring(text: str) -> None:
    """Looking for a letter takes about as long as the text is, not its square."""
    assert SCORERS["choice"](text, "B").value == 0.0


OPTIONS: dict[str, Mapping[str, Any]] = {"schema": {"schema": SCHEMA}}


@pytest.mark.fault("R13")
@pytest.mark.parametrize("name", SCORERS)
def test_missing_and_invalid_answers_score_0_and_are_named(name: str) -> None:
    """None, NaN and what could not be read; an `Answer` is scored by its value."""
    score = SCORERS[name].prepared(OPTIONS.get(name))
    assert score(None, "3") == Score(0.0, "no answer")
    assert score(math.nan, "3") == Score(0.0, "no answer")
    assert score(Invalid("it is empty"), "3") == Score(0.0, "invalid: it is empty")
    assert score(Answer("3"), "3") == score("3", "3")


@pytest.mark.parametrize("name", [name for name, row in SCORERS.items() if row.expects])
def test_without_anything_expected_there_is_no_score(name: str) -> None:
    """Neither 0 nor 1: such a row says nothing of the model, also if the answer is missing."""
    score = SCORERS[name].prepared(OPTIONS.get(name))
    for answer in ("3", None, Invalid("it is empty")):
        assert score(answer, None) == score(answer, math.nan) == Score(None, "nothing is expected of this row")


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.sampled_from("AB")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.sampled_from(sorted(set(SCORERS))), VALUES, VALUES)
def test_scoring_never_raises(name: str, answer: Any, expected: Any) -> None:
    """Whatever the table holds, there is a score of 0 to 1, or none with the reason; never NaN."""
    score = SCORERS[name](answer, expected, OPTIONS.get(name))
    assert score.value is None or 0.0 <= score.value <= 1.0
    assert score.reason or score.value == 1.0


@settings(deadline=None)
@given(st.text(min_size=1, max_size=30))
def test_a_text_is_like_itself(text: str) -> None:
    """By every scorer of texts."""
    for name in ("exact", "normalised", "f1", "edit", "rouge_l", "json"):
        assert SCORERS[name](text, text).value in (1.0, None)


def test_fields_have_scores_of_their_own() -> None:
    """The reason names those that differ; a missing answer has none."""
    score = SCORERS["json_fields"]({"a": 1, "b": "x"}, {"a": 1, "b": "y", "c": None})
    assert score.parts == {"a": 1.0, "b": 0.0, "c": 0.0}
    assert score.reason == "differs in b, c"
    assert score.value == pytest.approx(1 / 3)


def test_a_violated_schema_names_the_place() -> None:
    """So that the reason can be shown to a person, and to the model."""
    assert SCORERS["schema"]({"a": "1"}, None, {"schema": SCHEMA}).reason == 'a: "1" is not of type "integer"'


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("exact", {"case": True}, "takes no option 'case'; it takes none"),
        ("contains", {"word": True}, "it takes case, words"),
        ("regex", {"pattern": "("}, "cannot use its pattern"),
        ("regex", {"pattern": r"(a)\1"}, "linear time"),
        ("numeric", {"absolute": -1}, "0 or more for absolute"),
        ("numeric", {"relative": math.nan}, "0 or more for relative"),
        ("numeric", {"decimal": ";"}, "'.' or ','"),
        ("choice", {"letters": "AA"}, "`letters` that differ"),
        ("choice", {"letters": "AB", "choices": {"C": "x"}}, "`choices` as a table"),
        ("schema", {}, "needs a `schema`"),
        ("schema", {"schema": {"type": "thing"}}, "no JSON schema"),
        ("schema", {"schema": {"$ref": "http://127.0.0.1:9/x.json"}}, "no JSON schema"),
        ("closeness", {"low": 5, "high": 1}, "`low` below `high`"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_before_any_row(name: str, options: Any, words: str) -> None:
    """One sentence says what is wrong."""
    with pytest.raises(UsageError, match=words.replace("(", r"\(").replace(")", r"\)")):
        SCORERS[name].prepared(options)


@pytest.mark.parametrize(
    ("given", "value", "reason"),
    [
        (0.25, 0.25, ""),
        (True, 1.0, ""),
        (False, 0.0, ""),
        (None, None, "gave none"),
        (math.nan, None, "gave nan"),
        (1.5, None, "not between 0 and 1"),
        (math.inf, None, "not between 0 and 1"),
        (Score(math.nan, "x"), None, "gave nan"),
        (Score(0.5, "half"), 0.5, "half"),
        ("good", None, "failed: ValueError"),
        (ZeroDivisionError("of one's own"), None, "failed: ZeroDivisionError: of one's own"),
    ],
)
@pytest.mark.fault("R13")
def test_a_function_of_ones_own_scores(given: Any, value: float | None, reason: str) -> None:
    """NaN never becomes 0, and what it raises ends no evaluation."""

    def mine(answer: Any, expected: Any, options: Mapping[str, Any]) -> Any:
        assert (answer, expected, options) == ("a", "b", {"k": 1})
        if isinstance(given, Exception):
            raise given
        return given

    score = own_scorer(mine)("a", "b", {"k": 1})
    assert score.value == value
    assert reason in score.reason
    assert own_scorer(mine)(None, "b").reason == "no answer"


def test_the_table_says_what_each_scorer_is() -> None:
    """Options are JSON, so that they can stand in a job."""
    for row in SCORERS.values():
        assert row.about
        json.dumps(dict(row.options))


def test_a_schema_checks_what_a_reader_reads() -> None:
    """The reader knows no schema itself: this is what is handed to it, and its errors are the reason."""
    reader = Reader(kind="fields", schema=SCHEMA)
    assert reader.read('Here: {"a": 1}', validate=validator(SCHEMA)) == Answer({"a": 1}, ("prose",))
    assert reader.read('{"a": "7"}', validate=validator(SCHEMA)) == Answer({"a": 7}, ("number",))
    assert reader.read('{"a": "x"}', validate=validator(SCHEMA)) == Invalid('a: "x" is not of type "integer"')


@pytest.mark.parametrize("value", ["\ud800", {1: 2}, object(), {"a": math.nan}])
def test_what_no_schema_can_look_at_is_wrong_with_a_reason(value: Any) -> None:
    """A lone surrogate, a key that is no text, an object of Python, NaN."""
    assert validator(SCHEMA)(value) != []
