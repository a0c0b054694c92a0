"""The scheduler against the local gateway's judge in virtual time: how near the least possible time, how many refusals.

Nothing is sent and no processor is in the way, so seconds here are the gateway's own: a window is a minute. The limits
that the scheduler is told are the page's; what the gateway really does differs by scenario.

    python benchmarks/virtual.py [--only TEXT] [--seeds N] [--again] [--knowing] [--greedy] [--phase S]
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from greedy import Greedy

from runner import planning, sampled
from runner.core.caps import Caps, Spending
from runner.core.catalog import Catalogue
from runner.core.charges import Charges
from runner.core.estimate import Size
from runner.core.events import Event, What
from runner.core.knowledge import Facts, Knowledge
from runner.core.lag import guard
from runner.core.sampling import Sample
from runner.core.schedule import Scheduler
from runner.core.survey import Survey
from runner.core.values import Failure, Kind, Outcome, Reply, Request, Usage
from runner.core.work import Ask, Done, Task
from runner.foresight import Foresight
from runner.ledgers.memory import MemoryLedger
from runner.simulator import Neighbour, Simulator, judge
from runner.simulator.account import Account
from runner.storage.specs import load_catalogue, load_limits

AHEAD = 4096
POOL = ("gpt-5-4", "gpt-5-4-mini", "gpt-5-4-nano", "gpt-5-1", "claude-haiku-4-5", "claude-sonnet-4-6")
JOB = "job"
Watch = Callable[[Event], None]
Rows = Sequence[tuple[Task, int]]
"""Tasks, and how long the answer to each will be."""
LONG_AGO = 3600.0
"""Seconds after which nothing is in use any more."""
BYTES = 4
"""Of a token, which a look over the input counts instead."""
PAUSE = 5.0
"""Seconds between a run and the next one at the same gateway."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A workload, and what the gateway really does."""

    name: str
    gateway: Simulator
    rows: int = 17_600
    models: tuple[str, ...] = POOL
    pinned: bool = False
    """Every row to one of the models in turn, rather than to the pool."""
    input_mean: float = 300.0
    input_sigma: float = 0.15
    input_most: float = math.inf
    output_mean: float = 3.0
    output_sigma: float = 0.3
    cap: int = 16
    """The most that an answer may be allowed."""
    free: bool = False
    """Whether less may be allowed at first."""
    latency: float = 0.6
    tokens_per_second: float = 80.0
    truth: float = 0.95
    """The gateway's tokens for one that we guess."""
    front: float = 0.0
    """Seconds that each request keeps the gateway's front busy before it is counted; one after another."""
    gone: frozenset[str] = frozenset()
    """Models that the gateway does not have any more."""


@dataclass
class Run:
    """What came of a scenario."""

    seconds: float = 0.0
    sent: int = 0
    refused: int = 0
    cut_short: int = 0
    ends: Counter[int] = field(default_factory=Counter)
    """How often each row ended."""
    succeeded: int = 0
    decisions: int = 0
    cpu: float = 0.0

    @property
    def refused_share(self) -> float:
        """Of all requests."""
        return self.refused / max(1, self.sent)


def lognormal(chance: random.Random, mean: float, sigma: float) -> float:
    """A draw from a lognormal distribution of this mean."""
    return chance.lognormvariate(math.log(mean) - sigma * sigma / 2, sigma)


