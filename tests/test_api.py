"""The Python interface, against the local gateway."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import runner

LOCAL = "local?latency=0&time-scale=0"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Three rows with a prompt each."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"Say {word}.", "word": word}) + "\n" for word in ("a", "b", "c")))
    return path


def test_run_answers_every_row_and_gives_the_table(rows: Path, tmp_path: Path) -> None:
    """`runner.run` takes the words of the command line, and its result holds the summary and the table."""
    finish = runner.run(rows, models="gpt-5-4,claude-haiku-4-5", max_tokens=32, gateway=LOCAL, out=tmp_path / "run")
    assert finish.ending.exit_code == 0
    assert finish.summary["tasks"]["succeeded"] == 3
    table = finish.results()
    assert table["row"].to_list() == [0, 1, 2]
    assert table["word"].to_list() == ["a", "b", "c"]


def test_labels_make_a_labelling_run(rows: Path, tmp_path: Path) -> None:
    """Short for an `answer` with these labels; the sections of a job file are words, too."""
    finish = runner.run(
        rows, models="claude-opus-4-8", prompt="Labels: {{ labels }}\nSay {{ word }}.", labels=["yes", "no"],
        answer={"kind": "label", "asks": 0}, gateway=LOCAL, out=tmp_path / "run",
    )  # fmt: skip
    assert finish.summary["labels"]["labelled"] == 3
    assert set(finish.results()["answer"]) <= {"yes", "no"}


def test_a_folder_may_be_called_like_a_pattern(rows: Path, tmp_path: Path) -> None:
    """What a run has written is read back from its own place, its labels, its judge's answers and metrics as well."""
    finish = runner.run(
        rows, models="gpt-5-4,claude-haiku-4-5", each=True, max_tokens=32, gateway=LOCAL, out=tmp_path / "run[1]",
        prompt="Say yes.", answer={"kind": "label", "labels": ["yes", "no"], "asks": 0}, vote={"least": 0.5},
        evaluate={"expected": "word", "judge": {"model": "gpt-5-4-nano", "rubric": "Is it right?"}},
    )  # fmt: skip
    assert finish.ending.exit_code == 0
    assert finish.results()["row"].to_list() == [0, 0, 1, 1, 2, 2]
    assert finish.summary["labels"]
    assert finish.summary["evaluation"]


def test_an_evaluation_takes_columns_of_any_name_and_integers_of_any_size(tmp_path: Path) -> None:
    """What stands beside the answers is no pattern, and no reason to end when all was answered."""
    frame = pl.DataFrame({"prompt": ["a", "b"], "^t.*$": ["x", "y"], "*": ["x", "y"], "huge": [2**100, -5]})
    frame.cast({"huge": pl.Int128}).write_parquet(tmp_path / "rows.parquet")
    finish = runner.run(
        tmp_path / "rows.parquet", models="gpt-5-4", max_tokens=32, gateway=LOCAL, out=tmp_path / "run",
        answer={"kind": "label", "labels": ["x", "y"], "asks": 0}, vote={"least": 0.5},
        evaluate={"expected": "^t.*$", "slices": ["*"]},
    )  # fmt: skip
    assert finish.summary["tasks"]["succeeded"] == 2
    assert finish.summary["evaluation"]["models"]["gpt-5-4"]["metrics"]["exact"]["n"] == 2


async def test_run_works_where_a_loop_is_running(rows: Path, tmp_path: Path) -> None:
    """In a notebook an event loop runs already; the run goes on in a thread of its own."""
    asyncio.get_running_loop()
    finish = runner.run(rows, models=["gpt-5-4"], max_tokens=32, gateway=LOCAL, out=tmp_path / "run")
    assert finish.summary["tasks"]["succeeded"] == 3


SCRIPT = """
import asyncio, sys, runner

async def cell():
    rows, limits, out, gateway = sys.argv[1:]
    finish = runner.run(rows, models="gpt-5-4", max_tokens=32, limits=limits, out=out, gateway=gateway)
    print(finish.ending.exit_code, finish.ending.reason)

asyncio.run(cell())
"""


