"""Spending of one process, in memory: every limit mirrored as the gateway counts it, as far as that is known.

A take counts in full from the moment it is made; its settlement replaces the guess by the truth, and may date it later.
Amounts are whole numbers, so nothing drifts.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping

from runner.core.counting import MOST_LATE
from runner.core.errors import BrokenInvariant
from runner.core.knowledge import Facts, limit_key
from runner.core.limits import ALL, Budget, Limit
from runner.core.mirrors import Take
from runner.core.ports import Lease, Refusal, Refused, Room
from runner.core.values import Charge, Failure, Measure
from runner.core.window import Kind, Window, weigh_together
from runner.ledgers.log import Log

NO_ROOM = Room(-1.0, -1.0, -1.0)

MEANT: Mapping[Measure | None, tuple[Measure, ...]] = {
    None: ("input", "output", "total"),
    "total": ("input", "total"),
    "input": ("input", "total"),
    "output": ("output", "total"),
    "requests": (),
}
"""The measures that a 429 may mean by the one that it names: "tokens" are what input limits count."""


def _may_ask(window: Window | Log) -> bool:
    """Whether more may be sent where less is not: to ask a question is only worth while when the wait is long."""
    return isinstance(window, Window) and window.probes and window.kind is Kind.UNKNOWN


def counted(lease: Lease, window: float, sent_at: float, lag: float) -> float:
    """The latest moment at which the gateway may have counted a lease."""
    return max(lease.at + min(lag, window * MOST_LATE), sent_at)


class MemoryLedger:
    """Takes all of a budget's limits or none, in one step that nothing can come between."""

    def __init__(
        self,
        budgets: Mapping[str, Budget],
        guard: Callable[[float], float] = lambda _window: 0.0,
        *,
        learns: bool = False,
        probes: bool = True,
        above: bool = False,
    ) -> None:
        """`guard` gives, for a window, the seconds that spending is kept beyond it.

        With `learns`, how the gateway counts tokens and how much there is are learned (`core.window`); `probes` lets
        requests be sent for that alone, `above` lets amounts grow above the configured ones.
        """
        windows: dict[Limit, Window | Log] = {}
        for limit in dict.fromkeys(limit for budget in budgets.values() for limit in budget):
            if learns and limit.measure != "requests":
                windows[limit] = Window(limit, guard(limit.window), probes=probes, above=above)
            else:
                windows[limit] = Log(limit, guard(limit.window))
        self._windows = windows
        self._learns = learns
        self._alike: dict[Measure, list[Window]] = {}
        """Those that a gateway counts alike."""
        for window in windows.values():
            if isinstance(window, Window):
                self._alike.setdefault(window.limit.measure, []).append(window)
        for alike in self._alike.values():
            weigh_together(alike)
        self._budgets = {name: tuple(windows[limit] for limit in budget) for name, budget in budgets.items()}
        self._own = {
            name: tuple((windows[limit], limit.amount) for limit in budget if limit.scope == name)
            for name, budget in budgets.items()
        }
        """The windows that only one model spends from, with their amounts."""
        self._uses: dict[str, float] = {}
        """What `use` has answered for one moment: all models are compared at each decision, and one changes."""
        self._uses_at = -math.inf

    def take(self, model: str, charge: Charge, now: float) -> Lease | Refusal:
        """Hold a charge against every limit of a model's budget, or say which limit has no room and until when."""
        refusal = self.refusal(model, charge, now)
        if refusal is not None:
            return refusal
        self._uses.pop(model, None)
        windows = self._budgets[model]
        return Lease(model, charge, now, [window.take(window.limit.of(charge), now) for window in windows])

    def refusal(self, model: str, charge: Charge, now: float) -> Refusal | None:
        """What `take` would answer, without taking anything: None where it would be a lease."""
        last, latest = now, None
        for window in self._budgets[model]:
            if window.presumed(now):
                self._tell(window, now)
            until, any_size = window.when(window.limit.of(charge), now)
            if until > now and any_size:
                return Refusal(until, window.limit, True, True)
            if until > last:
                last, latest = until, window
        if latest is None:
            return None
        resets = isinstance(latest, Window) and latest.kind is Kind.CALENDAR
        return Refusal(last, latest.limit, any_larger=not _may_ask(latest), resets=resets)

    def room(self, model: str, now: float) -> Room:
        """What a model's budget has room for, without anything being sent only to find out."""
        least_input = least_output = least_total = math.inf
        for window in self._budgets[model]:
            room, measure = window.room(now), window.limit.measure
            if measure == "input":
                least_input = min(least_input, room)
            elif measure == "output":
                least_output = min(least_output, room)
            elif measure == "total":
                least_total = min(least_total, room)
            elif room < 1:
                return NO_ROOM
        return Room(least_input, least_output, least_total)

    def restore(self, model: str, charge: Charge, at: float) -> None:
        """Count what an earlier session spent at a moment before now, whether it fits or not; oldest first."""
        for window in self._budgets[model]:
            window.restore(window.limit.of(charge), at)

    def settle(self, lease: Lease, charge: Charge, now: float, sent_at: float = -math.inf, lag: float = 0.0) -> None:
        """Replace a lease's guess by what was really spent. Each lease is settled exactly once.

        It is dated `sent_at`, or `lag` seconds after it was taken, where the gateway may have counted it then.
        """
        if lease.settled:
            raise BrokenInvariant(f"The lease of {lease.charge} on {lease.model} was settled twice.")
        lease.settled = True
        self._uses.pop(lease.model, None)
        for window, take in zip(self._budgets[lease.model], lease.takes, strict=True):
            counted_at = counted(lease, window.limit.window, sent_at, lag)
            take.counted_from = max(take.counted_from, sent_at)
            window.settle(take, window.limit.of(charge), counted_at, now)

    def accepted(self, lease: Lease, now: float) -> bool:
        """Learn from a request that was let in; before it is settled. Whether anything was learned."""
        learned = False
        for window, take in zip(self._budgets[lease.model], lease.takes, strict=True):
            if window.accepted(take, now):
                self._tell(window, now)
                learned = True
        return learned

    def refused(self, lease: Lease, failure: Failure, now: float, sent_at: float = -math.inf) -> Refused:
        """Learn from a 429; before it is settled. It was sent at `sent_at`, if that is later than it was taken."""
        held = tuple(zip(self._budgets[lease.model], lease.takes, strict=True))
        if failure.measure == "requests":
            return self._refused_rate(held, failure, now)
        concerned = [
            (window, take)
            for window, take in held
            if isinstance(window, Window)
            and ((window.limit.scope == ALL) == (failure.scope == "all") or failure.measure is None)
            and window.limit.measure in MEANT.get(failure.measure, MEANT[None])
        ]
        if not concerned:
            return Refused.UNKNOWN
        # Where no limit is named, it was the fullest.
        window, take = max(concerned, key=lambda pair: (pair[1].probe, pair[1].before / pair[0].limit.amount))
        found = window.finding
        expected = window.refused(take, failure.retry_after, now, sent_at)
        if window.finding != found:
            self._tell(window, now)
        return Refused.EXPECTED if expected else Refused.SURPRISING

    def _refused_rate(self, held: Iterable[tuple[Window | Log, Take]], failure: Failure, now: float) -> Refused:
        """Too many requests were sent in too short a time."""
        rates = [
            (window, take)
            for window, take in held
            if isinstance(window, Log) and self._learns and (window.limit.scope == ALL) == (failure.scope == "all")
        ]
        for window, take in rates:
            window.refused(take, now)
        return Refused.SURPRISING if rates else Refused.UNKNOWN

    def _tell(self, found: Window | Log, now: float) -> None:
        """What was found out of one limit is supposed of those that are counted beside it."""
        if isinstance(found, Window):
            for window in self._alike[found.limit.measure]:
                window.suppose(found, now)

    def remember(self, wall: float, now: float) -> dict[str, Facts]:
        """What was learned of the limits; `wall` is the time of day at `now`, in seconds since the epoch."""
        facts = {limit_key(limit): window.remember(wall, now) for limit, window in self._windows.items()}
        return {key: known for key, known in facts.items() if known}

    def recall(self, limits: Mapping[str, Facts], wall: float, now: float, *, spending: bool = True) -> None:
        """Begin with what an earlier run learned, and with what it had just spent; what is garbled is left out."""
        for window in self._windows.values() if self._learns else ():
            with contextlib.suppress(KeyError, ValueError, OverflowError):
                window.recall(limits[limit_key(window.limit)], wall, now, spending=spending)

    def spent(self, now: float) -> dict[Limit, int]:
        """What each limit's window holds at this moment, reservations in flight included."""
        return {limit: max(0, round(window.used(now))) for limit, window in self._windows.items()}

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Every limit that is kept."""
        return tuple(self._windows)

    @property
    def windows(self) -> tuple[Window | Log, ...]:
        """Each limit as it is kept, in the order of `limits`."""
        return tuple(self._windows.values())

    def use(self, model: str, now: float) -> float:
        """The fullest of a model's own windows, as a fraction of its limit; 0 without limits."""
        if now != self._uses_at:
            self._uses, self._uses_at = {}, now
        elif model in self._uses:
            return self._uses[model]
        fullest = 0.0
        for window, amount in self._own[model]:
            share = window.used(now) / amount
            if share > fullest:
                fullest = share
        self._uses[model] = fullest
        return fullest
