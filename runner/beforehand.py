"""What judges will cost, before there is anything to judge.

It is what plans of their own say, over some of the rows, with answers as long as those of the run are planned to be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from runner.core.caps import Caps
from runner.core.evaluating import JUDGE, PAIRWISE
from runner.core.job import Job
from runner.core.pairs import FIRST_COLUMN, KEY_COLUMN, SECOND_COLUMN
from runner.core.quoting import quoted
from runner.evaluation import judging, pairwise
from runner.evaluation.judges import as_line
from runner.planning import Plan
from runner.preparing import Prepared, prepare_with
from runner.storage.rows import Row

ROWS = 100
"""So many are looked at, the first ones."""
WORD = " word"
"""A token to any model."""


def costs_of_judges(prepared: Prepared, made: Plan, plan: Callable[[Prepared], Plan]) -> dict[str, Mapping[str, Any]]:
    """By metric, as JSON values: what all that its judge may be asked will cost, if it is known, and by which replies.

    `made` is the plan of the run itself, and `plan` makes one.
    """
    evaluation, pairs = prepared.job.evaluate, prepared.survey.selected - prepared.survey.bad
    asked: dict[str, tuple[int, Callable[[Path], Job]]] = {}
    if evaluation is not None and (judge := evaluation.judge) is not None:
        asked[JUDGE] = made.tasks, lambda file: judging.job_of(judge, file)
    if evaluation is not None and (both := evaluation.pairwise) is not None:
        asked[PAIRWISE] = 2 * pairs, lambda file: pairwise.job_of(both, file)
    costs: dict[str, Mapping[str, Any]] = {}
    if not asked:
        return costs
    with TemporaryDirectory() as folder:
        file = Path(folder) / "questions.jsonl"
        file.write_bytes(b"".join(map(as_line, _questions(prepared, made))))
        for metric, (questions, job_of) in asked.items():
            job = replace(job_of(file), caps=Caps())
            setup = replace(prepared.setup, scorers={}, spooled=False)
            judged = plan(prepare_with(job, setup, prepared.catalogue, prepared.limits, whole=True))
            replies = judged.answers.removesuffix(" (--answers N)")  # which is a word about the run's own
            cost = questions * sum(judged.cost.values()) / max(1, judged.tasks)
            costs[metric] = {"cost_usd": None if judged.unpriced else round(cost, 6), "replies": replies}
    return costs


def _questions(prepared: Prepared, made: Plan) -> list[Mapping[str, Any]]:
    """Rows as judges are shown them, each with an answer that is as long as the run's are planned to be, at most."""
    job = prepared.job
    labels = job.answer.reader.labels if job.answer is not None and job.answer.reader.kind == "label" else ()
    words = WORD * round(made.output_tokens.total() / max(1, made.requests.total()))
    answer = quoted(max(labels, key=len, default=words))
    own = {judging.ANSWER: answer, FIRST_COLUMN: answer, SECOND_COLUMN: answer}
    expected = job.evaluate and job.evaluate.expected
    rows = (record.columns for record in prepared.records() if isinstance(record, Row))
    return [
        {**columns, **own, judging.EXPECTED: columns.get(expected or ""), judging.KEY: f"{at}", KEY_COLUMN: f"{at}"}
        for at, columns in enumerate(islice(rows, ROWS))
    ]
