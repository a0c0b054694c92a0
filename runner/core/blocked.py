"""Models that have no room for anything that waits for them: until when, and what may change that before.

It is found out once, not at every look: until then a model is passed over. Something smaller may arrive for it, a
landing may give some of a limit back, and what is learned of a limit may change everything. And what one model has
found out of a limit that it shares is not asked again by the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from runner.core.limits import Budget, Limit
from runner.core.ports import Ledger, Refusal
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

    def add(self, task: Task, refusal: Refusal) -> None:
        """One of these tasks was refused."""
        self.until = min(self.until, refusal.until)
        self.limits.add(refusal.limit)
        self.first.append(task)


@dataclass(slots=True)
class Full:
    """A limit that has no room for so much, nor for more."""

    limit: Limit
    models: tuple[str, ...]
    """Those that share it."""
    least: int
    """What was refused."""
    refusal: Refusal


class Blocked:
    """The models that are blocked."""

    def __init__(self, budgets: Mapping[str, Budget], ledger: Ledger, charge: Callable[[Task, str], Charge]) -> None:
        self._ledger = ledger
        self._charge = charge
        self._blocks: dict[str, Block] = {}
        self.full: dict[Limit, Full] = {}
        """Limits of several models, as far as it is known that they have no room."""
        self._models: dict[Limit, tuple[str, ...]] = {}
        for model, budget in budgets.items():
            for limit in budget:
                self._models[limit] = (*self._models.get(limit, ()), model)

    def __setitem__(self, model: str, block: Block) -> None:
        self._blocks[model] = block

    def __bool__(self) -> bool:
        return bool(self._blocks or self.full)

    def get(self, model: str) -> Block | None:
        """What a model waits for, if it is blocked."""
        return self._blocks.get(model)

    def models(self, limit: Limit) -> tuple[str, ...]:
        """Those that a limit binds."""
        return self._models[limit]

    def __contains__(self, model: str) -> bool:
        return model in self._blocks

    def expire(self, now: float) -> None:
        """Forget what holds no longer."""
        for model in [model for model, block in self._blocks.items() if block.until <= now]:
            del self._blocks[model]
        for limit in [limit for limit, full in self.full.items() if full.refusal.until <= now]:
            del self.full[limit]

    def lift(self, models: Iterable[str]) -> None:
        """Something arrived for these models: it may fit."""
        if self._blocks:
            for model in models:
                self._blocks.pop(model, None)

    def clear(self) -> None:
        """Something was learned: any may have room."""
        self._blocks.clear()
        self.full.clear()

    def freed(self, limits: Sequence[Limit], now: float) -> None:
        """Some of these limits has come back."""
        for limit in limits:
            self.full.pop(limit, None)
        for limit in limits:
            for model in self._models[limit]:
                block = self._blocks.get(model)
                if block is not None and limit in block.limits:
                    self._look_again(model, block, now)

    def _look_again(self, model: str, block: Block, now: float) -> None:
        found = Block()
        for task in block.first:
            refusal = self.refusal(model, self._charge(task, model), now)
            if refusal is None:
                del self._blocks[model]
                return
            found.add(task, refusal)
        block.until = min(block.until, found.until)  # it may be for more than these tasks
        block.limits |= found.limits

    def refusal(self, model: str, charge: Charge, now: float) -> Refusal | None:
        """Why a charge may not be taken; None if it may be."""
        refusal = self.known_refusal(model, charge)
        if refusal is not None:
            return refusal
        refusal = self._ledger.refusal(model, charge, now)
        if refusal is not None and refusal.any_larger and len(models := self._models[refusal.limit]) > 1:
            least = 1 if refusal.any_size else refusal.limit.of(charge)
            self.full[refusal.limit] = Full(refusal.limit, models, least, refusal)
        return refusal

    def known_refusal(self, model: str, charge: Charge) -> Refusal | None:
        """The same, if it is known of a limit that others share."""
        for full in self.full.values():
            if model in full.models and full.limit.of(charge) >= full.least:
                return full.refusal
        return None
