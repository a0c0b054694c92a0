"""`runner plan`."""

from __future__ import annotations

from typing import Any

import click

from runner.cli.options import Number, cap_options, declared, job_options


@click.command()
@job_options
@cap_options
@click.option(
    "--latency",
    type=Number(0.0),
    metavar="S",
    help="Seconds to a model's first token, whatever earlier runs have seen.",
)
@click.option(
    "--tokens-per-second",
    type=Number(0.0, min_open=True),
    metavar="N",
    help="How fast models write then, whatever earlier runs have seen.",
)
@click.option(
    "--answers",
    type=click.IntRange(1),
    metavar="N",
    help="Tokens of an answer, whatever earlier runs have seen.",
)
@click.option("--gateway", metavar="URL", help="The gateway whose memory to use, instead of the environment's.")
@click.option("--json", "as_json", is_flag=True, help="The plan as JSON.")
def plan(
    source: str,
    latency: float | None,
    tokens_per_second: float | None,
    answers: int | None,
    as_json: bool,
    **words: Any,
) -> int:
    """Say what a run of JOB-OR-FILE would take and cost. Sends nothing, and needs no token.

    The same scheduler runs in virtual time. Answers are as long as in earlier runs of the same job at the same gateway;
    where there were none, as long as --answers says or else as their caps allow. How fast models answer and how the
    gateway counts is taken from any earlier run; what is only assumed is said.
    """
    from runner import app
    from runner.evaluation.checking import judged_afterwards
    from runner.preparing import prepare
    from runner.report import planned

    job, setup = declared(source, words | {"bad_rows": "record"})
    prepared = prepare(job, setup, whole=True)
    made = app.plan(prepared, latency, tokens_per_second, answers)
    notices, survey = list(prepared.notices), prepared.survey
    if prepared.job.evaluate is not None:
        notices += judged_afterwards(prepared.job.evaluate, survey.selected - survey.bad, made.tasks)
    planned.show(made, survey, notices, as_json=as_json)
    return 0
