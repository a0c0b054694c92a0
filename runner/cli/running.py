"""`runner run`, `resume`, `redrive` and `repair`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from runner.cli.options import (
    Place,
    cap_options,
    declared,
    job_options,
    keep_going_option,
    memory_option,
    place_of,
    run_options,
    share_options,
    show_options,
)
from runner.cli.unattended import RUN, base_option, manner, note, unattended_options
from runner.core.sharing import Priority

if TYPE_CHECKING:
    from runner.cli.unattended import Manner
    from runner.core.job import Job
    from runner.finishing import Finish
    from runner.preparing import Setup
    from runner.scheduled import Turn


@click.command()
@job_options
@cap_options
@run_options
@share_options
@click.option("-o", "--out", type=Place(file_okay=False), metavar="DIR", help="Run directory (runs/...).")
@base_option
@click.option(
    "--fork",
    type=Place(),
    metavar="RUN",
    help="Take over what this earlier run has answered, and people have decided, of rows asked in the same way.",
)
@click.option(
    "--slot-of",
    metavar="SCHEDULE",
    help="Be the run of this schedule's last time: named by it, gone on with if it is there, and never there twice.",
)
@unattended_options
@show_options
def run(
    source: str,
    out: Path | None,
    base: Path | None,
    fork: Path | None,
    slot_of: str | None,
    quiet: bool,
    as_json: bool,
    **words: Any,
) -> int:
    """Ask models about every row of JOB-OR-FILE, within the token budgets, and write results tables.

    JOB-OR-FILE is a job folder, a job.toml, or an input file: JSONL (rows with `prompt` or `messages`, lines of
    OpenAI's batch format, or any columns with --prompt), CSV, Parquet; .gz and .zst too; - is standard input,
    in any of these formats.

    The gateway and its token come from NEON_AI_GATEWAY_BASE_URL and NEON_AI_GATEWAY_TOKEN.
    """
    from dataclasses import replace

    from runner import app
    from runner.preparing import prepare
    from runner.report.printing import print_finish
    from runner.report.progress import attendant
    from runner.storage.rundir import RUNS

    given = manner(words, slots=slot_of is not None)
    with given.in_force():
        job, setup = declared(source, words)
        setup = replace(setup, env_file=given.env_file)
        attend = attendant(quiet=quiet or as_json, stream=sys.stderr)
        if slot_of is not None:
            from runner.scheduled import run_slot

            turn = _turn(job, setup, slot_of, out or fork, base or RUNS, given)
            finish = given.told(job.name, turn.slot, lambda: run_slot(turn, attend, note))
        else:
            place = place_of(out, base, job.name)
            finish = given.told(job.name, None, lambda: app.start(prepare(job, setup), place, attend, fork))
        if finish is None:
            return 0
        print_finish(finish, quiet=quiet, as_json=as_json)
    given.last_word(finish)
    return finish.ending.exit_code


def try_out(words: dict[str, Any]) -> Setup:
    """Raise what `run` would say against these words of a scheduled run before it sends anything; how it would run."""
    from runner.preparing import prepare
    from runner.storage.rundir import RUNS

    source, out, base, fork, slot_of = (words.pop(name) for name in ("source", "out", "base", "fork", "slot_of"))
    del words["quiet"], words["as_json"]
    given = manner(words)
    job, setup = declared(source, words)
    _turn(job, setup, slot_of, out or fork, base or RUNS, given)
    prepare(job, setup)
    return setup


def _turn(job: Job, setup: Setup, slot_of: str, other: Path | None, base: Path, given: Manner) -> Turn:
    from runner.core.errors import UsageError
    from runner.scheduled import Turn
    from runner.schedules.expressions import parse
    from runner.schedules.zone import now

    if other is not None:
        raise UsageError(
            "--slot-of names the run's directory itself (--in says under which folder), and takes no --out or --fork."
        )
    return Turn(job=job, setup=setup, expression=parse(slot_of), base=base, now=now(), policy=given.policy)


@click.command()
@RUN
@click.option(
    "--gateway", metavar="URL|local", help="The gateway, if the environment does not name it: the same as before."
)
@click.option(
    "--bad-rows",
    type=click.Choice(["stop", "record"]),
    help="From now on, stop at rows that cannot be asked, or record them as errored rows.",
)
@keep_going_option
@memory_option
@share_options
@cap_options
@unattended_options
@click.option("--background", is_flag=True, hidden=True, help="Leave the run if it has been marked meanwhile.")
@show_options
def resume(
    directory: Path,
    gateway: str | None,
    bad_rows: Literal["stop", "record"] | None,
    keep_going: bool | None,
    memory: bool | None,
    background: bool,
    share: bool | None,
    priority: Priority | None,
    quiet: bool,
    as_json: bool,
    **words: Any,
) -> int:
    """Go on with RUN, a directory or an id, also if it was paused or cancelled. What has an outcome is not asked again.

    Caps are those that the run began with, unless others are given; what was spent before counts.
    """
    changes = {"bad_rows": bad_rows, "keep_going": keep_going, "priority": priority}
    kept = {"memory": memory is not False, "share": share is not False}
    return _go_on(directory, gateway, words, changes, kept, quiet=quiet, as_json=as_json, lifts=not background)


def _go_on(
    directory: Path,
    gateway: str | None,
    words: dict[str, Any],
    changes: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    quiet: bool,
    as_json: bool,
    lifts: bool = True,
) -> int:
    """Resume a run with what `unattended_options` and `cap_options` say; `lifts` takes off what it is marked as."""
    from runner import app
    from runner.locking import by_policy
    from runner.report.printing import print_finish
    from runner.report.progress import attendant
    from runner.storage import marks
    from runner.storage.jobs import caps_from

    given = manner(words)
    with given.in_force():
        attend, caps = attendant(quiet=quiet or as_json, stream=sys.stderr), caps_from(words)

        def call() -> Finish:
            marks.mind(directory, lifts=lifts)
            return app.resume(directory, attend, gateway, caps, changes, env_file=given.env_file, **options)

        finish = given.told(directory.name, None, lambda: by_policy(call, given.policy, note))
        if finish is None:
            return 0
        print_finish(finish, quiet=quiet, as_json=as_json)
    given.last_word(finish)
    return finish.ending.exit_code


@click.command()
@RUN
@click.option("--only", metavar="KIND,...", help="Only rows with these failures, as errors.parquet names them.")
@click.option("--gateway", metavar="URL|local", help="The gateway, if the environment does not name it.")
@keep_going_option
@memory_option
@share_options
@cap_options
@unattended_options
@show_options
def redrive(
    directory: Path,
    only: str | None,
    gateway: str | None,
    keep_going: bool | None,
    memory: bool | None,
    share: bool | None,
    priority: Priority | None,
    quiet: bool,
    as_json: bool,
    **words: Any,
) -> int:
    """Ask again about the errored rows of the run in directory RUN, and go on with it.

    What succeeded stays as it is; the failures stay in attempts.parquet. Rows that cannot be asked at all stay errored.
    """
    from runner.core.values import Kind

    names = [name.strip() for name in (only or "").split(",") if name.strip()]
    if unknown := [name for name in names if name not in list(Kind)]:
        raise click.BadParameter(
            f"no failure is called {unknown[0]!r}; there are {', '.join(Kind)}.", param_hint="--only"
        )
    changes = {"keep_going": keep_going, "priority": priority}
    kept = {"memory": memory is not False, "share": share is not False, "redrive": [Kind(name) for name in names]}
    return _go_on(directory, gateway, words, changes, kept, quiet=quiet, as_json=as_json)


@click.command()
@RUN
@click.option("-o", "--out", type=Place(), metavar="DIR", help="Where the copy goes (RUN-repaired).")
def repair(directory: Path, out: Path | None) -> int:
    """Save what can be read of a run whose journal is damaged into a copy; the run itself is left as it is.

    What stood in the damaged places is asked again when the copy is resumed.
    """
    from runner.core.commands import command
    from runner.report.safe import safe
    from runner.storage.repair import repair as save
    from runner.storage.rundir import RunDirectory

    found = save(RunDirectory.open(directory), out or directory.with_name(f"{directory.name}-repaired"))
    for place in found.damaged:
        click.echo(f"Left out: bytes {place.offset:,} to {place.end:,} of the journal.")
    again = command("resume", found.directory)
    click.echo(f"{found.frames:,} frames saved, {found.lost:,} bytes left out. Go on with: {safe(again, 1000)}")
    return 0
