"""Runs that have ended, made of a few answers: what an evaluation finds on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from runner.core.evaluating import Evaluation, Scoring, Slice
from runner.core.job import Job
from runner.evaluation.ending import conclude
from runner.storage.results import RESULT_SCHEMA
from runner.storage.rundir import RunDirectory

EVALUATION = Evaluation(expected="truth", scorers=(Scoring(name="exact", scorer="exact"),), main="exact")

Answers = Mapping[str, Sequence[str | None]]
"""Model -> its answer to each row; None where it failed."""


@pytest.fixture
def evaluation() -> Evaluation:
    """Exact scores against the column `truth`."""
    return EVALUATION


def write_results(path: Path, answers: Answers, truth: Sequence[Any], columns: Mapping[str, Sequence[Any]]) -> None:
    """A results table in which every model was asked about every row; an answer `?` is one that cannot be read."""
    lines = [
        {
            "row": row,
            "id": f"r{row}",
            "model": model,
            "status": "errored" if given[row] is None else "succeeded",
            "outcome": None if given[row] is None else "refused" if given[row] == "!" else "ok",
            "text": given[row],
            "answer": None if given[row] == "?" else given[row],
            "answer_status": "invalid" if given[row] == "?" else "read",
            "invalid_reason": "it names no label" if given[row] == "?" else None,
            "cost_usd": 0.01,
            "input_tokens": 10,
            "output_tokens": 2,
            "latency_s": 1.0 + row,
            "truth": wanted,
            **{name: values[row] for name, values in columns.items()},
        }
        for row, wanted in enumerate(truth)
        for model, given in answers.items()
    ]
    own = {**RESULT_SCHEMA, "answer_status": pl.String, "invalid_reason": pl.String}
    pl.DataFrame(lines, schema_overrides=own, infer_schema_length=None).write_parquet(path)


MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """A run directory whose run has ended, with its evaluation."""

    def make(
        name: str,
        answers: Answers,
        truth: Sequence[Any],
        *,
        evaluation: Evaluation = EVALUATION,
        columns: Mapping[str, Sequence[Any]] | None = None,
        each: bool = True,
        created: str = "2026-01-01T00:00:00+0000",
        **job: Any,
    ) -> Path:
        columns = columns or {"text": [f"text {row}" for row in range(len(truth))]}
        directory = RunDirectory.create(tmp_path / "runs" / name, "job")
        declared = Job(input="rows", name="job", models=tuple(answers), each=each, evaluate=evaluation)
        declared = replace(declared, **job)
        write_results(directory.results_path, answers, truth, {f"input_{n}" if n == "text" else n: values
                                                               for n, values in columns.items()})  # fmt: skip
        manifest = {
            "run": name,
            "created": created,
            "job": declared.to_json(),
            "gateway": {"local": True, "origin": None},
            "input": {},
            "models": {},
            "limits": {},
            "catalogs": [],
        }
        directory.write_json(directory.manifest_path, manifest)
        summary = {"exit_code": 0, "tasks": {}, "models": {}, "cost_usd": 0.01 * len(answers) * len(truth)}
        said = conclude(directory, declared, dict.fromkeys(["truth", *columns]), {}, summary)
        directory.write_json(directory.summary_path, {**summary, **orjson.loads(orjson.dumps(said))})
        return directory.path

    return make


@pytest.fixture
def summary() -> Callable[[Path], dict[str, Any]]:
    """A run's summary."""
    return lambda run: orjson.loads((run / "summary.json").read_bytes())


@pytest.fixture
def scoring() -> type[Scoring]:
    """Makes scorings."""
    return Scoring


@pytest.fixture
def slicing() -> type[Slice]:
    """Makes slices."""
    return Slice
