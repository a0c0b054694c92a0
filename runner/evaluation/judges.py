"""The runs of judges: where each stands in the directory of the run that it judges, and how it went.

Such a run has its own budget of money, and goes through the same gateway and under the same limits; it can be resumed
like any other. Where the answers have changed since, as after `redrive`, another run takes over what still holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as types

from runner.core.job import Job
from runner.storage.batches import CAPS
from runner.storage.json_objects import written
from runner.storage.results import batches_of
from runner.storage.rundir import replace_file
from runner.storage.times import nanoseconds, plain, told

Ask = Callable[[Job, Path, Path | None], Any]
"""Runs a judge's job in a directory, taking over what the run in another one has answered; its `Finish`."""


@dataclass(frozen=True, slots=True)
class Judged:
    """How a judge's run went."""

    directory: Path
    exit_code: int
    reason: str | None
    cost: float

    @property
    def is_over(self) -> bool:
        """Whether it came to its end, or to that of its money."""
        return self.exit_code in (0, 3, CAPS)

    @property
    def cap(self) -> str | None:
        """What there is to say if it came to the end of its money, and may go on with more."""
        if self.exit_code != CAPS:
            return None
        return f"The judge in {self.directory} has reached its own cap: {self.reason}."


def judged_by(run: Path, name: str, questions: bytes, job: Callable[[Path], Job], ask: Ask) -> Judged | None:
    """Have a run's answers judged by the job for these questions (JSON lines); None if there are none.

    `job` makes it of the place of the questions; `name` is the judge's, by which its directories are called.
    """
    if not questions:
        return None
    directory, before = _place(run, name, questions)
    finish = ask(job(directory.with_suffix(".jsonl").absolute()), directory, before)
    return Judged(directory, finish.ending.exit_code, finish.ending.reason, finish.summary["cost_usd"])


def _place(run: Path, name: str, questions: bytes) -> tuple[Path, Path | None]:
    """Where these questions are asked: where they were before, else a new place; and the last run before it."""
    before = None
    for number in count(1):
        directory = run / f"{name}-{number}"
        file = directory.with_suffix(".jsonl")
        if not file.exists():
            replace_file(file, questions)
            return directory, before
        if file.read_bytes() == questions:
            return directory, before
        if (directory / "manifest.json").is_file():
            before = directory
    raise AssertionError


def is_answered() -> pl.Expr:
    """Whether a line of a results table holds an answer that can be judged."""
    answered = (pl.col("status") == "succeeded") & pl.col("answer").is_not_null()
    return answered & ~pl.col("outcome").is_in(["refused", "filtered"])


def lines_of(scan: pl.LazyFrame, columns: Mapping[str, str]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each line of some results as it is, and the columns of its row by the names that they have in the input.

    `columns` are the input's by their names in the table.
    """
    inverse = {table: name for name, table in columns.items()}
    wanted = scan.select(types.by_name("row", "answer", *(name for name in inverse if name not in ("row", "answer"))))
    for frame in batches_of(wanted):
        for line, exact in zip(frame.iter_rows(named=True), nanoseconds(frame, len(frame)), strict=False):
            yield line, {inverse[name]: value for name, value in told(line, exact).items() if name in inverse}


def as_line(row: Mapping[str, Any]) -> bytes:
    """A question as a line of JSON."""
    return f"{written(row, plain)}\n".encode()


def digest(text: str) -> str:
    """Names a text in ids, and says nothing about where it comes from."""
    return hashlib.blake2b(text.encode(), digest_size=9).hexdigest()
