"""Rows with known labels from a file of their own: mixed in blind, measured, and no rows of the table."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from runner.preparing import Setup, prepare
from runner.storage.jobs import declare, read_words

TEXTS = {"admin": "formats disks and partitions", "games": "a chess game for two players", "mail": "reads mail by IMAP"}
JOB = """
input = "rows.jsonl"
prompt = "Labels: {{ labels }}\\n{{ row | tojson }}"
models = "claude-opus-4-8,gpt-5-4-mini"
each = true
[answer]
kind = "label"
labels = "admin, games, mail"
[gold]
column = "known"
file = "known.csv"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty rows, and six with known labels, one of which is none."""
    rows = [{"n": number, "text": f"{text} {number}"} for number, text in enumerate([*TEXTS.values()] * 7)][:20]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with (tmp_path / "known.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["known", "text", "source", "n"])
        writer.writerows([label, f"{text}, too", "handbook", "many"] for label, text in [*TEXTS.items()] * 2)
    (tmp_path / "job.toml").write_text(JOB)
    return tmp_path


def run(folder: Path, command: Any, env: Any, name: str, *words: str) -> Any:
    done = command("run", folder, "--out", folder / name, "--json", "--no-memory", *words, env=env)
    assert done.code == 0, done.err
    return done.json()


def test_they_are_asked_about_and_measured_and_left_out_of_the_table(folder: Path, command: Any, gateway: Any) -> None:
    """Twenty rows of the input are the table; the quality is of the six."""
    said = run(folder, command, gateway.env, "run")
    assert said["tasks"]["succeeded"] == said["tasks"]["total"] == 2 * 26
    labels = pl.read_parquet(folder / "run" / "labels.parquet")
    assert labels["row"].to_list() == list(range(20))
    assert labels["n"].dtype == pl.Int64
    assert "known" not in labels.columns
    assert said["labels"]["rows"] == 20
    assert {sum(counts.values()) for counts in said["labels"]["annotators"].values()} == {20}
    gold = said["labels"]["gold"]
    assert (gold["rows"], gold["mixed_in"], gold["vote"]["items"]) == (6, 6, 6)
    assert gold["vote"]["right"] >= 4
    results = pl.read_parquet(folder / "run" / "results.parquet")
    assert results["row"].to_list() == [row for row in range(26) for _ in range(2)]
    assert results.filter(pl.col("row") >= 20)["known"].to_list() == [label for label in [*TEXTS] * 2 for _ in (1, 2)]
    people = command("resume", folder / "run", env=gateway.env).out
    assert "right of 6 known" in people
    assert "6 rows with known labels were mixed in; the table is without them." in people


def test_they_are_in_the_table_where_that_is_asked_for(folder: Path, command: Any, gateway: Any) -> None:
    """Behind the input's rows, with what is known of them."""
    run(folder, command, gateway.env, "run", "--set", "gold.keep=true")
    labels = pl.read_parquet(folder / "run" / "labels.parquet")
    assert labels["known"].to_list() == [None] * 20 + [*TEXTS] * 2


def test_nobody_can_tell_them_from_the_others(folder: Path) -> None:
    """They stand among the others, without columns that only they have."""
    prepared = prepare(declare(read_words(folder), "job.toml"), Setup(no_limits=True))
    asked = [
        str(prepared.maker.tasks(record.index, record.columns, record.digest, len)[0].request)  # type: ignore[union-attr]
        for record in prepared.records()
    ]
    assert len(asked) == 26
    assert not any("handbook" in text or "known" in text for text in asked)
    indexes = [record.index for record in prepared.records()]
    assert sorted(indexes) == list(range(26)) != indexes
    assert [record.index for record in prepared.in_order()] == list(range(26))


