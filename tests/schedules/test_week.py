"""A week of an evaluation that cron starts every night: its clock is virtual, its runs are real.

The job asks a model about 24 packages through the local gateway, and has gates. The nights, from Monday on:

    Monday     it runs, and is accepted as what later nights must not be worse than
    Tuesday    it is killed, and gone on with when it is started again in the morning
    Wednesday  it takes until the next night
    Thursday   Wednesday's run still goes: this one is left out
    Friday     the machine is off
    Saturday   the job's prompt has been spoilt: the gate catches it
    Sunday     the prompt is mended; the clock changes, and cron calls twice
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

BERLIN = ZoneInfo("Europe/Berlin")
MODEL = "claude-haiku-4-5"
TEXTS = {
    "sound": "An audio player that plays music and songs.",
    "mail": "A mail client for IMAP mailboxes and messages.",
    "games": "A chess game for one player with puzzles.",
    "web": "A web browser for html pages and links.",
}
PROMPT = "Which section is this package in?\n\nLabels: {{ labels }}\n\n{{ description }}\n"
SPOILT = "Which section is this package in?\n\nLabels: {{ labels }}\n\n"
JOB = f"""
input = "packages.jsonl"
prompt = "@prompt.jinja"
name = "packages"
max_tokens = 32
models = ["{MODEL}"]
[answer]
kind = "label"
labels = "sound, mail, games, web"
[evaluate]
expected = "section"
scorers = ["exact"]
[gates]
not_worse = true
"""
ROWS = 24
AT = "30 2 * * *"
CLOCK = """
import sys
from datetime import datetime
from zoneinfo import ZoneInfo
from runner.cli.main import main
from runner.schedules import zone

moment = datetime.fromisoformat(sys.argv[1]).astimezone(ZoneInfo("Europe/Berlin"))
zone.now = lambda: moment
sys.argv = ["runner", *sys.argv[5:]]  # after the interpreter, -m and runner
main()
"""
"""A program that runs `runner` at a moment of its own."""


class Nights:
    """What cron calls, at which moments."""

    def __init__(self, folder: Path, command: Any, processes: Any, gateway: Any, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.runs = folder / "runs" / "packages"
        self._command = command
        self._processes = processes
        self._gateway = gateway
        self._patch = patch
        lines = [
            {"description": text, "section": label, "turn": turn}
            for turn in range(ROWS // len(TEXTS))
            for label, text in TEXTS.items()
        ]
        (folder / "packages.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / "job.toml").write_text(JOB)
        self.prompt(PROMPT)

    def prompt(self, text: str) -> None:
        """Change the job's prompt."""
        (self.folder / "prompt.jinja").write_text(text)

    @property
    def words(self) -> list[str | Path]:
        """The line in the crontab."""
        named = ["run", self.folder / "job.toml", "--slot-of", AT, "--in", self.folder / "runs"]
        return [*named, "--if-locked", "skip", "--log", self.folder / "log"]

    def call(self, moment: datetime) -> Any:
        """Let cron call now, and wait for the end."""
        self._patch.setattr("runner.schedules.zone.now", lambda: moment)
        return self._command(*self.words, env=self._gateway.env)

    def begin(self, moment: datetime) -> Any:
        """Let cron call now, as a process of its own."""
        under = (sys.executable, "-c", CLOCK, moment.isoformat())
        return self._processes(*self.words, env=self._gateway.env, under=under)

    @property
    def asked(self) -> int:
        """Requests that the gateway has seen."""
        return sum(self._gateway.meter()["statuses"].values())

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


@pytest.fixture
def nights(tmp_path: Path, command: Any, processes: Any, gateways: Any, monkeypatch: pytest.MonkeyPatch) -> Nights:
    """The job, before its first night; the gateway takes a third of a second to answer."""
    slow = gateways("--no-limits", "--time-scale", "1", "--latency", "0.3", "--tokens-per-second", "0")
    return Nights(tmp_path, command, processes, slow, monkeypatch)


