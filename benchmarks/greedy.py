"""One who knows everything: it asks the gateway's own judge before it sends, so nothing of it is ever refused.

It has no doubts and no way to go, and sends whatever fits as soon as it fits, as many requests a second as are stated;
only to begin with it spends each limit as slowly as one does who has to wait for what is refused
(`runner.core.pacing`). What it cannot avoid, the least possible time (least.py) leaves out: answers hold their whole
cap until they are complete, the largest rows wait for room, and no limit is spent in the moment before a border.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from itertools import count, islice
from typing import TYPE_CHECKING

from runner.core.estimate import Estimator
from runner.core.pacing import RUSH, SLACK, first_rush
from runner.core.work import Task
from runner.simulator import judge

if TYPE_CHECKING:
    from virtual import World

TRIED = 8
"""Rows that are tried before it waits: a smaller one may fit where a larger one does not."""
LOOK_AGAIN = 1.0
"""Seconds after which it tries once more at the latest: limits may change."""


class Greedy:
    """Its run over the rows of a world, which must not have been used before."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._estimator = Estimator(world.models.values())
        self._lines: dict[tuple[str, ...], deque[tuple[Task, int]]] = {}
        """Rows and the lengths of their answers, for each pool of models."""
        self._flights: list[tuple[float, int, list[judge.Taken], int]] = []
        self._numbers = count()
        self._opens: dict[str, float] = {}
        """When each limit may be spent from next."""
        self._sent = {
            limit.scope: deque([-math.inf] * limit.amount, maxlen=limit.amount)
            for budget in world.limits.budgets(world.models.values()).values()
            for limit in budget
            if limit.measure == "requests"
        }
        """When each model was last sent as many requests as it may be in a second."""
        self._full: set[str] = set()
        """Limits that have once had no room."""
        for task, length in world.tasks():
            self._lines.setdefault(task.models, deque()).append((task, length))

    def seconds(self) -> float:
        """How long it takes, all answers included."""
        now, flights = 0.0, self._flights
        while flights or any(self._lines.values()):
            again = min((self._send(line, now) for line in self._lines.values() if line), default=math.inf)
            waits = min(again, now + LOOK_AGAIN) if any(self._lines.values()) else math.inf
            now = min(waits, flights[0][0]) if flights else waits
            while flights and flights[0][0] <= now:
                at, _, taken, output = heapq.heappop(flights)
                judge.settle(at, taken, output)
        return now

    def _send(self, line: deque[tuple[Task, int]], now: float) -> float:
        """Send what fits now; the moment at which more may fit."""
        for begin, end in self.world.scenario.gateway.outages:
            if begin <= now < end:
                return end
        while True:
            waits = []
            for place, (task, length) in enumerate(islice(line, TRIED)):
                taken, wait = self._admit(task, now)
                if taken is not None:
                    self._fly(taken, length, now)
                    del line[place]
                    break
                waits.append(wait)
            else:
                return now + min(waits, default=math.inf)

    def _admit(self, task: Task, now: float) -> tuple[list[judge.Taken] | None, float]:
        """What the first of a task's models takes of it, or the seconds until one may."""
        world, wait = self.world, math.inf
        for name in task.models:
            tokens = max(1, round(self._estimator.guess(task.size, name) * world.scenario.truth))
            wanted = world.account.wanted(now, world.models[name], tokens, world.scenario.cap)
            opens = max(self._opens.get(one.limit.name, now) for one in wanted)
            opens = max(opens, self._sent[name][0] + 1.0)
            if opens > now:
                wait = min(wait, opens - now)
                continue
            admitted = judge.admit(now, wanted)
            if not isinstance(admitted, judge.Refused):
                self._pause(wanted, now)
                self._sent[name].append(now)
                return admitted, 0.0
            self._full.add(admitted.limit.name)
            wait = min(wait, math.inf if admitted.wait is None else max(admitted.wait, 1e-6))
        return None, wait

    def _pause(self, wanted: list[judge.Wanted], now: float) -> None:
        for one in wanted:
            window, amount = one.limit.window, one.certain + one.reserved
            rush = RUSH if one.limit.name in self._full else first_rush(window.used(now) / window.limit)
            fastest = rush * window.limit / window.seconds
            self._opens[one.limit.name] = now + min(amount / fastest, SLACK * window.seconds)

    def _fly(self, taken: list[judge.Taken], length: int, now: float) -> None:
        scenario, chance = self.world.scenario, self.world.chance
        output = min(scenario.cap, length)
        service = chance.lognormvariate(math.log(scenario.latency), 0.3) + output / scenario.tokens_per_second
        heapq.heappush(self._flights, (now + service, next(self._numbers), taken, output))
