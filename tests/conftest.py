"""What tests share: a state of their own, the program as its users meet it, and a server of raw sockets.

The program runs in this process where that is enough, and as a process of its own where not. Gateways are real `runner
simulate` processes; they are kept for the whole session, one for each set of options, and made to forget everything
before a test gets them. The server of raw sockets does what a script says.

No test touches what the user's own runs have learned: each has a place of its own, which it makes if it needs it.
"""

from __future__ import annotations

import asyncio
import gc
import io
import itertools
import json
import os
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from runner.cli.main import main

ROOT = Path(__file__).parents[1]
MODEL = "claude-haiku-4-5"
TOKEN = "any-token-will-do"
OWN = ("NEON_AI_GATEWAY_BASE_URL", "NEON_AI_GATEWAY_TOKEN", "NO_COLOR", "FORCE_COLOR", "RUNNER_DEBUG", "COLUMNS")
"""Variables that tests set themselves."""

_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def _state_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """For what starts before any test. Processes compile the program's modules once, as where it is installed."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patch.setenv("RUNNER_STATE_DIR", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def state_folder(_state_of_the_session: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's runs keep what they learn, in this process and in those that it starts."""
    folder = _state_of_the_session / str(next(_numbers))
    monkeypatch.setenv("RUNNER_STATE_DIR", str(folder))
    return folder


# The program, and gateways.


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        """Its standard output as text."""
        return self.raw.decode()

    def json(self) -> dict[str, Any]:
        """Its standard output as one JSON value."""
        value: dict[str, Any] = json.loads(self.raw)
        return value


Command = Callable[..., Done]


@dataclass(frozen=True)
class Gateway:
    """A local gateway that answers at `url`."""

    url: str
    process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def env(self) -> dict[str, str]:
        """The variables that name it."""
        return {"NEON_AI_GATEWAY_BASE_URL": self.url, "NEON_AI_GATEWAY_TOKEN": TOKEN}

    def meter(self) -> dict[str, Any]:
        """What it really let through."""
        with urllib.request.urlopen(f"{self.url}/simulator/meter") as response:
            value: dict[str, Any] = json.load(response)
            return value

    def reset(self) -> None:
        """Make it forget everything."""
        urllib.request.urlopen(f"{self.url}/simulator/reset", data=b"").close()


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in OWN}
    return {**kept, "PYTHONPATH": str(ROOT), **env}


def _wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    ends = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < ends, f"nothing came of {condition} in {seconds:g} s"
        time.sleep(0.01)
    return value


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., Any]:
    """Wait until a condition holds, and fail if that takes too long."""
    return _wait_for


class Gateways:
    """Starts gateways, and knows those that it has."""

    def __init__(self) -> None:
        self._started: dict[tuple[str, ...], Gateway] = {}

    def __call__(self, *options: str) -> Gateway:
        """The gateway with these options, as if just started."""
        gateway = self._started.get(options)
        if gateway is None:
            gateway = self._started[options] = self._start(options)
        gateway.reset()
        return gateway

    @staticmethod
    def _start(options: tuple[str, ...]) -> Gateway:
        ports = () if "--port" in options else ("--port", "0")
        scale = () if "--time-scale" in options else ("--time-scale", "0")
        words = [sys.executable, "-m", "runner", "simulate", "--until-stdin-closes", *ports, *scale, *options]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment({}), cwd=ROOT)
        assert process.stdout is not None
        line = process.stdout.readline().decode().strip()
        assert line.startswith("http"), f"the gateway did not start: {line}"
        return Gateway(line, process)

    def stop(self) -> None:
        """End them all; they hold nothing that is worth a farewell."""
        for gateway in self._started.values():
            process = gateway.process
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


@pytest.fixture(scope="session")
def gateways() -> Iterator[Gateways]:
    """Gives the gateway that was started with these options; starts it if there is none."""
    started = Gateways()
    yield started
    started.stop()


