"""What the Retry-After of a refusal speaks of: each kind of window has a moment of its own at which room comes back.

At once means a bucket, which refills all the time. When the oldest spending is a window old means a log. Some other
moment is a border of calendar windows.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from runner.core.belief import Belief
from runner.core.mirrors import Take

GRAIN = 1 / 60
"""Of a window: how fine a Retry-After is."""
MOST_LATE = 1 / 30
"""Of a window: the most by which requests are thought to be counted later than they seem to be."""
WHOLE_SECOND = 1.0
"""A Retry-After says nothing finer, however short the window is."""


class Says(enum.Enum):
    """What a Retry-After speaks of."""

    SOON = "a bucket refills"
    OLDEST = "the oldest spending leaves a log"
    BORDER = "a calendar window ends"
    NOTHING = "it is missing, or fits more than one"


def latest(window: float) -> float:
    """By how many seconds requests may be counted later than they seem to be."""
    return max(window * MOST_LATE, WHOLE_SECOND)


def read(refused: Take, retry_after: float | None, takes: Iterable[Take], belief: Belief) -> Says:
    """What the refusal of a take speaks of; `takes` are those of the limit, oldest first."""
    window = belief.window
    if retry_after is None or retry_after > window * (1 + 2 * GRAIN):
        return Says.NOTHING
    oldest = next((old for old in takes if old.amount and old.at > refused.sent - window), refused)
    leaves = oldest.at + window - refused.sent
    soon = refused.amount / max(1.0, belief.amount(refused.sent)) * window + 2 * GRAIN * window
    if retry_after <= soon:
        return Says.SOON if leaves > soon + 2 * GRAIN * window else Says.NOTHING
    # It may have been counted later than we think, by as much as a connection takes to be made.
    late = min(latest(window), max(0.0, oldest.back - oldest.at))
    if -2 * GRAIN * window <= retry_after - leaves <= late + 2 * GRAIN * window:
        return Says.OLDEST
    return Says.BORDER
