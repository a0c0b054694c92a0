"""How many requests may be under way at once.

A token budget does not need this; a queue does. When requests go out faster than they are taken in, by our own
processor, the network or the gateway's front, they wait in a queue that makes nothing faster, and that blurs when the
gateway counts them; a refusal then comes back when hundreds more are on their way. So the number begins small and
doubles with each round of answers that shows no queue (the slow start of TCP, RFC 5681); after the first queue it
grows little by little, and shrinks with each round that shows one (as in TCP Vegas, Brakmo and Peterson 1995).

Slow models are no queue. `lag` tells the two apart by the shortest answers, which scatter by seconds where answers take
half a minute: so much waiting is no queue there. Where a model has become slower since, the test is what comes of
shrinking: with a queue as many answers come as before, without one fewer do, and then the number is put back and so
much waiting is no sign of a queue any more. Where no answers come at all, nothing is known, and the number grows with
time.
"""

from __future__ import annotations

import math

START = 100
LEAST = 16
TOLERANCE = 0.5
"""Of the model's own time: waiting up to this is no queue, ..."""
SLOW = 1 / 15
"""... nor is waiting up to all of it where a model needs so much of a window; with quicker ones it is in between."""
QUEUED = 0.1
"""Of an answer's time: more than this spent waiting is a queue."""
LATEST = 1 / 16
"""The weight of an answer beside those before it: the last of a round show the queue that the round has made."""
GROWTH = 1.1
"""In a round without a queue, after the first one that had one."""
UNANSWERED = 100.0
"""A second: the growth while everything is under way that may be, and nothing comes back."""
STEP = 0.1
"""Seconds of that growth at a time."""
LONGEST_ROUND = 1000


class Congestion:
    """The number of requests that may be under way, corrected once for each round of answers."""

    __slots__ = (
        "_before",
        "_count",
        "_excused",
        "_full_since",
        "_most",
        "_round_began",
        "_slow",
        "_slow_start",
        "_used",
        "_waiting",
        "allowed",
    )

    def __init__(self, most: int, window: float) -> None:
        """Never more than `most`; `window` is in seconds."""
        self._most = most
        self._slow = window * SLOW
        self.allowed = min(START, most)
        self._slow_start = True
        self._used = False
        """Whether the number was ever reached in this round."""
        self._full_since = math.inf
        self._count = 0
        """Answers in this round."""
        self._round_began = -math.inf
        self._waiting = 0.0
        """The share of their time that the latest answers spent waiting."""
        self._excused = 0.0
        """Of that, what turned out to be no queue."""
        self._before: tuple[int, float] | None = None
        """The number before it was last cut, and the answers a second that came then."""

    def full_until(self, under_way: int, now: float) -> float:
        """When another request may go out though nothing comes back before; `now` if it may at once."""
        if under_way >= self.allowed and now >= self._full_since + STEP and self.allowed < self._most:
            self.allowed = min(self._most, self.allowed + round(STEP * UNANSWERED))
            self._full_since = now
        if under_way < self.allowed:
            return now
        self._used = True
        self._full_since = min(self._full_since, now)
        return self._full_since + STEP if self.allowed < self._most else math.inf

    def answered(self, waited: float, own: float, now: float) -> None:
        """Take in an answer that waited so long, from a model that itself needs at least `own` seconds."""
        self._full_since = math.inf
        tolerated = own * min(1.0, max(TOLERANCE, own / self._slow))
        share = max(0.0, waited - tolerated) / (own + waited) if own + waited > 0 else 0.0
        self._waiting += (share - self._waiting) * LATEST
        self._excused = min(self._excused, self._waiting)
        self._count += 1
        if self._count >= min(self.allowed, LONGEST_ROUND):
            self._end_round(now)

    def _end_round(self, now: float) -> None:
        rate = self._count / max(1e-9, now - self._round_began)
        queued = self._waiting - self._excused
        before, self._before = self._before, None
        if before is not None and self._used and rate < before[1] * (1 + self.allowed / before[0]) / 2:
            self.allowed, self._excused = before[0], self._waiting
        elif queued > QUEUED:
            self._slow_start = False
            smaller = min(self._most, max(LEAST, int(self.allowed * max(0.5, 1 - queued))))
            self._before = (self.allowed, rate) if self._used and smaller < self.allowed else None
            self.allowed = smaller
        elif self._used:
            self.allowed = min(self._most, math.ceil(self.allowed * (2 if self._slow_start else GROWTH)))
        self._count, self._round_began, self._used = 0, now, False
