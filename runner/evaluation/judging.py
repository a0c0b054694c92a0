"""A model as judge: a second run over the answers, which grades each by a rubric.

It is a run of its own in RUN/judge-1, with its own budget of money, through the same gateway and under the same limits;
it can be resumed like any other. Where the answers have changed since, as after `redrive`, another run takes over the
grades that still hold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from runner.core.answers import Reader
from runner.core.caps import Caps
from runner.core.evaluating import JUDGE, Evaluation, Judging
from runner.core.job import Job
from runner.core.labelling import Reading
from runner.core.values import Settings
from runner.evaluation.scores import ANSWERED, INVALID, Measured
from runner.statistics.agreement import cohen_kappa
from runner.statistics.intervals import wilson
from runner.statistics.ratings import ratings

BATCH = 5_000
ANSWER, EXPECTED, KEY = "answer", "expected", "grading"
"""What a rubric may use beside the row's columns, and the column that names what is graded."""

Grade = Callable[[Job, Path, Path | None], Any]
"""Runs the judge's job in a directory, taking over what the run in another one has graded; its `Finish`."""


@dataclass(frozen=True, slots=True)
class Graded:
    """How the judge's run went."""

    directory: Path
    exit_code: int
    reason: str | None
    cost: float

    @property
    def is_over(self) -> bool:
        """Whether it came to its end, or to the end of its money: what it has not graded then has no grade."""
        return self.exit_code in (0, 3, 4)


def grade(run: Path, evaluation: Evaluation, judging: Judging, columns: Mapping[str, str], by: Grade) -> Graded | None:
    """Have a run's answers graded; None if there are none. `columns` are the input's by their names in the table."""
    content = _gradings(run / "results.parquet", evaluation, columns)
    if not content:
        return None
    directory, before = _place(run, content)
    finish = by(_job(judging, directory), directory, before)
    return Graded(directory, finish.ending.exit_code, finish.ending.reason, finish.summary["cost_usd"])


def _job(judging: Judging, directory: Path) -> Job:
    reader = Reader(kind="rating", low=judging.low, high=judging.high)
    return Job(
        input=str(directory.with_suffix(".jsonl").absolute()),
        name="judge",
        models=(judging.model,),
        prompt=judging.rubric,
        settings=Settings(max_tokens=judging.max_tokens),
        row_settings=False,
        id_column=KEY,
        bad_rows="record",
        answer=Reading(reader=reader),
        caps=Caps(max_cost=judging.max_cost),
    )


def _gradings(results: Path, evaluation: Evaluation, columns: Mapping[str, str]) -> bytes:
    """The judge's input: each answer to each row once, however many models gave it."""
    lines, seen = [], set()
    scan = pl.scan_parquet(results, glob=False).filter(_is_answered(pl.scan_parquet(results, glob=False)))
    inverse = {table: name for name, table in columns.items()}
    wanted = scan.select("row", ANSWER, *(name for name in inverse if name not in ("row", ANSWER)))
    for frame in wanted.collect_batches(chunk_size=BATCH, maintain_order=True):
        for line in frame.iter_rows(named=True):
            if (line["row"], line[ANSWER]) in seen:
                continue
            seen.add((line["row"], line[ANSWER]))
            row = {inverse[name]: value for name, value in line.items() if name in inverse}
            row |= {ANSWER: line[ANSWER], EXPECTED: line[columns[evaluation.expected]], KEY: _key(line)}
            lines.append(orjson.dumps(row, default=str, option=orjson.OPT_APPEND_NEWLINE))
    return b"".join(lines)


def _is_answered(scan: pl.LazyFrame) -> pl.Expr:
    answered = (pl.col("status") == "succeeded") & pl.col(ANSWER).is_not_null()
    return answered & ~pl.col("outcome").is_in(["refused", "filtered"])


def _key(line: Mapping[str, Any]) -> str:
    return f"{line['row']}-{hashlib.blake2b(line[ANSWER].encode(), digest_size=9).hexdigest()}"


def _place(run: Path, content: bytes) -> tuple[Path, Path | None]:
    """Where these answers are graded: where they were before, else a new place; and the last place before it."""
    before = None
    for number in count(1):
        directory = run / f"judge-{number}"
        file = directory.with_suffix(".jsonl")
        if not file.exists():
            file.write_bytes(content)
            file.chmod(0o600)
            return directory, before
        if file.read_bytes() == content:
            return directory, before
        before = directory
    raise AssertionError


def grades(measured: Measured, answers: pl.Series, judging: Judging, graded: Graded | None) -> pl.DataFrame:
    """The judge's score of each task: the grade as a share of the scale. What it did not grade has none."""
    given: dict[str, str] = {}
    if graded is not None:
        given = dict(
            pl.read_parquet(graded.directory / "results.parquet").select("id", ANSWER).drop_nulls().iter_rows()
        )
    values: list[float | None] = []
    reasons: list[str] = []
    for row, answer, state in zip(measured.tasks["row"], answers, measured.tasks["state"], strict=True):
        if state != ANSWERED:
            values.append(0.0)
            reasons.append("it cannot be read" if state == INVALID else "no answer")
            continue
        grading = given.get(_key({"row": row, ANSWER: answer}))
        values.append(None if grading is None else (float(grading) - judging.low) / (judging.high - judging.low))
        reasons.append("the judge gave no grade" if grading is None else f"graded {float(grading):g}")
    return pl.DataFrame({"score": pl.Series(values, dtype=pl.Float64), "reason": pl.Series(reasons, dtype=pl.String)})


def about_judge(measured: Measured, judging: Judging, graded: Graded | None, against: str | None) -> dict[str, Any]:
    """What the summary says of the judge: its cost, what it graded, and how much it agrees with what is known.

    `against` is a metric of 0 and 1; a grade in the upper half of the scale calls an answer right.
    """
    answered = measured.tasks["state"] == ANSWERED
    scores = measured.scores[JUDGE]["score"].filter(answered)
    said: dict[str, Any] = {
        "model": judging.model,
        "run": None if graded is None else graded.directory.name,
        "cost_usd": 0.0 if graded is None else graded.cost,
        "graded": len(scores.drop_nulls()),
        "ungraded": scores.null_count(),
    }
    if against is None:
        return said
    pairs = pl.DataFrame({"judge": scores >= 0.5, "known": measured.scores[against]["score"].filter(answered) == 1.0})
    pairs = pairs.drop_nulls()
    same = wilson(int((pairs["judge"] == pairs["known"]).sum()), len(pairs))
    kappa = cohen_kappa(ratings([[str(value) for value in pairs[name]] for name in ("judge", "known")]))
    said["agreement"] = {
        "with": against,
        "n": len(pairs),
        "share": {"value": same.value, "low": same.low, "high": same.high},
        "kappa": {"value": kappa.value, "low": kappa.low, "high": kappa.high, "reason": kappa.reason},
    }
    return said
