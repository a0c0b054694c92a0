"""Runs without a terminal: submitted, listed, paused, gone on with after everything was killed, cancelled, awaited."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from openai.types.batch import Batch
from openai.types.chat import ChatCompletion

from runner.storage.marks import read
from runner.storage.rundir import RunDirectory

MODEL = "claude-haiku-4-5"
TRICKLE = "[per_model]\nrequests_per_second = 10\n"
"""A limits file that makes a run of some tens of rows last some seconds."""
SLOW = ("--no-limits", "--time-scale", "1", "--latency", "0.3", "--tokens-per-second", "0")


def pid_of(run: Path) -> int:
    """The process that holds a run's lock, or did so last."""
    found = re.match(r"process (\d+) on ", (run / "lock").read_text())
    assert found is not None
    return int(found[1])


def kill(run: Path) -> None:
    """Kill the process that works in a run, which the test's own process has begun."""
    os.kill(pid_of(run), signal.SIGKILL)
    os.waitpid(pid_of(run), 0)


@pytest.fixture
def limits(tmp_path: Path) -> Path:
    path = tmp_path / "limits.toml"
    path.write_text(TRICKLE)
    return path


Submit = Callable[..., Path]


@pytest.fixture
def submit(command: Any, tmp_path: Path) -> Iterator[Submit]:
    """Submit a run, and give its directory; what still goes at the end is killed."""
    runs: list[Path] = []

    def begin(*words: str | Path, env: dict[str, str]) -> Path:
        done = command("submit", *words, "-m", MODEL, env=env)
        assert done.code == 0, done.err
        assert re.fullmatch(r"[0-9]{8}-[0-9]{6}-rows(-\d+)?\n", done.out)
        runs.append(tmp_path / "runs" / done.out.strip())
        return runs[-1]

    yield begin
    for run in runs:
        if RunDirectory(run).is_locked and pid_of(run) != os.getpid():
            kill(run)


def status(command: Any, run: Path) -> dict[str, Any]:
    """The status object of a run, by its id."""
    value: dict[str, Any] = command("status", run.name, "--json").json()
    return value


