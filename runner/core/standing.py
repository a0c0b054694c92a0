"""How a run stands: what may be spent, what waits, what is under way. Sending and landing both read and change it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runner.core.backlog import Backlog
from runner.core.blocked import Blocked
from runner.core.caps import Spending
from runner.core.flights import Flights
from runner.core.gates import Gates
from runner.core.limits import Budget
from runner.core.ports import Ledger
from runner.core.values import Charge
from runner.core.work import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The parts in which a run's state is kept, each by itself."""

    budgets: Mapping[str, Budget]
    """By model."""
    window: float
    """Seconds."""
    charge: Callable[[Task, str], Charge]
    """What to reserve for a task at a model."""
    ledger: Ledger
    """What was spent of the limits."""
    spending: Spending
    """What was spent of the run's own caps."""
    backlog: Backlog
    """The tasks that wait."""
    blocked: Blocked
    """The models that have no room."""
    gates: Gates
    """The models that were told to wait."""
    flights: Flights
    """The requests under way."""
