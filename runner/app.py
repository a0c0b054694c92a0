"""Wiring: what `preparing` has read is run (`start`, `resume`) or planned (`plan`) with the concrete parts.

Nothing here decides anything about a row.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib.metadata
import platform
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from runner import earlier, planning
from runner.beside import LookBeside
from runner.core.charges import Charges
from runner.core.errors import GatewayUnavailable, StorageFailed
from runner.core.events import Event
from runner.core.job import Job
from runner.core.limits import from_table
from runner.core.prompt import RowError
from runner.core.retry import LONGEST_WAIT
from runner.core.schedule import Scheduler
from runner.core.survey import Survey
from runner.core.values import Kind, Status
from runner.core.waiting import Waiting
from runner.engines.interruptions import Interruptions, interruptible
from runner.engines.local import Engine
from runner.engines.loops import loop_factory
from runner.evaluation.ending import conclude, table_names
from runner.evaluation.judging import grade
from runner.execution import Ending, make_scheduler, run, tasks_of
from runner.gateway import environment
from runner.gateway.asking import Asking
from runner.gateway.client import Client
from runner.gateway.secret import Secret
from runner.gateway.tokens import counter
from runner.labelling import escalation, label
from runner.ledgers.memory import MemoryLedger
from runner.preparing import Prepared, Setup, mind_the_evaluation, prepare_with
from runner.reading import Replies
from runner.remembering import known_of, remembering
from runner.report import summary as summaries
from runner.sharing import ledger_of, sharing
from runner.storage import history as histories
from runner.storage import journal as journals
from runner.storage.history import History
from runner.storage.recorder import Recorder
from runner.storage.results import Tables
from runner.storage.rows import Row, Source
from runner.storage.rundir import RunDirectory
from runner.storage.specs import load_catalogue
from runner.storage.states import finished, seal

JITTER_SECONDS = 0.05
"""By how much requests may overtake each other on the way."""
UNSEEN = "The input was not looked over to its end: the tables end with the last row that was answered."


def guard(window: float) -> float:
    """How much longer than a window its spending is kept, in seconds: clocks and ways are never quite alike."""
    return JITTER_SECONDS + window / 300


@dataclass(frozen=True, slots=True)
class Session:
    """What a run looks like to those who watch it while it goes."""

    prepared: Prepared
    directory: RunDirectory
    scheduler: Scheduler
    ledger: MemoryLedger
    history: History
    gateway: str
    local: bool
    started: float
    """On the loop's clock."""


@dataclass(frozen=True, slots=True)
class Finish:
    """What is left when a run has ended."""

    directory: Path
    ending: Ending
    summary: dict[str, Any]
    idle: bool = False
    """Whether nothing was left to do."""
    said: tuple[str, ...] = ()
    """What there is to say of that."""

    def results(self) -> pl.DataFrame:
        """The results table: one line for each task, in input order."""
        return pl.read_parquet(self.directory / "results.parquet")


Attend = Callable[[Session], contextlib.AbstractContextManager[Callable[[Event], None]]]
"""Opens whatever shows a session to a person, and gives the observer of its events."""


@contextlib.contextmanager
def unattended(_session: Session) -> Iterator[Callable[[Event], None]]:
    """Shows nothing."""
    yield lambda _event: None


@contextlib.contextmanager
def _held(directory: RunDirectory) -> Iterator[None]:
    """Hold a run directory; whatever ends the run, say how to go on with it."""
    directory.lock()
    try:
        yield
    except StorageFailed as error:
        error.add_note(f"Go on with: runner resume {directory.path}")
        raise
    finally:
        directory.unlock()


def start(prepared: Prepared, out: Path | None, attend: Attend = unattended, fork: Path | None = None) -> Finish:
    """Run a job in a new run directory; with `fork`, take over what that run has answered of the same rows."""
    gateway = environment.resolve(prepared.setup.gateway)
    if out is not None:
        earlier.mind_what_is_there(prepared.job, out)
    if fork is not None:
        RunDirectory.open(fork)
    directory = RunDirectory.create(out, prepared.job.name)
    with _held(directory):
        prepared = _founded(prepared, directory, gateway)
        history = History(prepared.maker.slots)
        if fork is not None:
            history = earlier.forked(prepared, directory, fork)
        finish = _in_loop(_session(prepared, directory, gateway, history, attend))
        return _evaluated(finish, prepared, directory, gateway, attend)


