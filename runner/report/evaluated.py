"""What is printed of an evaluation: models beside metrics with their intervals, cost and latency, and slices below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.report.columns import columns
from runner.report.pairs import pair_lines
from runner.report.safe import safe

WIDEST = 28
"""Characters of a model's name or a slice's value."""
MOST_MODELS = 5
"""Models that stand side by side."""
MOST_VALUES = 15
"""Values of a slice that are shown."""


def evaluation_lines(evaluation: Mapping[str, Any]) -> list[str]:
    """The whole of it, as lines."""
    against = evaluation["expected"]
    head = "Judged" if against is None else f"Scored against {safe(against, 60)}"
    lines = [f"{head}, with 95 % intervals", *_models(evaluation)]
    if "judge" in evaluation:
        lines += _judge(evaluation["judge"])
    if "pairwise" in evaluation:
        lines += pair_lines(evaluation["pairwise"])
    for name, values in evaluation["slices"].items():
        lines += ["", *_slice(name, values, evaluation)]
    lines += [f"  {safe(notice, 200)}" for notice in evaluation["notices"]]
    return lines


def _judge(judge: Mapping[str, Any]) -> list[str]:
    """The judge's cost, and how far it can be trusted."""
    ungraded = f", and left {judge['ungraded']:,} without a grade" if judge["ungraded"] else ""
    if ungraded and judge["run"] is not None:
        ungraded += f": {safe(judge['run'], 60)}/results.parquet says why"
    lines = [
        f"The judge, {safe(judge['model'], 60)}, graded {judge['graded']:,} answers "
        f"for ${judge['cost_usd']:.4f}{ungraded}"
    ]
    agreement = judge.get("agreement")
    if agreement is not None and agreement["share"]["value"] is not None:
        share, kappa = agreement["share"], agreement["kappa"]
        chance = "no kappa: " + kappa["reason"] if kappa["value"] is None else f"kappa {kappa['value']:.2f}"
        lines.append(
            f"It agrees with {safe(agreement['with'], 40)} on {100 * share['value']:.1f} % "
            f"of {agreement['n']:,} answers "
            f"({100 * share['low']:.0f} to {100 * share['high']:.0f}; {chance})"
        )
    return lines


def ranked(evaluation: Mapping[str, Any]) -> list[str]:
    """The models, the best by the main metric first; all together in front."""
    models = evaluation["models"]

    def place(name: str) -> tuple[bool, float, str]:
        mean = models[name]["metrics"][evaluation["main"]]["mean"]
        return (name != "(all)", -1.0 if mean is None else -mean, name)

    return sorted(models, key=place)


def _models(evaluation: Mapping[str, Any]) -> list[str]:
    models = evaluation["models"]
    metrics = list(next(iter(models.values()))["metrics"]) if models else []
    metrics.sort(key=lambda name: name != evaluation["main"])
    counts = ["missing", "invalid", *(["unscored"] if any(about["unscored"] for about in models.values()) else [])]
    lines = [("model", *(safe(name, 20) for name in metrics), "of", *counts, "cost $", "p50 s", "p95 s")]
    for name in ranked(evaluation):
        about = models[name]
        lines.append((
            safe(name, WIDEST), *(figure(about["metrics"][metric]) for metric in metrics), f"{about['n']:,}",
            *(f"{about[count]:,}" for count in counts), f"{about['cost_usd']:.4f}",
            seconds(about["latency_p50_s"]), seconds(about["latency_p95_s"]),
        ))  # fmt: skip
    return columns(lines)


def _slice(name: str, values: Mapping[str, Any], evaluation: Mapping[str, Any]) -> list[str]:
    models = ranked(evaluation)
    shown = models[:MOST_MODELS]
    table = [(safe(name, WIDEST), "rows", *(safe(model, WIDEST) for model in shown))]
    for value, by_model in list(values.items())[:MOST_VALUES]:
        rows = max(figures["n"] for figures in by_model.values())
        table.append((safe(value, WIDEST), f"{rows:,}", *(figure(by_model.get(model)) for model in shown)))
    lines = columns(table)
    left = [
        f"{len(values) - MOST_VALUES:,} more values" if len(values) > MOST_VALUES else "",
        f"{len(models) - MOST_MODELS:,} more models" if len(models) > MOST_MODELS else "",
    ]
    if any(left):
        lines.append(f"  ({' and '.join(filter(None, left))} in metrics.parquet)")
    return lines


def figure(figures: Mapping[str, Any] | None) -> str:
    """A mean in percent with its interval."""
    if figures is None or figures["mean"] is None:
        return "-"
    mean = f"{100 * figures['mean']:.1f} %"
    if figures["low"] is None or figures["high"] is None:
        return mean
    return f"{mean} ({100 * figures['low']:.0f} to {100 * figures['high']:.0f})"


def seconds(value: float | None) -> str:
    """A latency; empty where there is none."""
    return "" if value is None else f"{value:.2f}"
