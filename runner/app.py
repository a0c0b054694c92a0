"""What the commands call: a job is run in a new directory (`start`), gone on with (`resume`), or planned (`plan`).

The concrete parts are put together here: `manifest` says what a run is, `session` asks, `finishing` writes the tables.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from runner import earlier, finishing, forking, manifest, planning, sampled
from runner.core.commands import command
from runner.core.errors import StorageDamaged, StorageFailed
from runner.core.job import Job
from runner.core.lag import guard
from runner.core.retry import LONGEST_WAIT
from runner.core.sampling import Sample
from runner.core.values import Kind
from runner.engines.interruptions import interruptible
from runner.engines.loops import loop_factory
from runner.engines.process import most_connections, spare_the_collector
from runner.execution import Ending, make_scheduler, tasks_of
from runner.finishing import Finish
from runner.gateway import environment
from runner.gateway.asking import Asking
from runner.gateway.client import Client
from runner.gateway.secret import Secret
from runner.gateway.tokens import ENCODING, counter
from runner.ledgers.memory import MemoryLedger
from runner.preparing import Prepared, mind_the_evaluation, prepare_with
from runner.remembering import known_of, remembering
from runner.session import Attend, Session, unattended
from runner.sharing import ledger_of, sharing
from runner.storage import history as histories
from runner.storage import journal as journals
from runner.storage.batches import ENDED
from runner.storage.history import History
from runner.storage.rundir import RunDirectory
from runner.storage.states import finished, mind_the_journal, only_judges_are_left, seal


@contextlib.contextmanager
def _held(directory: RunDirectory, named: str) -> Iterator[None]:
    """Hold a run directory, and say how to go on where the disk, or its user, ends a run that it holds by then."""
    with directory.held():
        try:
            yield
        except StorageDamaged:
            raise
        except (StorageFailed, KeyboardInterrupt) as error:
            if directory.manifest_path.is_file():
                error.add_note(f"Go on with: {command('resume', directory.path)}{named}")
            raise


def start(prepared: Prepared, out: Path | None, attend: Attend = unattended, fork: Path | None = None) -> Finish:
    """Run a job in a new run directory; with `fork`, take over what that run has answered of the same rows."""
    gateway = environment.resolve(prepared.setup.gateway)
    if out is not None:
        earlier.mind_what_is_there(prepared.job, out)
    before = None if fork is None else forking.read(prepared, fork)
    directory = RunDirectory.create(out, prepared.job.name)
    with _held(directory, prepared.setup.named):
        history = History(prepared.maker.slots)
        if before is not None:
            history = forking.begin(prepared, directory, before)
        prepared = manifest.found(prepared, directory, gateway)
        directory.settle()
        finish = _evaluated(_run(prepared, directory, gateway, history, attend), prepared, directory, gateway, attend)
        return replace(finish, named=prepared.setup.named)


def found(prepared: Prepared, out: Path | None) -> Path:
    """Make the directory of a run that `resume` begins, and send nothing."""
    gateway = environment.resolve(prepared.setup.gateway)
    directory = RunDirectory.create(out, prepared.job.name)
    with _held(directory, prepared.setup.named):
        manifest.found(prepared, directory, gateway)
    return directory.path


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
    env_file: Path | None = None,
) -> Finish:
    """Go on with a run; what has an outcome is not asked again.

    `caps` replaces caps by name, those of its judges where only these are left; `changes` says what else of the
    job may change, where None changes nothing. With `redrive`,
    errored rows are asked again: those with these kinds of failure, or all if it is empty. `env_file` is where the
    environment was taken from.
    """
    directory = RunDirectory.open(path)
    named = environment.again(gateway, env_file)
    with _held(directory, named):
        journals.read_anew(directory.journal_path)
        said = manifest.read(directory)
        earlier.mind_the_input(directory, said)
        chosen = environment.resolve_again(said["gateway"], gateway)
        notices = [] if redrive is None else earlier.reopened(directory, said, redrive)
        if (summary := finished(directory)) is not None:
            return Finish(directory.path, Ending(summary["exit_code"]), summary, idle=True, said=tuple(notices))
        judges_alone = bool(caps) and only_judges_are_left(directory, said)
        own, judges = ({}, caps or {}) if judges_alone else (caps or {}, {})
        prepared = manifest.reopen(directory, said, own, changes or {}, gateway, env_file)
        setup = replace(prepared.setup, memory=memory, share=share, scorers=scorers or {})
        prepared = replace(prepared, setup=setup)
        mind_the_evaluation(prepared)
        prepared.notices += notices
        window = prepared.limits.window_seconds
        history = histories.read_history(directory.journal_path, prepared.maker.slots, window)
        mind_the_journal(directory, history.end)
        cut = journals.cut_torn_tail(directory.journal_path, history.end) if directory.journal_path.exists() else 0
        if cut:
            prepared.notices.append(f"The journal ended in the middle of a frame: {cut} bytes were cut off.")
        finish = _run(prepared, directory, chosen, history, attend)
        finish = _evaluated(finish, prepared, directory, chosen, attend, judges)
        return replace(finish, named=named)


def _run(
    prepared: Prepared, directory: RunDirectory, gateway: environment.Gateway, history: History, attend: Attend
) -> Finish:
    """One session, and what it leaves; a signal does not come between the two."""
    with asyncio.Runner(loop_factory=loop_factory()) as loop:
        return loop.run(_in_loop(prepared, directory, gateway, history, attend))


async def _in_loop(
    prepared: Prepared, directory: RunDirectory, gateway: environment.Gateway, history: History, attend: Attend
) -> Finish:
    spare_the_collector()
    journal = journals.Journal(journals.DiskFile(directory.journal_path), history.chain)
    with journals.Committer(journal):
        async with environment.opened(gateway, prepared.limits) as (url, token):
            session = Session(
                prepared,
                directory,
                history,
                journal,
                ledger_of(prepared, gateway, directory.path),
                gateway=url,
                local=gateway.local,
                count=counter(ENCODING),
                most_in_flight=most_connections(),
                redact=token.redact,
            )
            async with _client(url, token, prepared) as client, session.look:
                wait = max(LONGEST_WAIT, prepared.limits.window_seconds)
                asking = Asking(client, prepared.models, longest_wait=wait)
                with (
                    remembering(prepared, gateway, session.charges, session.ledger, resumed=session.resumed),
                    attend(session) as watch,
                    interruptible() as interruptions,
                ):
                    session.restore()
                    async with sharing(prepared, session.ledger):
                        ending = await session.run(asking, watch, interruptions)
            ending = session.end(ending)
    return finishing.finish(session, ending)


def _client(url: str, token: Secret, prepared: Prepared) -> Client:
    rates = [limit.amount for budget in prepared.budgets.values() for limit in budget if limit.measure == "requests"]
    return Client(
        url,
        token,
        timeout=prepared.job.timeout,
        connections=most_connections(),
        requests_per_second=max(rates, default=None),
        user_agent=f"runner/{manifest.version()}",
    )


def _evaluated(
    finish: Finish,
    prepared: Prepared,
    directory: RunDirectory,
    gateway: environment.Gateway,
    attend: Attend,
    caps: Mapping[str, Any] = MappingProxyType({}),
) -> Finish:
    """Score what a run has answered, if its job wants that and it has come to its end; `caps` replaces its judges'."""
    job, columns = prepared.job, prepared.columns
    nothing = finish.ending.exit_code not in ENDED or not finish.summary["tasks"]["total"]
    if (job.evaluate is None and job.gates is None) or nothing:
        return finish
    # numpy and the statistics take a tenth of a second to load, and few jobs need them.
    from runner.evaluation.ending import conclude, judge

    ending, summary = finish.ending, dict(finish.summary)
    judged = judge(directory, job, columns, partial(_ask_judge, prepared, gateway, attend, caps))
    unfinished = next((one for one in judged.values() if not one.is_over), None)
    if unfinished is not None:
        ending = Ending(unfinished.exit_code, f"The judge's run has not ended: {unfinished.reason}")
        summary |= {"exit_code": ending.exit_code, "reason": ending.reason}
    else:
        summary |= conclude(directory, job, columns, prepared.setup.scorers, summary, judged)
        ending = Ending(summary["exit_code"], summary["reason"])
    summary["files"] = seal(directory)
    directory.write_json(directory.summary_path, summary)
    return replace(finish, summary=summary, ending=ending)


