"""The commands that look: status, results, models, plan, doctor, completion; and what `simulate` refuses."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from openai.types.batch import Batch
from openai.types.chat import ChatCompletion
from pydantic import BaseModel, ConfigDict

MODEL = "claude-haiku-4-5"
ROOT = Path(__file__).parents[2]
LOCAL = ("--gateway", "local?time-scale=0&latency=0")


@pytest.fixture
def finished(command, gateway, tmp_path) -> Path:
    """The directory of a finished run of four rows, of which the third could not be asked."""
    lines = [{"id": f"row-{n}", "prompt": f"Name {n} birds.", "note": "=1+1"} for n in range(4)]
    lines[2]["prompt"] = ""
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["run", "rows.jsonl", "-m", MODEL, "--bad-rows", "record", "--out", tmp_path / "run"]
    assert command(*words, env=gateway.env).code == 3
    return tmp_path / "run"


@pytest.fixture
def stopped(command, gateway, rows, tmp_path) -> Path:
    """The directory of a run that was stopped before it sent anything."""
    words = ["run", rows(4), "-m", MODEL, "--max-total-tokens", "1", "--out", tmp_path / "stopped"]
    assert command(*words, env=gateway.env).code == 4
    return tmp_path / "stopped"


# status


def test_status_of_a_run_under_way(command, going) -> None:
    """It is running, and how far it has come is known from its journal."""
    done = command("status", going.directory)
    assert done.code == 0
    assert done.out.splitlines()[0] == f"{going.directory}: running"
    assert "Go on with" not in done.out


def test_status_of_a_finished_run(command, finished) -> None:
    """Every row has its outcome."""
    done = command("status", finished)
    assert done.out.splitlines()[:2] == [f"{finished}: finished", "4 tasks: 3 succeeded, 1 errored"]


def test_status_of_a_stopped_run_says_how_to_go_on(command, stopped) -> None:
    """Open rows are counted, and the command that resumes is printed."""
    done = command("status", stopped)
    assert done.out.splitlines()[:2] == [f"{stopped}: stopped", "4 tasks: 4 open"]
    assert done.out.splitlines()[-1] == f"Go on with: runner resume {stopped}"


def test_status_of_a_stopped_run_says_what_stopped_it(command, stopped) -> None:
    """Whoever comes back in the morning reads the reason before the command that goes on."""
    assert "--max-total-tokens 1: 0 are spent or in flight" in command("status", stopped).out.splitlines()[-2]
    assert f"note: {stopped} is failed. --max-total-tokens 1: 0 are spent" in command("wait", stopped).err


def test_status_as_json_agrees_with_the_summary(command, finished) -> None:
    """The same sums under the same names."""
    status = command("status", finished, "--json").json()
    summary = json.loads((finished / "summary.json").read_text())
    assert status["state"] == "finished"
    assert status["tasks"] == summary["tasks"]
    assert status["cost_usd"] == summary["cost_usd"]
    assert status["tokens"] == {name: summary["tokens"][name] for name in ("input", "output")}


def test_status_where_no_run_is(command, tmp_path) -> None:
    """A folder without a manifest is no run."""
    done = command("status", tmp_path)
    assert done.code == 2
    assert "There is no run in" in done.err


# results


def test_results_as_jsonl_go_to_standard_output(command, finished) -> None:
    """One object a line, in input order, ready for a pipe."""
    lines = [json.loads(line) for line in command("results", finished).out.splitlines()]
    assert [line["id"] for line in lines] == ["row-0", "row-1", "row-2", "row-3"]
    assert [line["status"] for line in lines] == ["succeeded", "succeeded", "errored", "succeeded"]


def test_results_as_csv_defuse_formulas(command, finished, tmp_path) -> None:
    """A cell that a spreadsheet would compute is made a text; --raw-cells leaves it alone."""
    command("results", finished, "--to", "csv", "-o", "safe.csv")
    command("results", finished, "--to", "csv", "--raw-cells", "-o", "raw.csv")
    notes = {
        name: {line["note"] for line in csv.DictReader(io.StringIO((tmp_path / name).read_text()))}
        for name in ("safe.csv", "raw.csv")
    }
    assert notes == {"safe.csv": {"'=1+1"}, "raw.csv": {"=1+1"}}


def test_results_as_parquet_are_the_table(command, finished, tmp_path) -> None:
    """The file is the run's own, and how many lines it has is said on standard error."""
    done = command("results", finished, "--to", "parquet", "-o", "copy.parquet")
    assert done.err == "copy.parquet: 4 lines\n"
    assert pl.read_parquet(tmp_path / "copy.parquet").equals(pl.read_parquet(finished / "results.parquet"))


