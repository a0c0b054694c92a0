"""How much of a limit there really is, learned from what is refused.

The configured amount is believed until a request is refused that there was room for: then what was in use at that
moment is believed to be all there is. The limit is lower than configured, or somebody else uses it.

What was lost is won back: after a pause of a window the amount grows, slowly at first, so that an attempt in vain costs
few refusals, and to all of it in about half a window if nothing is refused. A refusal on the way ends the growth until
another pause is over; what was not let in before is spent slowly (`core.pacing`). It grows above the configured amount
only where that is asked for, more evenly, and then without end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

LEAST = 0.02
"""Of the limit: what is always believed to be there."""
MOST_CUT = 0.25
"""Of what was believed: one episode of refusals cuts to this at most. It may be somebody else's passing burst."""
WINNING_BACK = 0.4, 64.0
"""Of the limit in a window: how fast growth begins, and how many times as fast it is a window later."""
LOOKING_ABOVE = 0.6, 2.0
"""The same above the configured amount, which was never there before."""
PAUSE = 1.0
"""Windows after a cut before the amount grows again."""
BRIM = 0.995
"""Of what was believed: a refusal with more than this in use is a matter of clocks and guesses, and costs the rest."""


class Belief:
    """What is believed of one limit's amount."""

    __slots__ = ("_base", "_before", "_grows_from", "_most", "configured", "proven", "window")

    def __init__(self, configured: int, window: float, *, above: bool = False) -> None:
        self.configured = configured
        self.window = window
        self.proven = math.inf
        """What was in use when a request was last let in, since the amount was last cut."""
        self._base = self._before = float(configured)
        self._most = math.inf if above else float(configured)
        self._grows_from = math.inf

    @property
    def is_shaken(self) -> bool:
        """Whether the amount differs from the configured one, or may begin to."""
        return self._grows_from < math.inf or self._base != self.configured

    def amount(self, now: float) -> float:
        """What may be in use at this moment."""
        if now <= self._grows_from:
            return self._base
        windows = (now - self._grows_from) / self.window
        back = _growing(WINNING_BACK, max(0.0, 1 - self._base / self.configured))
        if windows < back:
            return self._base + self.configured * _grown(WINNING_BACK, windows)
        grown = max(self._base, self.configured) + self.configured * _grown(LOOKING_ABOVE, windows - back)
        if grown < self._most:
            return grown
        self._base, self._grows_from, self.proven = self._most, math.inf, math.inf
        return self._base

    def grow_from(self, moment: float) -> None:
        """Let the amount grow from a moment on, where it may grow above the configured one."""
        if self._most > self.configured:
            self._grows_from, self.proven = moment, float(self.configured)

    def cut(self, to: float, now: float, pause: float = PAUSE) -> None:
        """Less is there than was believed: a new episode, and a pause of so many windows before the amount grows."""
        believed = self.amount(now)
        if BRIM * believed <= to and self.is_shaken and now <= self._grows_from:
            self._set(BRIM * believed)  # a correction of the last cut, not another one
            return
        if now > self._grows_from or self._grows_from == math.inf:
            self._before = believed
        self._grows_from = now + pause * self.window
        self._set(min(to, believed))

    def doubt(self, share: float) -> None:
        """Of a limit like this one only that share is there: what is above it is to be proven here, too."""
        self.proven = min(self.proven, share * self.configured)

    def deepen(self, to: float) -> None:
        """Another refusal of the same episode tells that there is even less."""
        self._set(min(to, self._base))

    def _set(self, to: float) -> None:
        self._base = max(LEAST * self.configured, MOST_CUT * self._before, to)
        self.proven = self._base

    def recall(self, amount: float, now: float) -> None:
        """Begin with what an earlier run learned; growth begins after a pause of a window."""
        if amount < self._most and amount != self.configured:
            self._base = self._before = self.proven = max(LEAST * self.configured, amount)
            self._grows_from = now + PAUSE * self.window

    def tell(self) -> dict[str, float | str]:
        """The state, for others who spend of the same limit; infinity is left out."""
        grows = {"grows_from": self._grows_from} if self._grows_from < math.inf else {}
        return {"base": self._base, "before": self._before, **grows}

    def hear(self, told: Mapping[str, float | str]) -> None:
        """Believe what another one does; never more than may be. Raises KeyError or ValueError."""
        base, before = (min(self._most, float(told[name])) for name in ("base", "before"))
        self._base = self.proven = max(LEAST * self.configured, base)
        self._before = max(self._base, before)
        self._grows_from = float(told.get("grows_from", math.inf))

    def __repr__(self) -> str:
        return f"<Belief {self._base:,.0f} of {self.configured:,}>"


def _grown(pace: tuple[float, float], windows: float) -> float:
    """Of a limit: how much it grows in so many windows."""
    first, faster = pace
    grown: float = first * (faster ** min(windows, 30.0) - 1) / math.log(faster)
    return grown


def _growing(pace: tuple[float, float], share: float) -> float:
    """In windows: how long it takes to grow by that share of a limit."""
    first, faster = pace
    return math.log1p(share * math.log(faster) / first) / math.log(faster)