def found(prepared: Prepared, out: Path | None) -> Path:
    """Make the directory of a run that `resume` begins, and send nothing."""
    gateway = environment.resolve(prepared.setup.gateway)
    directory = RunDirectory.create(out, prepared.job.name)
    with _held(directory):
        _founded(prepared, directory, gateway)
    return directory.path


def _founded(prepared: Prepared, directory: RunDirectory, gateway: environment.Gateway) -> Prepared:
    """Write down what a new run is; its input is at another place then if it was a copy of standard input."""
    if prepared.setup.spooled:
        prepared = _moved(prepared, directory.path / f"input{prepared.source.path.suffix}")
    prepared.take_digest()
    directory.write_json(directory.manifest_path, _manifest(prepared, directory, gateway))
    return prepared


def _moved(prepared: Prepared, target: Path) -> Prepared:
    """The same job with its input at another place."""
    shutil.move(prepared.source.path, target)
    job = replace(prepared.job, input=str(target.absolute()))
    prepared.maker.job = job
    return replace(prepared, job=job, source=Source(target))


def resume(
    path: Path,
    attend: Attend = unattended,
    gateway: str | None = None,
    caps: Mapping[str, Any] | None = None,
    changes: Mapping[str, Any] | None = None,
    *,
    memory: bool = True,
    share: bool = True,
    redrive: Iterable[Kind] | None = None,
    scorers: Mapping[str, Any] | None = None,
) -> Finish:
    """Go on with a run; what has an outcome is not asked again.

    `caps` replaces caps by name, `changes` what else of the job may change; None changes nothing. With `redrive`,
    errored rows are asked again: those with these kinds of failure, or all if it is empty.
    """
    directory = RunDirectory.open(path)
    with _held(directory):
        journals.read_anew(directory.journal_path)
        manifest = directory.read_json(directory.manifest_path)
        earlier.mind_the_input(directory, manifest)
        chosen = environment.resolve_again(manifest["gateway"], gateway)
        said = [] if redrive is None else earlier.reopened(directory, manifest, redrive)
        if (summary := finished(directory)) is not None:
            return Finish(directory.path, Ending(summary["exit_code"]), summary, idle=True, said=tuple(said))
        prepared = reopen(directory, manifest, caps or {}, changes or {})
        setup = replace(prepared.setup, memory=memory, share=share, scorers=scorers or {})
        prepared = replace(prepared, setup=setup)
        mind_the_evaluation(prepared)
        prepared.notices += said
        window = prepared.limits.window_seconds
        history = histories.read_history(directory.journal_path, prepared.maker.slots, window)
        cut = journals.cut_torn_tail(directory.journal_path, history.end) if directory.journal_path.exists() else 0
        if cut:
            prepared.notices.append(f"The journal ended in the middle of a frame: {cut} bytes were cut off.")
        finish = _in_loop(_session(prepared, directory, chosen, history, attend))
        return _evaluated(finish, prepared, directory, chosen, attend)


def _evaluated(
    finish: Finish, prepared: Prepared, directory: RunDirectory, gateway: environment.Gateway, attend: Attend
) -> Finish:
    """Score what a run has answered, if its job wants that and all its tasks have ended."""
    job, columns = prepared.job, prepared.columns
    if (job.evaluate is None and job.gates is None) or finish.summary["tasks"]["open"]:
        return finish
    ending, summary, graded = finish.ending, dict(finish.summary), None
    if job.evaluate is not None and job.evaluate.judge is not None:
        by = partial(_grade, prepared, gateway, attend)
        graded = grade(directory.path, job.evaluate, job.evaluate.judge, table_names(job, columns), by)
    if graded is not None and not graded.is_over:
        ending = Ending(graded.exit_code, f"The judge's run has not ended: {graded.reason}")
        summary |= {"exit_code": ending.exit_code, "reason": ending.reason}
    else:
        summary |= conclude(directory, job, columns, prepared.setup.scorers, summary, graded)
        ending = replace(ending, exit_code=summary["exit_code"])
    summary["files"] = seal(directory)
    directory.write_json(directory.summary_path, summary)
    return replace(finish, summary=summary, ending=ending)