@pytest.fixture
def gateway(gateways: Gateways) -> Gateway:
    """A gateway without limits that answers at once."""
    return gateways("--no-limits")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Command]:
    """Run `runner WORDS` in this process, in an empty folder, with no gateway in the environment."""
    threshold = gc.get_threshold()

    def call(
        *words: str | Path, env: Mapping[str, str] | None = None, stdin: bytes = b"", cwd: Path = tmp_path
    ) -> Done:
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
        with monkeypatch.context() as patch:
            for name in OWN:
                patch.delenv(name, raising=False)
            for name, value in {"PYTHONPATH": str(ROOT), **(env or {})}.items():
                patch.setenv(name, value)
            patch.chdir(cwd)
            patch.setattr(sys, "argv", ["runner", *map(str, words)])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            with pytest.raises(SystemExit) as ended:
                main()
        out.flush()
        code = ended.value.code
        assert isinstance(code, int)
        return Done(code, out.buffer.getvalue(), err.getvalue())  # type: ignore[attr-defined]

    yield call
    gc.unfreeze()
    gc.set_threshold(*threshold)


@dataclass(frozen=True)
class Process:
    """A `runner` process; what it prints goes to files."""

    popen: subprocess.Popen[bytes]
    out: Path
    err: Path

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.popen.send_signal(number)

    def done(self, seconds: float = 20.0) -> Done:
        """Wait for its end."""
        code = self.popen.wait(seconds)
        return Done(code, self.out.read_bytes(), self.err.read_text())


class Processes:
    """Starts processes, and ends those that are left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Process] = []

    def __call__(
        self, *words: str | Path, env: Mapping[str, str] | None = None, under: Sequence[str] = (), **options: Any
    ) -> Process:
        """Begin `runner WORDS`, under another program if there is one that is to watch over it."""
        number = len(self._started)
        out, err = self._folder / f"out-{number}", self._folder / f"err-{number}"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            popen = subprocess.Popen(
                [*under, sys.executable, "-m", "runner", *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=_environment(env or {}),
                cwd=self._folder,
                **options,
            )
        self._started.append(Process(popen, out, err))
        return self._started[-1]

    def stop(self) -> None:
        """End what has not ended."""
        for process in self._started:
            with suppress(ProcessLookupError):
                process.popen.kill()
            process.popen.wait()


@pytest.fixture
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """Start `runner WORDS` as a process of its own, in an empty folder."""
    started = Processes(tmp_path_factory.mktemp("process"))
    yield started
    started.stop()


def _frames(run: Path, kind: str) -> list[dict[str, Any]]:
    """The frames of one kind in a run's journal, which may be growing; what is half written is left out."""
    journal = run / "journal.jsonl"
    if not journal.exists():
        return []
    lines = journal.read_bytes().split(b"\n")[:-1]
    return [frame for frame in (json.loads(line[line.index(b"{") :]) for line in lines) if frame["t"] == kind]


@pytest.fixture(scope="session")
def frames() -> Callable[[Path, str], list[dict[str, Any]]]:
    """The frames of one kind in a run's journal, also while it grows."""
    return _frames


Rows = Callable[..., Path]


