"""Several runs of one account at the same time: what they use together, how they share it, what one that dies costs.

All runs are real processes that start at once, with more rows than there is time for; the local gateway's meter says
what each let through. Where every run has a model of its own, and the limit of all models together binds, the meter's
figures by model are those of the runs; where all ask the same models, each run's share is by its own summary.

    python benchmarks/sharing.py [--only TEXT,...] [--window-seconds S] [--windows N] [--kind KIND]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import gateway, note, runner
from scenarios import KINDS, REQUESTS, Scenario, lognormal

MODELS = ("gpt-5-4-mini", "gpt-5-4-nano", "claude-haiku-4-5", "claude-sonnet-4-6")
LIMIT = 200_000
"""Input tokens in a window, of the limit that binds."""
TOKENS = 1_500
"""Of a row."""
OUTPUT = 16
"""The cap of an answer."""
SLICES = 20
"""Of a window: how finely the meter is read."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One of the runs."""

    models: tuple[str, ...]
    priority: str = "normal"
    starts: float = 0.0
    """Windows after the first."""
    dies: float | None = None
    """Windows after the first at which it is killed."""
    words: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is run together."""

    name: str
    runs: tuple[Run, ...]
    combined: bool = True
    """Whether the limit of all models binds; else each model's own."""


def _each_its_own(count: int, **words: Any) -> tuple[Run, ...]:
    return tuple(Run(models=(model,), **words) for model in MODELS[:count])


CASES = (
    Case(name="alone", runs=(Run(models=MODELS),)),
    Case(name="alone-own-model", runs=_each_its_own(1)),
    Case(name="alone-not-sharing", runs=_each_its_own(1, words=("--no-share",))),
    Case(name="four-equal", runs=_each_its_own(4)),
    Case(name="alone-same-models", runs=(Run(models=MODELS[:2]),), combined=False),
    Case(name="four-same-models", runs=(Run(models=MODELS[:2]),) * 4, combined=False),
    Case(name="four-not-sharing", runs=_each_its_own(4, words=("--no-share",))),
    Case(
        name="urgent-beside-bulk",
        runs=(
            Run(models=MODELS[:1], priority="batch"),
            Run(models=MODELS[1:2], priority="urgent", starts=1.5),
        ),
    ),
    Case(
        name="urgent-beside-normal",
        runs=(Run(models=MODELS[:1]), Run(models=MODELS[1:2], priority="urgent", starts=1.5)),
    ),
    Case(name="holder-killed", runs=(Run(models=MODELS[:1], dies=2.0), *_each_its_own(4)[1:])),
)


def write_files(case: Case, folder: Path, window: float, rows: int) -> None:
    """The limits and each run's rows."""
    per_model = 10 * LIMIT if case.combined else LIMIT // 2
    combined = LIMIT if case.combined else 10 * LIMIT
    text = f"window_seconds = {window:g}\n[combined]\ninput_tokens = {combined}\n"
    text += f"[per_model]\ninput_tokens = {per_model}\nrequests_per_second = {round(REQUESTS * 60 / window)}\n"
    (folder / "limits.toml").write_text(text)
    for number, _ in enumerate(case.runs):
        scenario = Scenario(name=f"sharing-{number}", tokens=lognormal(TOKENS, 0.07))
        with (folder / f"rows-{number}.jsonl").open("w") as file:
            for row in scenario.prompts(rows, "sliding", number):
                file.write(json.dumps(row) + "\n")


def start(case: Case, number: int, folder: Path, url: str, deadline: float) -> subprocess.Popen[bytes]:
    """Start one of the runs."""
    run = case.runs[number]
    words = ["run", str(folder / f"rows-{number}.jsonl"), "--json", "-o", str(folder / f"run-{number}")]
    words += ["-m", ",".join(run.models), "--limits", str(folder / "limits.toml"), f"--max-tokens={OUTPUT}"]
    words += [f"--priority={run.priority}", f"--deadline={deadline:.2f}", *run.words]
    env = {"NEON_AI_GATEWAY_BASE_URL": url, "NEON_AI_GATEWAY_TOKEN": "any-token-will-do"}
    env |= {"RUNNER_STATE_DIR": str(folder / "state")}
    with (folder / f"run-{number}.json").open("wb") as out, (folder / f"run-{number}.err").open("wb") as err:
        return subprocess.Popen(runner(*words), stdout=out, stderr=err, env={**os.environ, **env})


