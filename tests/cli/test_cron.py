"""`runner cron`: lines for crontabs and timers, through the real `crontab` command, executed by a real cron daemon.

The command and the daemon run in a mount namespace of their own: no crontab of this machine is touched, and none of its
jobs is run.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.schedules.slots import slot_of

MODEL = "claude-haiku-4-5"
ROOT = Path(__file__).parents[2]
MINE = b'# mine\nMAILTO=""\n\n*/5 1-3 * * *\techo 100\\% > /dev/null   \n@daily true # runner\n'
"""A crontab that somebody has."""

ISOLATED = """
mount --bind "$0/spool" /var/spool/cron/crontabs &&
mount --bind "$0/empty" /etc/cron.d &&
mount --bind "$0/table" /etc/crontab &&
mount --bind "$0/run" "$(readlink -f /var/run)" &&
exec "$@"
"""
"""Run a command where the crontabs are those of a folder, and the machine's own jobs are none."""


@pytest.fixture
def job(tmp_path: Path, rows: Any) -> Path:
    """A job's folder."""
    folder = tmp_path / "jobs" / "nightly"
    folder.mkdir(parents=True)
    rows(3)
    (folder / "job.toml").write_text(f'input = "../../rows.jsonl"\nmodels = ["{MODEL}"]\n')
    return folder


def refusal() -> str | None:
    """Why there can be no isolated cron here, if so."""
    if os.geteuid() != 0:
        return "a mount namespace and a cron daemon need root"
    for name in ("cron", "crontab", "unshare"):
        if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None:
            return f"there is no {name} on this machine (Debian: apt-get install cron)"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        return "mount namespaces are not allowed here"
    return None


WHY_NOT = refusal()
needs_cron = pytest.mark.skipif(WHY_NOT is not None, reason=f"no cron: {WHY_NOT}")


