"""The engine against a scripted gateway, in time that jumps."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from runner.core.caps import Caps, Spending
from runner.core.catalog import Model
from runner.core.errors import GatewayUnavailable, StorageFailed
from runner.core.events import Event, What
from runner.core.limits import Budget, Limit
from runner.core.schedule import Scheduler
from runner.core.values import Kind, Status
from runner.core.work import Ask, Finished, Task
from runner.engines.interruptions import Interruptions
from runner.engines.local import AT_ONCE, Engine
from runner.ledgers.memory import MemoryLedger
from runner.testing import ScriptedGateway, as_reserved, charge_of, failure, refusal, reply, run, task

LIMIT = Limit(scope="a", measure="input", amount=100, window=60.0)


class CountingScheduler(Scheduler):
    """A scheduler that counts how often it is asked what to do."""

    asked = 0

    def next(self, now: float) -> Any:
        self.asked += 1
        return super().next(now)


class Rig:
    """One engine run: a gateway, an input, and a list of all that happened."""

    def __init__(
        self,
        tasks: Iterable[Task | Finished],
        gateway: ScriptedGateway | None = None,
        *,
        budgets: dict[str, Budget] | None = None,
        caps: Caps = Caps(),  # noqa: B008
        **options: Any,
    ) -> None:
        self.budgets = budgets or {"a": ()}
        self.gateway = gateway or ScriptedGateway()
        self.caps = caps
        self.options = options
        self.read = 0
        self.events: list[Event] = []
        self.on_event: Callable[[Event], None] = lambda _event: None
        self._tasks = tasks
        self.engine: Engine
        self.scheduler: CountingScheduler
        self.ended_at = 0.0

    def reading(self) -> Iterator[Task | Finished]:
        for each in self._tasks:
            self.read += 1
            yield each

    def watch(self, event: Event) -> None:
        self.events.append(event)
        self.on_event(event)

    async def drive(self) -> None:
        models = [Model(id=name, provider="Somebody") for name in self.budgets]
        self.scheduler = CountingScheduler(
            budgets=self.budgets,
            ledger=MemoryLedger(self.budgets),
            charge=charge_of,
            spending=Spending(self.caps, models, 0.0),
            rng=Random(1),
        )
        self.engine = Engine(self.scheduler, self.reading(), self.gateway, self.watch, **self.options)
        await self.engine.run()
        self.ended_at = asyncio.get_running_loop().time()

    def run(self) -> Rig:
        run(self.drive())
        return self

    @property
    def ends(self) -> dict[int, Status]:
        """The outcome of each row; a second one of the same row is an error."""
        finished = [event.finished for event in self.events if event.finished is not None]
        ends = {end.task.row: end.status for end in finished}
        assert len(ends) == len(finished)
        return ends


def rows(count: int, *models: str, size: int = 10) -> list[Task]:
    return [task(row, *(models or ("a",)), input=size) for row in range(count)]


def test_all_rows_are_asked_and_end() -> None:
    """A thousand rows are a thousand requests and a thousand outcomes."""
    rig = Rig(rows(1000)).run()
    assert rig.ends == dict.fromkeys(range(1000), Status.SUCCEEDED)
    assert len(rig.gateway.sent) == 1000


def test_an_empty_input_ends_at_once() -> None:
    """Nothing to do is done."""
    rig = Rig([]).run()
    assert (rig.ends, rig.ended_at) == ({}, 0.0)


def test_requests_that_fit_go_out_together() -> None:
    """Nobody waits for anybody: a hundred answers of one second take one second."""
    rig = Rig(rows(100), ScriptedGateway(latency=1.0)).run()
    assert (rig.ended_at, rig.gateway.most_in_flight) == (1.0, 100)


def test_requests_that_do_not_fit_wait_for_the_window() -> None:
    """Three windows of work take two windows and an answer, and the gateway never has to refuse."""
    gateway = ScriptedGateway(latency=1.0, limits=[LIMIT])
    rig = Rig(rows(30), gateway, budgets={"a": (LIMIT,)}).run()
    assert rig.ended_at == pytest.approx(121.0)
    assert (gateway.refused, gateway.judge.most) == (0, {LIMIT: 100})


def test_a_gateway_that_allows_less_is_obeyed() -> None:
    """Where the limits that we know are not the gateway's, its refusals slow the run down and no row is lost."""
    strict = Limit(scope="a", measure="input", amount=40, window=60.0)
    gateway = ScriptedGateway(latency=1.0, limits=[strict])
    rig = Rig(rows(12), gateway, budgets={"a": (LIMIT,)}).run()
    assert rig.ends == dict.fromkeys(range(12), Status.SUCCEEDED)
    assert gateway.refused > 0


