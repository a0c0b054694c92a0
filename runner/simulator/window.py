"""The four kinds of window that a gateway may count tokens by. Time is a number that is passed in.

This is the judge of the runner's own limiter and shares no code with it: that one is careful, this one is exact.
Every window answers the same four questions. `wait` says in how many seconds an amount fits if nothing else comes
(0 for now, None for never), `add` takes it without asking, `credit` gives a part back, `used` says what is in force.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

Kind = Literal["fixed", "sliding", "counter", "bucket"]


SOON = 1e-9
"""What does not fit now never fits in less than this, whatever the rounding."""


@dataclass(slots=True)
class Entry:
    """One amount that was taken, and when; `credit` lowers it."""

    at: float
    amount: float


class Window(Protocol):
    """An allowance that renews itself."""

    limit: float
    """Tokens (or requests) for each window, less what others spend."""
    seconds: float
    """Length of the window."""

    def wait(self, now: float, amount: float) -> float | None:
        """Seconds until `amount` would fit: 0 for now, None if it is more than can ever fit."""

    def add(self, now: float, amount: float) -> Entry:
        """Take `amount`, whether it fits or not."""

    def credit(self, now: float, entry: Entry, amount: float) -> None:
        """Give `amount` of an entry back, as if it had never been taken; below zero it takes more."""

    def used(self, now: float) -> float:
        """What is in force."""

    def resize(self, now: float, limit: float, others: float = 0.0) -> None:
        """Let another limit hold from now on, of which others spend so much in each window; what is in force stays."""


class _Sized:
    """What the kinds have in common: a limit and a length."""

    def __init__(self, limit: float, seconds: float) -> None:
        self.limit = limit
        self.seconds = seconds

    def resize(self, now: float, limit: float, others: float = 0.0) -> None:
        """Let another limit hold from now on. Who spends of it evenly leaves a smaller one."""
        self.limit = limit - others


class Fixed(_Sized):
    """A calendar window: all is forgotten at each border, and the borders lie at `phase` plus whole windows."""

    def __init__(self, limit: float, seconds: float, phase: float = 0.0) -> None:
        super().__init__(limit, seconds)
        self._phase = phase
        self._index = -math.inf
        self._used = 0.0

    def wait(self, now: float, amount: float) -> float | None:
        """Seconds until the next border, unless it fits now."""
        if amount > self.limit:
            return None
        if self.used(now) + amount <= self.limit:
            return 0.0
        return max(SOON, self._phase + (self._index + 1) * self.seconds - now)

    def add(self, now: float, amount: float) -> Entry:
        """Take `amount` from the window that `now` is in."""
        self._used = self.used(now) + amount
        return Entry(now, amount)

    def credit(self, now: float, entry: Entry, amount: float) -> None:
        """Give back, if the entry's window is still the current one."""
        used = self.used(now)
        if math.floor((entry.at - self._phase) / self.seconds) == self._index:
            self._used = used - amount
            entry.amount -= amount

    def used(self, now: float) -> float:
        """What was taken since the last border."""
        index = math.floor((now - self._phase) / self.seconds)
        if index != self._index:
            self._index, self._used = index, 0.0
        return self._used


class Sliding(_Sized):
    """An exact log: an entry counts from its moment until a whole window later."""

    def __init__(self, limit: float, seconds: float) -> None:
        super().__init__(limit, seconds)
        self._log: deque[Entry] = deque()
        self._used = 0.0

    def wait(self, now: float, amount: float) -> float | None:
        """Seconds until enough of the oldest entries have run out."""
        if amount > self.limit:
            return None
        missing = self.used(now) + amount - self.limit
        if missing <= 0:
            return 0.0
        for entry in self._log:
            missing -= entry.amount
            if missing <= 0:
                return entry.at + self.seconds - now
        return self.seconds

    def add(self, now: float, amount: float) -> Entry:
        """Write `amount` down."""
        entry = Entry(now, amount)
        self._log.append(entry)
        self._used += amount
        return entry

    def credit(self, now: float, entry: Entry, amount: float) -> None:
        """Give back, if the entry still counts."""
        self.used(now)
        if entry.at + self.seconds > now:
            entry.amount -= amount
            self._used -= amount

    def used(self, now: float) -> float:
        """The sum of the entries that have not run out."""
        while self._log and self._log[0].at + self.seconds <= now:
            self._used -= self._log.popleft().amount
        return self._used


