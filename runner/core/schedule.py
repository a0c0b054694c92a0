"""Which task is sent next, to which model, and when: the one place where that is decided.

The scheduler never sleeps and reads no clock: `next(now)` answers `Ask`, `Wait` or `Done`, and whoever drives it (the
engine under asyncio, the plan in virtual time) reports every landing back. Its parts: `backlog` (what waits), `placing`
(what goes where), `flights` (what is under way), `landing` (what comes back), `blocked` (who has no room).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from random import Random

from runner.core.backlog import Backlog
from runner.core.blocked import Blocked
from runner.core.caps import Spending
from runner.core.flights import Flights
from runner.core.gates import Gates
from runner.core.landing import Again, Landings
from runner.core.lengths import Lengths
from runner.core.limits import Budget
from runner.core.placing import Placing
from runner.core.ports import Ledger
from runner.core.retry import OUTAGES, Action
from runner.core.standing import Standing
from runner.core.values import Charge, Failure, Reply
from runner.core.waiting import Cause, cause_of
from runner.core.work import Ask, Done, Finished, Landing, Task, Wait


class Scheduler:
    """Decides, for one run, what is sent next. All times are seconds of one monotonic clock."""

    def __init__(
        self,
        *,
        budgets: Mapping[str, Budget],
        ledger: Ledger,
        charge: Callable[[Task, str], Charge],
        spending: Spending,
        rng: Random,
        window: float = 60.0,
        attempts: int = 5,
        most_in_flight: int = 1000,
        lengths: Lengths | None = None,
        canary: float = 0.0,
        again: Again | None = None,
        held_back: Collection[str] = (),
    ) -> None:
        """`charge` says what to reserve for a task at a model, and with it the output cap to send; it may take them
        from `lengths`, which is told here what became of them.

        For the first `canary` seconds a single request is under way: a gateway that takes none refuses it at once.
        Models that are `held_back` are asked only about what others have answered.
        """
        self._spending = spending
        self.flights = Flights(budgets, most_in_flight, canary, window)
        self.gates = Gates(window, rng)
        self._blocked = Blocked(budgets, ledger, charge)
        self._backlog = Backlog(budgets, self._blocked.lift, held_back)
        standing = Standing(
            budgets=budgets,
            window=window,
            charge=charge,
            ledger=ledger,
            spending=spending,
            backlog=self._backlog,
            blocked=self._blocked,
            gates=self.gates,
            flights=self.flights,
        )
        self._placing = Placing(standing)
        self._landings = Landings(standing, rng=rng, attempts=attempts, lengths=lengths, again=again)
        self._more = True
        self.stopped: str | Failure | None = None

    # What goes in.

    def expect(self, model: str, charge: Charge) -> None:
        """Tell of work that only this model can do, before it is offered."""
        self._placing.expect(model, charge)

    def offer(self, task: Task) -> Finished | None:
        """Add a task; its end, if none of its models can be used any more."""
        self._backlog.number(task)
        return self._backlog.put(task)

    def close(self) -> None:
        """Say that no more tasks will be offered."""
        self._more = False

    def stop(self, reason: str | Failure) -> None:
        """Admit nothing more; what is in flight lands, then the run is done."""
        self.stopped = self.stopped or reason

    def landed(self, ask: Ask, result: Reply | Failure, now: float) -> Landing:
        """Settle an ask, and decide what becomes of its task."""
        self.flights.land(ask)
        if isinstance(result, Reply):
            return self._landings.replied(ask, result, now)
        landing = self._landings.failed(ask, result, now)
        if landing.action is Action.STOP:
            self.stop(result)
        return landing

    # What comes out.

    def next(self, now: float) -> Ask | Wait | Done:
        """The next thing to do at this moment."""
        self._backlog.wake(now)
        ends = self._spending.ends
        if ends is not None and now >= ends and self.stopped is None and (self._more or self.queued):
            self.stop(self._spending.over)
        if self.stopped is None and self.flights.full_until(now) <= now:
            placed = self._placing.next(now, last=not self._more)
            if isinstance(placed, str):
                if self.flights:  # what is held for them is more than they will cost
                    return Wait(math.inf if ends is None else ends)
                self.stop(placed)
            elif placed is not None:
                task, model, lease = placed
                task.sends += 1
                ask = Ask(task, model, lease, task.sends, now)
                self.flights.add(ask)
                self._spending.hold(model, lease.charge)
                self.gates.sent(model, ask, now)
                return ask
        if not self.flights and not (self.takes_more and (self._more or self._backlog.count)):
            return Done()
        return Wait(self._next_change(now))

    def _next_change(self, now: float) -> float:
        if self.stopped is not None:
            return math.inf
        full_until = self.flights.full_until(now)
        if full_until > now:
            return full_until
        until = self._backlog.retry_at
        ends = self._spending.ends
        if ends is not None and ends > now:
            until = min(until, ends)
        for model in self._backlog.ready:
            block = self._blocked.get(model)
            opens = self.gates.wait(model, now)
            until = min(until, max(block.until if block else now, opens))
        return until

    def leftover(self) -> Iterator[Task]:
        """Tasks that have no outcome when the run is done; they are taken out."""
        return self._backlog.leave()

    # How it stands.

    @property
    def queued(self) -> int:
        """Tasks that wait and can be sent in this run, those that wait for another attempt included."""
        return self._backlog.count

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return len(self.flights)

    def is_shelved(self, task: Task) -> bool:
        """Whether a task is for a later session: the quota of all its models is used up."""
        return self._backlog.is_shelved(task.models)

    @property
    def takes_more(self) -> bool:
        """Whether anything that waits, or is offered now, may still be sent."""
        return self.stopped is None and not self._backlog.is_stuck

    @property
    def left(self) -> bool:
        """Whether there are tasks that wait, for whatever it may be."""
        return bool(self._backlog)

    @property
    def models_left(self) -> bool:
        """Whether some of the models that tasks are for are not gone."""
        return not self._backlog.lost.keys() >= self._backlog.asked

    @property
    def pending_models(self) -> Mapping[str, Failure]:
        """Models whose quota is used up, with what the gateway said."""
        return self._backlog.pending

    @property
    def failing_since(self) -> float | None:
        """Since when nothing but outage failures came back; None while the gateway answers."""
        return self._landings.failing_since

    @property
    def last_answer(self) -> float | None:
        """When the gateway last gave a sign of life, if it ever did."""
        return self._landings.last_answer

    @property
    def reached(self) -> bool:
        """Whether anything has come back from the gateway, be it that it is out of order."""
        return self._landings.reached

    def waiting_for(self, now: float) -> dict[str, tuple[Cause, ...]]:
        """What keeps each model that has work from being sent; "" stands for the run where there is none to send."""
        backlog = self._backlog
        working = dict.fromkeys((*backlog.working, *backlog.pending)) if self.stopped is None else ()
        holds = {model: self._held(model, now) for model in working}
        if all(causes == (Cause.QUOTA,) for causes in holds.values()):
            holds[""] = (self._idle(),)
        return holds

    def _held(self, model: str, now: float) -> tuple[Cause, ...]:
        if model in self._backlog.pending:
            return (Cause.QUOTA,)
        if self.gates.wait(model, now) > now:
            return (Cause.OUTAGE if self.gates.reason(model, now) in OUTAGES else Cause.COOL_DOWN,)
        block = self._blocked.get(model)
        if block is not None and block.limits:
            return tuple(sorted({cause_of(limit) for limit in block.limits}))
        return (Cause.OWN_WORK,) if len(self.flights) < self.flights.congestion.allowed else (Cause.CONGESTION,)

    def _idle(self) -> Cause:
        if self._more and self.stopped is None:
            return Cause.READING
        if self.flights:
            return Cause.ANSWERS
        return Cause.RETRY if self._backlog.retry_at < math.inf else Cause.OWN_WORK


__all__ = ["Scheduler"]