class BatchError(BaseModel):
    """The error of a line of OpenAI's batch output (API reference, "The request output object")."""

    model_config = ConfigDict(extra="forbid", strict=True)
    code: str
    message: str


class BatchResponse(BaseModel):
    """Its response; the body is the SDK's own type."""

    model_config = ConfigDict(extra="forbid", strict=True)
    status_code: int
    request_id: str
    body: ChatCompletion


class BatchLine(BaseModel):
    """The line."""

    model_config = ConfigDict(extra="forbid", strict=True)
    id: str
    custom_id: str
    response: BatchResponse | None
    error: BatchError | None


def batch_lines(path: Path) -> list[BatchLine]:
    """The lines of a batch file, each validated."""
    return [BatchLine.model_validate_json(line) for line in path.read_bytes().splitlines()]


def test_results_as_openai_batch_are_what_openai_would_have_written(command, finished, tmp_path) -> None:
    """Every line validates against the SDK's types; errored rows go to a file beside it."""
    command("results", finished, "--to", "openai-batch", "-o", "batch.jsonl")
    output, errors = batch_lines(tmp_path / "batch.jsonl"), batch_lines(tmp_path / "batch.errors.jsonl")
    assert [line.custom_id for line in output] == ["row-0", "row-1", "row-3"]
    assert all(line.response and line.response.body.choices[0].message.content for line in output)
    assert [(line.custom_id, line.error and line.error.code) for line in errors] == [("row-2", "bad_row")]
    assert Batch.model_fields["output_file_id"]
    assert Batch.model_fields["error_file_id"]


def test_a_forms_beginning_is_enough(command, finished) -> None:
    """OpenAI's is found by `openai`; a word that is none is answered with those that there are."""
    whole = command("results", finished, "--to", "openai-batch")
    assert (whole.code, command("results", finished, "--to", "openai").out) == (0, whole.out)
    wrong = command("results", finished, "--to", "batch")
    assert (wrong.code, "'openai-batch'" in wrong.err) == (2, True)


def test_openai_s_errors_are_told_where_only_its_output_is_written(command, finished, tmp_path) -> None:
    """Standard output is one file, and the errors are another."""
    done = command("results", finished, "--to", "openai-batch")
    assert (len(done.out.splitlines()), "1 line without an answer: --out FILE" in done.err) == (3, True)
    done = command("results", finished, "--to", "openai-batch", "--out", "out.jsonl")
    assert "without an answer" not in done.err


def test_results_are_not_written_over_a_file(command, finished, tmp_path) -> None:
    """What is there stays there."""
    (tmp_path / "mine.csv").write_text("mine")
    done = command("results", finished, "--to", "csv", "-o", "mine.csv")
    assert done.code == 2
    assert "mine.csv exists; nothing was written." in done.err
    assert (tmp_path / "mine.csv").read_text() == "mine"


def test_results_of_a_run_under_way_are_not_there_yet(command, going) -> None:
    """The sentence says when they will be."""
    done = command("results", going.directory)
    assert done.code == 2
    assert f"A process works in {going.directory}, and writes its tables when it ends" in done.err


def killed(directory: Path) -> None:
    """Leave a run as a process does that is killed in the middle of its first session."""
    for name in ("summary.json", "results.parquet", "errors.parquet", "attempts.parquet"):
        (directory / name).unlink(missing_ok=True)


def test_a_killed_run_has_no_results_until_it_is_gone_on_with_or_cancelled(command, stopped) -> None:
    """The sentence says who is gone, and both commands that help; the second writes what there is."""
    killed(stopped)
    done = command("results", stopped)
    assert done.code == 2
    assert f"is gone, and has not written its tables: runner resume {stopped} goes on" in done.err
    assert f"runner cancel {stopped} writes what was answered" in done.err
    assert command("cancel", stopped).code == 0
    assert len(command("results", stopped).out.splitlines()) == 4


