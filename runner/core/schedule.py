"""Which task is sent next, to which model, and when: the one place where that is decided.

The scheduler never sleeps and reads no clock: `next(now)` answers `Ask`, `Wait` or `Done`, and whoever drives it (the
engine under asyncio, the plan in virtual time) reports every landing back. Its rules:

- A model takes tasks that only it can answer before tasks of a pool.
- The model with the most work left for its limits goes first, so that a combined limit is spent where it is needed
  most; among equals the emptiest goes first, then the one with the fewest requests under way.
- Among tasks that fit, the oldest goes first, and of the last ones the largest. One that does not fit is passed by
  smaller ones, but not for ever: once it has waited half a window, its model takes nothing else until it fits.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from random import Random

from runner.core import retry
from runner.core.caps import Spending
from runner.core.congestion import Congestion
from runner.core.errors import BrokenInvariant
from runner.core.estimate import Size
from runner.core.gates import Gates
from runner.core.lag import Lag
from runner.core.lengths import Lengths
from runner.core.limits import Budget, Limit
from runner.core.ports import Lease, Ledger, Refusal, Refused
from runner.core.queues import Queue
from runner.core.retry import Action
from runner.core.values import Charge, Failure, Kind, Outcome, Reply, Request, Status, Usage
from runner.core.waiting import Cause, cause_of

NOTHING = Charge(1, 0, 0)
"""What the gateway counts for a request that it refused, or never saw."""

MOST_REFUSALS = 20
"""429s to one task, sent alone, with answers to others between them, after which it is given up."""
LAST = 100
"""Tasks of a queue, once no more will come, of which the largest that fits goes first: what ends last began early."""
MOST_LAG = 0.2
"""Of a window: the most by which spending is dated later than its sending."""


@dataclass(slots=True, kw_only=True, eq=False)
class Task:
    """One row and the models that may answer it: the unit of work."""

    row: int
    """Position of the row in the input, from 0."""
    slot: int = 0
    """Which of the row's tasks this is, where every model is asked."""
    id: str = ""
    models: tuple[str, ...]
    """Short ids: any one of them answers the task."""
    size: Size
    caps: Mapping[str, int]
    """The most output tokens to allow, for each of the models."""
    free: bool = False
    """Whether fewer may be allowed at first: an answer that is cut short by that is asked for again."""
    least: int = 0
    """Where it was cut short: what to allow at least the next time."""
    request: Request
    dialects: Mapping[str, str] = field(default_factory=dict)
    """The dialect for each of the models."""
    digest: str = ""
    annotator: str = ""
    """Who answers, where several are asked about a row: the model, the prompt's name, the sample's number."""
    source: str = ""
    """The text that spans are of, where they are asked for."""
    escalated: bool = False
    """Whether a stronger model is asked, because annotators agreed too little."""
    asked_again: int = 0
    """How often it was asked again because its answer could not be read."""
    attempts: int = 0
    """Attempts that counted."""
    sends: int = 0
    passed_since: float = math.inf
    """When a younger task was first sent before this one."""
    sequence: int = 0
    refusals: int = 0
    """429s between which the model answered others, or nobody for a window."""
    answers_seen: int = 0
    """Of the model that last refused it, at that time."""

    def __repr__(self) -> str:
        return f"<Task row {self.row} for {'|'.join(self.models)}, {self.attempts} attempts>"


@dataclass(slots=True, eq=False)
class Ask:
    """Send this task to this model now; the lease holds its charge."""

    task: Task
    model: str
    lease: Lease
    number: int
    """Which sending of the task this is, from 1."""
    at: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be sent before `until`, unless a request lands or a task is offered first."""

    until: float
    """Infinity where only a landing can change anything."""


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to send and nothing is under way."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The last word on a task."""

    task: Task
    model: str
    status: Status
    result: Reply | Failure


@dataclass(frozen=True, slots=True)
class Landing:
    """What a landing led to."""

    action: Action | None
    """None after a reply."""
    finished: tuple[Finished, ...] = ()
    closed: str | None = None
    """The scope that the failure closed, if it did."""
    retry_at: float | None = None


