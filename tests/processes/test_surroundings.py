"""Poor surroundings: little memory, few files, no home, another alphabet, a clock that is decades off."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

ROOT = Path(__file__).parents[2]
JOB = ("-m", "claude-haiku-4-5", "--max-tokens", "16")


@pytest.mark.fault("P7")
def test_memory_that_runs_out_costs_no_answer(
    gateways, processes, prompts, wait_for, frames, finals, command, complete, tmp_path
) -> None:
    """However the run ends, what was answered stands, nothing else is said than a sentence, and a resume finishes."""
    slow = gateways("--no-limits", "--time-scale", "1", "--latency", "0.3", "--tokens-per-second", "0")
    (tmp_path / "limits.toml").write_text("[per_model]\nrequests_per_second = 20\n")
    run = tmp_path / "run"
    words = ["run", prompts(24), *JOB, "--limits", tmp_path / "limits.toml", "--out", run]
    process = processes(*words, env=slow.env)
    wait_for(lambda: frames(run, "landed"))
    status = Path(f"/proc/{process.popen.pid}/status").read_text().split()
    bound = int(status[status.index("VmSize:") + 1]) * 1024
    resource.prlimit(process.popen.pid, resource.RLIMIT_AS, (bound, bound))
    done = process.done()
    assert done.code in (70, -6, -11), done.err  # Rust gives up at once where Python is told
    if done.code == 70:
        assert "Traceback (most recent call last)" not in done.err
    before = finals(run)
    assert before
    assert command("resume", run, env=slow.env).code == 0
    complete(run, 24)
    assert finals(run).items() >= before.items()


@pytest.mark.fault("P22")
def test_few_file_descriptors_make_a_run_slower_and_fail_no_row(
    gateways, processes, prompts, complete, tmp_path
) -> None:
    """As many requests are in flight as there are descriptors for, and the rest wait."""
    slow = gateways("--no-limits", "--time-scale", "1", "--latency", "0.05", "--tokens-per-second", "0")

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, FEW))

    done = processes("run", prompts(60), *JOB, "--out", tmp_path / "run", env=slow.env, preexec_fn=few).done()
    assert done.code == 0, done.err
    complete(tmp_path / "run", 60)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["requests"]["sent"], summary["requests"]["failed"]) == (60, 0)


FEW = 32
"""Descriptors, of which a run that does nothing yet has some twenty."""
CRON = {"PATH": "/usr/bin:/bin"}
"""All that cron sets."""
SURROUNDINGS = {
    "cron": {**CRON, "LANG": "C", "TZ": "Nowhere/At-All"},
    "ASCII": {**CRON, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "Latin-1": {**CRON, "PYTHONIOENCODING": "latin-1"},
}


@pytest.mark.fault("P18")
@pytest.mark.parametrize("env", SURROUNDINGS.values(), ids=SURROUNDINGS)
def test_a_run_needs_nothing_of_its_surroundings(gateway, tmp_path, env: dict[str, str]) -> None:
    """No home, no locale, no terminal: all files and all that is printed is UTF-8 all the same."""
    line = {"id": "été €", "prompt": "Écris à l'été: 夏"}
    (tmp_path / "rows.jsonl").write_bytes(json.dumps(line, ensure_ascii=False).encode() + b"\n")
    words = [sys.executable, "-m", "runner", "run", "rows.jsonl", *JOB, "--out", "run"]
    own = {"PYTHONPATH": str(ROOT), "RUNNER_STATE_DIR": str(tmp_path / "state")}
    done = subprocess.run(words, cwd=tmp_path, env={**env, **own, **gateway.env}, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "été €" in done.stdout.decode()
    assert b"\x1b" not in done.stdout + done.stderr
    table = pl.read_parquet(tmp_path / "run" / "results.parquet")
    assert table.select("id", "prompt", "status").rows() == [(line["id"], line["prompt"], "succeeded")]


@pytest.mark.fault("P18")
def test_without_a_home_a_run_has_no_memory_or_finds_one(gateway, tmp_path) -> None:
    """Where the state would stand is the system's to say; that nobody can say it stops nothing."""
    (tmp_path / "rows.jsonl").write_text('{"prompt": "Say yes."}\n')
    words = [sys.executable, "-m", "runner", "run", "rows.jsonl", *JOB, "--out", "run"]
    env = {**CRON, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path / "nowhere"), **gateway.env}
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.fault("P18")
def test_a_loose_umask_opens_nothing_to_others(gateway, processes, prompts, tmp_path) -> None:
    """Rows and answers are the owner's, whatever the shell allows."""
    run = tmp_path / "run"
    done = processes("run", prompts(2), *JOB, "--out", run, env=gateway.env, preexec_fn=lambda: os.umask(0)).done()
    assert done.code == 0
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in [run, *run.iterdir()]}
    assert modes.pop("run") == "0o700"
    assert set(modes.values()) == {"0o600"}


BEGIN = """
import sys, time
shift = float(sys.argv.pop(1)) - time.time()
real = time.time
time.time = lambda: real() + shift
sys.argv[0] = "runner"
from runner.cli.main import main
main()
"""
"""A program whose clock began to run at a moment of our choice."""


@pytest.mark.fault("P26")
def test_a_clock_that_is_decades_off_stops_no_run(gateway, prompts, complete, tmp_path) -> None:
    """The wall clock only stamps: a run that begins in 1970 goes on in 2106, and ends in 1970 again."""
    run = tmp_path / "run"
    (tmp_path / "rows.jsonl").write_bytes(prompts(6).read_bytes())

    def at(moment: float, *words: Any) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-c", BEGIN, str(moment), *map(str, words)]
        env = {**os.environ, "PYTHONPATH": str(ROOT), **gateway.env}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, check=False, timeout=60)

    words = ["run", tmp_path / "rows.jsonl", *JOB, "--out", run, "--max-total-tokens"]
    assert at(100.0, *words, 100).returncode == 4
    assert at(4.3e9, "resume", run, "--max-total-tokens", 200).returncode == 4
    done = at(100.0, "resume", run, "--max-total-tokens", 100_000)
    assert done.returncode == 0, done.stderr
    complete(run, 6)
