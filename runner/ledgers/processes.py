"""Which process this is, and what has become of another one on the same host."""

from __future__ import annotations

import enum
import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


class Life(enum.Enum):
    """What has become of a process."""

    RUNS = "it runs"
    STOPPED = "it is stopped, and may go on"
    GONE = "it has ended"
    UNKNOWN = "it cannot be seen from here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process, told apart from a later one with the same number."""

    pid: int
    born: int
    """When it was started, in ticks since the boot; 0 where the system does not say."""
    boot: str
    """Which boot of which machine: its times compare with ours if it is the same."""
    space: str
    """In which its number means something: processes in containers have numbers of their own."""


def this_process() -> Process:
    """The one that asks."""
    pid = os.getpid()
    _, born = _stat(pid)
    return Process(pid=pid, born=born, boot=_boot(), space=_space())


def life(process: Process) -> Life:
    """What has become of a process."""
    if process.boot != _boot():
        return Life.GONE
    if process.space != _space():
        return Life.UNKNOWN
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return Life.GONE
    except PermissionError:
        pass  # somebody else's: it is there
    except OverflowError:
        return Life.GONE
    state, born = _stat(process.pid)
    if state in "ZX" or (born and process.born and born != process.born):
        return Life.GONE
    return Life.STOPPED if state in "Tt" else Life.RUNS


def _stat(pid: int) -> tuple[str, int]:
    """The state of a process and when it was born; a running one of unknown age where there is no /proc."""
    try:
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return fields[0], int(fields[19])
    except (OSError, ValueError, IndexError):
        return "R", 0


def _boot() -> str:
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return os.uname().nodename


def _space() -> str:
    try:
        return str((PROC / "self/ns/pid").readlink())
    except OSError:
        return ""