def test_a_row_that_ended_before_it_was_sent_is_reported_and_not_sent() -> None:
    """Rows that cannot be asked come through the same input, and have their outcome like the others."""
    bad = Finished(task(0, ""), "", Status.ERRORED, failure(Kind.BAD_ROW))
    rig = Rig([bad, task(1, "a")]).run()
    assert rig.ends == {0: Status.ERRORED, 1: Status.SUCCEEDED}
    assert [sent.row for sent in rig.gateway.sent] == [1]


def test_everything_that_happens_is_told_in_its_order() -> None:
    """Sent, landed, finished: with the ask, the result and the outcome, at the time at which it happened."""
    rig = Rig(rows(1), ScriptedGateway(lambda ask, _: reply("yes"), latency=2.5)).run()
    assert [(event.at, event.what) for event in rig.events] == [
        (0.0, What.SENT),
        (2.5, What.LANDED),
        (2.5, What.FINISHED),
    ]
    assert len({id(event.ask) for event in rig.events}) == 1


def test_replies_are_learned_from_before_the_next_decision() -> None:
    """What a reply teaches is known when the room that it freed is given away."""
    learned: list[int] = []
    seen: list[int] = []
    budgets = {"a": (Limit(scope="a", measure="input", amount=10, window=60.0),)}
    rig = Rig(rows(3), budgets=budgets, learn=lambda ask, _reply, _seconds: learned.append(ask.task.row))
    rig.on_event = lambda event: seen.append(len(learned)) if event.what is What.SENT else None
    rig.run()
    assert seen == [0, 1, 2]


# Reading.


@pytest.mark.parametrize("models", [("a",), ("a", "b")])
def test_an_input_without_an_end_is_not_read_for_models_whose_quota_is_used_up(models: tuple[str, ...]) -> None:
    """A run that nobody can answer any more ends, with rows unread."""
    endless = (task(row, models[row % len(models)], input=10) for row in itertools.count())
    gateway = ScriptedGateway(lambda ask, number: failure(Kind.QUOTA_EXHAUSTED, scope="model"))
    rig = Rig(endless, gateway, budgets=dict.fromkeys(models, ()), ahead=200).run()
    assert rig.ends == {}
    assert rig.scheduler.left
    assert rig.read < 3000


def test_rows_are_read_no_further_than_the_choice_needs() -> None:
    """An input without an end is read a little ahead of what is sent, and a cap ends the run."""
    endless = (task(row, "a") for row in itertools.count())
    rig = Rig(endless, budgets={"a": (LIMIT,)}, caps=Caps(max_total_tokens=15 * 50), ahead=200).run()
    assert len(rig.gateway.sent) == 50
    assert rig.read <= 50 + 200 + AT_ONCE


def test_rows_that_take_long_to_read_hold_up_no_answer() -> None:
    """Two milliseconds a row are spent on a few rows at a time while requests are under way."""

    def slowly() -> Iterator[Task]:
        for row in rows(500):
            asyncio.get_running_loop()._jumping.now += 0.002  # type: ignore[attr-defined]
            yield row

    rig = Rig(slowly(), ScriptedGateway(latency=0.01), budgets={"a": (replace(LIMIT, amount=3_000),)}).run()
    flights = [event.at - event.ask.at for event in rig.events if event.what is What.LANDED and event.ask]
    assert max(flights) < 0.05
    assert rig.ends == dict.fromkeys(range(500), Status.SUCCEEDED)


