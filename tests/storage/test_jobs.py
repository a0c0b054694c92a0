"""Job files and their words: everything that is wrong is said at once, and paths lead from the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from runner.core.caps import Caps
from runner.core.errors import StorageDamaged, UsageError
from runner.core.job import Job
from runner.core.values import Settings
from runner.storage.jobs import declare, read_words

SCHEMA = {"type": "object", "properties": {"river": {"type": "string"}}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "rivers"
    path.mkdir()
    return path


def job(folder: Path, text: str) -> Job:
    """The job that a job file in a folder declares."""
    (folder / "job.toml").write_text(text, encoding="utf-8")
    return declare(read_words(folder), "job.toml")


def problems(**words: Any) -> list[str]:
    with pytest.raises(UsageError) as caught:
        declare({"input": "a.jsonl"} | words, "job.toml")
    return str(caught.value).split("\n")


def test_what_is_not_said_has_its_default() -> None:
    """An input alone is a job."""
    assert declare({"input": "data/reviews.v2.jsonl"}, "here") == Job(input="data/reviews.v2.jsonl", name="reviews")


def test_every_word_reaches_the_job(folder: Path) -> None:
    """A job file can say all that the command line can."""
    declared = job(
        folder,
        """
        input = "rows.jsonl"
        name = "n"
        models = ["a, b", "c"]
        each = true
        prompt = "Name {{ it }}."
        system = "Be brief."
        max_tokens = 100
        temperature = 0
        top_p = 0.5
        stop = ["x"]
        effort = "low"
        schema = { type = "object" }
        tools = [{ type = "function" }]
        tool_choice = "auto"
        id_column = "key"
        row_settings = false
        limit = 10
        sample = 5
        seed = 7
        bad_rows = "record"
        endpoint = "chat"
        strict_params = true
        attempts = 2
        timeout = "90s"
        patience = "2m"
        max_cost = 1.5
        max_total_tokens = 1000
        deadline = "1.5h"
        """,
    )
    assert declared == Job(
        input=str(folder / "rows.jsonl"),
        name="n",
        models=("a", "b", "c"),
        each=True,
        prompt="Name {{ it }}.",
        system="Be brief.",
        settings=Settings(
            max_tokens=100,
            temperature=0.0,
            top_p=0.5,
            stop=("x",),
            effort="low",
            schema={"type": "object"},
            tools=({"type": "function"},),
            tool_choice="auto",
        ),
        id_column="key",
        row_settings=False,
        limit=10,
        sample=5,
        seed=7,
        bad_rows="record",
        endpoint="chat",
        strict_params=True,
        attempts=2,
        timeout=90.0,
        patience=120.0,
        caps=Caps(max_cost=1.5, max_total_tokens=1000, deadline=5400.0),
    )


def test_a_job_survives_its_manifest(folder: Path) -> None:
    """R6: what a resume reads is what was declared."""
    declared = job(
        folder,
        'input = "a"\nmodels = "a,b"\nstop = ["x"]\ntools = [{ type = "function" }]\ndeadline = "1h"\ntop_p = 0.25\n',
    )
    assert Job.from_json(orjson.loads(orjson.dumps(declared.to_json()))) == declared


@pytest.mark.parametrize(
    "change",
    [
        {"mood": "good"},
        {"settings": {}},
        {"settings": None},
        {"caps": {"max_moods": 1}},
        {"models": 7},
        {"vote": {"of": "people"}},
        {"answer": []},
    ],
    ids=repr,
)
def test_a_job_that_another_version_wrote_is_damage_and_no_bug(change: dict[str, Any]) -> None:
    """It stands in the manifest of a run, which somebody may have sent."""
    said = declare({"input": "rows.jsonl", "prompt": "{{ text }}"}, "").to_json()
    with pytest.raises(StorageDamaged, match=r"does not read back from its manifest\.json"):
        Job.from_json({**said, **change})


def test_all_errors_are_said_at_once_each_with_its_place() -> None:
    """A person corrects a file once."""
    said = problems(max_tokens=0, temperature=3, effort="extreme", stop=["a", 5], sed=1)
    assert [line.split(": ")[1] for line in said[:-1]] == ["max_tokens", "temperature", "stop.1", "effort"]
    assert said[-1] == "job.toml: there is no word 'sed'. Did you mean 'seed'?"
    assert all(line.startswith("job.toml: ") for line in said)


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("modls", "models"),
        ("max_token", "max_tokens"),
        ("schem", "schema"),
        ("schema_", "schema"),
        ("timeuot", "timeout"),
    ],
)
def test_an_unknown_word_is_answered_with_the_nearest(word: str, near: str) -> None:
    """A slip of the pen is told apart from a default."""
    assert problems(**{word: "x"}) == [f"job.toml: there is no word {word!r}. Did you mean {near!r}?"]


def test_a_word_that_is_near_to_none_is_just_unknown() -> None:
    """No guess is better than a wrong one."""
    assert problems(zzz=1) == ["job.toml: there is no word 'zzz'."]


def test_a_job_without_input_says_so() -> None:
    """There is no default for what to ask about."""
    with pytest.raises(UsageError, match=r"job\.toml: input is missing\."):
        declare({}, "job.toml")


@pytest.mark.parametrize(
    ("said", "seconds"), [(5, 5), (0.5, 0.5), ("5", 5), ("5s", 5), ("90m", 5400), ("1.5 h", 5400), (" 2d ", 172_800)]
)
def test_durations_have_units(said: Any, seconds: float) -> None:
    """A number is seconds."""
    assert declare({"input": "a", "deadline": said}, "here").caps.deadline == seconds


@pytest.mark.parametrize("said", ["", "soon", "5w", "-5s", "1h30m", 0, "0s", -1, "1e9", "５x"])
def test_what_is_no_duration_is_refused(said: Any) -> None:
    """The message says what a duration is, or that it is above zero."""
    [line] = problems(deadline=said)
    assert line.startswith("job.toml: deadline: ")
    assert line.endswith(f"got {said!r}.") or "greater than 0" in line


@pytest.mark.parametrize("word", ["timeout", "patience"])
@pytest.mark.parametrize("said", [float("inf"), float("nan")])
def test_endless_durations_are_refused(word: str, said: float) -> None:
    """TOML can say `inf`; the manifest, which is JSON, cannot, and a resume would read null."""
    assert problems(**{word: said})[0].startswith(f"job.toml: {word}: ")


@pytest.mark.parametrize(
    ("word", "said", "reason"),
    [
        ("seed", 10**30, "integer exceeds 64-bit range"),
        ("max_total_tokens", 2**64, "integer exceeds 64-bit range"),
        ("tools", [{"x": 10**30}], "integer exceeds 64-bit range"),
        ("prompt", "\udcff", "str is not valid UTF-8: surrogates not allowed"),
        ("name", "\udcff", "str is not valid UTF-8: surrogates not allowed"),
        ("tool_choice", {"a": object()}, "type is not JSON serializable: object"),
    ],
)
def test_what_a_manifest_cannot_hold_is_refused(word: str, said: Any, reason: str) -> None:
    """The manifest is JSON; it was found out when the run began to write it."""
    assert problems(**{word: said}) == [f"job.toml: {word} cannot be written down: {reason}."]


@pytest.mark.parametrize(
    ("said", "models"),
    [("a", ("a",)), ("a,b", ("a", "b")), (["a", " b , c"], ("a", "b", "c")), (",", ()), ([], ())],
)
def test_models_are_a_list_or_a_text_with_commas(said: Any, models: tuple[str, ...]) -> None:
    """`-m` repeats or takes commas."""
    assert declare({"input": "a", "models": said}, "here").models == models


@pytest.mark.parametrize("said", [5, True])
def test_models_that_are_no_names_are_refused(said: Any) -> None:
    """With the place, like every other word."""
    assert problems(models=said)[0].startswith("job.toml: models: ")


# Paths.


def test_paths_lead_from_the_job_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job can be run from anywhere."""
    (folder / "ask.jinja").write_text("Name {{ it }}.")
    (folder / "system.txt").write_text("Be brief.")
    (folder / "answer.json").write_bytes(orjson.dumps(SCHEMA))
    text = 'input = "rows.jsonl"\nprompt = "@ask.jinja"\nsystem = "@system.txt"\nschema = "answer.json"\n'
    (folder / "job.toml").write_text(text)
    monkeypatch.chdir(folder.parent)
    declared = declare(read_words(Path("rivers")), "job.toml")
    assert declared.input == "rivers/rows.jsonl"
    assert (declared.prompt, declared.system, declared.settings.schema) == ("Name {{ it }}.", "Be brief.", SCHEMA)


