"""Row after row that fails alike stops a run; rows that fail among others that succeed do not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from random import Random

import pytest

from runner.core.alike import FIRST, LATER, Alike
from runner.core.caps import Caps, Spending
from runner.core.catalog import Model
from runner.core.charges import Charges
from runner.core.events import Event, What
from runner.core.limits import Limit
from runner.core.ports import Lease
from runner.core.schedule import Scheduler
from runner.core.values import Charge, Failure, Kind, Reply, Status
from runner.core.work import Ask, Finished, Landing, Wait
from runner.execution import Ending, run
from runner.ledgers.memory import MemoryLedger
from runner.testing import ScriptedGateway, charge_of, failure, reply, task
from runner.testing import run as in_virtual_time

BAD = failure(Kind.INVALID_REQUEST, status=400)
Script = Callable[[Ask, int], Reply | Failure]


class Outcome:
    """What came of a run of `count` rows, one after the other."""

    def __init__(
        self, script: Script, count: int, *, models: tuple[str, ...] = ("m",), attempts: int = 5, **options: bool
    ) -> None:
        self.events: list[Event] = []
        self.gateway = ScriptedGateway(script)
        self.ending = in_virtual_time(self._run(count, models, attempts, **options))

    async def _run(self, count: int, models: tuple[str, ...], attempts: int, **options: bool) -> Ending:
        nameable = (*models, "another")  # which no row names, and some row might have named
        budgets = {model: (Limit(scope=model, measure="input", amount=10**6, window=60.0),) for model in nameable}
        known = [Model(id=model, provider="Somebody") for model in nameable]
        scheduler = Scheduler(
            budgets=budgets,
            ledger=MemoryLedger(budgets),
            charge=charge_of,
            spending=Spending(Caps(), known, 0.0),
            rng=Random(1),
            attempts=attempts,
            most_in_flight=1,
        )
        tasks: Iterable[Finished] = iter([task(row, models[row % len(models)]) for row in range(count)])  # type: ignore[assignment]
        charges = Charges(known, budgets, 60.0)
        nothing = lambda: None  # noqa: E731
        return await run(
            scheduler, charges, tasks, self.gateway, self.events.append, flush=nothing, patience=math.inf, **options
        )

    @property
    def ended(self) -> dict[int, Status]:
        """What was recorded as the rows' outcomes."""
        return {e.finished.task.row: e.finished.status for e in self.events if e.finished is not None}

    @property
    def landed(self) -> int:
        return sum(event.what is What.LANDED for event in self.events)


@pytest.mark.fault("H15")
def test_the_first_rows_that_all_fail_alike_stop_the_run() -> None:
    """After ten, with exit code 5 and a word on what to do; no more are sent, and none is recorded as errored."""
    outcome = Outcome(lambda ask, _: BAD, 300)
    assert outcome.ending.exit_code == 5
    assert "first 10 rows" in str(outcome.ending.reason)
    assert "--keep-going" in str(outcome.ending.reason)
    assert outcome.ended == {}
    assert len(outcome.gateway.sent) == outcome.landed == FIRST


@pytest.mark.fault("H20")
@pytest.mark.parametrize("after", [0, 100])
def test_rows_that_are_lost_with_their_model_stop_no_run_whose_other_models_are_left(after: int) -> None:
    """However many of them there are: that a model is gone is one fault, and no fault of the job."""

    def gone(ask: Ask, _number: int) -> Reply | Failure:
        is_gone = ask.model == "gone" and ask.at >= after
        return failure(Kind.MODEL_UNAVAILABLE, status=404) if is_gone else reply()

    outcome = Outcome(gone, 600, models=("a", "b", "gone"))
    assert outcome.ending.exit_code == 0
    assert {row for row, status in outcome.ended.items() if status is Status.SUCCEEDED} >= {
        row for row in range(600) if row % 3 != 2
    }
    assert len(outcome.ended) == 600


