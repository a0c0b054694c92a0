"""Job files before anything is sent: begun from a scaffold, checked, and described to editors."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema_rs
import polars as pl
import pytest

from runner.cli.running import run
from runner.storage.jobs import WITHOUT_OPTION, File

ROOT = Path(__file__).parents[2]
SCAFFOLDS = sorted(path.name for path in (ROOT / "runner" / "scaffolds").iterdir() if path.is_dir())
JOBS = [*(ROOT / "jobs").glob("*/job.toml"), *(ROOT / "runner" / "scaffolds").glob("*/job.toml")]


@pytest.mark.parametrize("kind", SCAFFOLDS)
def test_a_job_that_was_just_begun_runs_as_it_is(kind: str, command: Any, gateway: Any, tmp_path: Path) -> None:
    """A stranger has something that works to change."""
    begun = command("init", kind, "mine")
    assert begun.code == 0
    assert "runner run jobs/mine --gateway local" in begun.out
    done = command("run", "jobs/mine", "--no-limits", "--out", tmp_path / "run", "--json", env=gateway.env)
    assert done.code == 0
    assert done.json()["tasks"]["succeeded"] == done.json()["tasks"]["total"] > 0
    assert ("labels" in done.json()) == (kind in ("labeling", "spans"))


def test_the_spans_of_a_job_that_was_just_begun_stand_in_its_texts(command: Any, gateway: Any, tmp_path: Path) -> None:
    """The local gateway copies from what it is shown."""
    command("init", "spans", "mine")
    done = command("run", "jobs/mine", "--no-limits", "--out", tmp_path / "run", "--json", env=gateway.env)
    said = done.json()["labels"]["annotators"]
    assert sum(counts.get("read", 0) for counts in said.values()) == 6
    results = pl.read_parquet(tmp_path / "run" / "results.parquet")
    for answer, report in results.select("answer", "report").iter_rows():
        [span] = json.loads(answer)
        assert report[span["start"] : span["end"]] == span["text"]
        assert span["label"] in ("person", "place", "date")


def test_a_folder_that_exists_is_left_alone(command: Any, tmp_path: Path) -> None:
    """Nobody's work is written over."""
    (tmp_path / "jobs" / "mine").mkdir(parents=True)
    done = command("init", "batch", "mine")
    assert (done.code, done.err) == (2, "runner: jobs/mine exists; nothing was written.\n")


@pytest.mark.parametrize("name", ["../mine", "a/b", "..", ".hidden", ""])
def test_a_name_that_leads_elsewhere_is_refused(name: str, command: Any) -> None:
    """A job stands in jobs/."""
    assert command("init", "batch", name).code == 2


def test_a_check_says_what_can_be_said_without_sending(command: Any) -> None:
    """No gateway is named, and none is needed: rows, annotators, tokens, cost, labels, known labels, first prompt."""
    done = command("check", ROOT / "jobs" / "labeling", "--json")
    assert done.code == 0
    said = done.json()
    assert (said["rows"], said["requests"], said["cannot_be_asked"]) == (360, 3 * 360, 0)
    assert said["input"] == str(ROOT / "samples" / "packages.jsonl")
    assert said["annotators"] == ["claude-haiku-4-5", "gpt-5-4-mini", "gemma-3-12b"]
    assert said["input_tokens"] > 100_000
    assert said["cost_usd"] > 0
    assert said["answer"]["labels"][0] == "admin"
    assert said["answer"]["structured"]
    assert said["gold"]["rows"] == 360
    assert set(said["gold"]["labels"].values()) == {30}
    assert "Labels: admin, database" in said["first_prompt"]
    assert "sections" not in said["first_prompt"].lower()
    people = command("check", ROOT / "jobs" / "labeling")
    assert "known:      360 rows in the column 'section'" in people.out


def test_a_check_names_rows_that_cannot_be_asked_and_known_labels_that_are_none(command: Any, tmp_path: Path) -> None:
    """It ends as a run would, with 7, and goes on to say all there is."""
    source = tmp_path / "rows.jsonl"
    source.write_text('{"text": "one", "known": "spam"}\n{"known": "ham"}\n{"text": "three", "known": "eggs"}\n')
    done = command(
        "check", source, "-p", "{{ text }}", "--labels", "spam,ham", "-m", "gpt-5-mini", "--set", "gold.column=known",
        "--json",
    )  # fmt: skip
    assert done.code == 7
    said = done.json()
    assert (said["cannot_be_asked"], said["gold"]["rows"], said["gold"]["unreadable"]) == (1, 2, {"eggs": 1})
    assert "no column 'text'" in said["problems"][0]


