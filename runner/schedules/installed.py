"""The crontab of this account, through the `crontab` command: who may have one, and where, is its business."""

from __future__ import annotations

import os
import subprocess

from runner.core.errors import StorageFailed, UsageError

SECONDS = 30.0
"""How long the command may take."""


def read() -> bytes:
    """The crontab as it is; empty if there is none. Raises StorageFailed if that cannot be known."""
    done = _crontab("-l")
    if done.returncode == 0:
        return done.stdout
    if b"no crontab" in done.stderr:
        return b""
    raise StorageFailed(f"The crontab cannot be read: {_said(done)}")


def write(table: bytes) -> None:
    """Replace the crontab; raises StorageFailed, with what `crontab` says, if it is refused. It is as it was then."""
    done = _crontab("-", stdin=table)
    if done.returncode != 0:
        raise StorageFailed(f"The crontab was not changed: {_said(done)}")


def _crontab(word: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(  # noqa: S603 - the word is one of ours
            ["crontab", word],  # noqa: S607 - the PATH is the user's
            input=stdin,
            capture_output=True,
            timeout=SECONDS,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except FileNotFoundError:
        raise UsageError(
            "There is no crontab command on this machine; install cron, or take the timer that --systemd prints."
        ) from None
    except subprocess.TimeoutExpired:
        raise StorageFailed(f"crontab {word} did not answer in {SECONDS:g} seconds.") from None


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    return " ".join(done.stderr.decode("utf-8", "replace").split()) or f"crontab ended with {done.returncode}"