def _grade(
    prepared: Prepared, gateway: environment.Gateway, attend: Attend, job: Job, path: Path, before: Path | None
) -> Finish:
    """Run, or go on with, the judge's job, as the run itself was."""
    setup = replace(prepared.setup, gateway=gateway.choice, scorers={}, spooled=False)
    if (path / "manifest.json").is_file():
        return resume(path, attend, gateway.choice, memory=setup.memory, share=setup.share)
    return start(prepare_with(job, setup, prepared.catalogue, prepared.limits, whole=True), path, attend, before)


def reopen(
    directory: RunDirectory, manifest: Mapping[str, Any], caps: Mapping[str, Any], changes: Mapping[str, Any]
) -> Prepared:
    """A run's job as it was declared; raises InputRejected if the input is not what it was."""
    job = Job.from_json(manifest["job"])
    given = {name: value for name, value in changes.items() if value is not None}
    job = replace(job, caps=replace(job.caps, **caps), **given)
    setup = Setup(gateway=None, catalogs=tuple(Path(name) for name in manifest["catalogs"]))
    said = manifest["input"]
    catalogue, limits = load_catalogue(setup.catalogs), from_table(manifest["limits"], "manifest.json")
    known = None if said.get("survey") is None else Survey.from_json(said["survey"])
    prepared = prepare_with(job, setup, catalogue, limits, known=known)
    prepared.digest = said["digest"]
    prepared.check(directory.path)
    prepared.take_digest()
    if prepared.is_whole:
        _write_down(prepared, directory)
    return prepared


def _in_loop(coroutine: Any) -> Finish:
    with asyncio.Runner(loop_factory=loop_factory()) as loop:
        finish: Finish = loop.run(coroutine)
        return finish


def _manifest(prepared: Prepared, directory: RunDirectory, gateway: environment.Gateway) -> dict[str, Any]:
    return {
        "version": 1,
        "run": directory.path.name,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "runner": version(),
        "python": platform.python_version(),
        "job": prepared.job.to_json(),
        "fingerprint": prepared.job.fingerprint,
        "input": _input(prepared),
        "models": {name: model.id for name, model in prepared.models.items()},
        "limits": prepared.limits.to_table(),
        "catalogs": [str(path.resolve()) for path in prepared.setup.catalogs],
        "gateway": gateway.manifest(),
    }


def _input(prepared: Prepared) -> dict[str, Any]:
    """What the manifest says of the input: rows, tasks and digest once all of it was looked over."""
    survey, source, whole = prepared.survey, prepared.source, prepared.is_whole
    return {
        "path": str(source.path),
        "format": source.format,
        **source.stamp,
        "digest": prepared.digest,
        "rows": survey.selected if whole else None,
        "tasks": survey.total if whole else None,
        "survey": survey.to_json() if whole else None,
    }


def _write_down(prepared: Prepared, directory: RunDirectory) -> None:
    """Complete the manifest by what the look found."""
    manifest = directory.read_json(directory.manifest_path)
    manifest["job"]["bad_rows"] = prepared.job.bad_rows
    manifest["input"] = _input(prepared)
    manifest["models"] = {name: model.id for name, model in prepared.models.items()}
    directory.write_json(directory.manifest_path, manifest)


def version() -> str:
    """The installed version."""
    try:
        return importlib.metadata.version("runner")
    except importlib.metadata.PackageNotFoundError:
        return "0+unknown"


