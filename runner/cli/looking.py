"""`runner status` and `runner results`: looking at a run, whether it is going or done."""

from __future__ import annotations

import sys
from pathlib import Path

import click

RUN = click.argument("directory", metavar="RUN", type=click.Path(path_type=Path))


@click.command()
@RUN
@click.option("--json", "as_json", is_flag=True, help="The status as JSON.")
def status(directory: Path, as_json: bool) -> int:
    """Say how far the run in directory RUN has come, from its journal; it may be going on meanwhile."""
    from runner.report.printing import print_json
    from runner.report.safe import safe
    from runner.storage.states import status_of

    state = status_of(directory)
    if as_json:
        print_json(state)
        return 0
    tasks = state["tasks"]
    counts = ", ".join(f"{tasks[name]:,} {name}" for name in tasks if name != "total" and tasks[name]) or "none begun"
    where = safe(str(directory), 1000)
    click.echo(f"{where}: {state['state']}")
    total = "input not looked over yet" if tasks["total"] is None else f"{tasks['total']:,} tasks"
    click.echo(f"{total}: {counts}")
    click.echo(
        f"{state['requests']['sent']:,} requests, {state['requests']['refused_429']:,} refused with 429; "
        f"{state['tokens']['input']:,} input and {state['tokens']['output']:,} output tokens, ${state['cost_usd']:.4f}"
    )
    if state["state"] == "stopped":
        click.echo(f"Go on with: runner resume {where}")
    return 0


@click.command()
@RUN
@click.option(
    "--to",
    "form",
    type=click.Choice(["csv", "jsonl", "parquet", "openai-batch"]),
    default="jsonl",
    show_default=True,
    help="openai-batch writes an output file and, beside it, an error file.",
)
@click.option(
    "-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="Where to; standard output if not given."
)
@click.option("--raw-cells", is_flag=True, help="CSV: do not defuse cells that a spreadsheet would take for formulas.")
def results(directory: Path, form: str, out: Path | None, raw_cells: bool) -> int:
    """Write the results of the run in directory RUN."""
    from runner.report.safe import safe, safe_whole
    from runner.storage.exports import export

    shown = safe_whole if out is None and sys.stdout.isatty() else None
    written = export(directory, form, out, raw_cells=raw_cells, shown=shown)
    if out is not None:
        for path, lines in written:
            click.echo(f"{safe(path, 1000)}: {lines:,} lines", err=True)
    return 0