def play(case: Case, kind: str, window: float, windows: float, folder: Path) -> dict[str, Any]:
    """Run a case; the meter, and what the runs say."""
    write_files(case, folder, window, round(1.5 * (windows + 1) * LIMIT / TOKENS))
    options = ["--limits", str(folder / "limits.toml"), *KINDS[kind], "--time-scale", str(window / 60)]
    with gateway(*options, f"--phase={0.37 * window:.2f}") as local:
        begun = time.monotonic()
        waiting = sorted(range(len(case.runs)), key=lambda number: case.runs[number].starts)
        killing = [number for number, run in enumerate(case.runs) if run.dies is not None]
        processes: dict[int, subprocess.Popen[bytes]] = {}
        while waiting or killing or any(process.poll() is None for process in processes.values()):
            now = (time.monotonic() - begun) / window
            while waiting and case.runs[waiting[0]].starts <= now:
                number = waiting.pop(0)
                processes[number] = start(case, number, folder, local.url, (windows - now) * window)
            for number in [number for number in killing if (case.runs[number].dies or 0.0) <= now]:
                killing.remove(number)
                processes[number].kill()
            time.sleep(0.02)
        meter = local.meter(every=window / SLICES)
    said = []
    for number in range(len(case.runs)):
        text = (folder / f"run-{number}.json").read_text()
        said.append(json.loads(text) if text.strip() else {})
    return {"meter": meter, "runs": said}


def series(meter: dict[str, Any], name: str) -> list[float]:
    """What a limit let through, in slices of a window."""
    found: list[float] = meter["limits"][name].get("series", [])
    return found


def show(case: Case, kind: str, done: dict[str, Any]) -> dict[str, Any]:
    """Print what came of it."""
    meter = done["meter"]
    inputs = {name: series(meter, name) for name in meter["limits"] if name.startswith("input/")}
    own = {name: values for name, values in inputs.items() if any(values) and not name.endswith("/combined")}
    length = max(map(len, own.values()))
    total = [sum(values[i] if i < len(values) else 0.0 for values in own.values()) for i in range(length)]
    first = next(i for i, value in enumerate(total) if value)
    statuses = meter["statuses"]
    refused = statuses.get("429", 0)
    per_window = [sum(total[i : i + SLICES]) for i in range(first, len(total), SLICES)]
    note(f"\n{case.name}, {kind}: {sum(total):,.0f} tokens, {refused} of {sum(statuses.values())} refused with 429")
    note("  all    " + " ".join(f"{value / LIMIT:7.3f}" for value in per_window) + "   of the limit, by window")
    for name, values in sorted(own.items()):
        by_window = [sum(values[i : i + SLICES]) / LIMIT for i in range(first, len(values), SLICES)]
        note(f"  {name[:22]:<22} " + " ".join(f"{value:7.3f}" for value in by_window))
    for number, said in enumerate(done["runs"]):
        if said:
            note(
                f"  run {number} ({case.runs[number].priority}): {said['tokens']['input']:,} tokens, "
                f"{said['requests']['refused_429']} refused; {said['notices'] or ''}"
            )
    bursts = 1 + (kind == "bucket")
    over = [name for name, one in meter["limits"].items() if one["peak"] > one["limit"] * bursts + 0.01]
    if over:
        note(f"  exceeded: {over}")
    return {"case": case.name, "kind": kind, "tokens": sum(total), "refused": refused, "by_window": per_window}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT,...", help="cases whose names hold one of these")
    parser.add_argument("--kind", default="sliding,fixed", metavar="KIND,...", help="of " + ", ".join(KINDS))
    parser.add_argument("--window-seconds", type=float, default=10.0, metavar="S")
    parser.add_argument("--windows", type=float, default=4.0, metavar="N", help="how long each case lasts")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the runs' files there")
    options = parser.parse_args()
    names = [name for name in options.only.split(",") if name]
    note(f"load before: {os.getloadavg()[0]:.2f}")
    for case in CASES:
        if names and not any(name in case.name for name in names):
            continue
        for kind in options.kind.split(","):
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch) if options.keep is None else options.keep / f"{case.name}-{kind}"
                folder.mkdir(parents=True, exist_ok=True)
                show(case, kind, play(case, kind, options.window_seconds, options.windows, folder))
    note(f"load after: {os.getloadavg()[0]:.2f}")


if __name__ == "__main__":
    main()
