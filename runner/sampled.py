"""A plan: row by row; of a large input by a coarse simulation of a sample, and sums of what its rows stand for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from runner.coarse import Coarse, Left, Like
from runner.core.caps import Caps, cost
from runner.core.catalog import Model
from runner.core.charges import Charges
from runner.core.forecast import least_time
from runner.core.limits import Budget, Limits
from runner.core.ports import Ledger
from runner.core.sampling import Sample
from runner.core.schedule import Scheduler
from runner.core.values import NOTHING, Charge, Usage
from runner.core.work import Finished, Task
from runner.planning import (
    AHEAD,
    Likely,
    Paces,
    Plan,
    Simulation,
    assumptions,
    completed,
    kinds_unknown,
    simulate,
)

LARGE = 20_000
"""Tasks up to which a plan is made row by row: a few seconds."""
FINE, MOST = 250, 16_000
"""How many tasks of the coarse copy a limit of tokens holds at least, and how many are simulated."""
NEAR = 0.9
"""Of a cap: what comes so near to it is planned row by row, since it matters where that is."""


class Learning(Ledger, Protocol):
    """A ledger that finds out how the gateway counts."""

    @property
    def windows(self) -> Iterable[object]:
        """Each limit as it is kept; `core.window.Window` where it is found out how it is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a plan is made with: the parts of a run, which know what earlier runs have learned, and are used up here."""

    scheduler: Scheduler
    charges: Charges
    ledger: Learning
    models: Mapping[str, Model]
    limits: Limits


def plan(
    parts: Parts,
    rows: Iterator[Task | Finished] | Sample,
    *,
    answers: int | None = None,
    latency: float | None = None,
    tokens_per_second: float | None = None,
) -> Plan:
    """The plan of some rows, one by one, or of all for which a sample stands.

    The last three are what somebody says of answers: their tokens, seconds to the first, and how fast the rest comes.
    """
    likely = Likely(parts.charges, answers)
    paces = Paces(parts.charges.latencies.speeds(), latency, tokens_per_second)
    unknown = kinds_unknown(parts.ledger.windows)
    if isinstance(rows, Sample):
        made = _of_sample(parts, rows, likely, paces)
    else:
        simulation = Simulation(parts.scheduler, rows, parts.models, likely, paces, parts.charges.learn)
        made = simulate(simulation, parts.limits.budgets(parts.models.values()), parts.limits)
    made.answers = likely.said
    made.assumed += assumptions(made, paces, unknown)
    return made


def _of_sample(parts: Parts, sample: Sample, likely: Likely, paces: Paces) -> Plan:
    _teach(parts.charges, sample, likely, paces)
    lefts = list(_lefts(parts.charges, sample, likely))
    budgets = parts.limits.budgets(parts.models.values())
    coarse = Coarse(
        lefts,
        ledger=parts.ledger,
        models=parts.models,
        budgets=budgets,
        seconds=paces,
        most_in_flight=parts.scheduler.flights.most,
        window=parts.limits.window_seconds,
        now=0.0,
        fine=FINE,
        most=MOST,
    )
    finish = None
    while finish is None:
        finish = coarse.advance(AHEAD)
    made = Plan(seconds=finish)
    _add_up(made, lefts, coarse.shares(), parts.models, budgets)
    waits = coarse.simulation.waits
    longer = finish / max(1e-9, sum(waits.values()))
    made.waits = {cause: seconds * longer for cause, seconds in waits.items()}
    made.assumed.append(
        f"{sample.kept:,} rows were drawn and measured exactly, and the others are taken to be like them: "
        "sums of tokens are right within a hundredth or two."
    )
    return completed(made, parts.models, parts.limits)


def _teach(charges: Charges, sample: Sample, likely: Likely, paces: Paces) -> None:
    """Let caps that follow the answers be what they will be for most of the run, where nothing is known of them."""
    for row in sample.rows():
        for task in row.tasks:
            for model in task.models:
                lengths = likely.lengths(task, model)
                if len(lengths) == 1:
                    output = min(lengths[0], task.caps[model])
                    charges.lengths.learn(model, Usage(input=1, output=output), paces(model, output))


def _lefts(charges: Charges, sample: Sample, likely: Likely) -> Iterator[Left]:
    """The rows of the sample, as so many tasks as they stand for."""

    @cache
    def capped(lengths: Sequence[int], cap: int) -> tuple[tuple[int, ...], float]:
        outputs = tuple(min(length, cap) for length in lengths)
        return outputs, sum(outputs) / len(outputs)

    def like(task: Task, model: str) -> Like:
        charge, read = charges(task, model), likely.input(task, model)
        outputs, output = capped(tuple(likely.lengths(task, model)), charge.output)
        reserves = Charge(1, min(read, charge.input), charge.output)
        return Like(reserves=reserves, input=read, outputs=outputs, output=output)

    for row in sample.rows():
        for task in row.tasks:
            of_model = {model: like(task, model) for model in task.models}
            yield Left(models=task.models, tasks=row.stands_for, of_model=of_model)


def _add_up(
    made: Plan,
    lefts: Sequence[Left],
    shares: Mapping[tuple[str, ...], Mapping[str, float]],
    models: Mapping[str, Model],
    budgets: Mapping[str, Budget],
) -> None:
    """Sums of all tasks, those of a pool by the shares that each of its models had of the simulated ones."""
    sums: dict[tuple[tuple[str, ...], str], _Sum] = {}
    for left in lefts:
        for model, share in shares[left.models].items():
            of_both = sums.setdefault((left.models, model), _Sum())
            of_both.add(left.of_model[model], left.tasks * share, models[model])
    pinned, pooled = dict[str, Charge](), NOTHING
    for (pool, model), found in sums.items():
        charge = found.charge
        made.requests[model] += charge.requests
        made.input_tokens[model] += charge.input
        made.output_tokens[model] += charge.output
        made.cost[model] = made.cost.get(model, 0.0) + found.cost
        if len(pool) == 1:
            pinned[model] = charge
        else:
            pooled += charge
    made.tasks = round(sum(left.tasks for left in lefts))
    if made.requests:
        made.requests[max(made.requests, key=made.requests.__getitem__)] += made.tasks - made.requests.total()
    made.bound = least_time(pinned, pooled, budgets)


@dataclass(slots=True)
class _Sum:
    """Of tasks that went to one model."""

    requests: float = 0.0
    input: float = 0.0
    output: float = 0.0
    cost: float = 0.0
    """US dollars."""

    def add(self, like: Like, tasks: float, model: Model) -> None:
        self.requests += tasks
        self.input += tasks * like.input
        self.output += tasks * like.output
        self.cost += tasks * cost(model.price, Usage(input=like.input, output=round(like.output)))

    @property
    def charge(self) -> Charge:
        return Charge(round(self.requests), round(self.input), round(self.output))


def is_near(plan: Plan, caps: Caps) -> bool:
    """Whether a plan comes near to any of a run's caps."""
    tokens = plan.input_tokens.total() + plan.output_tokens.total()
    spent = ((sum(plan.cost.values()), caps.max_cost), (tokens, caps.max_total_tokens), (plan.seconds, caps.deadline))
    return any(cap is not None and amount > NEAR * cap for amount, cap in spent)
