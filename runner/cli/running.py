"""`runner run` and `runner resume`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import click

from runner.cli.options import (
    cap_options,
    declared,
    job_options,
    keep_going_option,
    memory_option,
    run_options,
    show_options,
)


@click.command()
@job_options
@cap_options
@run_options
@click.option(
    "-o", "--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Run directory (runs/...)."
)
@click.option(
    "--fork",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Take over what this earlier run has answered of the same rows, asked in the same way.",
)
@show_options
def run(source: str, out: Path | None, fork: Path | None, quiet: bool, as_json: bool, **words: Any) -> int:
    """Ask models about every row of JOB-OR-FILE, within the token budgets, and write results tables.

    JOB-OR-FILE is a job folder, a job.toml, or an input file: JSONL (rows with `prompt` or `messages`, lines of
    OpenAI's batch format, or any columns with --prompt), CSV, Parquet; .gz and .zst too; - is standard input.

    The gateway and its token come from NEON_AI_GATEWAY_BASE_URL and NEON_AI_GATEWAY_TOKEN.
    """
    from runner import app
    from runner.preparing import prepare
    from runner.report.printing import print_finish
    from runner.report.progress import attendant

    job, setup = declared(source, words)
    prepared = prepare(job, setup)
    finish = app.start(prepared, out, attendant(quiet=quiet or as_json, stream=sys.stderr), fork)
    print_finish(finish, quiet=quiet, as_json=as_json)
    return finish.ending.exit_code


@click.command()
@click.argument("directory", metavar="RUN", type=click.Path(path_type=Path))
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
@cap_options
@show_options
def resume(
    directory: Path,
    gateway: str | None,
    bad_rows: Literal["stop", "record"] | None,
    keep_going: bool | None,
    memory: bool | None,
    quiet: bool,
    as_json: bool,
    **caps: Any,
) -> int:
    """Go on with the run in directory RUN. What has an outcome is not asked again.

    Caps are those that the run began with, unless others are given; what was spent before counts.
    """
    from runner import app
    from runner.report.printing import print_finish
    from runner.report.progress import attendant
    from runner.storage.jobs import caps_from

    attend = attendant(quiet=quiet or as_json, stream=sys.stderr)
    changes = {"bad_rows": bad_rows, "keep_going": keep_going}
    finish = app.resume(directory, attend, gateway, caps_from(caps), changes, memory=memory is not False)
    print_finish(finish, quiet=quiet, as_json=as_json)
    return finish.ending.exit_code


@click.command()
@click.argument("directory", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--only", metavar="KIND,...", help="Only rows with these failures, as errors.parquet names them.")
@click.option("--gateway", metavar="URL|local", help="The gateway, if the environment does not name it.")
@keep_going_option
@memory_option
@cap_options
@show_options
def redrive(
    directory: Path,
    only: str | None,
    gateway: str | None,
    keep_going: bool | None,
    memory: bool | None,
    quiet: bool,
    as_json: bool,
    **caps: Any,
) -> int:
    """Ask again about the errored rows of the run in directory RUN, and go on with it.

    What succeeded stays as it is; the failures stay in attempts.parquet. Rows that cannot be asked at all stay errored.
    """
    from runner import app
    from runner.core.values import Kind
    from runner.report.printing import print_finish
    from runner.report.progress import attendant
    from runner.storage.jobs import caps_from

    names = [name.strip() for name in (only or "").split(",") if name.strip()]
    if unknown := [name for name in names if name not in list(Kind)]:
        raise click.BadParameter(
            f"no failure is called {unknown[0]!r}; there are {', '.join(Kind)}.", param_hint="--only"
        )
    attend = attendant(quiet=quiet or as_json, stream=sys.stderr)
    finish = app.resume(
        directory,
        attend,
        gateway,
        caps_from(caps),
        {"keep_going": keep_going},
        memory=memory is not False,
        redrive=[Kind(name) for name in names],
    )
    print_finish(finish, quiet=quiet, as_json=as_json)
    return finish.ending.exit_code


@click.command()
@click.argument("directory", metavar="RUN", type=click.Path(path_type=Path))
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="DIR", help="Where the copy goes (RUN-repaired).")
def repair(directory: Path, out: Path | None) -> int:
    """Save what can be read of a run whose journal is damaged into a copy; the run itself is left as it is.

    What stood in the damaged places is asked again when the copy is resumed.
    """
    from runner.storage.repair import repair as save
    from runner.storage.rundir import RunDirectory

    found = save(RunDirectory.open(directory), out or directory.with_name(f"{directory.name}-repaired"))
    for place in found.damaged:
        click.echo(f"Left out: bytes {place.offset:,} to {place.end:,} of the journal.")
    click.echo(
        f"{found.frames:,} frames saved, {found.lost:,} bytes left out. Go on with: runner resume {found.directory}"
    )
    return 0
