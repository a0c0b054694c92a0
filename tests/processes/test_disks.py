"""Disks that are full, failing, read-only or slow: a run ends with 8, and goes on once that is mended."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

MODEL = "claude-haiku-4-5"
JOB = ("-m", MODEL, "--max-tokens", "16")
SLOW = ("--no-limits", "--time-scale", "1", "--latency", "0.05", "--tokens-per-second", "0")
"""Options of a gateway whose answers come one after the other."""


@pytest.fixture
def storage_failure() -> Callable[[int, str], bool]:
    """Whether a command ended with 8 and one sentence, and no word of a bug."""

    def is_one(code: int, err: str) -> bool:
        assert code == 8, err
        assert "Traceback" not in err
        return len([line for line in err.splitlines() if line.startswith("runner: ")]) == 1

    return is_one


# The journal.


@pytest.mark.parametrize(
    ("call", "error"),
    [
        pytest.param("write", "ENOSPC", marks=pytest.mark.fault("P8")),
        pytest.param("fsync", "EIO", marks=pytest.mark.fault("P11")),
    ],
)
def test_a_failure_at_any_call_on_the_journal_stops_the_run_and_loses_nothing(
    at_each, storage_failure, gateways, command, complete, finals, ambiguous, call: str, error: str
) -> None:
    """The call is not tried again; what the journal took before stands, and a resume asks the rest."""
    slow = gateways(*SLOW)
    runs = in_flight = 0
    for hit in at_each(call, f"error={error}", 2, slow.env):
        assert storage_failure(hit.code, hit.err)
        assert f"Go on with: runner resume {hit.directory}" in hit.err
        failed = next(number for number, line in enumerate(hit.trace) if "INJECTED" in line)
        assert not [line for line in hit.trace[failed + 1 :] if f" {call}(" in line], "it was tried again"
        before = finals(hit.directory)
        in_flight += ambiguous(hit.directory)
        assert command("resume", hit.directory, env=slow.env).code == 0
        complete(hit.directory, 2)
        assert finals(hit.directory).items() >= before.items()
        runs += 1
    assert runs
    meter = slow.meter()
    assert meter["never_answered"] == 0
    assert meter["answered_more_than_once"] <= in_flight


@pytest.mark.fault("P12")
def test_errors_of_writing_are_all_the_same_but_an_interrupted_call(
    tamper, processes, together, gateway, prompts, storage_failure, command, complete, tmp_path
) -> None:
    """A quota or a file that may not grow is as bad as a full disk; a call that a signal interrupted is made again."""
    errors = ("EDQUOT", "EFBIG", "EAGAIN", "EINTR")

    def start(error: str) -> Any:
        under = tamper("write", f"error={error}", tmp_path / error / "journal.jsonl", when=2)
        return processes("run", prompts(3), *JOB, "--out", tmp_path / error, env=gateway.env, under=under)

    for error, process in zip(errors, together(partial(start, error) for error in errors), strict=True):
        done = process.done()
        if error != "EINTR":
            assert storage_failure(done.code, done.err)
            done = command("resume", tmp_path / error, env=gateway.env)
        assert done.code == 0
        complete(tmp_path / error, 3)


@pytest.mark.fault("P19")
def test_a_disk_that_says_it_has_written_what_it_has_not_is_found_out(
    tamper, processes, gateways, prompts, storage_failure, command, tmp_path
) -> None:
    """Whole frames behind a hole: the run and every resume say so, and nothing is thrown away."""
    run, slow = tmp_path / "run", gateways(*SLOW)
    under = tamper("write", "retval=5", run / "journal.jsonl", when=3)
    process = processes("run", prompts(5), *JOB, "--out", run, env=slow.env, under=under)
    done = process.done()
    assert storage_failure(done.code, done.err)
    journal = (run / "journal.jsonl").read_bytes()
    done = command("resume", run, env=slow.env)
    assert storage_failure(done.code, done.err)
    assert "with whole frames behind the damage" in done.err
    assert (run / "journal.jsonl").read_bytes() == journal


@pytest.mark.fault("P23")
def test_a_slow_disk_holds_up_no_answer(tamper, processes, gateways, prompts, complete, tmp_path) -> None:
    """While a sync takes longer than a request may, answers come in and none is taken for late."""
    run, slow = tmp_path / "run", gateways(*SLOW)
    under = tamper("fsync", "delay_enter=2500000", run / "journal.jsonl")
    done = processes("run", prompts(4), *JOB, "--timeout", "2", "--out", run, env=slow.env, under=under).done()
    assert done.code == 0, done.err
    complete(run, 4)
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["requests"]["sent"], summary["requests"]["failed"]) == (4, 0)


# Going on.


@pytest.fixture
def stopped(command: Any, gateway: Any, prompts: Any, tmp_path: Path) -> Path:
    """The directory of a run of six rows that a cap stopped, with a torn tail."""
    words = ["run", prompts(6), *JOB, "--max-total-tokens", "100", "--out", tmp_path / "stopped"]
    assert command(*words, env=gateway.env).code == 4
    with (tmp_path / "stopped" / "journal.jsonl").open("ab") as file:
        file.write(b"0000")
    return tmp_path / "stopped"


@pytest.mark.parametrize(
    ("call", "error", "file"),
    [
        pytest.param("read", "EIO", "journal.jsonl", marks=pytest.mark.fault("R2")),
        pytest.param("ftruncate", "EIO", "journal.jsonl", marks=pytest.mark.fault("P11")),
        pytest.param("fsync", "EIO", "journal.jsonl", marks=pytest.mark.fault("P11")),
        pytest.param("pwrite64", "ENOSPC", "lock", marks=pytest.mark.fault("P8")),
        pytest.param("flock", "ENOLCK", "lock", marks=pytest.mark.fault("P16")),
    ],
)
def test_a_resume_that_the_disk_fails_changes_nothing_and_says_so(
    stopped, tamper, processes, gateway, command, storage_failure, complete, call: str, error: str, file: str
) -> None:
    """Nothing is sent, what the journal holds stays, and the next resume goes on as if it were the first."""
    before, asked = (stopped / "journal.jsonl").read_bytes(), gateway.meter()["answered"]
    under = tamper(call, f"error={error}", stopped / file)
    done = processes("resume", stopped, "--max-total-tokens", "100000", env=gateway.env, under=under).done()
    assert storage_failure(done.code, done.err)
    assert "Another runner" not in done.err
    assert before.startswith((stopped / "journal.jsonl").read_bytes())
    assert (stopped / "journal.jsonl").stat().st_size >= len(before) - len(b"0000")
    assert gateway.meter()["answered"] == asked
    assert command("resume", stopped, "--max-total-tokens", "100000", env=gateway.env).code == 0
    complete(stopped, 6)


# The tables.


@pytest.mark.parametrize(
    ("call", "error"),
    [
        pytest.param("write", "ENOSPC", marks=pytest.mark.fault("P10")),
        pytest.param("fsync", "EIO", marks=[pytest.mark.fault("P10"), pytest.mark.fault("P11")]),
    ],
)
def test_a_table_that_cannot_be_written_leaves_the_one_that_was_there(
    stopped, tamper, processes, together, gateway, command, storage_failure, complete, tmp_path, call: str, error: str
) -> None:
    """Nothing half written stays on a disk that is full, and a resume makes the tables without a request."""
    files = ("results.parquet", "errors.parquet", "attempts.parquet", "summary.json")

    def start(file: str) -> Any:
        run = tmp_path / file.partition(".")[0]
        shutil.copytree(stopped, run)
        under = tamper(call, f"error={error}", run / f".{file}.new")
        return processes("resume", run, "--max-total-tokens", "100000", env=gateway.env, under=under)

    for file, process in zip(files, together(partial(start, file) for file in files), strict=True):
        run, done = tmp_path / file.partition(".")[0], process.done()
        assert storage_failure(done.code, done.err)
        assert f"{run / file} cannot be written" in done.err
        assert (run / file).read_bytes() == (stopped / file).read_bytes()
        assert not [path for path in run.iterdir() if path.name.endswith(".new")]
        asked = gateway.meter()["answered"]
        assert command("resume", run, "--max-total-tokens", "100000", env=gateway.env).code == 0
        complete(run, 6)
        assert gateway.meter()["answered"] == asked


# Whole file systems.


def fill(disk: Path) -> Path:
    """Take all room that is left on a disk."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(2**20))
        except OSError:
            pass
    return filler


