"""`runner limits`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import FILE, catalog_option
from runner.cli.unattended import env_option, note

if TYPE_CHECKING:
    from runner.core.catalog import Catalogue
    from runner.storage.knowledge import Memory


@click.command()
@click.option("--gateway", metavar="URL", help="The gateway, instead of the environment's.")
@env_option
@click.option("--all", "every", is_flag=True, help="Every gateway that something is remembered of.")
@click.option("--limits", "limits_file", type=FILE, metavar="FILE", help="TOML file with the account's limits.")
@catalog_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option(
    "--forget", is_flag=False, flag_value="", metavar="[MODEL]", help="Forget what was learned: of MODEL, or all of it."
)
@click.option("--yes", is_flag=True, help="Do not ask before forgetting.")
def limits(
    gateway: str | None,
    every: bool,
    limits_file: Path | None,
    catalogs: tuple[Path, ...],
    as_json: bool,
    forget: str | None,
    yes: bool,
) -> int:
    """Show what is configured of the gateway's limits beside what earlier runs have learned of it, or forget that.

    Runs learn how many tokens each model counts, and begin with that the next time. It is kept for each gateway and
    token in the state directory of your account, or where RUNNER_STATE_DIR says; never the token itself.
    """
    from runner.report.printing import print_json
    from runner.report.remembered import as_table, show
    from runner.storage.specs import load_catalogue, load_limits

    catalogue = load_catalogue(catalogs)
    configured = load_limits(catalogue, limits_file)
    memories = _memories(gateway, every)
    if forget is not None:
        return _forget(memories, forget, catalogue, ask=not yes and sys.stdin.isatty())
    tables: list[dict[str, Any]] = []
    for memory in memories:
        known = memory.load()
        tables.append(as_table(memory.gateway, memory.credential, known, memory.learned, configured, catalogue))
        note(*memory.notices)
    if as_json:
        print_json({"gateways": tables})
        return 0
    for table in tables:
        show(table)
    if not tables:
        click.echo("Nothing is remembered of any gateway.")
    return 0


def _memories(gateway: str | None, every: bool) -> list[Memory]:
    from runner.core.errors import UsageError
    from runner.gateway import environment
    from runner.storage.knowledge import Memory, all_memories

    if every:
        if gateway is not None:
            raise UsageError("--all is every gateway, and --gateway is one: give one of the two.")
        found, notices = all_memories()
        note(*notices)
        return found
    chosen = environment.resolve(gateway, lasting=True)
    if chosen.url is None:
        raise UsageError("The local gateway of a run is a new one each time: nothing is remembered of it.")
    return [Memory(chosen.url, chosen.token.fingerprint)]


def _forget(memories: list[Memory], name: str, catalogue: Catalogue, *, ask: bool) -> int:
    from runner import sharing
    from runner.core.errors import UsageError

    try:
        model = catalogue.find(name).short if name else None
    except UsageError:
        model = name
    known = {memory: memory.load().models for memory in memories}
    for memory in memories:
        note(*memory.notices)
    if model is not None:
        memories = [memory for memory in memories if model in known[memory]]
        if not memories:
            there_are = sorted({other for models in known.values() for other in models})
            said = f"there are {', '.join(there_are)}" if there_are else "nothing is remembered at all"
            raise UsageError(f"Nothing is remembered of {model}; {said}.")
    for memory in memories:
        what = "What was learned" if model is None else f"What was learned of {model}"
        if ask and not click.confirm(f"{what} at {memory.gateway} will be forgotten. Go on?"):
            click.echo("Nothing was forgotten.")
            continue
        memory.forget(model)
        sharing.forget(memory, model)
        click.echo(f"{what} at {memory.gateway} is forgotten.")
    return 0
