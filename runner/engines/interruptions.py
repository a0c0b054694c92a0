"""Signals, as wishes to stop a run: the first lets what is in flight land, the second does not."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator

from runner.engines.local import Engine

DRAIN_SECONDS = 60.0
"""How long an interrupted run waits for what is in flight."""


class Interruptions:
    """What has been received, and the engine that it is meant for."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self.signal: signal.Signals | None = None
        self.happened = asyncio.Event()

    def __call__(self, received: signal.Signals) -> None:
        """Take in a signal."""
        again = self.signal is not None
        self.signal = received
        self.happened.set()
        if self.engine is None:
            return
        if again:
            self.engine.abandon()
        else:
            self.engine.stop(f"{received.name}")
            asyncio.get_running_loop().call_later(DRAIN_SECONDS, self.engine.abandon)


@contextlib.contextmanager
def interruptible() -> Iterator[Interruptions]:
    """Catch the signals that ask a run to stop, for as long as the context lasts."""
    interruptions = Interruptions()
    loop = asyncio.get_running_loop()
    caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    installed = []
    for number in caught:
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):  # not in the main thread
            loop.add_signal_handler(number, interruptions, number)
            installed.append(number)
    try:
        yield interruptions
    finally:
        for number in installed:
            loop.remove_signal_handler(number)
