"""What all tests share: a state of their own, and a server of raw sockets that does what a script says.

No test touches what the user's own runs have learned: each has a place of its own, which it makes if it needs it.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def _state_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """For what starts before any test."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNNER_STATE_DIR", str(folder))
        yield folder


@pytest.fixture(autouse=True)
def state_folder(_state_of_the_session: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's runs keep what they learn, in this process and in those that it starts."""
    folder = _state_of_the_session / str(next(_numbers))
    monkeypatch.setenv("RUNNER_STATE_DIR", str(folder))
    return folder


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