class World:
    """A gateway, and the runs that are made against it one after another."""

    def __init__(self, scenario: Scenario, seed: int, catalogue: Catalogue) -> None:
        self.scenario = scenario
        self.seed = seed
        self.catalogue = catalogue
        self.chance = random.Random(f"{scenario.name}:{seed}")
        gateway = scenario.gateway
        if gateway.phase is None:
            gateway = replace(gateway, phase=self.chance.uniform(0, 60))
        self.account = Account(gateway, gateway.phase or 0.0)
        self.models = {name: catalogue.find(name) for name in scenario.models}
        self.limits = load_limits(catalogue)
        self.now = 0.0
        self.known = Knowledge()
        self.learned: dict[str, Facts] = {}

    def tasks(self) -> Iterator[tuple[Task, int]]:
        """The rows, and how long the answer to each will be."""
        scenario, chance = self.scenario, self.chance
        caps = dict.fromkeys(scenario.models, scenario.cap)
        for row in range(scenario.rows):
            drawn = min(scenario.input_most, lognormal(chance, scenario.input_mean, scenario.input_sigma))
            pool = (scenario.models[row % len(scenario.models)],) if scenario.pinned else scenario.models
            size = Size(max(8, round(drawn)))
            task = Task(row=row, models=pool, size=size, caps=caps, free=scenario.free, request=Request())
            yield task, max(1, round(lognormal(chance, scenario.output_mean, scenario.output_sigma)))

    def plan(self, rows: Rows, answers: int | None = None, sample: Sample | None = None) -> planning.Plan:
        """What `runner plan` says of these rows, with what runs before have learned; by a `sample` if there is one."""
        scheduler, charges, ledger = self._parts(0.0, probes=False)
        parts = sampled.Parts(
            scheduler=scheduler, charges=charges, ledger=ledger, models=self.models, limits=self.limits
        )
        if sample is None:
            return sampled.plan(parts, (replace(task) for task, _ in rows), answers=answers)
        for task, _ in rows:
            sample.see([task])
        return sampled.plan(parts, sample, answers=answers)

    def play(self, rows: Rows | None = None, watched: Callable[[Foresight], Watch] | None = None) -> Run:
        """A run to its end, which begins with what those before it have learned; over new rows, if none are given.

        `watched` is given the run's foresight, and gives what is told of every event after it.
        """
        scheduler, charges, ledger = self._parts(self.now, probes=True)
        tasks = self.tasks() if rows is None else ((replace(task), length) for task, length in rows)
        watch = None
        if rows is not None and watched is not None:
            foresight = self._foresight(rows, scheduler, charges, ledger)
            then = watched(foresight)

            def watch(event: Event) -> None:
                foresight.watch(event)
                then(event)

        run = _Flights(self, scheduler, charges, tasks, watch).run()
        self.known = charges.remember(self.known, JOB)
        self.learned = ledger.remember(self.now, self.now)
        return run

    def knowing(self) -> World:
        """The same gateway before any run, for one that knows what those here have learned."""
        world = World(self.scenario, self.seed, self.catalogue)
        world.known = self.known
        world.learned = {limit: {**facts, "spent": "", "until": -LONG_AGO} for limit, facts in self.learned.items()}
        return world

    def _parts(self, now: float, *, probes: bool) -> tuple[Scheduler, Charges, MemoryLedger]:
        budgets = self.limits.budgets(self.models.values())
        charges = Charges(self.models.values(), budgets, self.limits.window_seconds)
        charges.recall(self.known, JOB)
        ledger = MemoryLedger(budgets, guard, learns=True, probes=probes)
        ledger.recall(self.learned, self.now, now)
        scheduler = Scheduler(
            budgets=budgets,
            ledger=ledger,
            charge=charges,
            spending=Spending(Caps(), self.models.values(), 0.0),
            rng=random.Random(1),
            window=self.limits.window_seconds,
            most_in_flight=4000,
            lengths=charges.lengths,
        )
        return scheduler, charges, ledger

    def _foresight(self, rows: Rows, scheduler: Scheduler, charges: Charges, ledger: MemoryLedger) -> Foresight:
        survey = Survey(complete=True)
        for task, _ in rows:
            rough = replace(task, size=Size(BYTES * task.size.text))
            survey.note_task(rough)
            survey.note_size(rough.size.text, task.size.text)
        return Foresight(
            survey=lambda: survey,
            ended={},
            models=self.models,
            budgets=self.limits.budgets(self.models.values()),
            charges=charges,
            ledger=ledger,
            most_in_flight=4000,
            window=self.limits.window_seconds,
        )

    def least(self) -> float:
        """A bound on the time that no scheduler could beat, for what the gateway counted."""
        from least import Limit, least_admission

        limits = [Limit.from_meter(limit.name, limit.report()) for limit in self.account.limits]
        scenario, outages = self.scenario, self.scenario.gateway.outages
        shortest = scenario.front * scenario.rows
        return least_admission(limits, pinned=scenario.pinned, outages=outages, shortest=shortest) + scenario.latency


