"""`runner run --slot-of`: a run that is named by its slot, and what is told of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from runner.schedules.expressions import parse
from runner.schedules.slots import latest, name_of, slot_of
from runner.schedules.timers import unit_name
from runner.schedules.zone import now
from runner.storage.rundir import RunDirectory, slug

MODEL = "claude-haiku-4-5"
ROOT = Path(__file__).parents[2]
YEARLY = "0 0 1 1 *"
"""A slot that does not change while the tests run."""
SLOW = ("--no-limits", "--time-scale", "1", "--latency", "0.3", "--tokens-per-second", "0")
TRICKLE = "[per_model]\nrequests_per_second = 10\n"


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    """The directory of the run that is due."""
    return tmp_path / "runs" / "rows" / name_of(latest(parse(YEARLY), now()))


@pytest.fixture
def scheduled(command: Any, gateway: Any, rows: Any) -> Any:
    """Run what is due, of three rows."""

    def run(*words: str | Path, count: int = 3, env: dict[str, str] | None = None) -> Any:
        return command("run", rows(count), "-m", MODEL, "--slot-of", YEARLY, *words, env=env or gateway.env)

    return run


@pytest.mark.fault("P17")
def test_a_slot_is_run_once(scheduled, gateway, slot) -> None:
    """P17: the second start sends nothing, and ends with the code of the first."""
    assert scheduled().code == 0
    assert [path.name for path in slot.parent.iterdir() if path.is_dir()] == [slot.name]
    sent = gateway.meter()["statuses"]
    again = scheduled()
    assert (again.code, "Nothing is left to do" in again.out) == (0, True)
    assert gateway.meter()["statuses"] == sent


def test_a_finished_slot_ends_with_its_code_though_the_input_is_another_by_now(command, gateway, rows) -> None:
    """A nightly job's file may be the next night's already; what is done is done."""
    source = rows(2)
    with source.open("a") as file:
        file.write('{"prompt": ""}\n')
    words = ("run", source, "-m", MODEL, "--bad-rows", "record", "--slot-of", YEARLY)
    assert command(*words, env=gateway.env).code == 3
    rows(5)
    sent = gateway.meter()["statuses"]
    assert command(*words, env=gateway.env).code == 3
    assert gateway.meter()["statuses"] == sent


def test_the_slot_of_another_job_of_the_same_name_is_not_taken_for_ones_own(
    scheduled, command, gateway, tmp_path
) -> None:
    """It would never be run, and would end with the other's code."""
    assert scheduled().code == 0
    (tmp_path / "b").mkdir()
    other = tmp_path / "b" / "rows.jsonl"
    other.write_text('{"prompt": "x"}\n')
    done = command("run", other, "-m", MODEL, "--slot-of", YEARLY, env=gateway.env)
    assert done.code == 2
    assert "holds a run of another job that is called 'rows' too" in done.err
    assert command("run", other, "-m", MODEL, "--slot-of", YEARLY, "--set", "name=b", env=gateway.env).code == 0


def test_names_of_any_script_have_folders_of_their_own() -> None:
    names = ["日报", "周报", "été 2026", "a_b", "किताब", "कुताब", "..", "🎉"]
    assert [slug(name) for name in names] == ["日报", "周报", "été-2026", "a-b", "किताब", "कुताब", "run", "run"]


def test_systemd_has_names_that_it_takes() -> None:
    """Of ASCII alone, and yet different ones."""
    names = [unit_name(name) for name in ("nightly labels", "müller", "möller", "日报")]
    assert names[0] == "runner-nightly-labels"
    assert names[1].startswith("runner-m-ller-")
    assert len(set(names)) == 4
    assert all(name.isascii() for name in names)


def test_a_slot_that_is_gone_on_with_shares_no_more_than_it_did(scheduled, state_folder) -> None:
    """--no-share holds for the second start, too."""
    assert scheduled("--no-share", "--max-total-tokens", "1").code == 4
    assert scheduled("--no-share").code == 4
    assert not list(state_folder.rglob("*.share"))


@pytest.mark.fault("P17")
def test_a_slot_that_was_killed_is_gone_on_with(
    scheduled, processes, gateways, rows, slot, tmp_path, wait_for, frames
) -> None:
    """P17: started again by hand or by a second cron, it asks only what is left."""
    limits = tmp_path / "limits.toml"
    limits.write_text(TRICKLE)
    slow = gateways(*SLOW)
    words = ["run", rows(12), "-m", MODEL, "--slot-of", YEARLY, "--in", tmp_path / "runs", "--limits", limits]
    process = processes(*words, env=slow.env)
    wait_for(lambda: frames(slot, "landed"))
    process.signal(signal.SIGKILL)
    process.popen.wait(10)
    done = scheduled("--limits", limits, count=12, env=slow.env)
    assert done.code == 0
    assert "was begun already; going on with it" in done.err
    assert sorted(frame["row"] for frame in frames(slot, "landed")) == list(range(12))


