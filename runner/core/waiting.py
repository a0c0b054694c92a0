"""Where the time of a run goes: what holds it back from moment to moment, in parts that add up to the whole.

Whoever drives the scheduler says when something has happened (`wake`), that something is sent (`sending`), and, when
nothing more can be done for now, what is waited for (`rest`). From one rest to the next waking the time belongs to
what is waited for, in equal shares over the models that have work. From the waking to the next rest it is our own
work, if something was sent; if not, nothing could have been, and the wait has merely gone on. Time is a number.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Collection, Mapping

from runner.core.limits import ALL, Limit


class Cause(enum.StrEnum):
    """What a run can wait for."""

    COMBINED_INPUT = "combined_input"
    COMBINED_OUTPUT = "combined_output"
    COMBINED_TOTAL = "combined_total"
    COMBINED_REQUESTS = "combined_requests"
    INPUT = "input"
    OUTPUT = "output"
    TOTAL = "total"
    REQUESTS = "requests"
    COOL_DOWN = "cool_down"
    """The gate of a scope is closed, after a refusal."""
    OUTAGE = "outage"
    """The gate of a scope is closed, after failures that mean that the gateway or the model is down."""
    QUOTA = "quota"
    """A model's quota is used up; the run goes on without it."""
    CONGESTION = "congestion"
    """There are as many requests under way as may be."""
    RETRY = "retry"
    """What is left has failed, and is tried again in a moment."""
    ANSWERS = "answers"
    """All is sent; nothing but time brings the answers."""
    READING = "reading"
    """There are rows that have not been read."""
    OWN_WORK = "own_work"
    """More could be sent, and we are not there yet."""


Holds = Mapping[str, tuple[Cause, ...]]
"""By model that has work, what keeps it from being sent; "" stands for the run where no model has any. Never empty."""

BY_LIMIT: Mapping[tuple[bool, str], Cause] = {
    (combined, measure): Cause(f"combined_{measure}" if combined else measure)
    for combined in (True, False)
    for measure in ("input", "output", "total", "requests")
}


def cause_of(limit: Limit) -> Cause:
    """The cause that a limit is."""
    return BY_LIMIT[limit.scope == ALL, limit.measure]


def shares(holds: Holds) -> dict[Cause, float]:
    """How a moment is divided: equally over the models, and over the causes of each; the shares add up to one.

    A model whose quota is used up holds back nothing but itself, and counts only where nothing else does.
    """
    counting: Collection[tuple[Cause, ...]] = [causes for causes in holds.values() if causes != (Cause.QUOTA,)]
    counting = counting or holds.values()
    divided: dict[Cause, float] = {}
    for causes in counting:
        for cause in causes:
            divided[cause] = divided.get(cause, 0.0) + 1 / (len(causes) * len(counting))
    return divided


START: Holds = {"": (Cause.OWN_WORK,)}
LOOK_AGAIN = 0.005
"""Seconds for which an answer to "what holds the run back?" is good, so that asking costs little however often a run
comes to rest."""


class Waiting:
    """The time of one session, divided. What it is told is told in the order of time."""

    __slots__ = ("_busy", "_holds", "_looked", "_reading", "_sent", "_since", "_spent", "_until", "_why")

    def __init__(self, started: float) -> None:
        self._spent: dict[Cause, float] = {}
        self._since = started
        """Up to here all is accounted for."""
        self._why: Callable[[float], Holds] = lambda _now: START
        self._holds = shares(START)
        """What held the run back when it was looked at."""
        self._looked = -math.inf
        self._until = math.inf
        """When what is waited for should be there."""
        self._busy: float | None = started
        """Since when something may have been possible; None at rest."""
        self._reading = 0.0
        self._sent = True

    def wake(self, now: float) -> None:
        """Something has happened, or should have: from here on it is our turn, until the next rest.

        To be told before the scheduler is, so that it still answers what it waited for.
        """
        if self._busy is None:
            self._busy = max(self._since, min(now, self._until))
            if now - self._looked >= LOOK_AGAIN:
                self._holds, self._looked = shares(self._why(self._since)), now
            _add(self._spent, self._holds, self._busy - self._since)

    def sending(self) -> None:
        """Something is sent since the last rest."""
        self._sent = True

    def read(self, seconds: float) -> None:
        """So much of the time since the last rest went into reading rows."""
        self._reading += seconds

    def rest(self, now: float, why: Callable[[float], Holds], until: float = math.inf) -> None:
        """Nothing more can be done, until something lands or until the given moment.

        `why` says what holds the run back from `now` on; it is asked when the rest is over, and only if it was long.
        """
        self.wake(now)
        _add(self._spent, self._turn(now), 1.0)
        self._since, self._why, self._until = now, why, until
        self._busy, self._sent, self._reading = None, False, 0.0

    def _turn(self, now: float) -> Mapping[Cause, float]:
        """What our turn went into: work, if something was sent; if not, the wait has merely gone on."""
        seconds = 0.0 if self._busy is None else now - self._busy
        if not self._sent:
            return {cause: share * seconds for cause, share in self._holds.items()}
        reading = min(self._reading, seconds)
        return {Cause.READING: reading, Cause.OWN_WORK: seconds - reading}

    def split(self, now: float) -> dict[str, float]:
        """Seconds by cause, from the start to this moment, the longest first."""
        spent = dict(self._spent)
        if self._busy is None:
            _add(spent, shares(self._why(self._since)), now - self._since)
        else:
            _add(spent, self._turn(now), 1.0)
        return {str(cause): spent[cause] for cause in sorted(spent, key=lambda cause: -spent[cause])}

    def __repr__(self) -> str:
        return f"<Waiting: {'at rest' if self._busy is None else 'at work'} since {self._since:.3f}>"


def _add(spent: dict[Cause, float], parts: Mapping[Cause, float], length: float) -> None:
    for cause, share in parts.items():
        if share * length:
            spent[cause] = spent.get(cause, 0.0) + share * length
