"""Runs that go on without a terminal: processes of their own, found by their lock, stopped by a mark and a signal.

Why it is so: docs/decisions/0015-background-runs.md.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from runner.core.commands import command
from runner.core.errors import RunBusy, UsageError
from runner.storage import batches, marks
from runner.storage.logs import open_log
from runner.storage.marks import Mark, Wish
from runner.storage.rundir import RunDirectory

LOOK_SECONDS = 0.1
START_SECONDS = 60.0
"""How long a background run may take until it holds its directory."""
KILLED = 137
"""The exit code of a run whose process is gone without a word."""
TIMED_OUT = 124
"""What a wait that was not long enough ends with; as timeout(1)."""

DRAIN_SECONDS = 120.0
"""For how long a run that was told to stop may still be at it: its last answers, and its tables."""

_HOLDER = re.compile(r"process (\d+) on (.+) since ")
_begun: list[subprocess.Popen[bytes]] = []
"""Processes that outlive this one. They are kept, so that nobody says they still run: that is what they are for."""


def spawn(path: Path, words: Sequence[str] = ()) -> int | None:
    """Go on with a run in a process of its own, which is in no terminal's session.

    Returns when it holds the run's directory, with None, or has ended, with its exit code.
    """
    directory = RunDirectory(path.absolute())
    log = directory.path / "log"
    command = [sys.executable, "-P", "-m", "runner", "resume", str(directory.path), "--log", str(log), *words]
    with open_log(log) as sink:
        process = subprocess.Popen(  # noqa: S603 - the words are our own
            command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
        )
    _begun.append(process)
    ends = time.monotonic() + START_SECONDS
    while time.monotonic() < ends:
        if process.poll() is not None:
            return process.returncode
        if _pid(directory) == process.pid and directory.is_locked:
            return None
        time.sleep(LOOK_SECONDS / 4)
    raise RunBusy(f"The run in {path} did not begin in {START_SECONDS:g} seconds; see {log}.")


def _pid(directory: RunDirectory) -> int | None:
    said = _HOLDER.match(directory.holder)
    return None if said is None else int(said[1])


def stop(path: Path, mark: Mark) -> bool:
    """Wish a run paused or cancelled; says whether a process has been told, which lets its requests land first.

    Raises UsageError for a run that has ended, and RunBusy if the process is on another machine.
    """
    directory = RunDirectory.open(path)
    wish = marks.read(directory)
    if not directory.is_locked and batches.has_ended(directory):
        raise UsageError(f"The run in {path} has ended already; there is nothing to stop.")
    if wish is not None and wish.mark is Mark.CANCELLED:
        raise UsageError(f"The run in {path} is cancelled already.")
    marks.put(directory, Wish(mark, time.time()))
    return _signalled(directory)


def _signalled(directory: RunDirectory) -> bool:
    """Send SIGTERM to the process that holds a run's lock, and to no other that may have its number by now."""
    ends = time.monotonic() + START_SECONDS
    while directory.is_locked and time.monotonic() < ends:
        said = _HOLDER.match(directory.holder)
        if said is not None and said[2] != socket.gethostname():
            raise RunBusy(f"The run in {directory.path} goes on on {said[2]}; stop it there. It is marked.")
        # At its beginning and end a run does not catch the signal, which would kill it.
        if said is not None and _catches(int(said[1])) and _terminated(int(said[1]), directory, said.string):
            return True
        time.sleep(LOOK_SECONDS / 4)
    return False


def _catches(pid: int) -> bool:
    """Whether a process has a handler for SIGTERM; taken to be so where nothing says so."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return not Path("/proc/self/status").exists()
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return caught is None or bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)


def _terminated(pid: int, directory: RunDirectory, holder: str) -> bool:
    """Send SIGTERM to a process by a handle, which is proven to be of the lock's holder once it is there."""
    try:
        handle = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    except ProcessLookupError:
        return False
    try:
        if not directory.is_locked or directory.holder != holder:
            return False
        if handle is None:
            os.kill(pid, signal.SIGTERM)
        else:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
    except ProcessLookupError:
        return False
    finally:
        if handle is not None:
            os.close(handle)
    return True


def is_paused(path: Path) -> bool:
    """Whether a run is marked as paused."""
    wish = marks.read(RunDirectory.open(path))
    return wish is not None and wish.mark is Mark.PAUSED


def unpause(path: Path, words: Sequence[str] = (), named: str = "") -> int | None:
    """Go on with a run in the background, as `spawn` does; raises UsageError for one that ended or was cancelled.

    `named` is how a command that goes on finds the gateway.
    """
    directory = RunDirectory.open(path)
    wish = marks.read(directory)
    if batches.has_ended(directory):
        raise UsageError(f"The run in {path} has ended; there is nothing left to do.")
    if wish is not None and wish.mark is Mark.CANCELLED:
        again = command("resume", path) + named
        raise UsageError(f"The run in {path} is cancelled. To go on with it all the same: {again}")
    if directory.is_locked:
        raise RunBusy(f"Another runner works in {path}: {directory.holder}.")
    marks.lift(directory)
    return spawn(path, words)


def wait(path: Path, seconds: float | None) -> int:
    """Wait until no process works in a run; its exit code, or TIMED_OUT."""
    directory = RunDirectory.open(path)
    ends = None if seconds is None else time.monotonic() + seconds
    while directory.is_locked:
        if ends is not None and time.monotonic() >= ends:
            return TIMED_OUT
        time.sleep(LOOK_SECONDS)
    summary = batches.last_summary(directory)
    return KILLED if summary is None else int(summary["exit_code"])
