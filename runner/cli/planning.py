"""`runner plan`."""

from __future__ import annotations

from typing import Any

import click

from runner.cli.options import cap_options, declared, job_options


@click.command()
@job_options
@cap_options
@click.option(
    "--latency", type=float, default=1.0, show_default=True, metavar="S", help="Seconds to a model's first token."
)
@click.option(
    "--tokens-per-second", type=float, default=80.0, show_default=True, metavar="N", help="How fast models write then."
)
@click.option("--json", "as_json", is_flag=True, help="The plan as JSON.")
def plan(source: str, latency: float, tokens_per_second: float, as_json: bool, **words: Any) -> int:
    """Say what a run of JOB-OR-FILE would take and cost. Sends nothing, and needs no token.

    The same scheduler runs in virtual time, with every answer as long as its cap allows: the most it can be.
    """
    from runner import app
    from runner.preparing import prepare
    from runner.report import planned

    job, setup = declared(source, words | {"bad_rows": "record"})
    prepared = prepare(job, setup)
    made = app.plan(prepared, latency, tokens_per_second)
    planned.show(made, prepared.survey, prepared.notices, as_json=as_json)
    return 0