def test_a_batch_is_submitted_paused_gone_on_with_after_a_reboot_and_fetched(
    command, gateways, submit, rows, limits, tmp_path, wait_for, frames
) -> None:
    """No row is asked twice, whatever stops the run; the whole of it comes out in OpenAI's format."""
    slow = gateways(*SLOW)
    run = submit(rows(40), "--limits", limits, env=slow.env)
    wait_for(lambda: frames(run, "landed"))
    assert Batch.model_validate(status(command, run)).status == "in_progress"

    assert command("pause", run.name).out == f"{run.name}: paused, once what is in flight has landed\n"
    assert command("wait", run.name).code == 143
    paused = status(command, run)
    assert paused["status"] == "paused"
    assert 0 < paused["request_counts"]["completed"] < 40

    assert command("unpause", run.name, env=slow.env).code == 0
    before = paused["request_counts"]["completed"]
    wait_for(lambda: len(frames(run, "landed")) > before)
    kill(run)  # the reboot: nothing of it is left but the disk
    assert command("wait", run.name).code == 137
    lost = Batch.model_validate(status(command, run))
    assert (lost.status, lost.errors and lost.errors.data and lost.errors.data[0].code) == ("failed", "killed")

    assert command("unpause", run.name, env=slow.env).code == 0
    assert command("wait", run.name).code == 0
    batch = Batch.model_validate(status(command, run))
    assert (batch.status, batch.request_counts and batch.request_counts.completed) == ("completed", 40)
    landed = [frame["row"] for frame in frames(run, "landed")]
    assert sorted(landed) == list(range(40))
    command("results", run.name, "--to", "openai-batch", "-o", "batch.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "batch.jsonl").read_text().splitlines()]
    assert len(lines) == 40
    assert all(ChatCompletion.model_validate(line["response"]["body"]).choices[0].message.content for line in lines)
    assert (tmp_path / "batch.errors.jsonl").read_text() == ""


def test_what_a_run_in_the_background_says_is_in_its_log(command, gateway, submit, rows) -> None:
    """The process has no terminal and no input, and its log is for its owner alone."""
    run = submit(rows(3), env=gateway.env)
    assert command("wait", run.name).code == 0
    log = run / "log"
    assert "3 tasks: 3 succeeded" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_run_in_the_background_shares_the_budget_as_it_was_told(command, gateways, rows, limits, monkeypatch) -> None:
    """What the run's directory does not hold is handed on to the process that goes on with it."""
    told: list[list[str]] = []
    monkeypatch.setattr("runner.background.spawn", lambda _path, words=(): told.append([*words]))
    words = "submit", rows(2), "-m", MODEL, "--no-share", "--priority", "batch"
    run = command(*words, env=gateways(*SLOW).env).out.strip()
    manifest = json.loads((limits.parent / "runs" / run / "manifest.json").read_text())
    assert (manifest["job"]["priority"], told) == ("batch", [["--no-share", "--background"]])
    assert command("unpause", run, "--no-share", "--priority", "urgent", env=gateways(*SLOW).env).code == 0
    assert told[1] == ["--priority=urgent", "--no-share", "--background"]


def test_a_run_in_the_background_is_in_a_session_of_its_own(gateways, submit, rows, limits) -> None:
    """Closing the terminal does not reach it, and it never reads from there."""
    run = submit(rows(40), "--limits", limits, env=gateways(*SLOW).env)
    pid = pid_of(run)
    assert os.getsid(pid) == pid != os.getsid(0)
    if Path("/proc/self/fd").exists():
        assert Path(f"/proc/{pid}/fd/0").readlink() == Path("/dev/null")
        assert Path(f"/proc/{pid}/fd/1").readlink() == run / "log"


def test_cancel_delivers_what_is_finished_and_is_final(
    command, gateways, submit, rows, limits, tmp_path, wait_for, frames
) -> None:
    """What is in flight lands; the rest is in the error file with OpenAI's code for it; only `resume` goes on."""
    slow = gateways(*SLOW)
    run = submit(rows(40), "--limits", limits, env=slow.env)
    wait_for(lambda: frames(run, "landed"))
    assert command("cancel", run.name).code == 0
    assert Batch.model_validate(status(command, run)).status in ("cancelling", "cancelled")
    assert command("wait", run.name).code == 143
    batch = Batch.model_validate(status(command, run))
    assert batch.status == "cancelled"
    assert batch.cancelled_at
    command("results", run.name, "--to", "openai-batch", "-o", "batch.jsonl")
    finished = (tmp_path / "batch.jsonl").read_text().splitlines()
    errors = [json.loads(line) for line in (tmp_path / "batch.errors.jsonl").read_text().splitlines()]
    assert len(finished) == batch.request_counts.completed > 0
    assert {line["error"]["code"] for line in errors} == {"batch_cancelled"}
    assert len(finished) + len(errors) == 40
    refused = command("unpause", run.name, env=slow.env)
    assert (refused.code, "is cancelled. To go on with it all the same: runner resume" in refused.err) == (2, True)
    assert "is cancelled already" in command("cancel", run.name).err


def test_a_run_that_is_cancelled_at_its_very_beginning_has_results(
    command, gateways, submit, rows, limits, tmp_path
) -> None:
    """The signal waits until the run can hear it, so it never just dies."""
    run = submit(rows(40), "--limits", limits, env=gateways(*SLOW).env)
    assert command("cancel", run.name).code == 0
    assert command("wait", run.name).code == 143
    assert len(command("results", run.name).out.splitlines()) == 40


@pytest.fixture
def killed(gateways, submit, rows, limits, wait_for, frames) -> Path:
    """A run of 40 rows of which some were answered before its process was killed."""
    run: Path = submit(rows(40), "--limits", limits, env=gateways(*SLOW).env)
    wait_for(lambda: frames(run, "landed"))
    kill(run)
    return run


def test_a_run_that_was_killed_and_then_cancelled_delivers_what_is_finished(command, killed, frames) -> None:
    """Its last session could write no tables; they are made of the journal, and nothing is sent."""
    sent = len(frames(killed, "sent"))
    assert command("cancel", killed.name).out == f"{killed.name}: cancelled\n"
    lines = [json.loads(line) for line in command("results", killed.name).out.splitlines()]
    assert [line["row"] for line in lines] == list(range(40))
    landed = {frame["row"] for frame in frames(killed, "landed")}
    assert {line["row"] for line in lines if line["status"] == "succeeded"} == landed
    assert len(frames(killed, "sent")) == sent
    assert status(command, killed)["status"] == "cancelled"
    assert command("wait", killed.name).code == 143


def test_a_killed_labelling_run_that_is_cancelled_has_the_labels_there_are(
    command, gateways, submit, rows, limits, wait_for, frames
) -> None:
    """As any labelling run that has stopped."""
    words = ("--labels", "a,b", "-p", "{{ labels }}: {{ prompt }}", "--limits", limits)
    run = submit(rows(40), *words, env=gateways(*SLOW).env)
    wait_for(lambda: frames(run, "landed"))
    kill(run)
    assert command("cancel", run.name).code == 0
    assert len(pl.read_parquet(run / "labels.parquet")) == 40
    assert json.loads((run / "summary.json").read_text())["labels"]["open"] > 0


def test_a_cancelled_run_whose_errors_are_asked_again_is_cancelled_no_more(command, gateway, rows, tmp_path) -> None:
    """It could not be stopped in order any more."""
    run = tmp_path / "run"
    command("run", rows(20), "-m", MODEL, "-o", run, "--max-total-tokens", "600", env=gateway.env)
    assert command("cancel", run).code == 0
    assert read(RunDirectory(run)) is not None
    done = command("redrive", run, "--max-total-tokens", "1000000", env=gateway.env)
    assert (done.code, read(RunDirectory(run))) == (0, None), done.err


def test_a_killed_run_whose_input_is_gone_is_cancelled_all_the_same(command, killed, rows) -> None:
    """The journal keeps what is finished; the sentence says why there are no tables."""
    rows(3)
    done = command("cancel", killed.name)
    assert (done.code, "the tables cannot be written" in done.err) == (7, True)
    assert status(command, killed)["status"] == "cancelled"


def test_a_deadline_delivers_the_finished_part_and_says_expired(
    command, gateways, submit, rows, limits, tmp_path
) -> None:
    """As a batch does when its window ends: the rest stands in the error file as expired."""
    run = submit(rows(60), "--limits", limits, "--deadline", "1", env=gateways(*SLOW).env)
    assert command("wait", run.name).code == 4
    batch = Batch.model_validate(status(command, run))
    assert batch.status == "expired"
    assert batch.expired_at
    command("results", run.name, "--to", "openai-batch", "-o", "batch.jsonl")
    errors = [json.loads(line) for line in (tmp_path / "batch.errors.jsonl").read_text().splitlines()]
    assert {line["error"]["code"] for line in errors} == {"batch_expired"}
    assert len(errors) + batch.request_counts.completed == 60
    assert 0 < batch.request_counts.completed < 60


def test_a_job_that_is_wrong_is_refused_before_anything_begins(command, gateway, rows, tmp_path) -> None:
    """The complaint is on the terminal, not in a log, and no run is left."""
    done = command("submit", rows(2, prompt=7), "-m", MODEL, env=gateway.env)
    assert done.code == 7
    assert (done.out, (tmp_path / "runs").exists()) == ("", False)


def test_a_run_that_ends_at_once_is_told(command, gateways, rows, tmp_path) -> None:
    """The token is not accepted: the exit code is that of the run, and its last line is shown."""
    strict = gateways("--no-limits", "--token", "the-right-one")
    done = command("submit", rows(2), "-m", MODEL, env=strict.env)
    run = tmp_path / "runs" / done.out.strip()
    assert command("wait", run.name).code == 5
    assert status(command, run)["errors"]["data"][0]["code"] == "exit_5"


def test_standard_input_is_kept_for_the_background(command, gateway, rows, tmp_path) -> None:
    """The pipe is gone when the run begins; its copy is in the run's directory."""
    done = command("submit", "-", "-m", MODEL, env=gateway.env, stdin=rows(3).read_bytes())
    run = tmp_path / "runs" / done.out.strip()
    assert command("wait", run).code == 0
    assert status(command, run)["request_counts"] == {"total": 3, "completed": 3, "failed": 0}


def test_a_run_in_the_background_tells_of_its_end(command, gateway, submit, rows, tmp_path, wait_for) -> None:
    """Whoever submits it need not stay to hear of it."""
    script = tmp_path / "tell.sh"
    script.write_text(f"#!/bin/sh\ncat > {tmp_path}/told && mv {tmp_path}/told {tmp_path}/told.json\n")
    script.chmod(0o700)
    run = submit(rows(3), "--notify-command", str(script), env=gateway.env)
    assert command("wait", run.name).code == 0
    wait_for((tmp_path / "told.json").exists)  # a run has ended before its end is told
    told = json.loads((tmp_path / "told.json").read_text())
    assert (told["run"], told["tasks"]["succeeded"]) == (run.name, 3)


def test_wait_gives_up_after_its_time(command, going) -> None:
    """With the exit code of timeout(1), and the run goes on."""
    assert command("wait", going.directory, "--timeout", "0.2").code == 124
    assert going.process.popen.poll() is None


def test_only_the_process_that_holds_the_lock_is_signalled(command, gateway, rows, tmp_path, processes) -> None:
    """A number in a file proves nothing: it may be another process by now."""
    command("run", rows(3), "-m", MODEL, "--max-total-tokens", "1", "--out", tmp_path / "run", env=gateway.env)
    other = processes("simulate", "--port", "0")
    (tmp_path / "run" / "lock").write_text(f"process {other.popen.pid} on {os.uname().nodename} since 2026-11-24\n")
    assert command("pause", tmp_path / "run").out.endswith("run: paused\n")
    assert status_word(command, tmp_path / "run") == "paused"
    with pytest.raises(Exception, match="timed out"):
        other.popen.wait(0.3)


def status_word(command: Any, run: Path) -> str:
    return str(command("status", run, "--json").json()["status"])


def test_a_run_on_another_machine_is_only_marked(command, going, tmp_path) -> None:
    """Its process cannot be reached from here."""
    lock = going.directory / "lock"
    before = lock.read_text()
    lock.write_text("process 1 on elsewhere since 2026-11-24 02:00:00\n")
    try:
        done = command("pause", going.directory)
    finally:
        lock.write_text(before)
        (going.directory / "mark.json").unlink()
    assert (done.code, "goes on on elsewhere" in done.err) == (6, True)


def test_what_has_ended_cannot_be_stopped(command, gateway, rows, tmp_path) -> None:
    """The sentence says so, and the run stays completed."""
    command("run", rows(2), "-m", MODEL, "--out", tmp_path / "run", env=gateway.env)
    assert not (tmp_path / "run" / "mark.json").exists()
    for word in ("pause", "cancel", "unpause"):
        done = command(word, tmp_path / "run", env=gateway.env)
        assert (done.code, "has ended" in done.err) == (2, True)
    assert status_word(command, tmp_path / "run") == "completed"


def test_runs_are_listed_by_their_ids(command, gateway, rows, tmp_path) -> None:
    """With their states and counts; what cannot be read is named, and what is no run is left out."""
    command("run", rows(3), "-m", MODEL, env=gateway.env)
    command("run", rows(3), "-m", MODEL, "--max-total-tokens", "1", env=gateway.env)
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "broken").mkdir()
    (tmp_path / "runs" / "broken" / "manifest.json").write_text("{")
    done = command("list")
    assert [line.split()[1:3] for line in done.out.splitlines()] == [["completed", "3/3"], ["failed", "0/3"]]
    assert "broken/manifest.json" in done.err
    listed = command("list", "--json").json()["runs"]
    assert [command("status", run["id"], "--json").json()["status"] for run in listed] == ["completed", "failed"]
    assert command("list", "--in", "elsewhere").err == "There are no runs in elsewhere.\n"


