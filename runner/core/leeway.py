"""What a run leaves of a limit, so that one that comes later need not wait for a whole window.

Under calendar windows and sliding logs a limit is spent in a burst, and nothing is left until the window has passed. So
the last part of it is spent evenly, and not in the burst: at any moment there is a little room, or will be soon, and it
goes to whoever has used least. Nothing is lost by it: where nobody comes, it is spent by the end of the window.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping

PARTS: Mapping[str, float] = {"batch": 1 / 20, "normal": 0.0, "urgent": 0.0}
"""Of a limit: what is spent evenly. Whoever has used less than so much of it is not held back at all."""
EVENLY = 0.9
"""Of a window: in so much of it that part can be spent; the rest is for whole requests, and for clocks."""
MOST = 1 / 24
"""Of a window: for so long what could have been spent is kept, if it was not."""


class Leeway:
    """What there is at a moment, by what was spent of a limit until then."""

    def __init__(self, amount: float, part: float, window: float, since: Callable[[float], float]) -> None:
        """`amount` is the limit's, `part` what is spent evenly of it; `since` says from when on spending counts."""
        self._in_bursts = (1 - part) * amount
        self._rate = part * amount / (EVENLY * window)
        self._most = self._rate * MOST * window
        self._debt = part * amount
        self._since = since
        self._at = -math.inf
        self._even = 0.0
        """What may be spent evenly; less than nothing where a request, or a newcomer, took more."""
        self._bursts: deque[tuple[float, float]] = deque()
        self._burst = 0.0

    def spend(self, log: Iterable[tuple[float, int]]) -> None:
        """Count what all have spent, moments and amounts in the order of time."""
        for at, amount in log:
            self._pass(at, at)
            even = min(amount, max(0.0, self._even))
            in_burst = min(amount - even, max(0.0, self._in_bursts - self._burst))
            self._even = max(-self._debt, self._even - (amount - in_burst))
            self._burst += in_burst
            self._bursts.append((at, in_burst))

    def room(self, now: float, ahead: float, least: float) -> float:
        """What may be spent within the `ahead` seconds from now on by who has had its part; a request takes `least`."""
        self._pass(now, now + ahead)
        room = max(0.0, self._in_bursts - self._burst) + self._even
        # A request cannot be cut: it may go when half of it is there.
        return max(room, least) if room >= min(least / 2, self._most) else max(0.0, room)

    def _pass(self, now: float, until: float) -> None:
        if self._at > -math.inf:
            self._even = min(self._most, self._even + (now - self._at) * self._rate)
        self._at = now
        begins, bursts = self._since(until), self._bursts
        while bursts and bursts[0][0] < begins:
            self._burst -= bursts.popleft()[1]
