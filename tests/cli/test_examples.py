"""A job with examples from a file: what is sent, counted and named, and what is refused before anything is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from runner.core.answers import Reader
from runner.core.answers.values import Answer
from runner.core.answers.writing import write
from runner.core.job import Job
from runner.core.values import Message
from runner.preparing import Setup, prepare
from runner.storage.jobs import declare, read_words

ROWS = [{"text": "the disk broke"}, {"text": "a chess game"}, {"text": "sends mail"}]
SHOWN = [
    {"text": "a puzzle with many levels", "label": "games"}, {"text": "a chess game", "label": "games"},
    {"text": "reads mail", "label": "mail"}, {"text": "formats disks", "label": "admin"},
]  # fmt: skip
HEAD = 'input = "rows.jsonl"\nprompt = "Labels: {{ labels }}\\n{{ text }}"\nmodels = "claude-opus-4-8"\n'
ANSWER = '[answer]\nkind = "label"\nlabels = "admin, games, mail"\n'
EXAMPLES = '[examples]\nfile = "shown.jsonl"\nanswer = "label"\ncount = 2\n'


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A job with examples."""
    (tmp_path / "rows.jsonl").write_text(lines(ROWS))
    (tmp_path / "shown.jsonl").write_text(lines(SHOWN))
    (tmp_path / "job.toml").write_text(HEAD + ANSWER + EXAMPLES)
    return tmp_path


def job(folder: Path) -> Job:
    return declare(read_words(folder), "job.toml")


def messages(folder: Path, size: list[int] | None = None) -> list[tuple[Message, ...]]:
    """What each row is asked."""
    prepared = prepare(job(folder), Setup(no_limits=True), whole=True)
    tasks = [
        prepared.maker.tasks(record.index, record.columns, record.digest, len)[0]  # type: ignore[union-attr]
        for record in prepared.records()
    ]
    if size is not None:
        size += [task.size.text for task in tasks]
    return [task.request.messages for task in tasks]


def test_examples_stand_before_each_row_but_itself(folder: Path) -> None:
    """The second row is an example itself, and is shown the next one instead."""
    assert [[turn.content for turn in turns[1::2]] for turns in messages(folder)] == [
        ["games", "games"], ["games", "mail"], ["games", "games"],
    ]  # fmt: skip
    first = messages(folder)[0]
    assert [turn.role for turn in first] == ["user", "assistant", "user", "assistant", "user"]
    assert first[0].content == "Labels: admin, games, mail\na puzzle with many levels"
    assert first[-1].content == "Labels: admin, games, mail\nthe disk broke"


def test_a_check_says_what_is_shown(folder: Path, command: Any) -> None:
    """How many examples, and which."""
    assert command("check", folder, "--json").json()["examples"] == {"count": 2, "of": 4, "choose": "first"}
    assert "examples:   2 before each row, the first\n" in command("check", folder).out


def test_examples_are_estimated(folder: Path) -> None:
    """Tokens that are sent are tokens that are paid."""
    with_them: list[int] = []
    without: list[int] = []
    turns = messages(folder, with_them)[0]
    (folder / "job.toml").write_text(HEAD + ANSWER)
    messages(folder, without)
    assert with_them[0] - without[0] >= sum(len(str(turn.content)) for turn in turns[:-1])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_examples_may_stand_in_a_table(folder: Path, kind: str) -> None:
    """CSV and Parquet say the same as JSONL."""
    wanted = messages(folder)
    getattr(pl.DataFrame(SHOWN), f"write_{kind}")(folder / f"shown.{kind}")
    (folder / "job.toml").write_text(HEAD + ANSWER + EXAMPLES.replace("jsonl", kind))
    assert messages(folder) == wanted