def test_a_check_says_all_errors_of_a_job_file_with_their_paths(command: Any, tmp_path: Path) -> None:
    """A person corrects it once."""
    (tmp_path / "job.toml").write_text('input = "a"\nmax_tokens = 0\n[answer]\nkind = "label"\nlabels = 5\nask = 1\n')
    done = command("check", tmp_path)
    assert done.code == 2
    assert "job.toml: max_tokens: " in done.err
    assert "job.toml: answer.labels: " in done.err
    assert "job.toml: there is no word 'ask' in [answer]. Did you mean 'asks'?" in done.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('input = ["a.jsonl", "b.jsonl"]', "job.toml: input: input should be a valid string"),
        ("input = 5", "job.toml: input: "),
        ('input = "a"\nlimits = 5', "job.toml: limits: "),
        ('input = "a"\ngateway = 5', "job.toml: gateway: "),
        ('input = "a"\nno_limits = "perhaps"', "job.toml: no_limits: "),
        ('input = "a"\nanswer = 5', "job.toml: answer: "),
    ],
)
def test_every_word_of_a_job_file_is_checked(command: Any, tmp_path: Path, text: str, said: str) -> None:
    """Also those that say how it is run."""
    (tmp_path / "job.toml").write_text(text)
    done = command("check", tmp_path, "--labels", "a,b")
    assert (done.code, said in done.err) == (2, True), done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--limits", "job.toml", "--no-limits"), "--limits and --no-limits say the opposite of each other"),
        (("--out", "a", "--in", "b"), "--out is the run's own directory, and --in a folder for it"),
    ],
)
def test_words_that_exclude_each_other_are_refused(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    """None of them is passed over in silence."""
    (tmp_path / "rows.jsonl").write_text('{"prompt": "x"}\n')
    (tmp_path / "job.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    done = command("run", "rows.jsonl", "-m", "gpt-5-4", "--gateway", "local", *words)
    assert (done.code, said in done.err) == (2, True), done.err


def test_limits_that_are_named_go_before_a_job_file_that_keeps_none(command: Any, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "x"}\n')
    (tmp_path / "own.toml").write_text("[per_model]\noutput_tokens = 777\n")
    (tmp_path / "job.toml").write_text('input = "rows.jsonl"\nmodels = "gpt-5-4"\nno_limits = true\n')
    bound = command("plan", tmp_path, "--limits", tmp_path / "own.toml", "--json").json()["binding_limit"]
    assert bound.startswith("777 output tokens")


def test_catalogues_lead_from_the_job_file(command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "own.toml").write_text('[models.mine]\nprovider = "Me"\n')
    (folder / "rows.jsonl").write_text('{"prompt": "x"}\n')
    (folder / "job.toml").write_text('input = "rows.jsonl"\nmodels = "mine"\ncatalogs = ["own.toml"]\nno_limits = "no"')
    monkeypatch.chdir(tmp_path)
    done = command("check", folder)
    assert (done.code, "models:     mine" in done.out) == (0, True), done.err
    assert "no limit" not in done.err


@pytest.mark.parametrize("path", JOBS, ids=lambda path: f"{path.parent.parent.name}/{path.parent.name}")
def test_the_schema_takes_the_job_files_that_there_are(path: Path, command: Any) -> None:
    """An editor does not complain about what runs."""
    schema = command("schema").json()
    jsonschema_rs.validate(schema, tomllib.loads(path.read_text()))


@pytest.mark.parametrize(
    "text", ['inptu = "a"', 'input = "a"\n[answer]\nkind = "lable"', 'input = "a"\n[vote]\nleast = 2']
)
def test_the_schema_finds_what_a_run_would_refuse(text: str, command: Any) -> None:
    """While it is written, not when it is run."""
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validate(command("schema").json(), tomllib.loads(text))


def test_the_schema_describes_each_section(command: Any) -> None:
    """Editors show what a word is for."""
    found = command("schema").json()
    assert found["properties"]["answer"]["anyOf"][0]["$ref"] == "#/$defs/AnswerSection"
    words = found["$defs"]["AnswerSection"]["properties"]
    assert words["asks"]["description"].startswith("How often a row is asked again")
    assert "schema" in words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--effort", "wrong"), "runner: --effort: input should be"),
        (("--schema", "none.json"), "runner: --schema: none.json: No such file"),
        (("--set", "nope=1"), "runner: there is no word 'nope'."),
        (("--set", "top_p=7"), "runner: top_p: input should be"),
        (("--set", "input=3"), "runner: input: input should be"),
        (("--set", "models=3"), "runner: --model: names are given"),
        (("--set", "settings.x=1"), "runner: there is no word 'settings'."),
        (("--set", "gates.least.foo=1"), "runner: gates: `least` and `not_worse` are about metrics"),
        (("--labels", "a,a"), "runner: answer: the answer cannot be read as declared"),
        ((), "job/job.toml: max_tokens: input should be"),
    ],
)
def test_a_wrong_word_is_blamed_on_whoever_said_it(command, tmp_path, words, said) -> None:
    """The option, where it goes over the job file; else the file."""
    (tmp_path / "job").mkdir()
    wrong = "" if words else "max_tokens = 0\n"
    (tmp_path / "job" / "job.toml").write_text(f'input = "rows.jsonl"\neffort = "low"\n{wrong}')
    done = command("run", "job", *words)
    assert (done.code, said in done.err) == (2, True), done.err


@pytest.mark.parametrize("word", sorted(File.model_fields.keys() - {*WITHOUT_OPTION, "models"}))
def test_a_wrong_word_is_called_by_an_option_that_is_there(command, tmp_path, word) -> None:
    """Nobody looks for `--models`."""
    (tmp_path / "job.toml").write_text('input = "rows.jsonl"\n')
    done = command("run", tmp_path, "--set", f"{word.rstrip('_')}=[[]]")
    called = done.err.removeprefix("runner: ").partition(":")[0]
    assert called in {name for option in run.params for name in option.opts}, done.err
