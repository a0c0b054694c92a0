"""Spending of one run beside others on the same host that spend from the same account.

It is the ledger in memory, which hears what the others have spent, and takes no more than its lease: a part of what is
left, for a fraction of a second, divided by `core.sharing`. All meet at a store (`sqlite`), each a few times a second;
in between nothing is asked there. Who is alone has all of it. Where nobody can be met, the run goes on with the part
of every limit that it had by its weight when the others were last seen, and says so once.

Times are seconds of the host's monotonic clock, which all runs share.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from runner.core.knowledge import Facts, limit_key
from runner.core.limits import Budget, Limit
from runner.core.mirrors import Take
from runner.core.ports import Lease, Refusal, Refused, Room
from runner.core.sharing import GROWTH, WEIGHTS, Claim, Priority, divide, fallback, period
from runner.core.values import Charge, Failure
from runner.core.window import Window
from runner.ledgers.memory import NO_ROOM, Log, MemoryLedger
from runner.ledgers.pieces import Piece, Pieces
from runner.ledgers.processes import Life, Process, life
from runner.ledgers.sqlite import Damaged, Page, Spent, Store, Unusable, Visit

LASTS = 2.0
"""Periods for which a lease holds: it is renewed after one."""
SOONEST = 0.5
"""Of a period: the shortest time between two visits."""
BUSY = 1.0, 4.0
"""Seconds, or periods, whatever is longer, for which the store may be busy before a run goes on without it."""
STALE = 2.0, 8.0
"""Seconds, or periods, whatever is longer, after which a run that has not been seen is taken to be unable to come."""
LEASED = 8.0
"""Periods in the shortest window that is divided by leases; of a shorter one every run has a fixed part."""
SWEEP = 0.5
"""Windows between two sweeps of what is of no use any more."""


@dataclass(slots=True)
class _Elsewhere:
    """What is known of another run's piece."""

    at: float
    takes: dict[str, Take] = field(default_factory=dict)


