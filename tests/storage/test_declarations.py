"""The sections of job files: what they make, what is refused and where, and settings put over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from runner.core.answers import Reader
from runner.core.errors import UsageError
from runner.core.job import Job
from runner.core.labelling import Annotators, Escalation, Gold, Reading, Voting
from runner.storage.jobs import declare, read_words, replaced

WHOLE = """
input = "rows.jsonl"
models = ["a", "b"]
each = true

[answer]
kind = "label"
labels = ["spam", "ham"]
synonyms = { junk = "spam", ham = ["fine", "wanted"] }
asks = 1

[annotators]
prompts = { brief = "Is it spam? {{ text }}", long = "@long.jinja" }
samples = 2

[vote]
rule = "weighted"
weights = { "a/brief#1" = 2 }
least = 0.5

[gold]
column = "known"

[escalate]
models = "c"
below = 0.6
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "job.toml").write_text(WHOLE)
    (tmp_path / "long.jinja").write_text("Think about it. {{ text }}")
    return tmp_path


def whole(folder: Path) -> Job:
    return declare(read_words(folder), "job.toml")


def problems(**words: Any) -> list[str]:
    with pytest.raises(UsageError) as caught:
        declare({"input": "a.jsonl"} | words, "job.toml")
    return str(caught.value).split("\n")


def test_each_section_makes_its_value(folder: Path) -> None:
    """A job file says how replies are read, who annotates, how votes count and what is known."""
    job = whole(folder)
    synonyms = {"junk": "spam", "fine": "ham", "wanted": "ham"}
    assert job.answer == Reading(reader=Reader(kind="label", labels=("spam", "ham"), synonyms=synonyms), asks=1)
    prompts = {"brief": "Is it spam? {{ text }}", "long": "Think about it. {{ text }}"}
    assert job.annotators == Annotators(prompts=prompts, samples=2)
    assert job.vote == Voting(rule="weighted", weights={"a/brief#1": 2.0}, least=0.5, declared=True)
    assert job.gold == Gold(column="known")
    assert job.escalate == Escalation(models=("c",), below=0.6)
    assert job.slots == 2 * 2 * 2 + 1


def test_a_job_without_sections_stays_as_it_was() -> None:
    """Replies are taken as they are, and each row makes one task for each model."""
    job = declare({"input": "a.jsonl", "models": "a,b", "each": True}, "job.toml")
    assert (job.answer, job.gold, job.escalate, job.slots) == (None, None, None, 2)


def test_the_sections_survive_the_manifest(folder: Path) -> None:
    """What a resume reads is what was declared."""
    job = whole(folder)
    assert Job.from_json(orjson.loads(orjson.dumps(job.to_json()))) == job


def test_a_manifest_from_before_the_sections_still_reads() -> None:
    """An older run can be gone on with."""
    job = declare({"input": "a.jsonl"}, "job.toml")
    old = {name: value for name, value in job.to_json().items() if name not in ("answer", "annotators", "vote")}
    assert Job.from_json(old) == job


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"answer": {"kind": "label"}}, "answer: the answer cannot be read as declared: a label answer needs labels."),
        ({"answer": {"kind": "lable", "labels": "a,b"}}, "answer.kind: "),
        ({"answer": {"kind": "label", "labels": ["a", ""]}}, ""),
        ({"answer": {"kind": "label", "labels": 5}}, "answer.labels: names are given in a list, or in one text with"),
        ({"answer": {"kind": "label", "labels": "a,b", "synonyms": {"x": "c"}}}, "answer: the answer cannot be read"),
        ({"answer": {"kind": "rating", "low": 5, "high": 1}}, "answer: the answer cannot be read as declared: a r"),
        ({"answer": {"kind": "label", "labels": "a,b", "schema": "{}"}}, "answer: a schema belongs to kind = 'fields'"),
        ({"answer": {"kind": "spans"}}, "answer: spans need a `source`"),
        ({"answer": {"kind": "label", "labels": "a", "asks": -1}}, "answer.asks: "),
        ({"answer": {"kind": "label", "lables": "a"}}, "there is no word 'lables' in [answer]. Did you mean 'labels'?"),
        ({"answer": 5}, "answer: "),
        ({"anwser": {}}, "there is no word 'anwser'. Did you mean 'answer'?"),
        ({"annotators": {"sampels": 2}}, "there is no word 'sampels' in [annotators]. Did you mean 'samples'?"),
        ({"annotators": {"prompts": {"a b": "x"}}}, "annotators.prompts.a b"),
        ({"vote": {"rule": "weighted"}}, "vote: weights belong to rule = 'weighted', and it needs some."),
        ({"vote": {"rule": "weighted", "weights": {"a": 0}}}, "vote.weights.a: "),
        ({"vote": {"least": 2}}, "vote.least: "),
        ({"gold": {}}, "gold.column is missing."),
        ({"escalate": {"models": [], "below": 0.5}}, "escalate.models: "),
        ({"escalate": {"models": "a"}}, "escalate: it needs `below` (agreement) or `confidence_below`, to say"),
        ({"escalate": {"models": "a", "confidence_below": 80}}, "escalate.confidence_below: "),
        ({"answer": {"kind": "text", "confidence": "sure"}}, "answer: the answer cannot be read as declared: a te"),
        ({"answer": {"kind": "rating", "confidence": "rating"}}, "answer: the answer cannot be read as declared: 'r"),
        (
            {"answer": {"kind": "fields", "schema": {"properties": {"x": {}}}, "confidence": "sure"}},
            "answer: the answer cannot be read as declared: the schema has no property 'sure'",
        ),
    ],
)  # fmt: skip
def test_what_cannot_stand_in_a_section_is_said_with_its_path(sections: dict[str, Any], line: str) -> None:
    """The place, what is wrong, and for a slip of the pen what was probably meant."""
    if not line:  # an empty name is left out, as in models
        declare({"input": "a.jsonl"} | sections, "job.toml")
        return
    said = problems(**sections)
    assert said[0].startswith(f"job.toml: {line}"), said


