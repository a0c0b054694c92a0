"""Results tables as a run leaves them, written by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from runner.core.answers import Reader
from runner.core.job import Job
from runner.core.labelling import Annotators, Gold, Reading, Voting
from runner.storage.results import RESULT_SCHEMA
from runner.storage.rundir import RunDirectory

INVALID = "it names 2 labels"


@pytest.fixture
def job() -> Callable[..., Job]:
    """A job whose answers are read in a given way."""

    def make(
        kind: str = "label",
        least: float = 0.0,
        weights: Any = None,
        gold: str | None = None,
        samples: int = 1,
        **reader: Any,
    ) -> Job:
        labels = () if kind == "rating" else ("a", "b", "c")
        return Job(
            input="rows.jsonl",
            answer=Reading(reader=Reader(kind=kind, **{"labels": labels, **reader})),  # type: ignore[arg-type]
            annotators=Annotators(samples=samples),
            vote=Voting(least=least, weights=weights or {}),
            gold=None if gold is None else Gold(column=gold),
        )

    return make


@pytest.fixture
def results(tmp_path: Path) -> Callable[..., RunDirectory]:
    """A run whose annotators gave these answers, one text for each row; "!" is invalid, None missing, "-" not asked."""

    def write(
        answers: Mapping[str, Sequence[str | None]],
        kinds: Mapping[str, Any] | None = None,
        sure: Mapping[str, Sequence[float | None]] | None = None,
        ids: Sequence[str] | None = None,
        **columns: Sequence[Any],
    ) -> RunDirectory:
        lines: list[dict[str, Any]] = []
        for row in range(max(len(said) for said in answers.values())):
            for name, said in answers.items():
                answer = said[row]
                if answer == "-":
                    continue
                status = "invalid" if answer == "!" else "repaired" if answer and answer[-1] == "~" else "read"
                lines.append({
                    "row": row, "id": ids[row] if ids else f"id-{row}", "model": name, "annotator": name,
                    "status": "errored" if answer is None else "succeeded",
                    "answer": None if answer in (None, "!") else answer.removesuffix("~"),
                    "answer_status": answer and status,
                    "repairs": "case" if answer and answer[-1] == "~" else None,
                    "invalid_reason": INVALID if answer == "!" else None,
                    "confidence": sure[name][row] if sure else None,
                    **{column: values[row] for column, values in columns.items()},
                })  # fmt: skip
        schema = {**RESULT_SCHEMA, **{name: (kinds or {}).get(name, pl.String) for name in columns}}
        directory = RunDirectory(tmp_path)
        pl.DataFrame(lines, schema=schema).write_parquet(directory.results_path)
        return directory

    return write
