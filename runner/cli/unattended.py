"""What runs that nobody watches share: their options, where they speak, and who is told of their end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runner.cli.options import FILE, Place, together

if TYPE_CHECKING:
    from runner.finishing import Finish
    from runner.locking import Policy

IF_LOCKED = ("skip", "wait", "fail")

base_option = click.option(
    "--in",
    "base",
    type=Place(file_okay=False),
    metavar="DIR",
    help="The folder that runs stand in (runs).",
)
env_file_option = click.option(
    "--env-file",
    type=FILE,
    metavar="FILE",
    help="Take NEON_AI_GATEWAY_* from this file, which only you may read (mode 0600 or 0400).",
)


def _take(_context: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    from runner.gateway.environment import take_from

    if path is not None:
        take_from(path)


env_option = click.option(
    "--env-file",
    type=FILE,
    metavar="FILE",
    expose_value=False,
    callback=_take,
    help="Take NEON_AI_GATEWAY_* from this file, as runs do.",
)
"""The same, for commands that do nothing else with it."""

notify_options = together(
    click.option(
        "--notify-command", metavar="COMMAND", help="Run this at the end, with the counts as JSON on its input."
    ),
    click.option("--notify-url", metavar="URL", help="POST the counts there at the end, as JSON."),
)
"""Whom to tell."""

unattended_options = together(
    click.option(
        "--if-locked",
        type=click.Choice(IF_LOCKED),
        help="If another runner is at it: leave it with code 0, wait, or fail with 6 (fail).",
    ),
    click.option("--wait", metavar="TIME", help="How long --if-locked wait may take: 90, 45m, 8h (1h)."),
    env_file_option,
    click.option("--log", type=FILE, metavar="FILE", help="Say everything there; it is turned over at 1 MiB, twice."),
    notify_options,
)
"""How a run behaves that nobody watches."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a run behaves that nobody watches."""

    policy: Policy
    env_file: Path | None
    log: Path | None
    command: str | None
    url: str | None

    @contextlib.contextmanager
    def in_force(self) -> Iterator[None]:
        """Speak into the log, with the gateway of the environment file."""
        from runner.gateway.environment import take_from
        from runner.storage.logs import logged

        with logged(self.log):
            if self.env_file is not None:
                take_from(self.env_file)
            yield

    def told(self, job: str, slot: str | None, call: Callable[[], Finish | None]) -> Finish | None:
        """Run, and tell of the end; what goes wrong with the telling is one line, and changes nothing."""
        from runner.core.errors import RunnerError
        from runner.notifying import report

        try:
            finish = call()
        except RunnerError as error:
            self._tell(report(job, "", slot, error.exit_code, None))
            raise
        if finish is not None and not finish.idle:
            self._tell(report(job, finish.directory.name, slot, finish.ending.exit_code, finish.summary))
        return finish

    def _tell(self, told: dict[str, Any]) -> None:
        from runner.notifying import tell

        note(*tell(told, self.command, self.url))

    def last_word(self, finish: Finish) -> None:
        """A paragraph for whoever gets what is said beside the log: cron sends it as a mail."""
        from runner.report.printing import paragraph
        from runner.storage.logs import is_standard_error

        worth_it = finish.ending.exit_code or finish.is_empty
        if self.log is not None and worth_it and not is_standard_error(self.log):
            click.echo(f"{paragraph(finish)} The log: {self.log}", err=True)


def manner(words: dict[str, Any], *, slots: bool = True) -> Manner:
    """Take the options of `unattended_options` out of a command's words; raises UsageError for wrong ones.

    Without `slots` every run is a new one, at which nobody else can be.
    """
    from runner.core.errors import UsageError
    from runner.locking import Policy
    from runner.notifying import check

    if_locked, wait = words.pop("if_locked"), seconds_of(words.pop("wait"), "--wait")
    if if_locked is not None and not slots:
        raise UsageError("--if-locked goes with --slot-of: without it each run has a directory of its own.")
    if wait is not None and if_locked != "wait":
        raise UsageError("--wait says how long --if-locked wait may take; give both.")
    command, url = words.pop("notify_command"), words.pop("notify_url")
    check(command, url)
    policy = Policy(if_locked or "fail", 3600.0 if wait is None else wait)
    return Manner(policy, words.pop("env_file"), words.pop("log"), command, url)


def seconds_of(said: str | None, option: str) -> float | None:
    """A duration as a user writes it; raises UsageError."""
    from runner.core.errors import UsageError
    from runner.storage.jobs import seconds

    try:
        return None if said is None else float(seconds(said))
    except ValueError as error:
        raise UsageError(f"{option} {said}: {error}.") from None


def note(*lines: str) -> None:
    """Lines beside the results."""
    from runner.report.safe import safe

    for line in lines:
        click.echo(f"note: {safe(line, 500)}", err=True)


def _found(_ctx: click.Context, _param: click.Parameter, name: Path) -> Path:
    from runner.storage.runs import find

    return find(name)


RUN = click.argument("directory", metavar="RUN", type=Place(), callback=_found)
"""A run, by its directory or by its id."""
