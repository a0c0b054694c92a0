"""For tests of programs that use the runner: a loop whose time jumps, and a gateway that answers as it is told.

Neither opens a socket. `run(coroutine)` runs in a `JumpingLoop`, where an hour of waiting takes no time at all;
`ScriptedGateway` is the `send` of an engine, and `Judge` watches limits with a sliding log of its own: it shares
nothing with the ledgers, so that it can find them wrong.

    async def answers_everything() -> None:
        gateway = ScriptedGateway(lambda ask, _: reply(output=7), latency=2.0)
        await Engine(scheduler, tasks, gateway, watch).run()
        assert len(gateway.sent) == 100

    run(answers_everything())
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from runner.core.estimate import Size
from runner.core.limits import ALL, Limit
from runner.core.values import Charge, Failure, Kind, Measure, Outcome, Reply, Request, Scope, Usage
from runner.core.work import Ask, Task

T = TypeVar("T")


class Deadlock(RuntimeError):
    """Everything waits, and there is no timer left that could wake any of it."""


class _JumpingSelector(selectors.DefaultSelector):
    """Looks for what is ready, and where a real one would sleep moves its clock instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise Deadlock(str(Deadlock.__doc__))
        if not ready and timeout is not None and timeout > 0:
            self.now += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer when all is idle, and stands still otherwise.

    It is for code without real input and output: a thread or a socket that is still busy is not waited for. Raises
    Deadlock, out of `run_until_complete`, where another loop would sleep for ever.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        # A timer is due when it is this near: asyncio's own nanosecond is less than a float can tell after some months.
        self._clock_resolution = 1e-6

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._jumping.now


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in a new `JumpingLoop`, whose time begins at 0."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(coroutine)


# Values with sensible defaults.


def reply(text: str = "yes", *, input: int = 10, output: int = 5, **other: Any) -> Reply:  # noqa: A002
    """A reply of so many tokens; `other` are further fields of Reply."""
    usage = Usage(input=input, output=output)
    return replace(Reply(text=text, outcome=Outcome.OK, finish_reason="stop", usage=usage), **other)


def failure(kind: Kind | str, message: str = "as the script says", **other: Any) -> Failure:
    """A failure of this kind; `other` are further fields of Failure (`scope`, `retry_after`, `ambiguous`...)."""
    return Failure(kind=Kind(kind), message=message, **other)


def refusal(scope: Scope = "model", *, retry_after: float | None = None, measure: Measure | None = None) -> Failure:
    """A 429."""
    return Failure(
        kind=Kind.RATE_LIMITED,
        message="Too many requests.",
        status=429,
        scope=scope,
        retry_after=retry_after,
        measure=measure,
    )


def task(row: int, *models: str, input: int = 10, cap: int = 5) -> Task:  # noqa: A002
    """A task of a row for a pool of models (or for one), of so many input tokens and so large an output cap."""
    return Task(row=row, models=models, size=Size(input), caps=dict.fromkeys(models, cap), request=Request())


def charge_of(task: Task, model: str) -> Charge:
    """The charge of a task made by `task`: what it says, neither learned nor multiplied."""
    return Charge(1, task.size.text, task.caps[model])


# What stands in for the gateway.


class Judge:
    """Says which limit a request exceeds, by a sliding log: nothing that is counted now is ever forgotten early.

    A request counts in full from its admission, and with what it really used once that is known. One refused counts
    nothing.
    """

    def __init__(self, limits: Iterable[Limit]) -> None:
        self.limits = tuple(limits)
        self.most = dict.fromkeys(self.limits, 0)
        """The highest level that each limit has ever stood at."""
        self._log: list[Counted] = []

    def admit(self, model: str, charge: Charge, now: float) -> Counted | Limit:
        """Count a request from now on, or name a limit that has no room for it."""
        longest = max((limit.window for limit in self.limits), default=0.0)
        self._log = [counted for counted in self._log if counted.at + longest > now]
        for limit in self.limits:
            if limit.scope in (ALL, model) and self.level(limit, now) + limit.of(charge) > limit.amount:
                return limit
        admitted = Counted(now, model, charge)
        self._log.append(admitted)
        for limit in self.limits:
            self.most[limit] = max(self.most[limit], self.level(limit, now))
        return admitted

    def level(self, limit: Limit, now: float) -> int:
        """What a limit's window holds."""
        return sum(
            limit.of(counted.charge)
            for counted in self._log
            if limit.scope in (ALL, counted.model) and counted.at + limit.window > now
        )


@dataclass(slots=True)
class Counted:
    """A request in a judge's log; its charge may be replaced by the truth."""

    at: float
    model: str
    charge: Charge


@dataclass(frozen=True, slots=True)
class Sent:
    """One request that a scripted gateway received, and what it said to it."""

    at: float
    model: str
    charge: Charge
    """As it was reserved."""
    row: int
    number: int
    """Which sending of its task it was, from 1."""
    result: Reply | Failure


Script = Callable[[Ask, int], Reply | Failure]
"""What to say to an ask, given which sending of its task it is, from 1."""


def as_reserved(ask: Ask, _number: int) -> Reply:
    """A reply that used exactly what was reserved for it."""
    return reply(input=ask.lease.charge.input, output=ask.lease.charge.output)


class ScriptedGateway:
    """Answers asks after a latency, by a script; refuses with 429 what exceeds `limits`, if it is given any.

    A request is looked at when it is received, and answered `latency` seconds later; a 429 is answered at once. For
    the limits it counts the input that the script's reply will report, and the reserved output until it replies.
    """

    def __init__(
        self,
        script: Script = as_reserved,
        *,
        latency: float | Callable[[Ask], float] = 1.0,
        limits: Iterable[Limit] = (),
    ) -> None:
        self._script = script
        self._latency = latency
        self.judge = Judge(limits)
        self.sent: list[Sent] = []
        """Everything that was received, in order."""
        self.in_flight = 0
        self.most_in_flight = 0

    @property
    def refused(self) -> int:
        """How many requests were answered with 429 because they exceeded a limit."""
        return sum(isinstance(sent.result, Failure) and sent.result.code == "judged" for sent in self.sent)

    async def __call__(self, ask: Ask) -> Reply | Failure:
        """Receive an ask, and answer it in its time."""
        now = asyncio.get_running_loop().time()
        held = ask.lease.charge
        result = self._script(ask, ask.number)
        read = result.usage.input if isinstance(result, Reply) else 0
        counted = self.judge.admit(ask.model, Charge(1, read, held.output), now)
        if isinstance(counted, Limit):
            scope: Scope = "all" if counted.scope == ALL else "model"
            over = Failure(kind=Kind.RATE_LIMITED, message=f"Over {counted}.", status=429, code="judged", scope=scope)
            self.sent.append(Sent(now, ask.model, held, ask.task.row, ask.number, over))
            return over
        self.sent.append(Sent(now, ask.model, held, ask.task.row, ask.number, result))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self._latency(ask) if callable(self._latency) else self._latency)
        finally:
            self.in_flight -= 1
        written = result.usage.output if isinstance(result, Reply) else 0
        counted.charge = Charge(1, read, written)
        return result


__all__ = [
    "Counted",
    "Deadlock",
    "Judge",
    "JumpingLoop",
    "ScriptedGateway",
    "Sent",
    "as_reserved",
    "charge_of",
    "failure",
    "refusal",
    "reply",
    "run",
    "task",
]
