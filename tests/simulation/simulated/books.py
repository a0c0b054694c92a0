"""What the oracles keep of a run, by books of their own, and what they say of a broken promise."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from runner.core.values import Charge
from runner.core.work import Task

SLACK = 0.01
"""Seconds by which two clocks may differ."""


class Violation(AssertionError):
    """A promise was broken."""


def check(holds: object, which: str, message: str) -> None:
    """Raise Violation unless it holds."""
    if not holds:
        raise Violation(f"{which}: {message}")


@dataclass(slots=True)
class Held:
    """What one request holds of the budgets, by a book of our own that is never below the ledger's."""

    at: float
    model: str
    full: Charge
    """What was reserved."""
    charge: Charge
    settled: bool = False


@dataclass(slots=True)
class Scope:
    """What the gateway has said of one scope in this session."""

    closed_at: float = -math.inf
    until: float = -math.inf
    narrow: bool = False
    """Closed by a 429, and not answered since."""
    outages: int = 0
    """Outage failures in a row."""


@dataclass
class Book:
    """What befell one task in this session."""

    task: Task
    before: int = 0
    """Attempts that counted in earlier sessions."""
    sends: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    waits_until: float = -math.inf
    passed_at: float = math.inf
    patience: float = 0.0
    """How long others may go on passing it."""
    ended: bool = False
