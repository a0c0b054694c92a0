"""The plan of a large input: a coarse simulation of a sample of its rows, and sums of what these stand for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from runner.coarse import Coarse, Left, Like
from runner.core.caps import Caps, cost
from runner.core.catalog import Model
from runner.core.charges import Charges
from runner.core.forecast import least_time
from runner.core.limits import Budget, Limits
from runner.core.ports import Ledger
from runner.core.sampling import Sample
from runner.core.values import Charge, Usage
from runner.core.work import Task
from runner.planning import AHEAD, Likely, Paces, Plan, completed

LARGE = 20_000
"""Tasks up to which a plan is made row by row: a few seconds."""
FINE, MOST = 250, 16_000
"""How many tasks of the coarse copy a limit of tokens holds at least, and how many are simulated."""
NEAR = 0.9
"""Of a cap: what comes so near to it is planned row by row, since it matters where that is."""


@dataclass(slots=True, kw_only=True)
class Outlines:
    """What a plan of a large input is made of."""

    sample: Sample
    charges: Charges
    """They are taught here how long answers are."""
    likely: Likely
    paces: Paces
    ledger: Ledger
    models: Mapping[str, Model]
    budgets: Mapping[str, Budget]
    limits: Limits
    most_in_flight: int

    def plan(self) -> Plan:
        """The plan."""
        self._teach()
        lefts = list(self._lefts())
        coarse = Coarse(
            lefts,
            ledger=self.ledger,
            models=self.models,
            budgets=self.budgets,
            seconds=self.paces,
            most_in_flight=self.most_in_flight,
            window=self.limits.window_seconds,
            now=0.0,
            fine=FINE,
            most=MOST,
        )
        finish = None
        while finish is None:
            finish = coarse.advance(AHEAD)
        plan = Plan(seconds=finish)
        self._add_up(plan, lefts, coarse)
        waits = coarse.simulation.waits
        longer = finish / max(1e-9, sum(waits.values()))
        plan.waits = {cause: seconds * longer for cause, seconds in waits.items()}
        plan.assumed.append(
            f"{self.sample.kept:,} rows were drawn and measured exactly, and the others are taken to be like them: "
            "sums of tokens are right within a hundredth or two."
        )
        return completed(plan, self.models, self.limits)

    def _teach(self) -> None:
        """Let caps that follow the answers be what they will be for most of the run, where nothing is known of them."""
        for row in self.sample.rows():
            for task in row.tasks:
                for model in task.models:
                    lengths = self.likely.lengths(task, model)
                    if len(lengths) == 1:
                        output = min(lengths[0], task.caps[model])
                        self.charges.lengths.learn(model, Usage(input=1, output=output), self.paces(model, output))

    def _lefts(self) -> Iterator[Left]:
        """The rows of the sample, as so many tasks as they stand for."""

        @cache
        def capped(lengths: Sequence[int], cap: int) -> tuple[tuple[int, ...], float]:
            outputs = tuple(min(length, cap) for length in lengths)
            return outputs, sum(outputs) / len(outputs)

        def like(task: Task, model: str) -> Like:
            charge, read = self.charges(task, model), self.likely.input(task, model)
            outputs, output = capped(tuple(self.likely.lengths(task, model)), charge.output)
            reserves = Charge(1, min(read, charge.input), charge.output)
            return Like(reserves=reserves, input=read, outputs=outputs, output=output)

        for row in self.sample.rows():
            for task in row.tasks:
                of_model = {model: like(task, model) for model in task.models}
                yield Left(models=task.models, tasks=row.stands_for, of_model=of_model)

    def _add_up(self, plan: Plan, lefts: Sequence[Left], coarse: Coarse) -> None:
        """Sums of all tasks, those of a pool by how many of the simulated ones went to each of its models."""
        shares = coarse.shares()
        sums: dict[tuple[tuple[str, ...], str], _Sum] = {}
        for left in lefts:
            for model, share in shares[left.models].items():
                of_both = sums.setdefault((left.models, model), _Sum())
                of_both.add(left.of_model[model], left.tasks * share, self.models[model])
        pinned, pooled = dict[str, Charge](), Charge(0, 0, 0)
        for (models, model), found in sums.items():
            charge = found.charge
            plan.requests[model] += charge.requests
            plan.input_tokens[model] += charge.input
            plan.output_tokens[model] += charge.output
            plan.cost[model] = plan.cost.get(model, 0.0) + found.cost
            if len(models) == 1:
                pinned[model] = charge
            else:
                pooled += charge
        plan.tasks = round(sum(left.tasks for left in lefts))
        if plan.requests:
            plan.requests[max(plan.requests, key=plan.requests.__getitem__)] += plan.tasks - plan.requests.total()
        plan.bound = least_time(pinned, pooled, self.budgets)


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
