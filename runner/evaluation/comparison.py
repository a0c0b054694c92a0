"""Two runs, or two models of one run, on the same rows: what the difference is, and what may be said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as types

from runner.core.errors import StorageFailed, UsageError
from runner.core.evaluating import JUDGE, PAIRWISE
from runner.evaluation.metrics import ALL_MODELS
from runner.evaluation.scores import NO_MODEL
from runner.statistics.paired import Verdict, holm
from runner.statistics.paired import compare as judge
from runner.storage.exports import defused
from runner.storage.rundir import RunDirectory
from runner.storage.runs import find

LEVEL = 0.05
NOT_SHOWN = "no difference shown"
COSTS = ("cost_usd", "input_tokens", "output_tokens", "latency_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two: a run, or a model in it."""

    directory: RunDirectory
    model: str | None
    evaluation: Mapping[str, Any]
    """What the run's summary says of it."""
    scorers: Mapping[str, Any]
    """Metric -> how the job declares it."""
    reading: Mapping[str, Any]
    """How the job reads answers; empty if it takes them as they are."""
    repeats: bool
    """Whether rows were asked of several models."""

    @property
    def name(self) -> str:
        """What it is called in sentences."""
        return self.directory.path.name if self.model is None else self.model


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One comparison: two models, or all of two runs."""

    models: tuple[str, str]
    verdict: Verdict
    binary: bool
    """Whether all scores are 0 or 1."""
    costs: Mapping[str, tuple[float | None, float | None]]
    """What both took for the rows in common; the latency is the median."""
    rows: pl.DataFrame
    """The rows gained and lost: `change`, `id`, what was expected, and both answers with their scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All of it."""

    sides: tuple[Side, Side]
    metric: str
    paired_by: str
    """`content` or `id`."""
    only: tuple[int, int]
    """Tasks that the other side has no partner for."""
    parts: tuple[Compared, ...]
    notices: tuple[str, ...]
    """What was not alike in the two, though they can be compared."""


def side(word: str) -> Side:
    """What `RUN` or `RUN:MODEL` names; raises UsageError if there is no such thing, or no evaluation in it."""
    path, model = find(Path(word)), None
    if not path.is_dir() and ":" in word:
        head, _, model = word.rpartition(":")
        path = find(Path(head))
    directory = RunDirectory.open(path)
    summary = directory.read_json(directory.summary_path) if directory.summary_path.is_file() else {}
    evaluation = summary.get("evaluation")
    if evaluation is None or not directory.scores_path.is_file():
        raise UsageError(
            f"There is no evaluation in {path}: its job has no [evaluate], or the run has not come to its end."
        )
    run = side_of(directory, evaluation, model)
    known = [name for name in evaluation["models"] if name not in (ALL_MODELS, NO_MODEL)]
    if model is not None and model not in known:
        raise UsageError(f"{path} has no answers of {model!r}; it has those of {', '.join(known)}.")
    return run


def side_of(directory: RunDirectory, evaluation: Mapping[str, Any], model: str | None = None) -> Side:
    """The same from what is at hand: what the summary says, or will say."""
    job = directory.read_json(directory.manifest_path)["job"]
    declared, answer = job["evaluate"], job.get("answer")
    several = {"several": declared["several"]}
    return Side(
        directory=directory,
        model=model,
        evaluation=evaluation,
        scorers={
            **{one["name"]: one | several for one in declared["scorers"]},
            JUDGE: declared["judge"],
            PAIRWISE: declared.get("pairwise"),
        },
        reading={} if answer is None else {**answer["reader"], **answer},
        repeats=len(evaluation["models"]) > 1 and ALL_MODELS not in evaluation["models"],
    )


def compare(
    one: Side,
    other: Side,
    metric: str | None = None,
    *,
    by_model: bool = False,
    names: tuple[str, str] | None = None,
) -> Comparison:
    """Compare B with A on the rows that both have; raises UsageError if nothing can be compared.

    `names` are what sentences call them; where models are compared each with itself, they are A and B otherwise.
    """
    metric = metric or other.evaluation["main"]
    _mind_the_metric(one, other, metric)
    if one.model is None and other.model is None:
        by_model = by_model or one.repeats or other.repeats
    else:
        _mind_the_models(one, other)
    found = _paired(_load(one, metric), _load(other, metric), by_model)
    if found is None:
        raise UsageError(
            f"{one.directory.path} and {other.directory.path} have no rows in common"
            f"{' that the same model was asked about' if by_model else ''}: nothing can be compared."
        )
    pairs, paired_by, only = found
    notices = [*_otherwise_expected(one, other, pairs), *_otherwise_read(one, other)]
    if names is None:
        names = ("A", "B") if by_model or one.name == other.name else (one.name, other.name)
    parts = []
    for (part,), frame in sorted(pairs.partition_by("part", as_dict=True).items()):
        models = (part, part) if by_model else (one.name, other.name)
        parts.append(_compared(frame, one, other, models, names))
    return Comparison(
        sides=(one, other),
        metric=metric,
        paired_by=paired_by,
        only=only,
        parts=tuple(parts),
        notices=tuple(notices),
    )


def _mind_the_metric(one: Side, other: Side, metric: str) -> None:
    """Raise UsageError if a side has no such metric, or the other one scores otherwise by it."""
    for run in (one, other):
        known = next(iter(run.evaluation["models"].values()))["metrics"]
        if metric not in known:
            raise UsageError(f"{run.directory.path} has no metric {metric!r}; it has {', '.join(known)}.")
    if one.scorers[metric] != other.scorers[metric]:
        raise UsageError(f"The metric {metric!r} is not the same in both runs: their scorers or options differ.")


def _mind_the_models(one: Side, other: Side) -> None:
    """Raise UsageError if a model is compared with a run in which several answered each row."""
    for run, alone in ((one, other), (other, one)):
        if run.model is None and run.repeats:
            raise UsageError(f"Say which model of {run.directory.path} is meant: {run.directory.path}:{alone.model}")


def _otherwise_expected(one: Side, other: Side, pairs: pl.DataFrame) -> Iterator[str]:
    """That something else is expected of some rows; raises UsageError if it is by another column."""
    columns = one.evaluation["expected"], other.evaluation["expected"]
    if None in columns:
        return
    wanted = _answers(one, pairs["line"])["expected"]
    count = int(wanted.ne_missing(_answers(other, pairs["line_b"])["expected"]).sum())
    if not count:
        return
    said = f"in {count:,} of {len(pairs):,} answers"
    here, there = one.directory.path, other.directory.path
    if columns[0] != columns[1]:
        raise UsageError(
            f"{here} was scored against {columns[0]!r}, {there} against {columns[1]!r}, and "
            f"these differ {said}: score one of them as the other was, with runner score RUN --job JOB."
        )
    yield f"What is expected differs {said}: their scores may differ by that alone."


def _otherwise_read(one: Side, other: Side) -> Iterator[str]:
    words = {**one.reading, **other.reading}
    differ = [word for word in words if one.reading.get(word) != other.reading.get(word) and word != "reader"]
    if differ:
        yield f"Answers were not read alike: [answer] differs in {', '.join(differ)}."


def _load(run: Side, metric: str) -> pl.DataFrame:
    """The scores of one side, with what its tasks cost."""
    try:
        scores = pl.scan_parquet(run.directory.scores_path, glob=False).filter(pl.col("scorer") == metric)
        scores = scores.select("line", "row", "id", "key", "model", "state", "score", "reason")
        costs = pl.scan_parquet(run.directory.results_path, glob=False).select(COSTS).with_row_index("line")
        frame = scores.join(costs, on="line", how="left", maintain_order="left").collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).partition("\n")[0][:300]
        raise StorageFailed(f"The tables of {run.directory.path} cannot be read: {reason}") from None
    return frame if run.model is None else frame.filter(pl.col("model") == run.model)


def _paired(
    left: pl.DataFrame, right: pl.DataFrame, by_model: bool
) -> tuple[pl.DataFrame, str, tuple[int, int]] | None:
    """The tasks of both sides in pairs, by what they were paired, and how many of either side are left.

    Rows are paired by their content or, where none is the same, by their ids; ids that only count rows pair nothing.
    Rows of the same content are told apart by their turn. None if there is no pair.
    """
    if by_model:  # rows that no model was asked about are no model's
        left, right = (frame.filter(pl.col("model") != NO_MODEL) for frame in (left, right))
    named = all((frame["id"] != frame["row"].cast(pl.String)).any() for frame in (left, right))
    part = pl.col("model") if by_model else pl.lit("")
    for column, paired_by in (("key", "content"), *((("id", "id"),) if named else ())):
        one, other = (
            frame.filter(pl.col(column).is_not_null())
            .with_columns(pl.col(column).alias("pair"), part.alias("part"))
            .with_columns(pl.int_range(pl.len()).over("pair", "part").alias("turn"))
            for frame in (left, right)
        )
        pairs = one.join(other, on=["pair", "part", "turn"], how="inner", suffix="_b", maintain_order="left")
        if len(pairs):
            return pairs, paired_by, (len(left) - len(pairs), len(right) - len(pairs))
    return None


def _compared(frame: pl.DataFrame, one: Side, other: Side, models: tuple[str, str], names: tuple[str, str]) -> Compared:
    verdict = judge(frame["score"].to_list(), frame["score_b"].to_list(), names=names)
    costs: dict[str, tuple[float | None, float | None]] = {
        name: (float(frame[name].sum()), float(frame[f"{name}_b"].sum())) for name in COSTS[:-1]
    }
    costs["latency_s"] = (frame["latency_s"].quantile(0.5), frame["latency_s_b"].quantile(0.5))
    changed = pl.concat(
        [
            frame[list(places)].with_columns(pl.lit(change).alias("change"))
            for change, places in (("lost", verdict.lost), ("gained", verdict.gained))
        ]
    )
    scores = pl.concat([frame["score"], frame["score_b"]]).drop_nulls()
    binary = bool(scores.is_in([0.0, 1.0]).all())
    return Compared(models=models, verdict=verdict, binary=binary, costs=costs, rows=_shown(changed, one, other))


def _shown(changed: pl.DataFrame, one: Side, other: Side) -> pl.DataFrame:
    """The rows that changed, with what was expected and both answers."""
    first = _answers(one, changed["line"])
    second = _answers(other, changed["line_b"])
    return changed.select(
        "change", "id", first["expected"], first["answer"].alias("answer_a"), second["answer"].alias("answer_b"),
        pl.col("score").alias("score_a"), "score_b", pl.col("reason").alias("reason_a"), "reason_b",
        pl.col("row").alias("row_a"), "row_b",
    )  # fmt: skip


def _answers(run: Side, lines: pl.Series) -> pl.DataFrame:
    """What was expected and answered in these lines of a results table."""
    scan = pl.scan_parquet(run.directory.results_path, glob=False)
    there = scan.collect_schema()
    expected = run.evaluation["column"]
    answer = pl.coalesce("answer", "text") if "text" in there else pl.col("answer")
    truth = pl.lit(None, pl.String)
    if expected is not None:
        column = types.by_name(expected).as_expr()
        truth = column.dt.to_string() if there[expected] == pl.Duration else column.cast(pl.String)
    wanted = scan.select(truth.alias("expected"), answer.alias("answer"))
    found = wanted.with_row_index("line").filter(pl.col("line").is_in(lines.implode())).collect()
    return lines.to_frame("line").join(found, on="line", how="left", maintain_order="left")


def to_json(found: Comparison) -> dict[str, Any]:
    """The comparison as JSON values; of rows that changed, how many there are."""
    corrected = corrected_p(found)
    return {
        "a": _named(found.sides[0]),
        "b": _named(found.sides[1]),
        "metric": found.metric,
        "paired_by": found.paired_by,
        "only_in_a": found.only[0],
        "only_in_b": found.only[1],
        "notices": list(found.notices),
        "comparisons": [
            {
                "a": part.models[0],
                "b": part.models[1],
                "kind": part.verdict.kind,
                "kind_corrected": kind,
                "sentence": part.verdict.sentence,
                "rows": part.verdict.difference.items,
                "difference": {name: getattr(part.verdict.difference, name) for name in ("value", "low", "high")},
                "p": part.verdict.test.p if part.verdict.test else None,
                "p_corrected": p,
                "gained": len(part.verdict.gained),
                "lost": len(part.verdict.lost),
                "left_out": part.verdict.left_out,
                "costs": {name: {"a": a, "b": b} for name, (a, b) in part.costs.items()},
            }
            for part, p, kind in zip(found.parts, corrected, kinds(found), strict=True)
        ],
    }


def kinds(found: Comparison) -> list[str]:
    """What each part shows; of several, a difference counts only if it stands when corrected for their number (Holm).

    Where scores are other than 0 and 1 there is no p value to correct, and the interval has the word.
    """
    return [
        NOT_SHOWN if part.binary and p is not None and p >= LEVEL and part.verdict.test else part.verdict.kind
        for part, p in zip(found.parts, corrected_p(found), strict=True)
    ]


def corrected_p(found: Comparison) -> list[float | None]:
    """The p value of each part, corrected for how many there are; None where there is nothing to compare."""
    known = [part.verdict.test.p for part in found.parts if part.verdict.test]
    corrected = iter(holm(known))
    return [next(corrected) if part.verdict.test else None for part in found.parts]


def _named(run: Side) -> dict[str, Any]:
    return {"run": str(run.directory.path), "model": run.model}


WRITERS: Mapping[str, Callable[[pl.DataFrame, Path], object]] = {
    ".csv": pl.DataFrame.write_csv,
    ".jsonl": pl.DataFrame.write_ndjson,
    ".parquet": pl.DataFrame.write_parquet,
}
"""By the ending of the file that rows are written to."""


def mind_the_file(path: Path) -> None:
    """Raise UsageError if rows cannot be written to a file: it is there already, or its ending says nothing."""
    if path.exists():
        raise UsageError(f"{path} exists; nothing was written.")
    if path.suffix not in WRITERS:
        raise UsageError(f"{path}: the file's ending says what is written: {', '.join(WRITERS)}.")


def write_rows(found: Comparison, path: Path) -> int:
    """Write the rows gained and lost to a file, in the form that its ending says; how many they are."""
    mind_the_file(path)
    frames = [
        part.rows.select(pl.lit(part.models[0]).alias("model_a"), pl.lit(part.models[1]).alias("model_b"), pl.all())
        for part in found.parts
    ]
    frame = pl.concat(frames)
    if path.suffix == ".csv":
        frame = frame.with_columns(pl.col(pl.String).map_elements(defused, return_dtype=pl.String))
    try:
        WRITERS[path.suffix](frame, path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StorageFailed(f"{path} cannot be written: {str(error).partition(chr(10))[0][:300]}") from None
    return len(frame)
