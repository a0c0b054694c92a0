"""The scheduler under asyncio: one loop, one timer, one task for each request in flight.

`pump` asks the scheduler what to do until it says wait; it runs when a request has landed, when the one timer fires,
and never otherwise. Nothing polls. Rows are read only as far ahead as the scheduler needs to have a choice.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator

from runner.core.errors import GatewayUnavailable
from runner.core.events import Event, What
from runner.core.retry import Action
from runner.core.schedule import Scheduler
from runner.core.values import Failure, Kind, Reply
from runner.core.waiting import Waiting
from runner.core.work import Ask, Done, Finished, Landing, Task, Wait

AHEAD = 4096
"""Tasks that the scheduler has to choose from, as long as the input has more."""
AT_ONCE = 64
"""Decisions and rows between two looks at the network."""
READING = 0.005
"""Seconds after which no more rows are read before the network is looked at: counting the tokens of long ones takes
milliseconds each, and what is refused meanwhile would be heard of too late."""

Send = Callable[[Ask], Awaitable[Reply | Failure]]
Watch = Callable[[Event], None]


class Engine:
    """Drives one run to its end."""

    def __init__(
        self,
        scheduler: Scheduler,
        tasks: Iterator[Task | Finished],
        send: Send,
        watch: Watch,
        *,
        learn: Callable[[Ask, Reply, float], None] = lambda _ask, _reply, _seconds: None,
        flush: Callable[[], None] = lambda: None,
        patience: float = 600.0,
        first_patience: float = 30.0,
        ahead: int = AHEAD,
        waiting: Waiting | None = None,
    ) -> None:
        """`tasks` yields tasks, or rows that ended before anything could be sent.

        `flush` is called after every round of decisions, before any request of that round goes out.

        `patience` is how long, in seconds, the gateway may fail without one answer before the run is given up;
        `first_patience` the same before anything came back from it. `waiting` is told what the time goes into.
        """
        self.scheduler = scheduler
        self._tasks: Iterator[Task | Finished] | None = tasks
        self._send = send
        self._watch = watch
        self._learn = learn
        self._flush = flush
        self._patience = patience
        self._first_patience = min(patience, first_patience)
        self._ahead = ahead
        self._loop = asyncio.get_running_loop()
        self.waiting = waiting or Waiting(self._loop.time())
        self._timer: asyncio.TimerHandle | None = None
        self._soon: asyncio.Handle | None = None
        self._flights: dict[Ask, asyncio.Task[None]] = {}
        self._done: asyncio.Future[None] = self._loop.create_future()

    async def run(self) -> None:
        """Work until all is done or stopped; raises what broke."""
        self._pump()
        try:
            await self._done
        finally:
            for handle in (self._timer, self._soon):
                if handle is not None:
                    handle.cancel()
            flights = tuple(self._flights.values())
            for flight in flights:
                flight.cancel()
            await asyncio.gather(*flights, return_exceptions=True)

    def stop(self, reason: str) -> None:
        """Admit nothing more, and let what is in flight land."""
        self.waiting.wake(self._loop.time())
        if self.scheduler.stopped is None:
            self.scheduler.stop(reason)
            self._watch(Event(self._loop.time(), What.STOPPED, reason=reason))
        self._pump_soon()

    def abandon(self) -> None:
        """End at once: what is in flight is cut off."""
        if not self._done.done():
            self._done.set_result(None)

    def _pump_soon(self) -> None:
        if self._soon is None and not self._done.done():
            self._soon = self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._soon = None
        if self._done.done():
            return
        self.waiting.wake(self._loop.time())
        try:
            wait = self._decide()
            self._flush()
            if wait is not None:
                self.waiting.rest(self._loop.time(), self.scheduler.waiting_for, wait.until)
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(error)

    def _decide(self) -> Wait | None:
        """Send what may be sent; the wait at which there was nothing more, if it came to that."""
        if self._hungry and self.scheduler.queued < 2 * AT_ONCE:
            self._read()
        for _ in range(AT_ONCE):
            decision = self.scheduler.next(self._loop.time())
            if isinstance(decision, Ask):
                self.waiting.sending()
                self._watch(Event(decision.at, What.SENT, ask=decision))
                self._flights[decision] = self._loop.create_task(self._fly(decision))
            elif isinstance(decision, Done):
                self._done.set_result(None)
                return None
            elif self._hungry:
                self._read()  # while there is nothing to send, the choice can grow
                self._pump_soon()
                return decision
            else:
                self._set_timer(decision)
                return decision
        self._pump_soon()
        return None

    @property
    def _hungry(self) -> bool:
        return self._tasks is not None and self.scheduler.queued < self._ahead and self.scheduler.takes_more

    def _read(self) -> None:
        """Keep the scheduler supplied with a choice of rows, a few at a time."""
        began = self._loop.time()
        for _ in range(AT_ONCE):
            task = None if self._tasks is None else next(self._tasks, None)
            if task is None:
                self._tasks = None
                self.scheduler.close()
                break
            finished = task if isinstance(task, Finished) else self.scheduler.offer(task)
            if finished is not None:
                self._watch(Event(self._loop.time(), What.FINISHED, finished=finished))
            if self._loop.time() > began + READING:
                break
        self.waiting.read(self._loop.time() - began)

    def _set_timer(self, wait: Wait) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wait.until < math.inf:
            self._timer = self._loop.call_at(wait.until, self._pump)

    async def _fly(self, ask: Ask) -> None:
        if self._done.done():
            return  # what was decided could not be written down, or the run was abandoned
        try:
            result = await self._send(ask)
            self._land(ask, result)
        except Exception as error:
            self._fail(error)
        finally:
            self._flights.pop(ask, None)

    def _land(self, ask: Ask, result: Reply | Failure) -> None:
        if self._done.done():
            return
        now = self._loop.time()
        self.waiting.wake(now)
        if isinstance(result, Reply):
            self._learn(ask, result, now - ask.at)
        landing = self.scheduler.landed(ask, result, now)
        self._watch(Event(now, What.LANDED, ask=ask, result=result, landing=landing))
        for finished in landing.finished:
            self._watch(Event(now, What.FINISHED, ask=ask, finished=finished))
        if isinstance(result, Failure) and not self._hung_alone(ask, result, landing):
            self._mind_patience(result, now)
        self._pump_soon()

    def _hung_alone(self, ask: Ask, failure: Failure, landing: Landing) -> bool:
        """Whether it says nothing of the gateway: a row that hangs ends by its attempts."""
        counts = failure.kind is Kind.TIMEOUT and landing.action is not Action.REQUEUE
        return counts and not self.scheduler.gates.is_narrow(ask.model)

    def _mind_patience(self, failure: Failure, now: float) -> None:
        since = self.scheduler.failing_since
        if since is None:
            return
        patience = self._patience if self.scheduler.reached else self._first_patience
        if now - since > patience:
            raise GatewayUnavailable(
                f"The gateway has not answered for {now - since:.0f} seconds. The last try: {failure.message}"
            )