class Counter(_Sized):
    """A sliding counter: the current calendar window, and of the previous one the share that is still in view."""

    def __init__(self, limit: float, seconds: float, phase: float = 0.0) -> None:
        super().__init__(limit, seconds)
        self._phase = phase
        self._index = -math.inf
        self._previous = 0.0
        self._current = 0.0

    def wait(self, now: float, amount: float) -> float | None:
        """Seconds until the previous window, or this one once it is the previous, weighs little enough."""
        if amount > self.limit:
            return None
        if self.used(now) + amount <= self.limit:
            return 0.0
        elapsed = now - self._phase - self._index * self.seconds
        room = self.limit - self._current - amount
        if room >= 0:
            return max(SOON, self.seconds * (1 - room / self._previous) - elapsed)
        room = self.limit - amount
        later = max(0.0, self.seconds * (1 - room / self._current))
        return max(SOON, self.seconds - elapsed + later)

    def add(self, now: float, amount: float) -> Entry:
        """Take `amount` from the current window."""
        self._turn(now)
        self._current += amount
        return Entry(now, amount)

    def credit(self, now: float, entry: Entry, amount: float) -> None:
        """Give back to the window that the entry was taken from, if it is one of the two in view."""
        self._turn(now)
        age = self._index - math.floor((entry.at - self._phase) / self.seconds)
        if age == 0:
            self._current -= amount
        elif age == 1:
            self._previous -= amount
        if age <= 1:
            entry.amount -= amount

    def used(self, now: float) -> float:
        """The estimate that the limit is compared with."""
        self._turn(now)
        elapsed = now - self._phase - self._index * self.seconds
        return self._previous * (1 - elapsed / self.seconds) + self._current

    def _turn(self, now: float) -> None:
        index = math.floor((now - self._phase) / self.seconds)
        if index != self._index:
            self._previous = self._current if index == self._index + 1 else 0.0
            self._index, self._current = index, 0.0


class Bucket(_Sized):
    """A token bucket: it starts full, holds `burst` limits at most, and refills by one limit in each window."""

    def __init__(self, limit: float, seconds: float, burst: float = 1.0) -> None:
        super().__init__(limit, seconds)
        self._holds = self._level = limit * burst
        self._burst = burst
        self._at = -math.inf

    def wait(self, now: float, amount: float) -> float | None:
        """Seconds until the refill has made up what is missing."""
        if amount > self._holds:
            return None
        return max(0.0, amount - self._fill(now)) * self.seconds / self.limit

    def add(self, now: float, amount: float) -> Entry:
        """Draw `amount`; the level may go below zero."""
        self._level = self._fill(now) - amount
        return Entry(now, amount)

    def credit(self, now: float, entry: Entry, amount: float) -> None:
        """Pour back, up to the brim."""
        self._level = min(self._holds, self._fill(now) + amount)
        entry.amount -= amount

    def used(self, now: float) -> float:
        """What is missing to a full bucket."""
        return self._holds - self._fill(now)

    def resize(self, now: float, limit: float, others: float = 0.0) -> None:
        """Refill at another rate, into a bucket of another size from which the same is missing.

        Others draw evenly what is poured in: it refills more slowly for us, and holds as much.
        """
        missing = self.used(now)
        self.limit = limit - others
        self._holds = limit * self._burst
        self._level = self._holds - missing

    def _fill(self, now: float) -> float:
        """The level, after the refill up to now. The first look starts the clock, with a full bucket."""
        if now > self._at > -math.inf:
            poured = (now - self._at) * self.limit / self.seconds
            self._level = min(self._holds, self._level + poured)
        self._at = max(now, self._at)
        return self._level


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Everything about a window but its limit."""

    kind: Kind = "sliding"
    seconds: float = 60.0
    phase: float = 0.0
    """Where the borders of calendar windows lie, in seconds on the clock that is passed in."""
    burst: float = 1.0
    """What a full bucket holds, in limits."""

    def window(self, limit: float) -> Window:
        """A fresh window of this shape."""
        return WINDOWS[self.kind](self, limit)


WINDOWS: Mapping[Kind, Callable[[Shape, float], Window]] = {
    "fixed": lambda shape, limit: Fixed(limit, shape.seconds, shape.phase),
    "sliding": lambda shape, limit: Sliding(limit, shape.seconds),
    "counter": lambda shape, limit: Counter(limit, shape.seconds, shape.phase),
    "bucket": lambda shape, limit: Bucket(limit, shape.seconds, shape.burst),
}
"""How each kind is made."""
