"""`runner budget`."""

from __future__ import annotations

import click

from runner.cli.unattended import env_option


@click.command()
@click.option("--gateway", metavar="URL", help="The gateway, instead of the environment's.")
@env_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def budget(gateway: str | None, as_json: bool) -> int:
    """Show which runs share the gateway's budget at this moment, and what each has used of the current windows.

    Runs on one host with the same gateway and token share it without being told to; `--priority` says how large a part
    a run gets, and `--no-share` leaves one out.
    """
    from runner import sharing
    from runner.core.errors import StorageFailed, UsageError
    from runner.gateway import environment
    from runner.ledgers.sqlite import Unusable
    from runner.report import budget as report
    from runner.report.printing import print_json

    chosen = environment.resolve(gateway, lasting=True)
    store = sharing.store_of(chosen)
    if store is None:
        raise UsageError("The local gateway of a run is its own: nobody shares it.")
    try:
        table = sharing.budget(chosen, store)
    except Unusable as error:
        raise StorageFailed(f"Who shares the budget cannot be read: {error}.") from None
    if as_json:
        print_json(table)
    else:
        report.show(table)
    return 0
