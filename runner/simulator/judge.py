"""Whether a request is let in: all of the limits that bind it, or none of them. Pure; time is a number passed in.

Input is taken at admission and kept. Output is reserved at admission, by the request's cap, and what the answer did
not use is given back the moment it is complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from runner.simulator.meter import Log
from runner.simulator.window import Entry, Shape

Measure = Literal["requests", "input", "output", "total"]


class Limit:
    """One limit of one model, or of all models together."""

    def __init__(self, *, measure: Measure, model: str | None, amount: float, shape: Shape) -> None:
        self.measure: Measure = measure
        self.model = model
        """The model's short id, or None for all models together."""
        self.amount = amount
        """What holds before any change."""
        self.shape = shape
        self.log = Log()
        self.window = shape.window(amount)
        self.changes: list[tuple[float, float, float]] = []
        """(seconds, amount, others): what held instead from then on, and what others spent beside it in a window."""

    @property
    def name(self) -> str:
        """What the meter calls it."""
        return f"{self.measure}/{self.model or 'combined'}"

    def change(self, now: float, factor: float, neighbours: float) -> None:
        """Let the limit be `factor` of what it was at first, less what neighbours spend of it in a window.

        Who spends evenly leaves a smaller limit: the steady state, without spending to be simulated.
        """
        left = max(1.0, self.amount * factor - neighbours)
        others = self.amount * factor - left
        before = self.changes[-1][1:] if self.changes else (self.amount, 0.0)
        if (left, others) != before:
            self.window.resize(now, left + others, others)
            self.changes.append((now, left, others))

    def report(self, every: float | None = None) -> dict[str, Any]:
        """What the meter says of it; with `every` also what was taken in each so many seconds."""
        report = {**self.log.report(self.shape, self.amount), "changes": self.changes}
        return report if every is None else {**report, "every": every, "series": self.log.series(every)}


@dataclass(slots=True)
class Taken:
    """An amount that an admitted request holds of one limit."""

    limit: Limit
    entry: Entry
    reserved: float
    """The part of it that is a guess, to be settled when the answer is complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A request that did not fit."""

    limit: Limit
    """The limit that it hit; of several, the one that takes longest to have room."""
    wait: float | None
    """Seconds until it would fit, or None for never."""


class Wanted(NamedTuple):
    """What a request wants of one limit: what it takes for certain, and what it reserves on top.

    A tuple because some are made for every request, refused or not.
    """

    limit: Limit
    certain: float
    reserved: float = 0.0


def admit(now: float, wanted: Sequence[Wanted]) -> list[Taken] | Refused:
    """Take everything that is wanted, or nothing."""
    worst: Refused | None = None
    for want in wanted:
        wait = want.limit.window.wait(now, want.certain + want.reserved)
        if wait == 0.0:
            continue
        if worst is None or wait is None or (worst.wait is not None and wait > worst.wait):
            worst = Refused(limit=want.limit, wait=wait)
    if worst is not None:
        worst.limit.log.refused += 1
        return worst
    taken = []
    for want in wanted:
        amount = want.certain + want.reserved
        want.limit.log.take(now, amount)
        taken.append(Taken(want.limit, want.limit.window.add(now, amount), want.reserved))
    return taken


def settle(now: float, taken: Sequence[Taken], output: float) -> None:
    """Replace the reservations by what the answer used; each is settled once."""
    for held in taken:
        if held.reserved:
            unused = held.reserved - output
            held.limit.window.credit(now, held.entry, unused)
            held.limit.log.give_back(now, held.entry.at, unused)
            held.reserved = 0.0


def charge(now: float, wanted: Sequence[Wanted]) -> None:
    """Count a refused request all the same, as some gateways do: its input, against every limit of input."""
    for want in wanted:
        if want.limit.measure in ("input", "total"):
            want.limit.window.add(now, want.certain)
