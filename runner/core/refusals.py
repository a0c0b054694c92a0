"""What the refusals of a limit teach: how the gateway counts, or how much less there is than was believed.

The first ones, and those that do not fit what is believed, are held against every kind (`core.explanations`); where no
Retry-After says when there is room again, that is asked first (`core.questions`). A kind that has held for half a
window is doubted last: it is likelier then that there is less, because the limit was lowered or somebody else spends of
it (`core.belief`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from copy import copy

from runner.core.belief import BRIM
from runner.core.casebook import Casebook
from runner.core.counting import GRAIN, MOST_LATE, WHOLE_SECOND, Counting, Kind, latest
from runner.core.evidence import Refusal
from runner.core.explanations import CHOSEN, SAME, Explanation
from runner.core.mirrors import Bucket, Calendar, Counter, Mirror, SlidingLog, Take
from runner.core.probing import Probing
from runner.core.questions import LONGEST, Question

SHORTEST_MEASURE, WHOLE_MEASURE = 1 / 60, 1 / 18
"""Of a window: a rate that was measured for less counts for nothing, for so long it counts in full."""
BUCKET_PAUSE = 0.6
"""Windows until a bucket that was found to refill more slowly is asked for more: it has an answer at any time."""
NEAR = 1 / 8
"""Of a window: what is soon after another refusal; a longer wait than this is not a bucket's."""
SURELY = 0.5
"""How much less another kind must have to excuse than the one that was believed."""
KNOWN = 1 / 20
"""Of a window: what was taken for a bucket is a counter, if that explains no less, once its border is so well known."""
HELD, HELD_UNSURE = 1 / 2, 2.0
"""Windows for which a kind must have held, confirmed or not, for a refusal to say rather that there is less."""
MOST_PUT_OFF = 2
"""A border may be still to come so often, until others explain what was refused as well."""
MOST_MISFITS = 3
"""Refusals that do not fit a kind which has held, until another one is believed."""
MOST_CONTRADICTIONS = 5
"""Explanations that are believed one after another; then it is taken for a log for good."""


