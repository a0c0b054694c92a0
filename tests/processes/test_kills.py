"""kill -9 at every call that makes something last: what was acknowledged is there, and a resume comes to the end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from runner.storage.history import read_history

MODEL = "claude-haiku-4-5"
MORE = ("--max-total-tokens", "100000")
SLOW = ("--no-limits", "--time-scale", "1", "--latency", "0.05", "--tokens-per-second", "0")
"""Options of a gateway whose answers come one after the other."""


@pytest.fixture
def ended(command: Any, complete: Any) -> Callable[..., None]:
    """Go on with a run of so many rows, which must come to its end; where none had begun, begin it."""

    def end(run: Path, rows: int, env: dict[str, str], *words: str) -> None:
        done = command("resume", run, *words, env=env)
        assert done.code == 0, done.err
        complete(run, rows)

    return end


@pytest.mark.fault("P5")
@pytest.mark.parametrize("call", ["openat", "write", "fsync"])
@pytest.mark.promise("outcome", "durable", "paid")
def test_a_kill_at_any_call_on_the_journal_loses_nothing(
    at_each, ended, gateways, finals, ambiguous, call: str
) -> None:
    """Every outcome that the journal had stands word for word; asked again is only what was in flight."""
    slow = gateways(*SLOW)
    runs = in_flight = 0
    for hit in at_each(call, "signal=KILL", 2, slow.env):
        assert hit.was_killed
        before, journal = finals(hit.directory), hit.directory / "journal.jsonl"
        whole = journal.read_bytes()[: read_history(journal, 1).end] if journal.exists() else b""
        in_flight += ambiguous(hit.directory)
        ended(hit.directory, 2, slow.env)
        assert journal.read_bytes().startswith(whole)
        assert finals(hit.directory).items() >= before.items()
        runs += 1
    assert runs
    meter = slow.meter()
    assert meter["never_answered"] == 0
    assert meter["answered"] - meter["distinct_bodies"] <= in_flight
    assert meter["answered_more_than_once"] <= in_flight


FILES = ("manifest.json", "results.parquet", "errors.parquet", "attempts.parquet", "summary.json")


@pytest.fixture
def stopped(command: Any, gateway: Any, prompts: Any, tmp_path: Path) -> Path:
    """The directory of a run of six rows that a cap stopped: it has tables, and something left to do."""
    words = ["run", prompts(6), "-m", MODEL, "--max-tokens", "16", "--max-total-tokens", "100"]
    assert command(*words, "--out", tmp_path / "stopped", env=gateway.env).code == 4
    return tmp_path / "stopped"


@pytest.mark.fault("P6")
@pytest.mark.parametrize("call", ["write", "rename"])
@pytest.mark.promise("durable")
def test_a_kill_while_a_file_is_replaced_leaves_the_old_or_the_new_one(
    stopped, tamper, processes, together, gateway, ended, tmp_path, call: str
) -> None:
    """There is always a table that reads, and what was half written is in nobody's way."""

    def start(name: str) -> Any:
        run = tmp_path / f"run-{name}"
        shutil.copytree(stopped, run)
        under = tamper(call, "signal=KILL", run / f".{name}.new", run / name)
        return processes("resume", run, *MORE, env=gateway.env, under=under)

    for name, process in zip(FILES, together(partial(start, name) for name in FILES), strict=True):
        run = tmp_path / f"run-{name}"
        assert process.done().code in (-9, 137), name
        assert (run / name).read_bytes() == (stopped / name).read_bytes()
        for other in FILES[1:4]:
            assert pl.read_parquet(run / other).columns == pl.read_parquet(stopped / other).columns
        ended(run, 6, gateway.env, *MORE)


@pytest.mark.fault("P5")
@pytest.mark.parametrize("call", ["ftruncate", "fsync"])
def test_a_kill_while_a_torn_tail_is_cut_loses_nothing(stopped, tamper, processes, gateway, ended, call: str) -> None:
    """The next resume cuts what is left of it."""
    with (stopped / "journal.jsonl").open("ab") as file:
        file.write(b"0000")
    under = tamper(call, "signal=KILL", stopped / "journal.jsonl")
    assert processes("resume", stopped, *MORE, env=gateway.env, under=under).done().code in (-9, 137)
    ended(stopped, 6, gateway.env, *MORE)


@pytest.mark.fault("P6")
def test_a_run_that_was_killed_before_it_had_a_manifest_can_be_begun_again(
    tamper, processes, together, gateway, command, prompts, complete, tmp_path
) -> None:
    """Nothing was sent, and what the start left in its directory is no reason to refuse the same command."""
    source, calls = prompts(2), ("write", "fsync", "rename")

    def words(call: str) -> list[Any]:
        return ["run", source, "-m", MODEL, "--out", tmp_path / call]

    def start(call: str) -> Any:
        name = tmp_path / call / "manifest.json"
        under = tamper(call, "signal=KILL", name.with_name(".manifest.json.new"), name)
        return processes(*words(call), env=gateway.env, under=under)

    for call, process in zip(calls, together(partial(start, call) for call in calls), strict=True):
        assert process.done().code in (-9, 137)
        assert not (tmp_path / call / "manifest.json").exists()
        done = command(*words(call), env=gateway.env)
        assert done.code == 0, done.err
        complete(tmp_path / call, 2)
