"""One limit as it is mirrored and learned: how the gateway counts it, how much there is, and how fast to spend it.

Nothing is known at first, and a sliding log is assumed, which holds under calendar windows and under a bucket that
starts full as well. When its amount has been spent, a little more is sent: probes, whose answers tell the kinds apart.
A refusal says when to come back: at once (a bucket refills all the time), when the oldest spending is a window old (a
log), or at some other moment (a border of calendar windows). A probe that is let in speaks of a bucket too, until what
it can hold is exceeded: then a border has passed.

A refusal that there was room for is a surprise. It speaks of a bucket that is smaller than the limit, if it lifts at
once; after a border, of a sliding counter, which lets through little by little from then on; else of an amount that is
lower than configured (`core.belief`). Evidence that contradicts itself ends at the sliding log.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Mapping

from runner.core.belief import BRIM, LEAST, Belief
from runner.core.limits import Limit
from runner.core.mirrors import Bucket, Calendar, Counter, Mirror, SlidingLog, Take

RUSH = 20.0
"""A limit is spent at up to so many times the rate at which it refills: a refusal then comes back before much more has
been sent."""
FIRST_RUSH = 4.0
"""The same for the first requests to a gateway of which nothing is known."""
AFTER_BORDER = 3.0
"""The same after a border that may turn out to be a sliding counter's."""
CAREFUL = 2.0
"""The same where refusals are likely: above what was let in before, and to find out how much a bucket holds."""
SLACK = 1 / 400
"""Of a window: how far sending may run ahead of these rates, and the longest pause that they make after one request."""
GRAIN = 1 / 60
"""Of a window: how fine a Retry-After is."""
WORTH = 1 / 30
"""Of a window: a shorter wait is not worth a probe."""
UNSURE = 0.03
"""Of the amount: with more than this still to be counted, the fill is not known well enough for a probe."""
OVERDRAWN = 0.003
"""Of the amount: what is sent above it while nothing is known, so that an answer cannot come from errors of guesses."""
ERROR = 0.02
"""Of what is in flight: how wrong the guesses may be on the whole."""
OVERDRAFT = 0.01
"""Of the amount: what is sent above what a bucket could hold, to find out whether it is one."""
RESERVE = 0.01
"""Of the amount: what is left in a bucket for errors of guesses; at most a quarter of what it holds."""
BY_CREDITS = 0.05
"""The same for a limit of output: what answers did not use is given back all the time, and makes room unseen."""
MOST_PROBES = 8
"""In flight at once, while nothing is known."""
ROUND_TRIP = 0.3
"""Seconds in which a refusal has surely come back."""
KNOCKS = 4
"""Refused probes that told nothing, after which no more are sent."""
SHORTEST_MEASURE, WHOLE_MEASURE = 1 / 60, 1 / 12
"""Of a window: a rate that was measured for less counts for nothing, for so long it counts in full."""
FINE = 1 / 100
"""Of a window: borders that are known to this are not looked for any closer."""
TRANSIT = 1 / 200
"""Of a window: the time after its sending at which a request is let in, at the latest."""
MARGIN = 0.001
"""Of the amount: what is left of a limit of input, since what is in flight is only guessed."""
LOOK_AGAIN = 1 / 60
"""Of a window: how often a limit is looked at again whose amount may be growing."""
MOST_LATE = 1 / 30
"""Of a window: the most by which requests are thought to be counted later than they seem to be."""
NEAR = 1 / 8
"""Of a window: what is soon after a border, or after another refusal; a longer wait than this is not a bucket's."""
WHOLE_SECOND = 1.0
"""A Retry-After says nothing finer, however short the window is."""
LEAST_STEP = 1 / 1200
"""Of a window: the shortest wait for a limit that is being learned."""
MOST_CONTRADICTIONS = 2
PARTS = 12
"""Of a window: how finely what was spent last is remembered for the next run."""


class Kind(enum.StrEnum):
    """How a gateway counts, as far as that is known."""

    UNKNOWN = "unknown"
    """Mirrored as a sliding log, until a probe has told."""
    SLIDING = "sliding"
    CALENDAR = "calendar"
    COUNTER = "counter"
    BUCKET = "bucket"


class Says(enum.Enum):
    """What a Retry-After speaks of."""

    SOON = "a bucket refills"
    OLDEST = "the oldest spending leaves a log"
    BORDER = "a calendar window ends"
    NOTHING = "it is missing, or fits more than one"


