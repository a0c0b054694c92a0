"""How fast a limit is spent: at several times the rate at which it refills, so that a refusal is back in time.

The even rate is the amount in a window. Where refusals are likely, or how the gateway counts is not known, it is spent
more slowly; a refused probe stops it until the moment that the refusal named.
"""

from __future__ import annotations

import math

from runner.core.counting import GRAIN, Counting, Kind
from runner.core.probing import OVERDRAFT

RUSH = 20.0
"""A limit is spent at up to so many times the rate at which it refills: a refusal then comes back before much more has
been sent."""
FIRST_RUSH = 4.0
"""The same for the first requests to a gateway of which nothing is known."""
AFTER_BORDER = 3.0
"""The same after a border that may turn out to be a sliding counter's."""
CAREFUL = 2.0
"""The same where refusals are likely: above what was let in before, to find out how much a bucket holds, and after
what was only asked has been answered."""
DOUBTFUL = 1 / 15
"""Windows for which it is not known well what is in a bucket that was just found out: when its first refusal was sent,
not all that was sent before had been counted. It was empty then, so nothing is lost where it is spent carefully."""
SLACK = 1 / 400
"""Of a window: how far sending may run ahead of these rates, and the longest pause that they make after one request."""


def first_rush(used: float) -> float:
    """How many times the even rate is spent while nothing is known, with that share of the amount in use."""
    return FIRST_RUSH + (RUSH - FIRST_RUSH) * min(1.0, 2 * used)


class Pacing:
    """When one limit may be spent from next."""

    def __init__(self, counting: Counting) -> None:
        self.opens_at = -math.inf
        """Nothing is sent before."""
        self._counting = counting
        self._belief = counting.belief
        self._window = counting.limit.window
        self._slack = counting.limit.window * SLACK
        self._fastest = RUSH * counting.limit.amount / counting.limit.window
        self._next_at = -math.inf
        self._not_before = -math.inf
        self._untried_until = -math.inf

    def rate(self, used: float, now: float) -> float:
        """How fast it may be spent with so much in use, of the measure a second."""
        counting, believed = self._counting, self._belief.amount(now)
        rate = max(1.0, believed) / self._window
        if now < self._untried_until:
            return rate * CAREFUL
        if counting.kind is Kind.UNKNOWN:
            return rate * first_rush(used / max(1.0, believed))
        if counting.kind is Kind.CALENDAR and not counting.sure:
            return rate * AFTER_BORDER
        if counting.kind is Kind.BUCKET:
            if counting.sure:
                return rate * (RUSH if now > counting.found_at + DOUBTFUL * self._window else CAREFUL)
            settled = now > counting.found_at + 2 * GRAIN * self._window and used < believed * (1 - 2 * OVERDRAFT)
            return rate * (RUSH if settled else CAREFUL)
        return rate * (CAREFUL if used >= self._belief.proven else RUSH)

    def send(self, amount: int, used: float, now: float) -> None:
        """An amount is sent while so much is in use: the next one has to wait a little."""
        self._next_at = max(self._next_at, now) + min(amount / self.rate(used, now), self._slack)
        self.opens_at = max(self._not_before, self._next_at - self._slack)

    def settle(self, difference: int) -> None:
        """So much more was spent than was thought."""
        self._next_at += difference / self._fastest
        self.opens_at = max(self._not_before, self._next_at - self._slack)

    def try_out(self, now: float) -> None:
        """When there is room was asked, and read from what was let in: that may be wrong."""
        self._untried_until = now + GRAIN * self._window

    def close(self, until: float) -> None:
        """The gateway said when to come back."""
        self._not_before = max(self._not_before, until)
        self.opens_at = max(self.opens_at, until)
