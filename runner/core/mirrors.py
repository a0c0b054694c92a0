"""How a gateway may count what is spent, mirrored from our own sending: four kinds of window.

A gateway says how much it lets through in a window, and not what a window is. It may be an exact log of the last
minute, a calendar minute, a sliding counter (this calendar minute and, of the one before, the share that is less than a
minute old), or a bucket that refills all the time. Each mirror answers when an amount fits, if nothing more is taken.
What is uncertain is counted in full: a request near a border of two calendar windows counts in both, near that of a
sliding counter in the one where it weighs more.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from typing import Protocol


class Take:
    """An amount held in one window, from its sending on."""

    __slots__ = (
        "amount",
        "at",
        "back",
        "before",
        "counted_from",
        "held",
        "index",
        "overdue",
        "presumed",
        "probe",
        "sent",
        "settled",
    )

    def __init__(self, sent: float, amount: int, before: float = 0.0) -> None:
        self.sent = sent
        self.counted_from = sent
        """The soonest moment at which it may have been counted."""
        self.at = sent
        """The latest moment at which the gateway may have counted it."""
        self.back = math.inf
        """When its answer was there: by then it had been counted."""
        self.amount = self.held = amount
        """A guess until it is settled; what was held until then."""
        self.before = before
        """What was in use when this was taken."""
        self.index = 0
        """Calendar windows: the one it counts in."""
        self.settled = False
        self.overdue = False
        self.presumed = False
        """Whether it was taken for let in before its answer was there."""
        self.probe = False
        """Whether it was sent though there was no room for it by the mirror, to find out how the gateway counts."""


class Mirror(Protocol):
    """One kind of window."""

    def take(self, take: Take, now: float) -> None:
        """Count an amount from now on."""

    def settle(self, take: Take, amount: int, now: float) -> None:
        """Count `amount` from now on instead of the take's guess; the take still holds the guess."""

    def used(self, now: float) -> float:
        """What is in use."""

    def when(self, amount: float, capacity: float, now: float) -> float:
        """The moment at which `amount` fits beside what is in use, of `capacity` in all; `now` if it fits already."""


class SlidingLog:
    """What was taken in the last `span` seconds; what is in flight for longer stays until it is settled."""

    __slots__ = ("_log", "_spent", "span")

    def __init__(self, span: float, takes: Iterable[Take] = ()) -> None:
        self.span = span
        self._log: deque[Take] = deque()
        self._spent = 0
        for take in takes:
            self.take(take, take.sent)

    def take(self, take: Take, now: float) -> None:
        """Count an amount from now on."""
        self._spent += take.amount
        self._log.append(take)

    def settle(self, take: Take, amount: int, now: float) -> None:
        """Replace a guess by the truth."""
        self._spent += (0 if take.overdue else amount) - take.amount

    def used(self, now: float) -> float:
        """What has not left the window."""
        log, span = self._log, self.span
        while log and log[0].at + span <= now:
            take = log.popleft()
            if take.settled:
                self._spent -= take.amount
            else:
                take.overdue = True
        return self._spent

    def when(self, amount: float, capacity: float, now: float) -> float:
        """The moment at which enough will have left the window."""
        missing = self.used(now) + amount - math.floor(capacity)
        if missing <= 0:
            return now
        leaves = now
        for take in self._log:
            leaves = max(leaves, take.at + self.span)  # one that was dated later holds back those behind it
            missing -= take.amount
            if missing <= 0:
                return leaves
        return now + self.span

    def __repr__(self) -> str:
        return f"<SlidingLog: {self._spent:,} in {len(self._log)} takes>"


class Calendar:
    """What was taken since the last border. Borders lie a window apart, each known to within `early` seconds."""

    __slots__ = ("_edge", "_index", "_used", "border", "carried", "early", "guard", "window")

    def __init__(self, window: float, border: float, early: float, guard: float, takes: Iterable[Take] = ()) -> None:
        self.window = window
        self.border = border
        """A moment at which the last of some window is surely over."""
        self.early = early
        """So many seconds before that it may be over already."""
        self.guard = guard
        self._index = -(2**60)
        self._used = 0
        self.carried = 0
        """Of what is in use: what may have been counted in the window before."""
        self._edge: deque[Take] = deque()
        for take in takes:
            self.take(take, take.sent)

    def start(self, now: float) -> float:
        """When the window that `now` is in began."""
        return self.border + math.floor((now - self.border) / self.window) * self.window

    def take(self, take: Take, now: float) -> None:
        """Count an amount in the window that `now` is in; it may be one that is over."""
        self._turn(now)
        if now < self.border + self._index * self.window - self.early - self.guard:
            self._take_late(take, now)
            return
        self._used += take.amount
        take.index = self._index
        edge = self._edge
        edge.append(take)
        while edge[0].sent < now - self.early - self.guard:
            edge.popleft()

    def _take_late(self, take: Take, now: float) -> None:
        """What was taken in a window that is over weighs nothing any more."""
        take.index = math.floor((now - self.border) / self.window)

    def settle(self, take: Take, amount: int, now: float) -> None:
        """Replace a guess by the truth, if its window is still the current one."""
        self._turn(now)
        if take.index == self._index:
            self._used += amount - take.amount
        elif take.index == self._index - 1 and take.at >= self.start(now):  # counted later than it was sent
            self._used += amount
            take.index = self._index

    def used(self, now: float) -> float:
        """What was taken since the last border."""
        self._turn(now)
        return self._used

    def when(self, amount: float, capacity: float, now: float) -> float:
        """The next border, unless it fits now."""
        if self.used(now) + amount <= capacity:
            return now
        return self.start(now) + self.window

    def _turn(self, now: float) -> None:
        index = math.floor((now - self.border) / self.window)
        if index <= self._index:
            return
        begins = self.border + index * self.window
        self._index, self._used = index, 0
        for take in self._edge:
            if take.sent >= begins - self.early - self.guard:
                self._used += take.amount
                take.index = index
        self.carried = self._used

    def __repr__(self) -> str:
        return f"<Calendar: {self._used:,} since the last border, known to {self.early:.2f} s>"


