"""What the benchmarks share: the local gateway in a process of its own, and a runner whose costs are measured."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Gateway:
    """A local gateway that runs."""

    url: str
    process: subprocess.Popen[str]

    def meter(self, every: float | None = None) -> dict[str, Any]:
        """What it really let through; with `every` also in each so many seconds."""
        query = "" if every is None else f"?every={every:g}"
        with urllib.request.urlopen(f"{self.url}/simulator/meter{query}", timeout=60) as answer:
            table: dict[str, Any] = json.load(answer)
            return table

    def reset(self) -> None:
        """Let it begin anew."""
        with urllib.request.urlopen(f"{self.url}/simulator/reset", data=b"", timeout=60):
            pass

    def cpu_seconds(self) -> float:
        """The processor time that it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def gateway(*options: str) -> Iterator[Gateway]:
    """A local gateway for as long as the context lasts."""
    command = [sys.executable, "-m", "runner", "simulate", "--port=0", "--until-stdin-closes", *options]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Gateway(process.stdout.readline().strip(), process)
    finally:
        process.communicate(timeout=20)


@dataclass(frozen=True)
class Measured:
    """A finished process: what it printed as JSON, and what it cost."""

    output: dict[str, Any]
    wall: float
    cpu: float
    megabytes: float
    exit_code: int


def measured(
    command: list[str], url: str = "", *, patience: float = 3_600.0, env: Mapping[str, str] | None = None
) -> Measured:
    """Run a command that prints JSON, and measure it; after `patience` seconds it is stopped.

    Modules are compiled once and kept, as in a program that was installed.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    gateway = {"NEON_AI_GATEWAY_BASE_URL": url, "NEON_AI_GATEWAY_TOKEN": "any-token-will-do"}
    start = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**kept, **gateway, **(env or {})}
    )
    assert process.stdout is not None
    stop = threading.Timer(patience, process.kill)
    stop.start()
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    stop.cancel()
    wall = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    scale = 2**20 if sys.platform == "darwin" else 2**10
    output = json.loads(printed) if printed.strip() else {}
    return Measured(output, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / scale, process.returncode)


def runner(*words: str) -> list[str]:
    """The command line of this project's runner."""
    return [sys.executable, "-m", "runner", *words]


def note(line: str = "") -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
