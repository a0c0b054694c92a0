"""A stronger model asked about the rows of which the first one is not sure, from the job file to the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

TEXTS = ("formats disks and partitions", "a chess game for two players", "reads mail by IMAP", "something else")
JOB = """
input = "rows.jsonl"
prompt = "Labels: {{ labels }}\\n{{ text }}"
models = "gpt-5-4-mini"
[answer]
kind = "label"
labels = "admin, games, mail"
structured = true
"""
STATED = 'confidence = "sure"\n[escalate]\nmodels = "claude-opus-4-8"\nconfidence_below = 0.5\n'
SAMPLED = '[annotators]\nsamples = 3\n[escalate]\nmodels = "claude-opus-4-8"\nconfidence_below = 0.9\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty rows of which ten say nothing."""
    rows = [{"text": f"{TEXTS[number % 4]} {number}", "known": ["admin", "games", "mail", None][number % 4]}
            for number in range(40)]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def run(folder: Path, command: Any, env: Any, name: str = "run", *words: str) -> Any:
    return command("run", folder, "--out", folder / name, "--no-memory", "--json", *words, env=env)


def asked(run: Path) -> list[int]:
    """The rows that the stronger model was asked about."""
    frame = pl.read_parquet(run / "results.parquet")
    return frame.filter(pl.col("annotator") == "claude-opus-4-8")["row"].to_list()


@pytest.mark.parametrize("endpoint", ["chat", "native"])
def test_rows_that_a_model_is_not_sure_of_go_to_a_stronger_one(
    folder: Path, command: Any, gateway: Any, endpoint: str
) -> None:
    """By the field that the job names; it stands in the tables, and the report holds it against what is known."""
    head = f'endpoint = "{endpoint}"\n'
    (folder / "job.toml").write_text(head + JOB + STATED + '[gold]\ncolumn = "known"\n')
    done = run(folder, command, gateway.env)
    assert done.code == 0
    results = pl.read_parquet(folder / "run" / "results.parquet")
    own = results.filter(pl.col("annotator") == "gpt-5-4-mini")
    assert own["confidence"].null_count() == 0
    unsure = own.filter(pl.col("confidence") < 0.5)["row"].to_list()
    assert asked(folder / "run") == unsure
    assert 5 < len(unsure) < 35
    labels = pl.read_parquet(folder / "run" / "labels.parquet")
    assert labels["confidence"].to_list() == own["confidence"].to_list()
    assert set(labels.filter(pl.col("row").is_in(unsure))["label_status"]) == {"escalated"}
    buckets = done.json()["labels"]["confidence"]["buckets"]
    assert sum(bucket["rows"] for bucket in buckets) == 40
    assert sum(bucket["known"] for bucket in buckets) == 30
    assert "not calibrated" in command("resume", folder / "run", env=gateway.env).out


def test_rows_on_which_samples_differ_go_to_a_stronger_one(folder: Path, command: Any, gateways: Any) -> None:
    """Three samples, and their common label has less than nine tenths of them; what is unreadable is not sure."""
    (folder / "job.toml").write_text(JOB.replace("structured = true", "asks = 0") + SAMPLED)
    done = run(folder, command, gateways("--no-limits", "--fault", "broken_answer=0.15").env)
    assert done.code == 0
    results = pl.read_parquet(folder / "run" / "results.parquet").filter(pl.col("annotator") != "claude-opus-4-8")
    cells = dict(results.group_by("row").agg("answer").iter_rows())
    shares = {row: max(said.count(answer) for answer in {*said} - {None}) / 3 for row, said in cells.items()}
    assert asked(folder / "run") == [row for row in range(40) if shares[row] < 0.9]
    assert 0 < len(asked(folder / "run")) < 40
    assert done.json()["labels"]["confidence"]["basis"] == "samples"


def test_a_run_that_was_stopped_escalates_the_same_rows(folder: Path, command: Any, gateway: Any) -> None:
    """How sure the model was is read from the journal."""
    (folder / "job.toml").write_text(JOB + STATED)
    assert run(folder, command, gateway.env, "whole").code == 0
    stopped = run(folder, command, gateway.env, "run", "--max-total-tokens", "2500")
    assert stopped.code == 4
    done = command("resume", folder / "run", "--max-total-tokens", "999999", "--no-memory", env=gateway.env)
    assert done.code == 0
    assert asked(folder / "run") == asked(folder / "whole")


def test_a_threshold_without_a_sign_of_confidence_is_refused(folder: Path, command: Any) -> None:
    """With what would be one."""
    (folder / "job.toml").write_text(JOB + STATED.replace('confidence = "sure"', ""))
    done = command("run", folder, "--gateway", "local")
    assert done.code == 2
    assert "escalate.confidence_below needs something that shows confidence: answer.confidence" in done.err


def test_examples_state_a_confidence_where_answers_do(folder: Path, command: Any, gateway: Any) -> None:
    """From the column of that name; an example without it would teach a model to leave it out."""
    (folder / "shown.jsonl").write_text('{"text": "a maze", "label": "games", "sure": 0.9}\n')
    (folder / "job.toml").write_text(JOB + STATED + '[examples]\nfile = "shown.jsonl"\nanswer = "label"\ncount = 1\n')
    assert run(folder, command, gateway.env).code == 0
    (folder / "shown.jsonl").write_text('{"text": "a maze", "label": "games"}\n')
    done = run(folder, command, gateway.env, "other")
    assert done.code == 2
    assert "example 1: it has no number from 0 to 1 in its column 'sure', and answers state one" in done.err
