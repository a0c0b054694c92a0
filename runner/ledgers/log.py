"""A limit that is mirrored as a sliding log, however the gateway counts it; how much of it there is may be learned.

Limits of requests a second are kept like this. Such a window is over before it matters what kind it was, but a gateway
may let in fewer than it states: then most of what is sent is refused, for as long as nobody asks why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from runner.core.belief import BRIM, Belief
from runner.core.limits import Limit
from runner.core.mirrors import SlidingLog, Take

WINNING_BACK = 60.0
"""Its windows, at least, until more is asked for than was let in: each attempt in vain costs a refusal."""


class Log:
    """One such limit."""

    __slots__ = ("_changed_at", "_counts", "_log", "belief", "limit", "share")

    def __init__(self, limit: Limit, guard: float) -> None:
        self.limit = limit
        self.belief = Belief(limit.amount, WINNING_BACK * limit.window)
        self.share = 1.0
        """Of the amount: what may be in use here, where others spend unseen; with 0, one request at a time."""
        self._log = SlidingLog(limit.window + guard)
        self._counts = limit.measure == "requests"
        """Nothing about a number of requests is a guess."""
        self._changed_at = -math.inf
        """When it was last learned that there is less than was believed."""

    def when(self, amount: int, now: float) -> tuple[float, bool]:
        """The moment at which `amount` fits; `now` if it fits already."""
        return self._log.when(amount, self._capacity(now), now), False

    def _capacity(self, now: float) -> float:
        return max(1.0, self.share * self.belief.amount(now))

    def room(self, now: float) -> float:
        """The largest amount that fits now."""
        return self._capacity(now) - self._log.used(now)

    free = room

    def pace(self, _now: float) -> float:
        """It may all be spent at once."""
        return math.inf

    def since(self, now: float) -> float:
        """From when on spending counts."""
        return now - self.limit.window

    def is_probe(self, _amount: int, _now: float) -> bool:
        """Nothing is sent to learn."""
        return False

    def elsewhere(self, amount: int, at: float, now: float) -> Take:
        """Count what somebody else spent at a moment not long before now."""
        take = Take(min(at, now), amount)
        take.settled = True
        self._log.take(take, take.sent)
        return take

    def correct(self, take: Take, amount: int, now: float) -> None:
        """Somebody else spent another amount than was told; nothing if that has left its window."""
        if amount != take.amount and now < take.at + self.limit.window:
            self._log.settle(take, amount, now)
            take.amount = amount

    def take(self, amount: int, now: float) -> Take:
        """Hold an amount from now on."""
        take = Take(now, amount, self._log.used(now))
        take.settled = self._counts
        self._log.take(take, now)
        return take

    def settle(self, take: Take, amount: int, counted_at: float, now: float) -> None:
        """Replace a guess by the truth."""
        take.at = max(take.at, counted_at)
        self._log.settle(take, amount, now)
        take.amount = amount
        take.settled = True

    def restore(self, amount: int, at: float) -> None:
        """Count what was spent at a moment before now."""
        self.settle(self.take(amount, at), amount, at, at)

    def used(self, now: float) -> float:
        """What is in use."""
        return self._log.used(now)

    def accepted(self, take: Take, now: float) -> bool:
        """It teaches nothing."""
        return False

    def presumed(self, now: float) -> bool:
        """Nothing is sent to learn."""
        return False

    def refused(self, take: Take, now: float) -> None:
        """The gateway refused it: what was in use, by this run and those that are seen, is all there is.

        It says nothing while others may use all of it, since they do not know of this run yet.
        """
        if not self.share:
            return
        there = take.before / self.share
        if take.sent <= self._changed_at:
            self.belief.deepen(there)
            return
        self.belief.cut(min(BRIM * self.belief.amount(now), there), now)
        self._changed_at = now

    # What was found out, for others and from them.

    def tell(self, now: float) -> dict[str, float | str] | None:
        """What is known here, for others with the same clock; None while that is nothing."""
        return None if self._changed_at == -math.inf else {"at": self._changed_at, **self.belief.tell()}

    def hear(self, told: Mapping[str, float | str], now: float) -> None:
        """Take over what somebody else found out since anything was found out here. Raises KeyError or ValueError."""
        found_at = min(float(told["at"]), now)
        if found_at > self._changed_at:
            self.belief.hear(told)
            self._changed_at = found_at

    def remember(self, wall: float, now: float) -> dict[str, float | str]:
        """What the next run can begin with; nothing where nothing was ever learned."""
        if self._changed_at == -math.inf:
            return {}
        amount = round(self.belief.amount(now), 1)
        return {"amount": amount, "configured": self.limit.amount, "until": round(wall, 3)}

    def recall(self, facts: Mapping[str, float | str], wall: float, now: float, *, spending: bool) -> None:
        """Begin with what an earlier run remembered. Raises KeyError or ValueError if that is garbled."""
        amount = float(facts["amount"])
        if amount == float(facts["configured"]):
            return  # all of what was configured then says nothing of more
        self.belief.recall(amount, now)
        self._changed_at = now
