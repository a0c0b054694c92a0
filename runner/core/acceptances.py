"""What it teaches of a limit that a request was let in.

A probe that is let in speaks of a bucket, which has refilled meanwhile, until what it can hold is exceeded: then a
border has passed. More than a sliding counter would let through after a border confirms a calendar.
"""

from __future__ import annotations

import math

from runner.core.counting import Counting, Kind
from runner.core.mirrors import Bucket, Calendar, Take
from runner.core.probing import ERROR, OVERDRAFT, Probing

TRANSIT = 1 / 200
"""Of a window: the time after its sending at which a request is let in, at the latest."""


class Acceptances:
    """What one limit let in, against what is believed of it."""

    def __init__(self, counting: Counting, probing: Probing) -> None:
        self._counting = counting
        self._probing = probing
        self._window = counting.limit.window
        self._passed_at = -math.inf
        """When a border was last found to have passed unseen."""

    def learn(self, take: Take, now: float) -> bool:
        """The gateway let it in; before it is settled. Whether that told how the gateway counts, or left it open."""
        counting = self._counting
        if take.sent < counting.changed_at:
            return False
        belief = counting.belief
        belief.proven = max(belief.proven, take.before + take.amount)
        kind, sure, mirror, believed = counting.kind, counting.sure, counting.mirror, belief.amount(now)
        if isinstance(mirror, Bucket) and not sure:
            if take.before + take.amount - mirror.burst > OVERDRAFT * 2 / 3 * believed:
                self._border_passed(take, now)
        elif isinstance(mirror, Calendar) and not sure and mirror.start(take.sent) > counting.found_at:
            since = take.sent + TRANSIT * self._window - mirror.start(take.sent) + mirror.early
            counting.sure = take.before > 1.5 * since * believed / self._window + take.amount
        elif take.probe and kind is Kind.UNKNOWN:
            if self._exceeds(take, believed):
                counting.become_full_bucket(now)
        elif take.probe and (rival := self._probing.rival) is not None:
            if self._exceeds(take, believed):
                counting.become_calendar(*rival, now)
        elif take.probe and isinstance(mirror, Calendar) and self._is_before_border(take, mirror, believed):
            self._begins_before(mirror, now)
        return counting.kind is not kind or counting.sure is not sure or (take.probe and kind is Kind.UNKNOWN)

    def _exceeds(self, take: Take, believed: float) -> bool:
        """Whether a take cannot have found room by an error of guesses, or in what answers gave back meanwhile."""
        pending = self._counting.recent.pending
        return take.before + take.amount > (1 + self._probing.surely) * believed + ERROR * pending

    def _is_before_border(self, take: Take, mirror: Calendar, believed: float) -> bool:
        """Whether a take that was sent before a calendar's border, as far as that was known, was counted after it."""
        return self._counting.kind is Kind.CALENDAR and self._exceeds(take, believed + mirror.carried)

    def _border_passed(self, take: Take, now: float) -> None:
        """More was let in than a bucket could hold: a calendar window began unseen, or the limit is really higher."""
        counting = self._counting
        if now - self._passed_at < 2 * self._window:
            counting.become_sliding(now)
            return
        self._passed_at = now
        counting.become(Kind.UNKNOWN, counting.log(counting.recent.write_off(take.sent)), now)

    def _begins_before(self, mirror: Calendar, now: float) -> None:
        """A probe before the border was let in: the border lies before its answer."""
        late = mirror.start(now) + self._window - now if now > mirror.start(now) + self._window / 2 else 0.0
        shift = min(mirror.early, late)
        self._counting.become_calendar(mirror.border - shift, max(0.0, mirror.early - shift), now)
