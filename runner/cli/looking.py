"""`runner list`, `status` and `results`: looking at runs, whether they are going or done."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from runner.cli.options import FILE
from runner.cli.unattended import RUN, base_option, note
from runner.core.commands import command

WATCH_SECONDS = 2.0


class Beginning(click.Choice[str]):
    """A choice of which the beginning is enough, where only one begins so."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The whole word; refused, with all that there are, if it is none of them."""
        found = [choice for choice in self.choices if value and choice.startswith(value)]
        return super().convert(found[0] if len(found) == 1 else value, param, ctx)


@click.command("list")
@base_option
@click.option("--json", "as_json", is_flag=True, help="The runs as JSON.")
def list(base: Path | None, as_json: bool) -> int:  # noqa: A001 - the command is called so
    """List the runs, newest last: id, state, tasks done and errored, age. A run's id is what other commands take."""
    from runner.report.durations import clock
    from runner.report.printing import print_json
    from runner.report.safe import safe
    from runner.storage.rundir import RUNS
    from runner.storage.runs import briefs

    found, unreadable = briefs(base or RUNS)
    note(*unreadable)
    if as_json:
        print_json({"runs": found})
        return 0
    for run in found:
        tasks = run["tasks"]
        done = f"{tasks['succeeded']:,}/{'?' if tasks['total'] is None else format(tasks['total'], ',')}"
        errored = f"{tasks['errored']:,} errored" if tasks["errored"] else ""
        age = clock(max(0.0, time.time() - run["created_at"]))
        click.echo(f"{safe(run['id'], 60):<42} {run['status']:<11} {done:>15}  {errored:<16} {age:>12}".rstrip())
    if not found:
        click.echo(f"There are no runs in {base or RUNS}.", err=True)
    return 0


@click.command()
@RUN
@click.option("--json", "as_json", is_flag=True, help="The status as JSON, with the fields of a batch.")
@click.option("--watch", is_flag=True, help="Say it again whenever it has changed, until nobody works in the run.")
def status(directory: Path, as_json: bool, watch: bool) -> int:
    """Say how far RUN has come, from its journal; it may be going on meanwhile. RUN is a directory or an id."""
    from runner.storage.states import status_of

    state = status_of(directory)
    if not watch:
        _show(directory, state, as_json)
        return 0
    shown: dict[str, Any] | None = None
    while True:
        if state != shown:
            _show_line(state, as_json)
            shown = state
        if state["state"] != "running":
            return 0
        time.sleep(WATCH_SECONDS)
        state = status_of(directory)


def _show_line(state: dict[str, Any], as_json: bool) -> None:
    """One line, for whoever reads a stream of them."""
    from runner.report.safe import safe_json

    tasks = state["tasks"]
    total = "?" if tasks["total"] is None else f"{tasks['total']:,}"
    click.echo(
        safe_json(state, indented=False)
        if as_json
        else f"{time.strftime('%H:%M:%S')} {state['status']}: {tasks['succeeded']:,}/{total} succeeded, "
        f"{tasks['errored']:,} errored, ${state['cost_usd']:.4f}"
    )


def _show(directory: Path, state: dict[str, Any], as_json: bool) -> None:
    from runner.report.counts import counted
    from runner.report.poor import poor_answers
    from runner.report.printing import print_json
    from runner.report.safe import safe
    from runner.report.standing import why

    if as_json:
        print_json(state)
        return
    tasks = state["tasks"]
    counts = ", ".join(f"{tasks[name]:,} {name}" for name in tasks if name != "total" and tasks[name]) or "none begun"
    word = state["status"] if state["status"] in ("paused", "cancelled", "cancelling", "expired") else ""
    where = safe(str(directory), 1000)
    click.echo(f"{where}: {state['state']}{f' ({word})' if word else ''}")
    total = "input not looked over yet" if tasks["total"] is None else counted(tasks["total"], "task")
    click.echo(f"{total}: {counts}")
    click.echo(
        f"{counted(state['requests']['sent'], 'request')}, {state['requests']['refused_429']:,} refused with 429; "
        f"{state['tokens']['input']:,} input and {state['tokens']['output']:,} output tokens, ${state['cost_usd']:.4f}"
    )
    for line in [*poor_answers(state["models"]), *why(state)]:
        click.echo(line)
    if state["state"] == "stopped" and word != "cancelled":
        again = command("unpause" if word == "paused" else "resume", directory)
        click.echo(f"Go on with: {safe(again, 1000)}")


@click.command()
@RUN
@click.option(
    "--to",
    "form",
    type=Beginning(["csv", "jsonl", "parquet", "openai-batch"]),
    default="jsonl",
    show_default=True,
    help="The form; openai-batch, or openai, writes OpenAI's output file and, beside it, an error file.",
)
@click.option("-o", "--out", type=FILE, help="Where to; standard output if not given.")
@click.option(
    "--table",
    type=click.Choice(["results", "labels", "scores", "metrics", "pairs", "errors", "attempts"]),
    default="results",
    show_default=True,
    help="labels: the input with its labels, where the job has an [answer]; scores and metrics, where it has an "
    "[evaluate], and pairs, where two sides are compared.",
)
@click.option("--raw-cells", is_flag=True, help="CSV: do not defuse cells that a spreadsheet would take for formulas.")
def results(directory: Path, form: str, out: Path | None, table: str, raw_cells: bool) -> int:
    """Write the results of RUN, a directory or an id; of a run that was stopped, what it has."""
    from runner.report.counts import counted
    from runner.report.safe import safe, safe_whole
    from runner.storage.exports import export, unanswered
    from runner.storage.states import mind_the_tables

    shown = safe_whole if out is None and sys.stdout.isatty() else None
    if said := mind_the_tables(directory, table):
        note(said)
    written = export(directory, form, out, table=table, raw_cells=raw_cells, shown=shown)
    if out is not None:
        for path, lines in written:
            click.echo(f"{safe(path, 1000)}: {lines:,} lines", err=True)
    elif form == "openai-batch" and (left := unanswered(directory)):
        note(f"{counted(left, 'line')} without an answer: --out FILE writes their error file, too.")
    return 0
