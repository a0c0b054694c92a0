"""Crontabs as text, and the systemd timers that say the same."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.errors import UsageError
from runner.schedules.crontab import MARK, Entry, mark_of, ours, with_entry, without
from runner.schedules.expressions import parse
from runner.schedules.slots import between
from runner.schedules.timers import calendar, units

OTHERS = (
    b"# m h dom mon dow command\nMAILTO=me\n\n  0 1 * * * echo 100\\% # runner\n#0 2 * * * old # runner cron: /jobs/a\n"
)
"""A crontab with nothing of ours in it, though it looks a little like it."""


def entry(*words: str, mark: str = "/jobs/a", folder: str = "/srv", at: str = "0 2 * * *") -> Entry:
    return Entry(expression=parse(at), words=words or ("runner", "run"), folder=folder, mark=mark)


def as_cron_runs_it(line: str) -> str:
    """What Debian's cron hands to the shell of a line: its do_command.c, in a few words."""
    command, out, escaped = line.split(" ", 5)[5], "", False
    for character in command:
        if escaped:
            out = out[:-1] + "%" if character == "%" else out + character
            escaped = False
            continue
        assert character != "%", "the command would end here"
        escaped = character == "\\"
        out += character
    return out


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(blacklist_categories=("C", "Z")) | st.sampled_from("%\\'\"# $`"), max_size=12)))
def test_every_argument_arrives_as_it_was(words: list[str]) -> None:
    """Through cron's escapes and the shell, percent signs and backslashes among them."""
    program = "import sys, json; print(json.dumps(sys.argv[1:]))"
    text = as_cron_runs_it(entry(sys.executable, "-c", program, *words, folder="/").line())
    done = subprocess.run(["/bin/sh", "-c", text], capture_output=True, check=True)
    assert json.loads(done.stdout) == words


@pytest.mark.parametrize("table", [b"", OTHERS, OTHERS.rstrip(b"\n"), b"\xff\xfe broken\n"], ids=repr)
def test_what_is_not_ours_stays_byte_for_byte(table: bytes) -> None:
    """Put in and taken out again, a line leaves the crontab as it was, but for an end of its last line."""
    whole = table if not table or table.endswith(b"\n") else table + b"\n"
    there = with_entry(table, entry())
    assert there == whole + entry().line().encode() + b"\n"
    assert without(there, "/jobs/a") == whole
    assert ours(table) == []
    assert ours(there) == [entry().line()]


def test_a_second_line_for_the_same_job_replaces_the_first() -> None:
    """In its place; another job's line stays."""
    table = with_entry(with_entry(with_entry(OTHERS, entry()), entry(mark="/jobs/b")), entry(at="5 4 * * *"))
    assert [line[:9] for line in ours(table)] == ["5 4 * * *", "0 2 * * *"]
    assert without(without(table, "/jobs/b"), "/jobs/a") == OTHERS


def test_a_mark_with_percent_signs_is_found_again() -> None:
    """A path may hold anything printable."""
    odd = entry(mark="/jobs/50% of it")
    assert mark_of(odd.line().encode()) == "/jobs/50% of it"
    assert without(with_entry(OTHERS, odd), odd.mark) == OTHERS


@pytest.mark.parametrize("word", ["a\nb", "a\rb", "\x1b", "x" * 1000])
def test_what_a_crontab_cannot_hold_is_refused(word: str) -> None:
    """A line break would be a line of its own, in somebody's crontab."""
    with pytest.raises(UsageError):
        entry("runner", word).line()


def test_a_line_names_what_it_is_for() -> None:
    """At its end, where the shell sees a comment."""
    assert entry().line() == f"0 2 * * * cd /srv && runner run {MARK}/jobs/a"


# systemd.


@pytest.mark.parametrize(
    ("at", "times"),
    [
        ("0 2 * * *", ["*-*-* 02:00:00"]),
        ("*/15 * * * *", ["*-*-* *:00,15,30,45:00"]),
        ("30 8-10 * * 1-5", ["Mon,Tue,Wed,Thu,Fri *-*-* 08,09,10:30:00"]),
        ("0 0 1 1 *", ["*-01-01 00:00:00"]),
        ("0 3 1,15 * SUN", ["*-*-01,15 03:00:00", "Sun *-*-* 03:00:00"]),
        ("0 3 */10 2 7", ["Sun *-02-01,11,21,31 03:00:00"]),
    ],
)
def test_calendar_events_say_what_the_expression_says(at: str, times: list[str]) -> None:
    """Either kind of day is enough where neither field begins with a star."""
    assert calendar(parse(at)) == times


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
@pytest.mark.parametrize("at", ["0 2 * * *", "*/20 */5 * * *", "30 8 * * 1-5", "0 3 1,15 * SUN", "0 3 29 2 *"])
def test_systemd_itself_finds_the_slots_that_cron_does(at: str) -> None:
    """The next five, by systemd-analyze; where there are two calendar events, both together."""
    found = set()
    for time in calendar(parse(at)):
        words = ["systemd-analyze", "calendar", "--base-time=2026-11-24 00:00:00 UTC", "--iterations=8", time]
        said = subprocess.run(
            words, capture_output=True, text=True, check=True, env={"TZ": "UTC", "LC_ALL": "C"}
        ).stdout
        found |= set(re.findall(r"(?:elapse|Iter\. #\d+): \w+ (\S+ \S+) UTC", said))
    slots = between(parse(at), datetime(2026, 11, 24, tzinfo=UTC), datetime(2060, 1, 1, tzinfo=UTC))
    assert sorted(found)[:5] == [slot.strftime("%Y-%m-%d %H:%M:%S") for slot in slots[:5]]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """Both, with every character that means something to it."""
    text = units("runner-a", entry("/bin/true", "50%", "$HOME", 'a "b"', "back\\slash", mark="/jobs/50% $x"))
    names = re.findall(r"^# (\S+)$", text, re.MULTILINE)
    assert names == ["runner-a.service", "runner-a.timer"]
    for name, part in zip(names, re.split(r"(?=^# runner-a\.timer)", text, flags=re.MULTILINE), strict=True):
        (tmp_path / name).write_text(part)
    words = ["systemd-analyze", "verify", "--man=no", *[str(tmp_path / name) for name in names]]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert not [line for line in done.stderr.splitlines() if "runner-a" in line], done.stderr


def test_a_unit_that_would_have_another_line_is_refused() -> None:
    """A word with a line break would be a setting of its own."""
    with pytest.raises(UsageError):
        units("runner-a", entry("runner", "x\nUser=root"))