class _Flights:
    """One run: requests on their way to the gateway, and answers on theirs back."""

    def __init__(
        self,
        world: World,
        scheduler: Scheduler,
        charges: Charges,
        tasks: Iterator[tuple[Task, int]],
        watch: Watch | None,
    ) -> None:
        self.world = world
        self.watch = watch
        self.tasks = tasks
        self.scheduler = scheduler
        self.charges = charges
        self.outputs: dict[int, int] = {}
        self.flights: list[tuple[float, int, Ask, Failure | tuple[list[judge.Taken], Reply] | None]] = []
        self.number = 0
        self.front_free = world.now
        self.made = Run()

    def run(self) -> Run:
        world, scheduler, made = self.world, self.scheduler, self.made
        tasks, began, started = self.tasks, world.now, time.process_time()
        more = True
        while True:
            while more and scheduler.queued < AHEAD:
                task, length = next(tasks, (None, 0))
                if task is None:
                    more = False
                    scheduler.close()
                else:
                    self.outputs[task.row] = length
                    scheduler.offer(task)
            decision = scheduler.next(world.now)
            made.decisions += 1
            if isinstance(decision, Done):
                break
            if isinstance(decision, Ask):
                made.sent += 1
                if self.watch is not None:
                    self.watch(Event(world.now, What.SENT, ask=decision))
                self.front_free = max(self.front_free, world.now + self._transit()) + world.scenario.front
                self._fly(self.front_free, decision, None)
                continue
            lands = self.flights[0][0] if self.flights else math.inf
            world.now = max(world.now, min(decision.until, lands))
            if world.now == math.inf:
                raise RuntimeError("nothing will ever happen again")
            while self.flights and self.flights[0][0] <= world.now:
                at, _, ask, what = heapq.heappop(self.flights)
                if what is None:
                    self._arrive(at, ask)
                else:
                    self._land(at, ask, what)
        made.seconds, made.cpu = world.now - began, time.process_time() - started
        return made

    def _transit(self) -> float:
        return self.world.chance.uniform(0.03, 0.12)

    def _fly(self, at: float, ask: Ask, what: Failure | tuple[list[judge.Taken], Reply] | None) -> None:
        self.number += 1
        heapq.heappush(self.flights, (at, self.number, ask, what))

    def _arrive(self, at: float, ask: Ask) -> None:
        """A request reaches the gateway: it is taken in or refused, and comes back later."""
        world, scenario = self.world, self.world.scenario
        back = at + self._transit()
        if any(begin <= at < end for begin, end in scenario.gateway.outages):
            down = Failure(kind=Kind.OVERLOADED, message="", status=503, scope="model")
            self._fly(back, ask, down)
            return
        if ask.model in scenario.gone:
            self._fly(back, ask, Failure(kind=Kind.MODEL_UNAVAILABLE, message="", status=404, scope="model"))
            return
        cap = ask.lease.charge.output
        guess = self.charges.estimator.guess(ask.task.size, ask.model)
        tokens = max(1, round(guess * scenario.truth * world.chance.uniform(0.97, 1.03)))
        wanted = world.account.wanted(at, world.models[ask.model], tokens, cap)
        admitted = judge.admit(at, wanted)
        if isinstance(admitted, judge.Refused):
            if scenario.gateway.charge_refused:
                judge.charge(at, wanted)
            self._fly(back, ask, self._refusal(admitted))
            return
        length = self.outputs[ask.task.row]
        service = lognormal(world.chance, scenario.latency, 0.3) + min(cap, length) / scenario.tokens_per_second
        outcome = Outcome.OK if length <= cap else Outcome.TRUNCATED
        usage = Usage(input=tokens, output=min(cap, length))
        self._fly(back + service, ask, (admitted, Reply(text="", outcome=outcome, finish_reason="", usage=usage)))

    def _refusal(self, refused: judge.Refused) -> Failure:
        wait = self.world.scenario.gateway.window_seconds if refused.wait is None else max(1, math.ceil(refused.wait))
        measure = refused.limit.measure
        return Failure(
            kind=Kind.RATE_LIMITED,
            message="",
            status=429,
            scope="all" if refused.limit.model is None else "model",
            measure="total" if measure == "input" else measure,
            retry_after=float(wait) if self.world.scenario.gateway.retry_after else None,
        )

    def _land(self, at: float, ask: Ask, what: Failure | tuple[list[judge.Taken], Reply]) -> None:
        made = self.made
        if isinstance(what, Failure):
            made.refused += what.kind is Kind.RATE_LIMITED
            result: Failure | Reply = what
            landing = self.scheduler.landed(ask, result, at)
        else:
            taken, result = what
            judge.settle(at, taken, result.usage.output)
            self.charges.learn(ask.task, ask.model, result.usage, at - ask.at)
            landing = self.scheduler.landed(ask, result, at)
            made.succeeded += bool(landing.finished)
            made.cut_short += not landing.finished
        made.ends.update(finished.task.row for finished in landing.finished)
        if self.watch is not None:
            self.watch(Event(at, What.LANDED, ask=ask, result=result, landing=landing))
            for finished in landing.finished:
                self.watch(Event(at, What.FINISHED, ask=ask, finished=finished))


def scenarios() -> list[Scenario]:
    """Every kind of window, with the limits as advertised and not."""
    base = Simulator(window="sliding", requests_per_second=None, catalogue_limits=True)
    kinds = {
        "sliding": base,
        "fixed": replace(base, window="fixed"),
        "counter": replace(base, window="counter"),
        "bucket": replace(base, window="bucket"),
        "bucket 25 %": replace(base, window="bucket", burst=0.25),
        "bucket 10 %": replace(base, window="bucket", burst=0.10),
    }
    found: list[Scenario] = []
    for kind, gateway in kinds.items():
        found += _workloads(kind, gateway)
        found += _happenings(kind, gateway)
    return found


