"""Drives a scenario: session after session on one disk, through crashes and interruptions, until the run is done.

A session is the program's own (`runner.session`). What it is given is not: the loop's time jumps, the disk is modelled,
the thread that syncs is a timer, signals come when the seed says so, and the gateway is a script.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.core import placing
from runner.core.errors import StorageFailed
from runner.core.events import Event, What
from runner.core.lag import guard
from runner.core.values import Charge
from runner.core.work import Finished, Task, Wait
from runner.engines import local
from runner.engines.interruptions import Interruptions
from runner.ledgers.memory import MemoryLedger
from runner.session import Session
from runner.storage.rows import Row
from runner.storage.rundir import RunDirectory
from runner.testing import JumpingLoop
from simulated.books import Held, Violation, check
from simulated.disk import Crash, WatchedJournal
from simulated.gateway import SimGateway
from simulated.judgement import judge
from simulated.machine import Machine
from simulated.oracles import Oracles
from simulated.resting import at_rest
from simulated.scenario import Scenario

EPOCH = 1_800_000_000.0
"""The wall clock when the loop's is 0."""
MOST_SESSIONS = 40
ENDED = (0, 3)
WHY = {5: "401", 9: "an outage", 130: "an interrupt"}
"""Exit code -> what a run is resumed after, in the words of the tests."""


@dataclass
class Told:
    """What became of a seed."""

    seed: int
    violation: str | None
    seen: Counter[str]
    trace: str
    """A hash of everything that happened, in its order."""
    seconds: float
    """Of virtual time."""


@dataclass
class Left:
    """What one session leaves behind."""

    oracles: Oracles
    journal: WatchedJournal
    interruptions: Interruptions
    exit_code: int | None = None
    """None after a crash."""


def words(text: str) -> int:
    """Counts tokens: any counter will do."""
    return text.count(" ") + 1


