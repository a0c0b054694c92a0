"""What `runner models` prints."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

from runner.core.catalog import Catalogue, Model
from runner.core.limits import ALL, Limits
from runner.report.printing import print_json


def as_table(model: Model, limits: Limits) -> dict[str, Any]:
    """All that is known of a model, as JSON values."""
    table = dataclasses.asdict(model)
    table["names"] = list(model.names)
    table["budget"] = [
        {
            "scope": "all" if limit.scope == ALL else limit.scope,
            "measure": limit.measure,
            "amount": limit.amount,
            "window_s": limit.window,
        }
        for limit in limits.budgets([model])[model.short]
    ]
    return table


def show_all(catalogue: Catalogue, limits: Limits, *, as_json: bool) -> None:
    """A line for each model, by provider, and the picks."""
    if as_json:
        print_json(
            {
                "models": {model.short: as_table(model, limits) for model in catalogue},
                "picks": {task: list(names) for task, names in catalogue.picks.items()},
            }
        )
        return
    write = sys.stdout.write
    head = f"{'model':<30} {'provider':<11} {'inputs':<24} {'context':>9} {'output':>8} {'$/M in':>7} {'$/M out':>8}"
    write(f"{head}  endpoints\n")
    for model in catalogue:
        price = model.price
        write(
            f"{model.short:<30} {model.provider:<11} {', '.join(model.inputs):<24} "
            f"{_tokens(model.context_tokens):>9} {_tokens(model.max_output_tokens):>8} "
            f"{'' if price is None else f'{price.input:g}':>7} {'' if price is None else f'{price.output:g}':>8}  "
            f"{', '.join(model.endpoints)}\n"
        )
    write(f"\n{len(catalogue)} models; the databricks- form of a name means the same model. Picks (-m pick:TASK):\n")
    for task, names in catalogue.picks.items():
        write(f"  {task:<16} {', '.join(names)}\n")


def _tokens(value: int | None) -> str:
    if value is None:
        return "not said"
    return f"{value / 1e6:g}M" if value >= 1_000_000 and value % 100_000 == 0 else f"{value:,}"


def show_one(model: Model, limits: Limits, *, as_json: bool) -> None:
    """Every fact of a model, with its source."""
    if as_json:
        print_json(as_table(model, limits))
        return
    write = sys.stdout.write
    write(f"{model.short}   (also {', '.join(model.names[1:])}; sent as {model.id})\n")
    for name, value in _facts(model):
        source = model.sources.get(name, "")
        write(f"  {name.replace('_', ' '):<20} {value}{f'   [{source}]' if source else ''}\n")
    write("  budget\n")
    for limit in limits.budgets([model])[model.short]:
        write(f"    {limit}\n")


def _facts(model: Model) -> list[tuple[str, str]]:
    price = model.price
    shown = {
        "provider": model.provider,
        "inputs": ", ".join(model.inputs),
        "context_tokens": "not stated" if model.context_tokens is None else f"{model.context_tokens:,}",
        "max_output_tokens": "not stated" if model.max_output_tokens is None else f"{model.max_output_tokens:,}",
        "endpoints": ", ".join(model.endpoints) + ("  (the first is used)" if len(model.endpoints) > 1 else ""),
        "price": "not listed" if price is None else f"${price.input:g} in, ${price.output:g} out for a million tokens",
        "family": f"{model.family.name}: about {model.family.multiplier:g} tokens for one of {model.family.encoding}",
        "thinking": model.thinking + (", always reasons" if model.reasons else ""),
        "rejects": ", ".join(model.rejects) or "nothing known",
        "notes": model.notes or "-",
        "terms": " ".join(model.terms) or "-",
    }
    return list(shown.items())
