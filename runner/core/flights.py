"""Requests under way, and whether there may be one more."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable

from runner.core.congestion import Congestion
from runner.core.errors import BrokenInvariant
from runner.core.work import Ask


class Flights:
    """The asks that have not landed."""

    def __init__(self, models: Iterable[str], most: int, canary: float, window: float) -> None:
        """For the first `canary` seconds, or until it lands, the first is alone; never are there more than `most`."""
        self.most = most
        self.congestion = Congestion(most, window)
        self.of_model = dict.fromkeys(models, 0)
        """How many each model has."""
        self.alone_until = math.inf if canary else -math.inf
        self._canary = canary
        self._asks: dict[Ask, None] = {}

    @property
    def asks(self) -> Collection[Ask]:
        """All of them, the oldest first."""
        return self._asks.keys()

    def __len__(self) -> int:
        return len(self._asks)

    def add(self, ask: Ask) -> None:
        """One goes out."""
        self._asks[ask] = None
        self.of_model[ask.model] += 1
        self.alone_until = min(self.alone_until, ask.at + self._canary)

    def land(self, ask: Ask) -> None:
        """One has come back; raises BrokenInvariant if it is not under way."""
        if ask not in self._asks:
            raise BrokenInvariant(f"{ask.task} landed twice.")
        del self._asks[ask]
        self.of_model[ask.model] -= 1
        self.alone_until = -math.inf

    def full_until(self, now: float) -> float:
        """Until when there may be no more, if nothing lands before; `now` if there may be."""
        if self._asks and now < self.alone_until:
            return self.alone_until
        return self.congestion.full_until(len(self._asks), now)
