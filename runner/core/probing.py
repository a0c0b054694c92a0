"""When something is sent that there is no room for, only to learn how the gateway counts: a probe.

When the amount has been spent, a little more is sent, and the answers tell the kinds apart. Later on a bucket is asked
whether it holds more than all of the amount, a calendar where exactly its border lies, and a log whether it is none:
what was read as the oldest spending leaving it may have been a border that happened to lie there. And what was refused
without a word of when there is room again is asked about until that is known (`core.questions`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from runner.core.counting import GRAIN, Counting, Kind
from runner.core.mirrors import Bucket, Calendar, Take
from runner.core.questions import Question

WORTH = 1 / 30
"""Of a window: a shorter wait is not worth a probe."""
ERROR = 0.02
"""Of what is in flight: how wrong the guesses may be on the whole."""
ANSWERED = 2 / 3
"""Of what is in use: while more than this is in flight, too little was answered to know how wrong the guesses are."""
SLOW = 1 / 12
"""Of a window: answers that take longer on average are not waited for."""
LATEST = 1 / 16
"""The weight of an answer's time beside those before it."""
UNSURE = 0.03
"""Of the amount: with more than this still to be counted, the fill is not known well enough for a probe."""
OVERDRAWN = 0.003
"""Of the amount: what is sent above it while nothing is known, so that an answer cannot come from errors of guesses."""
BY_CREDITS = 0.05
"""Of the amount: the same where answers give back what they did not use: that makes room unseen."""
OVERDRAFT = 0.01
"""Of the amount: what is sent above what a bucket could hold, to find out whether it is one."""
MOST_PROBES = 8
"""In flight at once, while nothing is known."""
PRESUMED = 1 / 30
"""Of a window: what has been under way for so long was let in, since a refusal would have been back."""
ROUND_TRIP = 0.3
"""Seconds in which a refusal has surely come back."""
AGAIN = 1 / 8
"""Of a window: the pause after a refused probe that could tell nothing, since answers still gave back."""
FINE = 1 / 100
"""Of a window: borders that are known to this are not looked for any closer."""


