"""Signals for a run in a thread that gets none itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runner.engines.interruptions import ELSEWHERE, Elsewhere, interruptible


async def test_a_signal_that_came_before_the_run_stops_it() -> None:
    """Ctrl-C while the input is opened is a wish like any later one."""
    elsewhere = Elsewhere()
    ELSEWHERE.set(elsewhere)
    elsewhere.send(signal.SIGINT)
    with interruptible() as interruptions:
        await interruptions.happened.wait()
        assert interruptions.signal is signal.SIGINT


def test_a_signal_that_has_stopped_a_run_stops_no_other() -> None:
    """A judge's run follows in the same thread."""
    elsewhere = Elsewhere()
    elsewhere.send(signal.SIGINT)
    first, second = list[signal.Signals](), list[signal.Signals]()
    with elsewhere.taken(first.append):
        pass
    with elsewhere.taken(second.append):
        pass
    assert (first, second) == ([signal.SIGINT], [])


async def test_a_signal_that_comes_after_the_run_does_not_reach_it() -> None:
    """Its loop may be closed by then."""
    elsewhere = Elsewhere()
    ELSEWHERE.set(elsewhere)
    with interruptible() as interruptions:
        pass
    elsewhere.send(signal.SIGINT)
    await asyncio.sleep(0)
    assert interruptions.signal is None


@pytest.fixture
def sigint() -> Iterator[Callable[[Any], None]]:
    """What this process does about SIGINT, whatever it was started with: a shell's background ignores it."""
    before = signal.getsignal(signal.SIGINT)
    yield lambda handler: signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGINT, before)


def test_an_interruption_is_the_runs_only_while_it_is_waited_for(sigint: Callable[[Any], None]) -> None:
    """Afterwards the thread deals with it as before."""
    sigint(signal.default_int_handler)
    elsewhere, taken = Elsewhere(), list[signal.Signals]()
    with elsewhere.fed(), elsewhere.taken(taken.append):
        signal.raise_signal(signal.SIGINT)
    assert taken == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interruption_that_is_ignored_stays_so_while_a_run_is_waited_for(sigint: Callable[[Any], None]) -> None:
    """As nohup has it, and a shell for what runs in its background."""
    sigint(signal.SIG_IGN)
    elsewhere, taken = Elsewhere(), list[signal.Signals]()
    with elsewhere.fed(), elsewhere.taken(taken.append):
        signal.raise_signal(signal.SIGINT)
    assert taken == []
