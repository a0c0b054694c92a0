"""The Python interface: `runner.run` and `runner.plan`, in the words of the command line."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar, Unpack

from runner import app
from runner.core.errors import UsageError
from runner.core.sharing import Priority
from runner.engines.interruptions import ELSEWHERE, Elsewhere
from runner.finishing import Finish
from runner.planning import Plan
from runner.preparing import Prepared, Setup, prepare
from runner.report.progress import attendant
from runner.scoring import SCORERS, Scorer
from runner.scoring.table import Own, own_scorer
from runner.storage import marks
from runner.storage.jobs import absolute, caps_from, declare, read_words, replaced, ways

T = TypeVar("T")
LOOK_UP_SECONDS = 0.2
"""How often who waits for a run in another thread looks whether Ctrl-C was pressed."""


class Words(TypedDict, total=False):
    """What to ask, of which models, about which rows. `runner run --help` explains each."""

    name: str
    models: Sequence[str] | str
    each: bool
    prompt: str
    """A Jinja template over the columns, or @FILE."""
    system: str
    max_tokens: int
    caps: Literal["exact", "ceiling"]
    """Whether `max_tokens` is sent as it is, or is only the most that an answer may be allowed."""
    temperature: float
    top_p: float
    stop: Sequence[str]
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
    schema: str | Mapping[str, Any]
    """A JSON schema, or the path of a file that holds one."""
    labels: Sequence[str] | str
    """Read each answer as one of these labels: short for an `answer` with them."""
    answer: Mapping[str, Any]
    """The section [answer] of a job file; the same for those that follow."""
    annotators: Mapping[str, Any]
    vote: Mapping[str, Any]
    gold: Mapping[str, Any]
    escalate: Mapping[str, Any]
    evaluate: Mapping[str, Any]
    gates: Mapping[str, Any]
    tools: Sequence[Mapping[str, Any]]
    tool_choice: str | Mapping[str, Any]
    probe_above: bool
    """Whether more than the configured limits may be sent, to find out if they are higher."""
    id_column: str
    row_settings: bool
    limit: int
    sample: int
    seed: int
    bad_rows: Literal["stop", "record"]
    keep_going: bool
    """Whether rows that all fail alike are recorded as errored, rather than stop the run."""
    endpoint: str
    strict_params: bool
    attempts: int
    timeout: float | str
    patience: float | str
    max_cost: float
    max_total_tokens: int
    deadline: float | str
    priority: Priority
    """How large a part of the budget it gets beside other runs of the account."""


def run(
    source: str | Path,
    *,
    out: str | Path | None = None,
    gateway: str | None = None,
    limits: str | Path | None = None,
    no_limits: bool = False,
    catalogs: Sequence[str | Path] = (),
    memory: bool = True,
    share: bool = True,
    progress: bool = False,
    scorers: Mapping[str, Own] | None = None,
    **words: Unpack[Words],
) -> Finish:
    """Run a job folder, a job file or an input file, and return how it ended.

    `Finish.directory` holds the tables, `Finish.summary` the sums, `Finish.ending.exit_code` what the command would
    have exited with. Without `memory` nothing that earlier runs have learned of the gateway is used, and nothing kept;
    without `share` other runs of the account on this host are not heeded.
    Raises a `runner.RunnerError` if the run could not begin or could not go on.

    `scorers` are functions of your own for the job's `evaluate`: each is given an answer, what is expected and the
    scorer's options, and returns 0 to 1, True or False, or a `runner.Score` with a reason. Those that the job does not
    name itself score beside the ones that it names.
    """
    prepared = _prepare(source, gateway, limits, no_limits, catalogs, words, memory, share, scorers=scorers or {})
    attend = attendant(quiet=not progress, stream=sys.stderr)
    return _outside_loops(lambda: app.start(prepared, None if out is None else Path(out), attend))


class CapWords(TypedDict, total=False):
    """Caps to replace when a run goes on; what was spent before counts."""

    max_cost: float
    max_total_tokens: int
    deadline: float | str


def resume(
    directory: str | Path,
    *,
    gateway: str | None = None,
    memory: bool = True,
    share: bool = True,
    priority: Priority | None = None,
    bad_rows: Literal["stop", "record"] | None = None,
    keep_going: bool | None = None,
    progress: bool = False,
    scorers: Mapping[str, Own] | None = None,
    **caps: Unpack[CapWords],
) -> Finish:
    """Go on with a run; what has an outcome is not asked again. `scorers` are those that it was begun with."""
    attend = attendant(quiet=not progress, stream=sys.stderr)
    changes = {"bad_rows": bad_rows, "keep_going": keep_going, "priority": priority}
    given, made = (Path(directory), attend, gateway, caps_from(caps), changes), _own(scorers or {})
    marks.mind(Path(directory), lifts=True)
    return _outside_loops(lambda: app.resume(*given, memory=memory, share=share, scorers=made))


def plan(
    source: str | Path,
    *,
    limits: str | Path | None = None,
    no_limits: bool = False,
    catalogs: Sequence[str | Path] = (),
    latency: float | None = None,
    tokens_per_second: float | None = None,
    answers: int | None = None,
    **words: Unpack[Words],
) -> Plan:
    """What a run would take and cost, by the same scheduler in virtual time. Sends nothing.

    `latency` is seconds to a model's first token, `tokens_per_second` how fast it writes then. `answers` is how many
    tokens an answer has; None for what earlier runs have seen, or else for all that is allowed.
    """
    prepared = _prepare(source, None, limits, no_limits, catalogs, words, whole=True)
    return app.plan(prepared, latency, tokens_per_second, answers)


def _prepare(
    source: str | Path,
    gateway: str | None,
    limits: str | Path | None,
    no_limits: bool,
    catalogs: Sequence[str | Path],
    words: Mapping[str, Any],
    memory: bool = True,
    share: bool = True,
    whole: bool = False,
    scorers: Mapping[str, Own] | None = None,
) -> Prepared:
    said = {**read_words(Path(source)), **words}
    said = replaced(said, (), said.pop("labels", None))
    given = {"gateway": gateway, "limits": limits, "no_limits": no_limits, "catalogs": catalogs}
    said |= {name: value for name, value in given.items() if value}
    if limits is not None and not no_limits:  # they go before a job file that keeps none
        said.pop("no_limits", None)
    setup = Setup.by(ways(said, str(source)), memory=memory, share=share, scorers=_own(scorers or {}))
    if scorers:
        said["evaluate"] = _with_scorers(said.get("evaluate"), scorers)
    return prepare(declare(absolute(said), str(source)), setup, whole=whole)


def _own(scorers: Mapping[str, Own]) -> dict[str, Scorer]:
    """Functions of the caller's as scorers; raises UsageError for a name that is taken."""
    if taken := [name for name in scorers if name in SCORERS]:
        raise UsageError(f"There is a scorer {taken[0]!r} already: give yours another name.")
    return {name: own_scorer(function) for name, function in scorers.items()}


def _with_scorers(evaluate: Mapping[str, Any] | None, scorers: Mapping[str, Own]) -> Mapping[str, Any]:
    """The section [evaluate] with scorers of the caller's, where it does not name them itself."""
    if evaluate is None:
        raise UsageError("Scorers need something to score against: evaluate={'expected': COLUMN}.")
    named = list(evaluate.get("scorers", []))
    known = {one["name"] if isinstance(one, Mapping) else one for one in named}
    return {**evaluate, "scorers": [*named, *(name for name in scorers if name not in known)]}


def _outside_loops(call: Callable[[], T]) -> T:
    """Call in this thread, or in another one if an event loop runs here already, as in a notebook.

    Ctrl-C is handed on to a run there: as everywhere, it ends once what is in flight has landed.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return call()
    results: list[T] = []
    errors: list[BaseException] = []
    elsewhere = Elsewhere()

    def work() -> None:
        ELSEWHERE.set(elsewhere)
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="runner")
    with elsewhere.fed():
        thread.start()
        while thread.is_alive():
            # Not for ever: a library that has caught signals for a while may leave them unable to end a wait.
            thread.join(LOOK_UP_SECONDS)
    if errors:
        raise errors[0]
    return results[0]
