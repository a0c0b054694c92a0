"""Spending of one process, in memory: a mirror of a sliding log for every limit.

A take counts in full from the moment it is made; its settlement replaces the guess by the truth, and may date it later;
and it leaves its window `window + guard` seconds after its date, or when it is settled if that is later. Amounts are
whole numbers, so nothing drifts.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping

from runner.core.belief import Belief
from runner.core.errors import BrokenInvariant
from runner.core.limits import ALL, Budget, Limit
from runner.core.ports import Lease, Refusal
from runner.core.values import Charge, Failure, Measure

LOOK_AGAIN = 1 / 60
"""Of a window: how often a limit is looked at again whose real amount may be growing."""

LEAST_STEP = 1 / 1200
"""Of a window: the shortest wait for a limit that is being learned."""


class Take:
    """An amount held in one window."""

    __slots__ = ("amount", "at", "before", "overdue", "settled")

    def __init__(self, at: float, amount: int, before: int) -> None:
        self.at = at
        self.amount = amount
        self.before = before
        """What the window held when this was taken."""
        self.settled = False
        self.overdue = False


class Window:
    """The sliding log of one limit: what was taken in the last `span` seconds, oldest first."""

    __slots__ = ("_log", "belief", "limit", "span", "spent")

    def __init__(self, limit: Limit, guard: float, belief: Belief | None) -> None:
        self.limit = limit
        self.belief = belief
        self.span = limit.window + guard
        self.spent = 0
        self._log: deque[Take] = deque()

    def expire(self, now: float) -> None:
        """Let go of what has left the window; what is still in flight stays until it is settled."""
        log, span = self._log, self.span
        while log and log[0].at + span <= now:
            take = log.popleft()
            if take.settled:
                self.spent -= take.amount
            else:
                take.overdue = True

    def take(self, amount: int, now: float) -> Take:
        """Hold an amount from now on."""
        take = Take(now, amount, self.spent)
        take.settled = self.limit.measure == "requests"  # nothing about it is a guess
        self.spent += amount
        self._log.append(take)
        if self.belief is not None:
            self.belief.sent(amount, now)
        return take

    def settle(self, take: Take, amount: int, counted_at: float) -> None:
        """Replace a guess by the truth."""
        self.spent += (0 if take.overdue else amount) - take.amount
        if self.belief is not None and amount != take.amount:
            self.belief.corrected(amount - take.amount, counted_at)
        take.amount = amount
        take.at = max(take.at, counted_at)
        take.settled = True

    def has_room(self, amount: int, now: float) -> bool:
        """Whether this much more may be taken now."""
        if self.belief is None or not amount:
            return self.spent + amount <= self.limit.amount
        # What is larger than all that is believed to be there goes alone.
        most = max(self.belief.amount(now), amount)
        return self.spent + amount <= most and self.belief.opens(now) <= now

    def when(self, amount: int, now: float) -> float:
        """The moment at which `amount` fits, if nothing more is taken; `now` if it fits already."""
        if self.belief is None:
            return self._leaves(self.spent + amount - self.limit.amount, now)
        missing = self.spent + amount - max(math.floor(self.belief.amount(now)), amount)
        leaves = self._leaves(missing, now)
        if self.belief.is_shaken and leaves > now:  # the room may grow before that
            leaves = min(leaves, now + self.limit.window * LOOK_AGAIN)
        until = max(leaves, self.belief.opens(now))
        # Rates and amounts move with time: the moment that was reckoned may recede, but never into standing still.
        return until if until <= now else max(until, now + self.limit.window * LEAST_STEP)

    def _leaves(self, missing: int, now: float) -> float:
        """The moment at which so much will have left the window."""
        if missing <= 0:
            return now
        leaves = now
        for take in self._log:
            leaves = max(leaves, take.at + self.span)  # one that was dated later holds back those behind it
            missing -= take.amount
            if missing <= 0:
                return leaves
        return now + self.span

    def __repr__(self) -> str:
        return f"<Window {self.limit}: {self.spent:,} spent in {len(self._log)} takes>"


MEANT: Mapping[Measure | None, tuple[Measure, ...]] = {
    None: ("input", "output", "total"),
    "total": ("input", "total"),
    "input": ("input", "total"),
    "output": ("output", "total"),
    "requests": (),
}
"""The measures that a 429 may mean by the one that it names: "tokens" are what input limits count."""


class MemoryLedger:
    """Takes all of a budget's limits or none, in one step that nothing can come between."""

    def __init__(
        self,
        budgets: Mapping[str, Budget],
        guard: Callable[[float], float] = lambda _window: 0.0,
        *,
        learns: bool = False,
    ) -> None:
        """`guard` gives, for a window, the seconds that spending is kept beyond it.

        With `learns` the limits are what is believed of them, and refusals change it (`core.belief`).
        """
        windows: dict[Limit, Window] = {}
        for budget in budgets.values():
            for limit in budget:
                belief = Belief(limit) if learns and limit.measure != "requests" else None
                windows.setdefault(limit, Window(limit, guard(limit.window), belief))
        self._windows = windows
        self._budgets = {name: tuple(windows[limit] for limit in budget) for name, budget in budgets.items()}

    def take(self, model: str, charge: Charge, now: float) -> Lease | Refusal:
        """Hold a charge against every limit of a model's budget, or say which limit has no room and until when."""
        windows = self._budgets[model]
        for window in windows:
            window.expire(now)
            if not window.has_room(window.limit.of(charge), now):
                return self._refusal(windows, charge, now)
        return Lease(model, charge, now, [window.take(window.limit.of(charge), now) for window in windows])

    def restore(self, model: str, charge: Charge, at: float) -> None:
        """Count what an earlier session spent at a moment before now, whether it fits or not; oldest first."""
        for window in self._budgets[model]:
            window.settle(window.take(amount := window.limit.of(charge), at), amount, at)

    def _refusal(self, windows: tuple[Window, ...], charge: Charge, now: float) -> Refusal:
        until, limit = now, windows[0].limit
        for window in windows:
            window.expire(now)
            if window.belief is not None and (opens := window.belief.opens(now)) > now:
                return Refusal(max(opens, now + window.limit.window * LEAST_STEP), window.limit, any_size=True)
            fits_at = window.when(window.limit.of(charge), now)
            if fits_at > until:
                until, limit = fits_at, window.limit
        return Refusal(until, limit)

    def settle(self, lease: Lease, charge: Charge, now: float, counted_at: float | None = None) -> None:
        """Replace a lease's guess by what was really spent. Each lease is settled exactly once.

        `counted_at` dates it, where the gateway may have counted it later than it was taken.
        """
        if lease.settled:
            raise BrokenInvariant(f"The lease of {lease.charge} on {lease.model} was settled twice.")
        lease.settled = True
        for window, take in zip(self._budgets[lease.model], lease.takes, strict=True):
            window.settle(take, window.limit.of(charge), lease.at if counted_at is None else counted_at)
            window.expire(now)

    def refused(self, lease: Lease, failure: Failure, now: float) -> None:
        """Learn from a 429 to a request that there was room for; before it is settled."""
        concerned = [
            (window, take)
            for window, take in zip(self._budgets[lease.model], lease.takes, strict=True)
            if window.belief is not None
            and (window.limit.scope == ALL) == (failure.scope == "all")
            and window.limit.measure in MEANT.get(failure.measure, MEANT[None])
        ]
        if concerned:
            # Where no limit is named, it was the fullest.
            window, take = max(concerned, key=lambda pair: pair[1].before / pair[0].limit.amount)
            if window.belief is not None:
                window.belief.refused(take.before, take.amount, lease.at, now, failure.retry_after)

    def spent(self, now: float) -> dict[Limit, int]:
        """What each limit's window holds at this moment, reservations in flight included."""
        for window in self._windows.values():
            window.expire(now)
        return {limit: window.spent for limit, window in self._windows.items()}

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Every limit that is kept."""
        return tuple(self._windows)

    def use(self, model: str, now: float) -> float:
        """The fullest of a model's own windows, as a fraction of its limit; 0 without limits."""
        fullest = 0.0
        for window in self._budgets[model]:
            if window.limit.scope == model:
                window.expire(now)
                fullest = max(fullest, window.spent / window.limit.amount)
        return fullest
