"""The look at the input: how far it goes before a run begins."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner import surveying
from runner.core.errors import InputRejected
from runner.core.job import Job
from runner.core.values import Settings
from runner.preparing import Prepared, Setup, prepare, prepare_with
from runner.storage.rows import Record
from runner.storage.specs import load_catalogue, load_limits
from runner.surveying import Look

SOUND = {"prompt": "Say something."}
BAD = {"prompt": " "}


def prepared(tmp_path: Path, rows: list[dict[str, Any]], **words: object) -> Prepared:
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    job = Job(input=str(source), models=("gpt-5-4",), **words)  # type: ignore[arg-type]
    catalogue = load_catalogue(())
    return prepare_with(job, Setup(), catalogue, load_limits(catalogue, None))


def looked(one: Prepared, patience: float, monkeypatch: pytest.MonkeyPatch) -> Look:
    """A look at its rows, of which each takes a second."""
    monkeypatch.setattr(surveying, "STRIDE", 1)
    seconds = itertools.count()
    look = Look(one.maker, one.catalogue)
    look.over(one.records(), patience, lambda: next(seconds))
    return look


def test_a_look_that_ends_in_time_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As most do."""
    survey = looked(prepared(tmp_path, [SOUND] * 5), 9, monkeypatch).survey
    assert (survey.complete, survey.tasks) == (True, 5)


def test_a_look_that_takes_longer_says_what_it_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run begins with that."""
    survey = looked(prepared(tmp_path, [SOUND] * 20), 9, monkeypatch).survey
    assert (survey.complete, survey.tasks) == (False, 9)


@pytest.mark.parametrize(
    ("rows", "words", "complete"),
    [
        ([BAD, *[SOUND] * 19], {}, True),
        ([BAD, *[SOUND] * 19], {"bad_rows": "record"}, False),
        ([*[BAD] * 15, *[SOUND] * 5], {"bad_rows": "record"}, False),
        ([BAD] * 20, {"bad_rows": "record"}, True),
    ],
    ids=["stops", "recorded", "sound ones come late", "none is sound"],
)
def test_a_look_that_saw_nothing_to_send_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, str]], words: dict[str, str], complete: bool
) -> None:
    """Where bad rows stop a run that has not begun, all are named; and a run needs a row that it can ask."""
    assert looked(prepared(tmp_path, rows, **words), 9, monkeypatch).survey.complete is complete


@pytest.mark.parametrize("last", [-1, 0, 3, 9])
def test_a_cut_input_ends_with_its_last_row(tmp_path: Path, last: int) -> None:
    """Where a run was stopped before its input was looked over, it is as if the input ended there."""
    one = prepared(tmp_path, [SOUND] * 5)
    one.cut(last)
    assert [record.index for record in one.records()] == list(range(min(last + 1, 5)))
    assert one.survey.total == min(last + 1, 5)


def test_what_is_behind_a_cut_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be what cannot be read."""
    one = prepared(tmp_path, [SOUND] * 5)
    rows = list(one.records())

    def records(_source: object) -> Iterator[Record]:
        yield from rows[:3]
        raise InputRejected("too far")

    monkeypatch.setattr(type(one.source), "__iter__", records)
    one.cut(2)
    assert one.survey.total == 3


def test_a_preparation_without_hurry_sees_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan promises numbers for the whole input."""
    monkeypatch.setattr("runner.preparing.LOOK_SECONDS", 0.0)
    job = prepared(tmp_path, [SOUND] * 200).job
    assert not prepare(job, Setup()).survey.complete
    assert prepare(job, Setup(), whole=True).survey.complete


def test_a_look_tells_tokens_from_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the first rows, and then of some; the others are taken to be like them."""
    survey = looked(prepared(tmp_path, [{"prompt": "Say something, please. " * 50}] * 200), 999, monkeypatch).survey
    assert survey.measured == pytest.approx(52 / 200 * survey.pinned["gpt-5-4"].input)
    assert 0.15 < survey.tokens_of_text < 0.3


def test_what_will_not_come_of_a_batch_line_is_told_with_the_line(tmp_path: Path) -> None:
    """Once for each thing, before anything is sent."""
    said = {"messages": [{"role": "user", "content": "Hi"}], "model": "claude-haiku-4-5"}
    line = {"custom_id": "a", "url": "/v1/chat/completions", "body": said}
    streamed = {**line, "body": {**said, "stream": True, "temperature": 0}}
    odd = {**line, "body": {**said, "temperature": [], "stop": {}}}  # the gateway's to refuse
    rows = [line, odd, streamed, {**streamed, "body": {**streamed["body"], "stop": "x"}}]
    found = prepared(tmp_path, rows, endpoint="responses").notices
    assert found == [
        "--endpoint responses is left out where a line's own url says where to",
        "stream is left out: answers are read whole (first in line 3)",
    ]


def test_what_a_line_says_against_an_effort_is_told_also_behind_lines_that_do_not(tmp_path: Path) -> None:
    """What they say of it has one name and different values."""
    said = {"messages": [{"role": "user", "content": "Hi"}], "model": "claude-opus-4-6", "max_tokens": 9000}
    url = {"custom_id": "a", "url": "/v1/messages"}
    rows = [{**url, "body": {**said, "top_p": top_p}} for top_p in (0.95, 0.5)]
    [notice] = prepared(tmp_path, rows, settings=Settings(effort="low")).notices
    assert notice.endswith("a line's own top_p: reasoning_effort left out (first in line 2)")


def test_a_prompt_that_goes_before_batch_lines_is_told(tmp_path: Path) -> None:
    """Nothing of their bodies is sent, then, but what it shows."""
    line = {"custom_id": "a", "url": "/v1/chat/completions", "body": {"messages": [], "temperature": 0}}
    [said] = prepared(tmp_path, [line, line], prompt="Say {{ custom_id }}").notices
    assert said.endswith("the prompt goes before it (first in line 1)")


def test_rows_that_have_each_a_column_of_its_own_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their table has as many cells as the square of its lines: it could not be written when all had been paid for."""
    monkeypatch.setattr(surveying, "MOST_COLUMNS", 5)
    with pytest.raises(InputRejected, match=r"rows up to line 5 have more than 5 different columns"):
        prepared(tmp_path, [SOUND | {f"user {number}": number} for number in range(9)])


def test_rows_that_have_many_columns_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wide table is no harm, also where some cells are left out: it has about as many as its input."""
    monkeypatch.setattr(surveying, "MOST_COLUMNS", 5)
    wide = SOUND | {f"gene {number}": number for number in range(9)}
    sparse = dict(list(wide.items())[:-3])
    assert prepared(tmp_path, [wide, sparse, wide]).survey.tasks == 3
