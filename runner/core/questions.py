"""What a gateway refused without saying for how long: it is asked again until it answers.

One request at a time goes out then, soon at first and later at longer intervals, besides those for which answers have
made room meanwhile. Once as much has been let in as was refused, more room must have come back: that says what a
Retry-After would have said, only less finely.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from runner.core.counting import Kind
from runner.core.mirrors import Take

SOONEST = 1 / 60
"""Of a window: the shortest time from one request to the next."""
PART = 1 / 4
"""Of the time since the refusal: how long it is until the next one."""
LONGEST = 1.1
"""Windows in which room comes back, if it does at all."""


class Question:
    """For how long is this refused?"""

    def __init__(self, take: Take, kind: Kind, now: float) -> None:
        """The `take` was refused, by a limit that is believed to be of that kind; it was heard just now."""
        self.opened_at = self.asked_at = now
        self.kind = kind
        self.probe = take.probe
        self.expected_at = math.inf
        """When there would be room by what is believed."""
        self._asked: list[Take] = []
        self._begin(take, now)

    def _begin(self, take: Take, now: float) -> None:
        self.sent, self.back, self.before, self.amount = take.sent, now, take.before, take.held
        """The first that was refused, and the least of them."""
        self._since = take.sent
        self._count_anew(take)

    def _count_anew(self, refused: Take) -> None:
        self.refused_at = refused.sent
        """When the last was sent that was refused."""
        self.most = refused.held / 2
        """What is sent is no larger, where there is something else: it fits sooner."""
        self._sent = self._let_in = self._given_back = 0

    def ask(self, take: Take, now: float) -> None:
        """That is sent."""
        self.asked_at = now
        self._sent += take.held
        self._asked = [*(asked for asked in self._asked if not asked.settled), take]

    @property
    def under_way(self) -> int:
        """What was sent to ask and is not answered."""
        return sum(take.amount for take in self._asked if not take.settled)

    def refuse(self, take: Take, now: float) -> None:
        """That was refused, too; if anything had been let in before, it all begins again."""
        if take.sent <= self.refused_at:
            return
        if self._let_in:
            self._begin(take, now)
        else:
            self.amount = min(self.amount, take.held)
            self._count_anew(take)

    def fail(self, take: Take) -> None:
        """One that asked came to nothing, for another reason: it told nothing."""
        if take in self._asked and self.was_asked_by(take):
            self._sent -= take.held

    def give_back(self, amount: int) -> None:
        """An answer has not used so much of what was counted for it."""
        self._given_back += amount

    def was_asked_by(self, take: Take) -> bool:
        """Whether it was sent since the last that was refused, so that its answer tells something."""
        return take.sent > max(self.refused_at, self.opened_at)

    def let_in(self, take: Take) -> bool:
        """One that asked was let in: whether it is known now when more room had come back."""
        self._let_in += take.held
        return self._let_in >= self.amount + self._given_back

    def wait(self, now: float) -> None:
        """Nothing that could be sent now would tell anything."""
        self._since = self.asked_at = now

    def next_at(self, beside: Iterable[Question], window: float) -> float:
        """When to send more.

        Others that the gateway counts alike are `beside` it, and take turns with it.
        """
        left = self._given_back - self._sent
        if left >= self.amount or (self._let_in and left > -self.amount):
            return self.asked_at
        turns = [question for question in beside if question.opened_at < self.opened_at]
        last = max((question.asked_at for question in turns), default=self.asked_at)
        last = max(last, self.asked_at)
        gone = min(last - self._since, window)
        due = last + max(SOONEST * window, PART * gone) + len(turns) * SOONEST / 2 * window
        return min(due, self.expected_at) if self.expected_at > self.asked_at else due

    def is_hopeless(self, window: float) -> bool:
        """Whether there should have been room long ago."""
        return self.refused_at > self.sent + LONGEST * window
