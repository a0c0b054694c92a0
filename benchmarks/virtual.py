"""The scheduler against the local gateway's judge in virtual time: how near the least possible time, how many refusals.

Nothing is sent and no processor is in the way, so seconds here are the gateway's own: a window is a minute. The limits
that the scheduler is told are the page's; what the gateway really does differs by scenario.

    python benchmarks/virtual.py [--only TEXT] [--seeds N]
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import sys
import time
from dataclasses import dataclass, field, replace
from typing import Any

from runner.app import guard
from runner.core.caps import Caps, Spending
from runner.core.catalog import Catalogue
from runner.core.estimate import Estimator, Size
from runner.core.schedule import Ask, Done, Scheduler, Task
from runner.core.values import Failure, Kind, Outcome, Reply, Request, Usage
from runner.ledgers.memory import MemoryLedger
from runner.simulator import Neighbour, Simulator, judge
from runner.simulator.account import Account
from runner.storage.specs import load_catalogue, load_limits

AHEAD = 4096
LABEL_MODELS = ("gpt-5-4", "gpt-5-4-mini", "gpt-5-4-nano", "gpt-5-1", "claude-haiku-4-5", "claude-sonnet-4-6")


@dataclass(frozen=True)
class Scenario:
    """A workload, and what the gateway really does."""

    name: str
    gateway: Simulator
    rows: int = 17_600
    models: tuple[str, ...] = LABEL_MODELS
    pinned: bool = False
    """Every row to one of the models in turn, rather than to the pool."""
    input_mean: float = 300.0
    input_sigma: float = 0.15
    output_mean: float = 3.0
    output_sigma: float = 0.3
    cap: int = 16
    latency: float = 0.6
    tokens_per_second: float = 80.0
    truth: float = 0.95
    """The gateway's tokens for one that we guess."""


@dataclass
class Run:
    """What came of a scenario."""

    seconds: float = 0.0
    least: float = 0.0
    sent: int = 0
    refused: int = 0
    succeeded: int = 0
    decisions: int = 0
    cpu: float = 0.0
    tokens: dict[str, float] = field(default_factory=dict)


def lognormal(chance: random.Random, mean: float, sigma: float) -> float:
    """A draw from a lognormal distribution of this mean."""
    return chance.lognormvariate(math.log(mean) - sigma * sigma / 2, sigma)


def play(scenario: Scenario, seed: int, catalogue: Catalogue) -> Run:
    """Run a scenario to its end."""
    chance = random.Random(f"{scenario.name}:{seed}")
    models = {name: catalogue.find(name) for name in scenario.models}
    limits = load_limits(catalogue)
    budgets = limits.budgets(models.values())
    estimator = Estimator(models.values())
    scheduler = Scheduler(
        budgets=budgets,
        ledger=MemoryLedger(budgets, guard, learns=True),
        charge=lambda task, model: estimator.charge(task.size, model, task.caps[model]),
        spending=Spending(Caps(), models.values(), 0.0),
        rng=random.Random(seed),
        window=limits.window_seconds,
        most_in_flight=4000,
    )
    account = Account(scenario.gateway, scenario.gateway.phase or 0.0)
    run, now, number, made = Run(), 0.0, 0, 0
    flights: list[tuple[float, int, str, Ask, Any]] = []
    outputs: dict[int, int] = {}
    caps = dict.fromkeys(scenario.models, scenario.cap)
    started = time.process_time()
    while True:
        while made < scenario.rows and scheduler.queued < AHEAD:
            tokens = max(8, round(lognormal(chance, scenario.input_mean, scenario.input_sigma)))
            outputs[made] = max(
                1, min(scenario.cap, round(lognormal(chance, scenario.output_mean, scenario.output_sigma)))
            )
            pool = (scenario.models[made % len(scenario.models)],) if scenario.pinned else scenario.models
            task = Task(row=made, models=pool, size=Size(tokens), caps=caps, request=Request())
            scheduler.offer(task)
            made += 1
        if made == scenario.rows:
            scheduler.close()
        decision = scheduler.next(now)
        run.decisions += 1
        if isinstance(decision, Done):
            break
        if isinstance(decision, Ask):
            number += 1
            run.sent += 1
            heapq.heappush(flights, (now + chance.uniform(0.03, 0.12), number, "arrives", decision, None))
            continue
        lands = flights[0][0] if flights else math.inf
        now = max(now, min(decision.until, lands))
        if now == math.inf:
            raise RuntimeError("nothing will ever happen again")
        while flights and flights[0][0] <= now:
            at, _, what, ask, extra = heapq.heappop(flights)
            number += 1
            model = models[ask.model]
            if what == "arrives":
                heapq.heappush(flights, arrival(at, number, ask, scenario, account, model, estimator, outputs, chance))
            elif isinstance(extra, Failure):
                run.refused += 1
                scheduler.landed(ask, extra, at)
            else:
                taken, reply = extra
                judge.settle(at, taken, reply.usage.output)
                estimator.learn(ask.task.size, ask.model, reply.usage)
                run.succeeded += 1
                scheduler.landed(ask, reply, at)
    run.seconds, run.cpu = now, time.process_time() - started
    run.least = least(account, scenario)
    return run


