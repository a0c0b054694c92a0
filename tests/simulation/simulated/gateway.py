"""The gateway of a simulation: it answers as its seed says, keeps limits if it is to, and always knows the truth.

What is counted here, and how, is written down a second time and on purpose: nothing is shared with the ledgers.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

from runner.core.limits import ALL, Budget, Limit
from runner.core.values import Charge, Failure, Kind, Measure, Outcome, Reply, Usage
from runner.core.work import Ask
from runner.testing import failure, refusal, reply
from simulated.scenario import Scenario

Key = tuple[int, int]
"""Row and slot."""


@dataclass(slots=True, eq=False)
class Counted:
    """A request that the gateway has taken in, and what it counts of it at this moment."""

    at: float
    model: str
    key: Key
    sent: float
    charge: Charge
    session: int
    known: bool = True
    """Whether the runner can know of it: not if the loss of power took its intent."""

    def of(self, limit: Limit) -> int:
        """What it takes of a limit."""
        if limit.measure == "requests":
            return self.charge.requests
        if limit.measure == "total":
            return self.charge.input + self.charge.output
        return self.charge.input if limit.measure == "input" else self.charge.output


class Book:
    """What was taken in lately, for as long as any window is."""

    def __init__(self, budgets: Iterable[Budget]) -> None:
        self.limits = tuple(dict.fromkeys(limit for budget in budgets for limit in budget))
        self.entries: list[Counted] = []
        self._longest = max((limit.window for limit in self.limits), default=0.0)

    def add(self, counted: Counted) -> None:
        """Take in a request."""
        self.entries = [old for old in self.entries if old.at + self._longest > counted.at]
        self.entries.append(counted)

    def of(self, limit: Limit, now: float) -> list[Counted]:
        """What stands in a limit's window."""
        since = now - limit.window
        return [one for one in self.entries if one.at > since and limit.scope in (ALL, one.model)]

    def level(self, limit: Limit, now: float) -> int:
        """How much of a limit is in use, of what the runner can know."""
        return sum(one.of(limit) for one in self.of(limit, now) if one.known)


class Keeper:
    """One limit as the gateway keeps it, where it does: a log, calendar windows, or a bucket that starts full."""

    def __init__(self, limit: Limit, scenario: Scenario, book: Book) -> None:
        self.limit = limit
        self._kind = scenario.enforced
        self._phase = scenario.phase
        self._amounts = scenario.amounts
        self._book = book
        self._used = 0.0
        self._seen = 0.0

    def amount(self, now: float) -> float:
        """How much there really is."""
        factor = 1.0
        for since, times in self._amounts:
            factor = times if since <= now else factor
        return self.limit.amount * factor if self.limit.measure != "requests" else self.limit.amount

    def too_soon(self, wanted: int, now: float) -> float | None:
        """Seconds until so much may be taken; None if it may now. What is larger than everything goes alone."""
        amount = self.amount(now)
        wanted = min(wanted, math.floor(amount))
        if self._kind == "log" or self.limit.measure == "requests":
            return self._log_too_soon(wanted, amount, now)
        self._turn(now)
        missing = self._used + wanted - amount
        if missing <= 0:
            return None
        if self._kind == "calendar":
            return self.limit.window - (now - self._phase) % self.limit.window
        return missing * self.limit.window / amount

    def _log_too_soon(self, wanted: int, amount: float, now: float) -> float | None:
        entries = self._book.of(self.limit, now)
        missing = sum(one.of(self.limit) for one in entries) + wanted - amount
        if missing <= 0:
            return None
        for one in entries:
            missing -= one.of(self.limit)
            if missing <= 0:
                return one.at + self.limit.window - now
        return self.limit.window

    def _turn(self, now: float) -> None:
        window = self.limit.window
        if self._kind == "calendar":
            if math.floor((now - self._phase) / window) != math.floor((self._seen - self._phase) / window):
                self._used = 0.0
        else:
            self._used = max(0.0, self._used - (now - self._seen) * self.amount(now) / window)
        self._seen = now

    def take(self, amount: float, now: float) -> None:
        """Count so much more, or, where an answer gives back, so much less."""
        self._turn(now)
        self._used = max(0.0, self._used + amount)


