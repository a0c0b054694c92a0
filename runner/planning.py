"""What a run would take: the same scheduler, driven in virtual time against a gateway that does as it says.

Nothing is sent. Every answer is taken to be as long as the cap allows, which is the worst that can be paid; latencies
are assumed.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from runner.core.caps import cost
from runner.core.catalog import Model
from runner.core.forecast import Bound, least_time
from runner.core.limits import ALL, Budget, Limits
from runner.core.schedule import Ask, Done, Finished, Scheduler, Task
from runner.core.values import Charge, Outcome, Reply, Usage
from runner.core.waiting import Waiting

AHEAD = 4096


@dataclass(slots=True)
class Plan:
    """What a run would do."""

    tasks: int = 0
    never: int = 0
    """Tasks that end before anything can be sent."""
    seconds: float = 0.0
    bound: Bound = field(default_factory=lambda: Bound(0.0, None, 0.0))
    input_tokens: Counter[str] = field(default_factory=Counter)
    output_tokens: Counter[str] = field(default_factory=Counter)
    """By model, at most: every answer as long as its cap."""
    cost: dict[str, float] = field(default_factory=dict)
    unpriced: list[str] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    waits: Mapping[str, float] = field(default_factory=dict)
    """All the seconds, by what is waited for."""
    models_for_combined: int | None = None
    """How many models it takes until the combined limit binds."""
    stopped: str | None = None
    """The cap that would stop the run, if one would."""


def simulate(
    scheduler: Scheduler,
    tasks: Iterator[Task | Finished],
    models: Mapping[str, Model],
    budgets: Mapping[str, Budget],
    limits: Limits,
    latency: float,
    tokens_per_second: float,
) -> Plan:
    """Drive a fresh scheduler to its end. `latency` is seconds to the first token, after which tokens stream."""
    plan = Plan()
    now = 0.0
    waiting = Waiting(now)
    landings: list[tuple[float, int, Ask]] = []
    pinned: dict[str, Charge] = {}
    pooled = Charge(0, 0, 0)
    number = 0
    more = True
    while True:
        while more and scheduler.queued < AHEAD:
            task = next(tasks, None)
            if task is None:
                more = False
                scheduler.close()
            elif isinstance(task, Finished):
                plan.never += 1
            else:
                plan.tasks += 1
                scheduler.offer(task)
        decision = scheduler.next(now)
        if isinstance(decision, Done):
            break
        if isinstance(decision, Ask):
            waiting.sending()
            number += 1
            charge = decision.lease.charge
            heapq.heappush(landings, (now + latency + charge.output / tokens_per_second, number, decision))
            _note(plan, decision, models)
            if len(decision.task.models) == 1:
                pinned[decision.model] = pinned.get(decision.model, Charge(0, 0, 0)) + charge
            else:
                pooled += charge
            continue
        lands = landings[0][0] if landings else math.inf
        until = min(decision.until, lands)
        if until == math.inf:
            raise RuntimeError("the scheduler waits for nothing")
        waiting.rest(now, scheduler.waiting_for, decision.until)
        now = max(now, until)
        waiting.wake(now)
        while landings and landings[0][0] <= now:
            _, _, ask = heapq.heappop(landings)
            scheduler.landed(ask, _reply(ask.lease.charge), now)
    plan.seconds = now
    plan.waits = waiting.split(now)
    plan.stopped = scheduler.stopped if isinstance(scheduler.stopped, str) else None
    plan.bound = least_time(pinned, pooled, budgets)
    plan.models_for_combined = _models_for_combined(limits)
    plan.unpriced = [name for name in plan.requests if models[name].price is None]
    return plan


def _note(plan: Plan, ask: Ask, models: Mapping[str, Model]) -> None:
    charge, model = ask.lease.charge, ask.model
    plan.requests[model] += 1
    plan.input_tokens[model] += charge.input
    plan.output_tokens[model] += charge.output
    usage = Usage(input=charge.input, output=charge.output)
    plan.cost[model] = plan.cost.get(model, 0.0) + cost(models[model].price, usage)


def _reply(charge: Charge) -> Reply:
    usage = Usage(input=charge.input, output=charge.output)
    return Reply(text="", outcome=Outcome.OK, finish_reason="stop", usage=usage)


def _models_for_combined(limits: Limits) -> int | None:
    combined, one = limits.combined.input_tokens, limits.per_model.input_tokens
    return None if combined is None or one is None else math.ceil(combined / one)


__all__ = ["ALL", "Plan", "simulate"]
