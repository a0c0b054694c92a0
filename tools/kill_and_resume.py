"""Kill a runner again and again at moments of chance, resume it each time, and prove from outside what came of it.

    make kills CYCLES=200

Jobs of two thousand rows run against one gateway, which is a process of its own and is never killed. A run is ended
with SIGKILL after a random time and gone on with, until it comes to its end; then the next job begins, until there were
so many kills. Judged is by what cannot be mistaken: the journal as it stood after each kill, the tables in the end, and
the gateway's own count of what it answered.

Asked twice may be only what was in flight at a kill: of that nobody can know whether it was answered. SIGKILL takes the
process and not the machine, so what a loss of power would cost is not shown here.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import polars as pl  # noqa: E402
from harness import Gateway, gateway, note, runner  # noqa: E402

from runner.storage import journal  # noqa: E402

JOB = ("-m", "claude-haiku-4-5", "--max-tokens", "16", "--quiet")
"""The cap is fixed, so that a request is the same whenever it is made, and the gateway can tell that it is."""
GATEWAY = ("--no-limits", "--latency", "0.4", "--tokens-per-second", "0")
LIMITS = """
[per_model]
requests_per_second = 200
input_tokens = 1_000_000_000

[combined]
input_tokens = 1_000_000_000

[models.claude-haiku-4-5]
output_tokens = 1_000_000_000
"""
"""Some ten seconds of work for a job, so that it takes several kills, with some eighty requests in flight."""
SOONEST, LATEST = 0.2, 2.4
"""Seconds after its start when a process is killed: from before it has read the journal to well into its work."""


@dataclass
class Figures:
    """What was counted over all jobs."""

    kills: int = 0
    jobs: int = 0
    rows: int = 0
    sent: int = 0
    torn: int = 0
    """Kills that left half a frame."""
    before_the_journal: int = 0
    """Kills of a first session that had nothing to lose yet."""
    in_flight: int = 0
    """Requests of which a kill took the answer."""
    asked_again: int = 0
    """Requests for a row that had its outcome in the journal: must be none."""
    lost: int = 0
    """Outcomes that a journal held after a kill, and not word for word in the end: must be none."""
    wrong: list[str] = field(default_factory=list)
    """Whatever else must not be."""


@dataclass
class Job:
    """One input, its run directory, and the outcomes that were seen in its journal after a kill."""

    source: Path
    directory: Path
    limits: Path
    rows: int
    acknowledged: dict[int, Any] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """The command that begins it, or goes on with it."""
        if (self.directory / "manifest.json").exists():
            return runner("resume", str(self.directory), "--quiet")
        return runner("run", str(self.source), *JOB, "--limits", str(self.limits), "--out", str(self.directory))

    def outcomes(self) -> dict[int, Any]:
        """What the journal says now of the rows that have ended."""
        path = self.directory / "journal.jsonl"
        if not path.exists():
            return {}
        frames = (frame.payload for frame in journal.read(path))
        return {frame["row"]: (frame["final"], frame.get("text")) for frame in frames if frame.get("final")}


def write_job(folder: Path, number: int, rows: int) -> Job:
    """A job whose rows nobody else asks about."""
    source = folder / f"rows-{number}.jsonl"
    lines = (json.dumps({"prompt": f"Job {number}: say something about row {row}."}) for row in range(rows))
    source.write_text("\n".join(lines) + "\n")
    limits = folder / "limits.toml"
    limits.write_text(LIMITS)
    return Job(source, folder / f"run-{number}", limits, rows)


def run_until(words: list[str], seconds: float, env: dict[str, str], errors: Path) -> int | None:
    """Let a process run for so long; None if it had to be killed, else its exit code."""
    with errors.open("wb") as said:
        process = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=said)  # noqa: S603 - our own
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
        return None if code == -9 else code


def kill_until_done(job: Job, figures: Figures, chance: random.Random, most: int, env: dict[str, str]) -> None:
    """Kill and resume one job until it comes to its end; after `most` kills in all it is left in peace."""
    errors = job.directory.with_suffix(".err")
    while True:
        seconds = chance.uniform(SOONEST, LATEST) if figures.kills < most else 600.0
        code = run_until(job.words, seconds, env, errors)
        if code is not None:
            if code != 0:
                figures.wrong.append(f"{job.directory.name} ended with {code}: {errors.read_text()[-300:]}")
            return
        figures.kills += 1
        path = job.directory / "journal.jsonl"
        if not path.exists():
            figures.before_the_journal += 1
            continue
        found = list(journal.scan(path))
        figures.torn += bool(found) and isinstance(found[-1], journal.Damage)
        now = job.outcomes()
        figures.lost += sum(now.get(row) != outcome for row, outcome in job.acknowledged.items())
        job.acknowledged |= now


def judge(job: Job, figures: Figures) -> set[int]:
    """Count what the journal and the tables of a finished job say; the rows that may have been answered twice."""
    final = job.outcomes()
    figures.lost += sum(final.get(row) != outcome for row, outcome in job.acknowledged.items())
    ended: set[int] = set()
    open_rows: dict[tuple[int, int], int] = {}
    twice: set[int] = set()
    for frame in journal.read(job.directory / "journal.jsonl"):
        payload = frame.payload
        if payload["t"] == "session":  # whatever was in flight when the last one ended is not known of
            twice |= {row for row, _ in open_rows}
            figures.in_flight += len(open_rows)
            open_rows.clear()
        elif payload["t"] == "sent":
            figures.sent += 1
            figures.asked_again += payload["row"] in ended
            open_rows[payload["row"], payload["n"]] = frame.offset
        elif payload["t"] == "landed":
            open_rows.pop((payload["row"], payload["n"]), None)
        if payload.get("final"):
            if payload["row"] in ended:
                figures.wrong.append(f"{job.directory.name}: row {payload['row']} has two outcomes")
            ended.add(payload["row"])
    table = pl.read_parquet(job.directory / "results.parquet")
    if table["row"].to_list() != list(range(job.rows)) or set(table["status"]) != {"succeeded"}:
        figures.wrong.append(f"{job.directory.name}: the table has not one answer for each row")
    if table["text"].to_list() != [final[row][1] for row in range(job.rows)]:
        figures.wrong.append(f"{job.directory.name}: the table does not say what the journal says")
    tasks = json.loads((job.directory / "summary.json").read_text())["tasks"]
    if not tasks["total"] == tasks["succeeded"] == job.rows:
        figures.wrong.append(f"{job.directory.name}: the summary does not add up: {tasks}")
    figures.jobs += 1
    figures.rows += job.rows
    return twice


def compare(figures: Figures, twice: int, meter: dict[str, Any]) -> None:
    """Hold what the runner says against what the gateway counted."""
    expectations = {
        "requests that are not one for each row": meter["distinct_bodies"] != figures.rows,
        "rows that the gateway never answered": meter["never_answered"] > 0,
        "rows answered twice that were not in flight at a kill": meter["answered_more_than_once"] > twice,
        "answers that nobody asked for": meter["answered"] > figures.sent,
    }
    figures.wrong += [f"the gateway counted {what}" for what, so in expectations.items() if so]


def work(folder: Path, at: Gateway, cycles: int, rows: int, seed: int) -> tuple[Figures, dict[str, Any], int]:
    """Go through jobs until there were so many kills; the figures, the gateway's, and the rows perhaps asked twice."""
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "RUNNER_STATE_DIR": str(folder / "state"),
        "NEON_AI_GATEWAY_BASE_URL": at.url,
        "NEON_AI_GATEWAY_TOKEN": "any-token-will-do",
    }
    figures, chance, twice = Figures(), random.Random(seed), 0
    while figures.kills < cycles and not figures.wrong:
        job = write_job(folder, figures.jobs, rows)
        kill_until_done(job, figures, chance, cycles, env)
        if figures.wrong:
            break
        twice += len(judge(job, figures))
        note(f"{figures.kills:>5} kills, {figures.jobs} jobs, {figures.in_flight} requests in flight at a kill")
    meter = at.meter()
    compare(figures, twice, meter)
    return figures, meter, twice


