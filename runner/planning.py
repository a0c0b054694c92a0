"""What a run would take: the same scheduler, driven in virtual time against a gateway that does as it says.

Nothing is sent. How long answers are is taken from earlier runs of the same job, where there were any; else every
answer is taken to be as long as its cap allows, or as somebody said. How long they take, and how the gateway counts, is
taken from any earlier run; what is only assumed is named.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from runner.core.caps import cost
from runner.core.catalog import Model
from runner.core.charges import Charges
from runner.core.forecast import Bound, least_time
from runner.core.latency import Speed
from runner.core.lengths import MEMORY
from runner.core.limits import Budget, Limit, Limits
from runner.core.schedule import Scheduler
from runner.core.values import NOTHING, Charge, Outcome, Reply, Usage
from runner.core.waiting import Waiting
from runner.core.window import Kind, Window
from runner.core.work import Ask, Done, Finished, Task, Wait

AHEAD = 4096
"""Tasks that the scheduler has to choose from, as in a run; and decisions that are made at once."""


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
    assumed: list[str] = field(default_factory=list)
    """What else the time rests on that nobody knows, a sentence each."""
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
PLASTIC = 0.7548776662
"""The same for another purpose: beside the first, the pairs are spread evenly as well."""


class Likely:
    """What an answer will probably take: earlier runs' lengths, or what somebody said, or else all that is allowed."""

    def __init__(self, charges: Charges, answers: int | None) -> None:
        self._estimator = charges.estimator.as_now()  # what is only supposed is nothing to be learned from
        self._known = {model: seen.sample(MEMORY) for model, seen in charges.lengths.of_model.items() if seen.count}
        self._answers = answers
        self.said = "as long as in earlier runs" if self._known else "as long as their caps"
        if answers is not None:
            self.said = f"{answers:,} tokens long"

    def __call__(self, ask: Ask) -> Usage:
        """The usage of one answer."""
        lengths = self.lengths(ask.task, ask.model)
        output = min(ask.lease.charge.output, lengths[int(ask.task.row * GOLDEN % 1 * len(lengths))])
        return Usage(input=self.input(ask.task, ask.model), output=output)

    def input(self, task: Task, model: str) -> int:
        """Tokens that a task has for a model."""
        return self._estimator.expected(task.size, model)

    def lengths(self, task: Task, model: str) -> Sequence[int]:
        """What the answer to a task may have, as far as its cap allows that: in order, each as likely as another."""
        if self._answers is not None:
            return (self._answers,)
        if model in self._known:
            return self._known[model]
        if task.free:
            self.said = f"{ASSUMED} tokens long, since nothing is known of them (--answers N)"
            return (ASSUMED,)
        return (task.caps[model],)


class Paces:
    """How long an answer will probably take: as in earlier runs, with what somebody said in the place of it."""

    def __init__(self, known: Mapping[str, Speed], latency: float | None, tokens_per_second: float | None) -> None:
        """`latency` is seconds to the first token, after which tokens stream."""
        self._known = known

        def given(speed: Speed) -> Speed:
            first = speed.first if latency is None else latency
            return replace(
                speed, first=first, per_token=1 / tokens_per_second if tokens_per_second else speed.per_token
            )

        self._speeds = {name: given(speed) for name, speed in known.items()}
        self._other = given(Speed())
        self._is_given = latency is not None and tokens_per_second is not None
        self._number = 0

    def __call__(self, model: str, tokens: float) -> float:
        """The seconds of one answer; some are slower than others, in an order that has nothing to do with the rows."""
        self._number += 1
        return self._speeds.get(model, self._other).seconds(tokens, max(0.001, self._number * PLASTIC % 1))

    def assumed(self, models: Iterable[str]) -> str | None:
        """What is said of those of these models that nothing is known of; None where all is known or given."""
        unknown = [name for name in models if name not in self._known]
        if self._is_given or not unknown:
            return None
        whose = unknown[0] if len(unknown) == 1 else f"{len(unknown)} models"
        return (
            f"How fast {whose} will answer is not known: {self._other.first:g} s to the first token and "
            f"{1 / self._other.per_token:,.0f} tokens a second after it are assumed (--latency, --tokens-per-second)."
        )