@pytest.mark.fault("P1")
def test_an_interruption_where_a_loop_is_running_stops_the_run(
    rows: Path, tmp_path: Path, wait_for: Callable[..., Any], frames: Callable[..., Any]
) -> None:
    """The main thread gets it, which only waits: the run is told, what is in flight lands, and it can be resumed."""
    rows.write_text(rows.read_text() * 4)
    limits, run = tmp_path / "limits.toml", tmp_path / "run"
    limits.write_text("[per_model]\nrequests_per_second = 3\n")
    words = [rows, limits, run, "local?latency=0.3&time-scale=1"]
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, *words], stdout=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: frames(run, "landed"))
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert said.split() == ["130", "stopped", "by", "SIGINT"]
    assert len(frames(run, "sent")) == len(frames(run, "landed")) < 12
    assert runner.resume(run, gateway=LOCAL).summary["tasks"]["succeeded"] == 12


def test_plan_sends_nothing_and_needs_no_gateway(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`runner.plan` counts rows and tokens without any token or address."""
    monkeypatch.delenv("NEON_AI_GATEWAY_TOKEN", raising=False)
    made = runner.plan(rows, models="gpt-5-4", max_tokens=32)
    assert made.tasks == 3
    assert made.output_tokens.total() == 96


def test_a_job_file_says_how_it_is_run_unless_the_caller_does(rows: Path, tmp_path: Path) -> None:
    """Gateway, limits, catalogues and no limits at all, as on the command line."""
    (tmp_path / "own.toml").write_text('[models.mine]\nprovider = "Me"\n')
    (tmp_path / "job.toml").write_text(
        'input = "rows.jsonl"\nmodels = "mine"\nmax_tokens = 9\ngateway = "local"\nno_limits = true\n'
        'catalogs = "own.toml"\n'
    )
    assert runner.plan(tmp_path).bound.limit is None
    finish = runner.run(tmp_path, gateway=LOCAL, models="gpt-5-4", out=tmp_path / "run")
    assert finish.ending.exit_code == 0


def test_a_job_without_an_input_says_so(tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text('models = "gpt-5-4"\n')
    with pytest.raises(runner.RunnerError, match="input is missing"):
        runner.plan(tmp_path)


def test_a_word_that_does_not_exist_is_refused(rows: Path) -> None:
    """A misspelt word is named, with the nearest one."""
    with pytest.raises(runner.RunnerError, match="Did you mean 'max_tokens'"):
        runner.run(rows, models="gpt-5-4", max_token=3, gateway=LOCAL)  # type: ignore[call-arg]


def test_resume_of_a_finished_run_sends_nothing(rows: Path, tmp_path: Path) -> None:
    """Going on with a run that is done changes nothing but the number of sessions."""
    first = runner.run(rows, models="gpt-5-4", max_tokens=32, gateway=LOCAL, out=tmp_path / "run")
    table = (tmp_path / "run" / "results.parquet").read_bytes()
    again = runner.resume(tmp_path / "run")
    assert again.summary["requests"]["sent"] == first.summary["requests"]["sent"]
    assert (tmp_path / "run" / "results.parquet").read_bytes() == table


def test_a_scorer_of_ones_own_scores_beside_those_of_the_table(rows: Path, tmp_path: Path) -> None:
    """It is a function in the program that runs the job, for this run only."""

    def longest(answer: str, _expected: str, _options: object) -> float:
        return min(1.0, len(answer) / 1000)

    finish = runner.run(
        rows, models="gpt-5-4", max_tokens=32, gateway=LOCAL, out=tmp_path / "run", prompt="Say something.",
        evaluate={"expected": "word", "scorers": ["contains"]}, scorers={"longest": longest},
    )  # fmt: skip
    metrics = finish.summary["evaluation"]["models"]["gpt-5-4"]["metrics"]
    assert set(metrics) == {"contains", "longest"}
    assert 0 < metrics["longest"]["mean"] < 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"scorers": {"exact": lambda *_: 1}, "evaluate": {"expected": "word"}}, "a scorer 'exact' already"),
        ({"scorers": {"mine": lambda *_: 1}}, "something to score against"),
    ],
)
def test_scorers_that_cannot_be_used_are_refused(rows: Path, words: dict[str, Any], reason: str) -> None:
    """Before anything is sent."""
    with pytest.raises(runner.RunnerError, match=reason):
        runner.run(rows, models="gpt-5-4", gateway=LOCAL, **words)