def main() -> int:
    """Kill so often as the command line says, and print what was found."""
    parser = argparse.ArgumentParser(description="Kill and resume runs at moments of chance.")
    parser.add_argument("--cycles", type=int, default=200, help="kills in all")
    parser.add_argument("--rows", type=int, default=2_000, help="of each job")
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, gateway(*GATEWAY) as at:
        figures, meter, twice = work(Path(folder), at, words.cycles, words.rows, words.seed)
    note()
    note(f"{figures.kills} kills in {time.monotonic() - began:.0f} s, seed {words.seed}")
    note(f"{figures.before_the_journal} of them before there was a journal; {figures.torn} left half a frame")
    note(f"{figures.jobs} jobs of {words.rows:,} rows came to their end: {figures.rows:,} rows, one answer each")
    note(f"{figures.sent:,} requests sent, {meter['answered']:,} answered for {meter['distinct_bodies']:,} rows")
    note(f"{figures.in_flight:,} requests of {twice:,} rows were in flight at a kill: perhaps billed, asked again;")
    note(f"  {meter['answered_more_than_once']:,} of these rows the gateway answered more than once")
    note(f"{figures.asked_again} requests for a row that had its outcome in the journal (must be 0)")
    note(f"{figures.lost} outcomes lost or changed that a journal held after a kill (must be 0)")
    for line in figures.wrong:
        note(f"WRONG: {line}")
    return 1 if figures.wrong or figures.asked_again or figures.lost else 0


if __name__ == "__main__":
    sys.exit(main())
