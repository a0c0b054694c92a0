"""`runner models`."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.options import catalog_option


@click.command()
@click.argument("name", required=False)
@catalog_option
@click.option("--json", "as_json", is_flag=True, help="As JSON, with every fact and its source.")
def models(name: str | None, catalogs: tuple[Path, ...], as_json: bool) -> int:
    """Show the models that can be asked; with NAME, all that is known of one, and where it is from."""
    from runner.report import cataloged
    from runner.storage.specs import load_catalogue, load_limits

    catalogue = load_catalogue(catalogs)
    limits = load_limits(catalogue)
    if name is None:
        cataloged.show_all(catalogue, limits, as_json=as_json)
    else:
        cataloged.show_one(catalogue.find(name), limits, as_json=as_json)
    return 0
