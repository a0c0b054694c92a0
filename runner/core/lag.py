"""How much later than its sending the gateway may have counted a request.

Its windows run by the moment at which it let a request in, which lies somewhere between sending and answer. What an
answer takes beyond what the model needs for so many tokens is time spent waiting: in queues of ours, on the way, in
the gateway's front. One answer may be slow by chance; a queue delays all that come through it alike, so the least
delay of the last few answers is taken for the queue's.
"""

from __future__ import annotations

from collections import deque

MEMORY = 300
"""Replies over which the model's own speed is learned."""
RISE = 0.003
"""Of the distance, with each reply: how fast the shortest overhead is let go of, should the model become slower."""
NEIGHBOURS = 8
"""Replies of which the least delay counts."""
JITTER_SECONDS = 0.05
"""By how much requests may overtake each other on the way."""


def guard(window: float) -> float:
    """How much longer than a window its spending is kept, in seconds: clocks and ways are never quite alike."""
    return JITTER_SECONDS + window / 300


class Lag:
    """One model's speed, learned from its replies: a fixed time and a time for each output token."""

    __slots__ = ("_count", "_floor", "_latency", "_product", "_recent", "_square", "_tokens")

    def __init__(self) -> None:
        self._count = self._tokens = self._latency = self._product = self._square = 0.0
        self._floor: float | None = None
        self._recent: deque[float] = deque(maxlen=NEIGHBOURS)

    def learn(self, latency: float, tokens: int) -> float:
        """Take in a reply; the seconds that it and its neighbours spent waiting, never negative."""
        keep = 1 - 1 / MEMORY
        self._count = self._count * keep + 1
        self._tokens = self._tokens * keep + tokens
        self._latency = self._latency * keep + latency
        self._product = self._product * keep + tokens * latency
        self._square = self._square * keep + tokens * tokens
        overhead = latency - self.seconds_per_token * tokens
        if self._floor is None or overhead < self._floor:
            self._floor = overhead
        else:
            self._floor += (overhead - self._floor) * RISE
        self._recent.append(overhead)
        return max(0.0, min(self._recent) - self._floor)

    @property
    def floor(self) -> float:
        """Seconds that the model needs at least, before it writes; 0 until it has answered."""
        return max(0.0, self._floor or 0.0)

    @property
    def seconds_per_token(self) -> float:
        """The slope of latency over output tokens, by least squares over the last replies; 0 until it can be told."""
        spread = self._count * self._square - self._tokens * self._tokens
        if self._count < 5 or spread <= 0:
            return 0.0
        return max(0.0, (self._count * self._product - self._tokens * self._latency) / spread)
