"""A finished run read and scored again by a job that has changed its mind, without a request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

JOB = """
input = "rows.jsonl"
prompt = "Is this about mail, games or disks? One word.\\n{{ text }}"
models = "claude-opus-4-8"
[answer]
kind = "label"
labels = "mail, games, SECOND"
asks = 0
"""
TEXTS = ("formats disks", "a chess game", "reads mail by IMAP")


@pytest.fixture
def folder(tmp_path: Path, command: Any, gateway: Any) -> Path:
    """A finished run of nine rows, of which some are answered with a word that the job does not know."""
    rows = [{"text": f"{TEXTS[number % 3]} {number}", "known": TEXTS[number % 3].split()[-1]} for number in range(9)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "job.toml").write_text(JOB.replace("SECOND", "net"))
    assert command("run", tmp_path, "--out", tmp_path / "run", "--no-memory", env=gateway.env).code == 0
    return tmp_path


def answers(folder: Path) -> list[str | None]:
    return pl.read_parquet(folder / "run" / "labels.parquet")["label"].to_list()


def test_a_changed_reader_is_applied_to_the_replies_that_are_there(folder: Path, command: Any, gateway: Any) -> None:
    """A synonym that was missing; the journal stays as it is, and the run is finished as before."""
    before, journal = answers(folder), (folder / "run" / "journal.jsonl").read_bytes()
    assert None in before
    (folder / "job.toml").write_text(JOB.replace("SECOND", "net") + 'synonyms = { disks = "net" }\n')
    done = command("score", folder / "run", "--job", folder, "--json")
    assert done.code == 0
    assert answers(folder) == [label or "net" for label in before]
    assert done.json()["labels"]["labelled"] == 9
    assert (folder / "run" / "journal.jsonl").read_bytes() == journal
    again = command("resume", folder / "run", "--json", env=gateway.env)
    assert again.json()["labels"] == done.json()["labels"]
    manifest = json.loads((folder / "run" / "manifest.json").read_text())
    assert manifest["job"]["answer"]["reader"]["synonyms"] == {"disks": "net"}


def test_scorers_can_be_given_afterwards(folder: Path, command: Any) -> None:
    """An evaluation of answers that were asked for without one."""
    (folder / "job.toml").write_text(JOB.replace("SECOND", "net") + '[evaluate]\nexpected = "known"\n')
    done = command("score", folder / "run", "--job", folder, "--json")
    assert done.code == 0
    assert done.json()["evaluation"]["column"] == "known"
    assert len(pl.read_parquet(folder / "run" / "scores.parquet")) == 9


def test_without_a_job_everything_is_as_it_was(folder: Path, command: Any) -> None:
    """Tables can be thrown away and made again."""
    before = answers(folder)
    (folder / "run" / "labels.parquet").rename(folder / "elsewhere.parquet")
    assert command("score", folder / "run").code == 2  # what is not whole is gone on with, not scored
    (folder / "elsewhere.parquet").rename(folder / "run" / "labels.parquet")
    assert command("score", folder / "run").code == 0
    assert answers(folder) == before


def test_a_model_that_is_gone_from_the_catalogue_takes_no_outcome_along(tmp_path: Path, command: Any) -> None:
    """A row of an early run that names it itself could not be asked any more; what came of it stays."""
    run, own = tmp_path / "run", tmp_path / "own.toml"
    own.write_text('[models.mine]\nprovider = "Me"\n')
    (tmp_path / "rows.jsonl").write_text('{"prompt": "x", "model": "mine"}\n{"prompt": "y"}\n')
    words = ("-m", "gpt-5-4", "--catalog", own, "--gateway", "local", "--no-memory", "--bad-rows", "record")
    assert (
        command("run", tmp_path / "rows.jsonl", *words, "--out", run).code == 3
    )  # the local gateway has no such model
    before = pl.read_parquet(run / "results.parquet")
    own.write_text('[models.other]\nprovider = "Me"\n')
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["input"]["survey"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert command("score", run).code == 3
    assert pl.read_parquet(run / "results.parquet").drop("annotator").equals(before.drop("annotator"))


def test_a_job_that_is_not_there_is_named(folder: Path, command: Any) -> None:
    """It is not taken for an input about which another question is asked."""
    done = command("score", folder / "run", "--job", folder / "jobs")
    assert (done.code, done.err) == (
        2, f"runner: {folder / 'jobs'} is no job: it is neither a folder with a job.toml nor a TOML file.\n",
    )  # fmt: skip


def test_a_job_that_asks_something_else_is_refused(folder: Path, command: Any) -> None:
    """An answer to another question is no answer to this one; nothing is written."""
    (folder / "job.toml").write_text(JOB.replace("One word", "Two words"))
    manifest = (folder / "run" / "manifest.json").read_bytes()
    done = command("score", folder / "run", "--job", folder)
    assert done.code == 2
    assert "are to another question than the job asks now: prompt: " in done.err
    assert (folder / "run" / "manifest.json").read_bytes() == manifest