class Probing:
    """The probes of one limit."""

    def __init__(self, counting: Counting) -> None:
        self._counting = counting
        self._belief = counting.belief
        self._window = counting.limit.window
        self._gives_back = counting.limit.gives_back
        self.surely = BY_CREDITS if counting.limit.gives_back else OVERDRAWN / 2
        """Of the amount: what a probe must exceed it by, to tell anything when it is let in."""
        self._in_flight = 0
        self._open: deque[Take] = deque()
        """Probes of which nothing has come back, nor was presumed, oldest first."""
        self._has_presumed = False
        self._answers_take = 0.0
        """Seconds."""
        self.last_at = -math.inf
        """When one was last sent."""
        self.together: Sequence[Probing] = ()
        """Those of all limits that the gateway counts in the same way, this one among them."""
        self.bare_at = -math.inf
        """When a refusal last came without a Retry-After."""
        self._question: Question | None = None
        self._rival: tuple[float, float] | None = None
        """A border, and how many seconds before it may be, that would explain as well what was taken for a log."""

    def due(self, amount: int, until: float, now: float) -> float:
        """When to send an amount that there is no room for before `until`; infinity for never."""
        counting, window = self._counting, self._window
        mirror, believed = counting.mirror, self._belief.amount(now)
        rival = self.rival
        if counting.kind is Kind.UNKNOWN or (rival is not None and now > rival[0]):
            return self._knock_at(amount, until, now)
        if isinstance(mirror, Bucket) and not counting.sure:
            few = self._in_flight < 2 * MOST_PROBES and amount - mirror.level(now) <= max(OVERDRAFT * believed, amount)
            return now if few else math.inf
        if counting.kind is Kind.CALENDAR and isinstance(mirror, Calendar):
            # Half-way through what is uncertain of the border, until that tells.
            ends = mirror.start(now) + window
            used = mirror.used(now) - mirror.carried
            told = used > (1 + self.surely) * believed if self._is_bare else self.last_at >= ends - mirror.early
            wanted = mirror.early > window * FINE and used > 0.9 * believed and not told
            if wanted and counting.changed_at < ends - mirror.early:
                return max(now, ends - mirror.early / 2)
        return math.inf

    def _is_little(self, amount: int, used: float, believed: float) -> bool:
        """Whether it is no more above the limit than is needed to learn from it."""
        over = used + amount - believed
        if self._gives_back and self._is_bare:
            return over <= self.surely * believed + 2 * amount
        unsure = ERROR * self._counting.recent.pending if self._has_presumed else 0.0
        return over <= max(OVERDRAWN * believed, amount) + unsure

    def _knock_at(self, amount: int, until: float, now: float) -> float:
        """When to ask the first question: what happens when all of the amount has been spent?"""
        window, believed, used = self._window, self._belief.amount(now), self._counting.mirror.used(now)
        if until - now <= WORTH * window or amount >= believed / 2 or used <= believed / 2:
            return math.inf
        if self._gives_back and not self._is_bare:
            return max(now, self.last_at + max(GRAIN * window, ROUND_TRIP))
        if self._gives_back:
            bare_at = max((probing.bare_at for probing in self.together), default=self.bare_at)
            fresh = now > bare_at + AGAIN * window
        else:
            fresh = now < self.last_at + GRAIN * window
        fresh = fresh or not self._pends(0, now)
        few = self._in_flight < MOST_PROBES and self._is_little(amount, used, believed)
        return now if fresh and few else math.inf

    def send(self, take: Take, now: float) -> None:
        """A take goes out that has no room: a probe, unless all that is in its way is what is left of the amount."""
        question = self.question
        if question is not None:
            question.ask(take, now)
        elif self._counting.kind is Kind.UNKNOWN and take.before + take.amount <= self._belief.amount(now):
            return
        take.probe = True
        self._in_flight += 1
        self._open.append(take)
        self.last_at = now

    def answer(self, take: Take, now: float) -> None:
        """A request has its answer, be it a probe or not."""
        self._answers_take += (now - take.sent - self._answers_take) * LATEST

    def land(self, take: Take) -> None:
        """A probe has its answer, or was refused."""
        if not take.presumed:
            self._in_flight = max(0, self._in_flight - 1)

    @property
    def _is_slow(self) -> bool:
        """Whether answers take so long that what is in flight is taken for let in and counted before.

        Of limits to which answers give back it is not: what is in use is not known well enough then.
        """
        return not self._gives_back and self._answers_take > SLOW * self._window

    @property
    def presumes_at(self) -> float:
        """When the next one will have been let in, if it has not been refused by then; infinity where none is open."""
        while self._open and self._open[0].settled:
            self._open.popleft()
        return self._open[0].sent + PRESUMED * self._window if self._open and self._is_slow else math.inf

    def presume(self) -> Take:
        """That one."""
        take = self._open.popleft()
        take.presumed = self._has_presumed = True
        self._in_flight = max(0, self._in_flight - 1)
        return take

    def refuse(self, take: Take) -> None:
        """A refused take counts as a probe, too, if one was sent soon after: that one may have overtaken it."""
        if not take.probe and take.sent <= self.last_at <= take.sent + GRAIN * self._window:
            take.probe = True
            self._in_flight += 1  # until it lands

    def ask(self, border: float, early: float) -> None:
        """Once that border has passed, it is to be asked whether it was one."""
        self._rival = border, early

    @property
    def rival(self) -> tuple[float, float] | None:
        """What is still to be asked: nothing, once it is sure that it is a log, or that it is none."""
        return self._rival if self._counting.kind is Kind.SLIDING and not self._counting.sure else None

    def answered(self, take: Take) -> bool:
        """Whether a refused one says that there was no border."""
        rival = self.rival
        return rival is not None and take.sent > rival[0]

    @property
    def _is_bare(self) -> bool:
        """Whether the gateway refuses without a Retry-After."""
        return self.bare_at > -math.inf

    def _pends(self, but: int, now: float) -> bool:
        """Whether there is more in flight than that, so that the fill is not known well enough."""
        pending, enough = self._counting.recent.pending - but, UNSURE * self._belief.amount(now)
        if not self._is_slow or pending <= enough or pending > ANSWERED * self._counting.mirror.used(now):
            return pending > enough
        young = self._counting.recent.sent_since(now - PRESUMED * self._window, enough)
        return young + ERROR * max(0, pending - young) > enough

    def _are_to_come(self, but: int, now: float) -> bool:
        """Whether it is in flight for no longer than a window: what hangs gives nothing back."""
        enough = UNSURE * self._belief.amount(now)
        return self._counting.recent.sent_since(now - self._window, but + enough) - but > enough

    # What was refused without a Retry-After.

    @property
    def question(self) -> Question | None:
        """For how long something is refused, while that is not known; nothing else is sent meanwhile."""
        question, counting = self._question, self._counting
        if question is None:
            return None
        if counting.changed_at > question.opened_at or counting.kind is not question.kind:
            self._question = None  # somebody else's answer told it
        return self._question

    def ask_again(self, take: Take, now: float) -> None:
        """That was refused, and it was not said for how long."""
        self.bare_at = now
        if self._gives_back and self._counting.kind is not Kind.BUCKET and take.probe and self._pends(take.held, now):
            return
        self._question = Question(take, self._counting.kind, now)
        self._counting.changed_at, self._counting.cuts = now, False

    def asks_at(self, question: Question, fits_at: float, now: float) -> float:
        """When to send something that tells it; by what is believed there would be room for it at a moment."""
        if fits_at > now:
            question.expected_at = fits_at
        if self._gives_back and self._pends(question.under_way, now) and self._are_to_come(question.under_way, now):
            question.wait(now)  # until answers give nothing back any more
            return now + GRAIN * self._window
        others = (other for probing in self.together if (other := probing.question) is not None)
        return question.next_at(others, self._window)

    def close(self) -> None:
        """It is known now, or nobody will know."""
        self._question = None

    def hear(self, at: float) -> None:
        """Somebody else has sent a probe, at a moment before now."""
        self.last_at = max(self.last_at, at)
