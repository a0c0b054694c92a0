"""`runner submit`, `pause`, `unpause`, `cancel` and `wait`: runs without a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from runner.cli.options import (
    Place,
    cap_options,
    declared,
    job_options,
    memory_option,
    place_of,
    run_options,
    share_options,
)
from runner.cli.unattended import RUN, base_option, env_file_option, note, notify_options, seconds_of


@click.command()
@job_options
@cap_options
@run_options
@share_options
@click.option("-o", "--out", type=Place(file_okay=False), metavar="DIR", help="Run directory.")
@base_option
@env_file_option
@notify_options
def submit(source: str, out: Path | None, base: Path | None, env_file: Path | None, **words: Any) -> int:
    """Begin what `runner run` would do in the background, and print the run's id.

    What is wrong with the job is said here; what the run says goes to the file `log` in its directory.
    """
    from dataclasses import replace

    from runner import app, background
    from runner.gateway.environment import is_local, take_from
    from runner.notifying import check
    from runner.preparing import prepare
    from runner.storage.rundir import RUNS, fresh
    from runner.storage.runs import id_of

    told = {name: words.pop(name) for name in ("notify_command", "notify_url")}
    check(told["notify_command"], told["notify_url"])
    if env_file is not None:
        take_from(env_file)
    job, setup = declared(source, words)
    setup = replace(setup, env_file=env_file)
    prepared = prepare(job, setup)
    note(*prepared.notices)
    path = app.found(prepared, place_of(out, base, job.name) or fresh(RUNS, job.name))
    click.echo(id_of(path))
    gateway = None if is_local(setup.gateway) else setup.gateway
    return _begun(path, background.spawn(path, _words(gateway, env_file, setup.memory, setup.share, **told)))


def _words(gateway: str | None, env_file: Path | None, memory: bool, share: bool, **told: str | None) -> list[str]:
    """The words of `runner resume` that are not in the run's directory."""
    given = {"gateway": gateway, "env_file": env_file, **told}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value is not None]
    words += [word for word, is_needed in (("--no-memory", not memory), ("--no-share", not share)) if is_needed]
    return [*words, "--background"]


def _begun(path: Path, code: int | None) -> int:
    """The exit code of a command that began a run: 0 if it goes, or has succeeded already."""
    if code in (None, 0, 3):
        return 0
    lines = (path / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    note(f"The run ended with {code}: {lines[-1] if lines else 'it said nothing'}")
    return int(code or 0) if code is not None and code > 0 else 70


@click.command()
@RUN
@click.option("--gateway", metavar="URL|local", help="The gateway, if the environment does not name it.")
@env_file_option
@memory_option
@share_options
@notify_options
def unpause(
    directory: Path, gateway: str | None, env_file: Path | None, memory: bool | None, share: bool | None, **told: Any
) -> int:
    """Go on with RUN in the background: after a pause, a reboot, a cap. What has an outcome is not asked again."""
    from runner import background
    from runner.gateway.environment import again, take_from
    from runner.locking import Policy, by_policy
    from runner.notifying import check
    from runner.report.safe import safe
    from runner.storage.runs import id_of

    check(told["notify_command"], told["notify_url"])
    if env_file is not None:
        take_from(env_file)
    words = _words(gateway, env_file, memory is not False, share is not False, **told)

    def begin() -> tuple[int | None]:
        return (background.unpause(directory, words, again(gateway, env_file)),)

    # What was paused just now may still wait for its last answers.
    paused = background.is_paused(directory)
    begun = by_policy(begin, Policy("wait" if paused else "fail", background.DRAIN_SECONDS), note)
    click.echo(f"{safe(id_of(directory), 1000)}: goes on")
    return _begun(directory, None if begun is None else begun[0])


@click.command()
@RUN
def pause(directory: Path) -> int:
    """Stop RUN for now: what is in flight lands, nothing more is sent; `runner unpause` goes on."""
    return _stopped(directory, "paused")


@click.command()
@RUN
def cancel(directory: Path) -> int:
    """Stop RUN for good: what is in flight lands, nothing more is sent, and what is finished can be fetched."""
    return _stopped(directory, "cancelled")


def _stopped(directory: Path, word: str) -> int:
    from runner import background
    from runner.core.errors import RunnerError
    from runner.report.safe import safe
    from runner.storage.marks import Mark
    from runner.storage.runs import id_of

    told = background.stop(directory, Mark(word))
    click.echo(f"{safe(id_of(directory), 1000)}: {word}{', once what is in flight has landed' if told else ''}")
    if word == Mark.CANCELLED and not told:
        from runner.finishing import fold

        try:
            fold(directory)
        except RunnerError as error:
            note(f"The run is cancelled, but the tables cannot be written: {error}")
            return error.exit_code
    return 0


@click.command()
@RUN
@click.option("--timeout", metavar="TIME", help="Give up after so long, with exit code 124: 90, 45m, 8h.")
def wait(directory: Path, timeout: str | None) -> int:
    """Wait until nobody works in RUN any more, and end with the exit code that it ended with."""
    from runner import background
    from runner.report.standing import why
    from runner.storage.states import status_of

    code = background.wait(directory, seconds_of(timeout, "--timeout"))
    if code not in (0, background.TIMED_OUT):
        state = status_of(directory)
        note(" ".join([f"{directory} is {state['status']}.", *why(state)]))
    return code