@dataclass
class World:
    """One scenario, as it unfolds."""

    scenario: Scenario
    path: Path
    """Of the run directory."""
    seen: Counter[str] = field(default_factory=Counter)
    trace: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        scenario = self.scenario
        self.prepared = scenario.prepared()
        self.slots = self.prepared.maker.slots
        self.budgets = self.prepared.budgets
        self.gateway = SimGateway(scenario=scenario, budgets=self.budgets, seen=self.seen)
        self.client = scenario.stream("client")
        self.machine = Machine(scenario, self.gateway, RunDirectory(self.path), self.client, self.seen)
        self.held: list[Held] = []
        self.broke: BaseException | None = None
        self.misfortunes = list(scenario.misfortunes)

    # The run.

    async def until_done(self) -> None:
        """Sessions until nothing is left; raises Violation."""
        loop, scenario = asyncio.get_running_loop(), self.scenario
        loop.set_exception_handler(self._broke)
        pause, ended = 0.5, None
        for number in range(MOST_SESSIONS):
            self.gateway.session = number
            self.gateway.token_expired = False
            misfortune = self.misfortunes.pop(0) if self.misfortunes and loop.time() < scenario.calm_from else None
            left = await self._bounded(misfortune)
            self._judge_session(left)
            before, ended = ended, left.exit_code
            if ended in ENDED and before is not None:
                self.seen[f"resumed after {self.machine.stopped_by if before == 8 else WHY[before]}"] += 1
            if ended in ENDED:
                break
            self._between_sessions(left)
            await asyncio.sleep(self.client.uniform(0.3, pause))
            pause = min(pause * 2, 2 * scenario.window)
        check(ended in ENDED, "I8", f"it is not done after {MOST_SESSIONS} sessions")
        content, journal = bytes(self.machine.disk.content), self.machine.directory.journal_path
        judge(scenario, self.prepared.maker, self.budgets, self.gateway, content, journal, self.seen)

    async def _bounded(self, misfortune: tuple[str, float] | None) -> Left:
        """One session, which must end in time."""
        loop, scenario, machine = asyncio.get_running_loop(), self.scenario, self.machine
        machine.boot()
        made: list[Left] = []
        task = loop.create_task(self._session(made.append, misfortune))
        bound = max(scenario.calm_from - loop.time(), 0.0) + self._bound()
        await asyncio.wait({task, machine.crash}, timeout=bound, return_when=asyncio.FIRST_COMPLETED)
        machine.calm()
        if not made:
            task.result()  # what is on the disk could not be read
        left, crashed = made[0], machine.crash.done()
        left.journal.dead = True
        if left.interruptions.engine is not None and crashed:
            left.interruptions.engine.abandon()
        if self.broke is not None:
            raise self.broke
        check(task.done() or crashed, "I8", f"a session has not ended {bound:.0f} s after all was calm")
        if not task.done():
            machine.disk.is_open = False
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Crash):
                await task
        elif not crashed or not isinstance(task.exception(), Crash):
            task.result()
        if crashed:
            self._die(left)
        return left

    def _bound(self) -> float:
        """I8: how long the rest may take once all is calm, in virtual seconds."""
        scenario = self.scenario
        windows = 0.0
        for name in scenario.models:
            for limit in self.budgets[name]:
                work = sum(
                    limit.of(Charge(1, 2 * scenario.words[row.index] + 10, int(row.columns["max_tokens"])))
                    for row in scenario.rows
                    if isinstance(row, Row)
                )
                windows = max(windows, work / limit.amount * limit.window / scenario.window)
        return (3 * windows * self.slots + 12) * scenario.window + 20 * scenario.slow + 150

    def _broke(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Crash):
            return
        self.broke = self.broke or error or Violation(f"I8: {context.get('message')}")
        if not self.machine.crash.done():
            self.machine.crash.set_result("it broke")

    # One session.

    async def _session(self, made: Callable[[Left], None], misfortune: tuple[str, float] | None) -> None:
        loop, scenario, machine = asyncio.get_running_loop(), self.scenario, self.machine
        history = machine.reopened(self.slots)
        journal = WatchedJournal(machine.disk, history.chain)
        keys = [(row, slot) for row in range(len(scenario.rows)) for slot in range(self.slots)]
        ended = {key for key in keys if history.has_ended(*key)}
        shut = {scope: until - EPOCH for scope, until in history.shut.items()}
        self.seen["gate closed across a restart"] += any(until > loop.time() for until in shut.values())
        left = Left(Oracles(scenario, self.gateway, self.seen, self.held, ended, shut), journal, Interruptions())
        made(left)
        machine.plan(misfortune)
        try:
            session = Session(
                self.prepared,
                machine.directory,
                history,
                journal,
                MemoryLedger(self.budgets, guard, learns=scenario.learns),
                gateway="simulated",
                local=True,
                count=words,
                most_in_flight=scenario.most_in_flight,
                wall=lambda: EPOCH + loop.time(),
            )
            self._watch_the_scheduler(session, left.oracles)
            session.restore()
            machine.plan_signals(misfortune, left.interruptions)
            with machine.committing(journal):
                ending = await session.run(self._sending(left), self._watching(left), left.interruptions)
            left.exit_code = session.end(ending).exit_code
            journal.close()
        except StorageFailed as error:
            with contextlib.suppress(StorageFailed):
                journal.close()
            machine.check_the_tail()
            left.exit_code = error.exit_code
            return
        self.seen["belief cut and won back"] += any(w.belief.proven < w.limit.amount for w in session.ledger.windows)
        self.seen["given up"] += (ending.reason or "").startswith("The gateway has not answered")
        self.seen["interrupted"] += left.interruptions.signal is not None
        left.oracles.interrupted = left.interruptions.signal is not None
        left.oracles.over(ending.exit_code)

    def _watching(self, left: Left) -> Callable[[Event], None]:
        def watch(event: Event) -> None:
            left.oracles(event)
            if event.what is What.SENT and event.ask is not None:
                key = (event.ask.task.row, event.ask.task.slot)
                self.machine.intents.append((left.journal.last_end, key, left.oracles.flights[event.ask]))

        return watch

    def _sending(self, left: Left) -> Callable[[Any], Any]:
        oracles, machine = left.oracles, self.machine

        async def send(ask: Any) -> Any:
            if machine.crash.done():
                raise Crash
            at = next(end for end, key, held in reversed(machine.intents) if held is oracles.flights[ask])
            check(machine.disk.size() >= at, "I3", f"{ask.task} goes out before its intent is with the kernel")
            check((ask.task.row, ask.task.slot) not in oracles.before, "I3", f"{ask.task} is paid for again")
            return await self.gateway(ask)

        return send

    def _watch_the_scheduler(self, session: Session, oracles: Oracles) -> None:
        scheduler = oracles.scheduler = session.scheduler
        oracles.ledger = session.ledger
        decide, take = scheduler.next, scheduler.offer

        def next_(now: float) -> Any:
            decision = decide(now)
            if isinstance(decision, Wait):
                at_rest(oracles, decision, now)
            return decision

        def offer(task: Task) -> Finished | None:
            oracles.offered(task)
            return take(task)

        scheduler.next, scheduler.offer = next_, offer  # type: ignore[method-assign]

    # Behind a session.

    def _die(self, left: Left) -> None:
        """The process is no more."""
        if self.broke is not None:
            raise self.broke
        now = asyncio.get_running_loop().time()
        self.machine.die(left.journal)
        self.seen["gate closed across a crash"] += any(scope.until > now for scope in left.oracles.scopes.values())
        left.exit_code = None

    def _judge_session(self, left: Left) -> None:
        """Whatever ended it: what must hold of it."""
        for broken in self.gateway.over if not self.scenario.learns else ():
            raise Violation(f"I1: {broken}")
        self.machine.note(left.journal)
        self.trace += [left.exit_code, left.oracles.trace, hashlib.sha256(self.machine.disk.content).hexdigest()]
        self.seen[f"exit {left.exit_code}"] += 1

    def _between_sessions(self, left: Left) -> None:
        """What is on the disk is all that is known."""
        self.machine.disk.reopen()
        for held in left.oracles.flights.values():
            held.settled = True  # nobody waits for it any more; all of it is reckoned with for a window
        for held in self.held:
            held.charge = held.full  # the frame that told the truth may be lost
        if self.scenario.bit_rot:
            self.machine.rot(self.slots)


@contextlib.contextmanager
def small(constants: dict[str, int]) -> Iterator[None]:
    """Make constants small for a while."""
    before = placing.LAST, local.AT_ONCE
    placing.LAST, local.AT_ONCE = constants["LAST"], constants["AT_ONCE"]
    try:
        yield
    finally:
        placing.LAST, local.AT_ONCE = before


def simulate(seed: int, path: Path) -> Told:
    """Simulate a seed; `path` is the run's directory, where the journal lies when it is read."""
    world = World(Scenario.of(seed), path)
    violation, seconds = None, 0.0
    with small(world.scenario.small), asyncio.Runner(loop_factory=JumpingLoop) as runner:
        try:
            runner.run(world.until_done())
        except Exception as error:
            violation = f"{type(error).__name__}: {error}"
        seconds = runner.get_loop().time()
    trace = hashlib.sha256(repr(world.trace).encode()).hexdigest()
    return Told(seed, violation, world.seen, trace, seconds)
