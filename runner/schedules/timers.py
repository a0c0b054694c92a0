"""A systemd service and the timer that starts it, saying the same as a line of a crontab."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from runner.core.errors import UsageError
from runner.schedules.crontab import Entry
from runner.schedules.expressions import Expression

WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")

SERVICE = """\
# {name}.service
[Unit]
Description=runner: {mark}

[Service]
Type=oneshot
WorkingDirectory={folder}
ExecStart={command}
UMask=0077
"""

TIMER = """\
# {name}.timer
[Unit]
Description=When to start {name}.service

[Timer]
{times}
Persistent=true

[Install]
WantedBy=timers.target
"""


def unit_name(job: str) -> str:
    """What the units of a job are called: systemd takes only some of ASCII."""
    plain = re.sub(r"[^a-zA-Z0-9]+", "-", job).strip("-")[:40]
    own = "" if job.isascii() else f"-{hashlib.sha256(job.encode()).hexdigest()[:8]}"
    return f"runner-{plain or 'job'}{own}"


def units(name: str, entry: Entry) -> str:
    """Both units, each under a comment that names its file; raises UsageError if they cannot hold the words."""
    told = [entry.mark, entry.folder, *entry.words]
    if any(not character.isprintable() for word in told for character in word):
        raise UsageError("A unit file cannot hold line breaks or control characters.")
    service = SERVICE.format(
        name=name,
        mark=entry.mark.replace("%", "%%"),
        folder=entry.folder.replace("%", "%%"),
        command=" ".join(_quoted(word) for word in entry.words),
    )
    times = "\n".join(f"OnCalendar={time}" for time in calendar(entry.expression))
    return f"{service}\n{TIMER.format(name=name, times=times)}"


def calendar(expression: Expression) -> list[str]:
    """Calendar events, systemd.time(7), any of which is a slot."""
    clock = f"{_list(expression.hours, 24)}:{_list(expression.minutes, 60)}:00"
    month = _list(expression.months, 12)
    days = f"*-{month}-{_list(expression.days, 31)} {clock}"
    any_day = f"*-{month}-* {clock}"
    weekdays = ",".join(WEEKDAYS[day] for day in sorted(expression.weekdays))
    if len(expression.weekdays) == len(WEEKDAYS) and expression.both:
        return [days]
    return [f"{weekdays} {days}"] if expression.both else [days, f"{weekdays} {any_day}"]


def _list(values: Iterable[int], most: int) -> str:
    found = sorted(values)
    return "*" if len(found) == most else ",".join(f"{value:02}" for value in found)


def _quoted(word: str) -> str:
    """A word of ExecStart: systemd.service(5), "Command lines", and the specifiers of systemd.unit(5)."""
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{word}"'
