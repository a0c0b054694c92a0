"""Drives a scenario: session after session on one disk, through crashes and interruptions, until the run is done.

A session does what `runner.app` does, with the parts that touch the world replaced: the loop's time jumps, the disk is
modelled, the thread that syncs is a timer, and the gateway is a script.
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

from runner.app import guard
from runner.core import schedule
from runner.core.errors import GatewayUnavailable, StorageFailed
from runner.core.events import Event, What
from runner.core.schedule import Finished, Task
from runner.core.survey import Survey
from runner.core.values import Charge
from runner.core.waiting import Waiting
from runner.engines import local
from runner.engines.local import Engine
from runner.execution import make_scheduler, run, tasks_of
from runner.ledgers.memory import MemoryLedger
from runner.storage import journal as journals
from runner.storage.history import History, read_history
from runner.storage.journal import COMMIT_SECONDS, Journal
from runner.storage.recorder import Recorder
from runner.storage.rows import Row
from runner.testing import JumpingLoop
from simulated.disk import Crash, SimFile, WatchedJournal
from simulated.gateway import Key, SimGateway
from simulated.judgement import judge
from simulated.oracles import Held, Oracles, Violation, check
from simulated.scenario import Scenario

EPOCH = 1_800_000_000.0
"""The wall clock when the loop's is 0."""
MOST_SESSIONS = 40
ENDED = (0, 3)


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
class Session:
    """What one session leaves behind."""

    exit_code: int | None
    """None after a crash."""
    oracles: Oracles
    journal: WatchedJournal
    engine: Engine | None = None


def words(text: str) -> int:
    """Counts tokens: any counter will do."""
    return text.count(" ") + 1


