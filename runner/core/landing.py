"""What becomes of a task when its request has landed: it ends, or goes back to those that wait, now or later.

Whatever came, its lease is settled first, once; then all who learn from it are told.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from random import Random

from runner.core import retry
from runner.core.blame import Blame
from runner.core.estimate import Size
from runner.core.lag import Lag
from runner.core.lengths import Lengths
from runner.core.ports import Refused
from runner.core.retry import Action
from runner.core.standing import Standing
from runner.core.values import Charge, Failure, Kind, Outcome, Reply, Request, Status, Usage
from runner.core.work import Ask, Finished, Landing, Task

NO_TOKENS = Charge(1, 0, 0)
"""What the gateway counts for a request that it refused, or never saw."""

MOST_REFUSALS = 20
"""429s to one task, sent alone, with answers to others or a whole window without any between them, after which it is
given up: it may be larger than what the gateway lets in."""

Again = Callable[[Ask, Reply], tuple[Request, Size] | None]
"""What to ask instead, and its size, where a reply's answer cannot be used as it is."""


class Landings:
    """Takes in what comes back."""

    def __init__(
        self, standing: Standing, *, rng: Random, attempts: int, lengths: Lengths | None, again: Again | None
    ) -> None:
        self._budgets = standing.budgets
        self._ledger = standing.ledger
        self._charge = standing.charge
        self._spending = standing.spending
        self._rng = rng
        self._window = standing.window
        self._attempts = attempts
        self._lengths = lengths
        self._again = again
        self._backlog = standing.backlog
        self._blocked = standing.blocked
        self._flights = standing.flights
        self._gates = standing.gates
        self._blame = Blame(self._budgets)
        self._lags = {model: Lag() for model in self._budgets}
        self._answers = dict.fromkeys(self._budgets, 0)
        self._answered_at = dict.fromkeys(self._budgets, -math.inf)
        self.failing_since: float | None = None
        """Since when nothing but outage failures came back; None while the gateway answers."""
        self.last_answer: float | None = None
        self.reached = False
        """Whether anything has come back from the gateway, be it that it is out of order."""

    def replied(self, ask: Ask, reply: Reply, now: float) -> Landing:
        """A reply came: its task has ended, unless it is to be asked again."""
        usage = reply.usage
        self._answers[ask.model] += 1
        self._answered_at[ask.model] = now
        self._blame.answered(ask)
        if not usage.reported:
            usage = Usage(input=ask.lease.charge.input, output=ask.lease.charge.output, reported=False)
        speed = self._lags[ask.model]
        lag = speed.learn(now - ask.at, usage.output)
        self._flights.congestion.answered(lag, speed.floor + speed.seconds_per_token * usage.output, now)
        if self._ledger.accepted(ask.lease, now):
            self._blocked.clear()
        self._settle(ask, Charge(ask.lease.charge.requests, usage.input, usage.output), usage, now, lag)
        self._gates.answered(ask.model, ask)
        self.failing_since, self.last_answer, self.reached = None, now, True
        if self._was_cut_short(ask, reply):
            return self._ask_anew(ask, reply)
        if self._again is not None and (instead := self._again(ask, reply)) is not None:
            ask.task.request, ask.task.size = instead
            ask.task.asked_again += 1
            return self._ask_anew(ask, reply)
        return Landing(None, (Finished(ask.task, ask.model, Status.SUCCEEDED, reply),))

    def _ask_anew(self, ask: Ask, reply: Reply) -> Landing:
        """Ask for a better answer; where no model is left for that, the reply is all there is."""
        landing = self._put_back(Action.REASK, ask.task, None)
        if landing.finished:
            return Landing(None, (Finished(ask.task, ask.model, Status.SUCCEEDED, reply),))
        return landing

    def _was_cut_short(self, ask: Ask, reply: Reply) -> bool:
        """Whether an answer had less room than it may have; then the task is to have more."""
        task, cap = ask.task, ask.lease.charge.output
        if self._lengths is None or not task.free or reply.outcome is not Outcome.TRUNCATED:
            return False
        task.least = self._lengths.larger(ask.model, cap)
        return self._charge(task, ask.model).output > cap  # else it had all the room that there is

    def failed(self, ask: Ask, failure: Failure, now: float) -> Landing:
        """A failure came; with Action.STOP the run is to end."""
        spent = ask.lease.charge if failure.ambiguous else NO_TOKENS
        # What an ambiguous attempt cost nobody knows: the ledger keeps all of it, the caps count all of it.
        usage = Usage(input=spent.input, output=spent.output) if failure.ambiguous else None
        known = None
        self.reached = self.reached or failure.status is not None
        if failure.kind is Kind.RATE_LIMITED:
            known = self._ledger.refused(ask.lease, failure, now, ask.sent_at)
            self._blocked.clear()
            self.failing_since, self.last_answer = None, now
            if known is Refused.EXPECTED:
                self._settle(ask, spent, usage, now)
                self._gates.returned(ask.model, ask)
                return self._put_back(Action.REQUEUE, ask.task, None)
        self._settle(ask, spent, usage, now)
        paced = known is Refused.SURPRISING or failure.measure == "requests"
        was_probe = self._gates.is_probe(ask.model, ask)
        closed = self._gates.failed(ask.model, ask, failure, ask.at, now, paced=paced)
        task = ask.task
        if failure.kind is Kind.RATE_LIMITED and self._flights.of_model[ask.model] == 0:
            return self._refused_alone(ask, failure, closed, now)
        counts = True
        if failure.kind in retry.OUTAGES:
            if self.failing_since is None:
                self.failing_since = ask.at if self.last_answer is None else max(ask.at, self.last_answer)
            counts = self._blame.failed(ask, failure.kind)
            if self._gates.is_narrow(ask.model) and not (counts and task.suspect):
                if was_probe:
                    self._backlog.number(task)  # another one asks the next time whether it is over
                return self._put_back(Action.REQUEUE, task, closed)
        else:
            self.failing_since, self.last_answer = None, now
        if self._has_too_large_a_cap(ask, failure):
            return self._put_back(Action.REQUEUE, task, closed)
        action = retry.action(failure, task.attempts + 1, self._attempts)
        if action in (Action.RETRY, Action.FINISH):
            if self._backlog.lost.keys() >= set(task.models):
                action = Action.FINISH
            elif not counts:
                return self._put_later(Action.REQUEUE, task, failure, closed, now)
        return self._carry_out(action, ask, failure, closed, now)

    def _has_too_large_a_cap(self, ask: Ask, failure: Failure) -> bool:
        """Whether the gateway named a smaller cap, which is sent the next time."""
        if self._lengths is None or failure.cap is None or failure.cap >= ask.lease.charge.output:
            return False
        self._lengths.refused(ask.model, failure.cap)
        return self._charge(ask.task, ask.model).output < ask.lease.charge.output

    def _refused_alone(self, ask: Ask, failure: Failure, closed: str | None, now: float) -> Landing:
        """Let others go first: what is refused again and again while they are answered is larger than what fits."""
        task, answers = ask.task, self._answers[ask.model]
        idle = now - self._answered_at[ask.model] > self._window
        task.refusals += answers > task.answers_seen or idle
        task.answers_seen = answers
        if task.refusals >= MOST_REFUSALS:
            message = (
                f"refused {task.refusals} times, alone or while others were answered; the last time: {failure.message}"
            )
            return self._carry_out(Action.FINISH, ask, replace(failure, message=message), closed, now)
        self._backlog.number(task)
        return self._put_back(Action.REQUEUE, task, closed)

    def _carry_out(self, action: Action, ask: Ask, failure: Failure, closed: str | None, now: float) -> Landing:
        task = ask.task
        if action in (Action.REQUEUE, Action.STOP):
            return self._put_back(action, task, closed)
        if action is Action.RETRY:
            task.attempts += 1
            return self._put_later(action, task, failure, closed, now)
        if action is Action.MOVE:
            ended = self._backlog.lose(ask.model, failure)
            moved = self._put_back(action, task, closed)
            return replace(moved, finished=(*ended, *moved.finished))
        if action is Action.PEND:
            self._backlog.suspend(ask.model, failure)
            return self._put_back(action, task, closed)
        task.attempts += 1
        return Landing(action, (Finished(task, ask.model, Status.ERRORED, failure),), closed)

    def _put_back(self, action: Action, task: Task, closed: str | None) -> Landing:
        finished = self._backlog.put(task)
        return Landing(action, () if finished is None else (finished,), closed)

    def _put_later(self, action: Action, task: Task, failure: Failure, closed: str | None, now: float) -> Landing:
        retry_at = now + (failure.retry_after or retry.delay(task.attempts, self._rng))
        self._backlog.put_later(task, retry_at)
        return Landing(action, closed=closed, retry_at=retry_at)

    def _settle(self, ask: Ask, charge: Charge, usage: Usage | None, now: float, lag: float = 0.0) -> None:
        held = ask.lease.charge
        self._ledger.settle(ask.lease, charge, now, ask.sent_at, lag)
        self._spending.settle(ask.model, held, usage)
        if self._blocked:
            budget, age = self._budgets[ask.model], now - ask.at
            freed = [limit for limit in budget if limit.of(charge) < limit.of(held) or age >= limit.window]
            self._blocked.freed(freed, now)
