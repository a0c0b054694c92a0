"""Runs whose input takes long to look over: they begin with what was seen, and the rest of the look goes on beside."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from runner import preparing, surveying, surveyor
from runner.beside import LookBeside
from runner.core.errors import InputRejected
from runner.core.values import Failure, Reply
from runner.core.work import Ask
from runner.gateway.asking import Asking
from runner.storage.runs import brief

MODEL = "gpt-5-4"
OTHER = "claude-haiku-4-5"
ROWS = 120
SOUND = [{"prompt": f"Say {n}.", "n": n} for n in range(ROWS)]
SPOILT = [*SOUND[:80], {"prompt": " "}, *SOUND[81:100], {"text": "nothing to ask"}, *SOUND[101:]]

Look = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


async def at_once(question: Mapping[str, Any]) -> dict[str, Any]:
    """A look that is over before the run has got far."""
    return surveyor.find(question)


async def never(_question: Mapping[str, Any]) -> dict[str, Any]:
    """A look that outlasts the run."""
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def broken(_question: Mapping[str, Any]) -> dict[str, Any]:
    """A look whose process was killed."""
    raise InputRejected("The look over the input broke off: it was ended by signal 9.")


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Callable[[Look], None]:
    """Runs begin with their first row seen, and the rest of the look is the given one."""
    monkeypatch.setattr(preparing, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(surveying, "STRIDE", 1)

    def beside(look: Look) -> None:
        monkeypatch.setattr(surveyor, "survey", look)

    return beside


@pytest.fixture
def after_the_run(monkeypatch: pytest.MonkeyPatch) -> Look:
    """A look that finds a bad row only after the run has come upon it."""
    met = asyncio.Event()
    reject = LookBeside.reject

    def noticed(self: LookBeside, reason: str) -> bool:
        met.set()
        return reject(self, reason)

    monkeypatch.setattr(LookBeside, "reject", noticed)

    async def look(question: Mapping[str, Any]) -> dict[str, Any]:
        await met.wait()
        return surveyor.find(question)

    return look


@pytest.fixture
def run(command, gateway, tmp_path) -> Callable[..., Any]:
    """`runner run` on rows, into the directory `run`."""

    def call(rows: list[dict[str, Any]], *words: str) -> Any:
        source = write(tmp_path / "rows.jsonl", rows)
        return command(
            "run", source, "-m", MODEL, "--max-tokens", "16", "--out", tmp_path / "run", *words, env=gateway.env
        )

    return call


def manifest(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tmp_path / "run" / "manifest.json").read_text())
    return found


def summary(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tmp_path / "run" / "summary.json").read_text())
    return found


def adds_up(tmp_path: Path) -> bool:
    """Whether the summary's counts are those of the results table, and of its own total."""
    tasks = summary(tmp_path)["tasks"]
    table = pl.read_parquet(tmp_path / "run" / "results.parquet")
    return tasks["total"] == len(table) == sum(tasks.values()) - tasks["total"]


# The look ends well.


def test_a_run_goes_on_while_its_input_is_looked_over(run, begun, monkeypatch, tmp_path) -> None:
    """Rows are answered before the look is over, and the run is not over before the look."""
    answered, ask = asyncio.Event(), Asking.__call__

    async def noticed(self: Asking, one: Ask) -> Reply | Failure:
        result = await ask(self, one)
        answered.set()
        return result

    async def look(question: Mapping[str, Any]) -> dict[str, Any]:
        await answered.wait()
        return surveyor.find(question)

    monkeypatch.setattr(Asking, "__call__", noticed)

    begun(look)
    assert run(SOUND).code == 0
    assert manifest(tmp_path)["input"]["rows"] == ROWS
    assert manifest(tmp_path)["input"]["tasks"] == ROWS
    assert adds_up(tmp_path)


def test_a_process_of_its_own_looks_and_takes_the_digest(run, begun, tmp_path) -> None:
    """The real one: it finds what a look before the run would have found."""
    begun(surveyor.survey)
    assert run(SOUND).code == 0
    said = manifest(tmp_path)["input"]
    assert said["digest"] == hashlib.sha256((tmp_path / "rows.jsonl").read_bytes()).hexdigest()
    assert said["rows"] == ROWS
    assert said["survey"]["kinds"] == {"prompt": "str", "n": "int"}


