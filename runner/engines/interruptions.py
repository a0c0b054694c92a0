"""Signals, as wishes to stop a run: the first lets what is in flight land, the second does not."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator, Mapping

from runner.engines.local import Engine

DRAIN_SECONDS: Mapping[signal.Signals, float] = {signal.SIGINT: 60.0, signal.SIGTERM: 20.0, signal.SIGHUP: 20.0}
"""The signals that ask a run to stop, and how long it then waits for what is in flight.

Whoever sends SIGTERM will send SIGKILL: systemd after 90 seconds, Kubernetes after 30.
"""


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
            asyncio.get_running_loop().call_later(DRAIN_SECONDS[received], self.engine.abandon)


@contextlib.contextmanager
def interruptible() -> Iterator[Interruptions]:
    """Catch the signals that ask a run to stop, for as long as the context lasts; those that are ignored stay so."""
    interruptions = Interruptions()
    loop = asyncio.get_running_loop()
    installed = []
    for number in DRAIN_SECONDS:
        if signal.getsignal(number) is signal.SIG_IGN:  # as nohup has it, and a shell for jobs in its background
            continue
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):  # not in the main thread
            loop.add_signal_handler(number, interruptions, number)
            installed.append(number)
    try:
        yield interruptions
    finally:
        for number in installed:
            loop.remove_signal_handler(number)