class SharedLedger(MemoryLedger):
    """Takes no more than its part of what all runs of one account have."""

    def __init__(
        self,
        budgets: Mapping[str, Budget],
        guard: Callable[[float], float] = lambda _window: 0.0,
        *,
        store: Store,
        run: str,
        process: Process,
        since: float,
        priority: Priority = "normal",
        learns: bool = False,
        probes: bool = True,
        above: bool = False,
        alive: Callable[[Process], Life] = life,
    ) -> None:
        """`run` names this run among all that use the store; `since` is when it began, in seconds since the epoch.

        `alive` says what has become of another run's process. The rest is as in memory.
        """
        super().__init__(budgets, guard, learns=learns, probes=probes, above=above)
        self._store = store
        self._run = run
        self.process = process
        self._since = since
        self._priority = priority
        self._alive = alive
        self._probing_allowed = probes
        self._by_key: dict[str, Window | Log] = {limit_key(limit): window for limit, window in self._windows.items()}
        self._keys = {limit: limit_key(limit) for limit in self._windows}
        self._span = max((limit.window for limit in self._windows), default=1.0)
        self.period = period(self._span)
        self.notices: list[str] = []
        """What a user should know: that the store cannot be used."""
        self._pieces: Pieces | None = None
        self._piece_of: dict[Lease, Piece] = {}
        self._left: dict[str, float] | None = None
        """What may still be taken, by limit; None for all that there is."""
        self._until = -math.inf
        self._met = self._due = -math.inf
        self._seen = 0
        self._swept = -math.inf
        self._elsewhere: dict[str, dict[int, _Elsewhere]] = {}
        """By run and piece."""
        self._drawn: dict[str, int] = {}
        """Taken since the last visit."""
        self._largest: dict[str, int] = {}
        """The largest of these takes."""
        self._short: dict[str, int] = {}
        """Limits that had no room since then, with the least that was wanted of them."""
        self._told: dict[str, float] = {}
        """By limit: when that was found out which was told last."""
        self._used: set[str] = set()
        """Limits that this run has taken of, or wanted to."""
        self._missed: dict[str, int] = {}
        """The least that could not be taken since then, of all limits that it takes of."""
        self._waits_until = -math.inf
        """When it will ask again, by the last refusal: until then it wants what it did not get."""
        self._share = 1.0
        self._failing_since = math.inf
        self._alone = False
        """Whether the others cannot be met."""

    # What the scheduler asks.

    def take(self, model: str, charge: Charge, now: float) -> Lease | Refusal:
        """Hold a charge against every limit of a model's budget and against this run's part, or say until when not."""
        lease = super().take(model, charge, now)
        if isinstance(lease, Lease):
            amounts = self._amounts(model, charge)
            self._piece_of[lease] = self._spending.take(amounts, now)
            for key, amount in amounts.items():
                self._drawn[key] = self._drawn.get(key, 0) + amount
                self._largest[key] = max(self._largest.get(key, 0), amount)
                if self._left is not None:
                    self._left[key] -= amount
        return lease

    def refusal(self, model: str, charge: Charge, now: float) -> Refusal | None:
        """What `take` would answer, without taking anything: None where it would be a lease."""
        self.beat(now)
        refusal = super().refusal(model, charge, now)
        if refusal is not None and not refusal.any_size:
            self._is_short(refusal.limit, charge)
            self._miss(model, charge)
        if refusal is None and self._left is not None:
            refusal = self._beyond(model, charge, now)
            if refusal is not None and not refusal.any_size and now >= self._met + SOONEST * self.period:
                self.meet(now)  # the lease is used up before its end
                refusal = super().refusal(model, charge, now) or self._beyond(model, charge, now)
        if refusal is not None and self._left is not None:
            # Others may give back at any moment what this waits for.
            refusal.until = min(refusal.until, max(self._due, now + SOONEST * self.period))
        if refusal is not None:
            self._waits_until = refusal.until
        return refusal

    def _beyond(self, model: str, charge: Charge, now: float) -> Refusal | None:
        """The refusal of what there is room for, but not for this run."""
        if self._left is None:
            return None
        scarcest, least = None, math.inf
        for window in self._budgets[model]:
            amount, left = window.limit.of(charge), self._may_take(window.limit, now)
            if amount <= left or window.is_probe(amount, now) or self._has_all(window, left, now):
                continue
            self._is_short(window.limit, charge)
            if left / window.limit.amount < least:
                scarcest, least = window.limit, left / window.limit.amount
        if scarcest is None:
            return None
        self._miss(model, charge)
        return Refusal(math.inf, scarcest, least <= 0)

    def _has_all(self, window: Window | Log, left: float, now: float) -> bool:
        """Whether a window is empty and all of it is ours: then what is larger than it goes alone."""
        return left > 0 and window.used(now) <= 0 and left >= math.floor(window.free(now))

    def _may_take(self, limit: Limit, now: float) -> float:
        if self._left is None or not self._is_leased(limit):
            return math.inf
        return self._left[self._keys[limit]] if now < self._until else 0.0

    def _is_leased(self, limit: Limit) -> bool:
        return limit.window >= LEASED * self.period

    def _is_short(self, limit: Limit, charge: Charge) -> None:
        key, amount = self._keys[limit], limit.of(charge)
        self._short[key] = min(self._short.get(key, amount), amount)

    def _miss(self, model: str, charge: Charge) -> None:
        for key, amount in self._amounts(model, charge).items():
            self._missed[key] = min(self._missed.get(key, amount), amount)

    def room(self, model: str, now: float) -> Room:
        """What a model's budget has room for within this run's part."""
        self.beat(now)
        room = super().room(model, now)
        if self._left is None or room is NO_ROOM:
            return room
        least = room._asdict()
        for window in self._budgets[model]:
            measure = window.limit.measure
            left = self._may_take(window.limit, now)
            if measure != "requests" and left < least[measure] and not self._has_all(window, left, now):
                least[measure] = left
        return Room(**least)

    def settle(self, lease: Lease, charge: Charge, now: float, counted_at: float | None = None) -> None:
        """Replace a lease's guess by what was really spent; what is given back within its window is still ours."""
        super().settle(lease, charge, now, counted_at)
        guess, truth = self._amounts(lease.model, lease.charge), self._amounts(lease.model, charge)
        at = lease.at if counted_at is None else counted_at
        self._spending.settle(self._piece_of.pop(lease), guess, truth, at, now)
        if self._left is not None:
            for window in self._budgets[lease.model]:
                if now < lease.at + window.limit.window:
                    key = self._keys[window.limit]
                    self._left[key] += guess[key] - truth[key]
        self.beat(now)

    def accepted(self, lease: Lease, now: float) -> bool:
        """Learn from a request that was let in, and let the others know soon."""
        learned = super().accepted(lease, now)
        if learned:
            self._hurry()
        return learned

    def refused(self, lease: Lease, failure: Failure, now: float) -> Refused:
        """Learn from a 429, and let the others know soon."""
        self._hurry()
        return super().refused(lease, failure, now)

    def _hurry(self) -> None:
        self._due = min(self._due, self._met + SOONEST * self.period)

    def _amounts(self, model: str, charge: Charge) -> dict[str, int]:
        return {self._keys[window.limit]: window.limit.of(charge) for window in self._budgets[model]}

    @property
    def _spending(self) -> Pieces:
        if self._pieces is None:  # nobody was met yet
            self._pieces = Pieces(self._span)
        return self._pieces

    def recall(self, limits: Mapping[str, Facts], wall: float, now: float, *, spending: bool = True) -> None:
        """Begin with what an earlier run learned; what it had just spent is better known from the store, if that is."""
        with contextlib.suppress(Unusable), self._store.visit():
            spending = False
        super().recall(limits, wall, now, spending=spending)

    # Meeting the others.

    def beat(self, now: float) -> None:
        """Meet the others if it is time to; to be called about once in a period, whatever else happens."""
        if now >= self._due:
            self.meet(now)

    def meet(self, now: float) -> None:
        """Tell the others what was spent, hear what they did, and take a new lease."""
        elapsed, self._met, self._due = now - self._met, now, now + self.period
        try:
            with self._store.visit() as visit:
                left = self._visit(visit, now, elapsed)
        except Unusable as error:
            self._fail(error, now)
            return
        self._failing_since, self._until = math.inf, now + LASTS * self.period
        self._left, self._alone = left, False
        self._spending.told()
        self._drawn.clear()
        self._largest.clear()
        if now >= self._waits_until:
            self._short.clear()
            self._missed.clear()

    @property
    def lease(self) -> Mapping[str, float] | None:
        """What may still be taken of each limit until the lease ends; None for all that there is."""
        return self._left

    def leave(self, now: float) -> None:
        """Tell the others that this run has ended; what it spent stays counted."""
        with contextlib.suppress(Unusable), self._store.visit() as visit:
            self._tell_spending(visit, now)
            self._tell_learning(visit, now)
            visit.leave(self._run)
        self._store.close()

    def _visit(self, visit: Visit, now: float, elapsed: float) -> dict[str, float] | None:
        if self._pieces is None:
            self._pieces = Pieces(self._span, visit.last_piece(self._run) + 1)
        others = self._others(visit, now)
        self._hear_spending(visit, now)
        self._hear_learning(visit, now)
        self._seen = visit.stamp - 1
        self._share = fallback(WEIGHTS[self._priority], [weight(page) for page in others])
        claims = self._claims(elapsed, now)
        self._follow_nobody()
        left = self._divide(others, claims, now) if others else None
        lease = None if left is None else {key: amount for key, amount in left.items() if 0 < amount < math.inf}
        self._tell_spending(visit, now)
        self._tell_learning(visit, now)
        visit.write(
            Page(
                run=self._run,
                process=self.process,
                priority=self._priority,
                since=self._since,
                beat=now,
                until=now + LASTS * self.period,
                share=self._share,
                lease=lease,
                amounts={
                    key: (window.limit.amount, window.limit.window)
                    for key, window in self._by_key.items()
                    if key in self._used
                },
                claims={key: (one.used, one.want, one.least) for key, one in claims.items() if key in self._used},
            )
        )
        return left

    def _others(self, visit: Visit, now: float) -> list[Page]:
        """The other runs that are there. What one that has died may have spent of its last lease counts as spent."""
        others = []
        for page in visit.runs():
            mine = page.run == self._run
            if mine and page.process == self.process:
                continue
            if not mine and self._alive(page.process) is not Life.GONE:
                others.append(page)
                continue
            amounts = {key: round(amount) for key, amount in _last_lease(page).items()}
            last = visit.last_piece(page.run) + 1
            visit.spend([Spent(page.run, last, min(now, page.until), amounts)], 2 * self._span)
            visit.leave(page.run)
            if mine:
                self._spending.skip(last)
        return others

    def _tell_spending(self, visit: Visit, now: float) -> None:
        pieces = self._spending
        pieces.close()
        news = [Spent(self._run, piece.number, piece.at, piece.amounts) for piece in pieces.news(now)]
        visit.spend(news, 2 * self._span)
        if now - self._swept > SWEEP * self._span:
            visit.sweep(now)
            self._swept = now
            for run, told in tuple(self._elsewhere.items()):
                left = {number: piece for number, piece in told.items() if piece.at >= now - 2 * self._span}
                self._elsewhere[run] = left
                if not left:
                    del self._elsewhere[run]

    def _hear_spending(self, visit: Visit, now: float) -> None:
        for spent in visit.spent(self._seen, without=self._run):
            pieces = self._elsewhere.setdefault(spent.run, {})
            known = pieces.get(spent.piece)
            if known is None or known.at != spent.at:
                for key, take in known.takes.items() if known else ():
                    self._by_key[key].correct(take, 0, now)
                if spent.at < now - 2 * self._span:
                    continue
                known = pieces[spent.piece] = _Elsewhere(spent.at)
            for key in {*spent.amounts, *known.takes} & self._by_key.keys():
                amount, window = spent.amounts.get(key, 0), self._by_key[key]
                if key in known.takes:
                    window.correct(known.takes[key], amount, now)
                elif self._is_leased(window.limit):
                    known.takes[key] = window.elsewhere(amount, spent.at, now)

    def _hear_learning(self, visit: Visit, now: float) -> None:
        for key, told in visit.learned(self._seen).items():
            window = self._by_key.get(key)
            if isinstance(window, Window):
                with contextlib.suppress(KeyError, ValueError, TypeError, OverflowError):
                    window.hear(told, now)

    def _tell_learning(self, visit: Visit, now: float) -> None:
        """What is new of the limits; how full a bucket is changes all the time."""
        news = {}
        for key, window in self._by_key.items():
            told = window.tell(now) if isinstance(window, Window) else None
            if told is not None and (told["at"] != self._told.get(key) or ("level" in told and key in self._drawn)):
                news[key], self._told[key] = told, float(told["at"])
        visit.tell(news, now + 2 * self._span)

    # Dividing.

    def _claims(self, elapsed: float, now: float) -> dict[str, Claim]:
        """What this run says of each limit: it wants all it can get of one that it had not enough of, and of another
        not much more than it has just used."""
        claims = {}
        self._used.update(self._drawn, self._short, self._missed)
        pace = min(LASTS, self.period / max(elapsed, SOONEST * self.period))
        for key, window in self._by_key.items():
            short, drawn = key in self._short, self._drawn.get(key, 0)
            least = float(self._short[key] if short else self._missed.get(key, self._largest.get(key, 0)))
            want = math.inf if short else GROWTH * drawn * pace + least
            used = self._spending.since(window.since(now), key)
            claims[key] = Claim(weight=WEIGHTS[self._priority], used=float(used), want=want, least=least)
        return claims

    def _follow_nobody(self) -> None:
        """As if this run had no others beside it."""
        for window in self._by_key.values():
            window.share = 1.0
            if isinstance(window, Window):
                window.probes = self._probing_allowed

    def _divide(self, others: list[Page], mine: dict[str, Claim], now: float) -> dict[str, float]:
        """What this run may take of each limit during its next lease."""
        fresh = [page for page in others if now - page.beat < max(STALE[0], STALE[1] * self.period)]
        lost = [page for page in others if page not in fresh and self._alive(page.process) is not Life.STOPPED]
        turn = sum(not self._comes_before(page) for page in fresh)
        left: dict[str, float] = {}
        requests = 0.0
        for key, window in sorted(self._by_key.items(), key=lambda item: item[0] not in self._short):
            if key in self._missed and key not in self._short:
                # What the limits that bind it let it send, it needs of the others too.
                want = max(mine[key].want, requests * mine[key].least)
                mine[key] = replace(mine[key], want=want)
            if not self._is_leased(window.limit):
                with_it = [weight(page) for page in fresh if key in page.claims]
                window.share, left[key] = fallback(WEIGHTS[self._priority], with_it), math.inf
                continue
            held = sum(_held(page, key, now, self._span) for page in others)
            held += sum(_kept(page, key, window.limit) for page in lost)
            since = window.since(now)
            # All count in one order, by which they came: else each takes it to be its own turn, and nobody has enough.
            claims = [self._claim(page, key, since) for page in fresh]
            claims.insert(turn, mine[key])
            if isinstance(window, Window):
                first = all(self._comes_before(page) for page in fresh if key in page.claims)
                window.probes = self._probing_allowed and first and window.limit.measure == "input"
            least = max(claim.least for claim in claims)
            pool = min(window.free(now), max(window.pace(now) * self.period, least))
            left[key] = float(math.floor(max(0.0, min(divide(pool, claims)[turn], pool - held))))
            if key in self._short:
                requests += left[key] / max(1.0, mine[key].least)
        return left

    def _claim(self, page: Page, key: str, since: float) -> Claim:
        """Another run's claim. What it has used is known here to the moment, and may have left the window by now."""
        _, want, least = page.claims.get(key, (0.0, 0.0, 0.0))
        used = 0
        if want > 0:
            pieces = self._elsewhere.get(page.run, {}).values()
            used = sum(piece.takes[key].amount for piece in pieces if piece.at >= since and key in piece.takes)
        return Claim(weight=weight(page), used=float(used), want=want, least=least)

    def _comes_before(self, page: Page) -> bool:
        """Only one of all tries out how a limit is counted: the one that was there first."""
        return (self._since, self._run) < (page.since, page.run)

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
        self._alone, self._left = True, None
        for window in self._by_key.values():
            window.share = self._share
            if isinstance(window, Window):
                window.probes = self._probing_allowed and self._share == 1.0
        part = "as if there were none" if self._share == 1.0 else f"with {self._share:.0%} of every limit"
        notice = f"The budget cannot be shared with other runs ({error}): this one goes on {part}."
        if not self.notices:
            self.notices.append(notice)


def weight(page: Page) -> float:
    """A run's weight; one whose priority nobody knows is a normal one."""
    return WEIGHTS.get(page.priority, WEIGHTS["normal"])


def _held(page: Page, key: str, now: float, span: float) -> float:
    """What another run may take of a limit, or may have taken and has not told: all of its lease."""
    if page.lease is None and now < page.until:
        return math.inf
    return _last_lease(page).get(key, 0.0) if now < page.until + span else 0.0


def _last_lease(page: Page) -> Mapping[str, float]:
    """A run's lease; for one that had all that there was, what it wanted by its last word."""
    if page.lease is not None:
        return page.lease
    return {key: least if want == math.inf else want for key, (_, want, least) in page.claims.items()}


def _kept(page: Page, key: str, limit: Limit) -> float:
    """What a run that cannot come here any more spends by itself."""
    _, want, _ = page.claims.get(key, (0.0, 0.0, 0.0))
    return page.share * limit.amount if want > 0 else 0.0