def test_status_is_watched_until_the_run_ends(command, gateways, submit, rows, limits) -> None:
    """A line for each change, as JSON too: a stream for a pipe."""
    run = submit(rows(15), "--limits", limits, env=gateways(*SLOW).env)
    lines = [json.loads(line) for line in command("status", run.name, "--watch", "--json").out.splitlines()]
    assert lines[-1]["status"] == "completed"
    assert len(lines) >= 2


# prune


@pytest.fixture
def finished(command, gateway, rows, tmp_path) -> list[Path]:
    """Three finished runs of a job and one of another, and a stopped one, oldest first."""
    for name, job, more in [
        ("a", "rows", ()), ("b", "rows", ()), ("c", "rows", ()), ("d", "other", ()),
        ("e", "rows", ("--max-total-tokens", "1")),
    ]:  # fmt: skip
        command("run", rows(1, f"{job}.jsonl"), "-m", MODEL, "--out", f"runs/{name}", *more, env=gateway.env)
        manifest = tmp_path / "runs" / name / "manifest.json"
        said = json.loads(manifest.read_text()) | {"created": f"2026-11-2{ord(name) - ord('a')}T02:00:00+0000"}
        manifest.write_text(json.dumps(said))
    return sorted((tmp_path / "runs").iterdir())


