"""The refusals of one limit that are kept, and what explains them together with those of the limits beside it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence

from runner.core.counting import GRAIN, WHOLE_SECOND, Counting, Kind
from runner.core.evidence import Evidence, Refusal
from runner.core.explanations import Explanation, explanations
from runner.core.mirrors import Calendar, Take

MOST_EVIDENCE = 12
"""Refusals that are kept as evidence."""
AT_ONCE = 3
"""The most of them that may come from one moment."""
REMEMBERED = 2
"""Windows after which they say nothing any more."""


class Casebook:
    """What one limit refused lately."""

    def __init__(self, counting: Counting) -> None:
        self._counting = counting
        self._window = counting.limit.window
        self.together: Sequence[Casebook] = ()
        """Those of all limits that the gateway counts in the same way, this one among them."""
        self._kept: deque[Refusal] = deque(maxlen=MOST_EVIDENCE)
        self._seen: Evidence | None = None
        """All that told something when an explanation was last looked for."""
        self._lowered_at = -math.inf
        """When the limit was last thought to have been lowered: what was before says nothing any more."""

    def __bool__(self) -> bool:
        return bool(self._kept)

    @property
    def last(self) -> Refusal:
        """The last one that is kept."""
        return self._kept[-1]

    @property
    def first(self) -> Refusal:
        """The first of those that an explanation was last looked for."""
        return self.last if self._seen is None else self._seen.refusals[0]

    def timed(self, take: Take, retry_after: float, now: float) -> Refusal | None:
        """What a Retry-After says; None where it speaks of something else, or of a time that is forgotten."""
        if retry_after > self._window * (1 + 2 * GRAIN) or take.sent < now - self._window:
            return None
        grain = WHOLE_SECOND if retry_after.is_integer() else min(WHOLE_SECOND, GRAIN * self._window)
        return Refusal(take.counted_from, now, take.held, retry_after, grain)

    def keep(self, refusal: Refusal) -> bool:
        """Keep it as evidence, unless enough others of the same moment are kept."""
        room = sum(kept.sent > refusal.sent - GRAIN * self._window for kept in self._kept) < AT_ONCE
        if room:
            self._kept.append(refusal)
        return room

    def lowered(self) -> None:
        """Nothing explains the last one but that the limit was lowered before it."""
        self._lowered_at = self.last.sent

    def explanations(self, now: float, charged: Iterable[Take] = ()) -> list[Explanation]:
        """What explains the evidence, where what was `charged` was counted besides what was let in; the best first."""
        counting, belief, mirror = self._counting, self._counting.belief, self._counting.mirror
        since = max(now - REMEMBERED * self._window, self._lowered_at)
        refusals = [refusal for refusal in self._kept if refusal.sent >= since]
        if not refusals:
            return []
        # Everything that was spent is still to be seen, of a limit that is as it was.
        is_early = counting.recent.is_whole and self._lowered_at == -math.inf
        evidence = Evidence(
            (*counting.recent, *charged),
            refusals,
            counting.limit.amount if is_early else belief.amount(now),
            self._window,
            since=self._lowered_at,
            gives_back=counting.limit.gives_back,
            shaken=belief.is_shaken and not is_early,
            lowers=counting.kind is not Kind.UNKNOWN,
        )
        if not charged:
            self._seen = evidence
        others = (other for other in self.together if other is not self)
        beside = [seen for other in others if (seen := other._still_true(now)) is not None]
        known = (mirror.border, mirror.early) if isinstance(mirror, Calendar) else None
        return explanations(evidence, beside, known=known)

    def _still_true(self, now: float) -> Evidence | None:
        """What was seen, unless it is forgotten or the limit has been lowered since."""
        seen, oldest = self._seen, now - REMEMBERED * self._window
        if seen is None or seen.refusals[-1].sent < oldest or seen.refusals[0].sent < self._lowered_at:
            return None
        return seen