def _rows(path: Path, count: int, columns: Mapping[str, Any]) -> Path:
    lines = [{"prompt": f"Say something about the number {n}.", **columns} for n in range(count)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """Write a JSONL file of so many rows, each with a prompt of its own and the columns given."""

    def write(count: int, name: str = "rows.jsonl", **columns: Any) -> Path:
        return _rows(tmp_path / name, count, columns)

    return write


@dataclass(frozen=True)
class Going:
    """A run that is under way, and stays so: its gateway takes minutes to answer."""

    directory: Path
    process: Process


@pytest.fixture(scope="session")
def going(gateways: Gateways, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Going]:
    """A run of three rows that does not come to its end by itself."""
    folder = tmp_path_factory.mktemp("going")
    slow = gateways("--no-limits", "--time-scale", "1", "--latency", "600")
    started = Processes(folder)
    source = _rows(folder / "rows.jsonl", 3, {})
    process = started("run", source, "-m", MODEL, "--out", folder / "run", env=slow.env)
    _wait_for(lambda: len(_frames(folder / "run", "sent")) == 3)
    yield Going(folder / "run", process)
    started.stop()


# A server that does what a script says, however wrong it is.


class Step(Enum):
    """What a script can do beside writing bytes."""

    CLOSE = "end the connection"
    RESET = "break the connection"
    HANG = "say nothing more"
    DRIP = "write a space every 20 ms, for ever"


@pytest.fixture(scope="session")
def step() -> type[Step]:
    """The steps of a script."""
    return Step


@dataclass(frozen=True)
class Seen:
    """One request as it came in."""

    head: bytes
    body: bytes
    at: float

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode()

    @property
    def headers(self) -> dict[str, str]:
        pairs = (line.split(": ", 1) for line in self.head.decode("latin-1").split("\r\n")[1:] if line)
        return {name.lower(): value for name, value in pairs}


Script = Sequence[bytes | float | Step | Callable[[Seen], bytes]]
"""Bytes to write, seconds to wait, bytes that depend on the request, or something else."""


@dataclass
class Scripted:
    """A server that follows its scripts: one for each request, the last one for all that follow."""

    scripts: Sequence[Script]
    greeting: bytes = b""
    """What is said before anything was asked."""
    secure: bool = False
    host: str = "localhost"
    patient: bool = True
    """Whether a request's body is read before anything is answered."""
    port: int = 0
    connections: int = 0
    received: int = 0
    """Bytes, of whatever kind."""
    requests: list[Seen] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.host}:{self.port}"

    async def follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(self.greeting)
        while (seen := await self._request(reader)) is not None:
            script = self.scripts[min(len(self.requests), len(self.scripts) - 1)]
            self.requests.append(seen)
            for step in script:
                if not await self._do(step, seen, writer):
                    return

    async def _request(self, reader: asyncio.StreamReader) -> Seen | None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = await reader.read(1)
            if not byte:
                return None
            self.received += 1
            head += byte
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        if not self.patient:
            return Seen(head, b"", time.monotonic())
        body = await reader.readexactly(length)
        self.received += length
        return Seen(head, body, time.monotonic())

    async def _do(self, step: Any, seen: Seen, writer: asyncio.StreamWriter) -> bool:
        if isinstance(step, float):
            await asyncio.sleep(step)
            return True
        if callable(step):
            step = step(seen)
        if isinstance(step, bytes):
            writer.write(step)
            await writer.drain()
            return True
        if step is Step.RESET:
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        while step is Step.DRIP:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)
        if step is Step.HANG:
            await asyncio.Event().wait()
        return False


Serve = Callable[..., Awaitable[Scripted]]


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start servers that follow these scripts; they are gone when the test is over."""
    tasks: set[asyncio.Task[None]] = set()

    async with AsyncExitStack() as stack:

        async def start(
            *scripts: Script,
            context: ssl.SSLContext | None = None,
            greeting: bytes = b"",
            host: str = "localhost",
            patient: bool = True,
        ) -> Scripted:
            scripted = Scripted(scripts, greeting, secure=context is not None, host=host, patient=patient)

            async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                task = asyncio.current_task()
                assert task is not None
                tasks.add(task)
                try:
                    await scripted.follow(reader, writer)
                except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                    pass
                finally:
                    writer.close()
                    tasks.discard(task)

            server = await asyncio.start_server(attend, "127.0.0.1" if host == "localhost" else host, 0, ssl=context)
            scripted.port = server.sockets[0].getsockname()[1]
            stack.push_async_callback(_stop, server, tasks)
            return scripted

        yield start


async def _stop(server: asyncio.Server, tasks: set[asyncio.Task[None]]) -> None:
    server.close()
    going = list(tasks)
    for task in going:
        task.cancel()
    await asyncio.gather(*going, return_exceptions=True)
