"""What a decision costs: the scheduler alone, with many rows queued for twelve models under limits that bind.

A new row comes for each that has ended, so that as many are queued at the end as at the start. Garbage is collected as
seldom as in a run.

python benchmarks/decisions.py [--rows N,N,...]
"""

from __future__ import annotations

import argparse
import random
import time

from harness import note

from runner.core.caps import Caps, Spending
from runner.core.charges import Charges
from runner.core.estimate import Size
from runner.core.lag import guard
from runner.core.schedule import Scheduler
from runner.core.values import Outcome, Reply, Request, Usage
from runner.core.work import Ask, Done, Task
from runner.engines.process import spare_the_collector
from runner.ledgers.memory import MemoryLedger
from runner.storage.specs import load_catalogue, load_limits

MODELS = 12
DECISIONS = 60_000


def measured(rows: int) -> tuple[int, float]:
    """Decisions (sent or waited), and the seconds of processor time that they and the landings took."""
    catalogue = load_catalogue()
    models = [model for model in catalogue if "chat" in model.endpoints][:MODELS]
    names = tuple(model.short for model in models)
    limits = load_limits(catalogue)
    budgets = limits.budgets(models)
    charges = Charges(models, budgets, limits.window_seconds)
    scheduler = Scheduler(
        budgets=budgets,
        ledger=MemoryLedger(budgets, guard, learns=True, probes=False),
        charge=charges,
        spending=Spending(Caps(), models, 0.0),
        rng=random.Random(1),
        window=limits.window_seconds,
        most_in_flight=4000,
        lengths=charges.lengths,
    )
    chance = random.Random(1)
    caps = dict.fromkeys(names, 400)

    def offer(row: int) -> None:
        size = Size(max(8, round(chance.lognormvariate(6.0, 1.2))))
        pool = (chance.choice(names),) if chance.random() < 0.5 else names
        scheduler.offer(Task(row=row, models=pool, size=size, caps=caps, request=Request()))

    for row in range(rows):
        offer(row)
    now, decisions, spent, began = 0.0, 0, 0.0, time.process_time()
    flights: list[Ask] = []
    while decisions < DECISIONS:
        decision = scheduler.next(now)
        decisions += 1
        if isinstance(decision, Ask):
            flights.append(decision)
            continue
        if isinstance(decision, Done):
            break
        now = min(decision.until, now + 0.5)
        for ask in flights:
            usage = Usage(input=ask.lease.charge.input, output=ask.lease.charge.output // 2)
            reply = Reply(text="", outcome=Outcome.OK, finish_reason="", usage=usage)
            charges.learn(ask.task, ask.model, usage, now - ask.at)
            scheduler.landed(ask, reply, now)
        spent += time.process_time() - began
        for _ in flights:
            offer(row := row + 1)
        flights.clear()
        began = time.process_time()
    return decisions, spent + time.process_time() - began


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="1000,10000,100000")
    options = parser.parse_args()
    note(f"{'rows queued':>12}{'decisions':>12}{'a second':>12}")
    spare_the_collector()
    for rows in map(int, options.rows.split(",")):
        decisions, seconds = measured(rows)
        note(f"{rows:>12,}{decisions:>12,}{decisions / seconds:>12,.0f}")


if __name__ == "__main__":
    main()
