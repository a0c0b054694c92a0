"""How many requests may be under way at once.

A token budget does not need this; a queue does. When requests go out faster than they are taken in, by our own
processor, the network or the gateway's front, they wait in a queue that makes nothing faster, and that blurs when the
gateway counts them. As in TCP Vegas (Brakmo and Peterson 1995), the number under way shrinks while answers show a
queue, and grows while they do not and it was used. Slow models are no queue: `lag` tells the two apart.
"""

from __future__ import annotations

START = 1000
LEAST = 16
TOLERANCE = 0.5
"""Of the model's own time: waiting up to this is no queue."""


class Congestion:
    """The number of requests that may be under way, corrected once for each round of answers."""

    __slots__ = ("_left", "_most", "_queued", "allowed", "used")

    def __init__(self, most: int) -> None:
        self._most = most
        self.allowed = min(START, most)
        self.used = False
        """Whether the number was ever reached in this round."""
        self._left = self._round
        self._queued = 0.0

    def answered(self, waited: float, own: float) -> None:
        """Take in an answer that waited so long, from a model that itself needs at least `own` seconds."""
        self._queued += max(0.0, waited - TOLERANCE * own) / (own + waited) if own + waited > 0 else 0.0
        self._left -= 1
        if self._left > 0:
            return
        share = self._queued / max(1, self._round)
        if share > 0.1:
            self.allowed = min(self._most, max(LEAST, int(self.allowed * max(0.5, 1 - share))))
        elif self.used:
            self.allowed = min(self._most, self.allowed * 2)
        self._left, self._queued, self.used = self._round, 0.0, False

    @property
    def _round(self) -> int:
        return min(self.allowed, 200)
