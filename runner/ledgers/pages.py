"""What runs of one account tell each other: who they are, what they may take, what they want, and what they spent.

Amounts are by `limit_key`, times are seconds of the host's monotonic clock. Whatever is garbled reads as None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from runner.core.sharing import WEIGHTS
from runner.ledgers.processes import Process

Claimed = tuple[float, float, float]
"""Used in the window, wanted for the next lease, taken by the next request."""
STALE = 2.0, 8.0
"""Seconds, or periods, whatever is longer, after which a run that has not been seen is taken to be unable to come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One of the runs that share an account."""

    run: str
    """Names it among all of them."""
    process: Process
    priority: str = "normal"
    since: float
    """When it joined, in seconds since the epoch."""

    @property
    def weight(self) -> float:
        """Of its part; one whose priority nobody knows is a normal one."""
        return WEIGHTS.get(self.priority, WEIGHTS["normal"])

    def comes_before(self, other: Member) -> bool:
        """Whether it was there first."""
        return (self.since, self.run) < (other.since, other.run)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one run says of itself."""

    member: Member
    beat: float
    """When it was last here."""
    until: float
    """When its lease ends."""
    share: float = 1.0
    """The part of each limit that it uses if it can come here no more."""
    lease: Mapping[str, float] | None = None
    """What it may take until then; None for all that there is."""
    claims: Mapping[str, Claimed] = field(default_factory=dict)
    guessed: Mapping[str, int] = field(default_factory=dict)
    """What it has in flight, and may turn out different."""
    amounts: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Of the limits that it uses: tokens, and seconds of the window."""

    def to_row(self) -> tuple[Any, ...]:
        """Its line in the table."""
        # JSON has no infinity.
        claims = {key: [one[0], None if one[1] == math.inf else one[1], one[2]] for key, one in self.claims.items()}
        told = {
            "share": self.share,
            "lease": self.lease,
            "claims": claims,
            "guessed": self.guessed,
            "amounts": self.amounts,
        }
        one, process = self.member, self.member.process
        who = (one.run, process.pid, process.born, process.boot, process.space, one.priority, one.since)
        return (*who, self.beat, self.until, orjson.dumps(told).decode())

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> Page | None:
        """What a line says; None if that is garbled."""
        run, pid, born, boot, space, priority, since, beat, until, text = row
        try:
            told = orjson.loads(text)
            process = Process(pid=int(pid), born=int(born), boot=str(boot), space=str(space))
            return cls(
                member=Member(run=str(run), process=process, priority=str(priority), since=float(since)),
                beat=float(beat),
                until=float(until),
                share=min(1.0, max(0.0, float(told["share"]))),
                lease=None if told["lease"] is None else {key: float(one) for key, one in told["lease"].items()},
                claims={
                    key: (float(used), math.inf if want is None else float(want), float(least))
                    for key, (used, want, least) in told["claims"].items()
                },
                guessed={key: int(amount) for key, amount in told["guessed"].items()},
                amounts={key: (float(amount), float(window)) for key, (amount, window) in told["amounts"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    # What the others make of it.

    def is_stale(self, now: float, period: float) -> bool:
        """Whether it should have been here again by now."""
        return now - self.beat >= max(STALE[0], STALE[1] * period)

    @property
    def last_lease(self) -> Mapping[str, float]:
        """Its lease; where it had all that there was, what it wanted by its last word."""
        if self.lease is not None:
            return self.lease
        return {key: least if want == math.inf else want for key, (_, want, least) in self.claims.items()}

    def holds(self, key: str, now: float, span: float) -> float:
        """What it may take of a limit, or may have taken and has not told: all of its lease."""
        if self.lease is None and now < self.until:
            return math.inf
        return self.last_lease.get(key, 0.0) if now < self.until + span else 0.0

    def keeps(self, key: str, amount: float) -> float:
        """What it spends of a limit of that amount by itself, if it cannot come here any more."""
        _, want, _ = self.claims.get(key, (0.0, 0.0, 0.0))
        return self.share * amount if want > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run spent during one of its leases."""

    run: str
    piece: int
    at: float
    amounts: Mapping[str, int]

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> Spent | None:
        """What a line says; None if that is garbled."""
        run, piece, at, text = row
        try:
            return cls(run, piece, at, {str(key): int(amount) for key, amount in orjson.loads(text).items()})
        except (TypeError, ValueError, AttributeError):
            return None
