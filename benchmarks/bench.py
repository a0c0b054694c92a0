"""The time taken beside the least possible time, for each scenario, kind of window and seed.

The local gateway runs in a process of its own, and everything is judged by its meter: what it admitted, refused and
answered, and when. The least possible time is that of one who knows everything in advance (see least.py).

With time compressed, a wave is bound by the processors as well: with --processors the same work is done once without
any limits, and the least possible time of those who can pass no more in a second than was passed then stands beside it.

    python benchmarks/bench.py [--only TEXT,...] [--windows KIND,...] [--seeds N] [--quick] [--again] [--processors]
                               [--peers PYTHON]

Prints a table, and writes results.json and a plot of each run into --out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import Measured, gateway, measured, note, runner
from least import least_seconds
from plots import plot
from scenarios import KINDS, SCENARIOS, Scenario, limits

PEERS = ("openai", "litellm", "async-batch-llm")
PATIENCE = 60.0
"""Windows after which a client is stopped."""
UNLIMITED = """
[combined]
input_tokens = 1_000_000_000_000
[per_model]
input_tokens = 1_000_000_000_000
output_tokens = 1_000_000_000_000
requests_per_second = 1_000_000
"""
"""A limits file of which nothing binds."""
QUICK = 4
"""By how much fewer rows there are with --quick."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One run of one client."""

    scenario: str
    window: str
    seed: int
    client: str
    rows: int
    answered: int
    """By the client's own word."""
    twice: int
    """Requests that the gateway answered more than once."""
    taken: float
    """Seconds from the first request that the gateway saw to the last answer that it gave."""
    least: float
    """Seconds that nobody could beat."""
    here: float | None = None
    """The same for those who have no more than these processors."""
    refused: float
    """Per cent of all requests that were answered 429."""
    again: float | None = None
    """The same of a second run, which may have learned from the first."""
    wall: float
    """Seconds that the client's process lived."""
    cpu: float
    """Seconds of processor time that it used."""
    megabytes: float
    code: int
    """The exit code of the client's process."""
    over: list[str]
    """Limits that let more through than their rule allows, which would be a fault of the gateway's."""

    @property
    def lost(self) -> int:
        """Rows without an answer."""
        return self.rows - self.answered

    @property
    def share(self) -> float:
        """The least possible time for one taken."""
        return self.least / self.taken if self.taken else 0.0

    @property
    def remark(self) -> str:
        """What should not be."""
        failed = [f"exit code {self.code}"] if self.code else []
        return ", ".join([*failed, *(f"{name} exceeded" for name in self.over)])

    def cells(self) -> list[str]:
        """The line of the table."""
        again = "" if self.again is None else f"{self.again:.2f}"
        counts = [f"{number:,}" for number in (self.rows, self.answered, self.lost, self.twice)]
        here = "" if self.here is None else f"{self.here / self.taken:.3f}" if self.taken else "0"
        times = [f"{self.taken:.1f}", f"{self.least:.1f}", f"{self.share:.3f}", here, f"{self.refused:.2f}", again]
        return [self.scenario, self.window, str(self.seed), self.client, *counts, *times, self.remark]


TITLES = ("scenario", "window", "seed", "client", "rows", "answered", "lost", "twice")
TITLES += ("taken", "least", "share", "here", "429%", "again%", "")
WIDTHS = (17, 9, 5, 16, 10, 10, 8, 6, 8, 8, 7, 7, 7, 7, 0)


def show(cells: list[str]) -> None:
    """One line of the table; words to the left, figures to the right."""
    words = ("scenario", "window", "client", "")
    placed = zip(cells, TITLES, WIDTHS, strict=True)
    note("".join(f"{cell:<{width}}" if title in words else f"{cell:>{width - 1}} " for cell, title, width in placed))


@dataclass(frozen=True, kw_only=True)
class Work:
    """A scenario with its files: what every client is given."""

    scenario: Scenario
    kind: str
    seed: int
    count: int
    window: float
    """Seconds."""
    folder: Path

    @property
    def rows(self) -> Path:
        """JSON lines of id, prompt and, where rows are pinned, model."""
        return self.folder / "rows.jsonl"

    @property
    def limits(self) -> Path:
        """The limits file."""
        return self.folder / "limits.toml"

    def write(self) -> None:
        """Write the files."""
        self.limits.write_text(limits(self.window))
        with self.rows.open("w") as file:
            for row in self.scenario.prompts(self.count, self.kind, self.seed):
                file.write(json.dumps(row) + "\n")

    def ours(self, number: int) -> list[str]:
        """The command of the runner; `number` is that of its run."""
        given, words = self.scenario, ["run", str(self.rows), "--json", "-o", str(self.folder / f"run-{number}")]
        words += ["-m", ",".join(given.models), "--limits", str(self.limits), *given.words]
        return runner(*words, *([f"--max-tokens={given.cap}"] if given.cap else []))

    def peer(self, python: str, client: str) -> list[str]:
        """The command of a peer, which reads all this from one argument; NAME?KEY=VALUE&... changes its setting."""
        name, _, changes = client.partition("?")
        given = {
            "rows": str(self.rows),
            "models": self.scenario.models,
            "cap": self.scenario.cap,
            "window": self.window,
        }
        for key, _, text in (change.partition("=") for change in changes.split("&") if change):
            given[key] = _value(text)
        return [python, str(Path(__file__).with_name("peers.py")), name, json.dumps(given)]