class Isolated:
    """Commands that see a crontab of their own."""

    def __init__(self, folder: Path, cwd: Path) -> None:
        self.folder, self.cwd = folder, cwd
        for name in ("spool", "empty", "run"):
            (folder / name).mkdir(parents=True)
        (folder / "spool").chmod(0o1730)
        (folder / "table").touch()

    def words(self, *words: str | Path) -> list[str]:
        return ["unshare", "--mount", "sh", "-c", ISOLATED, str(self.folder), *map(str, words)]

    def __call__(self, *words: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command."""
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            self.words(*words), input=stdin, capture_output=True, check=False, cwd=self.cwd, env=env, timeout=60
        )

    def runner(self, *words: str | Path) -> subprocess.CompletedProcess[bytes]:
        """Run `runner WORDS`."""
        return self(sys.executable, "-P", "-m", "runner", *words)

    def table(self) -> bytes:
        """The crontab as the command shows it."""
        return self("crontab", "-l").stdout


@pytest.fixture
def isolated(tmp_path: Path) -> Isolated:
    return Isolated(tmp_path / "cron", tmp_path)


# What is printed.


def test_the_line_has_whole_paths_and_says_all_that_a_run_needs(command, job, tmp_path) -> None:
    """Cron knows no PATH of ours, no folder and no terminal."""
    done = command("cron", job, "--at", "30 2 * * 1-5")
    assert done.code == 0
    assert done.out == (
        f"30 2 * * 1-5 cd {tmp_path} && {sys.executable} -P -m runner run {job} --slot-of '30 2 * * 1-5' "
        f"--if-locked skip --in {tmp_path}/runs --log {tmp_path}/runs/nightly/log # runner cron: {job}\n"
    )


def test_systemd_units_run_the_same_command(command, job, tmp_path) -> None:
    """And at the same time, also where the machine was off then."""
    line = command("cron", job, "--at", "0 2 * * *", "--", "--limit", "2").out
    units = command("cron", job, "--at", "0 2 * * *", "--systemd", "--", "--limit", "2").out
    [start] = [text for text in units.splitlines() if text.startswith("ExecStart=")]
    told = start.removeprefix("ExecStart=").replace('"', "")
    assert told == line.partition(" && ")[2].partition(" # runner")[0].replace("'", "")
    assert "OnCalendar=*-*-* 02:00:00\nPersistent=true\n" in units
    assert f"WorkingDirectory={tmp_path}\n" in units
    assert units.startswith("# runner-nightly.service\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "When? Give --at"),
        (("--at", "0 2 * *"), "has 4 fields"),
        (("--at", "@reboot"), "@reboot names no time"),
        (("--at", "@daily", "--", "--no-such"), "No such option"),
        (("--at", "@daily", "--", "--max-tokens", "x"), "'x' is not a valid integer"),
        (("--at", "@daily", "--", "--endpoint", "nosuch"), "'nosuch' is no endpoint"),
        (("--at", "@daily", "--", "--effort", "wrong"), "effort"),
        (("--at", "@daily", "--", "--set", "no.such=1"), "there is no word 'no'"),
        (("--at", "@daily", "--", "-m", "nosuch"), "nosuch"),
        (("--at", "@daily", "--", "--out", "there"), "--slot-of names the run's directory itself"),
        (("--at", "@daily", "--", "--slot-of", "@weekly"), "--slot-of stands in the line already"),
        (("--at", "@daily", "--", "--wait", "5"), "--wait says how long"),
        (("--at", "@daily", "--", "--gateway", "ftp://x"), "ftp://x"),
        (("--at", "@daily", "--env-file", "open.env"), "has mode 0644, and holds a token"),
        (("--at", "@daily", "--", "--env-file", "open.env"), "has mode 0644, and holds a token"),
        (("--at", "@daily", "--", "--env-file", "/not/there"), "/not/there"),
        (("--at", "@daily", "--env-file", "wrong.env"), "holds a user name or a password"),
        (("--at", "@daily", "--", "--env-file", "wrong.env"), "holds a user name or a password"),
        (("--at", "@daily", "--", "-p", "a\nb"), "cannot hold line breaks"),
        (("--at", "@daily", "--", "-p", "x" * 1000), "cron reads 998"),
    ],
)
def test_what_could_never_run_is_refused_now(command, job, tmp_path, words, said) -> None:
    """Not at two in the night."""
    (tmp_path / "open.env").write_text("NEON_AI_GATEWAY_TOKEN=x")
    (tmp_path / "open.env").chmod(0o644)
    (tmp_path / "wrong.env").write_text("NEON_AI_GATEWAY_BASE_URL=https://u:pw@a.example\nNEON_AI_GATEWAY_TOKEN=x\n")
    (tmp_path / "wrong.env").chmod(0o600)
    done = command("cron", job, *words)
    assert (done.code, said in done.err, done.out) == (2, True, ""), done.err


def test_rows_that_could_not_be_asked_tonight_are_named_now(command, job, tmp_path) -> None:
    """As `run` names them."""
    done = command("cron", job, "--at", "@daily", "--", "-p", "{{ nothing }}")
    assert (done.code, done.out) == (7, "")
    assert "nothing" in done.err
    (tmp_path / "rows.jsonl").unlink()
    assert command("cron", job, "--at", "@daily").code == 7


def test_a_line_that_names_no_gateway_is_told(command, job, tmp_path) -> None:
    """Cron does not know what is exported where the line was made."""
    assert "give --env-file" in command("cron", job, "--at", "@daily").err
    (tmp_path / "own.env").write_text("NEON_AI_GATEWAY_BASE_URL=https://a.example\nNEON_AI_GATEWAY_TOKEN=x\n")
    (tmp_path / "own.env").chmod(0o600)
    for words in (("--env-file", "own.env"), ("--", "--env-file", "own.env"), ("--", "--gateway", "local")):
        assert command("cron", job, "--at", "@daily", *words).err == ""


def test_an_address_in_this_folder_is_looked_at_too(command, job, tmp_path) -> None:
    """The line goes there first, and so does each run."""
    (tmp_path / ".env").write_text("NEON_AI_GATEWAY_BASE_URL=http://a.example\nNEON_AI_GATEWAY_TOKEN=x\n")
    done = command("cron", job, "--at", "@daily")
    assert (done.code, "is not https" in done.err, done.out) == (2, True, "")


@pytest.mark.parametrize("words", [("--at", "@daily"), ("--remove",), ()])
def test_a_job_has_to_be_named(command, words) -> None:
    """And to be there."""
    assert command("cron", *words).code == 2
    assert command("cron", "not/there", "--at", "@daily").code == 2


# The real crontab.


@needs_cron
def test_lines_are_installed_listed_and_removed_and_the_rest_stays_byte_for_byte(isolated, job, tmp_path) -> None:
    """A second install replaces the first."""
    isolated("crontab", "-", stdin=MINE)
    assert isolated.table() == MINE
    assert isolated.runner("cron", "--list").stdout == b""
    for at in ("0 2 * * *", "5 4 * * *"):
        done = isolated.runner("cron", job, "--at", at, "--install", "--", "-p", "100% {{ prompt }}")
        assert done.returncode == 0, done.stderr
        assert isolated.table() == MINE + done.stdout
        assert b"100\\%" in done.stdout
    assert isolated.runner("cron", "--list").stdout == done.stdout
    assert isolated.runner("cron", job, "--remove").returncode == 0
    assert isolated.table() == MINE
    again = isolated.runner("cron", job, "--remove")
    assert (again.returncode, b"has no line for" in again.stderr) == (2, True)


@needs_cron
def test_an_account_without_a_crontab_gets_one(isolated, job) -> None:
    """None is not the same as one that cannot be read."""
    done = isolated.runner("cron", job, "--at", "@daily", "--install")
    assert (done.returncode, isolated.table()) == (0, done.stdout)


@needs_cron
def test_a_crontab_that_cannot_be_read_is_not_written(isolated, job) -> None:
    """What we have not seen we do not replace."""
    spool = isolated.folder / "spool"
    (spool / "root").mkdir()
    done = isolated.runner("cron", job, "--at", "@daily", "--install")
    assert (done.returncode, b"crontab" in done.stderr.lower()) == (8, True), done
    assert (spool / "root").is_dir()


def test_without_a_crontab_command_the_timer_is_named(command, job, tmp_path) -> None:
    """What to do instead is in the sentence."""
    done = command("cron", job, "--at", "@daily", "--install", env={"PATH": str(tmp_path)})
    assert (done.code, "--systemd" in done.err) == (2, True)


# The real daemon.


@pytest.fixture
def daemon(isolated: Isolated) -> Iterator[Callable[[], None]]:
    """Start a cron daemon that knows the isolated crontab alone."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}  # nothing of ours
        started.append(subprocess.Popen(isolated.words("cron", "-f"), env=env, stdin=subprocess.DEVNULL, cwd="/"))

    yield start
    for process in started:
        process.terminate()
        process.wait(10)


@needs_cron
@pytest.mark.fault("P18")
def test_a_real_cron_daemon_runs_a_line_end_to_end(isolated, daemon, job, gateway, tmp_path, wait_for) -> None:
    """P18: with cron's own environment, the gateway from a file; the run is named by its minute, and leaves a log."""
    env_file = tmp_path / "gateway 100%.env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in gateway.env.items()))
    env_file.chmod(0o600)
    settings = "".join(f"{name}={os.environ.get(name, ROOT)}\n" for name in ("RUNNER_STATE_DIR",))
    before = MINE + f"PYTHONPATH={ROOT}\n{settings}".encode()
    isolated("crontab", "-", stdin=before)
    done = isolated.runner("cron", job, "--at", "* * * * *", "--env-file", env_file, "--install")
    assert done.returncode == 0, done.stderr
    runs = tmp_path / "runs" / "nightly"
    daemon()
    [summary] = wait_for(lambda: sorted(runs.glob("*/summary.json"))[:1], 100)
    isolated.runner("cron", job, "--remove")
    assert isolated.table() == before
    assert json.loads(summary.read_text())["tasks"]["succeeded"] == 3
    assert slot_of(summary.parent.name) is not None
    manifest = json.loads((summary.parent / "manifest.json").read_text())
    assert slot_of(summary.parent.name).strftime("%Y-%m-%dT%H:%M") == manifest["created"][:16]  # type: ignore[union-attr]
    log = runs / "log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    wait_for(lambda: "3 tasks: 3 succeeded" in log.read_text())
    assert gateway.meter()["statuses"] == {"200": 3 * len(list(runs.glob("*/summary.json")))}