def test_the_manifest_is_there_from_the_start_and_completed_later(run, begun, tmp_path) -> None:
    """A run that is killed before its look ended is known by its directory all the same."""
    early: list[Any] = []

    async def look(question: Mapping[str, Any]) -> dict[str, Any]:
        early.append(manifest(tmp_path)["input"])
        return surveyor.find(question)

    begun(look)
    run(SOUND)
    assert (early[0]["digest"], early[0]["rows"], early[0]["tasks"]) == (None, None, None)
    assert early[0]["bytes"] == (tmp_path / "rows.jsonl").stat().st_size
    assert manifest(tmp_path)["input"]["tasks"] == ROWS


def test_a_model_that_only_a_late_row_names_is_asked(run, begun, tmp_path) -> None:
    """What the first rows did not show may come all the same."""
    begun(at_once)
    assert run([*SOUND[:20], {"prompt": "Say x.", "model": OTHER}]).code == 0
    assert pl.read_parquet(tmp_path / "run" / "results.parquet")["model"][-1] == OTHER
    assert OTHER in manifest(tmp_path)["models"]


def test_a_column_takes_the_kind_of_all_its_values(run, begun, tmp_path) -> None:
    """A column that begins with numbers and goes on with words is one of words."""
    begun(at_once)
    run([*SOUND[:20], {"prompt": "Say x.", "n": "many"}])
    assert pl.read_parquet(tmp_path / "run" / "results.parquet")["n"].dtype == pl.String


def test_a_large_input_of_few_rows_waits_for_no_digest(run, begun, monkeypatch, tmp_path) -> None:
    """With --limit the look is over at once, and the digest of ten gigabytes is not."""
    monkeypatch.setattr(preparing, "DIGEST_BYTES", 10)
    asked: list[bool] = []

    async def look(question: Mapping[str, Any]) -> dict[str, Any]:
        asked.append(question["look"])
        return surveyor.find(question)

    begun(look)
    monkeypatch.setattr(preparing, "LOOK_SECONDS", 60.0)
    assert run(SOUND, "--limit", "2").code == 0
    assert asked == [False]
    assert len(manifest(tmp_path)["input"]["digest"]) == 64


@pytest.mark.parametrize("words", [["--sample", "5"], ["--strict-params"]])
def test_some_words_need_the_whole_look_first(run, begun, words) -> None:
    """Which rows are drawn, and whether one is refused for its parameters, only the last row says."""
    begun(never)
    assert run(SOUND, *words).code == 0


def test_a_plan_looks_at_everything(command, begun, tmp_path) -> None:
    """It promises how many rows cannot be asked."""
    begun(never)
    done = command("plan", write(tmp_path / "rows.jsonl", SPOILT), "-m", MODEL, "--json")
    assert done.json()["rows"] == ROWS


# Rows that cannot be asked.


@pytest.fixture(params=["the look", "the run"])
def spoilt(request, run, begun, after_the_run) -> Any:
    """A run over an input with two bad rows, which the look finds first, or the run itself."""
    begun(at_once if request.param == "the look" else after_the_run)
    return run(SPOILT)


def test_bad_rows_stop_the_run_and_are_all_named(spoilt) -> None:
    """Whoever finds the first, all are named by line and reason, as before a run."""
    assert spoilt.code == 7
    assert "2 of 120 rows cannot be asked" in spoilt.err
    assert "line 81: its prompt is empty" in spoilt.err
    assert "line 101: it has neither `prompt` nor `messages`" in spoilt.err


def test_what_was_answered_before_a_bad_row_is_in_the_tables(spoilt, tmp_path, frames) -> None:
    """It was paid for."""
    answered = len(frames(tmp_path / "run", "landed"))
    assert summary(tmp_path)["tasks"]["succeeded"] == answered
    assert adds_up(tmp_path)
    assert summary(tmp_path)["tasks"]["total"] == ROWS


