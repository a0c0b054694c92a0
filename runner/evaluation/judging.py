"""A model as judge: a second run over the answers, which grades each by a rubric.

`judges` has what holds for the runs of all judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from runner.core.answers import Reader
from runner.core.caps import Caps
from runner.core.evaluating import JUDGE, Evaluation, Judging
from runner.core.job import Job
from runner.core.labelling import Reading
from runner.core.quoting import quoted
from runner.core.values import Settings
from runner.evaluation.judges import Ask, Judged, as_line, digest, is_answered, judged_by, lines_of
from runner.evaluation.scores import ANSWERED, INVALID, Measured
from runner.statistics.agreement import cohen_kappa
from runner.statistics.intervals import wilson
from runner.statistics.ratings import ratings

ANSWER, EXPECTED, KEY = "answer", "expected", "grading"
"""What a rubric may use beside the row's columns, the answer quoted; and the column that names what is graded."""


def grade(run: Path, evaluation: Evaluation, judging: Judging, columns: Mapping[str, str], ask: Ask) -> Judged | None:
    """Have a run's answers graded; None if there are none. `columns` are the input's by their names in the table."""
    questions = _gradings(run / "results.parquet", evaluation, columns)
    return judged_by(run, JUDGE, questions, lambda file: job_of(judging, file), ask)


def job_of(judging: Judging, file: Path) -> Job:
    """The judge's job for the questions in a file."""
    reader = Reader(kind="rating", low=judging.low, high=judging.high)
    return Job(
        input=str(file),
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
    for line, row in lines_of(pl.scan_parquet(results, glob=False).filter(is_answered()), columns):
        if (line["row"], line[ANSWER]) in seen:
            continue
        seen.add((line["row"], line[ANSWER]))
        expected = None if evaluation.expected is None else line[columns[evaluation.expected]]
        lines.append(as_line({**row, ANSWER: quoted(line[ANSWER]), EXPECTED: expected, KEY: _key(line)}))
    return b"".join(lines)


def _key(line: Mapping[str, Any]) -> str:
    return f"{line['row']}-{digest(line[ANSWER])}"


def grades(measured: Measured, answers: pl.Series, judging: Judging, graded: Judged | None) -> pl.DataFrame:
    """The judge's score of each task: the grade as a share of the scale. What it did not grade has none."""
    given: dict[str, str] = {}
    if graded is not None:
        given = dict(
            pl.read_parquet(graded.directory / "results.parquet", glob=False)
            .select("id", ANSWER)
            .drop_nulls()
            .iter_rows()
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


def about_judge(measured: Measured, judging: Judging, graded: Judged | None, against: str | None) -> dict[str, Any]:
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
