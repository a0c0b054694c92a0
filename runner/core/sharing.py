"""How what is left of one limit is divided among the runs that spend it.

Each run has used some of the window already, and wants more. What is free lifts them all to one level, in proportion
to their weights: who has used least comes first, nobody gets more than it wants, and what one does not want the others
get. Requests cannot be cut: a run whose turn it is gets at least what its next request takes, and where there is not
so much, all that there is, which it keeps until there is enough. It is behind its turn for that afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Priority = Literal["batch", "normal", "urgent"]

WEIGHTS: Mapping[str, float] = {"batch": 1.0, "normal": 2.0, "urgent": 8.0}
"""By priority: the shares of runs that want all they can get are as these."""

PERIODS = 120
"""Leases in a window."""
SHORTEST_PERIOD = 0.2
"""Seconds."""
TRIFLE = 1e-9
"""What is left by rounding, and given to nobody."""
GROWTH = 1.25
"""A run that has room to spare is taken to want so much of what it has just used."""


def period(window: float) -> float:
    """How long a lease is for, in seconds."""
    return max(SHORTEST_PERIOD, window / PERIODS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one run says of itself, and of one limit."""

    weight: float
    used: float
    """In the current window, reservations in flight included."""
    want: float
    """For the next lease; infinity for all it can get."""
    least: float = 0.0
    """What its next request takes."""


def divide(free: float, claims: Sequence[Claim]) -> list[float]:
    """What each claim gets of `free`, in their order; together all of it, or all that is wanted."""
    grants = [0.0] * len(claims)
    left = max(0.0, free)
    # As the level rises a claim gets its next request at once, then its part of the flow, until it has all it wants.
    steps = sorted((level, order, index) for index, claim in enumerate(claims) for order, level in _steps(claim))
    level, flow, flowing = 0.0, 0.0, set[int]()
    for reached, order, index in steps:
        if flow and reached > level:
            rise = min(reached - level, left / flow) if reached < math.inf else left / flow
            for other in flowing:
                grants[other] += rise * claims[other].weight
            left = max(0.0, left - rise * flow)
        if left <= TRIFLE or reached == math.inf:
            break
        level = reached
        if order == NEXT:
            grants[index] = min(left, claims[index].least, claims[index].want)
            left -= grants[index]
        elif order == FLOWS:
            flowing.add(index)
            flow += claims[index].weight
        else:
            flowing.discard(index)
            flow = sum(claims[other].weight for other in flowing)
    return [min(grant, claim.want) for grant, claim in zip(grants, claims, strict=True)]


NEXT, FLOWS, FULL = 0, 1, 2


def _steps(claim: Claim) -> list[tuple[int, float]]:
    """The levels at which something changes for a claim."""
    if claim.want <= 0:
        return []
    used, least = max(0.0, claim.used), min(claim.least, claim.want)
    levels = [(NEXT, used / claim.weight), (FLOWS, (used + least) / claim.weight)]
    return [*levels, (FULL, (used + claim.want) / claim.weight)]


def fallback(own: float, others: Sequence[float]) -> float:
    """The part of every limit that a run may use while it cannot know what others use; arguments are weights."""
    return own / (own + sum(others))
