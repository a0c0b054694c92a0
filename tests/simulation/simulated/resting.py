"""What must hold whenever the scheduler has nothing to send: what it waits for is there, and nothing else is held."""

from __future__ import annotations

from runner.core.lag import guard
from runner.core.limits import ALL, Limit
from runner.core.passed import GRAIN, LARGE, PATIENCE
from runner.core.work import Task, Wait
from simulated.books import SLACK, Held, check
from simulated.oracles import Oracles

LATER = 0.2
"""Of a window: by as much spending may be dated later than its sending."""


def at_rest(oracles: Oracles, wait: Wait, now: float) -> None:
    """I6, I9: what is waited for is there; and the ledger holds what is under way and was spent, no more."""
    check(wait.until > now, "I6", f"the wait at {now} ends at {wait.until}")
    check(set(oracles.flights) == set(oracles.scheduler.flights.asks), "I9", "others are under way than were sent")
    if oracles.scenario.learns:
        return
    most = _most(oracles, now)
    for limit, spent in oracles.ledger.spent(now).items():
        least = oracles.gateway.book.level(limit, now)
        check(spent <= most[limit], "I9", f"at {now:.3f} the ledger holds {spent} of {limit}, not {most[limit]}")
        check(spent >= least, "I9", f"at {now:.3f} the ledger holds {spent} of {limit}, the gateway {least}")
    _check_conservation(oracles, most, now)


def _most(oracles: Oracles, now: float) -> dict[Limit, int]:
    most = dict.fromkeys(oracles.ledger.limits, 0)
    kept: list[Held] = []
    for held in oracles.held:
        age, gone = now - held.at, True
        for limit in most:
            span = limit.window + guard(limit.window) + LATER * oracles.scenario.window
            if not held.settled or age < span + SLACK:
                gone = False
                if limit.scope in (ALL, held.model):
                    most[limit] += limit.of(held.charge)
        if not gone:
            kept.append(held)
    oracles.held[:] = kept
    return most


def _check_conservation(oracles: Oracles, most: dict[Limit, int], now: float) -> None:
    scheduler, scenario = oracles.scheduler, oracles.scenario
    if scheduler.stopped is not None or scheduler.in_flight >= scheduler.flights.congestion.allowed:
        return
    if now < scheduler.flights.alone_until <= oracles.first_sent + oracles.canary:
        return
    waiting = [
        book.task
        for book in oracles.books.values()
        if not book.ended and book.waits_until <= now - SLACK and not oracles.flies(book.task)
    ]
    turns, all_turns = (oracles.turns(moment + SLACK) for moment in (now - scenario.window * (PATIENCE - GRAIN), now))
    if any(task.sequence <= turns for task in waiting):
        return  # room may be kept for a large one
    large = [limit for task in waiting if task.sequence <= all_turns for limit in _mostly_taken(oracles, task)]
    for task in waiting:
        for model in () if task.free else task.models:  # lines do not tell free tasks with other ceilings apart
            if model in oracles.lost | oracles.pending or scheduler.gates.wait(model, now) > now:
                continue
            charge = oracles.generously(task, model)
            limits = [limit for limit in most if limit.scope in (ALL, model)]
            if any(limit in large for limit in limits):
                continue  # the same
            room = all(most[limit] + limit.of(charge) <= limit.amount for limit in limits)
            check(not room, "I6", f"at {now:.3f} there is room for {task} at {model}, and it waits")


def _mostly_taken(oracles: Oracles, task: Task) -> list[Limit]:
    """The limits of which a task takes most, at one of its models."""
    budgets = oracles.gateway.budgets
    charges = {model: oracles.generously(task, model) for model in task.models}
    return [
        limit
        for model, charge in charges.items()
        for limit in budgets[model]
        if limit.measure != "requests" and limit.of(charge) > LARGE * limit.amount
    ]