def test_a_slot_is_found_by_its_id_and_pruned_by_its_job(scheduled, slot, command) -> None:
    """Slots stand in a folder of their job, and are runs like others."""
    scheduled()
    [run] = command("list", "--json").json()["runs"]
    assert (run["id"], run["status"]) == (f"rows/{slot.name}", "completed")
    for name in (run["id"], slot.name):
        assert command("status", name, "--json").json()["request_counts"]["completed"] == 3
    assert command("prune", "rows", "--keep", "0").out == f"runs/rows/{slot.name} is removed\n"
    assert not slot.exists()


@pytest.mark.fault("P18")
def test_a_run_needs_nothing_of_the_environment(gateway, rows, tmp_path) -> None:
    """P18: no HOME, no PATH, LANG=C, no terminal, a loose umask: it speaks UTF-8, and its files are closed."""
    env_file = tmp_path / "gateway.env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in gateway.env.items()))
    env_file.chmod(0o600)
    words = ["-P", "-m", "runner", "run", rows(2, "zahl-\u00e9.jsonl", id="\u00e9"), "-m", MODEL, "--slot-of", YEARLY]
    paths = ["--in", tmp_path / "runs", "--env-file", env_file, "--no-memory", "--id-column", "id"]
    done = subprocess.run(
        [sys.executable, *map(str, [*words, *paths])],
        env={"PYTHONPATH": str(ROOT), "LANG": "C"}, cwd="/", umask=0, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "\u00e9" in done.stdout.decode()
    assert b"\x1b" not in done.stdout + done.stderr
    [run] = tmp_path.glob("runs/*/*/")
    assert {path.stat().st_mode & 0o077 for path in [run, run.parent, *run.iterdir()]} == {0}


def test_missed_slots_are_told_in_one_line(scheduled, slot) -> None:
    """How many, and from when to when."""
    last = slot_of(slot.name)
    assert last is not None
    scheduled()
    slot.rename(slot.with_name(name_of(last.replace(year=last.year - 3))))
    done = scheduled()
    assert done.code == 0
    told = [line for line in done.err.splitlines() if "missed" in line]
    assert len(told) == 1
    assert f"Slots missed since the last run of rows: 2 ({last.year - 2}-01-01" in told[0]


def test_a_paused_slot_stays_paused(scheduled, slot, command) -> None:
    """What a person stopped is not begun again by the clock."""
    assert scheduled("--max-total-tokens", "1").code == 4
    command("pause", slot)
    done = scheduled()
    assert (done.code, f"Slot {slot.name} is paused, and is left alone." in done.err) == (0, True)


def test_a_cancelled_slot_stays_cancelled(scheduled, slot, command) -> None:
    """And does not look like a success."""
    assert scheduled("--max-total-tokens", "1").code == 4
    command("cancel", slot)
    assert scheduled().code == 143


@pytest.mark.fault("P17")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--if-locked", "skip"), 0, "It is left alone (--if-locked skip)."),
        (("--if-locked", "fail"), 6, "Another runner works in"),
        ((), 6, "Another runner works in"),
        (("--if-locked", "wait", "--wait", "0.2"), 6, "It was waited for, for 0.2 seconds."),
    ],
)
@pytest.mark.parametrize("where", ["job", "slot"])
def test_a_run_that_still_goes_is_met_by_policy(scheduled, slot, words, code, said, where) -> None:
    """P17: whether it is the last slot's, or this one's that somebody goes on with by hand."""
    held = slot if where == "slot" else slot.parent
    held.mkdir(parents=True)
    if where == "slot":
        (slot / "manifest.json").write_text("{}")
    holder = RunDirectory(held)
    holder.lock()
    try:
        done = scheduled(*words)
    finally:
        holder.unlock()
    assert (done.code, said in done.err) == (code, True), done.err


def test_a_run_that_is_waited_for_is_begun_when_it_is_free(scheduled, slot) -> None:
    """Not before, and for its own slot."""
    slot.parent.mkdir(parents=True)
    holder = RunDirectory(slot.parent)
    holder.lock()
    timer = threading.Timer(0.3, holder.unlock)
    timer.start()
    done = scheduled("--if-locked", "wait", "--wait", "60")
    timer.join()
    assert done.code == 0
    assert slot.is_dir()