def test_nothing_behind_a_bad_row_is_asked(spoilt, tmp_path, frames) -> None:
    """Nothing more is admitted once it is found."""
    assert max(frame["row"] for frame in frames(tmp_path / "run", "sent")) < 80


def test_bad_rows_can_be_recorded_by_a_resume(spoilt, command, gateway, tmp_path, frames) -> None:
    """The command that is named goes on, and nothing is asked twice."""
    assert f"runner resume {tmp_path / 'run'} --bad-rows record" in spoilt.err
    done = command("resume", tmp_path / "run", "--bad-rows", "record", env=gateway.env)
    assert done.code == 3
    tasks = summary(tmp_path)["tasks"]
    assert (tasks["succeeded"], tasks["errored"], tasks["open"]) == (ROWS - 2, 2, 0)
    assert len(frames(tmp_path / "run", "sent")) == ROWS - 2


def test_a_resume_that_does_not_record_them_is_refused(spoilt, command, gateway, tmp_path) -> None:
    """The same rows are there, and the same is said."""
    done = command("resume", tmp_path / "run", env=gateway.env)
    assert done.code == 7
    assert "line 81: its prompt is empty" in done.err
    assert "--bad-rows record" in done.err


def test_the_command_that_records_them_names_the_gateway_as_it_was_named(spoilt, command, gateway, tmp_path) -> None:
    """It can be copied as it stands."""
    token = {"NEON_AI_GATEWAY_TOKEN": gateway.env["NEON_AI_GATEWAY_TOKEN"]}
    done = command("resume", tmp_path / "run", "--gateway", gateway.url, env=token)
    assert f"runner resume {tmp_path / 'run'} --gateway {gateway.url} --bad-rows record" in done.err


def test_the_command_that_records_them_names_the_environment_file(spoilt, command, gateway, tmp_path) -> None:
    """The gateway and its token are in it alone."""
    own = tmp_path / "own.env"
    own.write_text("".join(f"{name}={value}\n" for name, value in gateway.env.items()))
    own.chmod(0o600)
    done = command("resume", tmp_path / "run", "--env-file", "own.env")
    assert f"runner resume {tmp_path / 'run'} --env-file own.env --bad-rows record" in done.err


@pytest.mark.parametrize("first", ["the look", "the run"])
def test_bad_rows_that_are_to_be_recorded_stop_nothing(run, begun, after_the_run, tmp_path, first) -> None:
    """Whoever comes upon them first."""
    begun(at_once if first == "the look" else after_the_run)
    assert run(SPOILT, "--bad-rows", "record").code == 3
    tasks = summary(tmp_path)["tasks"]
    assert (tasks["succeeded"], tasks["errored"], tasks["open"]) == (ROWS - 2, 2, 0)


def test_a_bad_row_among_the_first_is_found_before_anything_is_sent(run, begun, gateway) -> None:
    """Then there is no hurry: the whole input is looked at, and every reason named."""
    begun(never)
    done = run([{"text": "x"}, *SPOILT])
    assert done.code == 7
    assert "3 of 121 rows cannot be asked; nothing was sent" in done.err
    assert gateway.meter()["statuses"] == {}


# The look does not end well.


def test_a_look_that_broke_off_stops_the_run_in_order(run, begun, tmp_path) -> None:
    """It is said, and nothing hangs."""
    begun(broken)
    done = run(SOUND)
    assert done.code == 7
    assert "broke off: it was ended by signal 9" in done.err
    assert f"runner resume {tmp_path / 'run'}" in done.err
    assert adds_up(tmp_path)


@pytest.mark.parametrize("look", [broken, never])
def test_a_resume_completes_a_look_that_was_not(run, begun, command, gateway, tmp_path, look) -> None:
    """Broken off, or left behind by a run that a cap stopped."""
    begun(look)
    done = run(SOUND, "--max-total-tokens", "600")
    assert done.code == (7 if look is broken else 4)
    assert manifest(tmp_path)["input"]["digest"] is None
    assert "the tables end with the last row that was answered" in done.err
    assert adds_up(tmp_path)
    begun(at_once)
    done = command("resume", tmp_path / "run", "--max-total-tokens", "1000000", env=gateway.env)
    assert done.code == 0
    assert manifest(tmp_path)["input"]["tasks"] == ROWS
    assert summary(tmp_path)["tasks"]["succeeded"] == ROWS
    assert adds_up(tmp_path)