def test_rows_are_read_as_far_as_the_choice_needs() -> None:
    """A model whose rows come late in the input has work while another's rows wait."""
    tasks = [*rows(50), *(task(row, "b") for row in range(50, 100))]
    rig = Rig(tasks, budgets={"a": (LIMIT,), "b": ()}, ahead=200).run()
    assert {sent.row for sent in rig.gateway.sent if sent.at == 0.0} >= set(range(50, 100))


def test_a_model_without_quota_does_not_hold_up_rows_behind_its_own() -> None:
    """Rows that wait for a later resume fill the choice; those of other models behind them are read all the same."""
    tasks = [*rows(300), *(task(row, "b") for row in range(300, 310))]
    spent = failure(Kind.QUOTA_EXHAUSTED, scope="model")
    gateway = ScriptedGateway(lambda ask, n: spent if ask.model == "a" else as_reserved(ask, n))
    budgets = {"a": (LIMIT,), "b": ()}
    rig = Rig(tasks, gateway, budgets=budgets, ahead=100).run()
    assert rig.ends == dict.fromkeys(range(300, 310), Status.SUCCEEDED)


# Where the time goes.


def test_the_time_of_a_run_is_told_by_what_it_went_into() -> None:
    """Two windows for room, and one answer at the end."""
    rig = Rig(rows(30), ScriptedGateway(latency=1.0, limits=[LIMIT]), budgets={"a": (LIMIT,)}).run()
    assert rig.engine.waiting.split(rig.ended_at) == {"input": pytest.approx(120.0), "answers": pytest.approx(1.0)}


def test_a_cool_down_is_told_as_such() -> None:
    """A gateway that refuses the first request and names a time is waited for, though there is room in the budget."""
    gateway = ScriptedGateway(lambda ask, n: refusal(retry_after=30.0) if n == 1 else as_reserved(ask, n), latency=1.0)
    rig = Rig(rows(1), gateway).run()
    parts = rig.engine.waiting.split(rig.ended_at)
    assert sum(parts.values()) == pytest.approx(rig.ended_at)
    assert parts == {"cool_down": pytest.approx(30.0, rel=0.03), "answers": pytest.approx(2.0)}


def test_an_outage_is_told_as_such() -> None:
    """A gateway that could not be reached is waited for because it is down, and not because it has refused anything."""
    gateway = ScriptedGateway(lambda ask, n: failure(Kind.UNREACHABLE) if n <= 2 else as_reserved(ask, n), latency=1.0)
    rig = Rig(rows(1), gateway).run()
    parts = rig.engine.waiting.split(rig.ended_at)
    assert parts == {"outage": pytest.approx(3.0, rel=0.03), "answers": pytest.approx(3.0)}


def test_a_run_that_is_being_stopped_waits_for_answers() -> None:
    """However much is left, nothing else is waited for."""
    rig = Rig(rows(30), ScriptedGateway(latency=5.0), budgets={"a": (LIMIT,)})
    rig.on_event = lambda event: rig.engine.stop("enough") if event.what is What.SENT else None
    rig.run()
    assert rig.engine.waiting.split(rig.ended_at) == {"answers": 5.0}


# Ending early.


def test_a_stop_lets_what_is_under_way_land() -> None:
    """Nothing more is sent, and no answer that was paid for is thrown away."""
    rig = Rig(rows(30), ScriptedGateway(latency=5.0), budgets={"a": (LIMIT,)})
    rig.on_event = lambda event: rig.engine.stop("enough") if event.what is What.SENT and event.at == 0.0 else None
    rig.run()
    sent = {each.row for each in rig.gateway.sent}
    assert 0 < len(sent) <= 10
    assert rig.ends == dict.fromkeys(sent, Status.SUCCEEDED)
    assert (rig.ended_at, rig.scheduler.stopped) == (5.0, "enough")


def test_a_stop_is_told_once() -> None:
    """Two interrupts are one reason."""
    rig = Rig(rows(2))

    def twice(event: Event) -> None:
        if event.what is What.SENT:
            rig.engine.stop("first")
            rig.engine.stop("second")

    rig.on_event = twice
    rig.run()
    assert [event.reason for event in rig.events if event.what is What.STOPPED] == ["first"]