@pytest.mark.parametrize("words", [("--if-locked", "skip"), ("--if-locked", "fail")])
def test_resume_has_the_same_policies(command, going, words) -> None:
    """A run that somebody works in is left, or is an error."""
    done = command("resume", going.directory, "--gateway", "local", *words)
    assert done.code == (0 if "skip" in words else 6)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--slot-of", "0 25 * * *"), "'25' is no hour"),
        (("--slot-of", "@daily", "--out", "x"), "--slot-of names the run's directory itself"),
        (("--if-locked", "skip"), "--if-locked goes with --slot-of"),
        (("--slot-of", "@daily", "--wait", "5"), "--wait says how long --if-locked wait may take"),
        (("--slot-of", "@daily", "--if-locked", "wait", "--wait", "soon"), "--wait soon: a duration"),
        (("--notify-url", "ftp://x"), "--notify-url is an address that begins with https://"),
        (("--notify-command", "'"), "--notify-command: No closing quotation"),
    ],
)
def test_words_that_do_not_fit_are_refused(command, gateway, rows, words, said) -> None:
    """Before anything is sent."""
    done = command("run", rows(1), "-m", MODEL, *words, env=gateway.env)
    assert (done.code, said in done.err) == (2, True), done.err


def test_standard_input_has_no_slot(command, gateway, rows) -> None:
    """It would be another one the next time."""
    done = command("run", "-", "-m", MODEL, "--slot-of", YEARLY, env=gateway.env, stdin=rows(1).read_bytes())
    assert (done.code, "standard input" in done.err) == (2, True)


def test_slots_do_not_stand_in_a_run(command, scheduled, gateway, rows) -> None:
    """A run that happens to lie where the job's slots would is left alone."""
    command("run", rows(1), "-m", MODEL, "--out", "runs/rows", env=gateway.env)
    done = scheduled()
    assert (done.code, "is a run itself" in done.err) == (2, True)


# The environment file and the log.


@pytest.mark.fault("P18")
def test_the_gateway_comes_from_a_file_that_is_ours_alone(scheduled, gateway, tmp_path) -> None:
    """P18: cron's environment has nothing; the file goes over what is there."""
    path = tmp_path / "gateway.env"
    path.write_text("".join(f"{name}={value}\n" for name, value in gateway.env.items()) + "PATH=/nowhere\n")
    path.chmod(0o600)
    before = os.environ["PATH"]
    elsewhere = {"NEON_AI_GATEWAY_BASE_URL": "https://gateway.invalid", "NEON_AI_GATEWAY_TOKEN": "t0ken"}
    assert scheduled("--env-file", path, env=elsewhere).code == 0
    assert os.environ["PATH"] == before


@pytest.mark.parametrize(
    ("mode", "text", "said"),
    [
        (0o644, "NEON_AI_GATEWAY_TOKEN=x", "has mode 0644, and holds a token: chmod 600"),
        (0o640, "NEON_AI_GATEWAY_TOKEN=x", "has mode 0640"),
        (0o700, "NEON_AI_GATEWAY_TOKEN=x", "has mode 0700"),
        (0o600, "OTHER=x", "sets none of NEON_AI_GATEWAY_BASE_URL and NEON_AI_GATEWAY_TOKEN"),
        (None, "", "No such file"),
    ],
)
def test_a_file_that_others_may_read_is_refused(scheduled, tmp_path, mode, text, said) -> None:
    """There is a token in it, which is not in the complaint."""
    path = tmp_path / "gateway.env"
    if mode is not None:
        path.write_text(text)
        path.chmod(mode)
    done = scheduled("--env-file", path)
    assert (done.code, said in done.err) == (2, True), done.err
    assert "TOKEN=x" not in done.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(scheduled, tmp_path) -> None:
    """Who could write it could send our rows elsewhere."""
    path = tmp_path / "gateway.env"
    path.write_text("NEON_AI_GATEWAY_TOKEN=x")
    path.chmod(0o600)
    os.chown(path, 65534, 65534)
    done = scheduled("--env-file", path)
    assert (done.code, "belongs to another account" in done.err) == (2, True)


def test_with_a_log_a_success_is_silent_and_a_failure_is_a_paragraph(scheduled, slot, tmp_path) -> None:
    """Cron sends what is said as a mail: none on good nights."""
    bad = scheduled("--log", tmp_path / "log", "--max-total-tokens", "1")
    assert (bad.code, bad.out) == (4, "")
    assert bad.err.startswith(f"runner: runs/rows/{slot.name} ended with exit code 4: --max-total-tokens 1")
    assert bad.err.count("\n") == 1
    assert "Go on with" in (tmp_path / "log").read_text()
    shutil.rmtree(slot)
    good = scheduled("--log", tmp_path / "log")
    assert (good.code, good.out, good.err) == (0, "", "")
    assert "3 tasks: 3 succeeded" in (tmp_path / "log").read_text()