def _workloads(kind: str, gateway: Simulator) -> Iterator[Scenario]:
    largest = 150_000 * gateway.burst
    yield Scenario(name=f"label, {kind}", gateway=gateway)
    four = Scenario(
        name=f"output-bound, {kind}",
        gateway=gateway,
        rows=1_600,
        models=POOL[:4],
        pinned=True,
        input_mean=350.0,
        output_mean=230.0,
        output_sigma=0.4,
        cap=400,
    )
    yield four
    yield replace(
        four,
        name=f"mixed, {kind}",
        rows=3_000,
        models=POOL,
        pinned=False,
        input_mean=1_500.0,
        input_sigma=1.3,
        input_most=largest,
        output_mean=60.0,
        cap=200,
    )
    open_caps = replace(four, rows=4_000, models=POOL, pinned=False, output_mean=100.0, free=True)
    yield replace(open_caps, name=f"no caps, {kind}", cap=20_000)
    yield replace(open_caps, name=f"generous caps, {kind}", cap=4_096)


def _happenings(kind: str, gateway: Simulator) -> Iterator[Scenario]:
    def label(name: str, **changes: object) -> Scenario:
        return Scenario(name=f"{name}, {kind}", gateway=replace(gateway, **changes), rows=12_000)  # type: ignore[arg-type]

    yield label("half the limit", limit_changes=((0.0, 0.5),))
    yield label("drop", limit_changes=((90.0, 0.5),))
    yield label("drop in a wave", limit_changes=((122.0, 0.5),))
    yield label("half, back after 150 s", limit_changes=((0.0, 0.5), (150.0, 1.0)))
    yield label("neighbour 50 %", neighbours=(Neighbour(input=100_000, begin=70.0, end=220.0),))
    yield label("neighbour in a wave", neighbours=(Neighbour(input=100_000, begin=64.2, end=214.2),))
    yield label("outage", outages=((70.0, 118.0),))
    yield label("outage in a wave", outages=((62.8, 110.8),))
    yield label("charged refusals", charge_refused=True)
    yield replace(label("slow front"), front=0.006)
    yield label("no Retry-After", retry_after=False)
    yield replace(label("slow models"), latency=25.0)
    yield replace(label("a third of the requests/s", requests_per_second=30), input_mean=40.0)


def main() -> None:
    """Run the scenarios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="scenarios whose name holds this text")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="a second run at the same gateway, too")
    parser.add_argument("--knowing", action="store_true", help="the time of a run that knows the gateway beforehand")
    parser.add_argument("--greedy", action="store_true", help="the time of one that asks the gateway's judge itself")
    parser.add_argument("--reserving", type=int, metavar="N", help="the time of one that caps every answer at N tokens")
    parser.add_argument("--rows", type=int, metavar="N", help="instead of the scenario's own number")
    parser.add_argument("--phase", type=float, metavar="S", help="the first border comes after so many seconds")
    options = parser.parse_args()
    catalogue = load_catalogue()
    write = sys.stdout.write
    write(f"{'scenario':<34}{'rows':>7}{'taken':>8}{'least':>8}{'share':>7}{'429':>7}{'%':>7}{'µs/decision':>13}\n")
    for scenario in scenarios():
        if options.only not in scenario.name:
            continue
        if options.phase is not None:
            scenario = replace(scenario, gateway=replace(scenario.gateway, phase=options.phase))
        if options.rows is not None:
            scenario = replace(scenario, rows=options.rows)
        for seed in range(options.seeds):
            world = World(scenario, seed, catalogue)
            run = world.play()
            least = world.least()
            write(f"{scenario.name:<34}{run.succeeded:>7,}{run.seconds:>8.1f}{least:>8.1f}{least / run.seconds:>7.3f}")
            write(f"{run.refused:>7,}{100 * run.refused_share:>7.2f}{1e6 * run.cpu / run.decisions:>13.0f}")
            if run.cut_short:
                write(f"  {run.cut_short} cut short")
            if options.knowing:
                knew = world.knowing().play().seconds
                write(f"  knowing {knew:.1f} s, {knew / run.seconds:.3f}")
            if options.greedy:
                greedy = Greedy(World(scenario, seed, catalogue)).seconds()
                write(f"  greedy {greedy:.1f} s, {greedy / run.seconds:.3f}")
            if options.reserving is not None:
                reserving = World(replace(scenario, cap=options.reserving, free=False), seed, catalogue).play().seconds
                write(f"  reserving {reserving:.1f} s, {reserving / run.seconds:.2f} of ours")
                write(f", {reserving / least:.2f} of the least possible")
            if options.again:
                world.now += PAUSE
                second = world.play()
                write(f"  again {second.seconds:.1f} s, {100 * second.refused_share:.2f} % refused")
            write("\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