@dataclass
class World:
    """One scenario, as it unfolds."""

    scenario: Scenario
    path: Path
    seen: Counter[str] = field(default_factory=Counter)
    trace: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        scenario = self.scenario
        self.maker = scenario.maker()
        self.budgets = scenario.limits.budgets(scenario.models.values())
        self.gateway = SimGateway(scenario=scenario, budgets=self.budgets, seen=self.seen)
        self.client = scenario.stream("client")
        self.disk = SimFile(scenario.stream("disk"))
        self.held: list[Held] = []
        self.intents: list[tuple[int, Key, Held]] = []
        """Where each intent ends in the file, by session."""
        self.acknowledged = b""
        """What was ever on disk for good by what the journal says."""
        self.broke: BaseException | None = None
        self.crash: asyncio.Future[str]
        self.misfortunes = list(scenario.misfortunes)
        self.timers: list[asyncio.TimerHandle] = []
        self.why = {4: "an interrupt", 5: "401", 8: "a failed sync", 9: "an outage"}

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
            session = await self._bounded(misfortune)
            self._judge_session(session)
            before, ended = ended, session.exit_code
            if ended in ENDED and before is not None:
                self.seen[f"resumed after {self.why.get(before, before)}"] += 1
            if ended in ENDED:
                break
            self._between_sessions(session)
            await asyncio.sleep(self.client.uniform(0.3, pause))
            pause = min(pause * 2, 2 * scenario.window)
        check(ended in ENDED, "I8", f"it is not done after {MOST_SESSIONS} sessions")
        judge(scenario, self.maker, self.budgets, self.gateway, bytes(self.disk.content), self.path, self.seen)

    async def _bounded(self, misfortune: tuple[str, float] | None) -> Session:
        """One session, which must end in time."""
        loop, scenario = asyncio.get_running_loop(), self.scenario
        self.crash = loop.create_future()
        sessions: list[Session] = []
        task = loop.create_task(self._session(sessions.append, misfortune))
        bound = max(scenario.calm_from - loop.time(), 0.0) + self._bound()
        await asyncio.wait({task, self.crash}, timeout=bound, return_when=asyncio.FIRST_COMPLETED)
        for timer in self.timers:
            timer.cancel()
        if not sessions:
            task.result()  # what is on the disk could not be read
        sessions[0].journal.dead = True
        if sessions[0].engine is not None and self.crash.done():
            sessions[0].engine.abandon()
        if self.broke is not None:
            raise self.broke
        crashed = self.crash.done()
        check(task.done() or crashed, "I8", f"a session has not ended {bound:.0f} s after all was calm")
        if not task.done():
            self.disk.is_open = False
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Crash):
                await task
        elif not crashed or not isinstance(task.exception(), Crash):
            task.result()
        if crashed:
            self._die(self.crash.result(), sessions[0])
            return Session(None, sessions[0].oracles, sessions[0].journal)
        return sessions[0]

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
        slots = self.maker.slots
        return (3 * windows * slots + 12) * scenario.window + 20 * scenario.slow + 150

    def _broke(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Crash):
            return
        self.broke = self.broke or error or Violation(f"I8: {context.get('message')}")
        if not self.crash.done():
            self.crash.set_result("it broke")

    # One session, as in `runner.app`.

    async def _session(self, made: Callable[[Session], None], misfortune: tuple[str, float] | None) -> None:
        loop, scenario = asyncio.get_running_loop(), self.scenario
        history = self._reopened()
        journal = WatchedJournal(self.disk, history.chain)
        ended = {
            (row, slot)
            for row in range(len(scenario.rows))
            for slot in range(self.maker.slots)
            if history.has_ended(row, slot)
        }
        shut = {scope: until - EPOCH for scope, until in history.shut.items()}
        self.seen["gate closed across a restart"] += any(until > loop.time() for until in shut.values())
        oracles = Oracles(scenario, self.gateway, self.seen, self.held, ended, shut)
        session = Session(None, oracles, journal)
        made(session)
        recorder = Recorder(journal, history, scenario.models, str, lambda: EPOCH + loop.time())
        self._plan(misfortune, loop)
        ending_code = 8
        waiting = Waiting(loop.time())
        try:
            recorder.begin("run")
            ledger = MemoryLedger(self.budgets, guard, learns=scenario.learns)
            scheduler, charges, spending = make_scheduler(
                scenario.job,
                scenario.models,
                self.budgets,
                ledger,
                Survey(),
                window=scenario.window,
                now=loop.time(),
                most_in_flight=scenario.most_in_flight,
            )
            spending.add(
                history.tally.total("input_tokens") + history.tally.total("output_tokens"), history.tally.total("cost")
            )
            oracles.scheduler, oracles.ledger = scheduler, ledger
            for spent in history.recent:
                ledger.restore(spent.model, spent.charge, loop.time() - max(0.0, EPOCH + loop.time() - spent.at))
            for scope, until in shut.items():
                scheduler.gates.restore(scope, until, loop.time())
            self._watch_the_scheduler(oracles)
            tasks = tasks_of(scenario.rows, self.maker, words, history.has_ended, tried=history.tried)
            ending = await run(
                scheduler,
                charges,
                self._offered(tasks, oracles),
                self._sending(journal, oracles),
                self._watching(recorder, oracles, journal),
                flush=self._flushing(journal),
                patience=scenario.job.patience,
                keep_going=True,  # what is held back as a fault of the job would look as if it were still under way
                waiting=waiting,
                begun=lambda engine: self._begun(engine, session, misfortune),
            )
            ending_code, reason = ending.exit_code, ending.reason
            self.seen["belief cut and won back"] += any(w.belief.proven < w.limit.amount for w in ledger.windows)
        except GatewayUnavailable as error:
            ending_code, reason = 9, str(error)
            self.seen["given up"] += 1
        except StorageFailed:
            self._close(journal)
            self._check_the_tail(journal)
            session.exit_code = 8
            return
        try:
            recorder.end(waiting.split(loop.time()), history.tally.least_time(self.budgets), reason)
            journal.close()
        except StorageFailed:
            self._check_the_tail(journal)
            session.exit_code = 8
            return
        session.exit_code = 3 if ending_code == 0 and history.tally.statuses["errored"] else ending_code
        oracles.over(ending_code)

    def _close(self, journal: Journal) -> None:
        with contextlib.suppress(StorageFailed):
            journal.close()

    def _reopened(self) -> History:
        self.path.write_bytes(self.disk.content)
        history = read_history(self.path, self.maker.slots, self.scenario.window)
        if history.end < len(self.disk.content):
            journals.cut_torn_tail(self.path, history.end)
            self.seen["torn tail cut"] += 1
            self.disk.content = bytearray(self.path.read_bytes())
            self.disk.synced = len(self.disk.content)
        self._forget(history.end)
        check(
            self.disk.content[: len(self.acknowledged)] == self.acknowledged,
            "I3",
            "what was on disk for good does not read back",
        )
        return history

    def _offered(self, tasks: Iterator[Task | Finished], oracles: Oracles) -> Iterator[Task | Finished]:
        for task in tasks:
            if isinstance(task, Task):
                oracles.offered(task)
            yield task

    def _watching(self, recorder: Recorder, oracles: Oracles, journal: WatchedJournal) -> Callable[[Event], None]:
        def watch(event: Event) -> None:
            recorder(event)
            oracles(event)
            if event.what is What.SENT and event.ask is not None:
                key = (event.ask.task.row, event.ask.task.slot)
                self.intents.append((journal.last_end, key, oracles.flights[event.ask]))

        return watch

    def _sending(self, journal: WatchedJournal, oracles: Oracles) -> Callable[[Any], Any]:
        async def send(ask: Any) -> Any:
            if self.crash.done():
                raise Crash
            at = next(end for end, key, held in reversed(self.intents) if held is oracles.flights[ask])
            check(self.disk.size() >= at, "I3", f"{ask.task} goes out before its intent is with the kernel")
            check((ask.task.row, ask.task.slot) not in oracles.before, "I3", f"{ask.task} is paid for again")
            return await self.gateway(ask)

        return send

    def _flushing(self, journal: WatchedJournal) -> Callable[[], None]:
        """What the committing thread does, on a timer."""
        loop = asyncio.get_running_loop()

        def commit() -> None:
            journal.timer = False
            if self.disk.is_open and not journal.dead:
                journal.sync()
                self._note(journal)

        def flush() -> None:
            journal.write()
            if not journal.timer and journal.durable < journal.written:
                journal.timer = True
                loop.call_later(self.client.uniform(0, COMMIT_SECONDS), commit)

        return flush

    def _note(self, journal: Journal) -> None:
        if journal.durable > len(self.acknowledged):
            self.acknowledged = bytes(self.disk.content[: journal.durable])

    def _watch_the_scheduler(self, oracles: Oracles) -> None:
        scheduler, decide = oracles.scheduler, oracles.scheduler.next

        def next_(now: float) -> Any:
            decision = decide(now)
            if isinstance(decision, schedule.Wait):
                oracles.at_rest(decision, now)
            return decision

        scheduler.next = next_  # type: ignore[method-assign]

    # What befalls it.

    def _plan(self, misfortune: tuple[str, float] | None, loop: asyncio.AbstractEventLoop) -> None:
        """Arrange for what ends this session early."""
        if misfortune is None:
            return
        kind, share = misfortune
        at, count = share**2 * 3 * self.scenario.window, 1 + int(share * 20)
        if kind.endswith("at a time"):
            self.timers.append(loop.call_later(at, self._strike, kind))
        elif kind.endswith("at a write"):
            self.disk.before_write = lambda number: number == count and self._strike(kind)
        elif kind == "power at a sync":
            self.disk.before_sync = lambda number: self._strike(kind) if number == count else None
        elif kind == "disk full":
            self.disk.fails_write_at = count
            self.disk.truncates = share < 0.8
        elif kind == "sync fails":
            self.disk.fails_sync_at = count
        elif kind == "token expires":
            self.timers.append(loop.call_later(at, self._expire))

    def _begun(self, engine: Engine, session: Session, misfortune: tuple[str, float] | None) -> None:
        session.engine = engine
        if misfortune is None or not misfortune[0].startswith("interrupt"):
            return

        def interrupt() -> None:
            session.oracles.interrupted = True
            engine.stop("stopped by SIGINT")
            self.seen["interrupted"] += 1

        loop = asyncio.get_running_loop()
        at = misfortune[1] ** 2 * 3 * self.scenario.window
        self.timers.append(loop.call_later(at, interrupt))
        if misfortune[0] == "interrupt twice":
            self.timers.append(loop.call_later(at + 0.3, engine.abandon))

    def _strike(self, kind: str) -> bool:
        if not self.crash.done() and self.disk.is_open:
            self.crash.set_result(kind)
            self.disk.is_open = False  # nothing more comes from this process
        return True

    def _expire(self) -> None:
        self.gateway.token_expired = True

    def _die(self, kind: str, session: Session) -> None:
        """What a crash leaves."""
        if self.broke is not None:
            raise self.broke
        self._note(session.journal)
        if any(scope.until > asyncio.get_running_loop().time() for scope in session.oracles.scopes.values()):
            self.seen["gate closed across a crash"] += 1
        if kind.startswith("power"):
            self.seen[f"power lost, {self.disk.lose_power()}"] += 1
        else:
            self.seen["killed"] += 1

    def _judge_session(self, session: Session) -> None:
        """Whatever ended it: what must hold of it."""
        for broken in self.gateway.over if not self.scenario.learns else ():
            raise Violation(f"I1: {broken}")
        self._note(session.journal)
        self.trace += [session.exit_code, session.oracles.trace, hashlib.sha256(self.disk.content).hexdigest()]
        self.seen[f"exit {session.exit_code}"] += 1

    def _between_sessions(self, session: Session) -> None:
        """What is on the disk is all that is known."""
        self.disk.reopen()
        for held in session.oracles.flights.values():
            held.settled = True  # nobody waits for it any more; all of it is reckoned with for a window
        for held in self.held:
            held.charge = held.full  # the frame that told the truth may be lost
        if self.scenario.bit_rot:
            self._rot()

    def _forget(self, end: int) -> None:
        """What was sent, and is not in the journal any more, nobody can know of."""
        lost = [held for ends, _, held in self.intents if ends > end]
        for counted in self.gateway.book.entries:
            if any(held.at == counted.sent and held.model == counted.model for held in lost):
                counted.known = False
                self.seen["intent lost with the power"] += 1
        self.intents = [intent for intent in self.intents if intent[0] <= end]

    def _rot(self) -> None:
        """Damage in the middle must be refused, whatever it is; then it is mended, for the simulation to go on."""
        rng, whole = self.client, bytes(self.disk.content)
        ends = [index + 1 for index, byte in enumerate(whole) if byte == 10]
        if len(ends) < 4:
            return
        first = rng.randrange(1, len(ends) - 2)
        begins, stops = ends[first - 1], ends[first]
        if rng.random() < 0.5:
            damaged = whole[:begins] + whole[stops:]
        else:
            at = rng.choice([begins + rng.randrange(8), rng.randrange(begins + 28, stops - 1)])
            damaged = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        self.path.write_bytes(damaged)
        try:
            read_history(self.path, self.maker.slots, self.scenario.window)
        except StorageFailed:
            self.seen["damage refused"] += 1
        else:
            raise Violation(f"I3: damage at byte {begins} of {len(whole)} went unnoticed")

    def _check_the_tail(self, journal: Journal) -> None:
        """I3: where a write was refused the file ends with a whole frame, if it could be cut."""
        if self.disk.broken_off:
            self.seen["tail left torn"] += 1
            self.why[8] = "a full disk"
        elif self.disk.full:
            whole = self.disk.content[-1:] in (b"", b"\n")
            check(whole, "I3", "a refused write leaves half a frame behind")
            self.seen["disk full"] += 1
            self.why[8] = "a full disk"
        else:
            self.seen["sync failed"] += 1
            self.why[8] = "a failed sync"


@contextlib.contextmanager
def small(constants: dict[str, int]) -> Iterator[None]:
    """Make constants small for a while."""
    before = schedule.LAST, local.AT_ONCE
    schedule.LAST, local.AT_ONCE = constants["LAST"], constants["AT_ONCE"]
    try:
        yield
    finally:
        schedule.LAST, local.AT_ONCE = before


def simulate(seed: int, path: Path) -> Told:
    """Simulate a seed; `path` is where a journal may lie while it is read."""
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
