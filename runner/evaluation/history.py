"""How a job's metrics went over its runs: `history/NAME.parquet` beside the runs, appended to when a run has ended.

A run is written down once. A change is marked only where the paired test against the run before supports it.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from runner.core.errors import RunnerError, StorageFailed, UsageError
from runner.evaluation.comparison import Side, compare, kinds, side
from runner.evaluation.metrics import ALL_MODELS, METRIC_SCHEMA
from runner.storage.results import write_table
from runner.storage.rundir import RunDirectory, make_folder, replace_file

FOLDER = "history"
KEPT = [name for name in METRIC_SCHEMA if name not in ("slice", "value", "method")]
SCHEMA: dict[str, Any] = {
    "run": pl.String,
    "created": pl.String,
    "path": pl.String,
    "gateway": pl.String,
    "fingerprint": pl.String,
    "main": pl.String,
    **{name: METRIC_SCHEMA[name] for name in KEPT},
    "compared_with": pl.String,
    "change": pl.String,
}
"""One line for each run, model and metric. `change` says what the paired test shows beside `compared_with`."""


def history_path(runs: Path, name: str) -> Path:
    """Where the history of a job of this name is kept, beside its runs."""
    return runs / FOLDER / f"{re.sub(r'[^a-zA-Z0-9._-]+', '-', name).strip('-.')[:60] or 'run'}.parquet"


def read_history(path: Path) -> pl.DataFrame:
    """The table, the oldest run first; empty if there is none."""
    if not path.is_file():
        return pl.DataFrame(schema=SCHEMA)
    try:
        return pl.read_parquet(path, glob=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StorageFailed(f"{path} cannot be read: {str(error).partition(chr(10))[0][:300]}") from None


def record(path: Path, run: Side, manifest: Mapping[str, Any], fingerprint: str, metrics: pl.DataFrame) -> None:
    """Write down the metrics of a run that has ended, beside those of the runs before: once, however often called."""
    with _held(path):
        before = read_history(path)
        mine = (pl.col("run") == manifest["run"]) & (pl.col("created") == manifest["created"])
        if not before.filter(mine).is_empty():
            return
        earlier, changes = _changes(before, run)
        gateway = manifest["gateway"]
        lines = metrics.filter(pl.col("slice") == "").select(
            pl.lit(manifest["run"]).alias("run"),
            pl.lit(manifest["created"]).alias("created"),
            pl.lit(str(run.directory.path.resolve())).alias("path"),
            pl.lit("local" if gateway["local"] else gateway["origin"]).alias("gateway"),
            pl.lit(fingerprint).alias("fingerprint"),
            pl.lit(run.evaluation["main"]).alias("main"),
            *KEPT,
            pl.lit(earlier, pl.String).alias("compared_with"),
            pl.struct("model", "scorer")
            .map_elements(lambda at: changes.get((at["model"], at["scorer"])), return_dtype=pl.String)
            .alias("change"),
        )
        write_table(pl.concat([before, lines.cast(pl.Schema(SCHEMA))], how="vertical").lazy(), path)


def _changes(before: pl.DataFrame, run: Side) -> tuple[str | None, dict[tuple[str, str], str]]:
    """The run before, if it is still there, and what the paired test shows beside it for each model and metric."""
    if before.is_empty():
        return None, {}
    last = before.row(-1, named=True)
    changes: dict[tuple[str, str], str] = {}
    try:
        earlier = side(last["path"])
        for metric in next(iter(run.evaluation["models"].values()))["metrics"]:
            found = compare(earlier, run, metric)
            for part, kind in zip(found.parts, kinds(found), strict=True):
                changes[(part.models[1] if run.repeats else whole(run), metric)] = kind
    except RunnerError:
        return None, {}
    return last["run"], changes


def whole(run: Side) -> str:
    """The model that stands for all of a run in which each row was asked of one."""
    models = list(run.evaluation["models"])
    return ALL_MODELS if ALL_MODELS in models else models[0]


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold the history, waiting for whoever holds it."""
    try:
        make_folder(path.parent)
        fd = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StorageFailed(f"The history {path} cannot be written: {error.strerror}.") from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def accept(run: Path) -> str:
    """Make a run the one that later runs of its job are compared with; the job's name."""
    accepted = side(str(run))
    manifest = accepted.directory.read_json(accepted.directory.manifest_path)
    name: str = manifest["job"]["name"]
    path = accepted_path(run, name)
    make_folder(path.parent)
    said = {"run": manifest["run"], "created": manifest["created"], "path": str(run.resolve())}
    replace_file(path, orjson.dumps(said, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return name


def accepted_path(run: Path, name: str) -> Path:
    """Where it is kept which run of a job is accepted."""
    return history_path(run.resolve().parent, name).with_suffix(".accepted")


def is_accepted(run: RunDirectory) -> bool:
    """Whether a run is the accepted one of its job, with which later ones are compared."""
    path = accepted_path(run.path, str(run.read_json(run.manifest_path)["job"]["name"]))
    return path.is_file() and Path(run.read_json(path).get("path", "")).resolve() == run.path.resolve()


def accepted_run(run: RunDirectory, name: str) -> Side | None:
    """The accepted run of a job, None if none was; raises UsageError if it is no longer there."""
    path = accepted_path(run.path, name)
    if not path.is_file():
        return None
    said = run.read_json(path)
    try:
        return side(said["path"])
    except RunnerError as error:
        raise UsageError(f"The accepted run cannot be read; accept another with: runner accept RUN. {error}") from None