def test_absolute_paths_and_standard_input_stay_as_they_are(folder: Path) -> None:
    """Only relative paths are the file's."""
    assert job(folder, 'input = "/data/rows.jsonl"').input == "/data/rows.jsonl"
    assert job(folder, 'input = "-"').input == "-"


def test_a_limits_file_leads_from_the_job_file(folder: Path) -> None:
    """The command line takes it out of the words."""
    (folder / "job.toml").write_text('input = "a"\nlimits = "limits.toml"')
    assert read_words(folder)["limits"] == str(folder / "limits.toml")


@pytest.mark.parametrize(
    "said", ['"answer.json"', '"@answer.json"', f"'{orjson.dumps(SCHEMA).decode()}'"], ids=["path", "@path", "text"]
)
def test_a_schema_is_a_path_or_a_text_in_a_job_file_as_on_the_command_line(folder: Path, said: str) -> None:
    """A job file holds the words of `runner run`."""
    (folder / "answer.json").write_bytes(orjson.dumps(SCHEMA))
    assert job(folder, f'input = "a"\nschema = {said}').settings.schema == SCHEMA


@pytest.mark.parametrize("said", ["answer.json", "@answer.json", orjson.dumps(SCHEMA).decode()])
def test_a_schema_is_a_path_or_a_text_on_the_command_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """All three mean the same."""
    (folder / "answer.json").write_bytes(orjson.dumps(SCHEMA))
    monkeypatch.chdir(folder)
    assert declare({"input": "a", "schema": said}, "here").settings.schema == SCHEMA