def test_with_a_log_an_input_without_rows_is_a_paragraph(scheduled, tmp_path) -> None:
    """Whatever was to write it did not."""
    done = scheduled("--log", tmp_path / "log", count=0)
    assert (done.code, done.out) == (0, "")
    assert "exit code 0. 0 tasks: none. The input has no rows: nothing was asked." in done.err


# Who is told.


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An address, and what it has been told."""
    told: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204 if self.path == "/good" else 500)
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", told
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def gated(command: Any, gateway: Any, hook: Any, tmp_path: Path) -> Any:
    """Run what is due of an evaluation that does not get through its gate."""
    (tmp_path / "rows.jsonl").write_text('{"prompt": "Say yes.", "truth": "nothing that is ever said"}\n')
    (tmp_path / "job.toml").write_text(
        f'input = "rows.jsonl"\nname = "rows"\nmodels = ["{MODEL}"]\n'
        '[evaluate]\nexpected = "truth"\nscorers = ["exact"]\n[gates.least]\nexact = 0.5\n'
    )
    words = ("run", "job.toml", "--slot-of", YEARLY, "--log", tmp_path / "log", "--notify-url", f"{hook[0]}/good")
    return lambda: command(*words, env=gateway.env)


def test_a_gate_that_fails_is_in_the_mail_and_in_what_is_told(gated, hook) -> None:
    """With its verdict for people, and as counts for programs."""
    done = gated()
    assert done.code == 10
    assert f"Not passed: 1 of 1 checks fails. exact of {MODEL} is 0.0 %, and 50 % is the least." in done.err
    assert hook[1][0]["gates"] == {"passed": False, "checks": 1, "failed": 1}
    assert keys(hook[1][0]) == {"rows", hook[1][0]["slot"]}


def test_a_slot_whose_gate_failed_is_finished(gated, gateway, tmp_path, slot, command) -> None:
    """It is not gone on with, nor told as unfinished, and can be pruned like any other."""
    assert gated().code == 10
    sent = gateway.meter()["statuses"]
    assert gated().code == 10
    assert "was begun already" not in (tmp_path / "log").read_text()
    assert gateway.meter()["statuses"] == sent
    assert command("prune", "--keep", "0", "rows").code == 0
    assert not slot.exists()


def keys(value: Any) -> set[str]:
    """Every string in a JSON value that could hold data, names of fields left out."""
    if isinstance(value, dict):
        return set().union(*map(keys, value.values()))
    return {value} if isinstance(value, str) else set()


def test_the_end_of_a_run_is_told_with_counts_and_without_data(scheduled, hook, slot, tmp_path) -> None:
    """A command gets the same as an address: JSON, and no token."""
    url, told = hook
    script = tmp_path / "tell.sh"
    script.write_text("#!/bin/sh\ncat > told.json\nenv > env.txt\n")
    script.chmod(0o700)
    done = scheduled("--notify-url", f"{url}/good", "--notify-command", str(script))
    assert (done.code, "notify" in done.err) == (0, False)
    assert told == [json.loads((tmp_path / "told.json").read_text())]
    assert told[0]["tasks"] == {"total": 3, "succeeded": 3, "errored": 0, "canceled": 0, "expired": 0, "open": 0}
    assert (told[0]["exit_code"], told[0]["slot"]) == (0, slot.name)
    assert keys(told[0]) == {"rows", slot.name}
    assert "NEON_AI_GATEWAY" not in (tmp_path / "env.txt").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--notify-command", "false"), "--notify-command false: ended with 1."),
        (("--notify-command", "/not/there"), "--notify-command /not/there: No such file or directory."),
        (("--notify-url", "{url}/bad"), "--notify-url 127.0.0.1: answered 500."),
        (("--notify-url", "http://127.0.0.1:9"), "--notify-url 127.0.0.1: no connection"),
    ],
)
def test_what_goes_wrong_with_telling_is_one_line_and_changes_nothing(scheduled, hook, words, said) -> None:
    """The run has succeeded, whoever heard of it."""
    done = scheduled(words[0], words[1].format(url=hook[0]))
    assert done.code == 0
    assert len([line for line in done.err.splitlines() if said in line]) == 1, done.err


def test_a_command_that_does_not_end_is_ended(scheduled, monkeypatch) -> None:
    """With all that it has started."""
    monkeypatch.setattr("runner.notifying.SECONDS", 0.2)
    done = scheduled("--notify-command", "sh -c 'sleep 600; true'")
    assert (done.code, "took longer than 0.2 seconds" in done.err) == (0, True)


def test_a_run_that_could_not_begin_is_told_too(command, rows, hook) -> None:
    """With its exit code; there are no counts."""
    url, told = hook
    done = command("run", rows(1), "-m", MODEL, "--notify-url", f"{url}/good")
    assert done.code == 2
    assert told == [{"job": "rows", "run": "", "slot": None, "exit_code": 2}]
