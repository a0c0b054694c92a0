"""`runner adopt`."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.options import FILE
from runner.cli.unattended import RUN


@click.command()
@RUN
@click.argument("file", metavar="DECISIONS.CSV", type=FILE)
def adopt(directory: Path, file: Path) -> int:
    """Take over what people have decided about the rows of the run in directory RUN, and write its labels anew.

    DECISIONS.CSV is the run's disagreements.csv with its column `decision` filled in; empty ones stay open. Each
    decision is checked against the job's labels and the id of its row, and kept in the run's decisions.jsonl.
    """
    from runner.labelling import adopt as take_over
    from runner.report.counts import counted
    from runner.report.safe import safe

    count, labels = take_over(directory, file)
    click.echo(
        f"{counted(count, 'decision')} adopted, {labels['decided']:,} in all; {counted(labels['open'], 'row')} open. "
        f"Labels: {safe(str(directory / 'labels.parquet'), 1000)}"
    )
    return 0
