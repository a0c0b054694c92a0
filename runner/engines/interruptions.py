"""Signals, as wishes to stop a run: the first lets what is in flight land, the second does not.

Only a process's main thread gets them. Where a run is in another one, whoever waits for it there hands them on.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar

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


class Elsewhere:
    """Signals that another thread has got, for a run in this one; those that come before it is there wait for it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal may come while another one is sent
        self._waiting: list[signal.Signals] = []
        self._take: Callable[[signal.Signals], object] = self._waiting.append

    def send(self, received: signal.Signals) -> None:
        """From the other thread."""
        with self._lock:
            self._take(received)

    @contextlib.contextmanager
    def fed(self) -> Iterator[None]:
        """Send Ctrl-C while this thread waits for the run, if it is the one that gets it and does not ignore it."""
        before = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is not threading.main_thread() or before in (signal.SIG_IGN, None):
            yield
            return
        signal.signal(signal.SIGINT, lambda number, _frame: self.send(signal.Signals(number)))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    @contextlib.contextmanager
    def taken(self, take: Callable[[signal.Signals], object]) -> Iterator[None]:
        """Give them to the run, for as long as the context lasts; what comes later waits for the next one."""
        with self._lock:
            self._take = take
            while self._waiting:
                take(self._waiting.pop(0))
        try:
            yield
        finally:
            with self._lock:
                self._take = self._waiting.append


ELSEWHERE: ContextVar[Elsewhere | None] = ContextVar("ELSEWHERE", default=None)
"""Where the signals come from that are meant for a run of this thread; None in the main thread."""


@contextlib.contextmanager
def interruptible() -> Iterator[Interruptions]:
    """Catch the signals that ask a run to stop, for as long as the context lasts; those that are ignored stay so."""
    interruptions = Interruptions()
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as caught:
        if (elsewhere := ELSEWHERE.get()) is not None:
            caught.enter_context(elsewhere.taken(lambda number: loop.call_soon_threadsafe(interruptions, number)))
        for number in DRAIN_SECONDS:
            if signal.getsignal(number) is signal.SIG_IGN:  # as nohup has it, and a shell for jobs in its background
                continue
            with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):  # not in the main thread
                loop.add_signal_handler(number, interruptions, number)
                caught.callback(loop.remove_signal_handler, number)
        yield interruptions
