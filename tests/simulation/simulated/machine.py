"""The machine that a run's processes live on: its disk, what befalls it, and what must still be there afterwards."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from signal import SIGINT

from runner.core.errors import StorageFailed
from runner.engines.interruptions import Interruptions
from runner.storage import journal as journals
from runner.storage.history import History, read_history
from runner.storage.journal import COMMIT_SECONDS
from runner.storage.rundir import RunDirectory
from simulated.books import Held, Violation, check
from simulated.disk import SimFile, WatchedJournal
from simulated.gateway import Key, SimGateway
from simulated.scenario import Scenario


@dataclass
class Machine:
    """Where the journal lies; `directory` is where it can be read as a file."""

    scenario: Scenario
    gateway: SimGateway
    directory: RunDirectory
    client: Random
    seen: Counter[str]
    intents: list[tuple[int, Key, Held]] = field(default_factory=list)
    """Where each intent ends in the file, by session."""
    acknowledged: bytes = b""
    """What was ever on disk for good by what the journal says."""
    stopped_by: str = ""
    """What made the last session end that could not write any more."""
    crash: asyncio.Future[str] = field(init=False)
    """Done once the process is no more; what it says ended it."""

    def __post_init__(self) -> None:
        self.disk = SimFile(self.scenario.stream("disk"))
        self._timers: list[asyncio.TimerHandle] = []

    def boot(self) -> None:
        """Let a process begin."""
        self.crash = asyncio.get_running_loop().create_future()

    # What befalls it.

    def plan(self, misfortune: tuple[str, float] | None) -> None:
        """Arrange for what ends a session early."""
        if misfortune is None:
            return
        loop, (kind, share) = asyncio.get_running_loop(), misfortune
        at, count = self._moment(share), 1 + int(share * 20)
        if kind.endswith("at a time"):
            self._timers.append(loop.call_later(at, self._strike, kind))
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
            self._timers.append(loop.call_later(at, self._expire))

    def plan_signals(self, misfortune: tuple[str, float] | None, interruptions: Interruptions) -> None:
        """Arrange for somebody to interrupt a session, once or twice."""
        if misfortune is None or not misfortune[0].startswith("interrupt"):
            return
        loop, at = asyncio.get_running_loop(), self._moment(misfortune[1])
        self._timers.append(loop.call_later(at, interruptions, SIGINT))
        if misfortune[0] == "interrupt twice":
            self._timers.append(loop.call_later(at + 0.3, interruptions, SIGINT))

    def calm(self) -> None:
        """Nothing more befalls this session."""
        for timer in self._timers:
            timer.cancel()

    def _moment(self, share: float) -> float:
        return share**2 * 3 * self.scenario.window

    def _strike(self, kind: str) -> bool:
        if not self.crash.done() and self.disk.is_open:
            self.crash.set_result(kind)
            self.disk.is_open = False  # nothing more comes from this process
        return True

    def _expire(self) -> None:
        self.gateway.token_expired = True

    def die(self, journal: WatchedJournal) -> None:
        """What a crash leaves."""
        self.note(journal)
        if self.crash.result().startswith("power"):
            self.seen[f"power lost, {self.disk.lose_power()}"] += 1
        else:
            self.seen["killed"] += 1

    # The committing thread.

    @contextlib.contextmanager
    def committing(self, journal: WatchedJournal) -> Iterator[None]:
        """What the committing thread does, on a timer after each write, for as long as the context lasts."""
        loop = asyncio.get_running_loop()

        def commit() -> None:
            journal.timer = False
            if self.disk.is_open and not journal.dead:
                journal.sync()
                self.note(journal)

        def wrote() -> None:
            if not journal.timer and journal.durable < journal.written:
                journal.timer = True
                loop.call_later(self.client.uniform(0, COMMIT_SECONDS), commit)

        journal.wrote = wrote
        try:
            yield
        finally:
            journal.wrote = lambda: None

    def note(self, journal: WatchedJournal) -> None:
        """Remember what the journal says is there for good."""
        if journal.durable > len(self.acknowledged):
            self.acknowledged = bytes(self.disk.content[: journal.durable])

    # What a new process finds.

    def reopened(self, slots: int) -> History:
        """The history that the disk holds, with a torn tail cut off; raises Violation if something is missing in it."""
        path = self.directory.journal_path
        path.write_bytes(self.disk.content)
        history = read_history(path, slots, self.scenario.window)
        if history.end < len(self.disk.content):
            journals.cut_torn_tail(path, history.end)
            self.seen["torn tail cut"] += 1
            self.disk.content = bytearray(path.read_bytes())
            self.disk.synced = len(self.disk.content)
        self._forget(history.end)
        kept = self.disk.content[: len(self.acknowledged)] == self.acknowledged
        check(kept, "I3", "what was on disk for good does not read back")
        return history

    def _forget(self, end: int) -> None:
        """What was sent, and is not in the journal any more, nobody can know of."""
        lost = [held for ends, _, held in self.intents if ends > end]
        for counted in self.gateway.book.entries:
            if any(held.at == counted.sent and held.model == counted.model for held in lost):
                counted.known = False
                self.seen["intent lost with the power"] += 1
        self.intents = [intent for intent in self.intents if intent[0] <= end]

    def check_the_tail(self) -> None:
        """I3: where a write was refused the file ends with a whole frame, if it could be cut."""
        if self.disk.broken_off:
            self.seen["tail left torn"] += 1
            self.stopped_by = "a full disk"
        elif self.disk.full:
            whole = self.disk.content[-1:] in (b"", b"\n")
            check(whole, "I3", "a refused write leaves half a frame behind")
            self.seen["disk full"] += 1
            self.stopped_by = "a full disk"
        else:
            self.seen["sync failed"] += 1
            self.stopped_by = "a failed sync"

    def rot(self, slots: int) -> None:
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
        self.directory.journal_path.write_bytes(damaged)
        try:
            read_history(self.directory.journal_path, slots, self.scenario.window)
        except StorageFailed:
            self.seen["damage refused"] += 1
        else:
            raise Violation(f"I3: damage at byte {begins} of {len(whole)} went unnoticed")
