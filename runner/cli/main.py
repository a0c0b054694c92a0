"""The group of commands. Each command's module is imported when it is called, so that --help is quick."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import resource
import sys
import traceback
from typing import Any

import click

from runner.cli.streams import spoken
from runner.core.errors import BrokenInvariant, RunnerError, StorageFailed, UsageError

READER_LEFT = (errno.EPIPE, errno.EIO)
"""How it shows that nobody reads any more: at a pipe, and at a terminal."""

COMMANDS = {
    "run": ("runner.cli.running", "Ask models about every row of a file, within the budgets."),
    "resume": ("runner.cli.running", "Go on with a run; what succeeded is not asked again."),
    "redrive": ("runner.cli.running", "Ask again about a run's errored rows."),
    "repair": ("runner.cli.running", "Save what can be read of a damaged run into a copy."),
    "submit": ("runner.cli.background", "Begin a run in the background, and print its id."),
    "list": ("runner.cli.looking", "List the runs, with their states."),
    "plan": ("runner.cli.planning", "Say what a run would take and cost. Sends nothing."),
    "status": ("runner.cli.looking", "Say how far a run has come."),
    "pause": ("runner.cli.background", "Stop a run for now; nothing of it is lost."),
    "unpause": ("runner.cli.background", "Go on with a run in the background."),
    "cancel": ("runner.cli.background", "Stop a run for good; what is finished can be fetched."),
    "wait": ("runner.cli.background", "Wait for a run, and end with its exit code."),
    "results": ("runner.cli.looking", "Write a run's results as CSV, JSONL, Parquet or OpenAI's batch output."),
    "cron": ("runner.cli.scheduling", "Run a job by the clock: crontab lines and systemd timers."),
    "prune": ("runner.cli.pruning", "Remove old finished runs."),
    "compare": ("runner.cli.evaluating", "Say whether one run, or one model, is better than another."),
    "history": ("runner.cli.evaluating", "Show how a job's metrics went over its runs."),
    "accept": ("runner.cli.evaluating", "Make a run the one that later runs are compared with."),
    "adopt": ("runner.cli.adopting", "Take over what people have decided about a labelling run's open rows."),
    "score": ("runner.cli.scoring", "Read and score a finished run's replies again, as its job says now."),
    "init": ("runner.cli.jobs", "Begin a job of a kind: a folder that runs as it is."),
    "check": ("runner.cli.jobs", "Say everything about a job that can be said without sending."),
    "schema": ("runner.cli.jobs", "Print the JSON Schema of job files, for editors."),
    "models": ("runner.cli.models", "Show the models that can be asked, and what is known of them."),
    "limits": (
        "runner.cli.limits",
        "Show a gateway's limits as configured and as learned, or forget that.",
    ),
    "budget": ("runner.cli.budget", "Show which runs share a gateway's budget now, and what each has used."),
    "doctor": (
        "runner.cli.doctor",
        "Check token, gateway, clock, directories and models, with one tiny request a model.",
    ),
    "simulate": ("runner.cli.simulating", "Serve a local gateway to try things out; it is no model."),
    "completion": ("runner.cli.completion", "Print the lines that teach your shell to complete this command."),
}
"""By name: the module that holds the command, and its line in --help."""


class Commands(click.Group):
    """A group that knows its commands' names and lines without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module, line = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), cmd_name)
        command.short_help = line
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find a command; for one that does not exist, say what it might be."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if args and os.path.exists(args[0]):  # noqa: PTH110 - any path-like word
                hint = f"{error.message} To run a file or a job: runner run {args[0]}"
                raise click.UsageError(hint, ctx) from None
            if isinstance(error, click.NoSuchCommand):
                raise click.NoSuchCommand(error.command_name, possibilities=COMMANDS, ctx=ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="runner", prog_name="runner", message="%(prog)s %(version)s")
@click.pass_context
def runner(ctx: click.Context) -> None:
    """Finish batches of LLM requests as fast as the gateway's token budgets allow, and lose nothing on the way.

    \b
    Try it:   runner run samples/packages.jsonl --prompt @samples/section.jinja -m pick:cheap --gateway local
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def _safe(message: str) -> str:
    """A message, which may hold what a row, a file or a server says, as a terminal may show it."""
    from runner.report.safe import safe_lines

    return safe_lines(message, most=200)


def _leave_no_core() -> None:
    """A process that is killed by a fault writes none of its memory down: the token and the rows are in it."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def main() -> None:
    """Run the command line, and end with the exit code that docs/exit-codes.md lists."""
    _leave_no_core()
    with spoken() as output:
        code = _called()
        sys.stdout.flush()
        if output is not None and output.failed is not None and output.failed.errno not in READER_LEFT:
            if code != 8:  # else it was said
                click.echo(f"runner: Standard output cannot be written: {output.failed.strerror}.", err=True)
            code = code or 8
    sys.exit(code)


def _mind_the_words() -> None:
    """Raise UsageError for a word that is no UTF-8: neither a terminal nor a file of ours can hold it."""
    for word in sys.argv[1:]:
        shown = word.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        if shown != word:
            raise UsageError(f"The word {shown} is no UTF-8. Rename what it names, or write it as UTF-8.")


def _called() -> int:
    """The exit code of what the command line asks for; whatever goes wrong is said in one sentence."""
    try:
        _mind_the_words()
        code = runner.main(standalone_mode=False)
    except (click.exceptions.Abort, KeyboardInterrupt) as error:  # click makes the one of the other
        for note in getattr(error.__cause__ or error, "__notes__", ()):
            click.echo(_safe(note), err=True)
        code = 130
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        click.echo(_safe(said.getvalue().rstrip()), err=True)
        code = error.exit_code
    except RunnerError as error:
        click.echo(_safe("\n".join([f"runner: {error}", *getattr(error, "__notes__", ())])), err=True)
        code = error.exit_code
    except SystemExit:
        raise
    except MemoryError:
        click.echo("runner: The memory did not suffice. What was answered is kept; the run can be resumed.", err=True)
        code = 70
    except BaseException as error:  # the last net, also for what Rust calls a panic
        code = _last_word(error)
    return code if isinstance(code, int) else 0


def _last_word(error: BaseException) -> int:
    """The exit code of what nobody expected, said in one sentence, with what to send us if it is a bug."""
    if os.environ.get("RUNNER_DEBUG"):
        click.echo(_safe(traceback.format_exc()), err=True)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        click.echo(_safe(f"runner: {error.filename} cannot be used: {error.strerror}."), err=True)
        return StorageFailed.exit_code
    click.echo(_safe(f"runner: internal error: {type(error).__name__}: {error}"), err=True)
    click.echo("This is a bug in runner; RUNNER_DEBUG=1 shows where. The run directory can be resumed.", err=True)
    return BrokenInvariant.exit_code