@pytest.mark.parametrize("models", [("a",), ("a", "b", "c")])
def test_models_that_are_all_gone_stop_a_run(models: tuple[str, ...]) -> None:
    """Then the address or the account is wrong, and the rows stay open."""
    outcome = Outcome(lambda _ask, _: failure(Kind.MODEL_UNAVAILABLE, status=404), 300, models=models)
    assert outcome.ending.exit_code == 5
    assert outcome.ended == {}


@pytest.mark.fault("H15")
def test_one_answer_shows_that_rows_can_succeed() -> None:
    """What failed before it is then the rows' own outcome."""
    outcome = Outcome(lambda ask, _: reply() if ask.task.row == FIRST - 1 else BAD, FIRST)
    assert outcome.ending.exit_code == 0
    assert [outcome.ended[row] for row in range(FIRST)] == [Status.ERRORED] * (FIRST - 1) + [Status.SUCCEEDED]


@pytest.mark.fault("H15")
def test_answers_of_a_stronger_model_do_not_show_that_rows_can_succeed() -> None:
    """It is asked about the rows that failed, which the job's own model fails at all the same."""
    stopped: list[Failure] = []
    alike = Alike(lambda _event: None, stopped.append)
    for row in range(FIRST):
        weak, strong = task(row, "weak"), task(row, "strong")
        strong.escalated = True
        alike(Event(0.0, What.FINISHED, finished=Finished(weak, "weak", Status.ERRORED, BAD)))
        ask = Ask(strong, "strong", Lease("strong", Charge(1, 1, 1), 0.0, []), 1, 0.0)
        landing = Landing(None, (Finished(strong, "strong", Status.SUCCEEDED, reply()),))
        alike(Event(1.0, What.LANDED, ask=ask, result=reply(), landing=landing))
    assert len(stopped) == 1


@pytest.mark.fault("H15")
def test_few_rows_that_all_fail_are_errored() -> None:
    """A handful of bad rows is a handful of bad rows."""
    outcome = Outcome(lambda ask, _: BAD, FIRST - 1)
    assert outcome.ending.exit_code == 0
    assert set(outcome.ended.values()) == {Status.ERRORED}


@pytest.mark.fault("H19")
@pytest.mark.parametrize("kind", [Kind.FORBIDDEN, Kind.INVALID_REQUEST])
def test_many_in_a_row_stop_a_run_that_went_well(kind: Kind) -> None:
    """H19: a permission that is taken away in mid-run costs no row its outcome."""
    gone = failure(kind, status=403)
    outcome = Outcome(lambda ask, _: reply() if ask.task.row < 100 else gone, 300)
    assert outcome.ending.exit_code == 5
    assert set(outcome.ended) == set(range(100))
    assert len(outcome.gateway.sent) == 100 + LATER


ASTRAY = failure(Kind.SERVER_ERROR, "404 page not found", status=404)


@pytest.mark.parametrize("attempts", [1, 5])
def test_a_first_request_that_finds_no_gateway_stops_the_run(attempts: int) -> None:
    """The address is wrong: one request tells, and the rows stay open, also where they may be tried once only."""
    outcome = Outcome(lambda _ask, _: ASTRAY, 50, attempts=attempts)
    assert [e.landing.finished for e in outcome.events if e.landing is not None] == [()]
    assert (outcome.ending.exit_code, outcome.ended, len(outcome.gateway.sent)) == (5, {}, 1)
    assert outcome.ending.reason == "There is no gateway at its address (404 page not found). Is that right?"


@pytest.mark.parametrize("earlier", [True, False])
def test_a_page_in_place_of_an_answer_passes_where_there_were_answers(earlier: bool) -> None:
    """In this session or in one before: its row is asked again."""
    at = 0 if earlier else 5
    seen: list[int] = []

    def astray_once(ask: Ask, _number: int) -> Reply | Failure:
        seen.append(ask.task.row)
        return ASTRAY if ask.task.row == at and seen.count(at) == 1 else reply()

    outcome = Outcome(astray_once, 10, answered=earlier)
    assert outcome.ending.exit_code == 0
    assert outcome.ended == dict.fromkeys(range(10), Status.SUCCEEDED)


