"""What `runner plan` says, beside what the run that follows takes: real processes against the local gateway.

A first run learns how the gateway counts, and how long answers are and take; then the same work is planned, and run
again. Time is compressed: windows are of ten seconds unless another length is given.

    python benchmarks/plan.py [--only NAME,...] [--windows KIND,...] [--seed N] [--rows N] [--window-seconds S]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from harness import gateway, measured, note, runner
from scenarios import KINDS, SCENARIOS, Scenario, limits

PATIENCE = 60.0
"""Windows after which a run is stopped."""
ONLY, WINDOWS = "label,output-bound,mixed", "sliding,fixed,bucket"
ROWS = {"label": 11_000, "output-bound": 800, "mixed": 2_000}
"""Some three windows of work."""


def play(scenario: Scenario, kind: str, seed: int, count: int, window: float, folder: Path) -> list[float]:
    """Seconds that were planned and taken, of the first run and of the second."""
    rows, own = folder / "rows.jsonl", folder / "limits.toml"
    rows.write_text("".join(json.dumps(row) + "\n" for row in scenario.prompts(count, kind, seed)))
    own.write_text(limits(window))
    words = [str(rows), "--json", "-m", ",".join(scenario.models), "--limits", str(own), *scenario.words]
    words += [f"--max-tokens={scenario.cap}"] if scenario.cap else []
    env = {"RUNNER_STATE_DIR": str(folder / "state")}
    figures: list[float] = []
    with gateway("--limits", str(own), *scenario.options(kind, seed, window)) as local:
        for number in (1, 2):
            planned = measured(runner("plan", *words, f"--gateway={local.url}"), local.url, env=env)
            out = ["-o", str(folder / f"run-{number}")]
            made = measured(runner("run", *words, *out), local.url, patience=PATIENCE * window, env=env)
            figures += [planned.output["seconds"], made.output["elapsed_s"]]
            time.sleep(2 * window)  # as another day: nothing is left in the gateway's windows
    return figures


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=ONLY, metavar="NAME,...")
    parser.add_argument("--windows", default=WINDOWS, metavar="KIND,...", help="of " + ", ".join(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, help="instead of some three windows of work")
    parser.add_argument("--window-seconds", type=float, default=10.0, metavar="S")
    options = parser.parse_args()
    note(
        f"{'scenario':<15}{'window':<10}{'rows':>7}{'first: planned':>16}{'taken':>8}{'then: planned':>16}{'taken':>8}"
    )
    for scenario in SCENARIOS:
        if scenario.name not in options.only.split(","):
            continue
        count = options.rows or ROWS.get(scenario.name, scenario.rows)
        for kind in options.windows.split(","):
            with tempfile.TemporaryDirectory() as folder:
                first, took, then, taken = play(
                    scenario, kind, options.seed, count, options.window_seconds, Path(folder)
                )
            line = f"{scenario.name:<15}{kind:<10}{count:>7,}{first:>16.1f}{took:>8.1f}{then:>16.1f}{taken:>8.1f}"
            note(f"{line}  {100 * (then / taken - 1):+.1f} %")


if __name__ == "__main__":
    main()
