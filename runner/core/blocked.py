"""Models that have no room for anything that waits for them: until when, and what may change that before.

It is found out once, not at every look: until then a model is passed over. Something smaller may arrive for it, a
landing may give some of a limit back, and what is learned of a limit may change everything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from runner.core.limits import Limit
from runner.core.ports import Ledger
from runner.core.values import Charge
from runner.core.work import Task


@dataclass(slots=True)
class Block:
    """What one model waits for."""

    until: float = math.inf
    limits: set[Limit] = field(default_factory=set)
    """Those that have no room."""
    first: list[Task] = field(default_factory=list)
    """The tasks that will fit first."""


class Blocked:
    """The models that are blocked."""

    def __init__(self, ledger: Ledger, charge: Callable[[Task, str], Charge]) -> None:
        self._ledger = ledger
        self._charge = charge
        self._blocks: dict[str, Block] = {}

    def __setitem__(self, model: str, block: Block) -> None:
        self._blocks[model] = block

    def __bool__(self) -> bool:
        return bool(self._blocks)

    def get(self, model: str) -> Block | None:
        """What a model waits for, if it is blocked."""
        return self._blocks.get(model)

    def __contains__(self, model: str) -> bool:
        return model in self._blocks

    def expire(self, now: float) -> None:
        """Forget those whose time is up."""
        for model in [model for model, block in self._blocks.items() if block.until <= now]:
            del self._blocks[model]

    def lift(self, models: Iterable[str]) -> None:
        """Something arrived for these models: it may fit."""
        if self._blocks:
            for model in models:
                self._blocks.pop(model, None)

    def clear(self) -> None:
        """Something was learned: any may have room."""
        self._blocks.clear()

    def freed(self, limits: set[Limit], now: float) -> None:
        """Some of these limits has come back."""
        for model, block in tuple(self._blocks.items()) if limits else ():
            if not limits.isdisjoint(block.limits):
                self._look_again(model, block, now)

    def _look_again(self, model: str, block: Block, now: float) -> None:
        refusals = [self._ledger.refusal(model, self._charge(task, model), now) for task in block.first]
        if None in refusals:
            del self._blocks[model]
            return
        known = [refusal for refusal in refusals if refusal is not None]
        block.until = min(refusal.until for refusal in known)
        block.limits |= {refusal.limit for refusal in known}