def arrival(
    at: float,
    number: int,
    ask: Ask,
    scenario: Scenario,
    account: Account,
    model: Any,
    estimator: Estimator,
    outputs: dict[int, int],
    chance: random.Random,
) -> tuple[float, int, str, Ask, Any]:
    """A request reaches the gateway: it is taken in or refused, and comes back later."""
    guess = estimator.guess(ask.task.size, ask.model)
    true_input = max(1, round(guess * scenario.truth * chance.uniform(0.97, 1.03)))
    back = chance.uniform(0.03, 0.12)
    admitted = judge.admit(at, account.wanted(at, model, true_input, ask.lease.charge.output))
    if isinstance(admitted, judge.Refused):
        wait = 1 if admitted.wait is None else max(1, math.ceil(admitted.wait))
        scope = "all" if admitted.limit.model is None else "model"
        measure = admitted.limit.measure
        failure = Failure(
            kind=Kind.RATE_LIMITED,
            message="",
            status=429,
            scope=scope,  # type: ignore[arg-type]
            measure="total" if measure == "input" else measure,
            retry_after=float(wait) if scenario.gateway.retry_after else None,
        )
        return at + back, number, "lands", ask, failure
    output = outputs[ask.task.row]
    service = lognormal(chance, scenario.latency, 0.3) + output / scenario.tokens_per_second
    reply = Reply(text="", outcome=Outcome.OK, finish_reason="stop", usage=Usage(input=true_input, output=output))
    return at + service + back, number, "lands", ask, (admitted, reply)


def least(account: Account, scenario: Scenario) -> float:
    """A bound on the time that no scheduler could beat, for what the gateway counted."""
    from least import Limit, least_admission

    limits = [Limit.from_meter(limit.name, limit.report()) for limit in account.limits]
    return least_admission(limits, pinned=scenario.pinned, outages=scenario.gateway.outages) + scenario.latency


def scenarios() -> list[Scenario]:
    """Every kind of window, with the limits as advertised and not."""
    base = Simulator(window="sliding", requests_per_second=None, catalogue_limits=True)
    kinds = {
        "sliding": base,
        "fixed": replace(base, window="fixed", phase=37.0),
        "counter": replace(base, window="counter", phase=37.0),
        "bucket": replace(base, window="bucket"),
        "bucket 25 %": replace(base, window="bucket", burst=0.25),
        "bucket 10 %": replace(base, window="bucket", burst=0.10),
    }
    found = []
    for kind, gateway in kinds.items():
        found.append(Scenario(f"label, {kind}", gateway))
        found.append(
            Scenario(
                f"output-bound, {kind}",
                gateway,
                rows=1_600,
                models=LABEL_MODELS[:4],
                pinned=True,
                input_mean=350.0,
                output_mean=230.0,
                output_sigma=0.4,
                cap=400,
            )
        )
        found.append(
            Scenario(
                f"mixed, {kind}", gateway, rows=3_000, input_mean=1_500.0, input_sigma=1.3, output_mean=60.0, cap=200
            )
        )
        if kind in ("sliding", "fixed", "bucket"):
            found.append(Scenario(f"half the limit, {kind}", replace(gateway, limit_changes=((0.0, 0.5),))))
            found.append(Scenario(f"halves after 90 s, {kind}", replace(gateway, limit_changes=((90.0, 0.5),))))
            found.append(
                Scenario(f"half, back after 150 s, {kind}", replace(gateway, limit_changes=((0.0, 0.5), (150.0, 1.0))))
            )
            found.append(Scenario(f"neighbour 40 %, {kind}", replace(gateway, neighbours=(Neighbour(input=80_000),))))
            found.append(Scenario(f"no Retry-After, {kind}", replace(gateway, retry_after=False)))
    return found


def main() -> None:
    """Run the scenarios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="scenarios whose name holds this text")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    catalogue = load_catalogue()
    write = sys.stdout.write
    write(f"{'scenario':<34}{'rows':>7}{'taken':>8}{'least':>8}{'share':>7}{'429':>7}{'%':>7}{'µs/decision':>13}\n")
    for scenario in scenarios():
        if options.only not in scenario.name:
            continue
        for seed in range(options.seeds):
            run = play(scenario, seed, catalogue)
            share, refused = run.least / run.seconds, 100 * run.refused / run.sent
            write(f"{scenario.name:<34}{run.succeeded:>7,}{run.seconds:>8.1f}{run.least:>8.1f}{share:>7.3f}")
            write(f"{run.refused:>7,}{refused:>7.2f}{1e6 * run.cpu / run.decisions:>13.0f}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
