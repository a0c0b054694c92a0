"""`runner cron`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.options import FILE, Place
from runner.cli.unattended import IF_LOCKED, base_option, env_file_option, note, notify_options

if TYPE_CHECKING:
    from runner.preparing import Setup
    from runner.schedules.crontab import Entry


@click.command()
@click.argument("job", required=False, type=Place())
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.option("--at", metavar="SCHEDULE", help="When: five fields as in crontab(5), or @daily, @weekly...")
@click.option("--install", "act", flag_value="install", help="Put the line into your crontab, or replace it there.")
@click.option("--list", "act", flag_value="list", help="Show our lines of your crontab.")
@click.option("--remove", "act", flag_value="remove", help="Take JOB's line out of your crontab.")
@click.option("--systemd", "act", flag_value="systemd", help="Print a service and a timer that say the same.")
@base_option
@env_file_option
@click.option(
    "--if-locked",
    type=click.Choice(IF_LOCKED),
    default="skip",
    show_default=True,
    help="What a run does while the one before it still goes.",
)
@click.option("--wait", metavar="TIME", help="How long --if-locked wait may take.")
@click.option("--log", type=FILE, metavar="FILE", help="Where the runs speak (log in the job's folder of runs).")
@notify_options
def cron(
    job: Path | None,
    words: tuple[str, ...],
    at: str | None,
    act: str | None,
    base: Path | None,
    env_file: Path | None,
    if_locked: str,
    wait: str | None,
    log: Path | None,
    notify_command: str | None,
    notify_url: str | None,
) -> int:
    """Run JOB by the clock: print the line of a crontab that does so, or --install it.

    Each run is named by the time it was meant for, its slot: started again it is gone on with, and never there twice.
    More WORDS for `runner run` stand after --, as in: runner cron jobs/x --at @daily -- --limit 100
    """
    from runner.core.errors import UsageError
    from runner.schedules import crontab, installed, timers

    if act == "list":
        for line in crontab.ours(installed.read()):
            click.echo(line)
        return 0
    if job is None:
        raise UsageError("Which job? Give its folder or file, as in: runner cron jobs/x --at '0 2 * * *'")
    if act == "remove":
        return _removed(job.absolute())
    if at is None:
        raise UsageError("When? Give --at, as in: --at '0 2 * * *' for 2:00 every night.")
    options: dict[str, str | Path | None] = {
        "--if-locked": if_locked,
        "--wait": wait,
        "--env-file": None if env_file is None else env_file.absolute(),
        "--notify-command": notify_command,
        "--notify-url": notify_url,
    }
    entry = _entry(job, at, base, log, options, words)
    if act == "systemd":
        click.echo(timers.units(timers.unit_name(_name(job)), entry), nl=False)
        return 0
    if act == "install":
        installed.write(crontab.with_entry(installed.read(), entry))
    click.echo(entry.line())
    return 0


def _removed(job: Path) -> int:
    from runner.core.errors import UsageError
    from runner.schedules import crontab, installed

    table = installed.read()
    left = crontab.without(table, str(job))
    if left == table:
        raise UsageError(f"Your crontab has no line for {job}; runner cron --list shows ours.")
    installed.write(left)
    click.echo(f"The line for {job} is removed.")
    return 0


def _name(job: Path) -> str:
    from runner.storage.jobs import read_words

    said = read_words(job)
    return str(said.get("name") or Path(said.get("input", job)).name.partition(".")[0])


def _entry(
    job: Path,
    at: str,
    base: Path | None,
    log: Path | None,
    options: dict[str, str | Path | None],
    words: tuple[str, ...],
) -> Entry:
    """The entry for a job, tried out as far as nothing is sent."""
    from runner.cli.running import run, try_out
    from runner.core.errors import UsageError
    from runner.gateway.environment import check_file
    from runner.schedules.crontab import Entry
    from runner.schedules.expressions import parse
    from runner.storage.rundir import RUNS, slug

    if not job.exists():
        raise UsageError(f"{job} is not there.")
    expression = parse(at)
    folder = (base or RUNS).absolute()
    options |= {"--in": folder, "--log": (log or folder / slug(_name(job)) / "log").absolute()}
    given = [part for name, value in options.items() if value is not None for part in (name, str(value))]
    called = [str(job.absolute()), "--slot-of", expression.text, *given, *words]
    with run.make_context("run", [*called], parent=click.get_current_context().parent) as context:
        if context.params["slot_of"] != expression.text:
            raise UsageError("--slot-of stands in the line already; say when with --at.")
        env_file = context.params["env_file"]
        environ = {} if env_file is None else check_file(env_file)
        _mind_the_gateway(try_out(context.params), environ)
    # By its whole path, and -P: not with whatever is called runner in the folder where it starts.
    command = [sys.executable, "-P", "-m", "runner", "run", *called]
    return Entry(expression=expression, words=command, folder=str(Path.cwd()), mark=str(job.absolute()))


def _mind_the_gateway(setup: Setup, environ: Mapping[str, str]) -> None:
    """Say what the line lacks to find its gateway: cron does not know what is exported here.

    Its own lines may set that, so only an address that is none is refused, whichever file names it.
    """
    from runner.core.errors import UsageError
    from runner.gateway.client import origin_of
    from runner.gateway.environment import BASE_URL, is_local, resolve, values_of

    address = setup.gateway or values_of(environ).get(BASE_URL)
    if address and not is_local(address):
        origin_of(address)
    try:
        resolve(setup.gateway, environ, lasting=True)
    except UsageError as error:
        note(f"{error} The runs do not see what is exported here: give --env-file.")