@pytest.mark.parametrize(("content", "reason"), [("{", "not JSON"), ("[]", "a schema is a JSON object")])
def test_a_schema_that_is_none_is_refused(folder: Path, content: str, reason: str) -> None:
    """Before anything is sent."""
    (folder / "answer.json").write_text(content)
    with pytest.raises(UsageError, match=rf"job\.toml: schema .*answer\.json: {reason}"):
        job(folder, 'input = "a"\nschema = "answer.json"')


def test_a_prompt_that_is_not_there_is_named_by_the_job_file_that_wants_it(folder: Path) -> None:
    """There is no `--prompt` that whoever has written the file could look for."""
    with pytest.raises(UsageError, match=r"job\.toml: prompt: .*gone\.jinja: No such file"):
        job(folder, 'input = "a"\nprompt = "@gone.jinja"')


def test_a_word_without_an_option_is_not_called_one() -> None:
    """`--labels` and `--set` say what no option of that name does."""
    for words, said in (
        ({"answer": {"kind": "label", "labels": ["a", "a"]}}, "answer: the answer cannot be read as declared"),
        ({"answer": {"asks": 1}}, "answer.kind is missing."),
        ({"top_p": 5}, "top_p: input should be less"),
        ({"max_tokens": 0}, "--max-tokens: input should be greater"),
    ):
        with pytest.raises(UsageError) as caught:
            declare({"input": "a"} | words, "")
        assert str(caught.value).startswith(said)


def test_a_job_file_is_named_after_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the folder is just `.`."""
    assert job(folder, 'input = "a"').name == "rivers"
    monkeypatch.chdir(folder)
    assert read_words(Path("job.toml"))["name"] == "rivers"


def test_a_folder_without_a_job_is_refused(folder: Path) -> None:
    """The message says what is missing."""
    with pytest.raises(UsageError, match=r"without a job\.toml"):
        read_words(folder)


def test_a_job_file_that_is_missing_is_refused(folder: Path) -> None:
    """It is not taken for an input."""
    with pytest.raises(UsageError, match=r"other\.toml: No such file"):
        read_words(folder / "other.toml")


def test_a_job_file_that_is_no_toml_is_refused_with_the_line(folder: Path) -> None:
    """The place of the error is given."""
    with pytest.raises(UsageError, match=r"job\.toml: .*line 2"):
        job(folder, 'input = "a"\nmodels = = 1\n')


def test_any_other_file_is_an_input(folder: Path) -> None:
    """`runner run rows.jsonl` needs no job file."""
    assert read_words(folder / "rows.jsonl") == {"input": str(folder / "rows.jsonl")}
