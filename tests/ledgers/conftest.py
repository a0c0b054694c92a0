"""Ledgers to test: each kind that there is, and several that share one account, with a clock of numbers."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from runner.app import guard
from runner.core.caps import Caps, Spending
from runner.core.catalog import Model
from runner.core.limits import ALL, Limit
from runner.core.ports import Ledger
from runner.core.schedule import Ask, Scheduler, Wait
from runner.core.values import Failure, Reply
from runner.ledgers.memory import MemoryLedger
from runner.ledgers.pages import Member
from runner.ledgers.processes import Life, Process, this_process
from runner.ledgers.shared import SharedLedger
from runner.ledgers.sqlite import Store
from runner.simulator import judge
from runner.simulator.window import Shape
from runner.testing import charge_of, refusal, reply, task

MODELS = ("a", "b", "c", "d")
START = 1_000.0
UNCALIBRATED = 40
"""Requests of a run."""

_numbers = count(1)


class Host:
    """A host on which runs share an account: a file, and the fate of their processes, which a test decides."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fates: dict[int, Life] = {}
        self._stores: dict[int, Store] = {}

    def run(self, budgets: Any, guard: Callable[[float], float] = lambda _window: 0.0, **options: Any) -> SharedLedger:
        """The ledger of a new run."""
        number = next(_numbers)
        process = options.pop("process", replace(this_process(), pid=number))
        self.fates.setdefault(process.pid, Life.RUNS)
        self._stores[process.pid] = Store(self.path)
        return SharedLedger(
            budgets,
            guard,
            store=self._stores[process.pid],
            me=Member(
                run=options.pop("run", f"run-{number}"),
                process=process,
                priority=options.pop("priority", "normal"),
                since=float(number),
            ),
            alive=self._fate,
            **options,
        )

    def kill(self, ledger: SharedLedger) -> None:
        """End a run's process without a word."""
        self.fates[ledger.me.process.pid] = Life.GONE

    def kill_unseen(self, ledger: SharedLedger) -> None:
        """The same in another container, whose processes cannot be seen: the kernel lets go of what it had open."""
        self.fates[ledger.me.process.pid] = Life.UNKNOWN
        self._stores[ledger.me.process.pid].close()

    def _fate(self, process: Process) -> Life:
        return self.fates.get(process.pid, Life.GONE)

    def close(self) -> None:
        for store in self._stores.values():
            store.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path / "account.share")
    yield made
    made.close()


@pytest.fixture(scope="session")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ledgers")


LEDGERS = ("memory", "shared")


@pytest.fixture(params=LEDGERS)
def ledgers(request: pytest.FixtureRequest, _folder: Path) -> Iterator[Callable[..., Ledger]]:
    """Makes a ledger from budgets and a guard; one that shares is alone with its account."""
    if request.param == "memory":
        yield MemoryLedger
        return
    made: list[Host] = []

    def make(budgets: Any, **options: Any) -> Ledger:
        if made:
            made.pop().close()
        made.append(Host(_folder / f"{next(_numbers)}.share"))
        return made[-1].run(budgets, **options)

    yield make
    for host in made:
        host.close()


# Several runs against the gateway's own judge, in virtual time.


@dataclass(eq=False)
class Run:
    """One of them: the real scheduler over a ledger that shares."""

    ledger: SharedLedger
    scheduler: Scheduler
    models: tuple[str, ...]
    tokens: int
    rows: float
    """How many it has to ask; infinity for more than there is time for."""
    connected: float = 0.0
    """When its first request can go out."""
    offered: int = 0
    wakes: float = math.inf
    dead: bool = False
    sent: int = 0
    refused: list[float] = field(default_factory=list)
    """When."""
    taken: list[tuple[float, int]] = field(default_factory=list)
    """When the gateway counted a request, and how many tokens."""

    def between(self, begin: float, end: float) -> int:
        """Tokens that the gateway counted from one moment to another."""
        return sum(tokens for at, tokens in self.taken if begin <= at < end)


