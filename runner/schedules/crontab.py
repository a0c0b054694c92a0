"""A crontab as text: our lines in it, each marked by what it is for, and everybody else's left byte for byte."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from runner.core.errors import UsageError
from runner.schedules.expressions import Expression

MARK = "# runner cron: "
"""Before what a line is for. It ends the line: for the shell it is a comment."""
LONGEST = 998
"""Bytes of a command; more is not read by Debian's cron (MAX_COMMAND)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a line of a crontab starts."""

    expression: Expression
    words: Sequence[str]
    """The command and its arguments."""
    folder: str
    """Where it is started."""
    mark: str
    """What it is for; a crontab holds one line for each."""

    def line(self) -> str:
        """The line, without its end; raises UsageError if a crontab cannot hold it."""
        command = f"cd {shlex.quote(self.folder)} && {shlex.join(self.words)} {MARK}{self.mark}"
        if any(not character.isprintable() for character in command):
            raise UsageError("A line of a crontab cannot hold line breaks or control characters; nothing was written.")
        command = _escaped(command)
        if len(command.encode()) > LONGEST:
            raise UsageError(
                f"The command has {len(command.encode()):,} bytes, and cron reads {LONGEST}: use shorter paths, or put "
                "what is asked into a job file."
            )
        return f"{self.expression.text} {command}"


def _escaped(command: str) -> str:
    """The command as cron reads it: a bare % would end it. Behind a backslash, cron would take that for the escape."""
    return re.sub(r"(?<=\\)%", r"''%", command).replace("%", r"\%")


def _unescaped(command: str) -> str:
    return command.replace(r"\%", "%")


def mark_of(line: bytes) -> str | None:
    """What one of our lines is for; None if it is not ours, or is commented out."""
    text = line.decode("utf-8", "surrogateescape").rstrip("\n")
    _, found, mark = text.rpartition(MARK)
    return None if not found or text.lstrip().startswith("#") else _unescaped(mark)


def ours(table: bytes) -> list[str]:
    """Our lines of a crontab."""
    return [line.decode("utf-8", "replace").rstrip("\n") for line in _lines(table) if mark_of(line) is not None]


def with_entry(table: bytes, entry: Entry) -> bytes:
    """The crontab with this entry, in the place of the one with the same mark or at the end."""
    line = f"{entry.line()}\n".encode("utf-8", "surrogateescape")
    lines = _lines(table)
    places = [place for place, old in enumerate(lines) if mark_of(old) == entry.mark]
    if not places:
        return b"".join([_ended(table), line])
    lines[places[0]] = line
    return b"".join(old for place, old in enumerate(lines) if place not in places[1:])


def without(table: bytes, mark: str) -> bytes:
    """The crontab without the entries of this mark."""
    return b"".join(line for line in _lines(table) if mark_of(line) != mark)


def _lines(table: bytes) -> list[bytes]:
    return re.findall(rb"[^\n]*\n|[^\n]+", table)


def _ended(table: bytes) -> bytes:
    return table if table.endswith(b"\n") or not table else table + b"\n"
