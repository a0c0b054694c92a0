"""`runner compare`, `runner history` and `runner accept`: runs beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from runner.cli.options import FILE
from runner.cli.unattended import RUN, base_option


@click.command()
@click.argument("one", metavar="RUN[:MODEL]")
@click.argument("other", metavar="RUN[:MODEL]")
@click.option("--metric", metavar="NAME", help="What to compare by; the job's main metric if not given.")
@click.option(
    "--by",
    type=click.Choice(["model"]),
    help="Compare each model with itself; so it is anyway where rows were asked of several models.",
)
@click.option("--rows", type=click.IntRange(min=0), default=5, show_default=True, help="Rows gained and lost to show.")
@click.option(
    "--to",
    "out",
    type=FILE,
    metavar="FILE",
    help="Write all rows gained and lost: .csv, .jsonl or .parquet.",
)
@click.option("--json", "as_json", is_flag=True, help="The comparison as JSON.")
def compare(
    one: str, other: str, metric: str | None, by: Literal["model"] | None, rows: int, out: Path | None, as_json: bool
) -> int:
    """Say whether the second run is better than the first on the rows that both have, and how surely.

    RUN:MODEL is one model of a run; two of them in one run can be compared as well.
    """
    from runner.evaluation import comparison
    from runner.report.compared import comparison_lines
    from runner.report.counts import counted
    from runner.report.printing import print_json

    if out is not None:
        comparison.mind_the_file(out)
    found = comparison.compare(comparison.side(one), comparison.side(other), metric, by_model=by == "model")
    said = comparison.to_json(found)
    if as_json:
        print_json(said)
    else:
        changed = [part.rows.to_dicts() for part in found.parts]
        click.echo("\n".join(comparison_lines(said, changed, rows)))
    if out is not None:
        click.echo(f"{out}: {counted(comparison.write_rows(found, out), 'row')}", err=True)
    return 0


@click.command()
@click.argument("job", metavar="JOB")
@click.option("--metric", metavar="NAME", help="The job's main metric if not given.")
@click.option("--last", type=click.IntRange(min=1, max=60), default=10, show_default=True, help="Runs to show.")
@base_option
@click.option("--json", "as_json", is_flag=True, help="Every line of the history as JSON.")
def history(job: str, metric: str | None, last: int, base: Path | None, as_json: bool) -> int:
    """Show how the metrics of JOB (a job folder, a job.toml, or a job's name) went over its runs.

    A change is marked where the paired test against the run before supports it, and nowhere else.
    """
    from runner.core.errors import UsageError
    from runner.evaluation.history import history_path, read_history
    from runner.report.printing import print_json
    from runner.report.trend import history_lines
    from runner.storage.jobs import read_words
    from runner.storage.rundir import RUNS

    is_job = Path(job).is_dir() or Path(job).suffix == ".toml"
    name = read_words(Path(job)).get("name", job) if is_job else job
    path = history_path(base or RUNS, name)
    lines = read_history(path).to_dicts()
    if not lines:
        raise UsageError(f"There is no history of {name!r} in {path.parent}: no run with [evaluate] has ended there.")
    if as_json:
        print_json({"job": name, "history": lines})
        return 0
    metric = metric or lines[-1]["main"]
    if not any(line["scorer"] == metric for line in lines):
        known = ", ".join(dict.fromkeys(line["scorer"] for line in lines))
        raise UsageError(f"The history of {name!r} has no metric {metric!r}; it has {known}.")
    click.echo("\n".join(history_lines(name, metric, [line for line in lines if line["scorer"] == metric], last)))
    return 0


@click.command()
@RUN
def accept(directory: Path) -> int:
    """Make RUN the one that later runs of its job are compared with by the gate `not_worse`."""
    from runner.evaluation.history import accept as keep
    from runner.report.safe import safe

    click.echo(safe(f"{directory} is the accepted run of {keep(directory)!r} now.", 1000))
    return 0