class Together:
    """Runs of one account; their requests are under way for a moment, and are judged when they arrive."""

    def __init__(
        self,
        host: Host,
        kind: Any,
        seed: int,
        *,
        amount: int = 200_000,
        window: float = 60.0,
        way: tuple[float, float] = (0.03, 0.12),
        connects: tuple[float, float] = (0.0, 0.0),
        guesses: float = 1.0,
    ) -> None:
        """The limit of all models together is what binds; a model's own is ten times as much.

        A run's first requests wait until it is connected, for so many seconds; the first `UNCALIBRATED` of its guesses
        are `guesses` times the truth.
        """
        self.host = host
        self.window = window
        self.amount = amount
        self.chance = Random(seed)
        self.way = way
        self.connects = connects
        self.guesses = guesses
        self.now = START
        self.runs: list[Run] = []
        shape = Shape(kind=kind, seconds=window, phase=self.chance.uniform(0, window))
        self.combined = judge.Limit(measure="input", model=None, amount=amount, shape=shape)
        self._own = {name: judge.Limit(measure="input", model=name, amount=10 * amount, shape=shape) for name in MODELS}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def begin(
        self, *models: str, tokens: int = 1_500, rows: float = math.inf, priority: str = "normal", **options: Any
    ) -> Run:
        """A run that begins now, with so many rows of about so many tokens."""
        combined = Limit(scope=ALL, measure="input", amount=self.amount, window=self.window)
        budgets = {
            name: (Limit(scope=name, measure="input", amount=10 * self.amount, window=self.window), combined)
            for name in models
        }
        ledger = self.host.run(budgets, guard, learns=True, priority=priority, **options)
        scheduler = Scheduler(
            budgets=budgets,
            ledger=ledger,
            charge=charge_of,
            spending=Spending(Caps(), [Model(id=name, provider="Somebody") for name in models], 0.0),
            rng=Random(self.chance.random()),
            window=self.window,
        )
        run = Run(ledger, scheduler, models, tokens, rows, connected=self.now + self.chance.uniform(*self.connects))
        self.runs.append(run)
        ledger.meet(self.now)
        self._beat(run)
        self._pump(run)
        return run

    def kill(self, run: Run) -> None:
        """End it without a word; what is under way arrives all the same."""
        run.dead = True
        self.host.kill(run.ledger)

    def play(self, seconds: float) -> None:
        """Let so much time pass."""
        ends = self.now + seconds
        while self._events and self._events[0][0] <= ends:
            self.now, _, happens = heapq.heappop(self._events)
            happens()
        self.now = ends

    def _later(self, seconds: float, happens: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.now + seconds, self._number, happens))

    def _beat(self, run: Run) -> None:
        if not run.dead:
            run.ledger.beat(self.now)
            self._later(run.ledger.period, lambda: self._beat(run))

    def _pump(self, run: Run) -> None:
        if run.dead or run.scheduler.stopped:
            return
        while True:
            while run.scheduler.queued < 64 and run.offered < run.rows:
                tokens = round(self.chance.gauss(run.tokens, 0.07 * run.tokens))
                run.scheduler.offer(task(run.offered, *run.models, input=max(1, tokens)))
                run.offered += 1
            decision = run.scheduler.next(self.now)
            if not isinstance(decision, Ask):
                break
            run.sent += 1
            waits = max(0.0, run.connected - self.now)
            decision.sent_at = self.now + waits
            self._later(waits + self._way(), lambda ask=decision: self._arrive(run, ask))  # type: ignore[misc]
        if isinstance(decision, Wait) and decision.until < math.inf and decision.until != run.wakes:
            run.wakes = decision.until
            self._later(decision.until - self.now, lambda: self._pump(run))

    def _way(self) -> float:
        return self.chance.uniform(*self.way)

    def _arrive(self, run: Run, ask: Ask) -> None:
        guessed = self.guesses if len(run.taken) < UNCALIBRATED else 1.0
        tokens = round(ask.lease.charge.input / guessed * self.chance.uniform(0.97, 1.03))
        found = judge.admit(self.now, [judge.Wanted(self.combined, tokens), judge.Wanted(self._own[ask.model], tokens)])
        if isinstance(found, judge.Refused):
            grain = self.window / 60
            wait = grain * max(1, math.ceil((found.wait or self.window) / grain))
            run.refused.append(self.now)
            self._later(self._way(), lambda: self._land(run, ask, refusal("all", retry_after=wait, measure="total")))
            return
        run.taken.append((self.now, tokens))
        back = self._way() + self.chance.uniform(0.4, 0.9)
        self._later(back, lambda: self._land(run, ask, reply(input=tokens, output=ask.lease.charge.output)))

    def _land(self, run: Run, ask: Ask, result: Reply | Failure) -> None:
        if not run.dead:
            run.scheduler.landed(ask, result, self.now)
            self._pump(run)

    # What came of it.

    def used(self, begin: float, end: float) -> float:
        """Of the limit, what all took from one moment to another, in seconds since the beginning."""
        taken = sum(run.between(START + begin, START + end) for run in self.runs)
        return taken / (self.amount * (end - begin) / self.window)

    @property
    def refused(self) -> int:
        return sum(len(run.refused) for run in self.runs)

    @property
    def sent(self) -> int:
        return sum(run.sent for run in self.runs)


@pytest.fixture
def together(tmp_path: Path) -> Iterator[Callable[..., Together]]:
    """Runs of one account, before the gateway's own judge, under a kind of window and by a seed."""
    hosts: list[Host] = []

    def make(kind: str, seed: int, **options: Any) -> Together:
        hosts.append(Host(tmp_path / f"{len(hosts)}.share"))
        return Together(hosts[-1], kind, seed, **options)

    yield make
    for host in hosts:
        host.close()