def _spare_the_collector() -> None:
    """Collect garbage seldom: what is made for a row goes without it, and what stays is looked at for nothing."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _session(
    prepared: Prepared,
    directory: RunDirectory,
    gateway: environment.Gateway,
    history: History,
    attend: Attend,
) -> Finish:
    _spare_the_collector()
    loop = asyncio.get_running_loop()
    journal = journals.Journal(journals.DiskFile(directory.journal_path), history.chain)
    ending = Ending(70, "the runner stopped without a reason")
    started = loop.time()
    waiting = Waiting(started)
    with journals.Committer(journal):
        async with environment.opened(gateway, prepared.limits) as (url, token):
            recorder = Recorder(journal, history, prepared.models, token.redact)
            resumed = history.end > 0
            recorder.begin(directory.path.name)
            ledger = ledger_of(prepared, gateway, directory.path, guard)
            scheduler, charges, spending = make_scheduler(
                prepared.job,
                prepared.models,
                prepared.budgets,
                ledger,
                prepared.survey,
                window=prepared.limits.window_seconds,
                now=started,
                most_in_flight=_connections(),
                again=Replies(prepared.job).again(prepared.maker, counter("o200k_base")),
            )
            spending.add(
                history.tally.total("input_tokens") + history.tally.total("output_tokens"), history.tally.total("cost")
            )
            session = Session(prepared, directory, scheduler, ledger, history, url, gateway.local, started)
            look = LookBeside(prepared, scheduler, directory.path, partial(_write_down, prepared, directory))
            escalator = escalation(prepared.job, directory.journal_path, history)
            tasks = tasks_of(
                look.records(), prepared.maker, counter("o200k_base"), history.has_ended, look.reject, escalator,
                history.tried,
            )  # fmt: skip
            async with _client(url, token, prepared) as client, look:
                with (
                    remembering(prepared, gateway, charges, ledger, resumed=resumed),
                    attend(session) as observer,
                    interruptible() as interruptions,
                ):
                    for spent in history.recent:
                        ledger.restore(spent.model, spent.charge, started - max(0.0, time.time() - spent.at))
                    for scope, until in history.shut.items():
                        scheduler.gates.restore(scope, started + until - time.time(), started)
                    verb = partial(
                        run,
                        scheduler,
                        charges,
                        tasks,
                        Asking(client, prepared.models, longest_wait=max(LONGEST_WAIT, prepared.limits.window_seconds)),
                        _both(recorder, observer),
                        flush=journal.write,
                        patience=prepared.job.patience,
                        keep_going=prepared.job.keep_going,
                        answered=history.tally.statuses[Status.SUCCEEDED] > 0,
                        waiting=waiting,
                        escalator=escalator,
                    )
                    async with sharing(prepared, ledger):
                        ending = await _run_to_end(verb, interruptions, look)
            recorder.end(waiting.split(loop.time()), history.tally.least_time(prepared.budgets), ending.reason)
    return _finish(session, ending, charges)


def _client(url: str, token: Secret, prepared: Prepared) -> Client:
    rates = [limit.amount for budget in prepared.budgets.values() for limit in budget if limit.measure == "requests"]
    return Client(
        url,
        token,
        timeout=prepared.job.timeout,
        connections=_connections(),
        requests_per_second=max(rates, default=None),
        user_agent=f"runner/{version()}",
    )


def _both(recorder: Recorder, observer: Callable[[Event], None]) -> Callable[[Event], None]:
    def watch(event: Event) -> None:
        recorder(event)
        observer(event)

    return watch


def _connections() -> int:
    """How many requests may be in flight: what the file descriptors allow, less some for everything else."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return max(8, min(4000, soft - 64))


async def _run_to_end(verb: Callable[..., Any], interruptions: Interruptions, look: LookBeside) -> Ending:
    def begun(engine: Engine) -> None:
        interruptions.engine = look.engine = engine

    try:
        ending: Ending = await look.last_word(await verb(begun=begun), interruptions.happened)
    except GatewayUnavailable as error:
        return Ending(error.exit_code, str(error))
    if interruptions.signal is not None and ending.exit_code == 4:
        code = 130 if interruptions.signal is signal.SIGINT else 143
        return Ending(code, f"stopped by {interruptions.signal.name}")
    return ending


