"""What must hold at every moment of a run, checked by whoever watches its events and its gateway.

The letters are those of `docs/simulation.md`. A broken one is a `Violation`, and ends the simulation at once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from runner.core.events import Event, What
from runner.core.limits import ALL
from runner.core.retry import OUTAGES, Action
from runner.core.schedule import Scheduler
from runner.core.values import Charge, Failure, Kind, Reply, Status
from runner.core.work import Ask, Finished, Task
from runner.execution import CANARY_SECONDS
from runner.ledgers.memory import MemoryLedger
from simulated.books import SLACK, Book, Held, Scope, Violation, check
from simulated.gateway import Key, SimGateway
from simulated.scenario import Scenario
from simulated.sending import check_gates, check_order

WIDTH = 1.25
"""Tasks stand in lines of about one size, and only the first is looked at: one so much smaller may be overlooked."""
OUTAGE_AFTER = 8
MOST_REFUSALS = 20
FIRST_PAUSE = 1 / 15
"""Of a window: after a 429 that names no time, nothing goes for at least this."""
LONGEST_DELAY = 60.0


class Oracles:
    """Watches one session; `held` and `ends` go from session to session."""

    def __init__(
        self,
        scenario: Scenario,
        gateway: SimGateway,
        seen: Counter[str],
        held: list[Held],
        before: set[Key],
        shut: Mapping[str, float],
    ) -> None:
        """`before` are the tasks that ended in earlier sessions, by what the disk has kept.

        `shut` are the scopes of which the gateway has said there until when nothing is to come.
        """
        self.scenario = scenario
        self.gateway = gateway
        self.seen = seen
        self.held = held
        self.before = before
        self.scheduler: Scheduler
        self.ledger: MemoryLedger
        self.scopes = {name: Scope(until=shut.get(name, -math.inf)) for name in (ALL, *scenario.models)}
        self.books: dict[Key, Book] = {}
        self.flights: dict[Ask, Held] = {}
        self.lost: set[str] = set()
        self.pending: set[str] = set()
        self.stopping: set[str] = set()
        """Kinds of failures for which the run must stop."""
        self.interrupted = False
        self.failing_since: float | None = None
        self.last_answer = -math.inf
        self.reached = False
        self.first_sent = math.inf
        self.canary = min(CANARY_SECONDS, scenario.window / 60)
        """Seconds for which the first request is alone on its way."""
        self.returned = False
        self.sequences: list[tuple[float, int]] = []
        """When something was sent, and its task's sequence."""
        self.trace: list[tuple[object, ...]] = []

    # What is told.

    def offered(self, task: Task) -> None:
        """A task was read."""
        check((task.row, task.slot) not in self.before, "I2", f"{task} has its outcome, and is offered again")
        self.books[task.row, task.slot] = Book(task, task.attempts)

    def __call__(self, event: Event) -> None:
        """Take in an event, after the recorder."""
        if event.what is What.SENT and event.ask is not None:
            self._sent(event.ask, event.at)
        elif event.what is What.LANDED and event.ask is not None and event.result is not None:
            self._landed(event)
        elif event.what is What.FINISHED and event.finished is not None:
            self._finished(event.finished)

    def _sent(self, ask: Ask, now: float) -> None:
        task, book = ask.task, self.book(ask.task)
        check(not book.ended, "I2", f"{task} is sent after its end")
        check(ask.model in task.models, "I2", f"{task} is sent to {ask.model}")
        check(now >= book.waits_until - SLACK, "I4", f"{task} is sent {book.waits_until - now:.3f} s before its retry")
        check(self.scheduler.stopped is None, "I5", f"{task} is sent after the stop")
        check(ask.model not in self.lost | self.pending, "I5", f"{task} is sent to {ask.model}, which cannot be used")
        check_gates(self, ask, now)
        check_order(self, ask, now)
        alone = now >= self.first_sent + self.canary - SLACK or self.returned or not self.flights
        check(alone, "I5", f"{task} is sent beside the first request")
        self.first_sent = min(self.first_sent, now)
        book.sends += 1
        check(ask.number == book.sends, "I4", f"{task}: sending {book.sends} has the number {ask.number}")
        self.sequences.append((now, task.sequence))
        self.flights[ask] = held = Held(now, ask.model, ask.lease.charge, ask.lease.charge)
        self.held.append(held)
        self.trace.append((round(now, 6), "sent", task.row, task.slot, ask.model, ask.lease.charge))

    def turns(self, moment: float) -> int:
        """The youngest sequence whose turn may have come by a moment: so many were sent, under one sequence or another.

        Nor does anybody wait for the turn of those that nobody may answer any more.
        """
        gone = self.lost | self.pending
        sent = len({sequence for at, sequence in self.sequences if at <= moment})
        return sent + sum(gone.issuperset(book.task.models) for book in self.books.values())

    def flies(self, task: Task) -> bool:
        """Whether a request of a task is under way."""
        return any(flight.task is task for flight in self.flights)

    def generously(self, task: Task, model: str) -> Charge:
        """What a request may take at the most by the ledger's guess."""
        tokens = task.size.text * self.scenario.models[model].family.multiplier * max(1.0, self.scenario.truth[model])
        return Charge(1, math.ceil(tokens * 1.1 * WIDTH) + 2, math.ceil(task.caps[model] * WIDTH))

    def _landed(self, event: Event) -> None:
        ask, result, landing, now = event.ask, event.result, event.landing, event.at
        assert ask is not None
        assert landing is not None
        self.returned = True
        held = self.flights.pop(ask, None)
        check(held is not None, "I9", f"{ask.task} landed without being under way")
        check(ask.lease.settled, "I9", f"{ask.lease} is not settled after landing")
        assert held is not None
        held.settled = True
        book = self.book(ask.task)
        if isinstance(result, Reply):
            if result.usage.reported:
                held.charge = Charge(1, result.usage.input, result.usage.output)
        else:
            assert isinstance(result, Failure)
            self._failed(ask, result, landing.closed, now)
            if not result.ambiguous:
                held.charge = Charge(1, 0, 0)
            if result.kind is not Kind.RATE_LIMITED:
                book.failures[result.kind] += 1
            else:
                book.failures["429"] += 1
        if isinstance(result, Reply) or (result.kind is not Kind.RATE_LIMITED and result.kind not in OUTAGES):
            self._answers(ask)
        if landing.retry_at is not None:
            wait = landing.retry_at - now
            named = result.retry_after if isinstance(result, Failure) else None
            check(wait <= max(LONGEST_DELAY, named or 0.0), "I4", f"{ask.task} is to wait {wait:.0f} s for its retry")
            book.waits_until = landing.retry_at
            allowed = self.scenario.job.attempts
            check(ask.task.attempts < allowed, "I4", f"{ask.task} is tried again, with {allowed} attempts allowed")
        if landing.action is Action.MOVE:
            self.lost.add(ask.model)
        elif landing.action is Action.PEND:
            self.pending.add(ask.model)
        self._mind_patience(result, ask, landing.action, now)
        said = result.text if isinstance(result, Reply) else result.kind
        self.trace.append((round(now, 6), "landed", ask.task.row, ask.task.slot, ask.model, said))

    def _failed(self, ask: Ask, result: Failure, closed: str | None, now: float) -> None:
        name = ALL if result.scope == "all" else ask.model
        scope = self.scopes[name]
        if result.kind is Kind.UNAUTHORIZED or (result.kind is Kind.QUOTA_EXHAUSTED and result.scope == "all"):
            self.stopping.add(result.kind)
        busy = self.scopes[ask.model]
        if self._is_left_alone(result, busy):
            busy.until = max(busy.until, now + (result.retry_after or 0.0))
        elif closed is not None:
            shut = self.scopes[closed]
            self.seen["half-open probe refused"] += shut.narrow and ask.at > shut.closed_at
            shut.closed_at, shut.narrow = now, True
        if result.kind is Kind.RATE_LIMITED:
            if not self.scenario.learns and ask.at > scope.closed_at and closed != name:
                check(False, "I5", f"a 429 at {now:.3f} does not close {name}")
            pause = result.retry_after or (FIRST_PAUSE * self.scenario.window if closed == name else 0.0)
            scope.until = max(scope.until, now + pause)
            self.seen["429 without a time"] += result.retry_after is None
        elif result.kind in OUTAGES:
            counts = ALL if result.kind is Kind.UNREACHABLE else ask.model
            self.scopes[counts].outages += 1

    @staticmethod
    def _is_left_alone(result: Failure, scope: Scope) -> bool:
        """An overloaded model that says until when is asked nothing until then, and by as many as before afterwards."""
        said = result.kind is Kind.OVERLOADED and result.retry_after is not None
        return said and not scope.narrow and scope.outages + 1 < OUTAGE_AFTER

    def _answers(self, ask: Ask) -> None:
        for name in (ALL, ask.model):
            scope = self.scopes[name]
            scope.outages = 0
            if ask.at > scope.closed_at:
                scope.narrow = False

    def _mind_patience(self, result: Reply | Failure | None, ask: Ask, action: Action | None, now: float) -> None:
        """I4: a gateway that does not answer is given up in time."""
        self.reached = self.reached or not isinstance(result, Failure) or result.status is not None
        if isinstance(result, Failure) and result.kind in OUTAGES:
            since = max(ask.at, self.last_answer)
            self.failing_since = since if self.failing_since is None else self.failing_since
        else:
            self.failing_since, self.last_answer = None, now  # a 429 is a sign of life too
        hung_alone = isinstance(result, Failure) and result.kind is Kind.TIMEOUT and action is not Action.REQUEUE
        if self.failing_since is not None and not hung_alone:  # such a row ends by its attempts
            patience = self.scenario.job.patience if self.reached else min(30.0, self.scenario.job.patience)
            late = now - self.failing_since - patience
            longest = max(1.5 * self.scenario.window, self.scenario.slow, LONGEST_DELAY, self.scenario.window / 2)
            check(late <= longest + 5.0, "I4", f"the gateway is down for {late:.0f} s more than patience allows")

    def _finished(self, finished: Finished) -> None:
        task = finished.task
        key = (task.row, task.slot)
        check(key not in self.before, "I2", f"{task} ends again")
        book = self.books.get(key)
        if book is None:  # it never was a task
            self.before.add(key)
            return
        check(not book.ended, "I2", f"{task} ends twice")
        book.ended = True
        given_up = isinstance(finished.result, Failure) and finished.result.kind is Kind.RATE_LIMITED
        counted = book.before + book.failures.total() - book.failures["429"] + given_up
        check(task.attempts <= counted, "I4", f"{task} has counted attempts, and failed {counted} times without 429s")
        if finished.status is Status.ERRORED:
            assert isinstance(finished.result, Failure)
            self._check_reason(book, finished.model, finished.result)
        self.trace.append(("ended", task.row, task.slot, finished.status))

    def _check_reason(self, book: Book, model: str, result: Failure) -> None:
        """I4: no task ends for what it is not to blame for, nor before its attempts are used up."""
        task, kind, allowed = book.task, result.kind, self.scenario.job.attempts
        if kind is Kind.RATE_LIMITED:
            check(book.failures["429"] >= MOST_REFUSALS, "I4", f"{task} ends for {book.failures['429']} 429s")
        elif kind is Kind.MODEL_UNAVAILABLE:
            check(self.lost >= set(task.models), "I4", f"{task} ends, and not all of its models are gone")
        elif kind in OUTAGES or kind is Kind.INVALID_RESPONSE:
            counted = book.before + book.failures.total() - book.failures["429"]
            least = min(allowed, 3) if kind is Kind.INVALID_RESPONSE else allowed
            gone = self.lost >= set(task.models)
            check(counted >= least or gone, "I4", f"{task} ends after {counted} failures, with {least} allowed")
            check(task.attempts <= allowed, "I4", f"{task} has {task.attempts} attempts")
            # A row that failed while others were answered is to blame itself, when others fail later, too.
            down = kind in OUTAGES and self.scopes[model].outages > OUTAGE_AFTER and not task.suspect
            check(not down, "I4", f"{task} ends for {kind} while {model} is down")
        else:
            expected = self.scenario.poison.get(task.row)
            check(book.failures[kind] == 1, "I4", f"{task} was sent again after {kind}")
            check(kind is expected, "I4", f"{task} ends for {kind}, and is to blame for {expected}")

    def book(self, task: Task) -> Book:
        """What befell a task."""
        found = self.books.get((task.row, task.slot))
        if found is None:
            raise Violation(f"I2: {task} was never offered")
        return found

    # At the end of a session.

    def over(self, exit_code: int) -> None:
        """I9, I13: nothing is held, and the run says how it ended."""
        self._check_ending(exit_code)
        if self.flights:
            return  # it was cut off
        spending = self.scheduler._spending
        check(spending._held_tokens == 0, "I9", f"{spending._held_tokens} tokens are held at the end")
        check(abs(spending._held_cost) < 1e-6, "I9", "dollars are held at the end")
        check(self.scheduler.in_flight == 0, "I9", "requests are under way at the end")
        check(sum(self.scheduler.flights.of_model.values()) == 0, "I9", "models count requests at the end")

    def _check_ending(self, exit_code: int) -> None:
        """The exit code follows from what was said."""
        still_open = [book.task for book in self.books.values() if not book.ended]
        expected: set[int] = set()
        if Kind.UNAUTHORIZED in self.stopping:
            expected.add(5)
        if Kind.QUOTA_EXHAUSTED in self.stopping or (self.pending and still_open):
            expected.add(9)
        if self.interrupted:
            expected.add(130)
        if self.failing_since is not None:
            expected.add(9)
        if not still_open and not expected & {5}:
            expected.add(0)
        check(
            exit_code in expected, "I13", f"it ends with {exit_code}, not one of {sorted(expected)}; open: {still_open}"
        )
