"""What is printed of an evaluation: models beside metrics with their intervals, cost and latency, and slices below."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.report.pairs import pair_lines
from runner.report.safe import safe

WIDEST = 24
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
    head = "".join(f"{safe(name, 20):>22}" for name in metrics)
    counts = ["missing", "invalid", *(["unscored"] if any(about["unscored"] for about in models.values()) else [])]
    lines = [
        f"{'model':<{WIDEST}}{head} {'of':>7}{''.join(f'{name:>9}' for name in counts)}"
        f" {'cost $':>9} {'p50 s':>7} {'p95 s':>7}"
    ]
    for name in ranked(evaluation):
        about = models[name]
        cells = "".join(f"{figure(about['metrics'][metric]):>22}" for metric in metrics)
        lines.append(
            f"{safe(name, WIDEST):<{WIDEST}}{cells} {about['n']:>7,}"
            f"{''.join(f'{about[count]:>9,}' for count in counts)} {about['cost_usd']:>9.4f} "
            f"{_seconds(about['latency_p50_s']):>7} {_seconds(about['latency_p95_s']):>7}"
        )
    return lines


def _slice(name: str, values: Mapping[str, Any], evaluation: Mapping[str, Any]) -> list[str]:
    models = ranked(evaluation)
    shown = models[:MOST_MODELS]
    lines = [
        f"{safe(name, WIDEST):<{WIDEST}}{'rows':>7}" + "".join(f"{safe(model, 20):>22}" for model in shown),
    ]
    for value, by_model in list(values.items())[:MOST_VALUES]:
        rows = max(figures["n"] for figures in by_model.values())
        cells = "".join(f"{figure(by_model.get(model)):>22}" for model in shown)
        lines.append(f"{safe(value, WIDEST - 2):<{WIDEST}}{rows:>7,}{cells}")
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


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
