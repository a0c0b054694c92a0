"""Runs that are disturbed from outside: by a tracer that fails or kills them at a call, by disks of our own."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from runner.storage import journal

MODEL = "claude-haiku-4-5"
JOB = ("-m", MODEL, "--max-tokens", "16")
"""Words of a run whose requests are the same whenever they are made."""
AT_ONCE = 2
"""Processes that are under way together."""
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
"""What a tracer ends with whose program was killed."""


@pytest.fixture(scope="session")
def _tracer() -> None:
    """Skip what needs strace where it is missing or may not trace."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: no call can be made to fail")
    words = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", os.devnull, "true"]
    done = subprocess.run(words, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"strace may not trace here: {done.stderr.decode().strip()[:200]}")


Tamper = Callable[..., list[str]]


@pytest.fixture
def tamper(_tracer: None, tmp_path: Path) -> Tamper:
    """The words of a tracer that does something (`signal=KILL`, `error=EIO`, ...) at a program's nth call on paths."""
    numbers = itertools.count()

    def words(call: str, what: str, *paths: Path, when: int | str = 1) -> list[str]:
        log = tmp_path / f"trace-{next(numbers)}"
        on = [word for path in paths for word in ("-P", str(path))]
        # A filter in the kernel lets all other calls pass at their usual speed, but no signal comes through there.
        quick = [] if what.startswith("signal=") else ["--seccomp-bpf"]
        filtered = ["-f", *quick, "-qq", "-o", str(log), "-e", f"trace={call}"]
        return ["strace", *filtered, *on, f"--inject={call}:{what}:when={when}"]

    return words


@pytest.fixture(scope="session")
def traced() -> Callable[[Any], list[str]]:
    """The lines of the trace of a process that `tamper` watched over."""

    def lines(process: Any) -> list[str]:
        words = process.popen.args
        return Path(words[words.index("-o") + 1]).read_text().splitlines()

    return lines


Prompts = Callable[[int], Path]


@pytest.fixture
def prompts(tmp_path: Path) -> Prompts:
    """Write a file of so many rows; no row is asked the same as any other of the test."""
    numbers = itertools.count()

    def write(count: int) -> Path:
        path = tmp_path / f"rows-{next(numbers)}.jsonl"
        lines = (json.dumps({"prompt": f"Say something about row {n} of {path.stem}."}) for n in range(count))
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def _finals(run: Path) -> dict[int, dict[str, Any]]:
    path = run / "journal.jsonl"
    if not path.exists():
        return {}
    return {frame.payload["row"]: frame.payload for frame in journal.read(path) if frame.payload.get("final")}


@pytest.fixture(scope="session")
def finals() -> Callable[[Path], dict[int, dict[str, Any]]]:
    """The frame that ended a row, by row, of what reads back whole."""
    return _finals


def _ambiguous(run: Path) -> int:
    """How many requests went out of which the journal does not say what came of them."""
    path = run / "journal.jsonl"
    if not path.exists():
        return 0
    kinds = [frame.payload["t"] for frame in journal.read(path)]
    return kinds.count("sent") - kinds.count("landed")


@pytest.fixture(scope="session")
def ambiguous() -> Callable[[Path], int]:
    """How many requests a run sent of which its journal does not say what came of them."""
    return _ambiguous


def _complete(run: Path, rows: int) -> None:
    ended: set[int] = set()
    for frame in journal.read(run / "journal.jsonl"):
        if frame.payload["t"] == "sent":
            assert frame.payload["row"] not in ended, "a row with an outcome was asked again"
        if frame.payload.get("final"):
            assert frame.payload["row"] not in ended, "a row has two outcomes"
            ended.add(frame.payload["row"])
    table = pl.read_parquet(run / "results.parquet")
    assert table["row"].to_list() == list(range(rows))
    assert table["status"].to_list() == ["succeeded"] * rows
    assert table["text"].to_list() == [frame["text"] for _, frame in sorted(_finals(run).items())]
    assert pl.read_parquet(run / "errors.parquet").height == 0
    summary = json.loads((run / "summary.json").read_text())
    assert summary["tasks"]["succeeded"] == summary["tasks"]["total"] == rows
    assert not [path for path in run.iterdir() if path.name.endswith(".new")], "something half written was left"


