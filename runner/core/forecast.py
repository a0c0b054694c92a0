"""The least possible time for work under limits: what no scheduler can beat.

Each limit lets through `amount` at once and `amount` more in every window after that, so work that needs more than
one window's amount takes at least (work / amount - 1) windows, plus the last answer's latency. The bound holds for a
bucket that starts full; under other kinds of window nothing is faster in the long run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runner.core.limits import ALL, Budget, Limit
from runner.core.values import Charge


@dataclass(frozen=True, slots=True)
class Bound:
    """Seconds, and the limit that demands them (None if nothing does)."""

    seconds: float
    limit: Limit | None
    windows: float
    """How many windows' worth of that limit the work needs."""


def least_time(pinned: Mapping[str, Charge], pooled: Charge, budgets: Mapping[str, Budget]) -> Bound:
    """The least possible time, without latency, for work of single models and work that any of them can do."""
    best = Bound(0.0, None, 0.0)
    totals: dict[Limit, float] = {}
    for name, work in pinned.items():
        for limit in budgets.get(name, ()):
            totals[limit] = totals.get(limit, 0.0) + limit.of(work)
    shared = {limit for budget in budgets.values() for limit in budget if limit.scope == ALL}
    for limit in shared:
        totals[limit] = totals.get(limit, 0.0) + limit.of(pooled)
    for limit, amount in totals.items():
        best = _longer(best, limit, amount / limit.amount)
    for measure in ("input", "total", "output", "requests"):
        own = [
            limit for budget in budgets.values() for limit in budget if limit.scope != ALL and limit.measure == measure
        ]
        if own and len(own) == len(budgets):
            # A pool's work, and the pinned work beside it, share the room of all the models together.
            together = sum(totals.get(limit, 0.0) for limit in own) + own[0].of(pooled)
            best = _longer(best, own[0], together / sum(limit.amount for limit in own))
    return best


def _longer(best: Bound, limit: Limit, windows: float) -> Bound:
    seconds = max(0.0, windows - 1) * limit.window
    return Bound(seconds, limit, windows) if (seconds, windows) > (best.seconds, best.windows) else best