@pytest.mark.parametrize("words", [("--limit", "5"), ("--sample", "5")])
def test_they_are_asked_about_beside_a_part_of_the_input_too(
    folder: Path, command: Any, gateway: Any, words: tuple[str, str]
) -> None:
    """At positions that no row of the part has; `count` draws some of them."""
    said = run(folder, command, gateway.env, "run", *words, "--set", "gold.count=3")
    assert said["tasks"]["total"] == 2 * 8
    assert said["labels"]["rows"] == 5
    assert said["labels"]["gold"]["rows"] == 3


def test_a_run_that_was_stopped_goes_on_with_the_same(folder: Path, command: Any, gateway: Any) -> None:
    """Their file may have gone: the run's manifest holds them."""
    whole = run(folder, command, gateway.env, "whole")
    stopped = command(
        "run", folder, "--out", folder / "run", "--no-memory", "--max-total-tokens", "1500", "--json", env=gateway.env
    )
    assert stopped.code == 4
    assert stopped.json()["tasks"]["open"] > 0
    (folder / "known.csv").unlink()
    done = command("resume", folder / "run", "--max-total-tokens", "999999", "--no-memory", "--json", env=gateway.env)
    assert done.code == 0
    assert done.json()["labels"] == whole["labels"]


def test_a_person_does_not_decide_about_them(folder: Path, command: Any, gateway: Any) -> None:
    """They are no rows of the table of disagreements."""
    run(folder, command, gateway.env, "run", "--set", "vote.least=1.0")
    with (folder / "run" / "disagreements.csv").open(newline="") as file:
        assert all(int(line["row"]) < 20 for line in csv.DictReader(file))
    (folder / "decisions.csv").write_text("row,decision\n22,games\n")
    done = command("adopt", folder / "run", folder / "decisions.csv")
    assert done.code == 2
    assert "the run has no row '22'" in done.err


def test_a_changed_input_is_told_without_them(folder: Path, command: Any, gateway: Any) -> None:
    """They are no rows that the input has lost."""
    run(folder, command, gateway.env, "run")
    with (folder / "rows.jsonl").open("a") as file:
        file.write('{"n": 21, "text": "one more"}\n')
    done = command("resume", folder / "run", env=gateway.env)
    assert done.code == 7
    assert "it has 21 rows, and had 20; no row with an outcome differs." in done.err


def test_a_check_counts_them(folder: Path, command: Any) -> None:
    """They are paid for like the others."""
    done = command("check", folder, "--json")
    said = done.json()
    assert (said["rows"], said["requests"], said["gold"]["rows"], said["gold"]["mixed_in"]) == (20, 52, 6, 6)
    assert "known:      6 rows in the column 'known', 6 of them mixed in: " in command("check", folder).out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('column = "known"', 'column = "knwon"'), "[gold]: "),
        (("known.csv", "none.csv"), "[gold]: There is no input at "),
        (("{{ row | tojson }}", "{{ text }} {{ known }}"), "shows the column 'known', which [gold] says holds"),
        (("{{ row | tojson }}", "{{ words }}"), "rows cannot be asked"),
        (('file = "known.csv"', "count = 3"), "gold: `count` and `keep` are about the rows of a `file`"),
        (('file = "known.csv"', 'file = "known.csv"\n[evaluate]\nexpected = "text"'), "gold.file: [evaluate] has its"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(folder: Path, command: Any, change: tuple[str, str], said: str) -> None:
    """Before anything is sent."""
    (folder / "job.toml").write_text(JOB.replace(*change))
    done = command("run", folder, "--gateway", "local", "--no-limits")
    assert done.code in (2, 7)
    assert said in done.err


def test_a_known_row_that_cannot_be_asked_about_is_named(folder: Path, command: Any) -> None:
    """By its place in the file, before anything is sent."""
    (folder / "job.toml").write_text(JOB.replace("{{ row | tojson }}", "{{ text }}"))
    (folder / "known.csv").write_text("known,txt\nmail,reads mail\n")
    done = command("run", folder, "--gateway", "local", "--no-limits")
    assert done.code == 2
    assert "[gold] row 1: it has no column 'text', which the prompt uses" in done.err
