"""What to do about a run that somebody else works in: leave it, wait for it, or say so."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from runner.core.errors import RunBusy

IfLocked = Literal["skip", "wait", "fail"]
LOOK_SECONDS = 1.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Policy:
    """What to do, and for how many seconds to wait at most."""

    if_locked: IfLocked = "fail"
    wait: float = 3600.0


def by_policy(
    call: Callable[[], T],
    policy: Policy,
    say: Callable[[str], None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T | None:
    """Call what raises RunBusy before it does anything; None if it was left because of that.

    Raises RunBusy if it is to fail, or was waited for in vain.
    """
    ends = clock() + policy.wait
    told = False
    while True:
        try:
            return call()
        except RunBusy as busy:
            if policy.if_locked == "skip":
                say(f"{busy} It is left alone (--if-locked skip).")
                return None
            if policy.if_locked == "fail":
                raise
            left = ends - clock()
            if left <= 0:
                raise RunBusy(f"{busy} It was waited for, for {policy.wait:g} seconds.") from None
            if not told:
                say(f"{busy} Waiting for it, for {policy.wait:g} seconds at most.")
                told = True
            sleep(min(LOOK_SECONDS, left))
