"""How a gateway counts one limit, as far as that is known, and the mirror that stands for it.

Nothing is known at first, and a sliding log is assumed, which holds under calendar windows and under a bucket that
starts full as well. What is read from refusals and acceptances (`core.refusals`, `core.acceptances`) makes it another
kind here: then another mirror is filled with what was taken lately.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable

from runner.core.belief import LEAST, Belief
from runner.core.limits import Limit
from runner.core.mirrors import Bucket, Calendar, Counter, Mirror, SlidingLog, Take
from runner.core.recent import Recent

GRAIN = 1 / 60
"""Of a window: how fine a Retry-After is."""
MOST_LATE = 1 / 30
"""Of a window: the most by which requests are thought to be counted later than they seem to be."""
ON_ITS_WAY = 0.5
"""Seconds by which the first request to a full bucket is thought to be there."""
WHOLE_SECOND = 1.0
"""A Retry-After says nothing finer, however short the window is."""
RESERVE = 0.01
"""Of the amount: what is left in a bucket for errors of guesses; at most a quarter of what it holds."""


def latest(window: float) -> float:
    """By how many seconds requests may be counted later than they seem to be."""
    return max(window * MOST_LATE, WHOLE_SECOND)


class Kind(enum.StrEnum):
    """How a gateway counts, as far as that is known."""

    UNKNOWN = "unknown"
    """Mirrored as a sliding log, until a probe has told."""
    SLIDING = "sliding"
    CALENDAR = "calendar"
    COUNTER = "counter"
    BUCKET = "bucket"


class Counting:
    """The kind that one limit is believed to be."""

    def __init__(self, limit: Limit, belief: Belief, recent: Recent, guard: float) -> None:
        """`guard` is the seconds that spending is kept beyond its window."""
        self.limit = limit
        self.belief = belief
        self.recent = recent
        self.kind = Kind.UNKNOWN
        self.sure = False
        """Whether it has been confirmed."""
        self.mirror: Mirror = SlidingLog(limit.window + guard)
        self.changed_at = -math.inf
        """When it was last learned that something is otherwise than believed."""
        self.cuts = False
        """Whether that was the amount."""
        self.found_at = -math.inf
        """When the kind was found out."""
        self.gave_up: Kind | None = None
        """What it was sure to be before."""
        self._own = False
        """Whether it was found out of this limit itself, and not supposed."""
        self.guard = guard
        """Seconds by which clocks and ways differ."""

    @property
    def longest(self) -> float:
        """The most seconds that a sliding log keeps what was taken: it may be counted late."""
        return self.limit.window + latest(self.limit.window) + self.guard

    # Mirrors of it.

    def log(self, takes: Iterable[Take] = (), *, span: float = 0.0) -> SlidingLog:
        """A sliding log that holds these takes for `span` seconds, or a window where that is longer."""
        return SlidingLog(max(span, self.limit.window + self.guard), takes)

    def calendar(self, border: float, early: float, takes: Iterable[Take] = ()) -> Calendar:
        """Calendar windows that hold these takes."""
        return Calendar(self.limit.window, border, early, self.guard, takes)

    def counter(self, border: float, early: float, takes: Iterable[Take] = ()) -> Counter:
        """A sliding counter that holds these takes."""
        return Counter(self.limit.window, border, early, self.guard, takes)

    def bucket(self, amount: float, burst: float, takes: Iterable[Take] = ()) -> Bucket:
        """A bucket that refills by `amount` in a window, with these takes drawn from it, and a reserve left in it."""
        bucket = Bucket(amount / self.limit.window, burst, takes)
        bucket.reserve = min(RESERVE * self.limit.amount, burst / 4)
        bucket.late = min(ON_ITS_WAY, MOST_LATE * self.limit.window)
        bucket.gives_back = self.limit.gives_back
        return bucket

    # What it becomes.

    def begin(self, kind: Kind, mirror: Mirror, now: float, *, sure: bool) -> None:
        """Start with what an earlier run found out; it has not held in this one yet."""
        self.kind, self.mirror, self.sure, self.found_at = kind, mirror, sure, now

    def become(self, kind: Kind, mirror: Mirror, now: float, *, sure: bool = False) -> None:
        """It was found to be of that kind, or of the same with another mirror."""
        if kind is not self.kind:
            self.found_at = now
            self.gave_up = self.kind if self.sure else None
        self.kind, self.mirror, self.sure, self._own = kind, mirror, sure, True
        self.changed_at, self.cuts = now, False

    def become_sliding(self, now: float, *, sure: bool = False, late: float = 0.0) -> None:
        """A sliding log, also because that is safe under most kinds; it counts up to `late` seconds late."""
        mirror = self.log(self.recent.current(now, late), span=self.limit.window + self.guard + late)
        self.become(Kind.SLIDING, mirror, now, sure=sure)

    def become_calendar(self, border: float, early: float, now: float, *, sure: bool = False) -> None:
        """Calendar windows, one of which began at `border` or up to `early` seconds before."""
        self.become(Kind.CALENDAR, self.calendar(border, early, self.recent), now, sure=sure)

    def become_counter(self, border: float, early: float, now: float) -> None:
        """A sliding counter of the same borders."""
        self.become(Kind.COUNTER, self.counter(border, early, self.recent), now, sure=True)

    def become_full_bucket(self, now: float) -> None:
        """A bucket that can hold all of the amount; not sure yet."""
        believed = self.belief.amount(now)
        bucket = Bucket(believed / self.limit.window, believed, self.recent)
        bucket.gives_back = self.limit.gives_back
        self.become(Kind.BUCKET, bucket, now)

    def become_empty_bucket(self, empty_at: float, burst: float, now: float) -> None:
        """A bucket that holds so much, and was empty at a moment."""
        bucket = self.bucket(self.belief.amount(now), max(LEAST * self.limit.amount, burst))
        bucket.empty(empty_at, self.recent)
        self.become(Kind.BUCKET, bucket, now, sure=True)

    def shrink(self, share: float) -> None:
        """If it is a bucket, it holds that share of the amount at most."""
        if isinstance(self.mirror, Bucket):
            self.mirror.burst = min(self.mirror.burst, max(LEAST, share) * self.limit.amount)

    def count(self, at: float, amount: int, now: float) -> Take:
        """Count what was spent at a moment not long before now, in one piece that will not change."""
        take = Take(at, amount, self.mirror.used(now))
        take.settled = True
        self.mirror.take(take, at)
        self.recent.add(take, now)
        return take

    def cut(self, to: float, now: float) -> None:
        """Less is there than was believed."""
        self.belief.cut(to, now)
        self.cuts = True

    def suppose(self, other: Counting, now: float) -> None:
        """Take over what was found out of a limit that the same gateway keeps, while it is not known of this one."""
        is_newer = other.found_at >= self.found_at
        is_doubtful = not self._own or other.gave_up is self.kind
        open_to = is_doubtful and other._own and is_newer and self._differs(other.mirror)
        unsure = self.kind is not Kind.COUNTER and not self.sure
        # A counter is never confirmed: what was found to be otherwise since, of this limit, is not given up for it.
        unsure = unsure and (is_newer or not self._own or other.kind is not Kind.COUNTER)
        if other is self or not (unsure or open_to):
            return
        self._suppose(other, now)
        self._own = False

    def _differs(self, other: Mirror) -> bool:
        mirror = self.mirror
        if type(other) is not type(mirror) or not (isinstance(mirror, Calendar) and isinstance(other, Calendar)):
            return type(other) is not type(mirror)
        return abs(math.remainder(other.border - mirror.border, self.limit.window)) > max(mirror.early, other.early)

    def _suppose(self, other: Counting, now: float) -> None:
        mirror = other.mirror
        if isinstance(mirror, Bucket) and other.sure:
            burst = mirror.burst / other.limit.amount * self.limit.amount
            bucket = self.bucket(self.belief.amount(now), burst, self.recent)
            if bucket.level(now) < 0:
                bucket.empty(now, ())  # what is on its way is refused, for the most part
            self.become(Kind.BUCKET, bucket, now, sure=True)
        elif isinstance(mirror, Counter):
            self.become_counter(mirror.border, mirror.early, now)
        elif isinstance(mirror, Calendar) and self.kind is Kind.CALENDAR:
            self.sure = other.sure
        elif isinstance(mirror, Calendar):
            self.become_calendar(mirror.border, mirror.early, now, sure=other.sure)
        elif other.kind is Kind.SLIDING and self.kind is not Kind.CALENDAR:
            if not isinstance(self.mirror, SlidingLog):
                self.become_sliding(now)
            if self.kind is not Kind.SLIDING:
                self.found_at = now
            self.kind, self.sure = Kind.SLIDING, other.sure
