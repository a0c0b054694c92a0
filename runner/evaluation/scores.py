"""Scores of a run's answers: `scores.parquet`, one line for each task and metric, made from the results table."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import polars.selectors as types

from runner.core.answers import Invalid
from runner.core.errors import UsageError
from runner.core.evaluating import Evaluation, Scoring
from runner.core.values import Json, Outcome, Status
from runner.evaluation.slices import slice_columns
from runner.scoring import SCORERS, Score, Scorer
from runner.storage.exports import HUGE
from runner.storage.results import batches_of

ANSWERED, MISSING, INVALID = "answered", "missing", "invalid"
"""What there is to score of a task: an answer, none (it failed, or the model refused), or one that cannot be read."""
NO_MODEL = "(none)"
"""What stands for the model of a task of a pool that was never sent."""

Score_ = Callable[[Json, Json], Score]


@dataclass(frozen=True, slots=True)
class Measured:
    """The tasks of a run with their scores."""

    tasks: pl.DataFrame
    """A line for each task, in the order of the results table: `row`, `id`, `key`, `model`, `state`, what it cost and
    took, and a column `slice:NAME` for each slice."""
    scores: Mapping[str, pl.DataFrame]
    """Metric -> `score` and `reason` of each task, in the same order."""
    notices: tuple[str, ...] = ()

    def table(self) -> pl.DataFrame:
        """One line for each task and metric."""
        about = self.tasks.select("row", "id", "key", "model", "state").with_row_index("line")
        slices = self.tasks.select(pl.selectors.starts_with("slice:"))
        parts = [
            [about, found.select(pl.lit(name).alias("scorer"), "score", "reason"), slices]
            for name, found in self.scores.items()
        ]
        return pl.concat([pl.concat(part, how="horizontal") for part in parts])


def prepared(scorings: Sequence[Scoring], own: Mapping[str, Scorer]) -> dict[str, Score_]:
    """Metric -> the function that scores an answer; UsageError for a scorer or an option that there is none of."""
    made: dict[str, Score_] = {}
    known = {**SCORERS, **own}
    for scoring in scorings:
        if scoring.scorer not in known:
            raise UsageError(
                f"There is no scorer {scoring.scorer!r}; there are {', '.join(known)}. "
                "One's own come from Python: runner.run(..., scorers={NAME: FUNCTION})."
            )
        try:
            made[scoring.name] = known[scoring.scorer].prepared(scoring.options)
        except UsageError as error:
            raise UsageError(f"evaluate.scorers: {scoring.name}: {error}") from None
    return made


def measure(
    results: Path, evaluation: Evaluation, columns: Mapping[str, str], own: Mapping[str, Scorer] | None = None
) -> Measured:
    """Score every task of a results table; `columns` are the input's by their names in the table."""
    scorers = prepared(evaluation.scorers, own or {})
    expected = None if evaluation.expected is None else columns[evaluation.expected]
    sliced_by = [columns[one.column] for one in evaluation.slices]
    frame = _tasks(results, sliced_by if expected is None else [expected, *sliced_by])
    preferred = evaluation.pairwise and evaluation.pairwise.gold
    keys = _keys(results, [name for given, name in columns.items() if given not in (evaluation.expected, preferred)])
    sliced, notices = slice_columns(frame, evaluation.slices, columns)
    tasks = frame.select(
        "row", "id", "model", "state", "cost_usd", "latency_s", "input_tokens", "output_tokens"
    ).with_columns(keys, *sliced)
    scores = {name: _scored(score, frame, expected, evaluation.several) for name, score in scorers.items()}
    return Measured(tasks, scores, tuple(notices))


def _tasks(results: Path, more: Sequence[str]) -> pl.DataFrame:
    """What scoring needs of each task."""
    scan = pl.scan_parquet(results, glob=False)
    there = scan.collect_schema()
    status = pl.col("answer_status") if "answer_status" in there else pl.lit("read")
    why = pl.col("invalid_reason") if "invalid_reason" in there else pl.lit(None, pl.String)
    model = pl.coalesce("annotator", "model") if "annotator" in there else pl.col("model")
    model = pl.when(model == "").then(pl.lit(NO_MODEL)).otherwise(model)
    nothing = (
        (pl.col("status") != str(Status.SUCCEEDED))
        | pl.col("outcome").is_in([str(Outcome.REFUSED), str(Outcome.FILTERED)])
        | (pl.col("answer").is_null() & (status != INVALID))
    )
    state = pl.when(nothing).then(pl.lit(MISSING)).when(status == INVALID).then(pl.lit(INVALID))
    tasks = scan.select(
        "row", "id", model.alias("model"), "answer", "cost_usd", "latency_s", "input_tokens", "output_tokens",
        state.otherwise(pl.lit(ANSWERED)).alias("state"), why.alias("invalid_reason"),
        types.by_name(*(name for name in dict.fromkeys(more) if name != "id")),
    ).collect()  # fmt: skip
    # Answers are texts and numbers: what is expected is compared as these.
    return tasks.with_columns(
        types.decimal().cast(pl.Float64),
        (types.date() | types.datetime() | types.time()).cast(pl.String),
        types.duration().dt.to_string(),
    )


def _keys(results: Path, names: Sequence[str]) -> pl.Series:
    """The digest of each task's row: of its columns by name, whatever their order, without what is known of it.

    The same row has it in every run, at whatever place. A row without columns has none.
    """
    keys: list[str | None] = []
    last, key = None, None
    ordered = sorted(set(names))
    table = pl.scan_parquet(results, glob=False).select(types.by_name("row", *ordered))
    for frame in batches_of(table.with_columns(HUGE.cast(pl.String))):
        for row, *values in frame.iter_rows():
            if row != last:
                last, key = row, _digest(dict(zip(ordered, values, strict=True)))
            keys.append(key)
    return pl.Series("key", keys, dtype=pl.String)


def _digest(values: Mapping[str, Any]) -> str | None:
    there = {name: value for name, value in values.items() if value is not None}
    if not there:
        return None
    data = orjson.dumps(there, default=str, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(data, digest_size=12).hexdigest()


def _scored(score: Score_, frame: pl.DataFrame, expected: str | None, several: bool) -> pl.DataFrame:
    """What one scorer says of each task."""
    values: list[float | None] = []
    reasons: list[str] = []
    truth = pl.lit(None, pl.String) if expected is None else frame[expected]
    given_and_wanted = frame.select("answer", truth.alias("wanted"), "state", "invalid_reason")
    for answer, wanted, state, why in given_and_wanted.iter_rows():
        given: Any = answer if state == ANSWERED else Invalid(why or "it cannot be read") if state == INVALID else None
        found = score(given, _acceptable(wanted) if several else wanted)
        values.append(found.value)
        reasons.append(found.reason)
    return pl.DataFrame({"score": pl.Series(values, dtype=pl.Float64), "reason": pl.Series(reasons, dtype=pl.String)})


def _acceptable(wanted: Json) -> Json:
    """A list of acceptable answers, as a table holds it: JSON; another text is the only one."""
    if isinstance(wanted, str) and wanted.lstrip().startswith("["):
        try:
            return orjson.loads(wanted)
        except orjson.JSONDecodeError:
            return wanted
    return wanted
