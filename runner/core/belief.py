"""How much of a limit there really is: what the gateway lets through, learned from what it refuses.

The configured amount is believed until a request is refused that the ledger had room for. Then one of two things is
learned. A refusal that lifts almost at once means a bucket that is smaller than the limit: the amount holds, but not
all of it at once, and what is sent is spread evenly from then on. Any other refusal means that less is to be had: the
limit is lower than configured, or somebody else uses it. What was held when the request was refused is believed to be
all there is.

What was lost is won back: after a pause the amount grows, slowly at first and to all of it within three windows. A
refusal on the way ends the growth and doubles the pause before the next. It never grows above the configured amount.
"""

from __future__ import annotations

import math

from runner.core.limits import Limit

LEAST = 0.02
"""Of the limit: what is always believed to be there."""
MOST_CUT = 0.25
"""Of what was believed: one episode of refusals cuts to this at most. It may be somebody else's passing burst."""
SURPRISING = 0.9
"""Of what is believed: a refusal with less than this in the window is no matter of clocks."""
FIRST_GROWTH = 0.1
"""Of the limit in a window: how fast growth begins; it doubles with every window."""
LONGEST_PAUSE = 8.0
"""Windows."""
AT_ONCE = 1 / 8
"""Of a window: a Retry-After up to this speaks of a bucket, which refills all the time."""
RUSH = 20.0
"""While nothing else is known, a limit is spent at up to so many times the rate at which it refills: a refusal then
comes back before much more has been sent."""
SLACK = 1 / 400
"""Of a window: how far sending may run ahead of that rate."""
SHORTEST_MEASURE, WHOLE_MEASURE = 1 / 60, 1 / 12
"""Of a window: a rate that was measured for less counts for nothing, for so long it counts in full."""
SETTLED = 1 / 4
"""Of a window: how long a measured rate is kept before it grows."""
PACED = 0.995
"""Of the rate at which a bucket refills: what is sent once its size is known."""


class Belief:
    """What is believed of one limit."""

    __slots__ = ("_base", "_before", "_changed_at", "_fails", "_grows_from", "_limit", "_next_at", "_taken", "burst")

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._base = self._before = float(limit.amount)
        self._grows_from = math.inf
        self._changed_at = -math.inf
        self._fails = 0
        self._next_at = -math.inf
        self._taken = 0
        """Sent since the last change, less what was refused."""
        self.burst: float | None = None
        """What may be sent at once, where that is less than the limit."""

    @property
    def is_shaken(self) -> bool:
        """Whether less than the configured amount is believed."""
        return self._base < self._limit.amount

    def amount(self, now: float) -> float:
        """What may be held in a window at this moment."""
        if now > self._grows_from:
            windows = (now - self._grows_from) / self._limit.window
            doublings = 2.0 ** min(windows, 30.0)
            grown: float = self._base + self._limit.amount * FIRST_GROWTH * (doublings - 1) / math.log(2)
            if grown >= self._limit.amount:
                self._base, self._grows_from, self._fails = float(self._limit.amount), math.inf, 0
            else:
                return grown
        return self._base

    def opens(self, now: float) -> float:
        """The moment from which more may be sent, by the rate alone; `now` or before if it may at once."""
        return self._next_at - self._slack(now)

    def sent(self, amount: int, now: float) -> None:
        """This much was sent."""
        self._next_at = max(self._next_at, now) + amount / self._rate(now)
        self._taken += amount

    def corrected(self, difference: int, now: float) -> None:
        """What was sent turned out to be this much more; negative where it was less, or was refused."""
        self._next_at += difference / self._rate(now)
        self._taken += difference

    def _rate(self, now: float) -> float:
        """Of the measure, a second."""
        return max(1.0, self.amount(now)) / self._limit.window * (RUSH if self.burst is None else PACED)

    def _slack(self, now: float) -> float:
        """Seconds by which sending may run ahead of the rate."""
        return self._limit.window * SLACK if self.burst is None else self.burst / self._rate(now)

    def refused(self, held: int, amount: int, sent_at: float, now: float, retry_after: float | None) -> None:
        """A request of this amount was refused, which had `held` before it in its window."""
        believed = self.amount(now)
        soon = retry_after is not None and retry_after <= self._limit.window * AT_ONCE
        if self.burst is None and soon and held + amount < SURPRISING * believed:
            self.burst = max(LEAST * self._limit.amount, 0.9 * held)
            self._empty(now, retry_after, amount)
        elif sent_at > self._changed_at and self.burst is not None:
            self._measure(believed, amount, now)
            self._empty(now, retry_after, amount)
        elif sent_at > self._changed_at:
            self._grows_from = now + min(LONGEST_PAUSE, 2.0 ** min(self._fails, 10)) * self._limit.window
            self._fails += 1
            self._before = believed
            self._cut(min(0.98 * believed, held))
            self._changed_at = now
        elif self.burst is None:  # sent before the cut was made: it tells more of the same
            self._cut(min(believed, held))

    def _measure(self, believed: float, amount: int, now: float) -> None:
        """A bucket was empty at the last refusal and is empty now: what went through is what it refilled."""
        elapsed = (now - self._changed_at) / self._limit.window
        if elapsed < SHORTEST_MEASURE:
            return
        measured = (self._taken - amount) / elapsed
        weight = min(1.0, elapsed / WHOLE_MEASURE)
        self._before = believed
        self._cut(min(self._limit.amount, believed + weight * (measured - believed)))
        self._grows_from = now + self._limit.window * SETTLED

    def _empty(self, now: float, retry_after: float | None, amount: int) -> None:
        """The bucket is empty at this moment: from here on both its filling and its emptying are known."""
        self._next_at = now + self._slack(now) + (retry_after or 0.0) / 2
        self._changed_at = now
        self._taken = amount  # which will be taken back when it is settled

    def _cut(self, to: float) -> None:
        self._base = max(LEAST * self._limit.amount, MOST_CUT * self._before, to)

    def __repr__(self) -> str:
        burst = "" if self.burst is None else f", at most {self.burst:,.0f} at once"
        return f"<Belief {self._base:,.0f} of {self._limit}{burst}>"
