"""What a limit refused and let in, and how little of it one kind of window explains.

Each refusal says that there was no room at a moment, and when there would be. A kind of window, with a border where it
has borders, says how much was in use then, and how long room would have been away. What does not fit has to be excused:
what was refused though it had room by that kind, what was let in though it had none, and each Retry-After that it would
not have given.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate

from runner.core.counting import MOST_LATE
from runner.core.mirrors import Take

STEPS = 120
"""Borders that are tried, evenly over a window."""
CHECKS = 32
"""Moments at which what was let in is looked at."""
TOLERANCE = 0.01
"""Of the amount: how wrong what is in use may be reckoned."""
BY_CREDITS = 0.03
"""The same where answers give some of it back."""
ERRORS = (-1.0, -0.5, 0.0, 0.5, 1.0)
"""How wrong it is, of the most that it may be."""
CLOSE = 1 / 50
"""Of a window: a Retry-After that is so far off has as much to excuse as another amount than the configured one."""
LOWER = 1.0
"""What another amount than the configured one has to excuse."""
SINCE = 0.5
"""What has to be excused besides where it was lowered between what was let in and what was refused."""
FITS, FITS_EACH = 1.5, 0.5
"""With more to excuse than this, and so much more for each refusal, a kind explains nothing."""
MOST = 3.0
"""The most that a single refusal has to excuse, or what was let in."""
LATE = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Of the most by which a log may have counted late what it holds: the delays that are tried."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that was refused."""

    sent: float
    back: float
    """When the refusal was there."""
    amount: int
    retry_after: float
    """There would be room after so many seconds, or a `grain` of seconds sooner."""
    grain: float

    @property
    def room_from(self) -> float:
        """The soonest moment at which there may be room."""
        return self.sent + self.retry_after - self.grain

    @property
    def room_by(self) -> float:
        """The moment by which there is room."""
        return self.back + self.retry_after


@dataclass(frozen=True, slots=True)
class Fit:
    """How well a kind explains what one limit refused and let in."""

    excuses: float
    """How much it has to excuse; 0 fits perfectly."""
    holds: float
    """How much there is by it: what was thought, or less."""


class Moment:
    """What had been spent when a request came that was refused, or let in."""

    __slots__ = ("amount", "at", "count", "sums", "times")

    def __init__(self, at: float, amount: int, count: int, times: Sequence[float], sums: Sequence[float]) -> None:
        self.at = at
        self.amount = amount
        self.count = count
        """How many requests had come before."""
        self.times = times
        """When each of them was counted, in order; later ones may follow."""
        self.sums = sums
        """What they hold together at this moment: `sums[n]` the first n of them."""

    def since(self, begin: float) -> float:
        """What was spent after a moment, and until this one."""
        return self.sums[self.count] - self.sums[min(self.count, bisect_right(self.times, begin))]


