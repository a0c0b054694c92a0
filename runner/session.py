"""One session of a run: what one process asks, from the journal as it finds it to the journal as it leaves it.

The outside world is handed in: the journal and what makes it durable, what sends, the signals, the clock on the wall.
So the simulation of whole runs (docs/simulation.md) drives this code, and no likeness of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial

from runner import manifest
from runner.beside import LookBeside
from runner.core.errors import GatewayUnavailable
from runner.core.events import Event
from runner.core.ports import TokenCounter
from runner.core.values import Status
from runner.core.waiting import Waiting
from runner.engines.interruptions import Interruptions
from runner.engines.local import Engine, Send
from runner.execution import FIRST_PATIENCE, Ending, make_scheduler, run, tasks_of
from runner.foresight import Foresight
from runner.labelling import escalation, recall
from runner.ledgers.memory import MemoryLedger
from runner.preparing import Prepared
from runner.reading import Replies
from runner.storage.history import History
from runner.storage.journal import Journal
from runner.storage.recorder import Recorder
from runner.storage.rundir import RunDirectory


class Session:
    """One session, and what it looks like to those who watch it while it goes.

    Whoever holds one calls `restore`, `run` and `end`, in this order, and has `look` open around `run`.
    """

    def __init__(
        self,
        prepared: Prepared,
        directory: RunDirectory,
        history: History,
        journal: Journal,
        ledger: MemoryLedger,
        *,
        gateway: str,
        local: bool,
        count: TokenCounter,
        most_in_flight: int,
        redact: Callable[[str], str] = str,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Open a session in the journal; `history` is what it held before.

        `redact` takes secrets out of what is written down, and `wall` is the clock on the wall.
        """
        self.prepared = prepared
        self.directory = directory
        self.history = history
        self.ledger = ledger
        self.gateway = gateway
        self.local = local
        self.resumed = history.end > 0
        """Whether there was a session before."""
        self._loop = asyncio.get_running_loop()
        self.started = self._loop.time()
        """On the loop's clock."""
        self._journal = journal
        self._count = count
        self._wall = wall
        self._waiting = Waiting(self.started)
        self._recorder = Recorder(journal, history, prepared.models, redact, wall)
        self._recorder.begin(directory.path.name)
        self.scheduler, self.charges, spending = make_scheduler(
            prepared.job,
            prepared.models,
            prepared.budgets,
            ledger,
            prepared.survey,
            window=prepared.limits.window_seconds,
            now=self.started,
            most_in_flight=most_in_flight,
            again=Replies(prepared.job).again(prepared.maker, count),
        )
        tally = history.tally
        spending.add(tally.total("input_tokens") + tally.total("output_tokens"), tally.total("cost"))
        for (model, charge), requests in tally.untold.items():
            spending.add_untold(model, charge, requests)
        self.look = LookBeside(
            prepared, self.scheduler, directory.path, partial(manifest.complete, prepared, directory)
        )
        self.foresight = self._foresight(most_in_flight)
        """How long it will still take, for those who tell it what happens."""
        self._escalator = escalation(
            prepared.job, partial(recall, directory.journal_path, history), self.scheduler.is_shelved
        )

    @property
    def judges(self) -> bool:
        """Whether a judge is asked about the answers of the run in whose directory this one's is."""
        return (self.directory.path.parent / "manifest.json").is_file()

    def _foresight(self, most_in_flight: int) -> Foresight:
        prepared, tally = self.prepared, self.history.tally
        return Foresight(
            survey=lambda: prepared.survey,
            ended={name: model.succeeded + model.errored for name, model in tally.models.items()},
            models=prepared.models,
            budgets=prepared.budgets,
            charges=self.charges,
            ledger=self.ledger,
            most_in_flight=most_in_flight,
            window=prepared.limits.window_seconds,
        )

    def restore(self) -> None:
        """Reckon with what the sessions before spent of windows that have not passed, and were told to wait for."""
        for spent in self.history.recent:
            self.ledger.restore(spent.model, spent.charge, self.started - max(0.0, self._wall() - spent.at))
        for scope, until in self.history.shut.items():
            self.scheduler.gates.restore(scope, self.started + until - self._wall(), self.started)

    @property
    def patience(self) -> float:
        """Seconds for which the gateway may fail without an answer."""
        patience = self.prepared.job.patience
        return patience if self.scheduler.reached else min(patience, FIRST_PATIENCE)

    async def run(self, send: Send, watch: Callable[[Event], None], interruptions: Interruptions) -> Ending:
        """Ask what is left to be asked, until all is done or something ends it.

        Events are written down, and then shown to `watch`. Raises StorageFailed if they cannot be.
        """
        try:
            ending = await self.look.last_word(await self._ask(send, watch, interruptions), interruptions.happened)
        except GatewayUnavailable as error:
            return Ending(error.exit_code, str(error))
        if interruptions.signal is not None and ending.exit_code == 4:
            code = 130 if interruptions.signal is signal.SIGINT else 143
            return Ending(code, f"stopped by {interruptions.signal.name}")
        return ending

    async def _ask(self, send: Send, watch: Callable[[Event], None], interruptions: Interruptions) -> Ending:
        prepared, history, look = self.prepared, self.history, self.look

        def begun(engine: Engine) -> None:
            interruptions.engine = look.engine = engine

        def record_and_watch(event: Event) -> None:
            self._recorder(event)
            watch(event)

        tasks = tasks_of(
            look.records(),
            prepared.maker,
            self._count,
            history.has_ended,
            look.reject,
            self._escalator,
            tried=history.tried,
        )
        return await run(
            self.scheduler,
            self.charges,
            tasks,
            send,
            record_and_watch,
            flush=self._journal.write,
            patience=prepared.job.patience,
            keep_going=prepared.job.keep_going,
            answered=history.tally.statuses[Status.SUCCEEDED] > 0,
            waiting=self._waiting,
            begun=begun,
            escalator=self._escalator,
        )

    def end(self, ending: Ending) -> Ending:
        """Close the session in the journal; the ending is another one if all is done, and some of it in vain."""
        tally = self.history.tally
        least = tally.least_time(self.prepared.budgets)
        self._recorder.end(self._waiting.split(self._loop.time()), least, ending.reason)
        return Ending(3) if ending.exit_code == 0 and tally.statuses[Status.ERRORED] else ending


Attend = Callable[[Session], contextlib.AbstractContextManager[Callable[[Event], None]]]
"""Opens whatever shows a session to a person, and gives the observer of its events."""


@contextlib.contextmanager
def unattended(_session: Session) -> Iterator[Callable[[Event], None]]:
    """Shows nothing."""
    yield lambda _event: None
