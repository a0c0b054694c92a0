"""One limit as it is mirrored and learned: how the gateway counts it, how much there is, and how fast to spend it.

This is its face to a ledger, which asks when an amount may be sent and says what became of it. What is known is kept by
others: the kind and its mirror (`core.counting`), the amount (`core.belief`), what was taken lately (`core.recent`). It
is learned from probes (`core.probing`), refusals (`core.refusals`) and acceptances (`core.acceptances`), spent no
faster than answers come back (`core.pacing`), and handed on (`core.handover`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from runner.core import handover
from runner.core.acceptances import Acceptances
from runner.core.belief import Belief
from runner.core.counting import GRAIN, Counting, Kind
from runner.core.limits import Limit
from runner.core.mirrors import Bucket, Calendar, Mirror, Take
from runner.core.pacing import Pacing
from runner.core.probing import Probing
from runner.core.recent import Recent
from runner.core.refusals import Refusals

MARGIN = 0.001
"""Of the amount: what is left of a limit of input, since what is in flight is only guessed."""
LOOK_AGAIN = 1 / 60
"""Of a window: how often a limit is looked at again whose amount may be growing."""
WAY_BACK = 1 / 1200
"""Of a window: how long a refusal is taken to be on its way back."""
LEAST_STEP = 1 / 1200
"""Of a window: the shortest wait for a limit that is being learned."""


class Window:
    """One limit of a ledger that learns."""

    def __init__(self, limit: Limit, guard: float, *, probes: bool = True, above: bool = False) -> None:
        """`guard` is the seconds that spending is kept beyond its window; without `probes` nothing is sent to learn.

        `above` lets the amount grow above the configured one.
        """
        self.limit = limit
        self.belief = Belief(limit.amount, limit.window, above=above)
        self.probes = probes
        self.share = 1.0
        """Of the amount: what may be in use here, where others spend unseen."""
        self._recent = Recent(limit.window, guard)
        self._counting = Counting(limit, self.belief, self._recent, guard)
        self._probing = Probing(self._counting)
        self._pacing = Pacing(self._counting)
        self._refusals = Refusals(self._counting, self._probing)
        self._acceptances = Acceptances(self._counting, self._probing)
        self._above = above
        self._margin = 0.0 if limit.gives_back else MARGIN
        self._step = limit.window * LEAST_STEP

    @property
    def kind(self) -> Kind:
        """How the gateway counts it."""
        return self._counting.kind

    @property
    def sure(self) -> bool:
        """Whether that has been confirmed."""
        return self._counting.sure

    @property
    def finding(self) -> tuple[Kind, bool, Mirror]:
        """How it is counted, as far as that is known: equal to an earlier one where nothing was found out since."""
        return self.kind, self.sure, self._counting.mirror

    # What is asked before sending.

    def when(self, amount: int, now: float) -> tuple[float, bool]:
        """The moment at which `amount` may be sent (`now` if it may), and whether that holds for any amount."""
        if not amount:
            return now, False
        opens = self._pacing.opens_at
        if opens > now:
            return max(opens, now + self._step), True
        if (question := self._probing.question) is not None:
            asks_at = self._probing.asks_at(question, self._fits_at(amount, now), now)
            return (now, False) if asks_at <= now else (max(asks_at, now + self._step), True)
        until = self._fits_at(amount, now)
        if until > now and self.probes:
            until = min(until, self._probing.presumes_at, self._probing.due(amount, until, now))
        return (now if until <= now else max(until, now + self._step)), False

    def room(self, now: float) -> float:
        """The largest amount that may be sent now; what fits nowhere else goes alone."""
        if self._pacing.opens_at > now:
            return 0.0
        if (question := self._probing.question) is not None:
            return question.most if self._probing.asks_at(question, now, now) <= now else 0.0
        mirror, believed = self._counting.mirror, self._believed(now)
        if isinstance(mirror, Bucket):
            level = mirror.level(now)
            return math.inf if level >= 0.99 * mirror.burst else level - mirror.reserve
        used = mirror.used(now)
        return math.inf if used <= 0 else believed - used - self._margin * believed

    def free(self, now: float) -> float:
        """What is left of the amount."""
        mirror, believed = self._counting.mirror, self._believed(now)
        if isinstance(mirror, Bucket):
            return mirror.level(now) - mirror.reserve
        return believed - mirror.used(now) - self._margin * believed

    def is_probe(self, amount: int, now: float) -> bool:
        """Whether an amount that may be sent has no room, and goes out only to find out how the gateway counts."""
        return self._probing.question is not None or (self.probes and amount > 0 and self._fits_at(amount, now) > now)

    def pace(self, now: float) -> float:
        """How fast it may be spent now, of the measure a second."""
        return self._pacing.rate(self.used(now), now)

    def used(self, now: float) -> float:
        """What is in use, reservations in flight included."""
        return self._counting.mirror.used(now)

    def since(self, now: float) -> float:
        """From when on spending counts."""
        mirror = self._counting.mirror
        return mirror.start(now) if isinstance(mirror, Calendar) else now - self.limit.window

    def _fits_at(self, amount: int, now: float) -> float:
        believed = self._believed(now)
        capacity = max(believed - self._margin * believed, amount)  # what is larger than everything goes alone
        until = self._counting.mirror.when(amount, capacity, now)
        if until > now and self.belief.is_shaken:
            until = min(until, now + self.limit.window * LOOK_AGAIN)  # the room may grow before that
        return until

    def _believed(self, now: float) -> float:
        """What may be in use here; a bucket is mirrored as one that refills by so much."""
        mirror, believed = self._counting.mirror, self.share * self.belief.amount(now)
        if isinstance(mirror, Bucket):
            mirror.rate = max(1.0, believed) / self.limit.window
        return believed

    # What is sent, and what comes of it.

    def take(self, amount: int, now: float) -> Take:
        """Hold an amount from now on."""
        mirror = self._counting.mirror
        if self._above:
            self.belief.grow_from(now + self.limit.window)
            self._above = False
        take = Take(now, amount, mirror.used(now))
        if self.is_probe(amount, now):
            self._probing.send(take, now)
        mirror.take(take, now)
        self._recent.add(take, now)
        self._pacing.send(amount, take.before, now)
        return take

    def settle(self, take: Take, amount: int, counted_at: float, now: float) -> None:
        """Replace a guess by the truth, dated `counted_at`."""
        take.at, take.back = max(take.at, counted_at), now
        self._counting.mirror.settle(take, amount, now)
        self._recent.land(take)
        if (question := self._probing.question) is not None:
            if not amount:
                question.fail(take)
            elif amount < take.amount:
                question.give_back(take.amount - amount)
        if amount != take.amount:
            self._pacing.settle(amount - take.amount)
        take.amount = amount
        take.settled = True
        if take.probe:
            self._probing.land(take)

    def accepted(self, take: Take, now: float) -> bool:
        """The gateway let it in; before it is settled. Whether that told how the gateway counts."""
        self._probing.answer(take, now)
        return self._let_in(take, now)

    def _let_in(self, take: Take, now: float) -> bool:
        if (question := self._probing.question) is not None:
            told = self._refusals.answer(question, take, now)
            if self._probing.question is None:
                self._pacing.try_out(now)
            return told
        return self._acceptances.learn(take, now)

    def presumed(self, now: float) -> bool:
        """Learn from probes that were not refused in time, before their answers are there. Whether that told something.

        Models may take half a minute to answer: by then another window has begun.
        """
        told = False
        while self._probing.presumes_at <= now:
            told = self._let_in(self._probing.presume(), now) or told
        return told

    def refused(self, take: Take, retry_after: float | None, now: float, sent_at: float = -math.inf) -> bool:
        """The gateway refused it; before it is settled. Whether that was to be expected.

        A refusal comes at once. One that took longer had to wait before it was counted: for a connection, until it was
        written at `sent_at`, or alone, if what was sent later is back. It was refused beside what was in use by then.
        """
        late = GRAIN * self.limit.window
        if take.sent < now - late:
            if sent_at >= now - late:
                self._was_counted(take, sent_at, now)
            elif self._recent.is_back_from(take.sent + late):
                self._was_counted(take, now - WAY_BACK * self.limit.window, now)
        self._refusals.learn(take, retry_after, now, may_ask=self.probes)
        if take.probe and retry_after is not None and (self._is_soon(take, retry_after) or not self.limit.gives_back):
            self._pacing.close(now + retry_after)
        return take.probe or self._probing.question is not None

    def _was_counted(self, take: Take, moment: float, now: float) -> None:
        """It was counted at a moment, or later: not when it was sent."""
        take.counted_from = moment
        take.before = max(take.before, self.used(now) - take.amount)

    def _is_soon(self, take: Take, retry_after: float) -> bool:
        """Whether a bucket could say this."""
        window = self.limit.window
        return retry_after <= take.held / max(1.0, self.belief.amount(take.sent)) * window + 2 * GRAIN * window

    # What others spend of the same limit, and have spent.

    def restore(self, amount: int, at: float) -> None:
        """Count what was spent at a moment before now, whether it fits or not; oldest first."""
        take = Take(at, amount, self.used(at))
        take.settled = True
        self._counting.mirror.take(take, at)
        self._recent.restore(take)

    def elsewhere(self, amount: int, at: float, now: float) -> Take:
        """Count what somebody else spent at a moment not long before now."""
        return self._counting.count(min(at, now), amount, now)

    def correct(self, take: Take, amount: int, now: float) -> None:
        """Somebody else spent another amount than was told; nothing if that has left its window."""
        if amount != take.amount and now < take.at + self.limit.window:
            self._counting.mirror.settle(take, amount, now)
            take.amount = amount

    # What was found out, from others and for them.

    def suppose(self, other: Window, now: float) -> None:
        """Take over what was found out of a limit that the same gateway keeps, while it is not known of this one."""
        if self._probing.rival is None:
            self._counting.suppose(other._counting, now)

    def tell(self, now: float) -> dict[str, float | str] | None:
        """What is known here, for others with the same clock; None while that is nothing."""
        return handover.tell(self._counting, now)

    def hear(self, told: Mapping[str, float | str], now: float) -> None:
        """Take over what somebody else found out since anything was found out here. Raises KeyError or ValueError."""
        handover.hear(self._counting, self._probing, told, now)

    def remember(self, wall: float, now: float) -> dict[str, float | str]:
        """What the next run can begin with; `wall` is the time of day at `now`, in seconds since the epoch."""
        return handover.remember(self._counting, wall, now)

    def recall(self, facts: Mapping[str, float | str], wall: float, now: float, *, spending: bool) -> None:
        """Begin with what an earlier run remembered; before anything is taken. Raises ValueError if that is garbled.

        Without `spending`, what that run had just spent is left out: it is known from elsewhere.
        """
        for amount, at in handover.recall(self._counting, facts, wall, now, spending=spending):
            self.restore(amount, at)

    def __repr__(self) -> str:
        kind = f"{self.kind}{'' if self.sure else '?'}"
        return f"<Window {self.limit}: {kind}, {self.belief!r}, {self._counting.mirror!r}>"


def weigh_together(windows: Iterable[Window]) -> None:
    """Let what one of these limits is refused be weighed with what the others were: a gateway counts them alike."""
    windows = tuple(windows)
    refusals, probings = [window._refusals for window in windows], [window._probing for window in windows]
    cases = [one.cases for one in refusals]
    for window in windows:
        window._refusals.together, window._probing.together = refusals, probings
        window._refusals.cases.together = cases


__all__ = ["Kind", "Window", "weigh_together"]