class Counter(Calendar):
    """What was taken since the last border, and of the window before it the share that is still in view."""

    __slots__ = ("_previous",)

    def __init__(self, window: float, border: float, early: float, guard: float, takes: Iterable[Take] = ()) -> None:
        self._previous = 0
        super().__init__(window, border, early, guard, takes)

    def _take_late(self, take: Take, now: float) -> None:
        """What was taken in the window before weighs in part."""
        super()._take_late(take, now)
        if take.index == self._index - 1:
            self._previous += take.amount

    def settle(self, take: Take, amount: int, now: float) -> None:
        """Replace a guess by the truth, in the window that it counts in."""
        self._turn(now)
        if take.index == self._index - 1:
            if take.at < self.start(now):
                self._previous += amount - take.amount
                return
            self._previous -= take.amount  # counted later than it was sent
        super().settle(take, amount, now)

    def used(self, now: float) -> float:
        """The estimate that the gateway compares with its limit."""
        self._turn(now)
        return self._used + self._previous * (1 - (now - self.start(now)) / self.window)

    def when(self, amount: float, capacity: float, now: float) -> float:
        """The moment at which the window before, or this one once it is the one before, weighs little enough."""
        if self.used(now) + amount <= capacity:
            return now
        begins = self.start(now)
        room = capacity - amount - self._used
        if room >= 0:
            return max(now, begins + self.window * (1 - room / self._previous))
        later = max(0.0, 1 - max(0.0, capacity - amount) / self._used)
        return max(now, begins + self.window * (1 + later))

    def _turn(self, now: float) -> None:
        before, index = self._used, self._index
        super()._turn(now)
        if self._index > index:
            # What may have been taken on either side of the border weighs most in the new window.
            self._previous = before - self._used if self._index == index + 1 else 0


class Bucket:
    """A bucket that holds `burst` and refills by `rate` a second."""

    __slots__ = ("_at", "_level", "_seen_at", "_under_way_until", "burst", "gives_back", "late", "rate", "reserve")

    def __init__(self, rate: float, burst: float, takes: Iterable[Take] = ()) -> None:
        self.rate = rate
        self.burst = burst
        self.reserve = 0.0
        """What is left in it for the errors of our guesses."""
        self.late = 0.0
        """By how many seconds requests may be counted later than they are sent: a full bucket refills only then."""
        self.gives_back = True
        """Whether answers give back what they did not use; otherwise what was counted first was the truth."""
        self._under_way_until = -math.inf
        self._level = burst
        self._at = self._seen_at = -math.inf
        for take in takes:
            self.take(take, take.sent)

    def empty(self, at: float, takes: Iterable[Take]) -> None:
        """It was seen to be empty at a moment; `takes` are those since then."""
        self._level, self._at, self._seen_at = 0.0, at, at
        for take in takes:
            if take.sent >= at:
                self.take(take, take.sent)

    def level(self, now: float) -> float:
        """What it holds now."""
        if now > self._at:
            if self._at > -math.inf:
                seconds = max(0.0, now - max(self._at, self._under_way_until))
                self._level = min(self.burst, self._level + seconds * self.rate)
            self._at = now
        return self._level

    def correct(self, difference: float, now: float) -> None:
        """It holds so much more, or less, than was thought."""
        self._level = min(self.burst, self.level(now) + difference)

    def take(self, take: Take, now: float) -> None:
        """Draw an amount."""
        if self.level(now) >= self.burst and not take.settled:
            self._under_way_until = now + self.late
        self._level -= take.amount

    def settle(self, take: Take, amount: int, now: float) -> None:
        """Pour back what was not needed, unless it was not in it any more when that was seen.

        What waited for a connection until after that was drawn from what has come back since.
        """
        self._under_way_until = min(self._under_way_until, now)
        if take.sent < self._seen_at < take.counted_from:
            self._level = self.level(now) - amount
            return
        if take.sent < self._seen_at and not (amount and self.gives_back):
            return
        self._level = min(self.burst, self.level(now) + take.amount - amount)

    def used(self, now: float) -> float:
        """What is missing to a full bucket."""
        return self.burst - self.level(now)

    def when(self, amount: float, capacity: float, now: float) -> float:
        """The moment at which it will hold enough; for more than it can ever hold, the moment at which it is full."""
        missing = min(amount + self.reserve, 0.99 * self.burst) - self.level(now)
        return now if missing <= 0 else now + missing / self.rate

    def __repr__(self) -> str:
        return f"<Bucket: {self._level:,.0f} of {self.burst:,.0f}, {self.rate:,.1f} a second>"