def _finish(session: Session, ending: Ending, charges: Charges) -> Finish:
    directory, history, prepared = session.directory, session.history, session.prepared
    if not prepared.survey.complete:
        prepared.cut(history.last)
        ending = replace(ending, reason=f"{ending.reason}\n{UNSEEN}")
    write_tables(prepared, directory, history, _open_status(ending))
    if ending.exit_code == 0 and history.tally.statuses[Status.ERRORED]:
        ending = Ending(3)
    summary = summaries.summarise(
        tally=history.tally,
        tasks=prepared.survey.total + history.tally.escalated,
        limits=[limit for budget in prepared.budgets.values() for limit in budget],
        ratios=charges.estimator.ratios(),
        caps=charges.lengths.advice(),
        placement=_placement(prepared),
        exit_code=ending.exit_code,
        reason=ending.reason,
        notices=prepared.notices,
        gateway=session.gateway,
        local=session.local,
    )
    if (labels := label(prepared.job, prepared.maker.annotators, prepared.maker.stronger, directory)) is not None:
        summary["labels"] = labels
    summary["files"] = seal(directory)
    directory.write_json(directory.summary_path, summary)
    return Finish(directory.path, ending, summary)


def _placement(prepared: Prepared) -> dict[str, Any]:
    """By which rule rows came to models."""
    job = prepared.job
    policy = "every row to every model" if job.each else "most work of its own left, then emptiest; oldest that fits"
    return {"pool": list(job.models), "each": job.each, "policy": policy}


def _open_status(ending: Ending) -> Status:
    deadline = ending.reason is not None and ending.reason.startswith("--deadline")
    return Status.EXPIRED if deadline else Status.CANCELED


def write_tables(prepared: Prepared, directory: RunDirectory, history: History, open_status: Status) -> None:
    """Fold the journal and the input into the run's tables."""

    def tasks(row: Row) -> list[tuple[int, str, str, str]]:
        try:
            made = prepared.maker.tasks(row.index, row.columns, row.digest, _nothing)
        except RowError:
            return [(0, prepared.maker.id_of(row.index, row.columns), "", "")]
        made += [task for task in prepared.maker.escalations(made) if history.has_ended(row.index, task.slot)]
        return [(task.slot, task.id, task.models[0] if len(task.models) == 1 else "", task.annotator) for task in made]

    tables = Tables(
        prepared.records,
        tasks,
        history,
        directory.journal_path,
        prepared.columns,
        open_status,
        id_column=prepared.job.id_column,
        cells=Replies(prepared.job).cells,
    )
    tables.write_results(directory.results_path)
    tables.write_errors(directory.results_path, directory.errors_path)
    tables.write_attempts(directory.attempts_path)


def _nothing(_text: str) -> int:
    return 0


def plan(prepared: Prepared, latency: float, tokens_per_second: float, answers: int | None = None) -> planning.Plan:
    """What a run would take and cost, by the same scheduler in virtual time. Sends nothing.

    `answers` is how many tokens an answer has; None for what earlier runs have seen, or else for all that is allowed.
    """
    budgets, models = prepared.budgets, prepared.models
    ledger = MemoryLedger(budgets, guard, learns=True, probes=False)
    scheduler, charges, _spending = make_scheduler(
        prepared.job,
        models,
        budgets,
        ledger,
        prepared.survey,
        window=prepared.limits.window_seconds,
        now=0.0,
        most_in_flight=_connections(),
    )
    known = known_of(prepared)
    charges.recall(known, prepared.job.key)
    ledger.recall(known.limits, time.time(), 0.0)
    tasks = tasks_of(prepared.records(), prepared.maker, counter("o200k_base"), lambda _row, _slot: False)
    likely = planning.Likely(charges, answers)
    made = planning.simulate(
        scheduler, tasks, models, budgets, prepared.limits, latency, tokens_per_second, likely, charges.learn
    )
    made.answers = likely.said
    return made


__all__ = ["Attend", "Finish", "Session", "found", "plan", "resume", "start"]