@pytest.mark.fault("P8")
def test_a_disk_that_fills_up_while_a_run_goes_stops_it_and_room_lets_it_go_on(
    disks, processes, gateways, prompts, wait_for, frames, storage_failure, complete, tmp_path
) -> None:
    """A real file system without a byte to spare: the journal ends with a whole frame, and answers before it stand."""
    disk = disks("mount -t tmpfs -o size=66m tmpfs {}")
    slow = gateways("--no-limits", "--time-scale", "1", "--latency", "0.2", "--tokens-per-second", "0")
    (tmp_path / "limits.toml").write_text("[per_model]\nrequests_per_second = 25\n")
    run, seen = disk.path / "run", disk.outside / "run"
    words = ["run", prompts(40), *JOB, "--limits", tmp_path / "limits.toml", "--out", run]
    process = processes(*words, env=slow.env, under=disk.under)
    wait_for(lambda: frames(seen, "landed"))
    filler = fill(disk.outside)
    done = process.done()
    assert storage_failure(done.code, done.err)
    assert "No space left on device" in done.err
    landed = len(frames(seen, "landed"))
    assert 0 < landed < 40
    done = processes("resume", run, env=slow.env, under=disk.under).done()
    assert storage_failure(done.code, done.err)
    filler.unlink()
    done = processes("resume", run, env=slow.env, under=disk.under).done()
    assert done.code == 0, done.err
    complete(seen, 40)


