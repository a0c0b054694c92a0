"""`runner init`, `runner check` and `runner schema`: job files, before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from runner.cli.options import declared, job_options
from runner.core.commands import command
from runner.core.errors import UsageError

SCAFFOLDS = Path(__file__).parents[1] / "scaffolds"
"""A folder for each kind of job that `runner init` can begin."""


@click.command()
def schema() -> int:
    """Print the JSON Schema of job files, for editors that complete and check TOML.

    \b
    runner schema > job.schema.json
    and as the first line of a job.toml:  #:schema ./job.schema.json
    """
    from runner.report.printing import print_json
    from runner.storage.jobs import job_schema

    print_json(job_schema())
    return 0


@click.command()
@click.argument("kind", type=click.Choice(sorted(path.name for path in SCAFFOLDS.iterdir() if path.is_dir())))
@click.argument("name")
def init(kind: str, name: str) -> int:
    """Begin a job of this KIND in the folder jobs/NAME: a job file, a prompt and a few rows, ready to run."""
    import shutil

    folder = Path("jobs") / name
    if not name or Path(name).name != name or name.startswith("."):
        raise UsageError(f"{name!r} is no name of a folder: use letters, digits, - and _.")
    if folder.exists():
        raise UsageError(f"{folder} exists; nothing was written.")
    try:
        shutil.copytree(SCAFFOLDS / kind, folder)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}.") from None
    for path in sorted(folder.iterdir()):
        click.echo(f"{path}")
    click.echo(f"Try it with: {command('check', folder)} && {command('run', folder, '--gateway', 'local')}")
    return 0


@click.command()
@job_options
@click.option("--json", "as_json", is_flag=True, help="What was found as JSON.")
def check(source: str, as_json: bool, **words: Any) -> int:
    """Say everything about JOB-OR-FILE that can be said without sending: errors, rows, tokens, cost, labels.

    Ends with 2 for a job that is wrong, and with 7 for one with rows that cannot be asked.
    """
    from runner import app
    from runner.beforehand import costs_of_judges
    from runner.checking import checked
    from runner.preparing import prepare
    from runner.report import checks

    job, setup = declared(source, {**words, "bad_rows": "record"})
    prepared = prepare(job, setup, whole=True)
    made = app.plan(prepared, 1.0, 80.0)
    found = checked(prepared, made, costs_of_judges(prepared, made, app.plan))
    checks.show(found, as_json=as_json)
    return 7 if prepared.survey.bad else 0
