"""The simulated gateway on a loopback port: reads requests, lets `gateway` decide, waits, and sends.

It also answers `GET /simulator/meter` (what was really taken; with `?every=SECONDS` also when) and `POST
/simulator/reset` (as if just started), which no gateway has.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
from aiohttp import web

from runner.core.catalog import Catalogue
from runner.simulator import errors
from runner.simulator.config import Simulator
from runner.simulator.errors import Answer
from runner.simulator.faults import How
from runner.simulator.gateway import Exchange, Gateway, Incoming

LOOPBACK = ("127.0.0.1", "::1", "localhost")
METER = "/simulator/meter"
RESET = "/simulator/reset"
PATIENCE = 1.0
"""Seconds that requests in progress get when the simulator stops."""


class RunningSimulator:
    """A simulator that answers, until it is stopped."""

    def __init__(self, config: Simulator, catalogue: Catalogue) -> None:
        self._config = config
        self._catalogue = catalogue
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._runner: web.ServerRunner | None = None
        self.url = ""
        self._first: float | None = None
        """When it was first asked anything, on the loop's clock."""
        self.reset()

    def __repr__(self) -> str:
        return f"<RunningSimulator {self.url or 'stopped'}>"

    async def __aenter__(self) -> RunningSimulator:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def reset(self) -> None:
        """Forget everything, and begin to count time anew; calendar windows stay where they are."""
        self._zero: float | None = None
        self._gateway = Gateway(self._config, self._catalogue)

    def _begin(self) -> float:
        """Begin to count time, at the first request: a client that takes long to start meets the same gateway."""
        now = self._loop.time()
        self._first = now if self._first is None else self._first
        config = self._config
        if config.phase is not None:
            config = replace(config, phase=config.phase - (now - self._first))
        self._gateway = Gateway(config, self._catalogue)
        self._zero = now
        return now

    def meter(self, every: float | None = None) -> dict[str, Any]:
        """What was really taken; see `Gateway.meter`."""
        return self._gateway.meter(every)

    async def open(self, host: str, port: int) -> None:
        """Listen."""
        server = web.Server(self._handle, request_factory=self._request, access_log=None, logger=_quiet())
        self._runner = web.ServerRunner(server, shutdown_timeout=PATIENCE)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, backlog=1024).start()
        bound = self._runner.addresses[0]
        self.url = f"http://[{bound[0]}]:{bound[1]}" if ":" in bound[0] else f"http://{bound[0]}:{bound[1]}"

    async def stop(self) -> None:
        """Stop listening, and let go of whoever is waiting."""
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self.url = ""

    def _request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        largest = self._config.max_body_bytes
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop, client_max_size=largest)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path == METER:
            return _response(self._metered(request.query.get("every")))
        if path == RESET and request.method == "POST":
            self.reset()
            return _response(Answer(status=200, body=b"{}"))
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _response(errors.too_large(self._config.generation, self._config.max_body_bytes))
        zero = self._begin() if self._zero is None else self._zero
        # A reset in the meantime must not change where this request is settled.
        gateway = self._gateway
        incoming = Incoming(method=request.method, path=path, headers=request.headers, body=body)
        exchange = gateway.receive(self._loop.time() - zero, incoming)
        if exchange.delay > 0:
            await asyncio.sleep(exchange.delay)
        if exchange.how is How.HANG:
            await self._stopping.wait()
        gateway.finish(self._loop.time() - zero, exchange)
        return await self._send(request, exchange)

    def _metered(self, every: str | None) -> Answer:
        try:
            seconds = None if every is None else float(every)
        except ValueError:
            seconds = math.nan
        if seconds is not None and not 0.001 <= seconds < math.inf:
            return errors.own(400, "every is a number of seconds, 0.001 or more")
        return Answer(status=200, body=orjson.dumps(self.meter(seconds)))

    async def _send(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        if exchange.how is How.SEND:
            return _response(exchange.answer)
        response = web.StreamResponse()
        if request.transport is None:
            return response
        if exchange.how is How.TRUNCATE:
            body = exchange.answer.body
            response = web.StreamResponse(headers={"Content-Type": exchange.answer.content_type})
            response.content_length = len(body)
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
            request.transport.close()
        else:
            request.transport.abort()
        return response


def _response(answer: Answer) -> web.Response:
    headers = {"Content-Type": answer.content_type, **answer.headers}
    return web.Response(status=answer.status, body=answer.body, headers=headers)


def _quiet() -> logging.Logger:
    """A logger for the server's own noise: clients that go away are what a simulator is for."""
    logger = logging.getLogger("runner.simulator")
    logger.addHandler(logging.NullHandler())
    return logger


async def start(config: Simulator, catalogue: Catalogue, host: str = "127.0.0.1", port: int = 0) -> RunningSimulator:
    """Start a simulator in this event loop; port 0 takes any that is free. Raises ValueError for a foreign host."""
    if host not in LOOPBACK:
        raise ValueError(f"The simulator listens on this machine only ({', '.join(LOOPBACK)}), not on {host!r}.")
    running = RunningSimulator(config, catalogue)
    await running.open(host, port)
    return running


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()  # Whoever waits for the URL may read a pipe.


async def serve(
    config: Simulator,
    catalogue: Catalogue,
    host: str = "127.0.0.1",
    port: int = 0,
    say: Callable[[str], object] = _print,
) -> None:
    """Run a simulator until SIGINT or SIGTERM; says its URL as soon as it answers."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        running = await stack.enter_async_context(await start(config, catalogue, host, port))
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):  # Windows: there Ctrl-C ends the loop itself.
                loop.add_signal_handler(number, stopped.set)
                stack.callback(loop.remove_signal_handler, number)
        say(running.url)
        await stopped.wait()