class Simulation:
    """A fresh scheduler that is driven to its end in virtual time, as far as it is asked to at once."""

    def __init__(
        self,
        scheduler: Scheduler,
        tasks: Iterator[Task | Finished],
        models: Mapping[str, Model],
        truth: Callable[[Ask], Usage],
        seconds: Callable[[str, int], float],
        learn: Callable[[Task, str, Usage, float], None] = lambda _task, _model, _usage, _seconds: None,
        started: float = 0.0,
    ) -> None:
        """`truth` says what an answer really takes, `seconds` how long a model has one under way that is so long;
        `learn` is told of each, as in a run.
        """
        self.plan = Plan()
        self.now = started
        self._started = started
        self._scheduler = scheduler
        self._tasks: Iterator[Task | Finished] | None = tasks
        self._models = models
        self._truth = truth
        self._seconds = seconds
        self._learn = learn
        self._waiting = Waiting(started)
        self._landings: list[tuple[float, int, Ask, Usage]] = []
        self._number = 0
        self._pinned: dict[str, Charge] = {}
        self._pooled = NOTHING

    def advance(self, decisions: int) -> bool:
        """Go on for so many decisions; whether all is done."""
        for _ in range(decisions):
            self._read()
            decision = self._scheduler.next(self.now)
            if isinstance(decision, Ask):
                self._send(decision)
            elif isinstance(decision, Done):
                return True
            else:
                self._rest(decision)
        return False

    def _read(self) -> None:
        while self._tasks is not None and self._scheduler.queued < AHEAD:
            task = next(self._tasks, None)
            if task is None:
                self._tasks = None
                self._scheduler.close()
            elif isinstance(task, Finished):
                self.plan.never += 1
            else:
                self.plan.tasks += 1
                self._scheduler.offer(task)

    def _send(self, ask: Ask) -> None:
        self._waiting.sending()
        self._number += 1
        usage = self._truth(ask)
        lands = self.now + self._seconds(ask.model, usage.output)
        heapq.heappush(self._landings, (lands, self._number, ask, usage))
        _note(self.plan, ask.model, usage, self._models)
        charge = Charge(1, usage.input, usage.output)
        if len(ask.task.models) == 1:
            self._pinned[ask.model] = self._pinned.get(ask.model, NOTHING) + charge
        else:
            self._pooled += charge

    def _rest(self, wait: Wait) -> None:
        landings = self._landings
        until = min(wait.until, landings[0][0] if landings else math.inf)
        if until == math.inf:
            raise RuntimeError("the scheduler waits for nothing")
        self._waiting.rest(self.now, self._scheduler.waiting_for, wait.until)
        self.now = max(self.now, until)
        self._waiting.wake(self.now)
        while landings and landings[0][0] <= self.now:
            _, _, ask, usage = heapq.heappop(landings)
            self._learn(ask.task, ask.model, usage, self.now - ask.at)
            reply = Reply(text="", outcome=Outcome.OK, finish_reason="stop", usage=usage)
            self._scheduler.landed(ask, reply, self.now)

    @property
    def waits(self) -> Mapping[str, float]:
        """All the seconds so far, by what was waited for."""
        return self._waiting.split(self.now)

    def ended(self, budgets: Mapping[str, Budget], limits: Limits) -> Plan:
        """What has come of it."""
        plan = self.plan
        plan.seconds = self.now - self._started
        plan.waits = self.waits
        plan.stopped = self._scheduler.stopped if isinstance(self._scheduler.stopped, str) else None
        plan.bound = least_time(self._pinned, self._pooled, budgets)
        return completed(plan, self._models, limits)


def completed(plan: Plan, models: Mapping[str, Model], limits: Limits) -> Plan:
    """A plan with what follows from its requests and the limits."""
    combined, one = limits.combined.input_tokens, limits.per_model.input_tokens
    plan.models_for_combined = None if combined is None or one is None else math.ceil(combined / one)
    plan.unpriced = [name for name in plan.requests if models[name].price is None]
    return plan


def simulate(simulation: Simulation, budgets: Mapping[str, Budget], limits: Limits) -> Plan:
    """Drive a simulation to its end."""
    while not simulation.advance(AHEAD):
        pass
    return simulation.ended(budgets, limits)


def kinds_unknown(windows: Iterable[object]) -> frozenset[Limit]:
    """The limits of which it is to be learned how the gateway counts them, and is not known yet."""
    return frozenset(window.limit for window in windows if isinstance(window, Window) and window.kind is Kind.UNKNOWN)


def assumptions(plan: Plan, paces: Paces, unknown: frozenset[Limit]) -> list[str]:
    """What a plan's time rests on that is not known, a sentence each."""
    said = [paces.assumed(plan.requests)]
    if plan.bound.limit in unknown and plan.bound.windows > 1:
        said.append(
            f"How the gateway counts {plan.bound.limit} is not known yet: a sliding window is assumed, and the first "
            f"run may be up to {plan.bound.limit.window:g} s faster, or slower where bursts are small."
        )
    return [sentence for sentence in said if sentence is not None]


def _note(plan: Plan, model: str, usage: Usage, models: Mapping[str, Model]) -> None:
    plan.requests[model] += 1
    plan.input_tokens[model] += usage.input
    plan.output_tokens[model] += usage.output
    plan.cost[model] = plan.cost.get(model, 0.0) + cost(models[model].price, usage)


__all__ = ["Likely", "Paces", "Plan", "Simulation", "simulate"]