def test_abandoning_ends_at_once() -> None:
    """What is in flight is cut off: the second interrupt does not wait for a slow gateway."""
    rig = Rig(rows(3), ScriptedGateway(latency=3600.0))

    async def drive() -> None:
        rig.gateway = interrupted
        await rig.drive()

    class Interrupted(ScriptedGateway):
        async def __call__(self, ask: Ask) -> Any:
            if ask.task.row == 2:
                rig.engine.abandon()
            return await super().__call__(ask)

    interrupted = Interrupted(latency=3600.0)
    run(drive())
    assert (rig.ended_at, interrupted.in_flight, rig.ends) == (0.0, 0, {})


@pytest.mark.parametrize(
    ("received", "seconds"),
    [
        pytest.param([signal.SIGINT], 60.0, marks=pytest.mark.fault("P1")),
        pytest.param([signal.SIGTERM], 20.0, marks=pytest.mark.fault("P3")),
        pytest.param([signal.SIGHUP], 20.0, marks=pytest.mark.fault("P4")),
        pytest.param([signal.SIGINT, signal.SIGINT], 0.0, marks=pytest.mark.fault("P2")),
    ],
    ids=["SIGINT", "SIGTERM", "SIGHUP", "SIGINT twice"],
)
def test_whoever_asks_a_run_to_stop_does_not_wait_for_ever(received: list[signal.Signals], seconds: float) -> None:
    """What is in flight gets so long, and less from one that will soon kill; asked again, it is cut off at once."""
    interruptions = Interruptions()

    class Interrupted(ScriptedGateway):
        async def __call__(self, ask: Ask) -> Any:
            if ask.task.row == 2:
                interruptions.engine = rig.engine
                for number in received:
                    interruptions(number)
            return await super().__call__(ask)

    rig = Rig(rows(3), Interrupted(latency=3600.0))
    rig.run()
    assert (rig.ended_at, rig.ends) == (seconds, {})


def test_a_deadline_ends_a_run_that_waits_for_room() -> None:
    """The run ends on time, though its next request could only go a window later."""
    rig = Rig(rows(20), budgets={"a": (LIMIT,)}, caps=Caps(deadline=30.0)).run()
    assert rig.ended_at == 30.0
    assert len(rig.ends) == 10


# What must be on disk first.


def test_decisions_are_flushed_before_a_request_goes_out() -> None:
    """Whatever is sent has been written down: the intents of a round are flushed before its first request."""
    flushed: list[int] = []
    told: list[int] = []

    def script(ask: Ask, _number: int) -> Any:
        assert ask.task.row in flushed
        return reply()

    rig = Rig(rows(200), ScriptedGateway(script), budgets={"a": (LIMIT,)}, flush=lambda: flushed.extend(told))
    rig.on_event = lambda event: told.append(event.ask.task.row) if event.what is What.SENT and event.ask else None
    rig.run()
    assert len(rig.gateway.sent) == 200


def test_nothing_goes_out_when_it_could_not_be_flushed() -> None:
    """A disk that fills up ends the run before the requests of that round, and with its own error."""
    to_write: list[Event] = []

    def flush() -> None:
        if any(event.at >= 60.0 for event in to_write):
            raise StorageFailed("No space left on device.")

    rig = Rig(rows(20), budgets={"a": (LIMIT,)}, flush=flush)
    rig.on_event = to_write.append
    with pytest.raises(StorageFailed, match="No space left"):
        rig.run()
    assert {sent.at for sent in rig.gateway.sent} == {0.0}


def test_whatever_a_watcher_raises_ends_the_run_with_it() -> None:
    """A landing that cannot be recorded is not passed over in silence."""

    def broken(event: Event) -> None:
        if event.what is What.LANDED:
            raise StorageFailed("The journal is gone.")

    rig = Rig(rows(5))
    rig.on_event = broken
    with pytest.raises(StorageFailed, match="The journal is gone"):
        rig.run()