class Window:
    """One limit of a ledger that learns."""

    def __init__(self, limit: Limit, guard: float, *, probes: bool = True, above: bool = False) -> None:
        """`guard` is the seconds that spending is kept beyond its window; without `probes` nothing is sent to learn.

        `above` lets the amount grow above the configured one.
        """
        self.limit = limit
        self.belief = Belief(limit.amount, limit.window, above=above)
        self.kind = Kind.UNKNOWN
        self.sure = False
        """Whether a calendar or a bucket has been confirmed."""
        self.mirror: Mirror = SlidingLog(limit.window + guard)
        self._above = above
        self._guard = guard
        self.probes = probes
        self.share = 1.0
        """Of the amount: what may be in use here, where others spend unseen."""
        self._log: deque[Take] = deque()
        self._pending = 0
        """What is in flight and may turn out different."""
        self._probing = 0
        """Probes in flight."""
        self._probed_at = -math.inf
        self._knocks = 0
        self._next_at = -math.inf
        self._not_before = -math.inf
        self._changed_at = -math.inf
        """When it was last learned that something is otherwise than believed."""
        self._cuts = False
        """Whether that was the amount."""
        self._kind_at = -math.inf
        """When the kind was found out."""
        self._empty_at = -math.inf
        """When a bucket was last known to be empty."""
        self._passed_at = -math.inf
        """When a border was last found to have passed unseen."""
        self._contradictions = 0
        self._late_at = -math.inf
        """When a request was last sent that came too early by a moment."""
        self._room_at = -math.inf
        """When a bucket's first refusal said that there would be room."""

    # What is asked before sending.

    def when(self, amount: int, now: float) -> tuple[float, bool]:
        """The moment at which `amount` may be sent (`now` if it may), and whether that holds for any amount."""
        if not amount:
            return now, False
        opens = max(self._not_before, self._next_at - self.limit.window * SLACK)
        if opens > now:
            return max(opens, now + self.limit.window * LEAST_STEP), True
        until = self._fits_at(amount, now)
        if until > now and self.probes:
            until = min(until, self._probe_at(amount, until, now))
        return (now if until <= now else max(until, now + self.limit.window * LEAST_STEP)), False

    def room(self, now: float) -> float:
        """The largest amount that may be sent now; what fits nowhere else goes alone."""
        if max(self._not_before, self._next_at - self.limit.window * SLACK) > now:
            return 0.0
        free, mirror = self.free(now), self.mirror
        if isinstance(mirror, Bucket):
            return math.inf if mirror.level(now) >= 0.99 * mirror.burst else free
        return math.inf if mirror.used(now) <= 0 else free

    def free(self, now: float) -> float:
        """What is left of the amount."""
        mirror, believed = self.mirror, self.share * self.belief.amount(now)
        if isinstance(mirror, Bucket):
            mirror.rate = max(1.0, believed) / self.limit.window
            return mirror.level(now) - mirror.reserve
        return believed - mirror.used(now) - (0.0 if self._gives_back else MARGIN * believed)

    def _fits_at(self, amount: int, now: float) -> float:
        mirror, believed = self.mirror, self.share * self.belief.amount(now)
        if isinstance(mirror, Bucket):
            mirror.rate = max(1.0, believed) / self.limit.window
        margin = 0.0 if self._gives_back else MARGIN * believed
        until = mirror.when(amount, max(believed - margin, amount), now)  # what is larger than everything goes alone
        if until > now and self.belief.is_shaken:
            until = min(until, now + self.limit.window * LOOK_AGAIN)  # the room may grow before that
        return until

    def _probe_at(self, amount: int, until: float, now: float) -> float:
        """When to send an amount that there is no room for, to find out how the gateway counts; infinity for never."""
        mirror, believed, window = self.mirror, self.belief.amount(now), self.limit.window
        if self.kind is Kind.UNKNOWN:
            return self._knock_at(amount, until, now)
        if isinstance(mirror, Bucket) and not self.sure:
            few = self._probing < 2 * MOST_PROBES and amount - mirror.level(now) <= max(OVERDRAFT * believed, amount)
            return now if few else math.inf
        if self.kind is Kind.CALENDAR and isinstance(mirror, Calendar):
            # Half-way through what is uncertain of the border, once for each border.
            ends = mirror.start(now) + window
            wanted = mirror.early > window * FINE and mirror.used(now) > 0.9 * believed
            if wanted and self._changed_at < ends - mirror.early and self._probed_at < ends - mirror.early:
                return max(now, ends - mirror.early / 2)
        return math.inf

    def _knock_at(self, amount: int, until: float, now: float) -> float:
        """When to ask the first question: what happens when all of the amount has been spent?"""
        window, believed, used = self.limit.window, self.belief.amount(now), self.mirror.used(now)
        overdrawn = max(OVERDRAWN * believed, amount)
        if until - now <= WORTH * window or amount >= believed / 2 or used <= believed / 2:
            return math.inf
        if self._knocks:
            return max(now, self._probed_at + 6 * GRAIN * window * 2.0**self._knocks)
        if self._gives_back:
            return max(now, self._probed_at + max(GRAIN * window, ROUND_TRIP))
        fresh = now - self._probed_at < GRAIN * window or self._pending <= UNSURE * believed
        few = self._probing < MOST_PROBES and used + amount - believed <= overdrawn
        return now if fresh and few else math.inf

    @property
    def _gives_back(self) -> bool:
        return self.limit.measure != "input"

    # What is sent, and what comes of it.

    def take(self, amount: int, now: float) -> Take:
        """Hold an amount from now on."""
        mirror = self.mirror
        if self._above:
            self.belief.grow_from(now + self.limit.window)
            self._above = False
        take = Take(now, amount, mirror.used(now))
        if self.is_probe(amount, now):
            take.probe = True
            self._probing += 1
            self._probed_at = now
        mirror.take(take, now)
        self._pending += amount
        self._log.append(take)
        pause = min(amount / self._pace(take.before, now), self.limit.window * SLACK)
        self._next_at = max(self._next_at, now) + pause
        self._forget(now)
        return take

    def is_probe(self, amount: int, now: float) -> bool:
        """Whether an amount that may be sent has no room, and goes out only to find out how the gateway counts."""
        return self.probes and amount > 0 and self._fits_at(amount, now) > now

    def pace(self, now: float) -> float:
        """How fast it may be spent now, of the measure a second."""
        return self._pace(self.mirror.used(now), now)

    def _pace(self, used: float, now: float) -> float:
        """Of the measure, a second."""
        believed = self.belief.amount(now)
        rate = max(1.0, believed) / self.limit.window
        if self.kind is Kind.UNKNOWN:
            return rate * (FIRST_RUSH + (RUSH - FIRST_RUSH) * min(1.0, 2 * used / max(1.0, believed)))
        if self.kind is Kind.CALENDAR and not self.sure:
            return rate * AFTER_BORDER
        if self.kind is Kind.BUCKET:
            settled = now > self._kind_at + 2 * GRAIN * self.limit.window and used < believed * (1 - 2 * OVERDRAFT)
            return rate * (RUSH if self.sure or settled else CAREFUL)
        return rate * (CAREFUL if used >= self.belief.proven else RUSH)

    def _forget(self, now: float) -> None:
        log, old = self._log, now - 2 * self.limit.window
        while log and log[0].settled and log[0].at < old:
            log.popleft()

    def settle(self, take: Take, amount: int, counted_at: float, now: float) -> None:
        """Replace a guess by the truth, dated `counted_at`."""
        take.at, take.back = max(take.at, counted_at), now
        self.mirror.settle(take, amount, now)
        self._pending -= take.amount
        if amount != take.amount:
            self._next_at += (amount - take.amount) / (RUSH * self.limit.amount / self.limit.window)
        take.amount = amount
        take.settled = True
        if take.probe:
            self._probing = max(0, self._probing - 1)

    def restore(self, amount: int, at: float) -> None:
        """Count what was spent at a moment before now, whether it fits or not; oldest first."""
        take = Take(at, amount, self.mirror.used(at))
        take.settled = True
        self.mirror.take(take, at)
        self._log.append(take)

    def used(self, now: float) -> float:
        """What is in use, reservations in flight included."""
        return self.mirror.used(now)

    def since(self, now: float) -> float:
        """From when on spending counts."""
        return self.mirror.start(now) if isinstance(self.mirror, Calendar) else now - self.limit.window

    # What others spend of the same limit.

    def elsewhere(self, amount: int, at: float, now: float) -> Take:
        """Count what somebody else spent at a moment not long before now."""
        take = Take(min(at, now), amount, self.mirror.used(now))
        take.settled = True
        self.mirror.take(take, take.sent)
        self._log.append(take)
        self._forget(now)
        return take

    def correct(self, take: Take, amount: int, now: float) -> None:
        """Somebody else spent another amount than was told; nothing if that has left its window."""
        if amount != take.amount and now < take.at + self.limit.window:
            self.mirror.settle(take, amount, now)
            take.amount = amount

    def tell(self, now: float) -> dict[str, float | str] | None:
        """What is known here, for others with the same clock; None while that is nothing."""
        if self._changed_at == -math.inf and self.kind is Kind.UNKNOWN:
            return None
        mirror = self.mirror
        told: dict[str, float | str] = {"at": max(0.0, self._changed_at), "now": now, "kind": self.kind.value}
        told |= {"sure": float(self.sure), "knocks": self._knocks, **self.belief.tell()}
        if isinstance(mirror, SlidingLog):
            told["span"] = mirror.span
        if isinstance(mirror, Calendar):
            told |= {"border": mirror.border, "early": mirror.early}
        if isinstance(mirror, Bucket):
            told |= {"burst": mirror.burst, "level": mirror.level(now)}
        return told

    def hear(self, told: Mapping[str, float | str], now: float) -> None:
        """Take over what somebody else found out since anything was found out here. Raises KeyError or ValueError."""
        found_at, kind = min(float(told["at"]), now), Kind(str(told["kind"]))
        if found_at <= self._changed_at:
            return
        span = min(float(told.get("span", 0.0)), self.limit.window + self._latest + self._guard)
        mirror: Mirror = SlidingLog(max(span, self.limit.window + self._guard), self._recent(now))
        if kind in (Kind.CALENDAR, Kind.COUNTER):
            made = Calendar if kind is Kind.CALENDAR else Counter
            early = min(self.limit.window, max(0.0, float(told["early"])))
            mirror = made(self.limit.window, float(told["border"]), early, self._guard, self._log)
        elif kind is Kind.BUCKET:
            burst = max(LEAST * self.limit.amount, float(told["burst"]))
            mirror = bucket = Bucket(max(1.0, self.belief.amount(now)) / self.limit.window, burst)
            bucket.reserve = min(RESERVE * self.limit.amount, burst / 4)
            bucket.correct(min(0.0, float(told["level"]) - burst), float(told["now"]))
            for take in self._log:
                if take.sent > float(told["now"]):
                    bucket.take(take, take.sent)
        self.belief.hear(told)
        self._knocks, self._probed_at = int(told["knocks"]), max(self._probed_at, found_at)
        self._become(kind, mirror, now, sure=bool(told["sure"]))
        self._changed_at = found_at

    def accepted(self, take: Take, now: float) -> bool:
        """The gateway let it in; before it is settled. Whether that told how the gateway counts."""
        if take.sent < self._changed_at:
            return False
        self.belief.proven = max(self.belief.proven, take.before + take.amount)
        kind, sure, mirror, believed = self.kind, self.sure, self.mirror, self.belief.amount(now)
        if isinstance(mirror, Bucket) and not sure:
            if take.before + take.amount - mirror.burst > OVERDRAFT * 2 / 3 * believed:
                self._border_passed(take, now)
        elif isinstance(mirror, Calendar) and not sure and mirror.start(take.sent) > self._kind_at:
            since = take.sent + TRANSIT * self.limit.window - mirror.start(take.sent) + mirror.early
            self.sure = take.before > 1.5 * since * believed / self.limit.window + take.amount
        elif take.probe and kind is Kind.UNKNOWN:
            if self._exceeds(take, believed):
                self._become_full_bucket(now)
        elif take.probe and kind is Kind.CALENDAR and isinstance(mirror, Calendar) and self._exceeds(take, believed):
            self._begins_before(mirror, now)
        return self.kind is not kind or self.sure is not sure

    def _exceeds(self, take: Take, believed: float) -> bool:
        """Whether a take cannot have found room by an error of guesses, or in what answers gave back meanwhile."""
        surely = BY_CREDITS if self._gives_back else OVERDRAWN / 2
        return take.before + take.amount > (1 + surely) * believed + ERROR * self._pending

    def _border_passed(self, take: Take, now: float) -> None:
        """More was let in than a bucket could hold: a calendar window began unseen, or the limit is really higher."""
        if now - self._passed_at < 2 * self.limit.window:
            self._become(Kind.SLIDING, SlidingLog(self.limit.window + self._guard, self._recent(now)), now)
            return
        self._passed_at = now
        for old in self._log:
            if old.sent < take.sent:
                old.overdue, old.amount = True, 0
        self._log = deque(old for old in self._log if old.sent >= take.sent)
        self._become(Kind.UNKNOWN, SlidingLog(self.limit.window + self._guard, self._recent(now)), now)

    def _begins_before(self, mirror: Calendar, now: float) -> None:
        """A probe before the border was let in: the border lies before its answer."""
        late = mirror.start(now) + self.limit.window - now if now > mirror.start(now) + self.limit.window / 2 else 0.0
        shift = min(mirror.early, late)
        self._become(
            Kind.CALENDAR,
            Calendar(self.limit.window, mirror.border - shift, max(0.0, mirror.early - shift), self._guard, self._log),
            now,
        )

    def refused(self, take: Take, retry_after: float | None, now: float) -> bool:
        """The gateway refused it; before it is settled. Whether that was to be expected."""
        says = self._says(take, retry_after)
        # A probe may overtake what was sent just before it.
        take.probe = take.probe or take.sent <= self._probed_at <= take.sent + GRAIN * self.limit.window
        if take.probe and retry_after is not None and (not self._gives_back or says is Says.SOON):
            self._not_before = max(self._not_before, now + retry_after)
        if take.sent < self._changed_at:  # sent before the last refusal had come back: more of the same
            if not take.probe and self._cuts:
                self.belief.deepen(take.before)
            return take.probe
        mirror = self.mirror
        if isinstance(mirror, Bucket):
            self._bucket_refused(mirror, take, says, retry_after, now)
        elif isinstance(mirror, Counter):
            self._counter_refused(take, says, now)
        elif isinstance(mirror, Calendar):
            self._calendar_refused(mirror, take, says, retry_after, now)
        else:
            self._log_refused(take, says, retry_after, now)
        self._changed_at = now
        return take.probe

    def _says(self, take: Take, retry_after: float | None) -> Says:
        window = self.limit.window
        if retry_after is None or retry_after > window * (1 + 2 * GRAIN):
            return Says.NOTHING
        counting = (old for old in self._log if old.amount and old.at > take.sent - window)
        oldest = min(counting, key=lambda old: old.at, default=take)
        leaves = oldest.at + window - take.sent
        soon = take.amount / max(1.0, self.belief.amount(take.sent)) * window + 2 * GRAIN * window
        if retry_after <= soon:
            return Says.SOON if leaves > soon + 2 * GRAIN * window else Says.NOTHING
        # It may have been counted later than we think, by as much as a connection takes to be made.
        late = min(self._latest, max(0.0, oldest.back - oldest.at))
        if -2 * GRAIN * window <= retry_after - leaves <= late + 2 * GRAIN * window:
            return Says.OLDEST
        return Says.BORDER

    @property
    def _latest(self) -> float:
        """By how much requests may be counted later than they seem to be."""
        return max(self.limit.window * MOST_LATE, WHOLE_SECOND)

    def _log_refused(self, take: Take, says: Says, retry_after: float | None, now: float) -> None:
        """A refusal under a sliding log, known or assumed."""
        if says is Says.SOON and self.kind is Kind.UNKNOWN:
            self._become_empty_bucket(take, self._held_before(take, now), now)
            self._room_at = take.sent + (retry_after or 0.0)
            return
        if says is not Says.OLDEST and not take.probe and self._take_for_late(take, retry_after, now):
            return
        if says is Says.SOON:
            # It looked like a log, and now lifts at once: the border of a counter that was taken for the oldest's end.
            self._become_counter(take.sent, 0.0, now)
            return
        if not take.probe:
            self._cut(take, now)
        if self.kind is Kind.UNKNOWN and says is Says.OLDEST:
            self.kind, self._kind_at = Kind.SLIDING, now
            self._date_oldest(take, retry_after or 0.0)
        elif self.kind is Kind.UNKNOWN and says is Says.BORDER and retry_after is not None:
            self._become_calendar(take, retry_after, now)
        elif take.probe:
            self._knocks += 1
            self.kind = Kind.SLIDING if self._knocks >= KNOCKS else self.kind

    def _date_oldest(self, refused: Take, retry_after: float) -> None:
        """The oldest leaves in `retry_after` less its grain, at the soonest: nothing was counted before that."""
        counted = refused.sent + retry_after - (1 + GRAIN) * self.limit.window
        for old in self._log:
            if old.at >= counted:
                break
            old.at = counted

    def _take_for_late(self, take: Take, retry_after: float | None, now: float) -> bool:
        """Whether room comes back in a moment: requests were counted later than we thought then, and stay longer.

        If room comes back little by little instead, it is a counter whose border was taken for the oldest's end.
        """
        window, mirror, late = self.limit.window, self.mirror, self._latest
        if retry_after is None or retry_after > late or not isinstance(mirror, SlidingLog):
            return False
        again = take.sent < self._late_at + NEAR * window
        undecided = self.kind is Kind.SLIDING and not self._contradictions
        if again and undecided and now < self._kind_at + (1 + NEAR) * window:
            self._become_counter(self._late_at, 0.0, now)
            return True
        most = window + late + self._guard
        if mirror.span >= most:
            return False
        mirror.span = min(most, mirror.span + min(retry_after, window * MOST_LATE))
        self._late_at = take.sent
        return True

    def _calendar_refused(
        self, mirror: Calendar, take: Take, says: Says, retry_after: float | None, now: float
    ) -> None:
        window = self.limit.window
        ends = mirror.start(take.sent) + window
        first, last = take.sent + (retry_after or 0.0) - GRAIN * window, now + (retry_after or 0.0)
        at_border = retry_after is not None and first <= ends and last >= ends - mirror.early
        near = NEAR * window
        if retry_after is not None and take.sent - mirror.start(take.sent) < near and retry_after <= near:
            # All was to be forgotten, and there is less room than for one request: the border is later, or none.
            self._contradictions += self.sure
            if self.sure and self._contradictions >= MOST_CONTRADICTIONS:
                self._contradicted(take, says, retry_after, now)
            elif self.sure:
                late = now + retry_after - mirror.start(take.sent)
                self._become(Kind.CALENDAR, Calendar(window, mirror.border + late, late, self._guard, self._log), now)
            else:
                self._become_counter(mirror.border, mirror.early, now)
            return
        if retry_after is None or (says is Says.NOTHING and not at_border):
            if not take.probe:
                self._cut(take, now)
            return
        if at_border:
            if not take.probe:
                self._cut(take, now)
            ends, first = min(ends, last), max(first, ends - mirror.early, take.sent)
            fitted = Calendar(window, ends, max(0.0, ends - first), self._guard, self._log)
            self._become(Kind.CALENDAR, fitted, now, sure=self.sure)
        elif says is Says.SOON:
            self._become_counter(mirror.border, mirror.early, now)
        else:
            self._contradicted(take, says, retry_after, now)

    def _counter_refused(self, take: Take, says: Says, now: float) -> None:
        """It may have been taken for a counter wrongly: then there was far more room than there can be an error."""
        if take.before < self.belief.amount(now) / 2:
            self._contradictions += 1
        believed = self.belief.amount(now)
        if self._contradictions < MOST_CONTRADICTIONS:
            self._cut(take, now)
            self._contradictions += self.belief.amount(now) == believed  # cut as deep as may be, and refused again
        elif says is Says.SOON:
            self._become_empty_bucket(take, LEAST * self.limit.amount, now)
        else:
            self._cut(take, now)
            self._become(Kind.SLIDING, SlidingLog(self.limit.window + self._guard, self._recent(now)), now)

    def _bucket_refused(self, mirror: Bucket, take: Take, says: Says, retry_after: float | None, now: float) -> None:
        soon = take.amount / mirror.rate + 4 * GRAIN * self.limit.window
        if retry_after is not None and retry_after > max(soon, NEAR * self.limit.window):
            if self._as_foretold(take.sent + retry_after):
                # It waits for the moment that the first one waited for, windows later: a border that was near then.
                self._become_calendar(take, retry_after, now)
            elif self.sure and not self._contradictions:
                # A bucket can be in debt, where its limit was lowered or somebody else drew on it. Once.
                self._contradictions += 1
                mirror.empty(take.sent, self._log)
                mirror.correct(take.amount - retry_after * mirror.rate, now)
                self._empty_at = -math.inf
            elif self.sure:
                self._contradicted(take, says, retry_after, now)
            elif says is Says.OLDEST:
                self._become(Kind.SLIDING, SlidingLog(self.limit.window + self._guard, self._recent(now)), now)
            else:
                self._become_calendar(take, retry_after, now)
            return
        left = max(0.0, mirror.burst - take.before)  # the mirror's, where really there was nothing
        elapsed = (take.sent - self._empty_at) / self.limit.window
        if elapsed >= SHORTEST_MEASURE and self._empty_at > -math.inf and left > 0:
            believed = self.belief.amount(now)
            # A few requests' worth may be an error of the level; more of it, for longer, is one of the rate.
            weight = min(1.0, elapsed / WHOLE_MEASURE) * min(1.0, left / (4 * take.amount))
            self.belief.cut(believed - weight * left / elapsed, now)
        mirror.correct(-left, now)
        self._empty_at = take.sent
        self.sure = True

    def _as_foretold(self, moment: float) -> bool:
        """Whether this is whole windows after the moment at which a bucket's first refusal said there would be room."""
        if self._room_at == -math.inf:
            return False
        return abs(math.remainder(moment - self._room_at, self.limit.window)) <= 2 * GRAIN * self.limit.window

    def _contradicted(self, take: Take, says: Says, retry_after: float, now: float) -> None:
        """What was believed of the kind cannot be: somebody else spends too, or it was read wrongly."""
        self._contradictions += 1
        if not take.probe:
            self._cut(take, now)
        if self._contradictions < MOST_CONTRADICTIONS and says is Says.BORDER:
            self._become_calendar(take, retry_after, now)
        else:
            self._become(Kind.SLIDING, SlidingLog(self.limit.window + self._guard, self._recent(now)), now)

    def _cut(self, take: Take, now: float) -> None:
        self.belief.cut(min(BRIM * self.belief.amount(now), take.before), now)
        self._cuts = True

    # What it becomes.

    def suppose(self, other: Window, now: float) -> None:
        """Take over what was found out of a limit that the same gateway keeps, while it is not known of this one."""
        mirror, window = other.mirror, self.limit.window
        if other is self or not (self.kind is Kind.UNKNOWN or (self.kind is Kind.CALENDAR and not self.sure)):
            return
        if isinstance(mirror, Bucket) and other.sure:
            burst = mirror.burst / other.limit.amount * self.limit.amount
            bucket = Bucket(self.belief.amount(now) / window, burst, self._log)
            bucket.reserve = min(RESERVE * self.limit.amount, bucket.burst / 4)
            bucket.correct(max(0.0, -bucket.level(now)), now)
            self._become(Kind.BUCKET, bucket, now, sure=True)
            self._room_at = other._room_at
        elif isinstance(mirror, Counter):
            self._become_counter(mirror.border, mirror.early, now)
        elif isinstance(mirror, Calendar) and self.kind is Kind.CALENDAR:
            self.sure = other.sure
        elif isinstance(mirror, Calendar):
            own = Calendar(window, mirror.border, mirror.early, self._guard, self._log)
            self._become(Kind.CALENDAR, own, now, sure=other.sure)
        elif other.kind is Kind.SLIDING and self.kind is Kind.UNKNOWN:
            self.kind = Kind.SLIDING

    def _recent(self, now: float) -> list[Take]:
        found = []
        for take in self._log:
            if not take.settled or take.at + self.limit.window + self._guard > now:
                take.overdue = False
                found.append(take)
        return found

    def _become(self, kind: Kind, mirror: Mirror, now: float, *, sure: bool = False) -> None:
        self._cuts = False
        self._kind_at = self._kind_at if kind is self.kind else now
        self.kind, self.mirror, self.sure = kind, mirror, sure
        self._changed_at = now

    def _become_calendar(self, take: Take, retry_after: float, now: float) -> None:
        """A border lies where the refusal said, to within the grain of what it said and the time it took to come."""
        window = self.limit.window
        border = now + retry_after
        early = min(window / 4, GRAIN * window + now - take.sent)
        self._become(Kind.CALENDAR, Calendar(window, border - window, early, self._guard, self._log), now)

    def _become_counter(self, border: float, early: float, now: float) -> None:
        self._become(Kind.COUNTER, Counter(self.limit.window, border, early, self._guard, self._log), now, sure=True)

    def _become_full_bucket(self, now: float) -> None:
        """A bucket that can hold all of the amount; not sure yet."""
        believed = self.belief.amount(now)
        self._become(Kind.BUCKET, Bucket(believed / self.limit.window, believed, self._log), now)

    def _become_empty_bucket(self, take: Take, burst: float, now: float) -> None:
        """A bucket that holds so much, and was empty when it refused this."""
        bucket = Bucket(self.belief.amount(now) / self.limit.window, max(LEAST * self.limit.amount, burst))
        bucket.reserve = min(RESERVE * self.limit.amount, bucket.burst / 4)
        bucket.empty(take.sent, self._log)
        self._empty_at = take.sent
        self._become(Kind.BUCKET, bucket, now, sure=True)

    def _held_before(self, take: Take, now: float) -> float:
        """What a bucket must have held at the start to be empty at this take."""
        believed = self.belief.amount(now)
        full = Bucket(believed / self.limit.window, believed, (old for old in self._log if old.sent < take.sent))
        return believed - full.level(take.sent) + take.amount / 2

    # What is remembered.

    def remember(self, wall: float, now: float) -> dict[str, float | str]:
        """What the next run can begin with; `wall` is the time of day at `now`, in seconds since the epoch."""
        window, mirror = self.limit.window, self.mirror
        facts: dict[str, float | str] = {"kind": self.kind.value, "amount": round(self.belief.amount(now), 1)}
        facts |= {"configured": self.limit.amount, "window": window}
        if isinstance(mirror, Calendar):
            facts |= {"border": round((mirror.border + wall - now) % window, 3), "early": round(mirror.early, 3)}
        if isinstance(mirror, Bucket):
            facts |= {"burst": round(mirror.burst, 1), "level": round(mirror.level(now), 1)}
        spent: dict[int, int] = {}
        for take in self._log:
            part = int((now - take.at) / window * PARTS)
            if take.amount and part < 2 * PARTS:
                spent[part] = spent.get(part, 0) + take.amount
        facts["spent"] = " ".join(f"{part}:{amount}" for part, amount in sorted(spent.items(), reverse=True))
        facts["until"] = round(wall, 3)
        return facts

    def recall(self, facts: Mapping[str, float | str], wall: float, now: float, *, spending: bool) -> None:
        """Begin with what an earlier run remembered; before anything is taken. Raises ValueError if that is garbled.

        Without `spending`, what that run had just spent is left out: it is known from elsewhere.
        """
        window = self.limit.window
        if float(facts["window"]) != window:
            raise ValueError("it was learned of windows of another length")
        kind, believed = Kind(str(facts["kind"])), float(facts["amount"])
        since = max(0.0, wall - float(facts["until"]))  # a clock that was set back must not make it last
        entries = (entry.partition(":") for entry in str(facts["spent"]).split())
        parts = [(max(0, int(part)), max(0, int(amount))) for part, _, amount in entries]
        mirror = self._recalled(kind, facts, wall, now, since if spending else math.inf)
        if believed != float(facts["configured"]):  # all of what was configured then says nothing of more
            self.belief.recall(believed, now)
        self.kind, self.sure, self.mirror = kind, kind is not Kind.UNKNOWN, mirror
        if spending and kind is not Kind.BUCKET:
            for part, spent in parts:
                self.restore(spent, now - since - part * window / PARTS)

    def _recalled(self, kind: Kind, facts: Mapping[str, float | str], wall: float, now: float, since: float) -> Mirror:
        """The mirror of what was remembered `since` seconds ago."""
        window = self.limit.window
        if kind in (Kind.CALENDAR, Kind.COUNTER):
            border = (float(facts["border"]) - (wall - now)) % window
            border += math.floor((now - border) / window) * window
            made = Calendar if kind is Kind.CALENDAR else Counter
            return made(window, border, min(window, max(0.0, float(facts["early"]))), self._guard)
        if kind is Kind.BUCKET:
            burst, rate = (
                max(LEAST * self.limit.amount, float(facts["burst"])),
                max(1.0, float(facts["amount"])) / window,
            )
            bucket = Bucket(rate, burst)
            bucket.reserve = min(RESERVE * self.limit.amount, burst / 4)
            level = max(-burst, float(facts["level"])) + since * rate
            bucket.correct(min(0.0, level - burst), now)
            return bucket
        return SlidingLog(window + self._guard)

    def __repr__(self) -> str:
        return f"<Window {self.limit}: {self.kind}{'' if self.sure else '?'}, {self.belief!r}, {self.mirror!r}>"
