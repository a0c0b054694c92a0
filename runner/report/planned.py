"""What `runner plan` prints."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from runner.core.survey import Survey
from runner.planning import Plan
from runner.report.columns import columns
from runner.report.counts import counted
from runner.report.durations import clock
from runner.report.printing import print_json
from runner.report.safe import safe
from runner.report.waits import divided, waits_for_limits


def as_table(plan: Plan, survey: Survey, notices: Iterable[str]) -> dict[str, Any]:
    """The plan as JSON values."""
    return {
        "rows": survey.selected,
        "tasks": plan.tasks,
        "cannot_be_asked": plan.never,
        "problems": survey.problems,
        "input_tokens": plan.input_tokens.total(),
        "output_tokens": plan.output_tokens.total(),
        "answers": plan.answers,
        "assumed": plan.assumed,
        "cost_usd": round(sum(plan.cost.values()), 6),
        "without_price": plan.unpriced,
        "seconds": round(plan.seconds, 1),
        "least_possible_seconds": round(plan.bound.seconds, 1),
        "binding_limit": None if plan.bound.limit is None else str(plan.bound.limit),
        "windows": round(plan.bound.windows, 2),
        "waiting_s": {cause: round(seconds, 1) for cause, seconds in plan.waits.items()},
        "models_until_the_combined_limit_binds": plan.models_for_combined,
        "stopped_by": plan.stopped,
        "models": {
            name: {
                "requests": plan.requests[name],
                "input_tokens": plan.input_tokens[name],
                "output_tokens": plan.output_tokens[name],
                "cost_usd": round(plan.cost[name], 6),
            }
            for name in sorted(plan.requests)
        },
        "notices": list(notices),
    }


def show(plan: Plan, survey: Survey, notices: Iterable[str], *, as_json: bool) -> None:
    """Print the plan."""
    if as_json:
        print_json(as_table(plan, survey, notices))
        return
    write = sys.stdout.write
    write(f"{counted(survey.selected, 'row')}, {counted(plan.tasks, 'request')}")
    write(f", {counted(plan.never, 'row')} that cannot be asked\n" if plan.never else "\n")
    for problem in survey.problems:
        write(f"  {safe(problem)}\n")
    if plan.tasks:
        _show_what_it_takes(plan)
    for notice in [*plan.assumed, *notices]:
        write(f"note: {safe(notice)}\n")


def _show_what_it_takes(plan: Plan) -> None:
    write = sys.stdout.write
    write(f"{plan.input_tokens.total():,} input tokens, ")
    write(f"{plan.output_tokens.total():,} output tokens if answers are {plan.answers}\n")
    free = f" (no price known for {', '.join(plan.unpriced)})" if plan.unpriced else ""
    write(f"${sum(plan.cost.values()):.4f}{free}\n")
    least = f"; no scheduler could take less than {clock(plan.bound.seconds)} and one answer"
    write(f"about {clock(plan.seconds)}{least if plan.bound.seconds >= 1 else ''}\n")
    if plan.seconds >= 1:
        write(f"of that: {divided(plan.waits)}\n")
    if plan.bound.limit is not None and plan.bound.windows > 1:
        write(f"what binds: {plan.bound.limit} ({plan.bound.windows:.1f} windows of work)\n")
    elif plan.seconds >= 1 and waits_for_limits(plan.waits):
        write("all of it fits into one window, but not at once: limits are spent step by step, and answers under way ")
        write("hold the room of their caps\n")
    else:
        write("no limit binds: all of it fits into one window\n")
    if plan.models_for_combined is not None:
        count = counted(len(plan.requests), "model")
        write(f"the work goes to {count}; it would take {plan.models_for_combined} until the combined limit binds\n")
    if plan.stopped is not None:
        write(f"it would be stopped by {plan.stopped}\n")
    table: list[tuple[str, ...]] = [("model", "requests", "input", "output", "cost $")]
    for name in sorted(plan.requests):
        requests, tokens = plan.requests[name], (plan.input_tokens[name], plan.output_tokens[name])
        table.append((name, f"{requests:,}", *(f"{count:,}" for count in tokens), f"{plan.cost[name]:.4f}"))
    write("\n" + "".join(f"{line}\n" for line in columns(table)))
