"""What must hold when a request goes out: its gates are open, and it does not overtake for long."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from runner.core.gates import LONGEST_OUTAGE
from runner.core.limits import ALL
from runner.core.work import Ask, Task
from simulated.books import SLACK, check

if TYPE_CHECKING:
    from simulated.oracles import Oracles


def check_gates(oracles: Oracles, ask: Ask, now: float) -> None:
    """I5: nothing goes to a closed scope, and then one at a time until one is answered. Probes of limits may.

    Where nothing comes back, another one goes in a while.
    """
    if oracles.scenario.learns:
        return
    for name in (ALL, ask.model):
        scope = oracles.scopes[name]
        check(now >= scope.until - SLACK, "I5", f"{name} is closed until {scope.until:.3f}; sent at {now:.3f}")
        if scope.narrow:
            recent = now - max(1.0, oracles.scenario.window * LONGEST_OUTAGE) + SLACK
            under_way = [
                flight
                for flight in oracles.flights
                if flight.at > max(scope.closed_at, recent) and name in (ALL, flight.model)
            ]
            check(not under_way, "I5", f"{name} is half open, and two are under way at {now:.3f}")


def check_order(oracles: Oracles, ask: Ask, now: float) -> None:
    """I7: of tasks that differ in nothing the first is sent first; and no task is passed for long."""
    mine = oracles.book(ask.task)
    for book in oracles.books.values():
        task = book.task
        if book is mine or book.ended or task.models != ask.task.models or book.waits_until > now:
            continue
        if task.sequence < ask.task.sequence and not oracles.flies(task):
            alike = task.size == ask.task.size and task.caps == ask.task.caps and not task.free
            check(not (alike and book.sends == mine.sends == 0), "I7", f"{ask.task} passes {task}")
            if book.passed_at == math.inf:
                book.passed_at, book.patience = now, _patience_of(oracles, task)
    # Of the last tasks the largest go first, by intent: where there are such, a long wait is no fault.
    if mine.passed_at < math.inf and oracles.scenario.is_gentle and not oracles.scenario.small["LAST"]:
        waited = now - mine.passed_at
        oracles.seen["passed and sent"] += 1
        check(waited <= mine.patience, "I7", f"{ask.task} was passed for {waited:.1f} s")
    mine.passed_at = math.inf


def _patience_of(oracles: Oracles, task: Task) -> float:
    """How long others may pass a task: half a window, then as long as it and the older ones that wait need."""
    share = 0.0
    for book in oracles.books.values():
        if book.task.sequence <= task.sequence and not book.ended and not oracles.flies(book.task):
            model = book.task.models[0]
            charge = oracles.generously(book.task, model)
            share += max(limit.of(charge) / limit.amount for limit in oracles.gateway.budgets[model])
    return (1.0 + share) * (oracles.scenario.window + oracles.scenario.slow) + 0.5 * oracles.scenario.window