def test_a_killed_run_whose_input_is_gone_needs_it_back(command, stopped, rows) -> None:
    """Nothing is advised that cannot work: the tables have the input's columns, too."""
    killed(stopped)
    source = Path(json.loads((stopped / "manifest.json").read_text())["input"]["path"])
    source.rename(source.with_suffix(".away"))
    done = command("results", stopped)
    assert (done.code, done.err.count(f"writes what was answered, once its input is at {source} again.")) == (2, 1)
    source.with_suffix(".away").rename(source)
    assert "once its input" not in command("results", stopped).err


def test_tables_that_are_gone_or_damaged_are_written_anew_by_a_resume(command, finished, gateway) -> None:
    """The sentence says so; nothing is asked again for that."""
    whole, asked = command("results", finished).out, gateway.meter()["statuses"]
    path = finished / "results.parquet"
    path.write_bytes(b"PAR1 and no more")
    done = command("results", finished)
    assert (done.code, done.err.count(f"Remove it, and runner resume {finished} writes it anew.")) == (8, 1)
    path.unlink()
    done = command("results", finished)
    assert (done.code, done.err.count(f"any more; runner resume {finished} writes them anew.")) == (2, 1)
    command("resume", finished, env=gateway.env)
    assert command("results", finished).out == whole
    assert gateway.meter()["statuses"] == asked


def test_results_that_are_older_than_the_journal_are_said_to_be(command, finished) -> None:
    """The session after them was killed."""
    assert command("results", finished).err == ""
    with (finished / "journal.jsonl").open("ab") as file:
        file.write(b"what was being written")
    done = command("results", finished)
    assert (done.code, len(done.out.splitlines())) == (0, 4)
    assert "These are the tables of the session before." in done.err


def test_results_of_a_finished_run_that_was_copied_are_as_good(command, finished) -> None:
    """A copy gives its files the times in which they were written."""
    summary = (finished / "summary.json").stat().st_mtime_ns
    os.utime(finished / "journal.jsonl", ns=(summary + 1, summary + 1))
    assert command("results", finished).err == ""
    assert "finished" in command("status", finished).out.splitlines()[0]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("summary.json", "remove it, and go on with: runner resume"), ("manifest.json", "runner results")],
)
@pytest.mark.parametrize("left", ['{"a', "{}", "[]"])
def test_a_damaged_file_of_a_run_comes_with_what_helps(command, gateway, finished, name, remedy, left) -> None:
    """And with nothing that would end in the same way."""
    (finished / name).write_text(left)
    for words in (("status", finished), ("resume", finished)):
        done = command(*words, env=gateway.env)
        assert (done.code, done.err.count("runner resume") + done.err.count("runner results")) == (8, 1), done.err
        assert f"{finished / name} is damaged" in done.err
        assert remedy in done.err


# models


def test_models_are_listed_with_the_picks(command) -> None:
    """A line for each, how many there are, and the recommendations."""
    done = command("models")
    assert done.code == 0
    assert any(line.startswith(f"{MODEL} ") and "Anthropic" in line for line in done.out.splitlines())
    assert "36 models; " in done.out
    assert "cheap            claude-haiku-4-5, gpt-5-4-nano" in done.out


def test_models_as_json_are_36_with_their_sources(command) -> None:
    """Every fact of every model names its source."""
    listed = command("models", "--json").json()
    assert len(listed["models"]) == 36
    assert all(model["provider"] and model["sources"]["endpoints"] for model in listed["models"].values())


def test_one_model_is_shown_with_its_budget(command) -> None:
    """In either form of its name."""
    done = command("models", f"databricks-{MODEL}")
    assert done.code == 0
    assert done.out.splitlines()[0].startswith(f"{MODEL} ")
    assert "200,000 input tokens in 60 s for claude-haiku-4-5" in done.out
    assert "1,100,000 input tokens in 60 s for all models" in done.out


def test_an_unknown_model_is_met_with_the_nearest(command) -> None:
    """A misspelt name is the likeliest."""
    done = command("models", "claude-haiku-45")
    assert done.code == 2
    assert "Did you mean claude-haiku-4-5" in done.err


# plan


@pytest.fixture
def planned(command, rows, tmp_path) -> Any:
    """Plan six rows of at most 50 tokens of output each, where a model may write 100 a minute."""
    (tmp_path / "limits.toml").write_text("window_seconds = 60\n[per_model]\noutput_tokens = 100\n")

    def plan(*words: str) -> Any:
        always = ["plan", rows(6), "-m", MODEL, "--max-tokens", "50", "--limits", "limits.toml"]
        return command(*always, "--latency", "1", "--tokens-per-second", "50", *words)

    return plan