def _ask_judge(
    prepared: Prepared,
    gateway: environment.Gateway,
    attend: Attend,
    caps: Mapping[str, Any],
    job: Job,
    path: Path,
    before: Path | None,
) -> Finish:
    """Run, or go on with, a judge's job, as the run itself was."""
    setup = replace(prepared.setup, gateway=gateway.choice, scorers={}, spooled=False)
    if (path / "manifest.json").is_file():
        memory, share, env_file = setup.memory, setup.share, setup.env_file
        return resume(path, attend, gateway.choice, caps, memory=memory, share=share, env_file=env_file)
    job = replace(job, caps=replace(job.caps, **caps))
    return start(prepare_with(job, setup, prepared.catalogue, prepared.limits, whole=True), path, attend, before)


def plan(
    prepared: Prepared,
    latency: float | None = None,
    tokens_per_second: float | None = None,
    answers: int | None = None,
) -> planning.Plan:
    """What a run would take and cost, by the same scheduler in virtual time. Sends nothing.

    A large input is planned from a sample of its rows. `latency` is seconds to the first token, `tokens_per_second` how
    fast the rest comes, `answers` how many tokens an answer has; None for what earlier runs have seen, or else for what
    is assumed, or for all that is allowed.
    """
    sample = prepared.sample
    if sample is not None and prepared.survey.tasks > sampled.LARGE and sample.is_even:
        made = _planned(prepared, latency, tokens_per_second, answers, sample)
        if not sampled.is_near(made, prepared.job.caps):
            return made
    return _planned(prepared, latency, tokens_per_second, answers, None)


def _planned(
    prepared: Prepared,
    latency: float | None,
    tokens_per_second: float | None,
    answers: int | None,
    sample: Sample | None,
) -> planning.Plan:
    """A plan by a sample of the rows, or row by row if there is none."""
    budgets, models, limits = prepared.budgets, prepared.models, prepared.limits
    ledger = MemoryLedger(budgets, guard, learns=True, probes=False)
    scheduler, charges, _spending = make_scheduler(
        prepared.job,
        models,
        budgets,
        ledger,
        prepared.survey,
        window=limits.window_seconds,
        now=0.0,
        most_in_flight=most_connections(),
    )
    known = known_of(prepared)
    charges.recall(known, prepared.job.key)
    ledger.recall(known.limits, time.time(), 0.0)
    parts = sampled.Parts(scheduler=scheduler, charges=charges, ledger=ledger, models=models, limits=limits)
    rows = sample or tasks_of(prepared.records(), prepared.maker, counter(ENCODING), lambda _row, _slot: False)
    made = sampled.plan(parts, rows, answers=answers, latency=latency, tokens_per_second=tokens_per_second)
    if sample is not None:
        made.never = prepared.survey.bad
    return made
