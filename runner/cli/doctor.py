"""`runner doctor`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from runner.cli.options import FILE, catalog_option
from runner.cli.unattended import env_option

MARKS = {True: ("ok  ", "green"), False: ("FAIL", "red"), None: ("note", None)}


@click.command()
@click.option(
    "-m", "--model", "models", multiple=True, metavar="MODEL,...", help="Models to ask; the cheapest picks if none."
)
@click.option("--gateway", metavar="URL|local", help="The gateway, instead of the environment's.")
@env_option
@click.option("--limits", type=FILE, metavar="FILE", help="TOML file with the account's limits.")
@catalog_option
@click.option("-o", "--out", type=FILE, metavar="FILE", help="Write what the gateway answered, redacted, as JSON.")
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
def doctor(as_json: bool, out: Path | None, **words: Any) -> int:
    """Check that a run would work: token, gateway, clock, directories, and one tiny request to each model."""
    from runner import examine
    from runner.report.printing import print_json
    from runner.report.safe import safe

    findings, answers = examine.examine(**words)
    if out is not None:
        examine.record(answers, out)
    if as_json:
        print_json({"findings": [finding.to_json() for finding in findings], "answers": answers})
    else:
        for finding in findings:
            word, colour = MARKS[finding.good]
            click.echo(f"{click.style(word, fg=colour)}  {finding.what}: {safe(finding.said, 300)}")
            if finding.mend:
                click.echo(f"      {finding.mend}")
    sys.stdout.flush()
    worst = [finding.exit_code for finding in findings if finding.good is False]
    return worst[0] if worst else 0
