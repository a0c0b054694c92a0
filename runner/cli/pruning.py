"""`runner prune`."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.unattended import base_option, note


@click.command()
@click.argument("job", required=False)
@click.option(
    "--keep", type=click.IntRange(0), required=True, metavar="N", help="How many finished runs of a job stay."
)
@base_option
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def prune(job: str | None, keep: int, base: Path | None, dry_run: bool) -> int:
    """Remove the finished runs of JOB, or of each job, but for the newest N.

    Runs that are not finished, that a process works in, or that are accepted, stay; so does whatever a link leads to.
    """
    from runner.evaluation.history import is_accepted
    from runner.report.counts import counted
    from runner.report.safe import safe
    from runner.storage.rundir import RUNS, RunDirectory
    from runner.storage.runs import prunable, remove, sweep

    base = base or RUNS
    if not dry_run:
        sweep(base)
    old = prunable(base, keep, job)
    if not old:
        click.echo(f"Nothing to remove: {base} holds at most {counted(keep, 'finished run')} of {job or 'each job'}.")
    for path in old:
        if is_accepted(RunDirectory(path)):
            note(f"{path} is the accepted run of its job, and stays.")
        elif dry_run:
            click.echo(safe(f"{path} would be removed", 1000))
        elif remove(path):
            click.echo(safe(f"{path} is removed", 1000))
        else:
            note(f"{path} is being worked in, and stays.")
    return 0