def test_whatever_sending_raises_ends_the_run_with_it() -> None:
    """A failure is a value; an exception is a bug, and no row's fault."""

    def broken(_ask: Ask, _number: int) -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Rig(rows(5), ScriptedGateway(broken)).run()


def test_whatever_reading_raises_ends_the_run_with_it() -> None:
    """An input that breaks off in the middle is not taken for its end."""

    def broken() -> Iterator[Task]:
        yield task(0, "a")
        raise StorageFailed("It broke off.")

    with pytest.raises(StorageFailed, match="It broke off"):
        Rig(broken()).run()


# Patience.


def down(_ask: Ask, _number: int) -> Any:
    return failure(Kind.DISCONNECTED)


def test_a_gateway_that_never_answers_is_given_up_soon() -> None:
    """Before the first answer, the shorter patience holds: the address is probably wrong."""
    rig = Rig(rows(100), ScriptedGateway(down, latency=0.1), patience=600.0, first_patience=30.0)
    with pytest.raises(GatewayUnavailable):
        rig.run()
    last = max(sent.at for sent in rig.gateway.sent)
    assert 30.0 <= last <= 30.0 + 61.0
    assert rig.ends == {}


def test_a_gateway_that_has_answered_is_waited_for_longer() -> None:
    """After an answer, an outage within patience is sat out, and every row is answered in the end."""

    def out_for_ten_minutes(ask: Ask, _number: int) -> Any:
        return failure(Kind.DISCONNECTED) if 30.0 < ask.at < 500.0 else reply()

    rig = Rig(rows(60), ScriptedGateway(out_for_ten_minutes), budgets={"a": (LIMIT,)}, patience=600.0)
    rig.run()
    assert rig.ends == dict.fromkeys(range(60), Status.SUCCEEDED)


def test_an_outage_longer_than_patience_ends_the_run() -> None:
    """The rows that have no outcome stay for a resume."""

    def out_for_good(ask: Ask, _number: int) -> Any:
        return failure(Kind.DISCONNECTED) if ask.at > 30.0 else reply()

    rig = Rig(rows(60), ScriptedGateway(out_for_good), budgets={"a": (LIMIT,)}, patience=600.0)
    with pytest.raises(GatewayUnavailable, match="has not answered for"):
        rig.run()
    assert rig.ends == dict.fromkeys(range(10), Status.SUCCEEDED)


def test_a_request_that_hangs_longer_than_patience_does_not_end_a_run_that_is_answered() -> None:
    """It says nothing of the answers that came meanwhile, and its row ends after its attempts."""

    def hangs(ask: Ask, _number: int) -> Any:
        return failure(Kind.TIMEOUT, ambiguous=True) if ask.task.row == 3 else reply()

    gateway = ScriptedGateway(hangs, latency=lambda ask: 600.0 if ask.task.row == 3 else 1.0)
    rig = Rig(rows(50), gateway, patience=600.0).run()
    assert rig.ends == {row: Status.ERRORED if row == 3 else Status.SUCCEEDED for row in range(50)}


@pytest.mark.fault("H11", "R7")
def test_a_row_that_hangs_as_the_first_one_after_an_interruption_holds_nobody_up() -> None:
    """All connections are lost at once, and the row that asks whether the gateway is back is never answered."""

    hanging: list[int] = []

    def is_lost(ask: Ask) -> bool:
        return ask.number == 1 and 1.0 <= ask.at < 2.0

    def script(ask: Ask, _number: int) -> Any:
        if is_lost(ask):
            hanging[:] = hanging or [ask.task.row]
            return failure(Kind.UNREACHABLE, scope="all")
        return failure(Kind.TIMEOUT, ambiguous=True) if ask.task.row in hanging else reply()

    gateway = ScriptedGateway(script, latency=lambda ask: 600.0 if ask.number > 1 and ask.task.row in hanging else 1.0)
    rig = Rig(rows(2000), gateway, patience=600.0).run()
    assert rig.ends == {row: Status.ERRORED if row in hanging else Status.SUCCEEDED for row in range(2000)}
    assert max(sent.at for sent in gateway.sent if sent.row not in hanging) < 100.0


