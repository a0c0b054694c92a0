"""What a run would take: the same scheduler, driven in virtual time against a gateway that does as it says.

Nothing is sent. How long answers are is taken from earlier runs of the same job, where there were any; else every
answer is taken to be as long as its cap allows, or as somebody said. Latencies are assumed.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from runner.core.caps import cost
from runner.core.catalog import Model
from runner.core.charges import Charges
from runner.core.forecast import Bound, least_time
from runner.core.lengths import MEMORY
from runner.core.limits import ALL, Budget, Limits
from runner.core.schedule import Scheduler
from runner.core.values import Charge, Outcome, Reply, Usage
from runner.core.waiting import Waiting
from runner.core.work import Ask, Done, Finished, Task

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
    """By model."""
    answers: str = "as long as their caps"
    """How long answers were taken to be, in words."""
    cost: dict[str, float] = field(default_factory=dict)
    unpriced: list[str] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    waits: Mapping[str, float] = field(default_factory=dict)
    """All the seconds, by what is waited for."""
    models_for_combined: int | None = None
    """How many models it takes until the combined limit binds."""
    stopped: str | None = None
    """The cap that would stop the run, if one would."""


ASSUMED = 500
"""Tokens that an answer is taken to have where nothing bounds it and nothing is known of it."""
GOLDEN = 0.6180339887
"""Multiples of it, less their whole parts, are spread evenly, however many of them there are."""


class Likely:
    """What an answer will probably take: earlier runs' lengths, or what somebody said, or else all that is allowed."""

    def __init__(self, charges: Charges, answers: int | None) -> None:
        self._estimator = charges.estimator
        self._known = {model: seen.sample(MEMORY) for model, seen in charges.lengths.of_model.items() if seen.count}
        self._answers = answers
        self.said = "as long as in earlier runs" if self._known else "as long as their caps"
        if answers is not None:
            self.said = f"{answers:,} tokens long"

    def __call__(self, ask: Ask) -> Usage:
        """The usage of one answer."""
        seen = self._known.get(ask.model)
        output = ask.lease.charge.output
        if self._answers is not None:
            output = min(output, self._answers)
        elif seen:
            output = min(output, seen[int(ask.task.row * GOLDEN % 1 * len(seen))])
        elif ask.task.free:
            output = min(output, ASSUMED)
            self.said = f"{ASSUMED} tokens long, since nothing is known of them (--answers N)"
        return Usage(input=self._estimator.expected(ask.task.size, ask.model), output=output)


def simulate(
    scheduler: Scheduler,
    tasks: Iterator[Task | Finished],
    models: Mapping[str, Model],
    budgets: Mapping[str, Budget],
    limits: Limits,
    latency: float,
    tokens_per_second: float,
    truth: Callable[[Ask], Usage],
    learn: Callable[[Task, str, Usage, float], None] = lambda _task, _model, _usage, _seconds: None,
) -> Plan:
    """Drive a fresh scheduler to its end. `latency` is seconds to the first token, after which tokens stream.

    `truth` says what an answer really takes; `learn` is told of each, as in a run.
    """
    plan = Plan()
    now = 0.0
    waiting = Waiting(now)
    landings: list[tuple[float, int, Ask, Usage]] = []
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
            usage = truth(decision)
            charge = Charge(1, usage.input, usage.output)
            heapq.heappush(landings, (now + latency + charge.output / tokens_per_second, number, decision, usage))
            _note(plan, decision.model, usage, models)
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
            _, _, ask, usage = heapq.heappop(landings)
            learn(ask.task, ask.model, usage, now - ask.at)
            scheduler.landed(ask, Reply(text="", outcome=Outcome.OK, finish_reason="stop", usage=usage), now)
    plan.seconds = now
    plan.waits = waiting.split(now)
    plan.stopped = scheduler.stopped if isinstance(scheduler.stopped, str) else None
    plan.bound = least_time(pinned, pooled, budgets)
    plan.models_for_combined = _models_for_combined(limits)
    plan.unpriced = [name for name in plan.requests if models[name].price is None]
    return plan


def _note(plan: Plan, model: str, usage: Usage, models: Mapping[str, Model]) -> None:
    plan.requests[model] += 1
    plan.input_tokens[model] += usage.input
    plan.output_tokens[model] += usage.output
    plan.cost[model] = plan.cost.get(model, 0.0) + cost(models[model].price, usage)


def _models_for_combined(limits: Limits) -> int | None:
    combined, one = limits.combined.input_tokens, limits.per_model.input_tokens
    return None if combined is None or one is None else math.ceil(combined / one)


__all__ = ["ALL", "Plan", "simulate"]
