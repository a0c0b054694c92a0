"""Whole runs in virtual time under whatever can go wrong, by seed (`docs/simulation.md`)."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from simulated import Scenario, simulate

from runner.storage.history import read_history
from runner.storage.results import Tables

HERE = Path(__file__).parent
SEEDS = int(os.environ.get("SIMULATED_SEEDS", "2000"))
BATCH = 50
FOUND = [int(line.split()[0]) for line in (HERE / "seeds.txt").read_text().splitlines() if not line.startswith("#")]
SOMETIMES = (
    "429 without a time",
    "a limit was used in full",
    "ambiguous, then answered",
    "belief cut and won back",
    "cut short and asked again",
    "damage refused",
    "disk full",
    "exit 0",
    "exit 3",
    "exit 130",
    "exit 5",
    "exit 8",
    "exit 9",
    "exit None",
    "gate closed across a crash",
    "gate closed across a restart",
    "given up",
    "half-open probe refused",
    "intent lost with the power",
    "interrupted",
    "killed",
    "outage",
    "over a limit",
    "passed and sent",
    "power lost, rubbish",
    "power lost, torn",
    "power lost, whole",
    "power lost, zeros",
    "resumed after 401",
    "resumed after a full disk",
    "resumed after a failed sync",
    "resumed after an interrupt",
    "tail left torn",
    "torn tail cut",
    "usage missing",
)
"""What the seeds must have met: a batch of runs to which nothing happened proves nothing."""

Tell = Callable[[int], Any]


@pytest.mark.parametrize("seed", FOUND)
def test_what_was_once_broken_holds(seed: int, told: Tell) -> None:
    """Seeds that found something are run first, for ever."""
    assert told(seed).violation is None


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
@pytest.mark.promise("outcome", "durable", "budget", "bounded", "paid", "tables")
def test_promises_hold(first: int, told: Tell) -> None:
    """I1 to I13: whatever goes wrong, no promise is broken at any moment, and every run is done in time."""
    for seed in range(first, min(first + BATCH, SEEDS)):
        outcome = told(seed)
        assert outcome.violation is None, f"seed {seed}: {outcome.violation}"


@pytest.mark.skipif(SEEDS < 1000, reason="so few seeds do not meet everything")
def test_the_seeds_meet_everything_that_they_are_to_test(told: Tell) -> None:
    """Each fault, and each way to come back from one, happened in some run."""
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        seen += told(seed).seen
    assert [name for name in SOMETIMES if not seen[name]] == []


def test_two_runs_of_one_seed_are_the_same(told: Tell) -> None:
    """I10: nothing but the seed decides: not the process, nor the order of a set, nor the hash of a text."""
    seeds = range(40)
    script = [sys.executable, str(HERE / "soak.py"), "--trace", "--seeds", str(len(seeds))]
    paths = os.pathsep.join([str(HERE.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    for hashing in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hashing, "PYTHONPATH": paths}
        said = subprocess.run(script, env=environment, capture_output=True, text=True, check=True).stdout
        assert said.splitlines() == [f"{seed} {told(seed).trace}" for seed in seeds]


def test_a_journal_is_folded_into_the_same_bytes_each_time(tmp_path: Path) -> None:
    """I11: tables depend on the journal and the input alone, however often the run was interrupted."""
    run, first, second = (tmp_path / name for name in ("run", "first.parquet", "second.parquet"))
    run.mkdir()
    journal = run / "journal.jsonl"
    for seed in range(10):
        scenario = Scenario.of(seed)
        assert simulate(seed, run).violation is None
        for path in (first, second):
            tables = Tables(
                lambda scenario=scenario: scenario.rows,  # type: ignore[misc]
                lambda row: [(0, str(row.index), "a", "")],
                read_history(journal, scenario.maker().slots),
                journal,
                {"id": pl.String},
            )
            tables.write_results(path)
        assert first.read_bytes() == second.read_bytes()
        statuses = pl.read_parquet(first)["status"].to_list()
        assert len(statuses) == len(scenario.rows)
        assert set(statuses) <= {"succeeded", "errored"}
