"""Which kind of window explains what a gateway has refused: the one with the least to excuse (`core.evidence`).

A gateway counts its limits alike: by one kind, with the same borders. So what one limit refused is weighed together
with what those beside it did; only how much there is, is found for each limit by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from runner.core.counting import MOST_LATE, Kind
from runner.core.evidence import LATE, MOST, STEPS, Evidence, Fit

FINEST = 960
"""Of a window: how closely the ends of where a border may lie are looked for."""
CHOSEN = 0.5
"""What a border has to excuse, or a bucket's size: something that could be chosen so that it fits."""
BY_LATE = 0.3
"""What the longest delay of a log has to excuse, others in proportion: queues are more common than buckets."""
SAME = 0.1
"""Borders that differ by no more than this are equally good."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A kind of window that may be behind what was refused."""

    kind: Kind
    excuses: float
    """How much it has to excuse, of all limits together; 0 fits perfectly."""
    alone: float
    """How much of that is of the limit that it was asked for."""
    holds: float
    """How much of that limit there is by it: what was thought, or less."""
    border: float = 0.0
    early: float = 0.0
    """A border lies in the `early` seconds before `border`."""
    late: float = 0.0
    """A log holds everything for so many seconds longer than it seemed: it was counted later than was thought."""


def explanations(
    evidence: Evidence, beside: Sequence[Evidence] = (), *, known: tuple[float, float] | None = None
) -> list[Explanation]:
    """One of each kind, the one with the least to excuse first; none where that does not explain the one limit.

    `beside` is the evidence of other limits of the same gateway. `known` is a border that was found before, and how
    many seconds before that it may be.
    """
    weighed = _Weighed(evidence, beside, known)
    found = [weighed.log(), weighed.bordered(Kind.CALENDAR), weighed.bordered(Kind.COUNTER), weighed.bucket()]
    found.sort(key=lambda explanation: explanation.excuses)
    return found if evidence.is_explained(found[0].alone) else []


class _Border(NamedTuple):
    """A border that was tried."""

    excuses: float
    alone: float
    holds: float


class _Weighed:
    """The evidence of one limit and of those beside it, for each kind."""

    def __init__(self, evidence: Evidence, beside: Sequence[Evidence], known: tuple[float, float] | None) -> None:
        self._evidence = evidence
        self._beside = [other for other in beside if other.is_explained(other.least)]  # what fits nothing says nothing
        self._known = known

    def log(self) -> Explanation:
        """A sliding log, late by what fits best."""
        found = (late(part) for part in LATE for late in (self._late, self._lowered))
        return min(found, key=lambda explanation: explanation.excuses)

    def _late(self, part: float) -> Explanation:
        late = part * MOST_LATE * self._evidence.window
        own, beside = self._weigh(lambda one: one.log(late))
        alone = own.excuses + part * BY_LATE
        return Explanation(Kind.SLIDING, alone + beside, alone, own.holds, late=late)

    def _lowered(self, part: float) -> Explanation:
        """The same where it was lowered, and those beside it with it or not."""
        late = part * MOST_LATE * self._evidence.window
        own = self._evidence.lowered_log(late)
        fits = [(one.least, one.log(late).excuses, one.lowered_log(late, alike=True).excuses) for one in self._beside]
        alone = own.excuses + part * BY_LATE
        beside = sum(min(MOST, max(0.0, min(log, lowered) - least)) for least, log, lowered in fits)
        return Explanation(Kind.SLIDING, alone + beside, alone, own.holds, late=late)

    def bucket(self) -> Explanation:
        """A bucket, for each limit of the size that fits best."""
        own, beside = self._weigh(lambda one: one.bucket)
        alone = own.excuses + CHOSEN * self._evidence.is_small(own)
        sizes = [one.sizes for one in (self._evidence, *self._beside)]
        least, most = max(least for least, _ in sizes), min(most for _, most in sizes)
        together = min(1.0, least) * self._evidence.amount
        return Explanation(Kind.BUCKET, alone + beside, alone, together if least <= most else own.holds)

    def bordered(self, kind: Kind) -> Explanation:
        """Borders where they fit best; of several places, the last one before there was to be room."""
        evidence, counts = self._evidence, kind is Kind.COUNTER
        step = evidence.window / STEPS
        latest = max(refusal.room_by + refusal.grain for refusal in evidence.refusals)
        after = int(latest // step) + 1
        places = range(after - STEPS, after + 1)
        tried = [self._place(place, counts=counts) for place in places]
        best = min(tried)
        last = max(number for number, one in enumerate(tried) if one.excuses <= best.excuses + SAME)
        first = last
        while first > 0 and tried[first - 1].excuses <= best.excuses + SAME:
            first -= 1
        holds = max(one.holds for one in tried[first : last + 1])
        begins, ends = places[first] * step, places[last] * step
        while step > evidence.window / FINEST:
            step /= 2
            begins -= step * (self._at(begins - step, counts=counts).excuses <= best.excuses + SAME)
            ends += step * (self._at(ends + step, counts=counts).excuses <= best.excuses + SAME)
        return Explanation(kind, best.excuses, best.alone, holds, ends, ends - begins)

    def _place(self, place: int, *, counts: bool) -> _Border:
        border = place * self._evidence.window / STEPS
        return self._border(border, lambda one: one.place(place, counts=counts))

    def _at(self, border: float, *, counts: bool) -> _Border:
        return self._border(border, lambda one: one.border(border, counts=counts))

    def _border(self, border: float, fit: Callable[[Evidence], Fit]) -> _Border:
        own, beside = self._weigh(fit)
        alone = own.excuses + CHOSEN * (not self._is_known(border))
        return _Border(alone + beside, alone, own.holds)

    def _is_known(self, border: float) -> bool:
        if self._known is None:
            return False
        latest, early = self._known
        step = self._evidence.window / STEPS
        return (latest + step - border) % self._evidence.window <= early + 2 * step

    def _weigh(self, fit: Callable[[Evidence], Fit]) -> tuple[Fit, float]:
        """What a kind makes of the one limit, and what it has to excuse of the others more than any other kind.

        None of those has more of a say than one refusal: somebody else may spend of it.
        """
        return fit(self._evidence), sum(min(MOST, fit(other).excuses - other.least) for other in self._beside)