def names(tmp_path: Path) -> str:
    return "".join(sorted(path.name for path in (tmp_path / "runs").iterdir()))


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (("rows", "--keep", "1"), "cde"),
        (("rows", "--keep", "0"), "de"),
        (("rows", "--keep", "9"), "abcde"),
        (("--keep", "0"), "e"),
        (("rows", "--keep", "0", "--dry-run"), "abcde"),
    ],
)
def test_old_finished_runs_are_removed(command, finished, tmp_path, words, left) -> None:
    """The newest stay, and so does what is not finished, of this job and of others."""
    assert command("prune", *words).code == 0
    assert names(tmp_path) == left


def test_a_run_that_is_worked_in_is_not_removed(command, finished, tmp_path, hold) -> None:
    """Its lock says so."""
    hold(finished[0])
    assert command("prune", "rows", "--keep", "0").code == 0
    assert names(tmp_path) == "ade"


@pytest.fixture
def hold() -> Iterator[Callable[[Path], None]]:
    held: list[RunDirectory] = []

    def take(path: Path) -> None:
        held.append(RunDirectory(path))
        held[-1].lock()

    yield take
    for directory in held:
        directory.unlock()


def test_links_are_not_followed(command, finished, tmp_path) -> None:
    """Neither to a run nor out of one."""
    outside = tmp_path / "outside"
    finished[0].rename(outside)
    finished[0].symlink_to(outside)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (finished[1] / "link").symlink_to(tmp_path / "precious")
    assert command("prune", "--keep", "0").code == 0
    assert (outside / "manifest.json").exists()
    assert (tmp_path / "precious" / "file").exists()
    assert names(tmp_path) == "ae"


def test_what_an_interrupted_removal_left_is_removed(command, finished, tmp_path) -> None:
    """It is no run any more, and is in nobody's list."""
    finished[0].rename(tmp_path / "runs" / ".pruned-a")
    assert "pruned" not in command("list").out
    done = command("prune", "rows", "--keep", "9")
    assert done.out == "Nothing to remove: runs holds at most 9 finished runs of rows.\n"
    assert names(tmp_path) == "bcde"


def test_a_job_without_finished_runs_is_named(command, finished) -> None:
    """A misspelt name must not look like a clean folder."""
    done = command("prune", "rowz", "--keep", "0")
    assert (
        done.code,
        "There is no finished run of rowz in runs; there are finished runs of other, rows" in done.err,
    ) == (
        2,
        True,
    )