@pytest.fixture(scope="session")
def complete() -> Callable[[Path, int], None]:
    """Fail unless a run of so many rows has come to its end, with one answer to each, and none asked for twice."""
    return _complete


@pytest.fixture(scope="session")
def together() -> Callable[[Iterable[Callable[[], Any]]], Iterator[Any]]:
    """Start processes, a few at once, and give them when all of these have ended."""

    def run(starts: Iterable[Callable[[], Any]]) -> Iterator[Any]:
        waiting = iter(starts)
        while batch := [start() for start in itertools.islice(waiting, AT_ONCE)]:
            for process in batch:
                process.popen.wait(60)
            yield from batch

    return run


@dataclass(frozen=True)
class Hit:
    """A run that met what was done to it, and how it ended."""

    directory: Path
    code: int
    err: str
    trace: list[str]

    @property
    def was_killed(self) -> bool:
        """Whether it could say nothing any more."""
        return self.code in KILLED


Hits = Callable[..., Iterator[Hit]]


@pytest.fixture
def at_each(tamper: Tamper, traced: Any, prompts: Prompts, processes: Any, together: Any, tmp_path: Path) -> Hits:
    """Begin runs of a few rows again and again, with something done at the first, second, ... of a call on the journal.

    Ends with the run that does not make so many of these calls, which must be none the worse.
    """

    def runs(call: str, what: str, rows: int, env: Mapping[str, str]) -> Iterator[Hit]:
        def start(number: int) -> Callable[[], Any]:
            out = tmp_path / f"{call}-{number}"
            under = tamper(call, what, out / "journal.jsonl", when=number)
            return lambda: processes("run", prompts(rows), *JOB, "--out", out, env=env, under=under)

        for number, process in enumerate(together(map(start, itertools.count(1))), 1):
            done, trace = process.done(), traced(process)
            if not any("INJECTED" in line or "SIGKILL" in line for line in trace):
                assert done.code == 0, done.err
                return
            yield Hit(tmp_path / f"{call}-{number}", done.code, done.err, trace)

    return runs


@dataclass(frozen=True)
class Disk:
    """A file system that only some processes see, at `path`."""

    path: Path
    holder: subprocess.Popen[bytes]
    under: list[str]
    """The words of a program that runs another one where it is seen."""

    @property
    def outside(self) -> Path:
        """The same place, as it is seen from everywhere."""
        return Path(f"/proc/{self.holder.pid}/root{self.path}")


Disks = Callable[[str], Disk]


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[Disks]:
    """Mount something at a place, for the processes alone that are started under it; `{}` stands for the place."""
    holders: list[subprocess.Popen[bytes]] = []

    def mount(script: str) -> Disk:
        place = tmp_path / f"disk-{len(holders)}"
        place.mkdir()
        root = os.geteuid() == 0
        words = ["unshare", "-m" if root else "-rm", "sh", "-c", f"{script.format(place)} && echo mounted && exec cat"]
        if shutil.which("unshare") is None or shutil.which("nsenter") is None:
            pytest.skip("unshare and nsenter are not installed; test_exit_codes bounds the size of files instead")
        holder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        holders.append(holder)
        assert holder.stdout is not None
        assert holder.stderr is not None
        if holder.stdout.readline() != b"mounted\n":
            pytest.skip(f"nothing can be mounted here, not even in private: {holder.stderr.read().decode().strip()}")
        user = [] if root else ["-U", "--preserve-credentials"]
        return Disk(place, holder, ["nsenter", "-t", str(holder.pid), "-m", *user])

    yield mount
    for holder in holders:
        holder.kill()
        holder.communicate()
