"""What was taken of one limit in its last two windows.

Another mirror is filled with it when it is found that the gateway counts otherwise than was thought.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from runner.core.mirrors import Take


class Recent:
    """The takes of one limit, oldest first; what is in flight stays until it is settled."""

    __slots__ = ("_kept", "_log", "_span", "is_whole", "pending")

    def __init__(self, window: float, guard: float) -> None:
        """`guard` is the seconds that spending is kept beyond its window."""
        self._log: deque[Take] = deque()
        self._kept = 2 * window
        self._span = window + guard
        self.is_whole = True
        """Whether nothing has been forgotten yet."""
        self.pending = 0
        """What is in flight and may turn out different."""

    def __iter__(self) -> Iterator[Take]:
        return iter(self._log)

    def add(self, take: Take, now: float) -> None:
        """Keep a take, and forget those that are too old to matter."""
        if not take.settled:
            self.pending += take.amount
        log, old = self._log, now - self._kept
        log.append(take)
        while log and log[0].settled and log[0].at < old:
            log.popleft()
            self.is_whole = False

    def sent_since(self, moment: float, enough: float) -> int:
        """What is in flight and was sent after a moment; it is not counted further when it is more than `enough`."""
        found = 0
        for take in reversed(self._log):
            if take.sent < moment or found > enough:
                break
            if not take.settled:
                found += take.amount
        return found

    def is_back_from(self, moment: float) -> bool:
        """Whether anything that was sent from a moment on is back."""
        for take in reversed(self._log):
            if take.sent < moment:
                return False
            if take.settled:
                return True
        return False

    def restore(self, take: Take) -> None:
        """Keep a take of an earlier run, however old it is."""
        self._log.append(take)
        self.is_whole = False

    def land(self, take: Take) -> None:
        """A take is not in flight any more; it still holds its guess."""
        self.pending -= take.amount

    def current(self, now: float, late: float = 0.0) -> list[Take]:
        """Those that a sliding log which counts `late` seconds late holds now; none of them is overdue there."""
        found = []
        for take in self._log:
            if not take.settled or take.at + self._span + late > now:
                take.overdue = False
                found.append(take)
        return found

    def write_off(self, moment: float) -> list[Take]:
        """What was sent before a moment weighs nothing any more; the takes since then."""
        for take in self._log:
            if take.sent < moment and not take.settled:
                self.pending -= take.amount
                take.overdue, take.amount = True, 0
        return [take for take in self._log if take.sent >= moment]
