"""What a run may take of each limit until its next visit: its part, less what it leaves to those who come later."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace

from runner.core.leeway import PARTS, Leeway
from runner.core.sharing import Claim, divide
from runner.core.window import Kind, Window
from runner.ledgers.company import Company
from runner.ledgers.log import Log
from runner.ledgers.meeting import Meeting
from runner.ledgers.pages import Member
from runner.ledgers.wants import Wants

LASTS = 2.0
"""Periods for which a lease holds: it is renewed after one."""
UNSURE = 1 / 100
"""Of a limit: while others have more than this in flight, of which they only guess how much it is, nothing is sent to
find out how the limit is counted: what is let in then says nothing."""
SOONEST = 0.5
"""Of a period: the shortest time between two visits."""


class Parts:
    """How one run divides the limits with the others, by what it wants of them."""

    def __init__(
        self,
        me: Member,
        windows: Mapping[str, Window | Log],
        leased: Collection[str],
        wants: Wants,
        *,
        span: float,
        period: float,
        probes: bool,
    ) -> None:
        """`windows` are by limit; the `leased` ones are divided by leases, of others each has a fixed part.

        `span` is the longest window and `period` the time between two visits, in seconds; `probes` says whether
        anything may be sent only to learn.
        """
        self._me = me
        self._windows = windows
        self._leased = leased
        self._wants = wants
        self._span = span
        self._period = period
        self._probes = probes
        self._claimed_at: dict[str, float] = {}
        """By limit: when it was first told that this run takes of it."""
        self._known_at: dict[str, float] = {}
        """When all others had heard that."""

    def claims(self, meeting: Meeting, elapsed: float, now: float) -> dict[str, Claim]:
        """What this run says of each limit; `elapsed` is the time since the last visit."""
        pace = min(LASTS, self._period / max(elapsed, SOONEST * self._period))
        used = {key: meeting.spending.since(window.since(now), key) for key, window in self._windows.items()}
        return self._wants.claims(used, self._me.weight, pace)

    def follow(self, share: float) -> None:
        """Spend that part of every limit, as if nobody else were there; with all of them probes may be sent."""
        for window in self._windows.values():
            window.share = share
            if isinstance(window, Window):
                window.probes = self._probes and share == 1.0

    def divide(self, company: Company, mine: dict[str, Claim], now: float) -> dict[str, float]:
        """What this run may take of each limit during its next lease."""
        left: dict[str, float] = {}
        requests = 0.0
        for key, window in sorted(self._windows.items(), key=lambda item: not self._wants.is_short(item[0])):
            if self._wants.is_held_back(key):
                # What the limits that bind it let it send, it needs of the others too.
                want = max(mine[key].want, requests * mine[key].least)
                mine[key] = replace(mine[key], want=want)
            if key not in self._leased:
                window.share, left[key] = self._fixed(company, key, now), math.inf
                continue
            claims, turn = company.claims(key, mine[key], window.since(now))
            if isinstance(window, Window):
                leads = company.is_led_by_us(key) and window.limit.measure == "input"
                known = window.kind is not Kind.UNKNOWN or company.guessed(key) <= UNSURE * window.limit.amount
                window.probes = self._probes and leads and known
            least = max(claim.least for claim in claims)
            pool = min(window.free(now), max(window.pace(now) * self._period, least))
            held = company.holds(key, window.limit.amount, self._span)
            left[key] = float(math.floor(max(0.0, min(divide(pool, claims)[turn], pool - held))))
            if self._wants.is_short(key):
                requests += left[key] / max(1.0, mine[key].least)
        return left

    def _fixed(self, company: Company, key: str, now: float) -> float:
        """The fixed part of a limit: next to nothing until the others have heard of us, and a window has passed."""
        if key in self._wants.used:
            claimed_at = self._claimed_at.setdefault(key, now)
            if company.know_since(key, claimed_at):
                self._known_at.setdefault(key, now)
        joined_at = self._known_at.get(key, math.inf) + self._windows[key].limit.window
        share = company.share_of(key)
        return share if share == 1.0 or now >= joined_at else 0.0

    def spared(self, meeting: Meeting, now: float) -> dict[str, float]:
        """What this run may take of limits of which it leaves something to others that may come."""
        part, spared = PARTS[self._me.priority], {}
        for key in self._wants.used.intersection(self._leased) if part else ():
            window = self._windows[key]
            if not isinstance(window, Window) or window.limit.measure != "input" or not _bursts(window):
                continue
            amount = window.belief.amount(now)
            if meeting.spending.since(window.since(now), key) >= part * amount:
                leeway = Leeway(amount, part, window.limit.window, window.since)
                leeway.spend(meeting.log(key))
                spared[key] = leeway.room(now, LASTS * self._period, self._wants.least(key))
        return spared


def _bursts(window: Window) -> bool:
    """Whether all of a limit is spent at once, and comes back at once: as far as that is known."""
    return window.kind is Kind.SLIDING or (window.kind is Kind.CALENDAR and window.sure)
