"""What a run really took: a log of each limit, and the highest usage found by reading that log afterwards.

The log knows nothing of the windows that admitted or refused. So a fault of theirs shows: `peak` is counted again,
by the rule of the window's kind, from what was written down.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from runner.simulator.window import Kind, Shape


class Log:
    """Everything that happened to one limit: amounts taken, parts given back, requests refused."""

    def __init__(self) -> None:
        self.admitted = 0
        self.refused = 0
        self.tokens = 0.0
        """What was taken less what was given back."""
        self._at = array("d")
        self._taken_at = array("d")
        self._amount = array("d")

    def take(self, now: float, amount: float) -> None:
        """An admitted request took this much."""
        self.admitted += 1
        self._write(now, now, amount)

    def give_back(self, now: float, taken_at: float, amount: float) -> None:
        """Part of what was taken at `taken_at` was not needed."""
        if amount:
            self._write(now, taken_at, -amount)

    def _write(self, now: float, taken_at: float, amount: float) -> None:
        self.tokens += amount
        self._at.append(now)
        self._taken_at.append(taken_at)
        self._amount.append(amount)

    def __iter__(self) -> Iterator[tuple[float, float, float]]:
        """(when, the moment that it is counted at, amount), in the order it happened."""
        return zip(self._at, self._taken_at, self._amount, strict=True)

    def series(self, every: float) -> list[float]:
        """What was taken less what was given back, counted when it was taken, in each `every` seconds from 0 on."""
        sums: list[float] = []
        for _, taken_at, amount in self:
            index = int(taken_at // every)
            sums.extend([0.0] * (index + 1 - len(sums)))
            sums[index] += amount
        return sums

    def report(self, shape: Shape, limit: float) -> dict[str, Any]:
        """This limit, in a few numbers."""
        return {
            "limit": limit,
            "window": shape.kind,
            "window_seconds": shape.seconds,
            "phase": shape.phase,
            "burst": shape.burst,
            "peak": round(PEAKS[shape.kind](self, shape), 3),
            "admitted": self.admitted,
            "refused": self.refused,
            "tokens": self.tokens,
        }


def peak_fixed(log: Log, shape: Shape) -> float:
    """The most that was in force in one calendar window."""
    peak = used = 0.0
    window = -math.inf
    for at, taken_at, amount in log:
        current = math.floor((at - shape.phase) / shape.seconds)
        if current != window:
            window, used = current, 0.0
        if math.floor((taken_at - shape.phase) / shape.seconds) == window:
            used += amount
        peak = max(peak, used)
    return peak


def peak_sliding(log: Log, shape: Shape) -> float:
    """The most that was in force in any stretch of a window's length."""
    peak = used = 0.0
    amounts: dict[float, float] = {}
    moments: deque[float] = deque()
    for at, taken_at, amount in log:
        while moments and moments[0] + shape.seconds <= at:
            used -= amounts.pop(moments.popleft())
        if taken_at + shape.seconds <= at:
            continue  # Given back after it had run out.
        if taken_at not in amounts:
            moments.append(taken_at)
        amounts[taken_at] = amounts.get(taken_at, 0.0) + amount
        used += amount
        peak = max(peak, used)
    return peak


def peak_counter(log: Log, shape: Shape) -> float:
    """The highest estimate that a sliding counter came to."""
    peak = 0.0
    sums: dict[int, float] = {}
    for at, taken_at, amount in log:
        own = math.floor((taken_at - shape.phase) / shape.seconds)
        sums[own] = sums.get(own, 0.0) + amount
        window = math.floor((at - shape.phase) / shape.seconds)
        into = (at - shape.phase) / shape.seconds - window
        peak = max(peak, sums.get(window - 1, 0.0) * (1 - into) + sums.get(window, 0.0))
    return peak


def peak_bucket(log: Log, shape: Shape) -> float:
    """The most that left a bucket in any stretch of a window's length, less what was poured back in it.

    That is at most what it holds and one refill, whenever what comes back was taken.
    """
    peak = left = 0.0
    recent: deque[tuple[float, float]] = deque()
    for at, _, amount in log:
        while recent and recent[0][0] + shape.seconds <= at:
            left -= recent.popleft()[1]
        recent.append((at, amount))
        left += amount
        peak = max(peak, left)
    return peak


PEAKS: Mapping[Kind, Callable[[Log, Shape], float]] = {
    "fixed": peak_fixed,
    "sliding": peak_sliding,
    "counter": peak_counter,
    "bucket": peak_bucket,
}
"""The highest usage by the rule of each kind."""
