"""Whole runs in virtual time, by seed: random tasks, limits, latencies and failures, and a judge who counts."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from random import Random

import pytest

from runner.core.caps import Caps, Spending
from runner.core.catalog import Model
from runner.core.limits import ALL, Budget, Limit
from runner.core.passed import GRAIN, LARGE
from runner.core.retry import Action
from runner.core.schedule import Scheduler
from runner.core.values import Charge, Failure, Kind, Reply
from runner.core.work import Ask, Done, Landing, Task, Wait
from runner.ledgers.memory import MemoryLedger
from runner.testing import Counted, Judge, charge_of, failure, refusal, reply, task

SEEDS = range(200)
WINDOW = 10.0
MOST_IN_FLIGHT = 12

FAILURES: tuple[Failure, ...] = (
    refusal("model", retry_after=3.0),
    refusal("model"),
    refusal("all", retry_after=2.0),
    failure(Kind.SERVER_ERROR),
    failure(Kind.OVERLOADED, retry_after=4.0),
    failure(Kind.TIMEOUT, ambiguous=True),
    failure(Kind.DISCONNECTED, ambiguous=True),
    failure(Kind.INVALID_RESPONSE, ambiguous=True),
    failure(Kind.UNREACHABLE),
    failure(Kind.INVALID_REQUEST),
    failure(Kind.CONTENT_FILTER),
)
RARE: tuple[Failure, ...] = (
    failure(Kind.MODEL_UNAVAILABLE),
    failure(Kind.QUOTA_EXHAUSTED, scope="model"),
    failure(Kind.UNAUTHORIZED),
)


class SimulatedRun:
    """One run: a scheduler, a judge that counts the truth, and a book of what became of each task."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)
        self.now = 0.0
        self.budgets = self.some_budgets()
        self.judge = Judge({limit: None for budget in self.budgets.values() for limit in budget})
        self.ledger = MemoryLedger(self.budgets)
        self.scheduler = Scheduler(
            budgets=self.budgets,
            ledger=self.ledger,
            charge=charge_of,
            spending=Spending(Caps(), [Model(id=name, provider="Somebody") for name in self.budgets], 0.0),
            rng=Random(seed),
            window=WINDOW,
            attempts=4,
            most_in_flight=MOST_IN_FLIGHT,
        )
        self.failing = rng.choice([0.0, 0.1, 0.3])
        self.slow = rng.choice([0.5, 3.0, 2 * WINDOW])
        self.landings: list[tuple[float, int, Ask, Reply | Failure, Counted]] = []
        self.tasks = self.some_tasks()
        self.queued: dict[int, Task] = {}
        self.later: list[tuple[float, int, Task]] = []
        self.lost: set[str] = set()
        self.ends: Counter[int] = Counter()
        self.seen: Counter[str] = Counter()
        self.sent: list[tuple[float, int]] = []
        """When something was sent, and its sequence."""

    def some_budgets(self) -> dict[str, Budget]:
        """Two or three models, each with some limits of its own, and often a combined one."""
        rng = self.rng
        combined = Limit(scope=ALL, measure=rng.choice(["input", "total"]), amount=1200, window=WINDOW)
        shared = (combined,) if rng.random() < 0.8 else ()
        return {
            name: (
                Limit(scope=name, measure="input", amount=rng.choice([520, 1000]), window=WINDOW),
                Limit(scope=name, measure="output", amount=rng.choice([130, 400]), window=WINDOW),
                *(Limit(scope=name, measure="requests", amount=3, window=1.0) for _ in range(rng.randrange(2))),
                *shared,
            )
            for name in "abc"[: rng.choice([2, 3])]
        }

    def some_tasks(self) -> list[Task]:
        """Pinned and pooled tasks of a few sizes, far enough apart to be told apart by their size alone."""
        rng, names = self.rng, tuple(self.budgets)
        pools = [*((name,) for name in names), names]
        return [
            task(row, *rng.choice(pools), input=rng.choice([8, 60, 500]), cap=rng.choice([10, 90])) for row in range(60)
        ]

    def some_result(self, charge: Charge) -> Reply | Failure:
        """What comes back: the truth is never above the guess."""
        rng = self.rng
        if rng.random() < self.failing:
            return rng.choice(FAILURES) if rng.random() < 0.99 else rng.choice(RARE)
        return reply(input=rng.randint(charge.input // 2, charge.input), output=rng.randint(1, charge.output))

    def run(self) -> None:
        """Offer everything, and go from event to event until the scheduler is done."""
        for each in self.tasks:
            self.scheduler.offer(each)
            self.queued[each.row] = each
        self.scheduler.close()
        for _ in range(20_000):
            decision = self.scheduler.next(self.now)
            self.wake()
            if isinstance(decision, Done):
                return
            if isinstance(decision, Ask):
                self.send(decision)
            else:
                self.wait(decision)
        raise AssertionError("It does not end.")

    def wake(self) -> None:
        while self.later and self.later[0][0] <= self.now:
            each = heapq.heappop(self.later)[2]
            if not self.ends[each.row]:
                self.queued[each.row] = each

    def send(self, ask: Ask) -> None:
        held = ask.lease.charge
        result = self.some_result(held)
        truth = result.usage.input if isinstance(result, Reply) else held.input
        counted = self.judge.admit(ask.model, Charge(1, truth, held.output), self.now)
        assert self.scheduler.in_flight <= MOST_IN_FLIGHT
        assert isinstance(counted, Counted), f"at {self.now}: {ask} exceeds {counted}"
        del self.queued[ask.task.row]
        self.sent.append((self.now, ask.task.sequence))
        lands = self.now + self.rng.uniform(0.1, self.slow)
        heapq.heappush(self.landings, (lands, self.seen["sent"], ask, result, counted))
        self.seen["sent"] += 1

    def wait(self, wait: Wait) -> None:
        self.check_that_nothing_fits()
        lands = self.landings[0][0] if self.landings else math.inf
        until = min(wait.until, lands)
        assert self.now < until < math.inf, f"at {self.now}: {wait}, and the next landing is at {lands}"
        self.now = until
        while self.landings and self.landings[0][0] <= self.now:
            _, _, ask, result, counted = heapq.heappop(self.landings)
            self.land(ask, result, counted)

    def land(self, ask: Ask, result: Reply | Failure, counted: Counted) -> None:
        if isinstance(result, Reply):
            counted.charge = replace(counted.charge, output=result.usage.output)
        elif not result.ambiguous:
            counted.charge = Charge(1, 0, 0)
        landing = self.scheduler.landed(ask, result, self.now)
        self.note(ask, result, landing)
        if landing.action is Action.MOVE:
            self.lost.add(ask.model)
        for end in landing.finished:
            self.ends[end.task.row] += 1
            self.queued.pop(end.task.row, None)
        if not self.ends[ask.task.row]:
            if landing.retry_at is not None:
                heapq.heappush(self.later, (landing.retry_at, ask.task.row, ask.task))
            else:
                self.queued[ask.task.row] = ask.task

    def note(self, ask: Ask, result: Reply | Failure, landing: Landing) -> None:
        self.seen["in flight for longer than a window"] += self.now - ask.at > WINDOW
        if isinstance(result, Failure):
            self.seen[result.kind] += 1
            self.seen["closed"] += landing.closed is not None
            self.seen["ambiguous"] += result.ambiguous

    def turns(self, until: float) -> int:
        """The youngest sequence whose turn may have come by then: that of one that nobody may answer is no turn."""
        gone = self.lost | self.scheduler.pending_models.keys()
        sent = len({sequence for at, sequence in self.sent if at <= until})
        return sent + sum(gone.issuperset(each.models) for each in self.tasks)

    def is_large_for(self, task: Task, budget: Budget) -> bool:
        """Whether it takes most of one of these limits, at one of its models, and its turn has come."""
        shares = (
            limit.of(charge_of(task, model)) / limit.amount
            for model in task.models
            for limit in self.budgets[model]
            if limit in budget and limit.measure != "requests"
        )
        return task.sequence <= self.turns(self.now) and max(shares, default=0.0) > LARGE

    def check_that_nothing_fits(self) -> None:
        """Work conservation: whoever waits must have nothing that could be sent."""
        scheduler, now = self.scheduler, self.now
        if scheduler.stopped is not None or scheduler.in_flight >= scheduler.flights.congestion.allowed:
            return
        spent = self.ledger.spent(now)
        passed = self.turns(now - WINDOW / 2 + GRAIN * WINDOW)
        for model, budget in self.budgets.items():
            tasks = [each for each in self.queued.values() if model in each.models]
            if model in self.lost or model in scheduler.pending_models or scheduler.gates.wait(model, now) > now:
                continue
            if any(each.sequence <= passed or self.is_large_for(each, budget) for each in self.queued.values()):
                continue  # it may be kept free for a large one
            for each in tasks:
                assert any(spent[limit] + limit.of(charge_of(each, model)) > limit.amount for limit in budget), (
                    f"at {now}: {each} fits {model}, and the scheduler waits"
                )


def simulated(seed: int) -> SimulatedRun:
    run = SimulatedRun(seed)
    run.run()
    return run


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.promise("outcome", "budget")
def test_a_run_ends_every_task_once_and_exceeds_no_limit(seed: int) -> None:
    """The judge refuses nothing, no wait is idle or endless, nothing that fits is held back, and no task is lost."""
    run = simulated(seed)
    left = Counter(task.row for task in run.scheduler.leftover())
    if run.scheduler.pending_models:  # what only these may answer is let go of
        assert run.ends + left <= Counter(range(60))
        return
    assert run.ends + left == Counter(range(60))
    if run.scheduler.stopped is None:
        assert not left


def test_two_runs_of_one_seed_are_the_same() -> None:
    """Nothing but the seed decides: not the clock, not the order of a set."""
    first, second = simulated(7), simulated(7)
    assert (first.now, first.seen, first.judge.most) == (second.now, second.seen, second.judge.most)


def test_the_seeds_meet_everything_that_they_are_to_test() -> None:
    """A batch of runs to which nothing happened would prove nothing."""
    seen: Counter[str] = Counter()
    full: Mapping[Limit, int] = {}
    for seed in SEEDS[:40]:
        run = simulated(seed)
        seen += run.seen
        full = {**full, **{limit: most for limit, most in run.judge.most.items() if most > 0.95 * limit.amount}}
    kinds = {result.kind for result in FAILURES}
    assert kinds | {"closed", "ambiguous", "in flight for longer than a window"} <= set(+seen)
    assert {limit.measure for limit in full} >= {"input", "output", "requests"}
