"""What to do about a failure: a table, and the waiting times it needs.

Waiting for a budget or a 429 costs a row no attempt: the gateway did not look at the row. Failures that may pass
are tried again with full jitter (AWS Architecture Blog, "Exponential Backoff and Jitter") a bounded number of times.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from random import Random

from runner.core.values import Failure, Kind

BASE_DELAY = 0.5
"""Seconds: the first delay is drawn from 0 to this, and the bound doubles with each attempt."""
LONGEST_DELAY = 60.0
LONGEST_WAIT = 900.0
"""Seconds that are waited because a gateway says so, where its windows are no longer than that."""


class Action(enum.Enum):
    """What becomes of the task after a failure."""

    FINISH = "it ends as errored, with this reason"
    RETRY = "it is tried again later, and the attempt counts"
    REASK = "its answer was cut short by a cap of ours, or cannot be read: it is asked again, and nothing is counted"
    REQUEUE = "it goes back to the queue, and nothing is counted"
    MOVE = "this model cannot be used: the task goes to the rest of its pool"
    PEND = "this model is spent for now: the task goes to the rest of its pool, or stays for a later resume"
    STOP = "the run ends; the task stays as it is for a later resume"


@dataclass(frozen=True, slots=True)
class Rule:
    """A row of the table: the action, and how many attempts a task has in all before it is FINISH instead."""

    action: Action
    attempts: int | None = None
    """None: as many as the run allows (`--attempts`)."""


RULES: dict[Kind, Rule] = {
    Kind.RATE_LIMITED: Rule(Action.REQUEUE),
    Kind.QUOTA_EXHAUSTED: Rule(Action.PEND),
    Kind.OVERLOADED: Rule(Action.RETRY),
    Kind.SERVER_ERROR: Rule(Action.RETRY),
    Kind.TIMEOUT: Rule(Action.RETRY),
    Kind.DISCONNECTED: Rule(Action.RETRY),
    Kind.UNREACHABLE: Rule(Action.REQUEUE),
    Kind.INVALID_RESPONSE: Rule(Action.RETRY, attempts=3),
    Kind.INVALID_REQUEST: Rule(Action.FINISH),
    Kind.CONTEXT_LENGTH: Rule(Action.FINISH),
    Kind.REQUEST_TOO_LARGE: Rule(Action.FINISH),
    Kind.RESPONSE_TOO_LARGE: Rule(Action.FINISH),
    Kind.CONTENT_FILTER: Rule(Action.FINISH),
    Kind.MODEL_UNAVAILABLE: Rule(Action.MOVE),
    Kind.UNAUTHORIZED: Rule(Action.STOP),
    Kind.FORBIDDEN: Rule(Action.FINISH),
    Kind.REDIRECTED: Rule(Action.STOP),
    Kind.CERTIFICATE: Rule(Action.STOP),
    Kind.BAD_ROW: Rule(Action.FINISH),
    Kind.NEVER_FITS: Rule(Action.FINISH),
}

OUTAGES = frozenset({Kind.OVERLOADED, Kind.SERVER_ERROR, Kind.TIMEOUT, Kind.DISCONNECTED, Kind.UNREACHABLE})
"""Failures that, many in a row, mean that the gateway or the model is down rather than that a row is at fault."""


def is_astray(failure: Failure) -> bool:
    """Whether it is a 404 that is not the gateway's own: a proxy's for a moment, or the address leads elsewhere."""
    return failure.kind is Kind.SERVER_ERROR and failure.status == 404


def action(failure: Failure, attempts: int, allowed: int) -> Action:
    """What to do about a failure of a task's `attempts`-th counted attempt, when `allowed` are allowed."""
    if failure.scope == "all" and failure.kind in (Kind.FORBIDDEN, Kind.QUOTA_EXHAUSTED):
        return Action.STOP
    rule = RULES[failure.kind]
    if rule.action is Action.RETRY and attempts >= min(allowed, rule.attempts or allowed):
        return Action.FINISH
    return rule.action


def bounded(failure: Failure, longest: float = LONGEST_WAIT) -> Failure:
    """The failure as it is to somebody who waits `longest` seconds at most.

    A 429 that asks for more is a quota that is used up: a run that sleeps for hours looks as if it hung. After another
    failure the task is tried again after as long; how long an outage may last is for the run's patience to say.
    """
    wait = failure.retry_after
    if wait is None or wait <= longest:
        return failure
    if failure.kind is Kind.RATE_LIMITED:
        message = f"{failure.message} (it says to come back in {wait:,.0f} seconds)"
        failure = replace(failure, kind=Kind.QUOTA_EXHAUSTED, message=message)
    return replace(failure, retry_after=longest)


def delay(attempts: int, rng: Random) -> float:
    """Seconds to wait before the next attempt: full jitter, after `attempts` failed ones."""
    bound = BASE_DELAY * 2.0 ** min(attempts, 20)
    return rng.uniform(0.0, min(LONGEST_DELAY, bound))