def test_the_status_of_a_run_whose_look_did_not_end_says_so(run, begun, command, tmp_path) -> None:
    """How many tasks there are nobody knows yet."""
    begun(never)
    run(SOUND, "--max-total-tokens", "600")
    done = command("status", tmp_path / "run")
    assert "stopped" in done.out
    assert "input not looked over yet: " in done.out
    assert command("status", tmp_path / "run", "--json").json()["tasks"]["total"] is None


def test_a_fork_of_several_files_takes_over_their_answers_before_the_look_has_ended(
    command, begun, gateway, tmp_path
) -> None:
    """Which columns there are is not known yet: that they are fewer than before says nothing."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("prompt\nSay a.\nSay b.\n")
    (tmp_path / "data" / "b.csv").write_text("prompt,note\nSay c.,x\n")
    begun(at_once)
    words = ("run", tmp_path / "data", "-m", MODEL, "--max-tokens", "16")
    assert command(*words, "--out", tmp_path / "old", env=gateway.env).code == 0
    done = command(*words, "--out", tmp_path / "new", "--fork", tmp_path / "old", env=gateway.env)
    assert "3 answers were taken over" in done.err


GATED = ["--set", "evaluate.expected=n", "--set", "gates.least.exact=1.0"]


def test_an_evaluation_that_stops_before_the_look_has_ended_is_not_taken_for_a_whole_one(
    run, begun, command, gateway, tmp_path
) -> None:
    """Its rows are few, and not all of them: nothing is scored, and the rest is asked when it goes on."""
    begun(never)
    assert run(SOUND, "--max-total-tokens", "600", *GATED).code == 4
    assert summary(tmp_path)["exit_code"] == 4
    assert "evaluation" not in summary(tmp_path)
    begun(at_once)
    done = command("resume", tmp_path / "run", "--max-total-tokens", "1000000", env=gateway.env)
    assert done.code == 10, done.err
    assert summary(tmp_path)["tasks"]["succeeded"] == ROWS


@pytest.mark.parametrize("words", [[], GATED])
def test_a_run_that_stopped_before_the_look_has_ended_is_listed_as_what_it_is(
    run, begun, command, words, tmp_path
) -> None:
    begun(never)
    run(SOUND, "--max-total-tokens", "600", *words)
    listed = brief(tmp_path / "run")
    assert listed["status"] == "failed"
    assert listed["tasks"]["total"] is None
    assert "failed" in command("list", "--in", tmp_path).out


def test_an_evaluation_that_ends_before_anything_was_answered_says_why(run, begun, gateway, tmp_path) -> None:
    begun(never)
    done = run(SOUND, *GATED, "--max-cost", "0.0000001")
    assert done.code == 4, done.err


def test_an_input_that_is_not_the_same_any_more_stops_the_run(run, begun, tmp_path) -> None:
    """Answers must not stand beside rows that nobody looked at."""

    async def look(question: Mapping[str, Any]) -> dict[str, Any]:
        write(tmp_path / "rows.jsonl", [*SOUND, {"prompt": "one more"}])
        return surveyor.find(question)

    begun(look)
    done = run(SOUND)
    assert done.code == 7
    assert "rows.jsonl was changed" in done.err


def test_what_was_answered_of_an_archive_with_a_broken_end_is_kept(command, begun, gateway, tmp_path) -> None:
    """The rows before the damage were paid for; the file is refused as it would be before a run."""
    begun(at_once)
    whole = gzip.compress("".join(json.dumps(row) + "\n" for row in SOUND * 100).encode(), mtime=0)
    (tmp_path / "rows.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    done = command("run", "rows.jsonl.gz", "-m", MODEL, "--out", tmp_path / "run", env=gateway.env)
    assert done.code == 7
    assert "cannot be read to its end" in done.err
    assert adds_up(tmp_path)
