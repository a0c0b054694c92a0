"""When the gateway counted a request, at the latest.

Its windows run by the moment at which it let a request in, which lies somewhere between sending and answer. What an
answer took beyond what the model needs for so many tokens may have been spent before that moment: in queues of ours,
on the way, in the gateway's front. Spending is therefore dated that much later than the sending.
"""

from __future__ import annotations

MEMORY = 300
"""Replies over which the model's own speed is learned."""
RISE = 0.01
"""Of the distance, with each reply: how fast the shortest overhead seen is let go of, should the model become slower."""


class Lag:
    """One model's speed, learned from its replies: a fixed time and a time for each output token."""

    __slots__ = ("_count", "_floor", "_latency", "_product", "_square", "_tokens")

    def __init__(self) -> None:
        self._count = self._tokens = self._latency = self._product = self._square = 0.0
        self._floor: float | None = None

    def learn(self, latency: float, tokens: int) -> float:
        """Take in a reply; seconds of it that the model itself cannot account for, never negative."""
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
        return max(0.0, overhead - self._floor)

    @property
    def seconds_per_token(self) -> float:
        """The slope of latency over output tokens, by least squares over the last replies; 0 until it can be told."""
        spread = self._count * self._square - self._tokens * self._tokens
        if self._count < 5 or spread <= 0:
            return 0.0
        return max(0.0, (self._count * self._product - self._tokens * self._latency) / spread)