@dataclass(slots=True)
class _Blocked:
    """A model that has no room for anything that waits for it."""

    until: float
    limits: set[Limit]
    first: list[Task]
    """Those that will fit first."""


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
        again: Callable[[Ask, Reply], tuple[Request, Size] | None] | None = None,
    ) -> None:
        """`charge` says what to reserve for a task at a model, and with it the output cap to send; it may take them
        from `lengths`, which is told here what became of them.

        For the first `canary` seconds a single request is under way: a gateway that takes none refuses it at once.
        `again` says what to ask instead, and its size, where a reply's answer cannot be used as it is.
        """
        self._budgets = budgets
        self._ledger = ledger
        self._charge = charge
        self._spending = spending
        self._rng = rng
        self._window = window
        self._attempts = attempts
        self._lengths = lengths
        self._canary = canary
        self._again = again
        self._alone_until = math.inf if canary else -math.inf
        self.congestion = Congestion(most_in_flight)
        self.gates = Gates(window, rng)
        self._queues: dict[tuple[str, ...], Queue] = {}
        self._of_model: dict[str, list[Queue]] = {model: [] for model in budgets}
        self._later: list[tuple[float, int, Task]] = []
        self._sequence = 0
        self._in_flight: dict[Ask, None] = {}
        self._in_flight_of = dict.fromkeys(budgets, 0)
        self._answers = dict.fromkeys(budgets, 0)
        self._answered_at = dict.fromkeys(budgets, -math.inf)
        self._lags = {model: Lag() for model in budgets}
        self._blocked: dict[str, _Blocked] = {}
        self._draining: dict[str, Task] = {}
        self._lost: dict[str, Failure] = {}
        self._pending: dict[str, Failure] = {}
        self._work = {model: Charge(0, 0, 0) for model in budgets}
        self._windows = dict.fromkeys(budgets, 0.0)
        """That work, in windows of the limit that it takes most of."""
        self._more = True
        self.stopped: str | Failure | None = None
        self._failing_since: float | None = None
        self.last_answer: float | None = None

    # What goes in.

    def expect(self, model: str, charge: Charge) -> None:
        """Tell of work that only this model can do, before it is offered."""
        self._expect(model, self._work[model] + charge)

    def offer(self, task: Task) -> Finished | None:
        """Add a task; its end, if none of its models can be used any more."""
        self._sequence += 1
        task.sequence = self._sequence
        return self._enqueue(task)

    def _enqueue(self, task: Task) -> Finished | None:
        usable = tuple(model for model in task.models if model not in self._lost)
        if not usable:
            return Finished(task, task.models[0], Status.ERRORED, self._lost[task.models[0]])
        queue = self._queues.get(usable)
        if queue is None:
            queue = self._queues[usable] = Queue(usable)
            for model in usable:
                self._of_model[model].append(queue)
                self._of_model[model].sort(key=lambda q: len(q.models))
        queue.push(task)
        if self._blocked:
            for model in usable:
                self._blocked.pop(model, None)
        return None

    def close(self) -> None:
        """Say that no more tasks will be offered."""
        self._more = False

    def stop(self, reason: str | Failure) -> None:
        """Admit nothing more; what is in flight lands, then the run is done."""
        self.stopped = self.stopped or reason

    @property
    def queued(self) -> int:
        """Tasks that wait and can be sent in this run, those that wait for another attempt included."""
        reachable = (queue.length for queue in self._queues.values() if not self._pending.keys() >= set(queue.models))
        return sum(reachable) + len(self._later)

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return len(self._in_flight)

    @property
    def failing_since(self) -> float | None:
        """Since when nothing but outage failures came back; None while the gateway answers."""
        return self._failing_since

    # What comes out.

    def next(self, now: float) -> Ask | Wait | Done:
        """The next thing to do at this moment."""
        if self._later:
            self._wake(now)
        ends = self._spending.ends
        if ends is not None and now >= ends and self.stopped is None and (self._more or self.queued):
            self.stop(self._spending.over)
        if self.stopped is None and self._full_until(now) <= now:
            for model in self._order(now):
                ask = self._try(model, now)
                if ask is not None:
                    return ask
                if self.stopped is not None:
                    break
        if self._in_flight:
            return Wait(self._next_change(now))
        if self.stopped is not None or not (self._more or self._reachable()):
            return Done()
        return Wait(self._next_change(now))

    def _full_until(self, now: float) -> float:
        """Until when nothing may go out because of what is under way; `now` if something may."""
        if self._in_flight and now < self._alone_until:
            return self._alone_until
        return self.congestion.full_until(len(self._in_flight), now)

    def _reachable(self) -> bool:
        return bool(self._later) or any(
            queue.length and any(model not in self._pending for model in queue.models)
            for queue in self._queues.values()
        )

    def _wake(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            _, _, task = heapq.heappop(self._later)
            self._enqueue(task)

    def _order(self, now: float) -> list[str]:
        ready = []
        for model, queues in self._of_model.items():
            blocked = self._blocked.get(model)
            if blocked is not None:
                if blocked.until > now:
                    continue
                del self._blocked[model]
            if not _has_work(queues) or model in self._lost or model in self._pending:
                continue
            if self.gates.wait(model, now) <= now:
                ready.append(model)
        if len(ready) > 1:
            ready.sort(key=lambda model: self._urgency(model, now))
        return ready

    def _urgency(self, model: str, now: float) -> tuple[float, float, int]:
        return -self._windows[model], self._ledger.use(model, now), self._in_flight_of[model]

    def _expect(self, model: str, work: Charge) -> None:
        """So much is left that only this model can do; in windows, models within a hundredth count as equal."""
        self._work[model] = work
        seconds = max((limit.of(work) / limit.amount * limit.window for limit in self._budgets[model]), default=0.0)
        self._windows[model] = round(seconds / self._window, 2)

    def _try(self, model: str, now: float) -> Ask | None:
        draining = self._draining.get(model)
        newest = math.inf if draining is None else draining.sequence
        room = self._ledger.room(model, now)
        for queue in self._of_model[model]:
            if not queue.length:
                continue
            key, passed = queue.oldest_that_fits(model, room, self._charge, now, newest)
            if passed is not None and self._has_waited(passed, now):
                self._draining[model] = passed
                newest = passed.sequence
                if key is not None and queue.lines[key].tasks[0].sequence > newest:
                    key = None
            if key is None:
                continue
            if not self._more and queue.length <= LAST:
                key = queue.largest_that_fits(model, room, self._charge, now, newest) or key
            task = queue.lines[key].tasks[0]
            ask = self._take(queue, key, model, now)
            if ask is not None and passed is not None and passed.sequence < task.sequence:
                passed.passed_since = min(passed.passed_since, now)
            if ask is not None or self.stopped is not None:
                return ask
        return self._block(model, newest, now)

    def _has_waited(self, task: Task, now: float) -> bool:
        return now - task.passed_since >= self._window / 2 and task not in self._draining.values()

    def _take(self, queue: Queue, key: tuple[int, int], model: str, now: float) -> Ask | None:
        """Send the head of a line, if the caps of the run and the ledger have room for what it costs by now."""
        charge = self._charge(queue.lines[key].tasks[0], model)
        reason = self._spending.refuses(model, charge)
        if reason is not None:
            self.stop(reason)
            return None
        lease = self._ledger.take(model, charge, now)
        return self._send(queue.pop(key), model, lease, now) if isinstance(lease, Lease) else None

    def _block(self, model: str, newest: float, now: float) -> Ask | None:
        """Nothing fits: note until when, by what will fit first; unless the ledger wants it to find out more."""
        blocked = _Blocked(math.inf, set(), [])
        for queue in self._of_model[model]:
            for key, task in queue.smallest(model, self._charge, now, newest) if queue.length else ():
                lease = self._ledger.take(model, self._charge(task, model), now)
                if isinstance(lease, Lease):
                    return self._send(queue.pop(key), model, lease, now)
                blocked.until = min(blocked.until, lease.until)
                blocked.limits.add(lease.limit)
                blocked.first.append(task)
                if lease.any_size:
                    self._blocked[model] = blocked
                    return None
        self._blocked[model] = blocked
        return None

    def _send(self, task: Task, model: str, lease: Lease, now: float) -> Ask:
        for name in [name for name, large in self._draining.items() if large is task]:
            del self._draining[name]
            self._blocked.pop(name, None)
        task.passed_since = math.inf
        task.sends += 1
        ask = Ask(task, model, lease, task.sends, now)
        self._in_flight[ask] = None
        self._alone_until = min(self._alone_until, now + self._canary)
        self._in_flight_of[model] += 1
        self._spending.hold(model, lease.charge)
        if len(task.models) == 1:
            work, spent = self._work[model], lease.charge
            left = max(0, work.requests - 1), max(0, work.input - spent.input), max(0, work.output - spent.output)
            self._expect(model, Charge(*left))
        self.gates.sent(model, ask)
        return ask

    def _next_change(self, now: float) -> float:
        if self.stopped is not None:
            return math.inf
        full_until = self._full_until(now)
        if full_until > now:
            return full_until
        until = self._later[0][0] if self._later else math.inf
        ends = self._spending.ends
        if ends is not None and ends > now:
            until = min(until, ends)
        for model, queues in self._of_model.items():
            if model in self._lost or model in self._pending or not _has_work(queues):
                continue
            blocked = self._blocked.get(model)
            opens = self.gates.wait(model, now)
            until = min(until, max(blocked.until if blocked else now, opens))
        return until

    # What comes back.

    def landed(self, ask: Ask, result: Reply | Failure, now: float) -> Landing:
        """Settle an ask, and decide what becomes of its task."""
        if ask not in self._in_flight:
            raise BrokenInvariant(f"{ask.task} landed twice.")
        del self._in_flight[ask]
        self._alone_until = -math.inf
        if isinstance(result, Reply):
            return self._replied(ask, result, now)
        return self._failed(ask, result, now)

    def _replied(self, ask: Ask, reply: Reply, now: float) -> Landing:
        usage = reply.usage
        self._answers[ask.model] += 1
        self._answered_at[ask.model] = now
        if not usage.reported:
            usage = Usage(input=ask.lease.charge.input, output=ask.lease.charge.output, reported=False)
        speed = self._lags[ask.model]
        lag = speed.learn(now - ask.at, usage.output)
        self.congestion.answered(lag, speed.floor + speed.seconds_per_token * usage.output, now)
        counted_at = ask.at + min(lag, self._window * MOST_LAG)
        if self._ledger.accepted(ask.lease, now):
            self._blocked.clear()
        self._settle(ask, Charge(1, usage.input, usage.output), usage, now, counted_at)
        self.gates.answered(ask.model, ask)
        self._failing_since, self.last_answer = None, now
        if self._was_cut_short(ask, reply):
            return self._finished_or(Action.REASK, self._enqueue(ask.task), None)
        if self._again is not None and (instead := self._again(ask, reply)) is not None:
            ask.task.request, ask.task.size = instead
            ask.task.asked_again += 1
            return self._finished_or(Action.REASK, self._enqueue(ask.task), None)
        return Landing(None, (Finished(ask.task, ask.model, Status.SUCCEEDED, reply),))

    def _was_cut_short(self, ask: Ask, reply: Reply) -> bool:
        """Whether an answer had less room than it may have; then the task is to have more."""
        task, cap = ask.task, ask.lease.charge.output
        if self._lengths is None or not task.free or reply.outcome is not Outcome.TRUNCATED:
            return False
        task.least = self._lengths.larger(ask.model, cap)
        return self._charge(task, ask.model).output > cap  # else it had all the room that there is

    def _failed(self, ask: Ask, failure: Failure, now: float) -> Landing:
        spent = ask.lease.charge if failure.ambiguous else NOTHING
        # What an ambiguous attempt cost nobody knows: the ledger keeps all of it, the caps count all of it.
        usage = Usage(input=spent.input, output=spent.output) if failure.ambiguous else None
        known = None
        if failure.kind is Kind.RATE_LIMITED:
            known = self._ledger.refused(ask.lease, failure, now)
            self._blocked.clear()
            self._failing_since, self.last_answer = None, now
            if known is Refused.EXPECTED:
                self._settle(ask, spent, usage, now)
                self.gates.returned(ask.model, ask)
                return self._finished_or(Action.REQUEUE, self._enqueue(ask.task), None)
        self._settle(ask, spent, usage, now)
        closed = self.gates.failed(ask.model, ask, failure, ask.at, now, paced=known is Refused.SURPRISING)
        task = ask.task
        if failure.kind is Kind.RATE_LIMITED and self._in_flight_of[ask.model] == 0:
            return self._refused_alone(ask, failure, closed, now)
        if failure.kind in retry.OUTAGES:
            self._failing_since = ask.at if self._failing_since is None else self._failing_since
        else:
            self._failing_since, self.last_answer = None, now
        if self._lengths is not None and failure.cap is not None and failure.cap < ask.lease.charge.output:
            self._lengths.refused(ask.model, failure.cap)
            if task.request.body is None or task.free:
                return self._finished_or(Action.REQUEUE, self._enqueue(task), closed)
        down = failure.kind in retry.OUTAGES and self.gates[ask.model].narrow
        action = Action.REQUEUE if down else retry.action(failure, task.attempts + 1, self._attempts)
        if action is Action.RETRY and self._lost.keys() >= set(task.models):
            action = Action.FINISH
        return self._carry_out(action, ask, failure, closed, now)

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
        self._sequence += 1
        task.sequence = self._sequence
        return self._finished_or(Action.REQUEUE, self._enqueue(task), closed)

    def _carry_out(self, action: Action, ask: Ask, failure: Failure, closed: str | None, now: float) -> Landing:
        task = ask.task
        if action is Action.REQUEUE:
            return self._finished_or(action, self._enqueue(task), closed)
        if action is Action.RETRY:
            task.attempts += 1
            retry_at = now + (failure.retry_after or retry.delay(task.attempts, self._rng))
            heapq.heappush(self._later, (retry_at, task.sequence, task))
            return Landing(action, closed=closed, retry_at=retry_at)
        if action is Action.MOVE:
            self._lost[ask.model] = failure
            return Landing(action, (*self._give_up(ask.model), *self._some(self._enqueue(task))), closed)
        if action is Action.PEND:
            self._pending[ask.model] = failure
            return self._finished_or(action, self._enqueue(task), closed)
        if action is Action.STOP:
            self.stop(failure)
            return self._finished_or(action, self._enqueue(task), closed)
        task.attempts += 1
        return Landing(action, (Finished(task, ask.model, Status.ERRORED, failure),), closed)

    def _finished_or(self, action: Action, finished: Finished | None, closed: str | None) -> Landing:
        return Landing(action, tuple(self._some(finished)), closed)

    @staticmethod
    def _some(finished: Finished | None) -> Iterable[Finished]:
        return () if finished is None else (finished,)

    def _give_up(self, model: str) -> Iterator[Finished]:
        for queue in tuple(self._of_model[model]):
            tasks = tuple(queue.drain())
            for other in queue.models:
                self._of_model[other].remove(queue)
            del self._queues[queue.models]
            for task in tasks:
                yield from self._some(self._enqueue(task))
        for entry in [entry for entry in self._later if self._lost.keys() >= set(entry[2].models)]:
            self._later.remove(entry)
            yield from self._some(self._enqueue(entry[2]))
        heapq.heapify(self._later)

    def _settle(
        self, ask: Ask, charge: Charge, usage: Usage | None, now: float, counted_at: float | None = None
    ) -> None:
        held = ask.lease.charge
        self._ledger.settle(ask.lease, charge, now, counted_at)
        self._in_flight_of[ask.model] -= 1
        self._spending.settle(ask.model, held, usage)
        if not self._blocked:
            return
        freed = {
            limit
            for limit in self._budgets[ask.model]
            if limit.of(charge) < limit.of(held) or now - ask.at >= limit.window
        }
        for model, blocked in tuple(self._blocked.items()) if freed else ():
            if not freed.isdisjoint(blocked.limits):
                self._look_again(model, blocked, now)

    def _look_again(self, model: str, blocked: _Blocked, now: float) -> None:
        """Some of what a model was waiting for has come back."""
        refusals = [self._ledger.refusal(model, self._charge(task, model), now) for task in blocked.first]
        if None in refusals:
            del self._blocked[model]
            return
        known = [refusal for refusal in refusals if refusal is not None]
        blocked.until = min(refusal.until for refusal in known)
        blocked.limits |= {refusal.limit for refusal in known}

    @property
    def pending_models(self) -> Mapping[str, Failure]:
        """Models whose quota is used up, with what the gateway said."""
        return self._pending

    @property
    def left(self) -> bool:
        """Whether there are tasks that wait, for whatever it may be."""
        return bool(self._later) or any(queue.length for queue in self._queues.values())

    def waiting_for(self, now: float) -> dict[str, tuple[Cause, ...]]:
        """What keeps each model that has work from being sent; "" stands for the run where there is none to send."""
        holds: dict[str, tuple[Cause, ...]] = {}
        idle = True
        for model, queues in self._of_model.items() if self.stopped is None else ():
            if any(queue.length for queue in queues):
                holds[model] = causes = self._held(model, now)
                idle = idle and causes == (Cause.QUOTA,)
        if idle:
            holds[""] = (self._idle(),)
        return holds

    def _held(self, model: str, now: float) -> tuple[Cause, ...]:
        if model in self._pending:
            return (Cause.QUOTA,)
        if self.gates.wait(model, now) > now:
            return (Cause.COOL_DOWN,)
        blocked = self._blocked.get(model)
        if blocked is not None and blocked.limits:
            return tuple(sorted({cause_of(limit) for limit in blocked.limits}))
        return (Cause.OWN_WORK,) if len(self._in_flight) < self.congestion.allowed else (Cause.CONGESTION,)

    def _idle(self) -> Cause:
        if self._more and self.stopped is None:
            return Cause.READING
        if self._in_flight:
            return Cause.ANSWERS
        return Cause.RETRY if self._later else Cause.OWN_WORK

    def leftover(self) -> Iterator[Task]:
        """Tasks that have no outcome when the run is done; they are taken out."""
        for queue in self._queues.values():
            yield from queue.drain()
        while self._later:
            yield heapq.heappop(self._later)[2]


def _has_work(queues: list[Queue]) -> bool:
    return any(queue.length for queue in queues)


__all__ = ["Ask", "Done", "Finished", "Landing", "Refusal", "Scheduler", "Task", "Wait"]