class Refusals:
    """What one limit refused, against what is believed of it."""

    def __init__(self, counting: Counting, probing: Probing) -> None:
        self._counting = counting
        self._belief = counting.belief
        self._probing = probing
        self._window = counting.limit.window
        self.cases = Casebook(counting)
        self.together: Sequence[Refusals] = ()
        """Those of all limits that the gateway counts in the same way, this one among them."""
        self._contradictions = 0
        self._misfits = 0
        self._empty_at = -math.inf
        """When a bucket was last known to be empty."""
        self._drawn_until = -math.inf
        """What was sent before that was thought to have been drawn from a bucket when its size was found out."""
        self._refused: deque[tuple[float, int]] = deque()
        """When each of the last window was sent, and what it would have cost."""
        self._charges = False
        """Whether the gateway counts what it refuses."""
        self._late_at = -math.inf
        """When a request was last sent that came too early by a moment."""
        self._put_off = 0
        """How often a border of calendar windows turned out to be still to come."""
        self._put_off_at = -math.inf
        """Where the next border was thought to be when that last happened."""
        self._may_count = False
        """Whether what is taken for a full bucket may as well be a sliding counter, whose border is not known well."""
        self._is_unexplained = False
        """Whether no kind explained what was refused, and its Retry-Afters are not to be believed."""

    def learn(self, take: Take, retry_after: float | None, now: float, *, may_ask: bool) -> None:
        """The gateway refused it; before it is settled. With `may_ask` requests may be sent only to learn more."""
        counting = self._counting
        refusal = None if retry_after is None else self.cases.timed(take, retry_after, now)
        question = self._probing.question
        self._probing.refuse(take)
        self._count(take, now)
        noted = refusal is not None and self.cases.keep(refusal)
        if question is not None and refusal is None:
            question.refuse(take, now)
            if question.is_hopeless(self._window):
                self._give_up(question, now)
            return
        if take.sent < self._drawn_until:
            self._was_never_drawn(take)
        if take.sent <= counting.changed_at:  # sent before the last refusal had come back: more of the same
            if noted and counting.found_at == counting.changed_at and not counting.cuts:
                self._reconsider(take, now)
            elif not take.probe and counting.cuts:
                self._belief.deepen(min(take.before, self._stays(refusal) if noted else math.inf))
            return
        if refusal is None and may_ask and self._is_worth_asking(take, now):
            self._probing.ask_again(take, now)
            return
        self._hold_against(take, refusal, now)
        counting.changed_at = now

    def answer(self, question: Question, take: Take, now: float) -> bool:
        """Something was let in while it is asked when there is room again: whether that told something."""
        if not question.was_asked_by(take):
            return False
        is_known, seconds = question.let_in(take), take.sent - question.sent
        if seconds > LONGEST * self._window:
            self._give_up(question, now)
            return True
        if not is_known:
            return True
        self._probing.close()
        refused = Take(question.sent, question.amount, question.before)
        refused.probe = question.probe
        refusal = Refusal(question.sent, question.back, question.amount, seconds, take.sent - question.refused_at)
        self.cases.keep(refusal)
        self._hold_against(refused, refusal, now)
        self._counting.changed_at = now
        return True

    def _is_worth_asking(self, take: Take, now: float) -> bool:
        """Whether the answer may say how the gateway counts, rather than that there is less."""
        mirror, kind = self._counting.mirror, self._counting.kind
        if isinstance(mirror, Bucket) and not self._is_unlikely(mirror, take):  # it has room again at once
            return False
        is_told = take.probe and kind in (Kind.SLIDING, Kind.CALENDAR)
        is_told = is_told or (kind is Kind.SLIDING and self._counting.sure)
        return take.before > 0 and not is_told and not self._is_settled(now)

    def _give_up(self, question: Question, now: float) -> None:
        """Nothing was let in for longer than anything counts: there is less."""
        self._probing.close()
        if not question.probe:
            self._cut(question.before, now)
        self._counting.changed_at = now

    def _hold_against(self, take: Take, refusal: Refusal | None, now: float) -> None:
        """Hold it against what is believed."""
        mirror = self._counting.mirror
        if isinstance(mirror, Bucket):
            self._bucket_refused(mirror, take, refusal, now)
        elif refusal is None:
            self._bare_refused(mirror, take, now)
        elif isinstance(mirror, Counter):
            self._doubt(take, refusal, now)
        elif isinstance(mirror, Calendar):
            self._calendar_refused(mirror, take, refusal, now)
        else:
            self._log_refused(take, refusal, now)

    # What explains them.

    def _reconsider(self, take: Take, now: float) -> None:
        """Another refusal of the same moment may tell more."""
        found = self.cases.explanations(now)
        if not self._fits(found):
            self._believe(found, take, now)

    def _fits(self, found: Sequence[Explanation]) -> bool:
        """Whether what is believed of the kind explains all about as well as anything."""
        mirror, kind = self._counting.mirror, self._counting.kind
        if not found:
            self._misfits += 1
            self.cases.lowered()
            return kind is not Kind.UNKNOWN and self._misfits < MOST_MISFITS
        mine = next((one for one in found if one.kind is kind), None)
        if mine is None or mine.excuses > found[0].excuses + SURELY:
            return False
        if isinstance(mirror, Calendar):
            off = mine.border - mine.early / 2 - (mirror.border - mirror.early / 2)
            return abs(math.remainder(off, self._window)) <= (mirror.early + mine.early) / 2
        return True

    def _believe(self, found: Sequence[Explanation], take: Take, now: float) -> None:
        """Take over the best explanation."""
        counting, believed = self._counting, self._belief.amount(now)
        self._contradictions += 1
        self._misfits, self._empty_at = 0, -math.inf
        self._is_unexplained = not found or self._contradictions > MOST_CONTRADICTIONS
        if self._is_unexplained:
            counting.become_sliding(now, sure=True)
            if not take.probe:
                self._cut(take.before, now)
            return
        best = found[0]
        if best.kind is Kind.SLIDING:
            if counting.kind is Kind.UNKNOWN:
                self._date_oldest(self.cases.last)
            calendar = next(one for one in found if one.kind is Kind.CALENDAR)
            alike = calendar.excuses <= best.excuses + CHOSEN + SAME
            counting.become_sliding(now, sure=not (alike or best.late), late=best.late)
            if alike:
                self._probing.ask(calendar.border, calendar.early)
        elif best.kind is not Kind.BUCKET:
            # What was in use tells where the border lies, as well as when it was counted is known.
            become = counting.become_calendar if best.kind is Kind.CALENDAR else counting.become_counter
            become(best.border + counting.guard - self._window, best.early + counting.guard, now)
        else:
            self._empty_at = take.sent
            self._drawn_until = self.cases.first.sent
            counting.become_empty_bucket(take.sent, best.holds, now)
            return
        if best.holds < believed:
            self._belief.cut(best.holds - take.amount, now)  # what others had before them was measured in another way

    def _was_never_drawn(self, take: Take) -> None:
        """It had waited for a connection while others were sent: the bucket was empty without it, so it holds less."""
        mirror, limit = self._counting.mirror, self._counting.limit
        if isinstance(mirror, Bucket):
            share = (mirror.burst - take.held) / limit.amount
            for other in self.together or (self,):
                other._counting.shrink(share)

    def _doubt(self, take: Take, refusal: Refusal, now: float) -> None:
        """It should not have been refused: the gateway counts in another way, or there is less."""
        is_told = True
        if not self._is_settled(now):
            found = self.cases.explanations(now)
            is_told = bool(found)
            if not self._fits(found):
                self._believe(found, take, now)
                return
        believed = self._belief.amount(now)
        if not take.probe and not self._were_charged(take, believed - take.before - take.amount, now):
            told = min(self._left_after(take, refusal), self._stays(refusal)) if is_told else math.inf
            self._cut(min(take.before, told), now)
            # With far more room than there can be an error, or as deep as may be and refused again.
            self._misfits += take.before < believed / 2 or self._belief.amount(now) == believed

    def _count(self, take: Take, now: float) -> None:
        self._refused.append((take.sent, take.held))
        while self._refused and self._refused[0][0] < now - self._window:
            self._refused.popleft()
        if self._charges:
            self._counting.count(take.sent, take.held, now)

    def _were_charged(self, take: Take, room: float, now: float) -> bool:
        """Whether that room is gone if what was refused before had been counted; then it is from now on."""
        before = [(sent, amount) for sent, amount in self._refused if sent < take.sent - GRAIN * self._window]
        if self._charges or self._belief.is_shaken or sum(amount for _, amount in before) < max(1.0, room):
            return False
        is_exact = isinstance(self._counting.mirror, Bucket)  # since it was last empty
        if not (is_exact or self._explains_more(before, now)):
            return False
        self._charges = True
        for sent, amount in before:
            self._counting.count(sent, amount, now)
        return True

    def _explains_more(self, refused: Iterable[tuple[float, int]], now: float) -> bool:
        """Whether all is explained better where these were counted though they were refused."""
        if not self.cases:
            return True
        charged = [Take(sent, amount) for sent, amount in refused]
        for take in charged:
            take.settled = True
        found, otherwise = self.cases.explanations(now, charged), self.cases.explanations(now)
        return bool(found) and not (otherwise and otherwise[0].excuses <= found[0].excuses + SURELY)

    def _left_after(self, take: Take, refusal: Refusal) -> float:
        """What a counter will hold when there is room again, at the soonest, as was said: so much there is, or less."""
        mirror = self._counting.mirror
        if not isinstance(mirror, Counter) or refusal.retry_after < NEAR * self._window:
            return math.inf
        takes = [copy(taken) for taken in self._counting.recent]
        for taken in takes:
            taken.settled = True  # a mirror of what is to come marks those in flight as overdue
        soonest = min(refusal.room_from, refusal.sent + refusal.retry_after - WHOLE_SECOND)
        return self._counting.counter(mirror.border, mirror.early, takes).used(soonest) + take.amount

    def _stays(self, refusal: Refusal | None) -> float:
        """What a log will still hold when there is room again, at the soonest: so much there is, or less."""
        mirror = self._counting.mirror
        if refusal is None or not isinstance(mirror, SlidingLog) or refusal.retry_after >= self._window:
            return math.inf  # some always say a window
        if any(one._is_unexplained for one in self.together or (self,)):
            return math.inf
        oldest, recent = refusal.room_from - mirror.span, self._counting.recent
        return sum(old.amount for old in recent if old.at > oldest and old.sent < refusal.sent) + refusal.amount

    def _is_settled(self, now: float) -> bool:
        """Whether the kind has held for so long that there will rather be less."""
        windows = HELD if self._counting.sure else HELD_UNSURE
        held = self._counting.kind is not Kind.UNKNOWN and now > self._counting.found_at + windows * self._window
        return (held and self._misfits < MOST_MISFITS) or self._contradictions > MOST_CONTRADICTIONS

    def _cut(self, to: float, now: float) -> None:
        self._counting.cut(min(BRIM * self._belief.amount(now), to), now)
        for other in self.together:
            if other is not self:
                other._belief.doubt(to / self._belief.configured)

    # Of each kind.

    def _bare_refused(self, mirror: Mirror, take: Take, now: float) -> None:
        """Of a log or of windows with borders, without a Retry-After."""
        if not take.probe:
            self._cut(take.before, now)
        elif self._probing.answered(take):
            self._counting.sure = True
        elif isinstance(mirror, Calendar) and self._counting.kind is Kind.CALENDAR:
            ends = mirror.start(take.sent) + self._window
            if take.sent > ends - mirror.early:  # the border is still to come
                self._counting.become_calendar(ends, ends - take.sent, now, sure=self._counting.sure)

    def _log_refused(self, take: Take, refusal: Refusal, now: float) -> None:
        """Of a sliding log, known or assumed."""
        counting = self._counting
        if take.probe and self._probing.answered(take):
            counting.sure = True
        elif counting.kind is Kind.UNKNOWN:
            self._believe(self.cases.explanations(now), take, now)
        elif take.probe or not self._take_for_late(take, refusal.retry_after):
            self._doubt(take, refusal, now)

    def _date_oldest(self, refusal: Refusal) -> None:
        """The oldest leaves when it was said, less its grain, at the soonest: nothing was counted before that."""
        counted = refusal.room_from - self._window
        for old in self._counting.recent.current(refusal.sent):
            if old.at >= counted:
                break
            old.at = counted

    def _take_for_late(self, take: Take, retry_after: float) -> bool:
        """Whether room comes back in a moment: requests were counted later than we thought then, and stay longer."""
        counting, mirror = self._counting, self._counting.mirror
        if not isinstance(mirror, SlidingLog) or retry_after > self._moment(retry_after):
            return False
        if take.sent < self._late_at + NEAR * self._window or mirror.span >= counting.longest:
            return False
        mirror.span = min(counting.longest, mirror.span + min(retry_after, self._window * MOST_LATE))
        self._late_at = take.sent
        return True

    def _moment(self, retry_after: float) -> float:
        """So many seconds are no longer than a delay, given how fine a Retry-After is."""
        return latest(self._window) if retry_after.is_integer() else self._window * MOST_LATE

    def _calendar_refused(self, mirror: Calendar, take: Take, refusal: Refusal, now: float) -> None:
        ends, first, last = mirror.start(take.sent) + self._window, refusal.room_from, refusal.room_by
        moment = self._moment(refusal.retry_after)
        if self._counting.sure and refusal.retry_after <= moment and take.sent <= ends - self._window + moment:
            if self._is_put_off(ends):
                found = self.cases.explanations(now)
                if found and not self._fits(found):
                    self._believe(found, take, now)
                    return
            # The border that was thought to have passed is still to come.
            self._counting.become_calendar(last, last - max(first, take.sent), now, sure=True)
            return
        if first > ends or last < ends - mirror.early:
            self._doubt(take, refusal, now)
            return
        # It names the border: less is there, unless it was asked for the border alone.
        if not take.probe:
            self._cut(take.before, now)
        ends, first = min(ends, last), max(first, ends - mirror.early, take.sent)
        self._counting.become_calendar(ends, max(0.0, ends - first), now, sure=self._counting.sure)

    def _is_put_off(self, ends: float) -> bool:
        """Whether a border that is still to come was so before, and more than once: then it may be none."""
        if ends > self._put_off_at + self._window / 2:
            self._put_off = 0
        self._put_off_at = ends
        self._put_off += 1
        return self._put_off > MOST_PUT_OFF

    def _bucket_refused(self, mirror: Bucket, take: Take, refusal: Refusal | None, now: float) -> None:
        left = max(0.0, mirror.burst - take.before)  # the mirror's, where really there was nothing
        soon = max(take.amount / mirror.rate + 4 * GRAIN * self._window, NEAR * self._window)
        unlikely = refusal is not None and (refusal.retry_after > soon or self._is_unlikely(mirror, take))
        if unlikely:
            found = self.cases.explanations(now)
            if self._counts(mirror, found) or not (self._may_count or self._is_settled(now) or self._fits(found)):
                self._believe(found, take, now)
                return
        if refusal is not None and refusal.retry_after > soon:
            # A bucket can be in debt, where its limit was lowered or somebody else drew on it.
            mirror.empty(take.sent, self._counting.recent)
            mirror.correct(take.amount - refusal.retry_after * mirror.rate, now)
            self._empty_at = -math.inf
            return
        if self._empty_at > -math.inf and self._were_charged(take, left, now):
            left = 0.0
        elapsed = (take.sent - self._empty_at) / self._window
        if elapsed >= SHORTEST_MEASURE and self._empty_at > -math.inf and left > 0:
            believed = self._belief.amount(now)
            # A few requests' worth may be an error of the level; more of it, for longer, is one of the rate.
            weight = min(1.0, elapsed / WHOLE_MEASURE) * min(1.0, left / (4 * take.amount))
            self._belief.cut(believed - weight * left / elapsed, now, BUCKET_PAUSE)
        mirror.empty(take.sent, self._counting.recent)
        self._empty_at = take.sent
        self._counting.sure = True

    def _counts(self, bucket: Bucket, found: Sequence[Explanation]) -> bool:
        """Whether what was taken for a full bucket is a sliding counter, whose border is known well enough by now."""
        counter = next((one for one in found if one.kind is Kind.COUNTER), None)
        is_measured = bucket.burst < BRIM * self._counting.limit.amount
        self._may_count = counter is not None and not is_measured and counter.excuses <= found[0].excuses
        return counter is not None and self._may_count and counter.early <= KNOWN * self._window

    def _is_unlikely(self, mirror: Bucket, take: Take) -> bool:
        """Whether a bucket should not have refused that, as far as all that was drawn from it is known."""
        left = mirror.burst - take.before
        return not self._counting.sure or self._may_count or (left > take.amount and self._counting.recent.is_whole)