class History:
    """What was spent, as the gateway must have counted it."""

    def __init__(self, takes: Iterable[Take], transit: float, *, gives_back: bool) -> None:
        """`transit` is the seconds that a request is on its way; `gives_back` says whether answers give some back."""
        self._takes = sorted(
            ((take.at + transit, take) for take in takes if take.amount or not take.settled), key=lambda pair: pair[0]
        )
        self._transit = transit
        self.times = [at for at, _ in self._takes]
        self._sums = None if gives_back else [0.0, *accumulate(map(_spent, self._takes))]

    def moment(self, at: float, amount: int) -> Moment:
        """What stood there when a request of that amount came."""
        count = bisect_left(self.times, at)
        sums: Sequence[float] | None = self._sums
        if sums is None:
            held = ((take.held if take.back - self._transit > at else take.amount) for _, take in self._takes[:count])
            sums = [0.0, *accumulate(held)]
        return Moment(at, amount, count, self.times, sums)

    def let_in(self, since: float) -> list[Moment]:
        """Some of those that were let in since a moment, the last one among them."""
        answered = [(at, take) for at, take in self._takes if take.settled and at >= since]
        step = max(1, len(answered) // CHECKS)
        return [self.moment(at, take.held) for at, take in reversed(answered[::-step])]

    def drawn(self, rate: float, moments: Sequence[Moment], holds: float = math.inf) -> list[float]:
        """What was missing to a bucket that began full, at each of the moments, which are in order.

        What is in flight and does not fit beside the rest of what it `holds` will be refused: that is not drawn.
        """
        gives_back = self._sums is None
        events = [
            (at, take.held if gives_back else _spent((at, take)), math.inf if take.settled else holds)
            for at, take in self._takes
        ]
        if gives_back:
            events += [
                (take.back - self._transit, take.amount - take.held, math.inf)
                for _, take in self._takes
                if take.back < math.inf
            ]
            events.sort()
        missing, then, place, found = 0.0, -math.inf, 0, []
        for moment in moments:
            while place < len(events) and events[place][0] < moment.at:
                at, amount, most = events[place]
                missing = max(0.0, missing - (at - then) * rate)
                missing += amount * (missing + amount <= most)
                then, place = at, place + 1
            found.append(max(0.0, missing - (moment.at - then) * rate))
        return found


class Evidence:
    """What one limit refused and let in, to be held against one kind of window after another."""

    def __init__(
        self,
        takes: Iterable[Take],
        refusals: Sequence[Refusal],
        amount: float,
        window: float,
        *,
        gives_back: bool,
        since: float = -math.inf,
        shaken: bool = False,
        lowers: bool = True,
    ) -> None:
        """`amount` is what is thought to be there in a window of `window` seconds, and has been `since` a moment.

        With `shaken` the amount is a guess: that there is less needs no excuse. Unless it `lowers`, nothing was known
        of the limit before, and it was not lowered in the middle.
        """
        self.window = window
        self.refusals = sorted(refusals, key=lambda refusal: refusal.sent)
        self._lower_costs = 0.0 if shaken else LOWER
        # A Retry-After that is a whole window says nothing of how much there is: some gateways always say that.
        self._may_be_lower = lowers and all(refusal.retry_after < window for refusal in refusals)
        transit = min(refusal.back - refusal.sent for refusal in refusals) / 2
        self._history = History(takes, transit, gives_back=gives_back)
        self._refused = [self._history.moment(refusal.sent + transit, refusal.amount) for refusal in self.refusals]
        self._wrong = (BY_CREDITS if gives_back else TOLERANCE) * amount
        # Requests overtake each other on their way.
        self._doubt = max(
            self._wrong,
            *(moment.since(moment.at - transit) for moment in self._refused),
        )
        self._let_in = self._history.let_in(since)
        self.amount = amount
        self._places: dict[tuple[int, bool], Fit] = {}

    # Each kind.

    def log(self, late: float) -> Fit:
        """A sliding log that counted everything up to `late` seconds late."""
        window = self.window + late
        levels = [moment.since(moment.at - window) + moment.amount for moment in self._refused]
        holds = self._holds(levels)
        waits = [partial(self._leaves, moment, window) for moment in self._refused]
        excuses = self._lower(holds) + self._untimely(levels, holds, waits)
        # What was let in may not have been late.
        excuses += self._above((check.since(check.at - self.window) + check.amount for check in self._let_in), holds)
        return Fit(excuses, holds)

    def lowered_log(self, late: float, *, alike: bool = False) -> Fit:
        """The same of a log that was lowered while more was in use: by so much that the Retry-Afters are right.

        With `alike` that needs no excuse: others were lowered at the same time.
        """
        window = self.window + late
        levels = [moment.since(moment.at - window) + moment.amount for moment in self._refused]
        refused = zip(levels, self._refused, self.refusals, strict=True)
        holds = min(level - self._left(moment, window, refusal) for level, moment, refusal in refused)
        if not self._may_be_lower or holds >= self.amount - self._doubt:
            return Fit(math.inf, self.amount)
        waits = [partial(self._leaves, moment, window) for moment in self._refused]
        excuses = self._untimely(levels, holds, waits) + (0.0 if alike else self._lower_costs + SINCE)
        # What was let in before it was lowered says nothing.
        let_in = (check for check in self._let_in if check.at > self._refused[0].at)
        excuses += self._above((check.since(check.at - self.window) + check.amount for check in let_in), holds)
        return Fit(excuses, holds)

    def place(self, place: int, *, counts: bool) -> Fit:
        """Calendar windows with borders at so many steps; `counts` as sliding counters do."""
        key = place % STEPS, counts
        if key not in self._places:
            self._places[key] = self.border(place * self.window / STEPS, counts=counts)
        return self._places[key]

    def border(self, border: float, *, counts: bool) -> Fit:
        """Calendar windows with a border there; `counts` as sliding counters do."""
        window, refused = self.window, self._refused
        uses = [self._in_use(moment, border, counts=counts) for moment in refused]
        levels = [used[0] + moment.amount for used, moment in zip(uses, refused, strict=True)]
        holds = self._holds(levels)
        waits: list[Callable[[float], float]]
        if counts:
            waits = [partial(self._fades, use) for use in uses]
        else:
            waits = [partial(_always, window - (moment.at - border) % window) for moment in refused]
        excuses = self._lower(holds) + self._untimely(levels, holds, waits)
        levels_let_in = (self._in_use(check, border, counts=counts)[0] + check.amount for check in self._let_in)
        return Fit(excuses + self._above(levels_let_in, holds), holds)

    @cached_property
    def bucket(self) -> Fit:
        """A bucket that was full at first, of the size that fits best."""
        rate = self.amount / self.window
        least, most = (share * self.amount for share in self.sizes)
        holds = min(self.amount, (least + most) / 2)
        missing = self._history.drawn(rate, self._refused, holds)
        levels = [missed + moment.amount for missed, moment in zip(missing, self._refused, strict=True)]
        excuses, first = 0.0, self.refusals[0]
        # What is refused later with less than this in use says that it refills more slowly than thought.
        for level, refusal in zip(levels, self.refusals, strict=True):
            if refusal.sent > first.back and level < holds - 2 * self._doubt:
                slower = rate - (holds - level) / (refusal.sent - first.sent)
                # A bucket does not hold more than comes back in a window.
                excuses += LOWER * (2 if slower * self.window < holds / 2 else 1)
                break
        excuses += self._untimely(levels, holds, [lambda missing: missing / rate] * len(levels))
        # It is taken for as small as it may be: too small a bucket still refills as fast, and refuses nothing.
        return Fit(excuses + self._above([least], holds), min(self.amount, least))

    @cached_property
    def sizes(self) -> tuple[float, float]:
        """The least and the most that a bucket may hold, as shares of the amount.

        It did not hold enough for the first that was refused, until its Retry-After, and held enough for all that were
        let in.
        """
        first, missing = self.refusals[0], self._missing_at_first
        needed, rate = missing + self._refused[0].amount, self.amount / self.window
        waits = (first.retry_after, max(0.0, first.retry_after - first.grain))
        least, most = (max(missing, needed - seconds * rate) for seconds in waits)
        before = self._history.drawn(rate, self._let_in, needed)
        let_in = [missed + moment.amount for missed, moment in zip(before, self._let_in, strict=True)]
        least = max([least, *let_in])
        return least / self.amount, max(least, most) / self.amount

    @cached_property
    def _missing_at_first(self) -> float:
        """What was missing to a full bucket at the first refusal."""
        return self._history.drawn(self.amount / self.window, self._refused[:1])[0]

    def is_small(self, bucket: Fit) -> bool:
        """Whether a bucket holds less than a window's amount."""
        return bucket.holds < self.amount - 3 * self._doubt

    @cached_property
    def least(self) -> float:
        """What has to be excused whichever kind it is."""
        logs = (self.log(part * MOST_LATE * self.window).excuses for part in LATE)
        places = (self.place(place, counts=counts).excuses for place in range(STEPS) for counts in (False, True))
        return min(self.bucket.excuses, *logs, *places)

    def is_explained(self, excuses: float) -> bool:
        """Whether a kind that has so much to excuse explains anything."""
        return excuses <= FITS + FITS_EACH * len(self.refusals)

    # What was in use, and for how long.

    def _leaves(self, moment: Moment, window: float, missing: float) -> float:
        """Seconds until so much has left a log of so many seconds."""
        if not moment.count:
            return 0.0
        first = bisect_right(moment.times, moment.at - window)
        first = min(first, moment.count - 1)
        enough = bisect_left(moment.sums, moment.sums[first] + max(1.0, missing), first) - 1
        return moment.times[min(max(first, enough), moment.count - 1)] + window - moment.at

    def _left(self, moment: Moment, window: float, refusal: Refusal) -> float:
        """What had left a log of so many seconds when there was to be room, at the soonest."""
        room_from = moment.at + max(0.0, refusal.retry_after - refusal.grain)
        first, last = (min(moment.count, bisect_right(moment.times, at - window)) for at in (moment.at, room_from))
        return moment.sums[last] - moment.sums[first]

    def _in_use(self, moment: Moment, border: float, *, counts: bool) -> tuple[float, float, float, float]:
        """In all, of this window, of the one before, and how old this window is."""
        window = self.window
        age = (moment.at - border) % window
        current = moment.since(moment.at - age)
        if not counts:
            return current, current, 0.0, age
        before = moment.since(moment.at - age - window) - current
        return current + before * (1 - age / window), current, before, age

    def _fades(self, used: tuple[float, float, float, float], missing: float) -> float:
        """Seconds until a sliding counter has forgotten so much."""
        _, current, before, age = used
        window = self.window
        left = before * (1 - age / window)
        if missing <= left:
            return missing / before * window if before else 0.0
        return window - age + (min(missing - left, current) / current * window if current else 0.0)

    def _holds(self, levels: Sequence[float]) -> float:
        lowest = min(levels)
        return self.amount if lowest >= self.amount - self._doubt else lowest

    def _lower(self, holds: float) -> float:
        return self._lower_costs * (holds < self.amount)

    def _untimely(self, levels: Sequence[float], holds: float, waits: Sequence[Callable[[float], float]]) -> float:
        """How little each Retry-After fits; `waits` say when so much has come back as was missing at each refusal.

        What is in use is never known quite, but it is wrong by as much for all of them.
        """
        wrong = self._wrong / 2
        if holds < self.amount:
            wrong = max(wrong, *(moment.amount for moment in self._refused))
        each, found = self._wrong / 4, math.inf
        for part in ERRORS:
            off = 0.0
            for level, refusal, wait in zip(levels, self.refusals, waits, strict=True):
                missing = level - holds + part * wrong
                least, most = max(1.0, missing - each), max(1.0, missing + each)
                off += self._off(refusal, wait(least), wait(most))
            found = min(found, off)
        return found

    def _off(self, refusal: Refusal, soonest: float, latest: float) -> float:
        way = (refusal.back - refusal.sent) / 2
        off = max(0.0, soonest - way - refusal.retry_after, refusal.retry_after - latest - way - refusal.grain)
        return min(MOST, off / max(CLOSE * self.window, refusal.grain / 4))

    def _above(self, levels: Iterable[float], holds: float) -> float:
        """How much was let in that there was no room for."""
        over = max(levels, default=0.0) - holds - self._doubt
        return min(MOST, max(0.0, over) / self._wrong)


def _spent(counted: tuple[float, Take]) -> int:
    _, take = counted
    return take.amount if take.settled else take.held


def _always(wait: float, _missing: float) -> float:
    return wait
