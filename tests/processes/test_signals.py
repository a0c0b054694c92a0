"""Signals, readers that go away and terminals that close: what was paid for is kept, and nothing hangs."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

JOB = ("-m", "claude-haiku-4-5", "--max-tokens", "16")


@pytest.fixture(autouse=True)
def _hangups_count() -> Iterator[None]:
    """A run that is started to ignore a signal ignores it; the tests themselves may have been, by nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def steady(gateways: Any, tmp_path: Path) -> Any:
    """A gateway that answers after some tenths of a second, and a limits file that makes a run of 24 rows take one."""
    (tmp_path / "limits.toml").write_text("[per_model]\nrequests_per_second = 20\n")
    return gateways("--no-limits", "--time-scale", "1", "--latency", "0.3", "--tokens-per-second", "0")


@pytest.fixture
def under_way(steady, processes, prompts, wait_for, frames, tmp_path) -> Callable[..., Any]:
    """Begin a run of 24 rows, and give it once requests are in flight and answers are there."""

    def begin(**options: Any) -> Any:
        words = ["run", prompts(24), *JOB, "--limits", tmp_path / "limits.toml", "--out", tmp_path / "run"]
        process = processes(*words, env=steady.env, **options)
        wait_for(lambda: len(frames(tmp_path / "run", "sent")) > len(frames(tmp_path / "run", "landed")) > 0)
        return process

    return begin


@pytest.mark.fault("P4")
def test_a_hangup_is_like_a_termination(under_way, steady, command, complete, frames, tmp_path) -> None:
    """What is in flight lands; the exit code is that of SIGTERM, and a resume finishes."""
    process = under_way()
    process.signal(signal.SIGHUP)
    done = process.done()
    assert done.code == 143, done.err
    assert len(frames(tmp_path / "run", "sent")) == len(frames(tmp_path / "run", "landed")) < 24
    assert command("resume", tmp_path / "run", env=steady.env).code == 0
    complete(tmp_path / "run", 24)


@pytest.mark.fault("P4")
def test_a_signal_that_was_to_be_ignored_is(under_way, complete, tmp_path) -> None:
    """Under nohup a run outlives its terminal, and a job in a script's background the Ctrl-C that ends the script."""

    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    process = under_way(preexec_fn=ignore)
    process.signal(signal.SIGHUP)
    process.signal(signal.SIGINT)
    assert process.done().code == 0
    complete(tmp_path / "run", 24)


def shell(line: str, *words: str | Path, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Run a line of a shell in which "$@" is `runner WORDS`."""
    command = ["bash", "-c", line, "bash", sys.executable, "-m", "runner", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **env}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, check=False, timeout=60)


@pytest.mark.fault("P4")
@pytest.mark.parametrize(
    "line",
    [
        pytest.param('"$@" | head -1; exit ${PIPESTATUS[0]}', id="head"),
        pytest.param('"$@" | true; exit ${PIPESTATUS[0]}', id="nobody reads"),
        pytest.param('"$@" >&-', id="no output"),
        pytest.param('"$@" 2>&-', id="no errors"),
        pytest.param('"$@" <&- >&- 2>&-', id="nothing at all"),
        pytest.param('"$@" 2>/dev/full', id="full for errors"),
        pytest.param('"$@" 2>&1 | true; exit ${PIPESTATUS[0]}', id="nobody reads errors"),
    ],
)
def test_whoever_does_not_listen_changes_nothing_about_a_run(gateway, prompts, complete, tmp_path, line: str) -> None:
    """The run ends as it would have, with the exit code that it would have had."""
    done = shell(line, "run", prompts(3), *JOB, "--out", tmp_path / "run", env=gateway.env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"internal error" not in done.stderr
    complete(tmp_path / "run", 3)


@pytest.mark.fault("P4")
@pytest.mark.parametrize("words", [[], ["--json"]], ids=["summary", "JSON"])
def test_output_that_cannot_be_written_is_told_of(gateway, prompts, complete, tmp_path, words: list[str]) -> None:
    """A script that is to read it must learn that there is nothing; the run itself is none the worse."""
    words = ["run", prompts(3), *JOB, *words, "--out", tmp_path / "run"]
    done = shell('"$@" >/dev/full', *words, env=gateway.env, cwd=tmp_path)
    assert done.returncode == 8
    assert done.stderr == b"runner: Standard output cannot be written: No space left on device.\n"
    complete(tmp_path / "run", 3)


@pytest.mark.fault("P4")
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_results_that_nobody_reads_or_that_find_no_room_are_no_bug(gateway, prompts, tmp_path, form: str) -> None:
    """A reader may have had enough; a full disk is told of in a sentence."""
    shell('"$@"', "run", prompts(3), *JOB, "--out", tmp_path / "run", env=gateway.env, cwd=tmp_path)
    words = ["results", tmp_path / "run", "--to", form]
    left = shell('"$@" | true; exit ${PIPESTATUS[0]}', *words, env=gateway.env, cwd=tmp_path)
    assert (left.returncode, left.stderr) == (0, b"")
    full = shell('"$@" >/dev/full', *words, env=gateway.env, cwd=tmp_path)
    assert full.returncode == 8
    assert full.stderr == b"runner: Standard output cannot be written: No space left on device.\n"


@pytest.mark.fault("P4")
def test_a_terminal_that_closes_stops_a_run_in_order(steady, prompts, command, complete, frames, wait_for, tmp_path):
    """The run belongs to the terminal, gets its hangup, and writes its tables all the same."""
    run = tmp_path / "run"
    words = ["run", prompts(24), *JOB, "--limits", tmp_path / "limits.toml", "--out", run]
    pid, terminal = pty.fork()
    if pid == 0:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TERM": "xterm", **steady.env}
        os.execve(sys.executable, [sys.executable, "-m", "runner", *map(str, words)], environment)
    wait_for(lambda: len(frames(run, "sent")) > len(frames(run, "landed")) > 0)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 143
    assert len(frames(run, "sent")) == len(frames(run, "landed")) < 24
    assert pl.read_parquet(run / "results.parquet").height == 24
    assert json.loads((run / "summary.json").read_text())["exit_code"] == 143
    assert command("resume", run, env=steady.env).code == 0
    complete(run, 24)
