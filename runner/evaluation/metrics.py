"""Metrics: what the scores of a run come to, for each model and each slice, with intervals, cost and latency."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from runner.core.evaluating import Evaluation
from runner.evaluation.scores import INVALID, MISSING, Measured
from runner.statistics.estimates import Estimate, Resampling
from runner.statistics.intervals import bootstrap_mean, wilson

ALL_MODELS = "(all)"
"""What stands for the model in metrics of a pool as a whole."""
RESAMPLING = Resampling()

METRIC_SCHEMA: dict[str, Any] = {
    "model": pl.String,
    "slice": pl.String,
    "value": pl.String,
    "scorer": pl.String,
    "n": pl.Int64,
    "mean": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "method": pl.String,
    "missing": pl.Int64,
    "invalid": pl.Int64,
    "unscored": pl.Int64,
    "cost_usd": pl.Float64,
    "input_tokens": pl.Int64,
    "output_tokens": pl.Int64,
    "latency_p50_s": pl.Float64,
    "latency_p95_s": pl.Float64,
}
"""`slice` and `value` are empty for all rows together. `n` counts the tasks with a score, those `missing` and `invalid`
among them; `unscored` has those that nothing is expected of."""


def metrics_of(measured: Measured, *, pooled: bool) -> pl.DataFrame:
    """The metrics; with `pooled`, where any model answers a row, those of all models together too."""
    lines = [line for part in _parts(measured, pooled) for line in part]
    return pl.DataFrame(lines, schema=METRIC_SCHEMA, orient="row")


def _parts(measured: Measured, pooled: bool) -> Iterator[list[dict[str, Any]]]:
    names = list(measured.scores)
    scores = [found["score"].alias(f"score:{name}") for name, found in measured.scores.items()]
    frame = measured.tasks.with_columns(scores)
    binary = {name: found["score"].drop_nulls().is_in([0.0, 1.0]).all() for name, found in measured.scores.items()}
    slices = [name for name in frame.columns if name.startswith("slice:")]
    models = [*sorted(frame["model"].unique()), *([ALL_MODELS] if pooled else [])]
    for model in models:
        mine = frame if model == ALL_MODELS else frame.filter(pl.col("model") == model)
        yield [_line(model, "", "", name, mine, binary[name]) for name in names]
        for column in slices:
            for (value,), part in sorted(mine.partition_by(column, as_dict=True).items()):
                yield [_line(model, column.removeprefix("slice:"), value, name, part, binary[name]) for name in names]


def _line(model: str, part: str, value: str, scorer: str, tasks: pl.DataFrame, binary: bool) -> dict[str, Any]:
    scores = tasks[f"score:{scorer}"]
    known = scores.drop_nulls()
    found = _estimate(known, binary)
    latency = tasks["latency_s"]
    scored = tasks["state"].filter(scores.is_not_null())
    return {
        "model": model,
        "slice": part,
        "value": value,
        "scorer": scorer,
        "n": len(known),
        "mean": found.value,
        "low": found.low,
        "high": found.high,
        "method": "wilson" if binary else "bootstrap",
        "missing": int((scored == MISSING).sum()),
        "invalid": int((scored == INVALID).sum()),
        "unscored": len(scores) - len(known),
        "cost_usd": tasks["cost_usd"].sum(),
        "input_tokens": tasks["input_tokens"].sum(),
        "output_tokens": tasks["output_tokens"].sum(),
        "latency_p50_s": latency.quantile(0.5),
        "latency_p95_s": latency.quantile(0.95),
    }


def _estimate(scores: pl.Series, binary: bool) -> Estimate:
    """Wilson's interval for scores of 0 and 1, which holds at the ends too; for others the bootstrap's."""
    if binary:
        return wilson(int((scores == 1.0).sum()), len(scores))
    return bootstrap_mean(np.asarray(scores.to_numpy()), RESAMPLING)


def summarised(metrics: pl.DataFrame, evaluation: Evaluation) -> dict[str, Any]:
    """The metrics as `summary.json` holds them: every metric of each model, and the main one of each slice."""
    models: dict[str, Any] = {}
    slices: dict[str, Any] = {}
    for line in metrics.iter_rows(named=True):
        if not line["slice"]:
            about = models.setdefault(line["model"], {name: line[name] for name in ABOUT} | {"metrics": {}})
            about["metrics"][line["scorer"]] = _figures(line)
            if line["scorer"] == evaluation.main:
                about |= {name: line[name] for name in COUNTS}
        elif line["scorer"] == evaluation.main:
            values = slices.setdefault(line["slice"], {})
            values.setdefault(line["value"], {})[line["model"]] = _figures(line)
    return {
        "expected": evaluation.expected,
        "main": evaluation.main,
        "models": models,
        "slices": {name: _in_order(values) for name, values in slices.items()},
    }


ABOUT = ("cost_usd", "input_tokens", "output_tokens", "latency_p50_s", "latency_p95_s")
COUNTS = ("n", "missing", "invalid", "unscored")


def _figures(line: Mapping[str, Any]) -> dict[str, Any]:
    return {name: line[name] for name in ("n", "mean", "low", "high", "method")}


def _in_order(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a slice by name, numbers by size."""

    def place(value: str) -> tuple[int, float, str]:
        head = value.split(" to ")[0]
        try:
            return (0, float(head), value)
        except ValueError:
            return (1, 0.0, value)

    return {value: values[value] for value in sorted(values, key=place)}
