"""Runs of one account at the same time, as users start them: what they use together, and who is shown."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from runner.ledgers.pages import Member, Page
from runner.ledgers.processes import this_process
from runner.ledgers.sqlite import Store

MODEL = "claude-haiku-4-5"
LIMITS = "window_seconds = 2\n[per_model]\ninput_tokens = 4_000\noutput_tokens = 100_000\n"


def test_two_runs_of_one_account_share_its_budget(gateways, processes, rows, tmp_path: Path) -> None:
    """Together they are refused little more than one would be, and both end; while they go, `budget` shows both."""
    limits = tmp_path / "limits.toml"
    limits.write_text(LIMITS)
    gateway = gateways(f"--limits={limits}", "--latency=0.05")
    words = ["-m", MODEL, "--max-tokens", "20", "--limits", limits, "--json"]
    source = rows(120, prompt="Say something about the number of words in this line. " * 10)
    runs = [processes("run", source, *words, "--out", tmp_path / f"run-{n}", env=gateway.env) for n in range(2)]
    shown = {"runs": []}
    while len(shown["runs"]) < 2 and all(run.popen.poll() is None for run in runs):
        shown = processes("budget", "--json", env=gateway.env).done().json()
    done = [run.done(60) for run in runs]
    assert [one.code for one in done] == [0, 0]
    assert {Path(run["run"]).name for run in shown["runs"]} == {"run-0", "run-1"}
    assert {run["priority"] for run in shown["runs"]} == {"normal"}
    assert gateway.meter()["statuses"].get("429", 0) <= 24
    assert processes("budget", "--json", env=gateway.env).done().json()["runs"] == []


def test_without_runs_nobody_is_shown(command, gateway) -> None:
    """And nothing is made on disk."""
    done = command("budget", env=gateway.env)
    assert (done.code, "No run spends from it now." in done.out) == (0, True)


def test_a_run_in_another_container_is_shown_while_it_lives(command, gateway, rows, state_folder: Path) -> None:
    """Its process cannot be seen, but its sign can."""
    command("run", rows(2, prompt="Hello."), "-m", MODEL, "--max-tokens", "9", env=gateway.env)
    [path] = state_folder.rglob("*.share")
    store = Store(path)
    member = Member(run="/there", process=replace(this_process(), space="another"), since=0.0)
    with store.visit() as visit:
        visit.write(Page(member=member, beat=time.monotonic(), until=time.monotonic()))
        store.show(member)
    there = command("budget", "--json", env=gateway.env).json()["runs"]
    store.close()
    assert [(run["run"], run["state"]) for run in there] == [("/there", "unknown")]
    assert command("budget", "--json", env=gateway.env).json()["runs"] == []


def test_the_gateway_of_a_run_is_shared_with_nobody(command) -> None:
    """It is started for the run, and ends with it."""
    done = command("budget", "--gateway", "local")
    assert done.code == 2
    assert "nobody shares it" in done.err


def test_a_run_that_shares_nothing_leaves_no_trace(command, gateway, rows, state_folder: Path) -> None:
    """--no-share keeps out of the table."""
    done = command(
        "run", rows(2, prompt="Hello."), "-m", MODEL, "--max-tokens", "9", "--no-share", "--json", env=gateway.env
    )
    assert done.code == 0
    assert list(state_folder.rglob("*.share")) == []


def test_an_unknown_priority_is_named(command, gateway, rows) -> None:
    """With those that there are."""
    done = command("run", rows(2, prompt="Hello."), "-m", MODEL, "--priority", "high", env=gateway.env)
    assert done.code == 2
    assert "urgent" in done.err