def test_one_early_failure_does_not_end_a_run_whose_other_requests_are_under_way() -> None:
    """Though it took longer than the first patience."""

    def cut(ask: Ask) -> bool:
        return ask.task.row == 0 and ask.number == 1

    def first_is_cut(ask: Ask, _number: int) -> Any:
        return failure(Kind.SERVER_ERROR, status=504) if cut(ask) else reply()

    gateway = ScriptedGateway(first_is_cut, latency=lambda ask: 60.0 if cut(ask) else 90.0)
    rig = Rig(rows(50), gateway, patience=600.0, first_patience=30.0).run()
    assert rig.ends == dict.fromkeys(range(50), Status.SUCCEEDED)


def test_a_gateway_that_answers_with_its_outage_is_waited_for_as_one_that_has_answered() -> None:
    """Its address is right."""

    def restarts(ask: Ask, _number: int) -> Any:
        return failure(Kind.OVERLOADED, status=503) if ask.at < 90.0 else reply()

    rig = Rig(rows(20), ScriptedGateway(restarts), patience=600.0, first_patience=30.0).run()
    assert rig.ends == dict.fromkeys(range(20), Status.SUCCEEDED)


@pytest.mark.parametrize("bad", [5, 15, 20, 22])
def test_a_row_that_always_fails_does_not_keep_its_model_closed_after_an_outage(bad: int) -> None:
    """Another one asks the next time whether it is over."""

    def outage(ask: Ask, _number: int) -> Any:
        down = 60.0 <= ask.at < 90.0 or ask.task.row == bad
        return failure(Kind.SERVER_ERROR, status=500) if down else reply()

    rig = Rig(rows(60), ScriptedGateway(outage), budgets={"a": (LIMIT,)}, patience=600.0).run()
    assert rig.ends == {row: Status.ERRORED if row == bad else Status.SUCCEEDED for row in range(60)}
    assert sum(sent.row == bad for sent in rig.gateway.sent) <= 12


@pytest.mark.parametrize("count", [20, 200])
def test_two_rows_that_always_fail_end_though_nobody_else_is_left_to_be_answered(count: int) -> None:
    """They failed while others were answered: that they fail together later says nothing of an outage."""

    def poisoned(ask: Ask, _number: int) -> Any:
        return failure(Kind.SERVER_ERROR, status=500) if ask.task.row in (3, 11) else reply()

    rig = Rig(rows(count), ScriptedGateway(poisoned, latency=1.0), patience=600.0).run()
    assert {row for row, status in rig.ends.items() if status is Status.ERRORED} == {3, 11}
    assert sum(sent.row in (3, 11) for sent in rig.gateway.sent) <= 12


@pytest.mark.parametrize("slow", [2, 3, 5, 7])
def test_the_last_rows_of_a_run_survive_an_outage_that_they_are_under_way_in(slow: int) -> None:
    """That others were answered before says nothing against them."""

    def outage(ask: Ask, _number: int) -> Any:
        fails = ask.task.row < slow if ask.number == 1 else ask.at < 65.0
        return failure(Kind.SERVER_ERROR, status=502, ambiguous=True) if fails else reply()

    gateway = ScriptedGateway(outage, latency=lambda ask: 5.0 if ask.task.row < slow and ask.number == 1 else 0.5)
    rig = Rig(rows(50), gateway, patience=600.0).run()
    assert rig.ends == dict.fromkeys(range(50), Status.SUCCEEDED)


# No polling.


@pytest.mark.parametrize("latency", [0.0, 1.0, 90.0])
def test_the_scheduler_is_asked_only_when_something_has_happened(latency: float) -> None:
    """Once or twice for each request and each landing, however long it takes: nothing waits by asking."""
    gateway = ScriptedGateway(latency=lambda ask: latency * (1 + ask.task.row % 7))
    rig = Rig(rows(300), gateway, budgets={"a": (LIMIT,)}).run()
    assert rig.scheduler.asked <= 4 * 300
