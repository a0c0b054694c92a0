"""What is printed of a job's history: each model's trend, and its last runs beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.report.columns import columns
from runner.report.counts import counted
from runner.report.safe import safe

BARS = "▁▂▃▄▅▆▇█"
LEAST_SPAN = 0.1
"""The range that a sparkline shows at least: two points of noise must not look like a fall."""
MARKS = {"better": "▲", "worse": "▼"}
MOST_MODELS = 5


def sparkline(values: Sequence[float | None]) -> str:
    """A bar for each value, a gap for None; the scale is the values' own, but never narrower than `LEAST_SPAN`."""
    known = [value for value in values if value is not None]
    if not known:
        return " " * len(values)
    low, high = min(known), max(known)
    if high - low < LEAST_SPAN:
        low = max(0.0, min((low + high - LEAST_SPAN) / 2, 1.0 - LEAST_SPAN))
        high = low + LEAST_SPAN
    top = len(BARS) - 1
    return "".join(
        " " if value is None else BARS[min(top, int((value - low) / (high - low) * top + 0.5))] for value in values
    )


def history_lines(name: str, metric: str, lines: Sequence[Mapping[str, Any]], last: int) -> list[str]:
    """The whole of it: `lines` are those of the history about one metric, the oldest first."""
    all_runs = list(dict.fromkeys((line["run"], line["created"]) for line in lines))
    runs = all_runs[-last:]
    at = {(line["run"], line["created"], line["model"]): line for line in lines}
    models = sorted({line["model"] for line in lines if (line["run"], line["created"]) in runs})
    shown = (
        f"the last {len(runs):,} of {len(all_runs):,} runs" if len(all_runs) > len(runs) else counted(len(runs), "run")
    )
    said = [f"{safe(name, 60)}: {safe(metric, 40)} over {shown}", ""]
    table = [("model", "trend", "last", "95 % interval", "cost $", "p50 s", "beside the run before")]
    for model in models:
        mine = [at.get((*run, model)) for run in runs]
        spark = sparkline([None if line is None else line["mean"] for line in mine])
        line = mine[-1]
        if line is None:
            table.append((safe(model, 28), spark, "-", "", "", "", ""))
            continue
        interval = "" if line["low"] is None else f"{100 * line['low']:.1f} to {100 * line['high']:.1f}"
        p50 = "" if line["latency_p50_s"] is None else f"{line['latency_p50_s']:.2f}"
        about = _percent(line["mean"]), interval, f"{line['cost_usd']:.4f}", p50, _change(line)
        table.append((safe(model, 28), spark, *about))
    return [*said, *columns(table, left=(0, 1, 6)), "", *_runs(runs, models[:MOST_MODELS], at), *_more(models)]


def _change(line: Mapping[str, Any]) -> str:
    if line["change"] is None:
        return "not compared"
    return f"{line['change']} {MARKS.get(line['change'], '')}".strip()


def _runs(runs: Sequence[tuple[str, str]], models: Sequence[str], at: Mapping[Any, Mapping[str, Any]]) -> list[str]:
    table = [("run", "begun", "gateway", *(safe(model, 28) for model in models), "")]
    before = None
    for run in runs:
        lines = {model: at.get((*run, model)) for model in models}
        any_line = next(line for key, line in at.items() if key[:2] == run)
        cells = (_cell(line) for line in lines.values())
        otherwise = before is not None and any_line["fingerprint"] != before
        before = any_line["fingerprint"]
        gateway = "local" if any_line["gateway"] == "local" else "remote"
        changed = "asked otherwise than before" if otherwise else ""
        table.append((safe(run[0], 32), run[1][:16].replace("T", " "), gateway, *cells, changed))
    return columns(table, left=(0, 1, 2, len(table[0]) - 1))


def _cell(line: Mapping[str, Any] | None) -> str:
    if line is None or line["mean"] is None:
        return "-"
    return f"{MARKS.get(line['change'] or '', '')} {_percent(line['mean'])}".strip()


def _percent(mean: float | None) -> str:
    return "-" if mean is None else f"{100 * mean:.1f} %"


def _more(models: Sequence[str]) -> list[str]:
    return [f"  ({len(models) - MOST_MODELS:,} more models: --json has them all)"] if len(models) > MOST_MODELS else []