def test_a_plan_agrees_with_hand_arithmetic(planned) -> None:
    """Two rows a minute: the last two begin after two minutes, and take 1 s and 50 tokens at 50 a second.

    A guard of a little more than the window, and the time until an answer settles, come on top.
    """
    plan = planned("--json").json()
    assert (plan["rows"], plan["tasks"], plan["output_tokens"]) == (6, 6, 6 * 50)
    assert plan["least_possible_seconds"] == 120.0
    assert plan["windows"] == 3.0
    assert plan["binding_limit"] == "100 output tokens in 60 s for claude-haiku-4-5"
    assert 122.0 <= plan["seconds"] < 126.0
    dollars = (plan["input_tokens"] * 1 + 6 * 50 * 5) / 1_000_000
    assert plan["cost_usd"] == pytest.approx(dollars, abs=1e-6)


def test_a_plan_says_how_long_how_much_and_what_binds(planned) -> None:
    """The text says the same as the JSON."""
    done = planned()
    assert done.code == 0
    assert done.out.startswith("6 rows, 6 requests\n")
    assert "300 output tokens if answers are as long as their caps" in done.out
    assert re.search("about 2 min [2-5] s; no scheduler could take less than 2 min and one answer", done.out)
    assert "what binds: 100 output tokens in 60 s for claude-haiku-4-5 (3.0 windows of work)" in done.out


@pytest.mark.parametrize("word", ["--latency", "--tokens-per-second"])
@pytest.mark.parametrize("said", ["nan", "inf"])
def test_a_plan_refuses_what_is_no_speed(planned, word, said) -> None:
    """It would reckon for ever: `nan` lies in every range."""
    done = planned(word, said)
    assert (done.code, done.out) == (2, "")
    assert f"Invalid value for '{word}': {said} is not a finite number." in done.err


def test_a_plan_refuses_what_is_no_gateway(planned) -> None:
    """It would say what a run at another place takes, without a word; a token it does not need."""
    assert "'ftp://here' is not of the form https://host" in planned("--gateway", "ftp://here").err
    assert planned("--gateway", "https://somewhere.example").code == planned("--gateway", "local").code == 0


def test_a_plan_is_an_upper_bound_of_what_a_run_spends(command, gateway, rows, tmp_path) -> None:
    """It costs at most what the plan said, and writes at most so much."""
    plan = command("plan", rows(10), "-m", MODEL, "--max-tokens", "200", "--json").json()
    words = ["run", rows(10), "-m", MODEL, "--max-tokens", "200", "--json", "--out", "run"]
    summary = command(*words, env=gateway.env).json()
    assert 0 < summary["cost_usd"] <= plan["cost_usd"]
    assert summary["tokens"]["output"] <= plan["output_tokens"]


def test_a_plan_names_a_row_that_can_never_fit(command, rows, tmp_path) -> None:
    """Line, sizes and limit: what has to be known to mend it."""
    rows(2)
    with (tmp_path / "rows.jsonl").open("a") as file:
        file.write(json.dumps({"prompt": "word " * 300}) + "\n")
    (tmp_path / "limits.toml").write_text("[per_model]\ninput_tokens = 100\n")
    done = command("plan", "rows.jsonl", "-m", MODEL, "--max-tokens", "16", "--limits", "limits.toml")
    assert "line 3: it can never fit: about " in done.out + done.err
    assert "at most 16 out, and the limit is 100 input tokens in 60 s for claude-haiku-4-5" in done.out + done.err


def test_a_plan_that_waits_for_limits_does_not_say_that_none_binds(command, rows) -> None:
    """What fits into one window is not sent at once all the same; where nothing is waited for, nothing binds."""
    waits = command("plan", rows(20), "-m", "gpt-5-mini").out
    assert "for output limits" in waits
    assert "all of it fits into one window, but not at once: " in waits
    free = command("plan", rows(1), "-m", "gpt-5-mini").out
    assert " limits" not in free
    assert "no limit binds: all of it fits into one window\n" in free


