"""What is done when all tasks of a run have ended: scores, metrics, history and gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import polars as pl

from runner.core.errors import UsageError
from runner.core.evaluating import JUDGE, PAIRWISE, Evaluation
from runner.core.job import Job
from runner.core.tasks import naming_column
from runner.evaluation.comparison import Side, side_of
from runner.evaluation.gates import EXIT_CODE, verdict
from runner.evaluation.history import accepted_run, history_path, record
from runner.evaluation.judges import Ask, Judged
from runner.evaluation.judging import about_judge, grade, grades
from runner.evaluation.metrics import metrics_of, summarised
from runner.evaluation.pairwise import about_pairs, compare_pairs, judged_pairs, scored
from runner.evaluation.scores import Measured, measure
from runner.scoring import Scorer
from runner.storage.batches import CAPS
from runner.storage.results import names_in_table, write_table
from runner.storage.rundir import RunDirectory

NO_JUDGES: Mapping[str, Judged] = MappingProxyType({})


def table_names(job: Job, columns: Mapping[str, Any]) -> dict[str, str]:
    """The names that the input's columns have in the results table."""
    if naming_column(job.id_column, columns) == "id":  # then it stands in the table as the runner's own
        return {**names_in_table([name for name in columns if name != "id"]), "id": "id"}
    return names_in_table(list(columns))


def judge(directory: RunDirectory, job: Job, columns: Mapping[str, Any], ask: Ask) -> dict[str, Judged]:
    """Have the judges that a job declares judge a run's answers, one after the other until one does not end; the
    metric of each, and how its run went. `columns` are the input's."""
    judged: dict[str, Judged] = {}
    evaluation, names = job.evaluate, table_names(job, columns)
    if evaluation is None:
        return judged
    if evaluation.judge is not None:
        found = grade(directory.path, evaluation, evaluation.judge, names, ask)
        judged |= {} if found is None else {JUDGE: found}
    if evaluation.pairwise is not None and all(one.is_over for one in judged.values()):
        found = compare_pairs(directory.path, evaluation, evaluation.pairwise, names, ask)
        judged |= {} if found is None else {PAIRWISE: found}
    return judged


def conclude(
    directory: RunDirectory,
    job: Job,
    columns: Mapping[str, Any],
    own: Mapping[str, Scorer],
    summary: Mapping[str, Any],
    judged: Mapping[str, Judged] = NO_JUDGES,
) -> dict[str, Any]:
    """What the evaluation adds to the summary of a run, and the exit code that it ends with.

    `columns` are the input's; `judged` says how the runs of the judges went, if there were some. History and gates wait
    for a judge that has reached its cap: what it has judged so far is scored, and is not all.
    """
    said: dict[str, Any] = {"exit_code": summary["exit_code"]}
    cap = next((one.cap for one in judged.values() if one.cap), None)
    run = None
    if job.evaluate is not None:
        said["evaluation"] = evaluate(directory, job, job.evaluate, table_names(job, columns), own, judged)
        if cap is not None:
            return said | {"exit_code": CAPS, "reason": cap}
        run = side_of(directory, said["evaluation"])
        manifest = directory.read_json(directory.manifest_path)
        metrics = pl.read_parquet(directory.metrics_path, glob=False)
        record(history_path(directory.path.resolve().parent, job.name), run, manifest, job.fingerprint, metrics)
    if job.gates is not None:
        cost = summary["cost_usd"] + sum(one.cost for one in judged.values())
        said["gates"] = verdict(job.gates, said.get("evaluation", {}), cost, run, _accepted(directory, job))
        if not said["gates"]["passed"]:
            said["exit_code"] = EXIT_CODE
    return said


def _accepted(directory: RunDirectory, job: Job) -> Side | str | None:
    """The run to compare with, None if there is none, or why it cannot be read."""
    try:
        return accepted_run(directory, job.name)
    except UsageError as error:
        return str(error)


def evaluate(
    directory: RunDirectory,
    job: Job,
    evaluation: Evaluation,
    names: Mapping[str, str],
    own: Mapping[str, Scorer],
    judged: Mapping[str, Judged],
) -> dict[str, Any]:
    """Score a run's answers, write `scores.parquet` and `metrics.parquet`, and return what the summary says of them."""
    measured = measure(directory.results_path, evaluation, names, own)
    expected = None if evaluation.expected is None else names[evaluation.expected]
    said: dict[str, Any] = {"column": expected, "notices": list(measured.notices)}
    against = _of_0_and_1(measured)
    if evaluation.judge is not None:
        answers = pl.read_parquet(directory.results_path, columns=["answer"], glob=False)["answer"]
        found = grades(measured, answers, evaluation.judge, judged.get(JUDGE))
        measured = replace(measured, scores={**measured.scores, JUDGE: found})
        said["judge"] = about_judge(measured, evaluation.judge, judged.get(JUDGE), against)
    if evaluation.pairwise is not None:
        pairs = judged_pairs(directory.results_path, evaluation.pairwise, names, judged.get(PAIRWISE))
        write_table(pairs.lazy(), directory.pairs_path)
        measured = replace(measured, scores={**measured.scores, PAIRWISE: scored(pairs, len(measured.tasks))})
        said["pairwise"] = about_pairs(pairs, measured, evaluation.pairwise, judged.get(PAIRWISE), against)
    metrics = metrics_of(measured, pooled=job.slots == 1 and measured.tasks["model"].n_unique() > 1)
    write_table(measured.table().lazy(), directory.scores_path)
    write_table(metrics.lazy(), directory.metrics_path)
    return {**summarised(metrics, evaluation), **said}


def _of_0_and_1(measured: Measured) -> str | None:
    """The first metric that says of each answer that it is right or wrong."""
    for name, found in measured.scores.items():
        if found["score"].drop_nulls().is_in([0.0, 1.0]).all():
            return name
    return None
