"""What the refusals of a limit teach: how the gateway counts, or how much less there is than was believed.

A refusal that there was room for is a surprise. It speaks of a bucket that is smaller than the limit, if it lifts at
once; after a border, of a sliding counter, which lets through little by little from then on; else of an amount that is
lower than configured (`core.belief`). Evidence that contradicts itself ends at the sliding log.
"""

from __future__ import annotations

import math

from runner.core.belief import BRIM, LEAST
from runner.core.counting import Counting, Kind
from runner.core.hints import GRAIN, MOST_LATE, Says, latest, read
from runner.core.mirrors import Bucket, Calendar, Counter, SlidingLog, Take
from runner.core.probing import Probing

SHORTEST_MEASURE, WHOLE_MEASURE = 1 / 60, 1 / 12
"""Of a window: a rate that was measured for less counts for nothing, for so long it counts in full."""
NEAR = 1 / 8
"""Of a window: what is soon after a border, or after another refusal; a longer wait than this is not a bucket's."""
MOST_CONTRADICTIONS = 2


class Refusals:
    """What one limit refused, against what is believed of it."""

    def __init__(self, counting: Counting, probing: Probing) -> None:
        self._counting = counting
        self._belief = counting.belief
        self._probing = probing
        self._window = counting.limit.window
        self._contradictions = 0
        self._empty_at = -math.inf
        """When a bucket was last known to be empty."""
        self._late_at = -math.inf
        """When a request was last sent that came too early by a moment."""
        self._room_at = -math.inf
        """When a bucket's first refusal said that there would be room."""

    def learn(self, take: Take, retry_after: float | None, now: float) -> Says:
        """The gateway refused it; before it is settled. What the refusal spoke of."""
        counting = self._counting
        says = read(take, retry_after, counting.recent, self._belief)
        self._probing.refuse(take)
        if take.sent < counting.changed_at:  # sent before the last refusal had come back: more of the same
            if not take.probe and counting.cuts:
                self._belief.deepen(take.before)
            return says
        mirror = counting.mirror
        if isinstance(mirror, Bucket):
            self._bucket_refused(mirror, take, says, retry_after, now)
        elif isinstance(mirror, Counter):
            self._counter_refused(take, says, now)
        elif isinstance(mirror, Calendar):
            self._calendar_refused(mirror, take, says, retry_after, now)
        else:
            self._log_refused(take, says, retry_after, now)
        counting.changed_at = now
        return says

    def suppose(self, other: Refusals, now: float) -> None:
        """Take over what the refusals of a limit have shown that the same gateway keeps, while it is not known here."""
        was = self._counting.kind
        self._counting.suppose(other._counting, now)
        if was is not Kind.BUCKET and self._counting.kind is Kind.BUCKET:
            self._room_at = other._room_at

    # Of a sliding log, known or assumed.

    def _log_refused(self, take: Take, says: Says, retry_after: float | None, now: float) -> None:
        counting, unknown = self._counting, self._counting.kind is Kind.UNKNOWN
        if says is Says.SOON and unknown:
            self._became_empty(take, self._held_before(take, now), now)
            self._room_at = take.sent + (retry_after or 0.0)
            return
        if says is not Says.OLDEST and not take.probe and self._take_for_late(take, retry_after, now):
            return
        if says is Says.SOON:
            # It looked like a log, and now lifts at once: the border of a counter that was taken for the oldest's end.
            counting.become_counter(take.sent, 0.0, now)
            return
        if not take.probe:
            self._cut(take, now)
        if unknown and says is Says.OLDEST:
            counting.kind, counting.found_at = Kind.SLIDING, now
            self._date_oldest(take, retry_after or 0.0)
        elif unknown and says is Says.BORDER and retry_after is not None:
            self._border_named(take, retry_after, now)
        elif take.probe:
            self._probing.told_nothing()

    def _held_before(self, take: Take, now: float) -> float:
        """What a bucket must have held at the start to be empty at this take."""
        believed = self._belief.amount(now)
        full = Bucket(believed / self._window, believed, (old for old in self._counting.recent if old.sent < take.sent))
        return believed - full.level(take.sent) + take.amount / 2

    def _date_oldest(self, refused: Take, retry_after: float) -> None:
        """The oldest leaves in `retry_after` less its grain, at the soonest: nothing was counted before that."""
        counted = refused.sent + retry_after - (1 + GRAIN) * self._window
        for old in self._counting.recent:
            if old.at >= counted:
                break
            old.at = counted

    def _take_for_late(self, take: Take, retry_after: float | None, now: float) -> bool:
        """Whether room comes back in a moment: requests were counted later than we thought then, and stay longer.

        If room comes back little by little instead, it is a counter whose border was taken for the oldest's end.
        """
        window, counting, mirror = self._window, self._counting, self._counting.mirror
        if retry_after is None or retry_after > latest(window) or not isinstance(mirror, SlidingLog):
            return False
        again = take.sent < self._late_at + NEAR * window
        undecided = counting.kind is Kind.SLIDING and not self._contradictions
        if again and undecided and now < counting.found_at + (1 + NEAR) * window:
            counting.become_counter(self._late_at, 0.0, now)
            return True
        if mirror.span >= counting.longest:
            return False
        mirror.span = min(counting.longest, mirror.span + min(retry_after, window * MOST_LATE))
        self._late_at = take.sent
        return True

    # Of calendar windows, and of a sliding counter.

    def _calendar_refused(
        self, mirror: Calendar, take: Take, says: Says, retry_after: float | None, now: float
    ) -> None:
        counting, window = self._counting, self._window
        ends = mirror.start(take.sent) + window
        first, last = take.sent + (retry_after or 0.0) - GRAIN * window, now + (retry_after or 0.0)
        at_border = retry_after is not None and first <= ends and last >= ends - mirror.early
        near = NEAR * window
        if retry_after is not None and take.sent - mirror.start(take.sent) < near and retry_after <= near:
            # All was to be forgotten, and there is less room than for one request: the border is later, or none.
            self._contradictions += counting.sure
            if counting.sure and self._contradictions >= MOST_CONTRADICTIONS:
                self._contradicted(take, says, retry_after, now)
            elif counting.sure:
                late = now + retry_after - mirror.start(take.sent)
                counting.become_calendar(mirror.border + late, late, now)
            else:
                counting.become_counter(mirror.border, mirror.early, now)
            return
        if retry_after is None or (says is Says.NOTHING and not at_border):
            if not take.probe:
                self._cut(take, now)
            return
        if at_border:
            if not take.probe:
                self._cut(take, now)
            ends, first = min(ends, last), max(first, ends - mirror.early, take.sent)
            counting.become_calendar(ends, max(0.0, ends - first), now, sure=counting.sure)
        elif says is Says.SOON:
            counting.become_counter(mirror.border, mirror.early, now)
        else:
            self._contradicted(take, says, retry_after, now)

    def _counter_refused(self, take: Take, says: Says, now: float) -> None:
        """It may have been taken for a counter wrongly: then there was far more room than there can be an error."""
        if take.before < self._belief.amount(now) / 2:
            self._contradictions += 1
        believed = self._belief.amount(now)
        if self._contradictions < MOST_CONTRADICTIONS:
            self._cut(take, now)
            self._contradictions += self._belief.amount(now) == believed  # cut as deep as may be, and refused again
        elif says is Says.SOON:
            self._became_empty(take, LEAST * self._belief.configured, now)
        else:
            self._cut(take, now)
            self._counting.become_sliding(now)

    # Of a bucket.

    def _bucket_refused(self, mirror: Bucket, take: Take, says: Says, retry_after: float | None, now: float) -> None:
        soon = take.amount / mirror.rate + 4 * GRAIN * self._window
        if retry_after is not None and retry_after > max(soon, NEAR * self._window):
            self._waits_long(mirror, take, says, retry_after, now)
            return
        left = max(0.0, mirror.burst - take.before)  # the mirror's, where really there was nothing
        elapsed = (take.sent - self._empty_at) / self._window
        if elapsed >= SHORTEST_MEASURE and self._empty_at > -math.inf and left > 0:
            believed = self._belief.amount(now)
            # A few requests' worth may be an error of the level; more of it, for longer, is one of the rate.
            weight = min(1.0, elapsed / WHOLE_MEASURE) * min(1.0, left / (4 * take.amount))
            self._belief.cut(believed - weight * left / elapsed, now)
        mirror.correct(-left, now)
        self._empty_at = take.sent
        self._counting.sure = True

    def _waits_long(self, mirror: Bucket, take: Take, says: Says, retry_after: float, now: float) -> None:
        """Longer than it takes a bucket to refill by so much."""
        counting = self._counting
        if self._as_foretold(take.sent + retry_after):
            # It waits for the moment that the first one waited for, windows later: a border that was near then.
            self._border_named(take, retry_after, now)
        elif counting.sure and not self._contradictions:
            # A bucket can be in debt, where its limit was lowered or somebody else drew on it. Once.
            self._contradictions += 1
            mirror.empty(take.sent, counting.recent)
            mirror.correct(take.amount - retry_after * mirror.rate, now)
            self._empty_at = -math.inf
        elif counting.sure:
            self._contradicted(take, says, retry_after, now)
        elif says is Says.OLDEST:
            counting.become_sliding(now)
        else:
            self._border_named(take, retry_after, now)

    def _as_foretold(self, moment: float) -> bool:
        """Whether this is whole windows after the moment at which a bucket's first refusal said there would be room."""
        if self._room_at == -math.inf:
            return False
        return abs(math.remainder(moment - self._room_at, self._window)) <= 2 * GRAIN * self._window

    # What it comes to.

    def _contradicted(self, take: Take, says: Says, retry_after: float, now: float) -> None:
        """What was believed of the kind cannot be: somebody else spends too, or it was read wrongly."""
        self._contradictions += 1
        if not take.probe:
            self._cut(take, now)
        if self._contradictions < MOST_CONTRADICTIONS and says is Says.BORDER:
            self._border_named(take, retry_after, now)
        else:
            self._counting.become_sliding(now)

    def _border_named(self, take: Take, retry_after: float, now: float) -> None:
        """A border lies where the refusal said, to within the grain of what it said and the time it took to come."""
        early = min(self._window / 4, GRAIN * self._window + now - take.sent)
        self._counting.become_calendar(now + retry_after - self._window, early, now)

    def _became_empty(self, take: Take, burst: float, now: float) -> None:
        """It is a bucket that holds so much, and was empty when it refused this."""
        self._empty_at = take.sent
        self._counting.become_empty_bucket(take.sent, burst, now)

    def _cut(self, take: Take, now: float) -> None:
        self._counting.cut(min(BRIM * self._belief.amount(now), take.before), now)
