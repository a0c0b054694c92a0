"""Spending of one run beside others on the same host that spend from the same account.

It is the ledger in memory, which hears what the others have spent, and takes no more than its lease: a part of what is
left, for a fraction of a second, divided by `core.sharing`. All meet at a store (`sqlite`), each a few times a second;
in between nothing is asked there. Who is alone has all of it. Where nobody can be met, the run goes on with the part
of every limit that it had by its weight when the others were last seen, and says so once.

Times are seconds of the host's monotonic clock, which all runs share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from runner.core.knowledge import Facts, limit_key
from runner.core.limits import Budget, Limit
from runner.core.ports import Lease, Refusal, Refused, Room
from runner.core.sharing import Claim, period
from runner.core.values import Charge, Failure
from runner.core.window import Window
from runner.ledgers.company import Company
from runner.ledgers.log import Log
from runner.ledgers.meeting import Meeting
from runner.ledgers.memory import NO_ROOM, MemoryLedger, counted
from runner.ledgers.pages import Member, Page
from runner.ledgers.parts import LASTS, SOONEST, Parts
from runner.ledgers.pieces import Piece
from runner.ledgers.processes import Life, Process, life
from runner.ledgers.sqlite import Damaged, Store, Unusable
from runner.ledgers.wants import Wants

BUSY = 1.0, 4.0
"""Seconds, or periods, whatever is longer, for which the store may be busy before a run goes on without it."""
LEASED = 8.0
"""Periods in the shortest window that is divided by leases; of a shorter one every run has a fixed part."""


class SharedLedger(MemoryLedger):
    """Takes no more than its part of what all runs of one account have."""

    def __init__(
        self,
        budgets: Mapping[str, Budget],
        guard: Callable[[float], float] = lambda _window: 0.0,
        *,
        store: Store,
        me: Member,
        learns: bool = False,
        probes: bool = True,
        above: bool = False,
        alive: Callable[[Process], Life] = life,
    ) -> None:
        """`me` is this run as the others at the store know it; `alive` says what has become of another run's process.

        The rest is as in memory.
        """
        super().__init__(budgets, guard, learns=learns, probes=probes, above=above)
        self.me = me
        self.notices: list[str] = []
        """What a user should know: that the store cannot be used."""
        self._store = store
        self._by_key: dict[str, Window | Log] = {limit_key(limit): window for limit, window in self._windows.items()}
        self._keys = {limit: limit_key(limit) for limit in self._windows}
        self._span = max((limit.window for limit in self._windows), default=1.0)
        self.period = period(self._span)
        self._leased = {key for limit, key in self._keys.items() if limit.window >= LEASED * self.period}
        """Limits that are divided by leases."""
        self._piece_of: dict[Lease, Piece] = {}
        self._meeting = Meeting(me, store, self._by_key, self._leased, alive, span=self._span, period=self.period)
        self._wants = Wants()
        self._parts = Parts(
            me, self._by_key, self._leased, self._wants, span=self._span, period=self.period, probes=probes
        )
        self._left: dict[str, float] | None = None
        """What may still be taken, by limit; None for all that there is."""
        self._spare: dict[str, float] = {}
        """What may still be taken of limits of which something is left to others that may come."""
        self._until = -math.inf
        self._met = self._due = -math.inf
        self._share = 1.0
        self._failing_since = math.inf

    # What the scheduler asks.

    def take(self, model: str, charge: Charge, now: float) -> Lease | Refusal:
        """Hold a charge against every limit of a model's budget and against this run's part, or say until when not."""
        lease = super().take(model, charge, now)
        if isinstance(lease, Lease):
            amounts = self._amounts(model, charge)
            self._piece_of[lease] = self._meeting.spending.take(amounts, now)
            self._wants.took(amounts)
            self._keep_count(amounts)
        return lease

    def refusal(self, model: str, charge: Charge, now: float) -> Refusal | None:
        """What `take` would answer, without taking anything: None where it would be a lease."""
        self.beat(now)
        refusal = super().refusal(model, charge, now)
        if refusal is not None and not refusal.any_size:
            self._wants.missed(self._amounts(model, charge), [self._keys[refusal.limit]])
        if refusal is None and self._is_bound:
            refusal = self._beyond(model, charge, now)
            if refusal is not None and not refusal.any_size and now >= self._met + SOONEST * self.period:
                self.meet(now)  # the lease is used up before its end
                refusal = super().refusal(model, charge, now) or self._beyond(model, charge, now)
        if refusal is not None and self._is_bound:
            # Others may give back at any moment what this waits for.
            refusal.until = min(refusal.until, max(self._due, now + SOONEST * self.period))
            refusal.any_larger = False  # the others are told what each model wants
        if refusal is not None:
            self._wants.waits(refusal.until)
        return refusal

    def _beyond(self, model: str, charge: Charge, now: float) -> Refusal | None:
        """The refusal of what there is room for, but not for this run."""
        short: list[Limit] = []
        scarcest, least = None, math.inf
        for window in self._budgets[model]:
            amount, left = window.limit.of(charge), self._may_take(window.limit, now)
            if amount <= left or window.is_probe(amount, now) or self._has_all(window, left, now):
                continue
            short.append(window.limit)
            if left / window.limit.amount < least:
                scarcest, least = window.limit, left / window.limit.amount
        if scarcest is None:
            return None
        self._wants.missed(self._amounts(model, charge), [self._keys[limit] for limit in short])
        return Refusal(math.inf, scarcest, least <= 0)

    def _has_all(self, window: Window | Log, left: float, now: float) -> bool:
        """Whether a window is empty and all of it is ours: then what is larger than it goes alone."""
        return left > 0 and window.used(now) <= 0 and left >= math.floor(window.free(now))

    @property
    def _is_bound(self) -> bool:
        """Whether it may take less than all that there is."""
        return self._left is not None or bool(self._spare)

    def _may_take(self, limit: Limit, now: float) -> float:
        key = self._keys[limit]
        spare = self._spare.get(key, math.inf)
        if self._left is None or key not in self._leased:
            return spare
        return min(spare, self._left[key]) if now < self._until else 0.0

    def _keep_count(self, taken: Mapping[str, int]) -> None:
        for left in (self._left, self._spare):
            if left:
                for key in taken.keys() & left.keys():
                    left[key] -= taken[key]

    def room(self, model: str, now: float) -> Room:
        """What a model's budget has room for within this run's part."""
        self.beat(now)
        room = super().room(model, now)
        if not self._is_bound or room is NO_ROOM:
            return room
        least = room._asdict()
        for window in self._budgets[model]:
            measure = window.limit.measure
            left = self._may_take(window.limit, now)
            if measure != "requests" and left < least[measure] and not self._has_all(window, left, now):
                least[measure] = left
        return Room(**least)

    def settle(self, lease: Lease, charge: Charge, now: float, sent_at: float = -math.inf, lag: float = 0.0) -> None:
        """Replace a lease's guess by what was really spent; what is given back within its window is still ours."""
        super().settle(lease, charge, now, sent_at, lag)
        guess, truth = self._amounts(lease.model, lease.charge), self._amounts(lease.model, charge)
        at = counted(lease, self._span, sent_at, lag)
        self._meeting.spending.settle(self._piece_of.pop(lease), guess, truth, at)
        if self._is_bound:
            ours = [w.limit for w in self._budgets[lease.model] if now < lease.at + w.limit.window]
            self._keep_count({key: truth[key] - guess[key] for key in map(self._keys.__getitem__, ours)})
        self.beat(now)

    def accepted(self, lease: Lease, now: float) -> bool:
        """Learn from a request that was let in, and let the others know soon."""
        learned = super().accepted(lease, now)
        if learned:
            self._hurry()
        return learned

    def refused(self, lease: Lease, failure: Failure, now: float, sent_at: float = -math.inf) -> Refused:
        """Learn from a 429, and let the others know soon."""
        self._hurry()
        return super().refused(lease, failure, now, sent_at)

    def _hurry(self) -> None:
        self._due = min(self._due, self._met + SOONEST * self.period)

    def _amounts(self, model: str, charge: Charge) -> dict[str, int]:
        return {self._keys[window.limit]: window.limit.of(charge) for window in self._budgets[model]}

    def recall(self, limits: Mapping[str, Facts], wall: float, now: float, *, spending: bool = True) -> None:
        """Begin with what an earlier run learned; what it had just spent is better known from the store, if that is."""
        super().recall(limits, wall, now, spending=spending and not self._meeting.can_be_held())

    # Meeting the others.

    def beat(self, now: float) -> None:
        """Meet the others if it is time to; to be called about once in a period, whatever else happens."""
        if now >= self._due:
            self.meet(now)

    def meet(self, now: float) -> None:
        """Tell the others what was spent, hear what they did, and take a new lease."""
        elapsed, self._met, self._due = now - self._met, now, now + self.period
        left: dict[str, float] | None = None
        spare: dict[str, float] = {}

        def write(company: Company) -> Page:
            nonlocal left, spare
            self._share = company.share
            claims = self._parts.claims(self._meeting, elapsed, now)
            self._parts.follow(1.0)
            spare = self._parts.spared(self._meeting, now)
            if company:
                parts = self._parts.divide(company, claims, now)
                left = {key: min(part, spare.get(key, math.inf)) for key, part in parts.items()}
            return self._page(left, claims, now)

        try:
            self._meeting.hold(now, self._wants.drawn, write)
        except Unusable as error:
            self._fail(error, now)
            return
        self._failing_since, self._until = math.inf, now + LASTS * self.period
        self._left, self._spare = left, spare
        self._wants.told(now)

    @property
    def lease(self) -> Mapping[str, float] | None:
        """What may still be taken of each limit until the lease ends; None for all that there is."""
        return self._left

    def leave(self, now: float) -> None:
        """Tell the others that this run has ended; what it spent stays counted."""
        self._meeting.leave(now)

    def _page(self, left: Mapping[str, float] | None, claims: Mapping[str, Claim], now: float) -> Page:
        used = self._wants.used
        return Page(
            member=self.me,
            beat=now,
            until=now + LASTS * self.period,
            share=self._share,
            lease=None if left is None else {key: amount for key, amount in left.items() if 0 < amount < math.inf},
            claims={key: (one.used, one.want, one.least) for key, one in claims.items() if key in used},
            guessed=self._meeting.spending.guessed(),
            amounts={
                key: (window.limit.amount, window.limit.window) for key, window in self._by_key.items() if key in used
            },
        )

    # Going on alone.

    def _fail(self, error: Unusable, now: float) -> None:
        """The others cannot be met: wait a moment for whoever holds the store, or go on with this run's part."""
        if isinstance(error, Damaged):
            try:
                self._store.renew()
            except Unusable as other:
                error = other
        self._failing_since = min(self._failing_since, now)
        if error.busy and now - self._failing_since < max(BUSY[0], BUSY[1] * self.period):
            self._due = now + SOONEST * self.period
            return
        self._due = now + max(1.0, self.period)
        self._left, self._spare = None, {}
        self._parts.follow(self._share)
        part = "as if there were none" if self._share == 1.0 else f"with {self._share:.0%} of every limit"
        notice = f"The budget cannot be shared with other runs ({error}): this one goes on {part}."
        if not self.notices:
            self.notices.append(notice)