@pytest.mark.fault("P8")
def test_a_run_is_not_begun_on_a_disk_without_room(disks, processes, gateway, prompts, storage_failure) -> None:
    """Better nothing is sent than answers have nowhere to go."""
    disk = disks("mount -t tmpfs -o size=300k tmpfs {}")
    done = processes("run", prompts(2), *JOB, "--out", disk.path / "run", env=gateway.env, under=disk.under).done()
    assert storage_failure(done.code, done.err)
    assert "MiB free" in done.err
    assert gateway.meter()["statuses"] == {}


@pytest.mark.fault("P13")
def test_a_read_only_place_is_refused_before_anything_is_sent(
    disks, stopped, processes, gateway, prompts, storage_failure
) -> None:
    """Neither a new run nor an old one can be written there, whoever one is."""
    disk = disks(f"mount --bind {stopped.parent} {{}} && mount -o remount,bind,ro {{}}".replace("{}", "{0}"))
    asked = gateway.meter()["answered"]
    for words in (["run", prompts(2), *JOB, "--out", disk.path / "new"], ["resume", disk.path / "stopped"]):
        done = processes(*words, env=gateway.env, under=disk.under).done()
        assert storage_failure(done.code, done.err)
        assert "Read-only file system" in done.err
    assert gateway.meter()["answered"] == asked


@pytest.mark.fault("P13")
def test_a_run_directory_that_is_a_file_is_refused_and_missing_folders_are_made(
    command, gateway, prompts, storage_failure, tmp_path
) -> None:
    """A file is never taken for a place; folders on the way to one are made for the owner alone."""
    (tmp_path / "file").write_text("precious")
    done = command("run", prompts(1), *JOB, "--out", tmp_path / "file", env=gateway.env)
    assert done.code in (2, 8)
    assert str(tmp_path / "file") in done.err
    assert (tmp_path / "file").read_text() == "precious"
    assert gateway.meter()["statuses"] == {}
    assert command("run", prompts(1), *JOB, "--out", tmp_path / "a" / "b", env=gateway.env).code == 0
    assert pl.read_parquet(tmp_path / "a" / "b" / "results.parquet").height == 1
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
