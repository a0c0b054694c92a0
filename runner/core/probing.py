"""When something is sent that there is no room for, only to learn how the gateway counts: a probe.

When the amount has been spent, a little more is sent, and the answers tell the kinds apart. Later on a bucket is asked
whether it holds more than all of the amount, a calendar where exactly its border lies, and a log whether it is none:
what was read as the oldest spending leaving it may have been a border that happened to lie there.
"""

from __future__ import annotations

import math

from runner.core.counting import GRAIN, Counting, Kind
from runner.core.mirrors import Bucket, Calendar, Take

WORTH = 1 / 30
"""Of a window: a shorter wait is not worth a probe."""
UNSURE = 0.03
"""Of the amount: with more than this still to be counted, the fill is not known well enough for a probe."""
OVERDRAWN = 0.003
"""Of the amount: what is sent above it while nothing is known, so that an answer cannot come from errors of guesses."""
OVERDRAFT = 0.01
"""Of the amount: what is sent above what a bucket could hold, to find out whether it is one."""
MOST_PROBES = 8
"""In flight at once, while nothing is known."""
ROUND_TRIP = 0.3
"""Seconds in which a refusal has surely come back."""
KNOCKS = 4
"""Refused probes that told nothing, after which no more are sent."""
FINE = 1 / 100
"""Of a window: borders that are known to this are not looked for any closer."""


class Probing:
    """The probes of one limit."""

    def __init__(self, counting: Counting) -> None:
        self._counting = counting
        self._belief = counting.belief
        self._window = counting.limit.window
        self._gives_back = counting.limit.gives_back
        self._in_flight = 0
        self.last_at = -math.inf
        """When one was last sent."""
        self.knocks = 0
        """Those that were refused and told nothing."""
        self._rival: tuple[float, float] | None = None
        """A border, and how many seconds before it may be, that would explain as well what was taken for a log."""

    def due(self, amount: int, until: float, now: float) -> float:
        """When to send an amount that there is no room for before `until`; infinity for never."""
        counting, window = self._counting, self._window
        mirror, believed = counting.mirror, self._belief.amount(now)
        rival = self.rival
        if counting.kind is Kind.UNKNOWN or (rival is not None and now > rival[0]):
            return self._knock_at(amount, until, now)
        if isinstance(mirror, Bucket) and not counting.sure:
            few = self._in_flight < 2 * MOST_PROBES and amount - mirror.level(now) <= max(OVERDRAFT * believed, amount)
            return now if few else math.inf
        if counting.kind is Kind.CALENDAR and isinstance(mirror, Calendar):
            # Half-way through what is uncertain of the border, once for each border.
            ends = mirror.start(now) + window
            wanted = mirror.early > window * FINE and mirror.used(now) > 0.9 * believed
            if wanted and counting.changed_at < ends - mirror.early and self.last_at < ends - mirror.early:
                return max(now, ends - mirror.early / 2)
        return math.inf

    def _knock_at(self, amount: int, until: float, now: float) -> float:
        """When to ask the first question: what happens when all of the amount has been spent?"""
        window, believed, used = self._window, self._belief.amount(now), self._counting.mirror.used(now)
        overdrawn = max(OVERDRAWN * believed, amount)
        if until - now <= WORTH * window or amount >= believed / 2 or used <= believed / 2:
            return math.inf
        if self.knocks:
            return max(now, self.last_at + 6 * GRAIN * window * 2.0**self.knocks)
        if self._gives_back:
            return max(now, self.last_at + max(GRAIN * window, ROUND_TRIP))
        fresh = now - self.last_at < GRAIN * window or self._counting.recent.pending <= UNSURE * believed
        few = self._in_flight < MOST_PROBES and used + amount - believed <= overdrawn
        return now if fresh and few else math.inf

    def send(self, take: Take, now: float) -> None:
        """A take goes out that has no room: a probe, unless all that is in its way is what is left of the amount."""
        if self._counting.kind is Kind.UNKNOWN and take.before + take.amount <= self._belief.amount(now):
            return
        take.probe = True
        self._in_flight += 1
        self.last_at = now

    def land(self) -> None:
        """One has its answer."""
        self._in_flight = max(0, self._in_flight - 1)

    def refuse(self, take: Take) -> None:
        """A refused take counts as a probe, too, if one was sent soon after: that one may have overtaken it."""
        take.probe = take.probe or take.sent <= self.last_at <= take.sent + GRAIN * self._window

    def ask(self, border: float, early: float) -> None:
        """Once that border has passed, it is to be asked whether it was one."""
        self._rival = border, early

    @property
    def rival(self) -> tuple[float, float] | None:
        """What is still to be asked: nothing, once it is sure that it is a log, or that it is none."""
        return self._rival if self._counting.kind is Kind.SLIDING and not self._counting.sure else None

    def answered(self, take: Take) -> bool:
        """Whether a refused one says that there was no border."""
        rival = self.rival
        return rival is not None and take.sent > rival[0]

    def told_nothing(self) -> None:
        """A refused one left open what it was to tell; after a few of them a log is settled for."""
        self.knocks += 1
        if self.knocks >= KNOCKS:
            self._counting.kind = Kind.SLIDING

    def hear(self, knocks: int, at: float) -> None:
        """Somebody else has asked, at a moment before now."""
        self.knocks, self.last_at = knocks, max(self.last_at, at)