def test_a_plan_says_which_cap_would_stop_it(command, rows) -> None:
    """A cap that is too small is better known before."""
    done = command("plan", rows(20), "-m", MODEL, "--max-total-tokens", "3000")
    assert "it would be stopped by --max-total-tokens 3,000" in done.out


def test_a_large_input_is_planned_from_some_of_its_rows(command, rows, monkeypatch) -> None:
    """Which is said, and the sums are those of a plan row by row."""
    words = ["plan", rows(60), "-m", MODEL, "--max-tokens", "50", "--json"]
    exact = command(*words).json()
    monkeypatch.setattr("runner.sampled.LARGE", 59)
    found = command(*words).json()
    assert "60 rows were drawn" in found["assumed"][0]
    assert not any("were drawn" in sentence for sentence in exact["assumed"])
    same = ("rows", "tasks", "input_tokens", "output_tokens", "cost_usd", "least_possible_seconds", "models")
    assert [found[name] for name in same] == [exact[name] for name in same]


def test_a_large_input_that_may_reach_a_cap_is_planned_row_by_row(command, rows, monkeypatch) -> None:
    """It matters where it ends."""
    monkeypatch.setattr("runner.sampled.LARGE", 10)
    done = command("plan", rows(20), "-m", MODEL, "--max-total-tokens", "3000")
    assert "it would be stopped by --max-total-tokens 3,000" in done.out
    assert "were drawn" not in done.out


# doctor


@pytest.fixture
def cache(tmp_path) -> dict[str, str]:
    """A cache of one's own."""
    return {"XDG_CACHE_HOME": str(tmp_path / "cache")}


def test_doctor_finds_nothing_wrong_with_a_gateway_that_works(command, gateway, cache) -> None:
    """Directories, token counter, clock and every model are good."""
    done = command("doctor", "-m", f"{MODEL},gpt-5-4", env={**gateway.env, **cache})
    assert done.code == 0
    assert "FAIL" not in done.out
    for what in ("run directory", "cache", "state", "token counter", "clock", MODEL, "gpt-5-4"):
        assert f"ok    {what}: " in done.out
    assert gateway.meter()["statuses"] == {"200": 2}


def test_doctor_starts_the_local_gateway_if_it_is_named(command, cache) -> None:
    """And says that it is no model."""
    done = command("doctor", *LOCAL, "--json", env=cache)
    said = [finding["said"] for finding in done.json()["findings"] if finding["what"] == "gateway"]
    assert done.code == 0
    assert said == ["the local gateway, which is no model"]


def test_doctor_ends_with_5_if_the_token_is_not_accepted(command, gateways, cache) -> None:
    """It says which variable to set, asks once, and shows no token."""
    strict = gateways("--no-limits", "--token", "the-right-one")
    done = command("doctor", env={**strict.env, **cache, "NEON_AI_GATEWAY_TOKEN": "a-wrong-one"})
    assert done.code == 5
    assert "Set NEON_AI_GATEWAY_TOKEN to a valid token." in done.out
    assert "a-wrong-one" not in done.out + done.err
    assert strict.meter()["statuses"] == {"401": 1}


def test_doctor_ends_with_2_if_no_gateway_is_named(command, cache) -> None:
    """The configuration is what is wrong."""
    done = command("doctor", env=cache)
    assert done.code == 2
    assert "No gateway is named" in done.out


def test_doctor_ends_with_9_if_nothing_answers(command, cache) -> None:
    """The address is what is wrong; nothing listens on port 9."""
    env = {**cache, "NEON_AI_GATEWAY_BASE_URL": "http://127.0.0.1:9", "NEON_AI_GATEWAY_TOKEN": "t0ken"}
    done = command("doctor", env=env)
    assert done.code == 9
    assert "No connection to http://127.0.0.1:9" in done.out


@pytest.mark.parametrize("name", ["doctor", "limits", "budget"])
def test_the_gateway_of_an_environment_file_is_looked_at(command, gateway, cache, tmp_path, name) -> None:
    """As a run under cron has it; a file that others may read is refused there, too."""
    own = tmp_path / "own.env"
    own.write_text("".join(f"{variable}={value}\n" for variable, value in gateway.env.items()))
    own.chmod(0o600)
    done = command(name, "--env-file", own, env=cache)
    assert done.code == 0
    assert gateway.env["NEON_AI_GATEWAY_BASE_URL"] in done.out
    own.chmod(0o644)
    refused = command(name, "--env-file", own, env=cache)
    assert refused.code == 2
    assert "has mode 0644, and holds a token" in refused.err


# completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_of_the_shell(command, shell, tmp_path) -> None:
    """It parses, where the shell is there to parse it."""
    done = command("completion", shell)
    assert done.code == 0
    assert "_RUNNER_COMPLETE" in done.out
    path = shutil.which(shell)
    if path is not None:
        (tmp_path / "script").write_text(done.out)
        subprocess.run([path, "-n", tmp_path / "script"], check=True)


def test_completion_completes_models_behind_a_comma(tmp_path) -> None:
    """What bash asks when Tab is pressed behind `-m gpt-5-4,claude-h`."""
    env = {
        "PYTHONPATH": str(ROOT),
        "COMP_WORDS": "runner run x.jsonl -m gpt-5-4,claude-h",
        "COMP_CWORD": "4",
        "_RUNNER_COMPLETE": "bash_complete",
    }
    installed = "import sys; sys.argv = ['runner']; from runner.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", installed], cwd=tmp_path, env=env, capture_output=True, check=True)
    assert done.stdout.decode().splitlines() == ["plain,gpt-5-4,claude-haiku-4-5"]


def test_completion_for_another_shell_is_refused(command) -> None:
    """There are three."""
    done = command("completion", "tcsh")
    assert done.code == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in done.err


# simulate


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param(["--fault", "error_599=1"], "There is no fault 'error_599'; there are error_500, ", id="its name"),
        pytest.param(["--fault", "reset=2"], "must add up to at most 1", id="probability"),
        pytest.param(["--fault", "reset=often"], "reset=often", id="no number"),
        pytest.param(["--fault", "reset"], "reset", id="no probability"),
        pytest.param(["--outage", "5"], "'5' is not of the form A:B, two numbers", id="outage"),
        pytest.param(["--outage", "5:1"], "'5:1' ends before it has begun", id="outage that never is"),
        pytest.param(["--neighbour", "9:5:5"], "'5:5' ends before it has begun", id="neighbour that never is"),
        pytest.param(["--neighbour", "many"], "'many' is not of the form AMOUNT or AMOUNT:FROM:TO", id="neighbour"),
        pytest.param(["--output-neighbour", "9:5"], "'5' is not of the form A:B", id="output neighbour"),
        pytest.param(["--window", "round"], "'round' is not one of 'fixed'", id="window"),
        pytest.param(["--port", "99999"], "99999 is not in the range 0<=x<=65535", id="port"),
        pytest.param(["--latency", "nan"], "--latency': nan is not a finite number", id="latency"),
        pytest.param(["--time-scale", "-1"], "-1.0 is not in the range x>=0.0", id="time scale"),
        pytest.param(["--window-seconds", "0"], "0.0 is not in the range x>0.0", id="window seconds"),
        pytest.param(["--outage", "5:nan"], "'5:nan' is not of the form A:B, two numbers", id="outage at no time"),
        pytest.param(["--limits", "nowhere.toml"], "nowhere.toml: No such file or directory", id="limits"),
    ],
)
def test_simulate_refuses_what_it_cannot_play(command, words, said) -> None:
    """A fault that is misspelt would never happen, and nobody would know; the sentence holds the word that is wrong."""
    done = command("simulate", "--port", "0", *words)
    assert done.code == 2
    assert said in done.err


def test_simulate_keeps_what_a_limits_file_says_of_a_model(command, gateways, rows, tmp_path) -> None:
    """Whatever it measures."""
    path = tmp_path / "limits.toml"
    path.write_text(f'[models."{MODEL}"]\ninput_tokens = 7_000\noutput_tokens = 800\nrequests_per_second = 9\n')
    strict = gateways("--limits", str(path))
    assert command("run", rows(1), "-m", MODEL, "--limits", path, "--max-tokens", "20", env=strict.env).code == 0
    amounts = {name: limit["limit"] for name, limit in strict.meter()["limits"].items()}
    assert [amounts[f"{measure}/{MODEL}"] for measure in ("input", "output", "requests")] == [7_000, 800, 9]


def test_simulate_refuses_a_port_that_is_taken(command, gateway) -> None:
    """The sentence names the port."""
    port = gateway.url.rpartition(":")[2]
    done = command("simulate", "--port", port)
    assert done.code == 2
    assert f"Port {port} cannot be used" in done.err