def test_the_examples_are_part_of_the_job(folder: Path) -> None:
    """Its fingerprint names them, and its manifest holds them: their file may go."""
    before = job(folder)
    assert Job.from_json(json.loads(json.dumps(before.to_json()))) == before
    (folder / "shown.jsonl").write_text(lines([*SHOWN[:1], {"text": "reads news", "label": "mail"}]))
    after = job(folder)
    assert after.fingerprint != before.fingerprint
    assert [line.partition(":")[0] for line in after.differences(before)] == ["examples"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("shown.jsonl", "none.jsonl"), "[examples]: There is no input at "),
        (('answer = "label"', 'answer = "lable"'), "line 1: no column 'lable'; there are text, label."),
        (("count = 2", "count = 5"), "shown.jsonl holds 4 examples, and `count` asks for 5."),
        (("admin, games", "admin"), "[examples]: example 1: its answer 'games' is none that the job reads: it names"),
        (("{{ text }}", "{{ text }} {{ id }}"), "[examples]: example 1: it has no column 'id', which the prompt uses"),
        (("{{ text }}", "{{ text }} {{ label }}"), "shows the column 'label', which [examples] says holds the answers"),
        (("prompt = ", "# "), "[examples] are shown through the job's prompt, and it has none"),
        (("count = 2", "count = 2\nseed = 3"), "examples: a seed belongs to choose = 'seeded'"),
    ],
)
def test_examples_that_cannot_be_shown_are_refused(
    folder: Path, command: Any, change: tuple[str, str], said: str
) -> None:
    """In a sentence, before anything is sent."""
    (folder / "job.toml").write_text((HEAD + ANSWER + EXAMPLES).replace(*change))
    done = command("check", folder)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.splitlines()) == 1


def test_an_example_with_a_number_that_no_job_can_hold_is_refused(folder: Path, command: Any) -> None:
    """The file is named."""
    (folder / "shown.jsonl").write_text(lines([{"text": "a", "label": "mail", "n": 10**30}]))
    done = command("check", folder)
    assert done.code == 2
    assert "shown.jsonl: a number of more than 64 bits cannot be kept in a job: write it as a text." in done.err


@pytest.mark.parametrize("endpoint", ["chat", "native"])
@pytest.mark.parametrize("model", ["claude-opus-4-8", "gpt-5-4-mini", "gemini-3-1-flash-lite"])
def test_every_dialect_takes_examples(folder: Path, command: Any, gateway: Any, endpoint: str, model: str) -> None:
    """Turns of user and assistant, drawn for each row, as structured output has them; answers are labels."""
    drawn = EXAMPLES + 'choose = "seeded"\n'
    text = (HEAD.replace("claude-opus-4-8", model) + f'endpoint = "{endpoint}"\n') + ANSWER + "structured = true\n"
    (folder / "job.toml").write_text(text + drawn)
    assert {turn.content for turn in messages(folder)[0][1:-1:2]} <= {
        json.dumps({"label": row["label"]}) for row in SHOWN
    }
    done = command("run", folder, "--out", folder / "run", "--json", env=gateway.env)
    assert done.code == 0
    assert done.json()["labels"]["labelled"] == 3


WRITTEN = [
    (Reader(kind="label", labels=("a", "b")), "a", '{"label": "a"}', "a"),
    (Reader(kind="labels", labels=("a", "b")), '["a", "b"]', '{"labels": ["a", "b"]}', '["a", "b"]'),
    (Reader(kind="rating"), "4", '{"rating": 4}', "4"),
    (Reader(kind="fields", schema={"type": "object"}), '{"x": 1}', '{"x": 1}', '{"x": 1}'),
    (Reader(kind="text"), "Good.", "Good.", "Good."),
    (
        Reader(kind="spans", labels=("who",)), '[{"text": "Ann", "label": "who"}]',
        '{"spans": [{"label": "who", "text": "Ann", "occurrence": 1}]}',
        '{"spans": [{"label": "who", "text": "Ann", "occurrence": 1}]}',
    ),
]  # fmt: skip


@pytest.mark.parametrize(("reader", "cell", "structured", "free"), WRITTEN, ids=[case[0].kind for case in WRITTEN])
def test_an_answer_is_written_as_it_is_read(reader: Reader, cell: str, structured: str, free: str) -> None:
    """What a model is shown as right would be read as right, without a repair."""
    source = "Ann saw Ann."
    answer = reader.read(cell, source=source)
    assert isinstance(answer, Answer)
    for form, wanted in ((True, structured), (False, free)):
        text = write(reader, answer, structured=form)
        assert text == wanted
        assert reader.read(text, source=source) == Answer(answer.value)
