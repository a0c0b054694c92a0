"""How much later than its sending the gateway may have counted a request.

Its windows run by the moment at which it let a request in, which lies somewhere between sending and answer. What an
answer takes beyond what the model needs for so many tokens is time spent waiting: in queues of ours, on the way, in
the gateway's front. One answer may be slow by chance; a queue delays all that come through it alike, so the least
delay of the last few answers is taken for the queue's.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from operator import mul

MEMORY = 256
"""Replies over which the model's own speed is learned: should it become slower, that is known after so many."""
FIT = 16
"""Replies after which the speed is reckoned anew; each time for the first of them."""
NEIGHBOURS = 8
"""Replies of which the least delay counts."""
JITTER_SECONDS = 0.05
"""By how much requests may overtake each other on the way."""


def guard(window: float) -> float:
    """How much longer than a window its spending is kept, in seconds: clocks and ways are never quite alike."""
    return JITTER_SECONDS + window / 300


class Lag:
    """One model's speed, learned from its replies: a fixed time and a time for each output token."""

    __slots__ = ("_count", "_replies", "floor", "seconds_per_token")

    def __init__(self) -> None:
        self._replies: deque[tuple[float, int]] = deque(maxlen=MEMORY)
        """Seconds and output tokens of each."""
        self._count = 0
        self.floor = 0.0
        """Seconds that the model needs at least, before it writes; 0 until it has answered."""
        self.seconds_per_token = 0.0
        """The slope of latency over output tokens, by least squares over the last replies; 0 until it can be told."""

    def learn(self, latency: float, tokens: int) -> float:
        """Take in a reply; the seconds that it and its neighbours spent waiting, never negative."""
        replies = self._replies
        replies.append((latency, tokens))
        self._count += 1
        if self._count <= FIT or self._count % FIT == 0:
            self._fit()
        slope = self.seconds_per_token
        latest = min([seconds - slope * output for seconds, output in islice(reversed(replies), NEIGHBOURS)])
        self.floor = max(0.0, min(self.floor, latency - slope * tokens))
        return max(0.0, latest - self.floor)

    def _fit(self) -> None:
        """No reply took less than the slope says that its tokens take, or waiting would be taken for speed."""
        latencies, outputs = zip(*self._replies, strict=True)
        count, tokens = len(outputs), sum(outputs)
        square = sum(map(mul, outputs, outputs))
        spread, slope = count * square - tokens * tokens, 0.0
        if count >= 5 and spread > 0:
            most = min([latency / output for latency, output in self._replies if output])
            product = sum(map(mul, latencies, outputs))
            slope = min(most, max(0.0, (count * product - tokens * sum(latencies)) / spread))
        self.seconds_per_token = slope
        self.floor = min([latency - slope * output for latency, output in self._replies])