@dataclass(kw_only=True)
class SimGateway:
    """Sends nothing anywhere."""

    scenario: Scenario
    budgets: dict[str, Budget]
    seen: Counter[str]
    rng: Random = field(init=False)
    book: Book = field(init=False)
    keepers: dict[Limit, Keeper] = field(init=False)
    session: int = 0
    received: int = 0
    refused: int = 0
    """429s for a limit."""
    token_expired: bool = False
    answers: dict[Key, set[str]] = field(default_factory=dict)
    """The texts that were ever given for each task."""
    over: list[str] = field(default_factory=list)
    """Where a configured limit was exceeded by what the runner can know of."""

    def __post_init__(self) -> None:
        self.rng = self.scenario.stream("gateway")
        self.book = Book(self.budgets.values())
        self.keepers = {limit: Keeper(limit, self.scenario, self.book) for limit in self.book.limits}

    async def __call__(self, ask: Ask) -> Reply | Failure:
        """Receive a request, and answer it in its time."""
        loop, scenario, rng = asyncio.get_running_loop(), self.scenario, self.rng
        way = rng.uniform(0, scenario.transit)
        on_its_way = Counted(loop.time() + way, ask.model, _key(ask), ask.at, self._charge(ask), self.session)
        if way:
            try:
                await asyncio.sleep(way)
            except asyncio.CancelledError:
                self.book.add(on_its_way)  # whoever sent it is dead; it arrives all the same
                raise
        self.received += 1
        result = self._first_word(ask, loop.time())
        latency = rng.uniform(0.05, 0.3) if isinstance(result, Failure) else rng.uniform(0.2, scenario.slow)
        if result is None or not _at_the_door(result):
            self._count(on_its_way, ask, loop.time())
        if result is None:
            result = self._answer(ask)
            latency = rng.uniform(0.2, scenario.slow)
        elif result.kind is Kind.TIMEOUT:
            latency = 1.5 * scenario.window
        await asyncio.sleep(latency)
        self._settle(on_its_way, result, loop.time())
        return result

    def _charge(self, ask: Ask) -> Charge:
        return Charge(1, self.true_input(ask), ask.lease.charge.output)

    def true_input(self, ask: Ask) -> int:
        """What the model reads."""
        model = self.scenario.models[ask.model]
        truth = math.ceil(math.ceil(ask.task.size.text * model.family.multiplier) * self.scenario.truth[ask.model])
        for limit in self.budgets[ask.model]:
            if limit.measure in ("input", "total"):  # nothing that can be asked is larger than everything
                truth = min(truth, limit.amount - (ask.lease.charge.output if limit.measure == "total" else 0))
        return truth

    # What is counted.

    def _count(self, counted: Counted, ask: Ask, now: float) -> None:
        self.book.add(counted)
        for limit in self.budgets[ask.model]:
            self.keepers[limit].take(counted.of(limit), now)
            level = self.book.level(limit, now)
            if level > limit.amount:
                self.over.append(f"at {now:.3f}: {level} of {limit}, with row {ask.task.row}")
            if level >= 0.95 * limit.amount:
                self.seen["a limit was used in full"] += 1

    def _settle(self, counted: Counted, result: Reply | Failure, now: float) -> None:
        before = counted.charge
        if isinstance(result, Reply):
            if result.usage.reported:
                counted.charge = Charge(1, result.usage.input, result.usage.output)
        elif not result.ambiguous:
            counted.charge = Charge(1, 0, 0)
        elif self.rng.random() < 0.3:
            counted.charge = Charge(1, before.input, before.output // 2)  # it was worked on, and nobody will know
        for limit in self.budgets[counted.model]:
            given_back = Counted(counted.at, counted.model, counted.key, counted.sent, before, 0).of(limit)
            self.keepers[limit].take(counted.of(limit) - given_back, now)

    # What is said.

    def _first_word(self, ask: Ask, now: float) -> Failure | None:
        """What keeps a request from being answered; None if nothing does."""
        scenario, row = self.scenario, ask.task.row
        calm = now >= scenario.calm_from
        if any(outage.holds(now, ask.model) for outage in scenario.outages):
            self.seen["outage"] += 1
            return self._down()
        if self.token_expired:
            return failure(Kind.UNAUTHORIZED, status=401, scope="all")
        if any(gone.holds(now, ask.model) for gone in scenario.gone):
            return failure(Kind.MODEL_UNAVAILABLE, status=404, scope="model")
        for spent in scenario.spent:
            if spent.holds(now, ask.model):
                return failure(Kind.QUOTA_EXHAUSTED, status=429, scope="model" if spent.model else "all")
        if (refused := self._over_the_limit(ask, now)) is not None:
            return refused
        if row in scenario.poison:
            return failure(scenario.poison[row], status=400)
        if calm:
            return None
        for fault, likely in scenario.faults.items():
            if fault != "usage missing" and self.rng.random() < likely:
                self.seen[fault] += 1
                return self._fault(fault)
        return None

    def _down(self) -> Failure:
        return self.rng.choice(
            [
                failure(Kind.UNREACHABLE, scope="all"),
                failure(Kind.SERVER_ERROR, status=503),
                failure(Kind.DISCONNECTED, ambiguous=True),
                failure(Kind.OVERLOADED, status=529),
            ]
        )

    def _fault(self, fault: str) -> Failure:
        rng, window = self.rng, self.scenario.window
        if fault.startswith(("refused", "all refused")):
            after = rng.choice([1.0, 3.0, window / 2]) if fault.endswith("with a time") else None
            return refusal("all" if fault.startswith("all") else "model", retry_after=after)
        after = rng.choice([None, 2.0]) if fault == "overloaded" else None
        kinds = {
            "server error": failure(Kind.SERVER_ERROR, status=500, ambiguous=rng.random() < 0.5),
            "overloaded": failure(Kind.OVERLOADED, status=529, retry_after=after),
            "timeout": failure(Kind.TIMEOUT, ambiguous=True),
            "disconnected": failure(Kind.DISCONNECTED, ambiguous=True),
            "invalid response": failure(Kind.INVALID_RESPONSE, status=200, ambiguous=True),
            "unreachable": failure(Kind.UNREACHABLE, scope="all"),
        }
        return kinds[fault]

    def _over_the_limit(self, ask: Ask, now: float) -> Failure | None:
        if self.scenario.enforced == "none":
            return None
        wanted = Counted(now, ask.model, _key(ask), ask.at, self._charge(ask), self.session)
        waits = [(self.keepers[limit].too_soon(wanted.of(limit), now), limit) for limit in self.budgets[ask.model]]
        over = [(wait, limit) for wait, limit in waits if wait is not None]
        if not over:
            return None
        wait, limit = max(over, key=lambda pair: pair[0])
        self.refused += 1
        self.seen["over a limit"] += 1
        measure: Measure | None = limit.measure if self.rng.random() < 0.7 else None
        when = max(0.1, wait) if self.scenario.tells_when else None
        return refusal("all" if limit.scope == ALL else "model", retry_after=when, measure=measure)

    def _answer(self, ask: Ask) -> Reply:
        row, cap = ask.task.row, ask.lease.charge.output
        wanted = self.scenario.wanted[row]
        cut = wanted > cap
        text = answer(row, cut=cut)
        self.answers.setdefault(_key(ask), set()).add(text)
        missing = "usage missing" in self.scenario.faults and self.rng.random() < self.scenario.faults["usage missing"]
        usage = Usage(reported=False) if missing else Usage(input=self.true_input(ask), output=min(wanted, cap))
        self.seen["usage missing"] += missing
        return reply(text, usage=usage, outcome=Outcome.TRUNCATED if cut else Outcome.OK)


def answer(row: int, *, cut: bool = False) -> str:
    """What any model says to a row: it depends on nothing else."""
    return f"answer to {row}, cut" if cut else f"answer to {row}"


def _key(ask: Ask) -> Key:
    return ask.task.row, ask.task.slot


def _at_the_door(result: Failure | None) -> bool:
    """Whether nothing is counted of a request: it was refused, or never came."""
    return result is not None and result.kind in (Kind.RATE_LIMITED, Kind.UNREACHABLE, Kind.QUOTA_EXHAUSTED)