def _value(text: str) -> Any:
    """A value of a peer's setting, which is JSON or else a word."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def unlimited(work: Work) -> float:
    """Seconds that the same work takes the runner and the gateway where nothing is limited but the processors."""
    words = ["run", str(work.rows), "--json", "-o", str(work.folder / "unlimited"), "--no-memory", "--no-share"]
    limits = work.folder / "unlimited.toml"
    limits.write_text(UNLIMITED)
    words += ["-m", ",".join(work.scenario.models), "--limits", str(limits), f"--max-tokens={work.scenario.cap or 64}"]
    with gateway("--no-limits", "--time-scale=0", *work.scenario.gateway) as local:
        measured(runner(*words), local.url, patience=PATIENCE * work.window)
        meter = local.meter()
    return float(meter["last_done"] or 0.0)


def play(work: Work, client: str, python: str, again: bool, shortest: float, out: Path) -> Line:
    """Run one client, and read the meter."""
    start = ["--limits", str(work.limits), *work.scenario.options(work.kind, work.seed, work.window)]
    # What a run learns must neither come from elsewhere nor stay.
    homes = {f"XDG_{name}_HOME": str(work.folder / name) for name in ("STATE", "DATA", "CACHE", "CONFIG")}
    with gateway(*start) as local:
        command = work.ours(1) if client == "runner" else work.peer(python, client)
        run = measured(command, local.url, patience=PATIENCE * work.window, env=homes)
        meter = local.meter(every=work.window / 20)
        second = None
        if again and client == "runner":
            local.reset()
            measured(work.ours(2), local.url, patience=PATIENCE * work.window, env=homes)
            second = refused(local.meter())
    name = "-".join([work.scenario.name, work.kind, str(work.seed), client])
    plot(meter, name, out / f"{name}.png")
    return line(work, client, run, meter, second, shortest)


def line(work: Work, client: str, run: Measured, meter: dict[str, Any], again: float | None, shortest: float) -> Line:
    """What came of a run."""
    answered = run.output["tasks"]["succeeded"] if client == "runner" and run.output else run.output.get("answered")
    return Line(
        scenario=work.scenario.name,
        window=work.kind,
        seed=work.seed,
        client=client,
        rows=work.count,
        # A client that was stopped has said nothing.
        answered=meter["distinct_bodies"] - meter["never_answered"] if answered is None else answered,
        twice=meter["answered_more_than_once"],
        taken=meter["last_done"] or 0.0,
        least=least_seconds(meter, pinned=work.scenario.pinned),
        here=least_seconds(meter, pinned=work.scenario.pinned, shortest=shortest) if shortest else None,
        refused=refused(meter),
        code=run.exit_code,
        over=exceeded(meter),
        again=again,
        wall=round(run.wall, 2),
        cpu=round(run.cpu, 2),
        megabytes=round(run.megabytes),
    )


def refused(meter: dict[str, Any]) -> float:
    """Per cent of the requests that were answered 429."""
    statuses = meter["statuses"]
    return 100 * statuses.get("429", 0) / max(1, sum(statuses.values()))


def exceeded(meter: dict[str, Any]) -> list[str]:
    """Limits of which more was in force than there is; a bucket gives its content and one refill in a window."""
    most = {
        name: one["limit"] * (1 + one["burst"] * (one["window"] == "bucket")) for name, one in meter["limits"].items()
    }
    return [name for name, one in meter["limits"].items() if one["peak"] > most[name] + 0.01]


def chosen(options: argparse.Namespace) -> Iterator[tuple[Scenario, str, int]]:
    """The scenarios, kinds of window and seeds to run."""
    names = [name for name in options.only.split(",") if name]
    for scenario in SCENARIOS:
        wanted = any(name == scenario.name or (name in scenario.name and not scenario.optional) for name in names)
        if not (wanted or (not names and not scenario.optional)):
            continue
        for kind in options.windows.split(","):
            if kind in scenario.only:
                yield from ((scenario, kind, seed) for seed in range(options.seed, options.seed + options.seeds))


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT,...", help="scenarios whose names hold one of these")
    parser.add_argument("--windows", default=",".join(KINDS), metavar="KIND,...", help="of " + ", ".join(KINDS))
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="how many seeds")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the first of them")
    parser.add_argument("--rows", type=int, metavar="N", help="instead of the scenario's own number")
    parser.add_argument(
        "--window-seconds", type=float, default=10.0, metavar="S", help="60 is real speed; 10 if not given"
    )
    parser.add_argument("--quick", action="store_true", help="a quarter of the rows")
    parser.add_argument("--again", action="store_true", help="a second run of each, after what the first has learned")
    parser.add_argument("--processors", action="store_true", help="what they let through at most, beside the limits")
    parser.add_argument("--peers", metavar="PYTHON", help="run the peers too, under the Python that has them")
    parser.add_argument("--clients", default="", metavar="NAME,...", help="only these: runner, " + ", ".join(PEERS))
    parser.add_argument("--out", type=Path, default=Path("bench-out"), metavar="DIR", help="for results and plots")
    return parser.parse_args()


def main() -> None:
    """Run the benchmark."""
    options = arguments()
    clients = options.clients.split(",") if options.clients else ["runner", *(PEERS if options.peers else ())]
    options.out.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    shortest: dict[str, float] = {}
    show(list(TITLES))
    for scenario, kind, seed in chosen(options):
        count = options.rows or scenario.rows // (QUICK if options.quick else 1)
        with tempfile.TemporaryDirectory() as folder:
            work = Work(
                scenario=scenario, kind=kind, seed=seed, count=count, window=options.window_seconds, folder=Path(folder)
            )
            work.write()
            if options.processors and scenario.name not in shortest:
                shortest[scenario.name] = unlimited(work)
            for client in clients:
                passed = shortest.get(scenario.name, 0.0)
                done = play(work, client, options.peers or "", options.again, passed, options.out)
                show(done.cells())
                results.append({**asdict(done), "lost": done.lost, "share": round(done.share, 4)})
                (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
