"""17,600 label rows of about 400 tokens over six models, at the real limits with time compressed six-fold.

A minute's budgets in a window of 10 seconds, under each kind of window, judged by the gateway's own meter. The least
possible time is that of a scheduler that knows everything: by the tokens that the gateway counted, a sliding log or
calendar windows let through one window's amount in each window, and a full bucket refills evenly.

    python benchmarks/label.py [--rows N] [--windows sliding,fixed,bucket] [--seed N]
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
from pathlib import Path
from typing import Any

from harness import ROOT, Measured, gateway, measured, note, runner

WINDOW = 10.0
SCALE = WINDOW / 60.0
MODELS = "gpt-5-4,gpt-5-4-mini,gpt-5-4-nano,gpt-5-1,claude-haiku-4-5,claude-sonnet-4-6"
LIMITS = f"window_seconds = {WINDOW:g}\n[per_model]\nrequests_per_second = 600\n"


def write_rows(path: Path, count: int, seed: int) -> None:
    """Rows of about 1,400 characters each, all different, from the samples' descriptions."""
    texts = [json.loads(line)["description"] for line in (ROOT / "samples/packages.jsonl").open()]
    chance = random.Random(seed)
    with path.open("w") as file:
        for index in range(count):
            text = " ".join(chance.choice(texts) for _ in range(6))
            start = chance.randrange(200)
            row = {"id": f"row-{index}", "description": f"[{index}] {text[start : start + chance.randint(1250, 1550)]}"}
            file.write(json.dumps(row) + "\n")


def least_possible(meter: dict[str, Any], window: str, phase: float, latency: float) -> float:
    """Seconds that no scheduler could beat, for the tokens that this gateway counted."""
    limits = meter["limits"].values()
    windows = max(limit["tokens"] / limit["limit"] for limit in limits if limit["window_seconds"] > 1)
    if window == "bucket":
        return max(0.0, windows - 1) * WINDOW + latency
    whole = math.ceil(windows) - 1
    # Calendar windows: the first one ends `phase` seconds after the start.
    return (phase + max(0, whole - 1) * WINDOW if window == "fixed" else whole * WINDOW) + latency


def report(window: str, run: Measured, meter: dict[str, Any], rows: int, phase: float) -> dict[str, Any]:
    """One line of the table."""
    tasks, requests = run.output["tasks"], run.output["requests"]
    taken = meter["last_done"] - meter["first_admitted"]
    least = least_possible(meter, window, phase, 0.6 * SCALE)
    # A full bucket lets through its content and what runs in meanwhile: two limits in one window's length.
    most = 2 if window == "bucket" else 1
    over = [name for name, limit in meter["limits"].items() if limit["peak"] > limit["limit"] * (most + 1e-9)]
    return {
        "rows": rows,
        "succeeded": tasks["succeeded"],
        "answered_twice": meter["answered_more_than_once"],
        "taken_s": round(taken, 1),
        "least_s": round(least, 1),
        "share": round(least / taken, 3),
        "refused": requests["refused_429"],
        "refused_percent": round(100 * requests["refused_429"] / requests["sent"], 2),
        "cpu_ms_row": round(1000 * run.cpu / rows, 2),
        "megabytes": round(run.megabytes),
        "over_budget": over,
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=17_600)
    parser.add_argument("--windows", default="sliding,fixed,bucket")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    phase = round(random.Random(options.seed).uniform(1, WINDOW), 1)
    columns = ("rows", "ok", "twice", "taken", "least", "share", "429", "% 429", "ms/row", "MB")
    note("window  " + "".join(f"{name:>8}" for name in columns) + "  over budget")
    for window in options.windows.split(","):
        with tempfile.TemporaryDirectory() as folder:
            rows, limits = Path(folder) / "rows.jsonl", Path(folder) / "limits.toml"
            write_rows(rows, options.rows, options.seed)
            limits.write_text(LIMITS)
            prompt = f"@{ROOT / 'samples/section.jinja'}"
            words = ["-m", MODELS, "-p", prompt, "--max-tokens", "16", "--limits", str(limits), "--no-memory"]
            start = ["--limits", str(limits), "--window", window, f"--time-scale={SCALE}", f"--seed={options.seed}"]
            if window == "fixed":
                start.append(f"--phase={phase}")
            with gateway(*start) as local:
                run = measured(runner("run", str(rows), *words, "--json", "-o", f"{folder}/run"), local.url)
                line = report(window, run, local.meter(), options.rows, phase)
        over = line.pop("over_budget")
        note(f"{window:<8}" + "".join(f"{value:>8}" for value in line.values()) + f"  {', '.join(over) or 'none'}")


if __name__ == "__main__":
    main()