@pytest.mark.fault("H20")
def test_a_model_that_is_gone_stops_a_run_that_needs_it() -> None:
    """The rows stay open."""
    outcome = Outcome(lambda ask, _: failure(Kind.MODEL_UNAVAILABLE, status=404), 50)
    assert (outcome.ending.exit_code, outcome.ended) == (5, {})


@pytest.mark.fault("H26")
def test_answers_that_are_none_end_the_run_with_9() -> None:
    """A login page in place of the gateway: nothing of it is a row's fault."""
    outcome = Outcome(lambda ask, _: failure(Kind.INVALID_RESPONSE, status=200), 50)
    assert (outcome.ending.exit_code, outcome.ended) == (9, {})


@pytest.mark.parametrize("kind", [Kind.CONTEXT_LENGTH, Kind.CONTENT_FILTER, Kind.REQUEST_TOO_LARGE])
def test_what_is_in_the_rows_stops_nothing(kind: Kind) -> None:
    """Fifty rows that are too long may well stand one behind the other."""
    outcome = Outcome(lambda ask, _: failure(kind, status=400), 100)
    assert (outcome.ending.exit_code, len(outcome.ended)) == (0, 100)


def test_failures_of_different_kinds_are_not_alike() -> None:
    """Each change of kind begins a new count."""
    kinds = (Kind.INVALID_REQUEST, Kind.FORBIDDEN)
    outcome = Outcome(lambda ask, _: failure(kinds[ask.task.row // 9 % 2], status=400), 100)
    assert (outcome.ending.exit_code, len(outcome.ended)) == (0, 100)


def test_whoever_wants_to_go_on_goes_on() -> None:
    """--keep-going records every row."""
    outcome = Outcome(lambda ask, _: BAD, 300, keep_going=True)
    assert (outcome.ending.exit_code, len(outcome.ended)) == (0, 300)


def test_a_resume_after_answers_allows_as_many_as_a_run_after_answers() -> None:
    """Rows were able to succeed."""
    outcome = Outcome(lambda ask, _: BAD, LATER - 1, answered=True)
    assert (outcome.ending.exit_code, len(outcome.ended)) == (0, LATER - 1)


@pytest.mark.fault("H17")
class TestCanary:
    """The first request goes alone."""

    def scheduler(self) -> Scheduler:
        budgets = {"m": (Limit(scope="m", measure="input", amount=10**6, window=60.0),)}
        scheduler = Scheduler(
            budgets=budgets,
            ledger=MemoryLedger(budgets),
            charge=charge_of,
            spending=Spending(Caps(), [Model(id="m", provider="Somebody")], 0.0),
            rng=Random(1),
            canary=1.0,
        )
        for row in range(3):
            scheduler.offer(task(row, "m"))
        return scheduler

    def test_a_second_request_waits_for_the_first_but_not_for_long(self) -> None:
        """A slow answer costs a second, once."""
        scheduler = self.scheduler()
        assert isinstance(scheduler.next(5.0), Ask)
        assert scheduler.next(5.0) == Wait(6.0)
        assert [isinstance(scheduler.next(6.0), Ask) for _ in range(2)] == [True, True]

    def test_an_answer_lets_the_others_go(self) -> None:
        """Whatever the answer was: what it means for the others is decided elsewhere."""
        scheduler = self.scheduler()
        first = scheduler.next(5.0)
        assert isinstance(first, Ask)
        scheduler.landed(first, reply(), 5.3)
        assert isinstance(scheduler.next(5.3), Ask)

    def test_a_wrong_token_costs_one_request(self) -> None:
        """It is refused at once, and the run is over."""
        scheduler = self.scheduler()
        first = scheduler.next(0.0)
        assert isinstance(first, Ask)
        scheduler.landed(first, failure(Kind.UNAUTHORIZED, status=401, scope="all"), 0.2)
        assert not isinstance(scheduler.next(2.0), Ask)