def test_errors_in_several_sections_are_said_at_once() -> None:
    """A person corrects a file once."""
    said = problems(max_tokens=0, vote={"least": 2}, answer={"kind": "label"}, gold={"colum": "x"})
    assert [line.split(": ")[1].split(" ")[0] for line in said] == [
        "max_tokens", "answer", "vote.least", "gold.column", "there",
    ]  # fmt: skip


def test_structured_output_is_asked_for_with_the_readers_schema() -> None:
    """`structured` is the readers' own schema; one beside it would be a second one."""
    said = {"kind": "label", "labels": "a,b", "structured": True}
    job = declare({"input": "a", "answer": said}, "job.toml")
    assert job.settings.schema is not None
    assert job.settings.schema["properties"]["label"]["enum"] == ["a", "b"]
    assert "answer.structured" in problems(answer=said, schema="{}")[0]


def test_the_fingerprint_names_what_is_asked_and_how_it_is_read() -> None:
    """Another prompt, model or synonym is another job; another input is the same one."""
    base: dict[str, Any] = {"input": "a", "prompt": "x", "models": "m", "answer": {"kind": "label", "labels": "a,b"}}
    one = declare(base, "job.toml").fingerprint
    assert declare({**base, "input": "other", "attempts": 2}, "job.toml").fingerprint == one
    for change in (
        {"prompt": "y"}, {"models": "n"}, {"answer": {"kind": "label", "labels": "a,b,c"}},
        {"answer": {"kind": "label", "labels": "a,b", "synonyms": {"x": "a"}}}, {"annotators": {"samples": 2}},
    ):  # fmt: skip
        assert declare({**base, **change}, "job.toml").fingerprint != one


def test_a_setting_replaces_any_word() -> None:
    """Dots lead into tables; values are TOML's, or else texts."""
    words = {"input": "a", "answer": {"kind": "label", "labels": ["a"]}}
    said = replaced(words, ["answer.asks=0", "max_tokens = 5", "models=m,n", "vote.least=0.5", 'name="x=y"'])
    assert said == {
        "input": "a", "answer": {"kind": "label", "labels": ["a"], "asks": 0}, "max_tokens": 5, "models": "m,n",
        "vote": {"least": 0.5}, "name": "x=y",
    }  # fmt: skip
    assert words == {"input": "a", "answer": {"kind": "label", "labels": ["a"]}}


@pytest.mark.parametrize("setting", ["max_tokens", "=5", "a..b=1", "input.x=1"])
def test_what_is_no_setting_is_refused(setting: str) -> None:
    """The message shows how one is written."""
    with pytest.raises(UsageError, match="--set"):
        replaced({"input": "a"}, [setting])


def test_labels_are_short_for_an_answer() -> None:
    """`--labels a,b` makes the section, or replaces the labels in it."""
    assert replaced({}, (), "a,b") == {"answer": {"kind": "label", "labels": "a,b"}}
    assert replaced({"answer": {"kind": "labels", "labels": ["x"]}}, (), "a") == {
        "answer": {"kind": "labels", "labels": "a"}
    }
