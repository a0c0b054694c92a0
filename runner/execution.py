"""The verb: take rows, ask models about them under the budgets, and record what came of each.

Its arguments are the outside world; it knows no file format, no HTTP and no terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from runner.core.again import AskingAgain
from runner.core.alike import Alike
from runner.core.caps import Spending
from runner.core.catalog import Model
from runner.core.charges import Charges
from runner.core.escalation import Escalator
from runner.core.estimate import Size
from runner.core.events import Event, What
from runner.core.job import Job
from runner.core.limits import Budget
from runner.core.ports import Ledger, TokenCounter
from runner.core.prompt import RowError
from runner.core.schedule import Scheduler
from runner.core.survey import Survey
from runner.core.tasks import NeverFits, TaskMaker
from runner.core.values import Failure, Kind, Reply, Request, Status
from runner.core.waiting import Waiting
from runner.core.work import Ask, Finished, Task
from runner.engines.local import Engine, Send

EXIT_CODES: Mapping[Kind, int] = {
    Kind.UNAUTHORIZED: 5,
    Kind.FORBIDDEN: 5,
    Kind.REDIRECTED: 5,
    Kind.CERTIFICATE: 5,
    Kind.QUOTA_EXHAUSTED: 9,
    Kind.INVALID_RESPONSE: 9,
}
"""What a failure that stops a run ends it with; 5 for any other."""
CANARY_SECONDS = 1.0
"""How long, with windows of a minute, the first request is alone on its way, if it is not answered before."""
FIRST_PATIENCE = 30.0
"""Seconds for which a gateway may fail from which nothing ever came back: its address is wrong, most likely."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended: None as reason if all its work is done."""

    exit_code: int
    reason: str | None = None


def make_scheduler(
    job: Job,
    models: Mapping[str, Model],
    budgets: Mapping[str, Budget],
    ledger: Ledger,
    survey: Survey,
    *,
    window: float,
    now: float,
    most_in_flight: int,
    again: AskingAgain | None = None,
) -> tuple[Scheduler, Charges, Spending]:
    """A scheduler for a job, and the two that it shares its knowledge with."""
    charges = Charges(models.values(), budgets, window)
    spending = Spending(job.caps, models.values(), now)
    scheduler = Scheduler(
        budgets=budgets,
        ledger=ledger,
        charge=charges,
        spending=spending,
        rng=Random(job.seed),
        window=window,
        attempts=job.attempts,
        most_in_flight=most_in_flight,
        lengths=charges.lengths,
        canary=min(CANARY_SECONDS, window / 60),
        again=again,
        held_back=() if job.escalate is None else set(job.escalate.models) - set(job.models),
    )
    for name, work in survey.pinned.items():
        scheduler.expect(name, work)
    return scheduler, charges, spending


def tasks_of(
    records: Iterable[Any],
    maker: TaskMaker,
    count: TokenCounter,
    has_ended: Callable[[int, int], bool],
    stops: Callable[[str], bool] = lambda _reason: False,
    escalator: Escalator | None = None,
    tried: Callable[[int, int], tuple[int, int]] = lambda _row, _slot: (0, 0),
) -> Iterator[Task | Finished]:
    """The tasks that are left to do, in input order; rows that cannot be asked come as finished.

    `stops` is asked, with the reason, whether such a row stops the run: then there are no more tasks. The `escalator`
    holds tasks for stronger models back; only those come that are due already. `tried` says of a row's task what it has
    used in earlier sessions: attempts, and times that it was asked again.
    """
    slots = range(maker.slots)
    for record in records:
        if all(has_ended(record.index, slot) for slot in slots):
            continue  # a resume has many of these
        try:
            yield from _left_of(record, maker, count, has_ended, escalator, tried)
        except RowError as error:
            if has_ended(record.index, 0):
                continue
            reason = f"{record.where}: {error}"
            if stops(reason):
                return
            name = maker.id_of(record.index, getattr(record, "columns", {}))
            yield _unaskable(record.index, name, reason, error)


def _left_of(
    record: Any,
    maker: TaskMaker,
    count: TokenCounter,
    has_ended: Callable[[int, int], bool],
    escalator: Escalator | None,
    tried: Callable[[int, int], tuple[int, int]],
) -> Iterator[Task]:
    """The tasks of one row that are left to do; raises RowError if it cannot be asked."""
    if unreadable := getattr(record, "reason", None):
        raise RowError(unreadable)
    made = maker.tasks(record.index, record.columns, record.digest, count)
    stronger = [] if escalator is None else maker.escalations(made)
    for task in (*made, *stronger):
        task.attempts, task.asked_again = tried(task.row, task.slot)
    due = () if escalator is None else escalator.hold(made, stronger, has_ended)
    yield from (task for task in made if not has_ended(task.row, task.slot))
    yield from due


def _unaskable(row: int, name: str, message: str, error: RowError) -> Finished:
    """The end of a row that nothing was sent for."""
    kind = Kind.NEVER_FITS if isinstance(error, NeverFits) else Kind.BAD_ROW
    task = Task(row=row, id=name, models=("",), size=Size(0), caps={"": 0}, request=Request())
    return Finished(task, "", Status.ERRORED, Failure(kind=kind, message=message))


def escalating(escalator: Escalator, scheduler: Scheduler, watch: Callable[[Event], None]) -> Callable[[Event], None]:
    """Watch events, and offer the tasks for stronger models as soon as they are due."""

    def seen(event: Event) -> None:
        watch(event)
        if event.what is What.FINISHED and event.finished is not None:
            for task in escalator.finished(event.finished):
                lost = scheduler.offer(task)
                if lost is not None:
                    watch(Event(event.at, What.FINISHED, finished=lost))

    return seen


async def run(
    scheduler: Scheduler,
    charges: Charges,
    tasks: Iterator[Task | Finished],
    send: Send,
    watch: Callable[[Event], None],
    *,
    flush: Callable[[], None],
    patience: float,
    keep_going: bool = False,
    answered: bool = False,
    waiting: Waiting | None = None,
    begun: Callable[[Engine], None] = lambda _engine: None,
    escalator: Escalator | None = None,
) -> Ending:
    """Drive the scheduler over the tasks until nothing is left or something ends it.

    Unless `keep_going`, it is ended by row after row that fails alike; `answered` says that earlier sessions had
    answers, so that rows are known to be able to succeed.

    Raises GatewayUnavailable after `patience` seconds without an answer, and StorageFailed from `flush`.
    """

    def learn(ask: Ask, reply: Reply, seconds: float) -> None:
        charges.learn(ask.task, ask.model, reply.usage, seconds)

    alike = Alike(watch, scheduler.stop, answered=answered, models_left=lambda: scheduler.models_left)
    seen = watch if keep_going else alike
    if escalator is not None:
        seen = escalating(escalator, scheduler, seen)
    engine = Engine(
        scheduler, tasks, send, seen,
        learn=learn, flush=flush, patience=patience, first_patience=FIRST_PATIENCE, waiting=waiting,
    )  # fmt: skip
    begun(engine)
    try:
        await engine.run()
        if scheduler.stopped is None:
            alike.release()
    finally:
        alike.abandon()
        flush()
    stopped = scheduler.stopped
    if isinstance(stopped, Failure):
        return Ending(EXIT_CODES.get(stopped.kind, 5), stopped.message)
    if stopped is not None:
        return Ending(4, stopped)
    if scheduler.pending_models and scheduler.left:
        model, failure = next(iter(scheduler.pending_models.items()))
        return Ending(9, f"{model}: {failure.message}")
    return Ending(0)
