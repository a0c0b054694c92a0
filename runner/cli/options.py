"""The options that several commands share, and the words they make."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runner.core.errors import RunnerError

if TYPE_CHECKING:
    from runner.core.job import Job
    from runner.preparing import Setup

F = TypeVar("F", bound=Callable[..., Any])


class Place(click.Path):
    """A path that somebody names: an empty word is none, and not the current folder."""

    def __init__(self, *, file_okay: bool = True, dir_okay: bool = True) -> None:
        super().__init__(file_okay=file_okay, dir_okay=dir_okay, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; refused if it is empty."""
        if value == "":
            self.fail("an empty word is no path; is a variable not set?", param, ctx)
        return super().convert(value, param, ctx)


FILE = Place(dir_okay=False)


class Number(click.FloatRange):
    """A number in a range; neither `nan`, which lies in every range, nor `inf`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; refused if it is none, or not finite, or outside the range."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def together(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    """One decorator that puts several options on a command, in this order."""

    def decorate(function: F) -> F:
        decorated: F = reduce(lambda made, option: option(made), reversed(options), function)
        return decorated

    return decorate


def _complete_models(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    from runner.storage.specs import load_catalogue

    head, comma, last = incomplete.rpartition(",")
    return [f"{head}{comma}{name}" for name in load_catalogue().models if name.startswith(last)]


keep_going_option = click.option(
    "--keep-going",
    is_flag=True,
    default=None,
    help="Record rows that all fail alike as errored; otherwise ten of them before any answer stop the run.",
)

_question_options = together(
    click.option(
        "-m",
        "--model",
        "models",
        multiple=True,
        metavar="MODEL,...",
        help="Models, a pool any of which may answer a row; repeatable. pick:TASK is the page's choice.",
        shell_complete=_complete_models,
    ),
    click.option("--each", is_flag=True, default=None, help="Ask every model about every row."),
    click.option(
        "-p",
        "--prompt",
        metavar="TEXT|@FILE",
        help="Jinja template over the columns, e.g. 'Sum up: {{ text }}'.",
    ),
    click.option("--system", metavar="TEXT|@FILE", help="Template of the system prompt."),
    click.option("--max-tokens", type=int, metavar="N", help="Cap on output tokens. It is reserved: keep it close."),
    click.option(
        "--caps",
        type=click.Choice(["exact", "ceiling"]),
        help="ceiling: --max-tokens is only an upper bound; what is reserved follows the answers' lengths.",
    ),
    click.option("--temperature", type=float, metavar="X"),
    click.option("--stop", multiple=True, metavar="TEXT", help="Text at which to stop; repeat for more."),
    click.option("--effort", metavar="LEVEL", help="Reasoning effort: none, minimal, low, medium, high, xhigh, max."),
    click.option(
        "--schema",
        metavar="FILE",
        help="JSON schema to ask for; without an [answer], one that breaks it is asked again, twice.",
    ),
    click.option("--labels", metavar="A,B,...", help="Read the answer as one of these labels, and nothing else."),
    click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any word of a job file: answer.asks=1."
    ),
    click.option(
        "--endpoint", metavar="NAME", help="chat, messages, responses, gemini, or native: the provider's own."
    ),
    click.option("--strict-params", is_flag=True, default=None, help="Refuse parameters that a model rejects."),
)
"""What to ask, and of which models."""
_row_options = together(
    click.option("--id-column", metavar="NAME", help="Column that names a row in the results."),
    click.option(
        "--no-row-settings",
        "row_settings",
        flag_value=False,
        default=None,
        help="Do not take model, system, max_tokens and temperature from columns of these names.",
    ),
    click.option("--limit", type=int, metavar="N", help="Only the first N rows."),
    click.option("--sample", type=int, metavar="N", help="Only N rows, drawn at random."),
    click.option("--seed", type=int, metavar="N", help="Seed of that drawing."),
    click.option(
        "--bad-rows",
        type=click.Choice(["stop", "record"]),
        help="Stop before sending, or record as errored rows.",
    ),
    keep_going_option,
)
"""Which rows, and what of those that cannot be asked."""
catalog_option = click.option(
    "--catalog", "catalogs", type=FILE, multiple=True, metavar="FILE", help="TOML file with models of your own."
)
_account_options = together(
    click.option("--limits", type=FILE, metavar="FILE", help="TOML file with the account's limits."),
    click.option("--no-limits", is_flag=True, default=None, help="Keep no budgets at all."),
    catalog_option,
)
"""What the account may spend, and on which models."""
job_options = together(
    click.argument("source", metavar="JOB-OR-FILE"), _question_options, _row_options, _account_options
)
"""What to ask, of which models, about which rows."""

cap_options = together(
    click.option("--max-cost", type=float, metavar="USD", help="Stop before more than this is spent."),
    click.option("--max-total-tokens", type=int, metavar="N", help="Stop before more tokens than this."),
    click.option("--deadline", metavar="TIME", help="Stop sending after so long: 90, 45m, 8h."),
)
"""When to stop."""

memory_option = click.option(
    "--no-memory",
    "memory",
    flag_value=False,
    default=None,
    help="Neither use what earlier runs learned of the gateway, nor keep what this one learns.",
)

share_options = together(
    click.option(
        "--priority",
        type=click.Choice(["batch", "normal", "urgent"]),
        help="Part of the budget beside other runs of the account: 1 to 2 to 8 (normal).",
    ),
    click.option(
        "--no-share",
        "share",
        flag_value=False,
        default=None,
        help="Spend as if no other run of the account were there.",
    ),
)
"""How to share the budget with other runs."""

run_options = together(
    click.option("--gateway", metavar="URL|local", help="The gateway; 'local' starts one on this machine for the run."),
    memory_option,
    click.option(
        "--probe-above",
        is_flag=True,
        default=None,
        help="Send more than the configured limits, little by little, to find out if they are really higher.",
    ),
    click.option("--attempts", type=int, metavar="N", help="Attempts for a row that fails (5)."),
    click.option("--timeout", metavar="TIME", help="For one request (600)."),
    click.option("--patience", metavar="TIME", help="How long the gateway may fail before the run stops (600)."),
)
"""How to run."""

show_options = together(
    click.option("-q", "--quiet", is_flag=True, help="No progress, and no summary but the exit code."),
    click.option("--json", "as_json", is_flag=True, help="The summary as JSON on standard output."),
)
"""How to show it."""


def declared(source: str, words: dict[str, Any]) -> tuple[Job, Setup]:
    """A job and its setup, from a job file's words with the command line's over them."""
    import tempfile

    from runner.preparing import Setup
    from runner.storage.jobs import absolute, declare, read_words, replaced, ways
    from runner.storage.rows import STDIN, named_by_content, spool

    memory, share = (words.pop(name, None) is not False for name in ("memory", "share"))
    if not source:
        raise click.UsageError("JOB-OR-FILE is an empty word; is a variable not set?")
    settings, labels = words.pop("settings", ()), words.pop("labels", None)
    given = {name: value for name, value in words.items() if value not in (None, (), [])}
    said = {**({"input": STDIN, "name": "stdin"} if source == STDIN else read_words(Path(source))), **given}
    if given.get("limits") is not None and given.get("no_limits"):
        raise click.UsageError("--limits and --no-limits say the opposite of each other: give one of them.")
    if given.get("limits") is not None or any(setting.partition("=")[0].strip() == "limits" for setting in settings):
        said.pop("no_limits", None)  # a job file's, which keeps none
    said = replaced(said, settings, labels)
    origin = job_file(source)
    spooled = said.get("input") == STDIN
    over = {
        *given,
        *(setting.partition("=")[0].strip() for setting in settings),
        *(["answer.labels"] if labels and isinstance(said["answer"], Mapping) else []),
    }
    setup = Setup.by(ways(said, origin, over), memory=memory, share=share, spooled=spooled)
    if setup.spooled:
        context = click.get_current_context()
        folder = context.with_resource(tempfile.TemporaryDirectory(prefix="runner-"))
        copy = named_by_content(spool(sys.stdin.buffer, Path(folder) / "stdin.jsonl"))
        context.with_resource(_naming_stdin(copy))
        said["input"] = str(copy)
    return declare(absolute(said), origin, over), setup


@contextmanager
def _naming_stdin(copy: Path) -> Iterator[None]:
    """Say "standard input" where an error names its copy."""
    from runner.storage.rows import said_of_stdin

    try:
        yield
    except RunnerError as error:
        error.args = (said_of_stdin(str(error), copy),)
        raise


def place_of(out: Path | None, base: Path | None, name: str) -> Path | None:
    """Where a new run is to be: at `out`, or under the folder `base`; None where nobody says."""
    from runner.storage.rundir import fresh

    if out is not None and base is not None:
        raise click.UsageError("--out is the run's own directory, and --in a folder for it: give one of them.")
    return out if base is None else fresh(base, name)


def job_file(source: str) -> str:
    """The job file that a source names; empty if it is an input by itself."""
    path = Path(source)
    return str(path / "job.toml") if (path / "job.toml").is_file() else source if path.suffix == ".toml" else ""