@pytest.mark.parametrize(
    ("monday", "sunday", "sundays_calls"),
    [
        # 2:30 does not come on Sunday: cron calls right after the gap.
        ("2026-03-23", "2026-03-29T0300+0200", ("2026-03-29T03:00+02:00", "2026-03-29T03:30+02:00")),
        # 2:30 comes twice.
        ("2026-10-19", "2026-10-25T0230+0200", ("2026-10-25T02:30+02:00", "2026-10-25T02:30+01:00")),
    ],
    ids=["spring", "autumn"],
)
def test_a_week(
    nights: Nights,
    command: Any,
    wait_for: Callable[..., Any],
    frames: Callable[..., list[dict[str, Any]]],
    monday: str,
    sunday: str,
    sundays_calls: tuple[str, str],
) -> None:
    """Each night has one run or a reason why not, nothing is asked twice, and the one bad night is caught."""
    first = datetime.fromisoformat(f"{monday}T02:30").replace(tzinfo=BERLIN)
    times = [first + timedelta(days=day) for day in range(6)]  # by the clock on the wall
    names = [time.strftime("%Y-%m-%dT%H%M%z") for time in times]
    slots = [nights.runs / name for name in names]

    # Monday. It has nothing to be compared with; from then on it is what the others are.
    nights.call(times[0])
    assert json.loads((slots[0] / "summary.json").read_bytes())["tasks"]["succeeded"] == ROWS
    assert command("accept", slots[0]).code == 0
    assert nights.asked == ROWS

    # Tuesday. Killed with its first answer there and the others under way; those may be asked again, but not that one.
    process = nights.begin(times[1])
    wait_for(lambda: frames(slots[1], "landed"))
    process.signal(signal.SIGKILL)
    process.popen.wait(10)
    landed = {frame["row"] for frame in frames(slots[1], "landed")}
    assert 0 < len(landed) < ROWS
    assert nights.call(times[1] + timedelta(hours=5)).code == 0
    assert f"Slot {names[1]} was begun already; going on with it." in nights.log
    assert sorted(frame["row"] for frame in frames(slots[1], "landed")) == list(range(ROWS))
    assert all(sum(sent["row"] == row for sent in frames(slots[1], "sent")) == 1 for row in landed)

    # Wednesday's run goes on until Thursday's call, which is left out.
    process = nights.begin(times[2])
    wait_for(lambda: frames(slots[2], "landed"))
    process.signal(signal.SIGSTOP)
    left = nights.call(times[3])
    assert (left.code, slots[3].exists()) == (0, False)
    assert "It is left alone (--if-locked skip)." in nights.log
    process.signal(signal.SIGCONT)
    assert process.done(30).code == 0

    # Saturday. Two nights are missed, which is told; and the gate catches what was spoilt meanwhile.
    nights.prompt(SPOILT)
    bad = nights.call(times[5])
    assert bad.code == 10
    assert bad.err.count("\n") == 1  # what cron sends as a mail
    assert f"{names[5]} ended with exit code 10" in bad.err
    assert "answered 0 more rows right than the accepted run and 18 fewer, of 24" in bad.err
    assert f"Slots missed since the last run of packages: 2 ({names[3]} to {names[4]})." in nights.log

    # Sunday, with the prompt mended. One run, however often cron calls in the hour that is not like others.
    nights.prompt(PROMPT)
    before = nights.asked
    calls = [datetime.fromisoformat(call).astimezone(BERLIN) for call in sundays_calls]
    assert [nights.call(moment).code for moment in calls] == [0, 0]
    assert nights.asked == before + ROWS

    there = sorted(path.parent.name for path in nights.runs.glob("*/manifest.json"))
    assert there == sorted([names[0], names[1], names[2], names[5], sunday])
    codes = [json.loads((nights.runs / name / "summary.json").read_bytes())["exit_code"] for name in there]
    assert codes == [0, 0, 0, 10, 0]
