"""The scheduler, rule by rule: tasks, times and landings go in as numbers, and what it says to do is looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from runner.core.caps import Caps, Spending
from runner.core.catalog import Model, Price
from runner.core.errors import BrokenInvariant
from runner.core.knowledge import limit_key
from runner.core.limits import ALL, Budget, Limit
from runner.core.passed import Progress
from runner.core.ports import Lease, Refusal, Refused
from runner.core.retry import BASE_DELAY, Action
from runner.core.schedule import Scheduler
from runner.core.values import Charge, Failure, Kind, Reply, Status
from runner.core.waiting import Cause
from runner.core.work import Ask, Done, Finished, Landing, Task, Wait
from runner.ledgers.memory import MemoryLedger
from runner.testing import charge_of, failure, refusal, reply, task

WINDOW = 10.0


def limit(scope: str, amount: int, measure: Any = "input", window: float = WINDOW) -> Limit:
    return Limit(scope=scope, measure=measure, amount=amount, window=window)


class Bench:
    """A scheduler on a bench: it is fed by hand, at a time that is set by hand."""

    def __init__(self, budgets: Mapping[str, Budget], *, caps: Caps = Caps(), **options: Any) -> None:  # noqa: B008
        price = Price(input=1.0, output=10.0)
        models = [Model(id=name, provider="Somebody", price=price) for name in budgets]
        self.now = 0.0
        self.ledger = MemoryLedger(budgets)
        self.scheduler = Scheduler(
            **{
                "budgets": budgets,
                "ledger": self.ledger,
                "charge": charge_of,
                "spending": Spending(caps, models, 0.0),
                "rng": Random(1),
                "window": WINDOW,
                **options,
            }
        )

    def offer(self, *tasks: Task) -> None:
        for each in tasks:
            assert self.scheduler.offer(each) is None

    def at(self, now: float) -> Bench:
        self.now = now
        return self

    def next(self) -> Ask | Wait | Done:
        return self.scheduler.next(self.now)

    def ask(self) -> Ask:
        """What is sent now; there must be something."""
        decision = self.next()
        assert isinstance(decision, Ask), decision
        return decision

    def asks(self) -> list[Ask]:
        """Everything that is sent now."""
        return list(iter(self.next_or_none, None))

    def next_or_none(self) -> Ask | None:
        decision = self.next()
        return decision if isinstance(decision, Ask) else None

    def rows(self) -> list[int]:
        """The rows of everything that is sent now."""
        return [ask.task.row for ask in self.asks()]

    def wait(self) -> float:
        """Until when nothing can be sent; there must be something to wait for."""
        decision = self.next()
        assert isinstance(decision, Wait), decision
        return decision.until

    def land(self, ask: Ask, result: Reply | Failure | None = None) -> Landing:
        """Land an ask with a result, or with a reply that used what was reserved."""
        held = ask.lease.charge
        return self.scheduler.landed(ask, result or reply(input=held.input, output=held.output), self.now)


# Which task.


def test_tasks_go_out_oldest_first() -> None:
    """Where all fit, the order of the input is the order of sending."""
    bench = Bench({"a": ()})
    bench.offer(task(0, "a", input=900), task(1, "a", input=5), task(2, "a", input=90))
    assert bench.rows() == [0, 1, 2]


def test_what_waited_for_a_connection_is_counted_when_it_was_written() -> None:
    """It stays in its window for so much longer than what was decided says."""
    bench = Bench({"a": (limit("a", 100),)})
    bench.offer(task(0, "a", input=100), task(1, "a", input=100))
    ask = bench.ask()
    ask.sent_at = 2.0
    bench.at(3.0).land(ask)
    assert bench.at(WINDOW + 1.9).wait() == pytest.approx(WINDOW + 2.0)
    assert bench.at(WINDOW + 2.0).ask().task.row == 1


def test_a_small_task_passes_one_that_does_not_fit() -> None:
    """A large row at the front does not leave room unused that smaller ones behind it can use."""
    bench = Bench({"a": (limit("a", 100),)})
    bench.offer(task(0, "a", input=60), task(1, "a", input=80), task(2, "a", input=30))
    assert bench.rows() == [0, 2]


@pytest.mark.fault("B15")
@pytest.mark.parametrize("large", [30, 50, 51, 75, 100])
def test_a_passed_task_gets_its_turn_within_a_window(large: int) -> None:
    """However many small tasks keep coming, it waits half a window, or not at all if it takes most of the limit."""
    bench = Bench({"a": (limit("a", 100),)})
    bench.offer(task(0, "a", input=10))
    bench.land(bench.ask())
    sent_at = math.inf
    for step in range(200):
        bench.at(step * 0.15).offer(task(2 + step, "a", input=2))
        if step == 70:
            bench.offer(task(1, "a", input=large))
        for ask in bench.asks():
            sent_at = min(sent_at, bench.now) if ask.task.row == 1 else sent_at
            bench.land(ask)
    assert sent_at <= 10.5 + BEFORE + WINDOW


def test_a_task_that_nothing_has_passed_does_not_hold_up_its_model() -> None:
    """The half window counts from the first time that a younger task was sent before, not from the waiting itself."""
    bench = Bench({"a": (limit("a", 100),)})
    bench.offer(task(0, "a", input=60), task(1, "a", input=80))
    assert bench.rows() == [0]
    bench.at(0.9 * WINDOW).offer(task(2, "a", input=30))
    assert bench.rows() == [2]


def test_requeued_tasks_keep_their_age() -> None:
    """Whatever the order in which refusals come back, the rows go out again in the order of the input."""
    bench = Bench({"a": ()})
    bench.offer(*(task(row, "a") for row in range(5)))
    asks = [bench.ask() for _ in range(3)]
    bench.at(1.0)
    for ask in (asks[2], asks[0], asks[1]):
        bench.land(ask, failure(Kind.UNREACHABLE, scope="all"))
    bench.land(bench.at(5.0).ask())
    assert bench.rows() == [1, 2, 3, 4]


# Which model.


def test_a_model_takes_its_own_tasks_before_those_of_a_pool() -> None:
    """What others could do as well waits for what only this model can do, though it came first."""
    bench = Bench({"a": (limit("a", 10),), "b": (limit("b", 10),)})
    bench.offer(task(0, "a", "b"), task(1, "a"))
    assert {ask.task.row: ask.model for ask in bench.asks()} == {1: "a", 0: "b"}


@pytest.mark.parametrize("busy", ["a", "b"])
def test_the_model_with_the_most_work_goes_first_under_a_combined_limit(busy: str) -> None:
    """Room that all models share goes to the one that will take longest."""
    combined = limit(ALL, 100)
    bench = Bench({"a": (limit("a", 80), combined), "b": (limit("b", 80), combined)})
    for model in "ab":
        bench.scheduler.expect(model, Charge(100, 5000 if model == busy else 500, 0))
        bench.offer(*(task(row, model, input=80) for row in range(3)))
    assert [ask.model for ask in bench.asks()] == [busy]


def test_work_is_measured_by_each_models_own_limits() -> None:
    """Less work under a much smaller limit takes longer, and goes first."""
    combined = limit(ALL, 1000)
    bench = Bench({"a": (limit("a", 1000), combined), "b": (limit("b", 100), combined)})
    bench.scheduler.expect("a", Charge(0, 1000, 0))
    bench.scheduler.expect("b", Charge(0, 500, 0))
    bench.offer(task(0, "a", input=950), task(1, "b", input=100))
    assert [ask.model for ask in bench.asks()] == ["b"]


def test_work_that_was_sent_is_no_longer_expected() -> None:
    """The order follows the work that is left: the longer goes first until both have as much."""
    combined = limit(ALL, 60)
    bench = Bench({"a": (limit("a", 100), combined), "b": (limit("b", 100), combined)})
    for model, work in (("a", 300), ("b", 280)):
        bench.scheduler.expect(model, Charge(0, work, 0))
        bench.offer(*(task(row, model, input=10) for row in range(30)))
    models = [ask.model for ask in bench.asks()]
    assert models[:2] == ["a", "a"]
    assert models[2:].count("a") == models[2:].count("b") == 2


def test_a_pool_spreads_evenly_over_its_models() -> None:
    """Equal models get equal shares."""
    bench = Bench({name: (limit(name, 100),) for name in "abc"})
    bench.offer(*(task(row, "a", "b", "c") for row in range(12)))
    models = [ask.model for ask in bench.asks()]
    assert {name: models.count(name) for name in "abc"} == {"a": 4, "b": 4, "c": 4}


def test_a_pool_without_limits_spreads_by_what_is_under_way() -> None:
    """Where no window tells which model is emptier, the number of requests in flight does."""
    bench = Bench({"a": (), "b": ()})
    bench.offer(*(task(row, "a", "b") for row in range(6)))
    models = [ask.model for ask in bench.asks()]
    assert models.count("a") == models.count("b") == 3


def test_a_pool_prefers_the_model_whose_window_is_emptiest() -> None:
    """What a model has spent counts, also when none of it is under way any more."""
    bench = Bench({"a": (limit("a", 100),), "b": (limit("b", 100),)})
    for row, (model, size) in enumerate([("a", 60), ("b", 20)]):
        bench.offer(task(row, model, input=size))
        bench.land(bench.ask())
    bench.offer(*(task(row, "a", "b") for row in range(2, 6)))
    assert [ask.model for ask in bench.asks()] == ["b"] * 4


def test_what_has_landed_is_no_longer_under_way() -> None:
    """A model whose answers are back is as free as one that was never asked."""
    bench = Bench({"a": (), "b": ()})
    bench.offer(*(task(row, "a") for row in range(4)))
    for ask in bench.asks():
        bench.land(ask)
    bench.offer(*(task(row, "a", "b") for row in range(4, 8)))
    models = [ask.model for ask in bench.asks()]
    assert models.count("a") == models.count("b") == 2


def test_models_of_a_pool_get_shares_by_their_limits() -> None:
    """A model that may do nine times as much gets nine times as much, and both are used to the last token."""
    bench = Bench({"a": (limit("a", 900),), "b": (limit("b", 100),)})
    bench.offer(*(task(row, "a", "b") for row in range(200)))
    models = [ask.model for ask in bench.asks()]
    assert (models.count("a"), models.count("b")) == (90, 10)


def test_a_task_too_large_for_one_model_of_its_pool_goes_to_another() -> None:
    """Each model is asked with its own limits."""
    bench = Bench({"a": (limit("a", 50),), "b": (limit("b", 500),)})
    bench.offer(task(0, "a", "b", input=200))
    assert bench.ask().model == "b"


def test_a_full_model_does_not_hold_up_the_others() -> None:
    """Work for one model that must wait leaves work for another as it is."""
    bench = Bench({"a": (limit("a", 10),), "b": (limit("b", 100),)})
    bench.offer(*(task(row, "a") for row in range(3)), *(task(row, "b") for row in range(3, 6)))
    assert sorted(bench.rows()) == [0, 3, 4, 5]


def test_a_model_kept_free_for_a_task_works_on_when_another_has_taken_it() -> None:
    """A pool's large task that one model is drained for may find room on another first: the draining is then over."""
    bench = Bench({"a": (limit("a", 100),), "b": (limit("b", 100),)})
    bench.offer(task(0, "a", input=60), task(1, "b", input=64))
    under_way = bench.asks()
    bench.offer(task(2, "a", "b", input=100), task(3, "a", "b", input=4))
    under_way += bench.asks()  # row 3 passes row 2
    bench.at(6.0).offer(task(4, "a", "b", input=4))
    under_way += bench.asks()  # half a window later: a model is kept free, the other takes row 4
    busy = {ask.model for ask in under_way if ask.task.row == 4}
    for ask in under_way:
        if ask.model in busy:
            bench.land(ask, failure(Kind.INVALID_REQUEST))
    large = bench.ask()
    assert (large.task.row, {large.model}) == (2, busy)
    (kept_free,) = {"a", "b"} - busy
    bench.offer(task(5, kept_free, input=4))
    assert bench.rows() == [5]


# How many, and until when.


def test_no_more_requests_are_in_flight_than_allowed() -> None:
    """When as many as allowed are under way, only a landing can change anything."""
    bench = Bench({"a": ()}, most_in_flight=2)
    bench.offer(*(task(row, "a") for row in range(3)))
    asks = bench.asks()
    assert (len(asks), bench.scheduler.in_flight, bench.wait()) == (2, 2, math.inf)
    bench.land(asks[0])
    assert bench.rows() == [2]


def test_waiting_ends_at_the_moment_at_which_something_fits() -> None:
    """The time is exact: a moment before there is nothing to send, and at it there is."""
    bench = Bench({"a": (limit("a", 100),)})
    bench.offer(task(0, "a", input=100), task(1, "a", input=100))
    ask = bench.at(3.0).ask()
    bench.at(6.0).land(ask)
    assert bench.wait() == 13.0
    assert bench.at(12.999).rows() == []
    assert bench.at(13.0).rows() == [1]


def test_waiting_ends_when_the_first_of_the_models_has_room() -> None:
    """The earliest moment of all the models with work counts; models without work do not."""
    bench = Bench({name: (limit(name, 10),) for name in "abc"})
    for row, (model, at) in enumerate([("c", 0.0), ("b", 1.0), ("a", 2.0)]):
        bench.at(at).offer(task(row, model))
        bench.land(bench.ask())
    bench.offer(task(3, "a"), task(4, "b"))
    assert bench.wait() == 11.0


def test_room_that_is_given_back_is_used_at_once() -> None:
    """A reply shorter than its reservation lets the next task out in the same moment."""
    bench = Bench({"a": (limit("a", 100, "output"),)})
    bench.offer(task(0, "a", cap=80), task(1, "a", cap=80))
    first = bench.ask()
    assert bench.rows() == []
    bench.at(2.0).land(first, reply(output=20))
    assert bench.rows() == [1]


def test_room_that_one_model_gives_back_is_used_by_another() -> None:
    """Under a combined limit, a settlement of one model wakes those that wait for the same limit."""
    combined = limit(ALL, 100, "output")
    bench = Bench({"a": (combined,), "b": (combined,)})
    bench.offer(task(0, "a", cap=80))
    first = bench.ask()
    bench.offer(task(1, "b", cap=80))
    assert bench.rows() == []
    bench.at(2.0).land(first, reply(output=20))
    assert bench.rows() == [1]


def test_room_that_is_given_back_is_used_by_what_has_just_arrived() -> None:
    """That a shared limit had no room is forgotten with its settlement, also where no model waits for it any more."""
    combined = limit(ALL, 100, "output")
    bench = Bench({"a": (combined,), "b": (combined,)})
    bench.offer(task(0, "a", cap=80))
    first = bench.ask()
    bench.offer(task(1, "b", cap=80))
    assert bench.rows() == []
    bench.offer(task(2, "b", cap=80))
    bench.at(2.0).land(first, reply(output=20))
    assert bench.rows() == [1]


def test_what_one_model_found_out_of_a_shared_limit_is_not_asked_again_by_the_others() -> None:
    """Of many models that wait for one limit, one is refused; those that want no less of it wait with it."""
    combined = limit(ALL, 100)
    asked: list[str] = []

    class Ledger(MemoryLedger):
        def refusal(self, model: str, charge: Charge, now: float) -> Refusal | None:
            asked.append(model)
            return super().refusal(model, charge, now)

    budgets = dict.fromkeys("abc", (combined,))
    bench = Bench(budgets, ledger=Ledger(budgets))
    bench.offer(task(0, "a", input=90), *(task(1 + row, name, input=20) for row, name in enumerate("abc")))
    bench.ask()
    asked.clear()
    assert bench.at(1.0).wait() == 1.0 + WINDOW / 2  # then it is looked whether anything was passed for long
    assert asked == ["b"]
    assert bench.scheduler.waiting_for(1.0) == dict.fromkeys("abc", (Cause.COMBINED_INPUT,))


def test_a_shared_limit_without_room_for_one_model_may_have_it_for_less() -> None:
    """What wants less of it than was refused is asked about."""
    combined = limit(ALL, 100)
    bench = Bench({"a": (combined,), "b": (combined,)})
    bench.offer(task(0, "a", input=90), task(1, "a", input=20), task(2, "b", input=10))
    assert bench.rows() == [0, 2]


def test_room_that_a_late_answer_frees_is_used_at_once() -> None:
    """A request that took longer than its window held it all that time: its answer frees it, whatever it used."""
    bench = Bench({"a": (limit("a", 100),)})
    bench.offer(task(0, "a", input=100), task(1, "a", input=100))
    first = bench.ask()
    assert bench.at(12.0).rows() == []
    bench.at(15.0).land(first)
    assert bench.rows() == [1]


def test_nothing_is_done_while_more_may_be_offered() -> None:
    """An empty queue is not the end until the scheduler is told that no more will come."""
    bench = Bench({"a": ()})
    assert bench.wait() == math.inf
    bench.scheduler.close()
    assert bench.next() == Done()


def test_it_is_not_done_while_a_request_is_under_way() -> None:
    """The last landing ends the run, not the last sending."""
    bench = Bench({"a": ()})
    bench.offer(task(0, "a"))
    bench.scheduler.close()
    last = bench.ask()
    assert bench.wait() == math.inf
    bench.land(last)
    assert bench.next() == Done()


def test_it_is_not_done_while_a_task_waits_for_another_attempt() -> None:
    """A task that is neither queued nor under way is still to be done."""
    bench = Bench({"a": ()})
    bench.offer(task(0, "a"))
    bench.scheduler.close()
    retry_at = bench.land(bench.ask(), failure(Kind.SERVER_ERROR)).retry_at
    assert bench.wait() == retry_at
    assert bench.scheduler.queued == 1


# What a reply leads to.


def test_a_reply_ends_its_task_as_succeeded() -> None:
    """The outcome names the task, the model that answered and what it said."""
    bench = Bench({"a": ()})
    bench.offer(task(0, "a"))
    ask, answer = bench.ask(), reply("42")
    assert bench.land(ask, answer) == Landing(None, (Finished(ask.task, "a", Status.SUCCEEDED, answer),))


@pytest.mark.fault("H24")
def test_a_reply_without_usage_keeps_its_reservation() -> None:
    """What the gateway does not report is taken to be what was reserved."""
    bench = Bench({"a": (limit("a", 100),)})
    bench.offer(task(0, "a", input=70))
    silent = reply(input=0, output=0)
    bench.land(bench.ask(), Reply(**{**fields_of(silent), "usage": type(silent.usage)(reported=False)}))
    assert bench.ledger.spent(0.0) == {limit("a", 100): 70}


def fields_of(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def test_spending_is_dated_later_when_all_answers_have_waited() -> None:
    """In a queue the gateway counts a request after its sending: its room is kept that much longer."""
    bench = Bench({"a": (limit("a", 1000),)})
    bench.offer(*(task(row, "a") for row in range(28)))
    asks = bench.asks()
    for ask in asks[:20]:
        bench.at(1.0).land(ask, reply(input=10, output=5))
    for ask in asks[20:]:
        bench.at(1.3).land(ask, reply(input=10, output=5))
    left = {at: bench.ledger.spent(at)[limit("a", 1000)] for at in (9.9, 10.2, 10.4)}
    assert left == {9.9: 280, 10.2: 10, 10.4: 0}


@pytest.mark.fault("H40", "B14")
def test_landing_twice_is_a_broken_invariant() -> None:
    """One settle for each take: a second landing of the same ask is a bug of the caller."""
    bench = Bench({"a": ()})
    bench.offer(task(0, "a"))
    ask = bench.ask()
    bench.land(ask)
    with pytest.raises(BrokenInvariant, match="row 0"):
        bench.land(ask)


# What a failure leads to.


@pytest.mark.parametrize("seed", range(20))
def test_a_failure_that_may_pass_is_tried_again_after_a_random_time(seed: int) -> None:
    """The delay lies between nothing and a bound that doubles with each attempt, and ends where it was said."""
    bench = Bench({"a": ()}, rng=Random(seed), attempts=4)
    bench.offer(task(0, "a"))
    for attempt in range(1, 4):
        landing = bench.land(bench.ask(), failure(Kind.SERVER_ERROR))
        assert landing.retry_at is not None
        assert 0 <= landing.retry_at - bench.now <= BASE_DELAY * 2**attempt
        assert bench.wait() == landing.retry_at
        bench.at(landing.retry_at)


def test_delays_differ_between_seeds() -> None:
    """Many runners that failed in one instant do not come back in one instant."""
    delays = set()
    for seed in range(20):
        bench = Bench({"a": ()}, rng=Random(seed))
        bench.offer(task(0, "a"))
        delays.add(bench.land(bench.ask(), failure(Kind.SERVER_ERROR)).retry_at)
    assert len(delays) == 20


@pytest.mark.fault("H10")
def test_a_retry_waits_as_long_as_the_gateway_said() -> None:
    """A Retry-After of a 503 replaces the random delay."""
    bench = Bench({"a": ()})
    bench.offer(task(0, "a"))
    assert bench.at(1.0).land(bench.ask(), failure(Kind.OVERLOADED, retry_after=7.0)).retry_at == 8.0


def test_a_task_fails_for_good_after_as_many_attempts_as_are_allowed() -> None:
    """The last failure is the task's outcome, and nothing more is sent."""
    bench = Bench({"a": ()}, attempts=3)
    bench.offer(task(0, "a"))
    bench.scheduler.close()
    actions = []
    for number in range(3):
        landing = bench.at(100.0 * number).land(bench.ask(), failure(Kind.SERVER_ERROR, f"number {number}"))
        actions.append(landing.action)
    assert actions == [Action.RETRY, Action.RETRY, Action.FINISH]
    assert [(end.status, end.result.message) for end in landing.finished] == [(Status.ERRORED, "number 2")]
    assert bench.next() == Done()


@pytest.mark.promise("bounded")
def test_a_refused_task_spends_no_attempt() -> None:
    """The row has all its attempts left, until nobody but the gateway's 429 has answered for twenty windows."""
    bench = Bench({"a": ()}, attempts=1)
    bench.offer(task(0, "a"))
    for number in range(19):
        ask = bench.at(100.0 * number).ask()
        assert bench.land(ask, refusal()).action is Action.REQUEUE
    assert (ask.task.attempts, ask.number) == (0, 19)
    assert bench.land(bench.at(1900.0).ask(), refusal()).action is Action.FINISH


def test_a_refused_task_gives_its_tokens_back() -> None:
    """The gateway counts nothing but the request itself for what it refuses."""
    limits = (limit("a", 100), limit("a", 50, "output"), limit("a", 5, "requests"))
    bench = Bench({"a": limits})
    bench.offer(task(0, "a", input=100, cap=50))
    bench.land(bench.ask(), refusal())
    assert list(bench.ledger.spent(0.0).values()) == [0, 0, 1]


def test_a_refusal_closes_the_model_that_it_names() -> None:
    """A 429 for one model stops that model, not the request alone, and no other model."""
    bench = Bench({"a": (), "b": ()})
    bench.offer(task(0, "a"))
    assert bench.land(bench.ask(), refusal(retry_after=5.0)).closed == "a"
    bench.offer(task(1, "a"), task(2, "b"))
    assert bench.rows() == [2]


def test_a_refusal_of_all_closes_all() -> None:
    """Where the combined limit was hit, every model waits."""
    bench = Bench({"a": (), "b": ()})
    bench.offer(task(0, "a"), task(1, "b"))
    assert bench.land(bench.ask(), refusal("all", retry_after=5.0)).closed == ALL
    assert bench.rows() == []
    assert 5.0 <= bench.wait() <= 5.1


@pytest.mark.fault("H1")
def test_after_a_refusal_one_request_goes_first_and_then_all() -> None:
    """Nothing is sent before Retry-After; then a single probe; its answer lets the rest follow."""
    bench = Bench({"a": ()})
    bench.offer(*(task(row, "a") for row in range(5)))
    bench.land(bench.ask(), refusal(retry_after=5.0))
    assert bench.at(4.99).rows() == []
    probes = bench.at(bench.wait()).asks()
    assert [ask.task.row for ask in probes] == [1]
    assert bench.wait() > bench.now
    bench.at(6.0).land(probes[0])
    assert bench.rows() == [2, 3, 4, 0]


def test_a_task_that_is_refused_alone_lets_others_go_first() -> None:
    """It may be larger than what the gateway lets in, and must not be the only one that ever knocks."""
    bench = Bench({"a": ()})
    bench.offer(task(0, "a"), task(1, "a"))
    bench.land(bench.ask(), refusal(retry_after=5.0))
    assert bench.at(6.0).ask().task.row == 1


def test_a_task_that_is_refused_while_others_are_answered_is_given_up() -> None:
    """A request that the gateway never lets in ends as errored; waiting for ever would be no better."""
    bench, ends = Bench({"a": ()}), []
    bench.offer(task(0, "a"))
    for turn in range(1, 200):
        bench.offer(task(turn, "a"))
        for ask in iter(bench.at(10.0 * turn).next_or_none, None):
            landing = bench.land(ask, refusal(retry_after=1.0) if ask.task.row == 0 else None)
            ends += [finished for finished in landing.finished if finished.task.row == 0]
    assert [finished.status for finished in ends] == [Status.ERRORED]
    assert "refused 20 times, alone or while others were answered" in ends[0].result.message


def test_a_probe_that_is_refused_closes_its_model_again() -> None:
    """Nothing but an answer opens the way for more than one."""
    bench = Bench({"a": ()})
    bench.offer(task(0, "a"), task(1, "a"))
    bench.land(bench.ask(), refusal(retry_after=5.0))
    bench.land(bench.at(6.0).ask(), refusal(retry_after=5.0))
    assert bench.rows() == []
    assert len(bench.at(12.0).asks()) == 1


def test_a_probe_that_is_found_at_fault_opens_its_model() -> None:
    """A gateway that says what is wrong with a row has looked at it: it answers again."""
    bench = Bench({"a": ()})
    bench.offer(*(task(row, "a") for row in range(4)))
    bench.land(bench.ask(), refusal(retry_after=5.0))
    bench.land(bench.at(6.0).ask(), failure(Kind.INVALID_REQUEST))
    assert bench.rows() == [2, 3, 0]


@pytest.mark.fault("B11")
@pytest.mark.parametrize(("ambiguous", "left"), [(True, 100), (False, 0)])
def test_an_ambiguous_failure_keeps_its_reservation(ambiguous: bool, left: int) -> None:
    """What may have been processed counts in full for a window; what surely was not, counts nothing."""
    bench = Bench({"a": (limit("a", 100),)})
    bench.offer(task(0, "a", input=100))
    ask = bench.ask()
    bench.at(1.0).land(ask, failure(Kind.TIMEOUT, ambiguous=ambiguous))
    assert bench.ledger.spent(9.9) == {limit("a", 100): left}
    assert bench.ledger.spent(10.0) == {limit("a", 100): 0}


@pytest.mark.fault("H20")
def test_a_model_that_cannot_be_used_leaves_its_pool() -> None:
    """The rows that others can answer go to the others; those that only it can answer end as errored."""
    bench = Bench({"a": (limit("a", 10),), "b": ()})
    bench.offer(task(0, "a"), task(1, "a"), task(2, "a", "b"), task(3, "a", "b"))
    asks = {ask.model: ask for ask in bench.asks()}
    landing = bench.land(asks["a"], failure(Kind.MODEL_UNAVAILABLE))
    assert landing.action is Action.MOVE
    assert [(end.task.row, end.status) for end in landing.finished] == [(1, Status.ERRORED), (0, Status.ERRORED)]
    assert bench.scheduler.queued == 0


def test_a_task_of_a_pool_moves_on_from_a_model_that_cannot_be_used() -> None:
    """The very task that found it out is asked of another model, and loses no attempt."""
    bench = Bench({"a": (), "b": ()})
    bench.offer(task(0, "a", "b"))
    first = bench.ask()
    assert bench.land(first, failure(Kind.MODEL_UNAVAILABLE)).finished == ()
    second = bench.ask()
    assert (second.task.row, second.task.attempts) == (0, 0)
    assert {first.model, second.model} == {"a", "b"}


def test_a_task_offered_for_a_model_that_cannot_be_used_ends_at_once() -> None:
    """Rows read after the model was given up have the same outcome as those before."""
    bench = Bench({"a": ()})
    bench.offer(task(0, "a"))
    bench.land(bench.ask(), failure(Kind.MODEL_UNAVAILABLE, "gone"))
    finished = bench.scheduler.offer(task(1, "a"))
    assert finished is not None
    assert (finished.status, finished.result.message) == (Status.ERRORED, "gone")


def test_a_task_that_waits_for_an_attempt_ends_when_its_model_is_given_up() -> None:
    """Every task ends exactly once, also one that was waiting for its delay when its model was lost."""
    bench = Bench({"a": ()})
    bench.offer(task(0, "a"), task(1, "a"))
    bench.scheduler.close()
    first, second = bench.asks()
    ends = [*bench.land(first, failure(Kind.SERVER_ERROR)).finished]
    ends += bench.land(second, failure(Kind.MODEL_UNAVAILABLE)).finished
    assert bench.at(100.0).next() == Done()
    ends += [Finished(left, "a", Status.ERRORED, reply()) for left in bench.scheduler.leftover()]
    assert sorted(end.task.row for end in ends) == [0, 1]


def test_a_task_under_way_to_a_model_that_is_given_up_is_not_tried_again() -> None:
    """A failure that lands after its only model was lost is the task's last one, with attempts left or not."""
    bench = Bench({"a": ()})
    bench.offer(task(0, "a"), task(1, "a"))
    first, second = bench.asks()
    bench.land(first, failure(Kind.MODEL_UNAVAILABLE))
    landing = bench.land(second, failure(Kind.SERVER_ERROR))
    assert [(end.task.row, end.status) for end in landing.finished] == [(1, Status.ERRORED)]


def test_an_older_task_that_comes_back_does_not_lock_a_model_that_is_kept_free() -> None:
    """What was refused returns to the front of its line, before the task that its model is kept free for."""
    bench = Bench({"a": (limit("a", 100),)})
    bench.offer(task(0, "a", input=60), task(1, "a", input=60), task(2, "a", input=2))
    refused, _ = bench.asks()
    bench.at(6.0).offer(task(3, "a", input=60))
    assert bench.rows() == []  # row 1 was passed by row 2: the model is kept free for it
    bench.land(refused, refusal(retry_after=1.0))
    probe = bench.at(8.0).ask()
    assert probe.task.row == 0
    bench.land(probe, failure(Kind.INVALID_REQUEST))
    assert bench.rows() == [1]


@pytest.mark.fault("H7")
def test_a_model_without_quota_keeps_its_own_rows_and_gives_the_pools_away() -> None:
    """What only it can answer stays for a later resume; the rest is answered by others now."""
    bench = Bench({"a": (), "b": ()})
    bench.offer(task(0, "a"), task(1, "a"))
    bench.scheduler.close()
    asks = bench.asks()
    bench.offer(task(2, "a"), task(3, "a", "b"))
    assert bench.land(asks[0], failure(Kind.QUOTA_EXHAUSTED, scope="model")).action is Action.PEND
    moved = bench.asks()
    assert [(ask.task.row, ask.model) for ask in moved] == [(3, "b")]
    bench.land(asks[1])
    bench.land(moved[0])
    assert bench.next() == Done()
    assert set(bench.scheduler.pending_models) == {"a"}
    assert bench.scheduler.left


def test_tasks_that_only_used_up_models_may_answer_are_let_go_of() -> None:
    """The input has them for the next session, and may have millions."""
    bench = Bench({"a": (), "b": ()})
    bench.offer(*(task(row, "a") for row in range(3)), task(3, "b"))
    first, *others = bench.asks()
    bench.land(first, failure(Kind.QUOTA_EXHAUSTED, scope="model"))
    bench.offer(*(task(row, "a") for row in range(4, 100)))
    assert bench.scheduler.queued == 0
    for ask in others:
        bench.land(ask)
    assert list(bench.scheduler.leftover()) == []
    assert isinstance(bench.next(), Wait)  # there may be more for b


def test_a_task_of_a_lost_and_a_used_up_model_is_one_for_a_later_session() -> None:
    """The lost one is not waited for; where all are lost there is no later session for it."""
    bench = Bench({"a": (), "b": (), "c": ()})
    bench.offer(task(0, "a"), task(1, "b"), task(2, "c"))
    first, second, _ = bench.asks()
    assert not bench.scheduler.is_shelved(task(3, "a", "b"))
    bench.land(first, failure(Kind.MODEL_UNAVAILABLE, scope="model"))
    assert not bench.scheduler.is_shelved(task(4, "a"))
    bench.land(second, failure(Kind.QUOTA_EXHAUSTED, scope="model"))
    assert bench.scheduler.is_shelved(task(5, "a", "b"))
    assert not bench.scheduler.is_shelved(task(6, "a", "b", "c"))


def test_a_model_that_is_asked_only_about_answers_of_others_keeps_no_run_going() -> None:
    """Nothing falls due any more where those are used up; what is due already is asked."""
    bench = Bench({"a": (), "b": ()}, held_back={"b"})
    bench.offer(task(0, "a"), task(1, "b"))
    first, due = bench.asks()
    bench.land(first, failure(Kind.QUOTA_EXHAUSTED, scope="model"))
    bench.offer(task(2, "b"))
    assert bench.scheduler.takes_more
    late = bench.ask()
    bench.land(due)
    bench.land(late)
    assert bench.next() == Done()


def test_a_run_is_done_when_all_models_are_used_up_whatever_else_is_to_come() -> None:
    """Reading on would only find more that nobody may answer."""
    bench = Bench({"a": (), "b": ()})
    bench.offer(task(0, "a"), task(1, "b"))
    first, second = bench.asks()
    bench.land(first, failure(Kind.QUOTA_EXHAUSTED, scope="model"))
    assert isinstance(bench.next(), Wait)
    bench.land(second, failure(Kind.QUOTA_EXHAUSTED, scope="model"))
    assert bench.next() == Done()
    assert bench.scheduler.left


@pytest.mark.fault("H18", "H35", "H36")
@pytest.mark.parametrize("kind", [Kind.UNAUTHORIZED, Kind.REDIRECTED, Kind.CERTIFICATE])
def test_a_failure_that_no_row_can_escape_stops_the_run(kind: Kind) -> None:
    """Nothing more is sent; what is under way lands; the rows stay as they are for a later resume."""
    bench = Bench({"a": ()})
    bench.offer(*(task(row, "a") for row in range(2)))
    first, second = bench.asks()
    bench.offer(task(2, "a"))
    stopped = failure(kind)
    assert bench.land(first, stopped).action is Action.STOP
    assert bench.rows() == []
    bench.land(second)
    assert bench.next() == Done()
    assert bench.scheduler.stopped == stopped
    assert sorted(left.row for left in bench.scheduler.leftover()) == [0, 2]


def test_a_row_at_fault_ends_at_once() -> None:
    """What can never pass is not tried again."""
    bench = Bench({"a": ()})
    bench.offer(task(0, "a"))
    landing = bench.land(bench.ask(), failure(Kind.INVALID_REQUEST))
    assert [(end.task.row, end.status) for end in landing.finished] == [(0, Status.ERRORED)]


@pytest.mark.fault("H11")
def test_many_outages_in_a_row_cost_the_rows_nothing() -> None:
    """When the model is down, rows wait for it rather than use their attempts up one after the other."""
    bench = Bench({"a": ()}, attempts=3)
    bench.offer(*(task(row, "a") for row in range(20)))
    ends: list[Finished] = []
    for round_ in range(40):
        for ask in bench.at(100.0 * round_).asks():
            ends += bench.land(ask, failure(Kind.SERVER_ERROR)).finished
    assert ends == []
    assert bench.scheduler.queued == 20


@pytest.mark.fault("H11")
def test_a_row_that_fails_among_others_while_nobody_is_answered_keeps_its_attempts() -> None:
    """In an outage that is not yet known as one, because little is sent to each of the models."""
    bench = Bench(dict.fromkeys("abcdef", ()), attempts=2)
    bench.offer(task(0, *"abcdef"), task(1, *"abcdef"))
    ends: list[Finished] = []
    for round_ in range(5):
        for ask in bench.at(100.0 * round_).asks():
            ends += bench.land(ask, failure(Kind.SERVER_ERROR)).finished
    assert ends == []


def test_rows_that_fail_again_and_again_while_others_are_answered_end() -> None:
    """They are to blame, however many they are."""
    bench = Bench({"a": ()}, attempts=3)
    bench.offer(task(0, "a"), task(1, "a"))
    ends: list[Finished] = []
    for round_ in range(3):
        bench.offer(task(2 + round_, "a"))
        for ask in sorted(bench.at(100.0 * round_).asks(), key=lambda ask: -ask.task.row):
            if ask.task.row < 2:
                ends += bench.land(ask, failure(Kind.SERVER_ERROR)).finished
            else:
                bench.land(ask)
    assert sorted((end.task.row, end.status) for end in ends) == [(0, Status.ERRORED), (1, Status.ERRORED)]


def test_the_first_failure_of_each_row_counts_though_nobody_was_ever_answered() -> None:
    """Who allows a single attempt gets no second one."""
    bench = Bench({"a": ()}, attempts=1)
    bench.offer(task(0, "a"), task(1, "a"))
    ends = [bench.land(ask, failure(Kind.SERVER_ERROR)).finished for ask in bench.asks()]
    assert [len(end) for end in ends] == [1, 1]


def test_a_row_that_fails_again_and_again_alone_ends() -> None:
    """Nothing says that the model is down."""
    bench = Bench({"a": ()}, attempts=3)
    bench.offer(task(0, "a"))
    ends = [bench.at(100.0 * round_).land(bench.ask(), failure(Kind.SERVER_ERROR)).finished for round_ in range(3)]
    assert [len(end) for end in ends] == [0, 0, 1]


def test_the_time_of_failing_counts_from_the_first_failure_and_ends_with_an_answer() -> None:
    """Patience is measured by it: from the sending of the first request that failed."""
    bench = Bench({"a": ()})
    bench.offer(task(0, "a"), task(1, "a"), task(2, "a"))
    bench.at(1.0)
    asks = bench.asks()
    bench.at(2.0).land(asks[0], failure(Kind.DISCONNECTED))
    bench.at(3.0).land(asks[1], failure(Kind.DISCONNECTED))
    assert bench.scheduler.failing_since == 1.0
    bench.at(4.0).land(asks[2])
    assert (bench.scheduler.failing_since, bench.scheduler.last_answer) == (None, 4.0)


def test_the_time_of_failing_begins_with_the_last_answer_where_that_is_younger_than_what_failed() -> None:
    """What hung for long says nothing of the time in which others were answered."""
    bench = Bench({"a": ()})
    bench.offer(task(0, "a"), task(1, "a"))
    first, second = bench.asks()
    bench.at(100.0).land(second)
    bench.at(700.0).land(first, failure(Kind.TIMEOUT))
    assert bench.scheduler.failing_since == 100.0


def test_a_row_that_is_alone_loses_no_more_attempts_once_its_model_is_known_to_be_down() -> None:
    """Patience ends such a run, not its row's attempts."""
    bench = Bench({"a": ()}, attempts=10)
    bench.offer(task(0, "a"))
    actions = [bench.at(100.0 * round_).land(bench.ask(), failure(Kind.SERVER_ERROR)).action for round_ in range(20)]
    assert actions[6:] == [Action.RETRY, *[Action.REQUEUE] * 13]


def test_a_refusal_is_a_sign_of_life() -> None:
    """A gateway that says 429 to the only request under way is not down, however long nothing else was sent."""
    bench = Bench({"a": ()})
    bench.offer(task(0, "a"))
    bench.land(bench.ask(), failure(Kind.UNREACHABLE))
    bench.at(100.0).land(bench.ask(), refusal(retry_after=1.0))
    assert (bench.scheduler.failing_since, bench.scheduler.last_answer) == (None, 100.0)


def test_a_refusal_that_was_to_be_expected_makes_way_for_another_request() -> None:
    """Where only one may be under way, one that was sent to find out about a limit must not stay the one for ever."""

    class Expecting(MemoryLedger):
        def refused(self, lease: Lease, failure: Failure, now: float, sent_at: float = -math.inf) -> Refused:
            return Refused.EXPECTED if now > 10.0 else Refused.UNKNOWN

    bench = Bench({"a": ()}, ledger=Expecting({"a": ()}))
    bench.offer(task(0, "a"), task(1, "a"))
    for ask in bench.asks():
        bench.land(ask, refusal(retry_after=5.0))
    bench.at(20.0).land(bench.ask(), refusal())
    assert isinstance(bench.at(21.0).next(), Ask)


# What the user allows in all.


def test_no_more_tokens_are_spent_than_allowed() -> None:
    """What is in flight counts as spent; the first task beyond stops the run, once nothing is."""
    bench = Bench({"a": ()}, caps=Caps(max_total_tokens=40))
    bench.offer(*(task(row, "a", input=10, cap=5) for row in range(5)))
    asks = bench.asks()
    assert len(asks) == 2
    assert bench.scheduler.stopped is None
    for ask in asks:
        bench.land(ask, reply(input=10, output=5))
    assert bench.next() == Done()
    assert "--max-total-tokens 40" in str(bench.scheduler.stopped)


def test_what_is_only_held_for_requests_under_way_stops_no_run() -> None:
    """Answers cost a part of what they may."""
    bench = Bench({"a": ()}, caps=Caps(max_total_tokens=130))
    bench.offer(*(task(row, "a", input=10, cap=80) for row in range(4)))
    for row in range(4):
        (ask,) = bench.asks()
        assert ask.task.row == row
        bench.land(ask, reply(input=10, output=1))
    bench.scheduler.close()
    assert (bench.next(), bench.scheduler.stopped) == (Done(), None)


def test_tokens_that_were_not_used_can_be_spent_again() -> None:
    """A reservation is replaced by the truth before the next decision."""
    bench = Bench({"a": ()}, caps=Caps(max_total_tokens=40))
    bench.offer(task(0, "a", input=10, cap=25))
    bench.land(bench.ask(), reply(input=10, output=5))
    bench.offer(task(1, "a", input=20, cap=5))
    assert bench.rows() == [1]


def test_no_more_dollars_are_spent_than_allowed() -> None:
    """A request counts with its whole cap, by the catalogue's price, before it is sent."""
    one = (100 * 1.0 + 10 * 10.0) / 1e6
    bench = Bench({"a": ()}, caps=Caps(max_cost=2.5 * one))
    bench.offer(*(task(row, "a", input=100, cap=10) for row in range(5)))
    for ask in bench.asks():
        bench.land(ask, reply(input=100, output=10))
    assert bench.next() == Done()
    assert bench.scheduler._spending.cost == pytest.approx(2 * one)
    assert "--max-cost" in str(bench.scheduler.stopped)


def test_nothing_is_sent_after_the_deadline() -> None:
    """What is under way may land; the run is then done, though tasks are left."""
    bench = Bench({"a": (limit("a", 10),)}, caps=Caps(deadline=15.0))
    bench.offer(*(task(row, "a") for row in range(3)))
    bench.land(bench.ask())
    last = bench.at(14.0).ask()
    assert bench.at(15.0).rows() == []
    bench.land(last)
    assert bench.next() == Done()
    assert bench.scheduler.stopped == "--deadline: 15 seconds are over"


def test_a_deadline_ends_a_wait_that_goes_beyond_it() -> None:
    """A run that waits for room ends on time, not when the room is there."""
    bench = Bench({"a": (limit("a", 10),)}, caps=Caps(deadline=4.0))
    bench.offer(task(0, "a"), task(1, "a"))
    bench.land(bench.ask())
    assert bench.wait() == 4.0
    assert bench.at(4.0).next() == Done()


def test_a_deadline_that_passes_when_all_is_sent_stops_nothing() -> None:
    """A run whose work is done is complete, whenever its last answer comes."""
    bench = Bench({"a": ()}, caps=Caps(deadline=4.0))
    bench.offer(task(0, "a"))
    bench.scheduler.close()
    last = bench.ask()
    bench.at(5.0).next()
    bench.land(last)
    assert (bench.next(), bench.scheduler.stopped) == (Done(), None)


def test_the_first_reason_to_stop_is_the_one_that_is_kept() -> None:
    """What comes after it is a consequence."""
    bench = Bench({"a": ()})
    bench.scheduler.stop("first")
    bench.scheduler.stop("second")
    assert bench.scheduler.stopped == "first"


@pytest.mark.parametrize(
    ("held_up", "reason"),
    [
        (refusal(retry_after=5.0), Cause.COOL_DOWN),
        (failure(Kind.UNREACHABLE), Cause.OUTAGE),
        (failure(Kind.OVERLOADED, retry_after=5.0), Cause.OUTAGE),
        (failure(Kind.QUOTA_EXHAUSTED), Cause.QUOTA),
        (reply(input=10), Cause.INPUT),
    ],
)
def test_what_a_model_waits_for_can_be_told(held_up: Reply | Failure, reason: Cause) -> None:
    """The progress line and the plan say what holds a model up."""
    bench = Bench({"a": (limit("a", 10),)})
    bench.offer(task(0, "a"), task(1, "a"))
    bench.at(1.0).land(bench.ask(), held_up)
    assert bench.rows() == []
    assert bench.scheduler.waiting_for(2.0)["a"] == (reason,)


def test_a_model_that_nothing_holds_up_waits_for_us() -> None:
    """A model that merely has not been asked yet; one without work is not listed."""
    bench = Bench({"a": (), "b": ()})
    bench.offer(task(0, "a"))
    assert bench.scheduler.waiting_for(0.0) == {"a": (Cause.OWN_WORK,)}


def test_a_model_that_two_limits_hold_up_waits_for_both() -> None:
    """A large row lacks room for its input, a small one room for its output."""
    bench = Bench({"a": (limit("a", 100), limit("a", 20, "output"))})
    bench.offer(task(0, "a", input=40, cap=12), task(1, "a", input=70, cap=1), task(2, "a", input=1, cap=9))
    assert bench.rows() == [0]
    assert bench.scheduler.waiting_for(0.0) == {"a": (Cause.INPUT, Cause.OUTPUT)}


def test_a_limit_that_all_models_share_is_told_apart_from_their_own() -> None:
    """What to raise is another thing."""
    combined = limit(ALL, 10)
    bench = Bench({"a": (limit("a", 100), combined), "b": (limit("b", 10), combined)})
    bench.offer(task(0, "a"), task(1, "a"))
    bench.ask()
    assert bench.rows() == []
    assert bench.scheduler.waiting_for(0.0) == {"a": (Cause.COMBINED_INPUT,)}


def test_too_many_requests_under_way_hold_up_what_no_limit_does() -> None:
    """A model that a limit holds up would not be sent more if fewer were under way."""
    bench = Bench({"a": (), "b": (limit("b", 10),)}, most_in_flight=2)
    bench.offer(task(0, "b"), task(1, "b"))
    bench.ask()
    bench.next()
    bench.offer(task(2, "a"), task(3, "a"))
    bench.ask()
    assert bench.rows() == []
    assert bench.scheduler.waiting_for(0.0) == {"a": (Cause.CONGESTION,), "b": (Cause.INPUT,)}


@pytest.mark.parametrize(
    ("step", "cause"), [("all sent", Cause.ANSWERS), ("stopped", Cause.ANSWERS), ("more to come", Cause.READING)]
)
def test_where_no_model_has_work_the_run_itself_waits(step: str, cause: Cause) -> None:
    """For answers, or for rows."""
    bench = Bench({"a": (limit("a", 10),)})
    bench.offer(task(0, "a"))
    bench.ask()
    if step == "stopped":
        bench.offer(task(1, "a"))
        bench.scheduler.stop("enough")
    elif step == "all sent":
        bench.scheduler.close()
    assert bench.scheduler.waiting_for(0.0) == {"": (cause,)}


def test_a_run_with_nothing_but_failed_tasks_waits_for_their_next_attempt() -> None:
    """It is a pause of our own making."""
    bench = Bench({"a": ()})
    bench.offer(task(0, "a"))
    bench.scheduler.close()
    bench.land(bench.ask(), failure(Kind.SERVER_ERROR))
    assert bench.scheduler.waiting_for(0.0) == {"": (Cause.RETRY,)}


def test_of_the_last_tasks_the_largest_goes_first() -> None:
    """What takes longest must not begin last; while more may come, the oldest goes first."""
    limits = (Limit(scope="a", measure="input", amount=1000, window=60.0),)
    bench = Bench({"a": limits})
    bench.offer(task(0, "a", input=10), task(1, "a", input=500), task(2, "a", input=100))
    assert bench.ask().task.row == 0
    bench.scheduler.close()
    assert bench.rows() == [1, 2]


CRUMBS = ("a", "b", "c", "d")
"""Models that spend all of a shared limit in small tasks: what comes back of it is never much."""


def crumbs(bench: Bench, *large: Task, steps: int = 400, at: int = 105) -> dict[int, float]:
    """Small tasks for ever, others among them from some step on; seconds until these were sent, by row, from now on.

    Steps are 0.1 s.
    """
    began = bench.now
    numbers = iter(range(10_000))
    wanted, sent_at = {each.row for each in large}, {}
    for step in range(steps):
        bench.at(began + step / 10).offer(*(task(next(numbers), *CRUMBS, input=2) for _ in range(2)))
        if step == at:
            bench.offer(*large)
        for ask in bench.asks():
            if ask.task.row in wanted:
                sent_at[ask.task.row] = bench.now - began
            bench.land(ask)
    return sent_at


BEFORE = 4.0
"""Seconds that the tasks take that came before the large ones."""


@pytest.mark.fault("B15")
@pytest.mark.parametrize("models", [CRUMBS, ("b",)], ids=["pooled", "pinned"])
@pytest.mark.parametrize(("large", "windows"), [(20, 0.65), (60, 0.7), (95, 1.0)])
def test_a_large_task_is_not_passed_for_ever_while_others_spend_what_all_share(
    large: int, windows: float, models: tuple[str, ...]
) -> None:
    """A shared limit comes back in crumbs, and there are always tasks that are small enough for each of them."""
    shared = limit(ALL, 300)
    bench = Bench({name: (limit(name, 100), shared) for name in CRUMBS})
    sent_at = crumbs(bench, task(10_000, *models, input=large))
    assert sent_at[10_000] <= 10.5 + BEFORE + windows * WINDOW


def test_an_outage_makes_no_large_task_wait_longer_afterwards() -> None:
    """Whoever asks whether it is over lets others go first the next time, and counts as the youngest then."""
    shared = limit(ALL, 300)
    bench = Bench({name: (limit(name, 100), shared) for name in CRUMBS})
    bench.offer(*(task(20_000 + number, *CRUMBS, input=2) for number in range(20)))
    probes = 0
    for step in range(4_000):
        for ask in bench.at(step / 10).asks():
            probes += 1
            bench.land(ask, failure(Kind.OVERLOADED))
    assert probes > 300
    assert crumbs(bench, task(10_000, *CRUMBS, input=95))[10_000] <= 10.5 + BEFORE + 1.5 * WINDOW


def test_many_large_tasks_wait_no_longer_than_the_small_ones_that_came_after_them() -> None:
    """Each needs its own room only, once it was passed for half a window: their turn comes by age."""
    shared = limit(ALL, 300)
    bench = Bench({name: (limit(name, 100), shared) for name in CRUMBS})
    sent_at = crumbs(bench, *(task(10_000 + number, *CRUMBS, input=15) for number in range(10)))
    assert len(sent_at) == 10
    assert max(sent_at.values()) <= 10.5 + BEFORE + 0.5 * WINDOW + 10 * 15 / 30 + 1.0  # 30 tokens a second


GONE = [Kind.QUOTA_EXHAUSTED, Kind.MODEL_UNAVAILABLE]
"""Failures after which a model takes no more."""


@pytest.mark.fault("B15")
@pytest.mark.parametrize("kind", GONE)
@pytest.mark.parametrize("when", ["before", "after"])
def test_rows_that_nobody_may_answer_put_off_no_large_task_behind_them(when: str, kind: Kind) -> None:
    """They are as old as it and never sent: whose turn it is does not wait for them."""
    bench = Bench({"a": (limit("a", 100),), "b": (limit("b", 100),)})
    pinned = [task(1_000 + number, "a", input=2) for number in range(500)]
    bench.offer(task(0, "a"), *(pinned if when == "before" else ()))
    bench.land(bench.ask(), failure(kind, scope="model"))
    for each in pinned if when == "after" else ():
        bench.scheduler.offer(each)
    sent_at = math.inf
    for step in range(250):
        bench.at(step * 0.15).offer(task(10_000 + step, "b", input=2))
        if step == 70:
            bench.offer(task(1, "b", input=80))
        for ask in bench.asks():
            sent_at = min(sent_at, bench.now) if ask.task.row == 1 else sent_at
            bench.land(ask)
    assert sent_at <= 10.5 + BEFORE + WINDOW


@pytest.mark.fault("B15")
@pytest.mark.parametrize("kind", GONE)
def test_a_large_task_is_taken_by_another_model_where_the_one_that_was_kept_free_for_it_leaves(kind: Kind) -> None:
    """What was kept for it is of no use any more, and keeps nothing else from being kept."""
    bench = Bench({"a": (limit("a", 100),), "b": (limit("b", 100),)})
    under_way: dict[str, Ask] = {}
    rows, sent_at, left = iter(range(2, 10_000)), math.inf, False
    for step in range(300):
        bench.at(step * 0.15).offer(*(task(next(rows), "a", "b", input=2) for _ in range(2)))
        if step == 70:
            bench.offer(task(1, "a", "b", input=80))
        if bench.now > 10.5 + BEFORE + WINDOW / 2 and not left:
            left = bool(bench.land(under_way.pop("a"), failure(kind, scope="model")))
        for ask in bench.asks():
            sent_at = min(sent_at, bench.now) if ask.task.row == 1 else sent_at
            before, under_way[ask.model] = under_way.get(ask.model), ask
            if before is not None:
                bench.land(before)
    assert left
    assert sent_at <= 10.5 + BEFORE + 1.5 * WINDOW


def test_what_is_remembered_of_whose_turn_it_was_is_bounded() -> None:
    """Where everything fits nobody asks for it; and it is all there where somebody does."""
    progress = Progress(lag=5.0, grain=0.05)
    for number in range(1, 10_001):
        progress.reach(number, number / 10)
    assert len(progress._steps) <= 51
    assert progress.before(1000.0) == 9_950


def test_others_work_on_when_the_model_fails_for_whose_task_a_shared_limit_is_kept() -> None:
    """Nobody can tell how long an outage is: what is kept for a pinned task is let go of."""
    shared = limit(ALL, 100)
    bench = Bench({"a": (limit("a", 100), shared), "b": (limit("b", 100), shared)})
    bench.offer(*(task(row, "b", input=10) for row in range(9)), task(9, "a", input=2))
    under_way, *others = bench.asks()
    for ask in others:
        bench.land(ask)
    bench.offer(task(10, "a", input=50), task(11, "b", input=4))
    assert bench.rows() == [11]
    bench.at(6.0).offer(task(12, "b", input=4))
    assert bench.rows() == []  # half a window later, what is left is kept for row 10
    bench.land(under_way, failure(Kind.OVERLOADED, scope="model", retry_after=60.0))
    assert bench.at(7.0).rows() == [12]


def test_nothing_is_kept_for_a_large_task_where_a_border_brings_all_of_a_limit() -> None:
    """There it goes first, and until then others use what is left."""
    budgets = {"a": (limit("a", 1000),)}
    ledger = MemoryLedger(budgets, learns=True, probes=False)
    known = {
        "kind": "calendar",
        "sure": 1.0,
        "amount": 1000,
        "configured": 1000,
        "window": WINDOW,
        "spent": "",
        "until": 0.0,
    }
    ledger.recall({limit_key(budgets["a"][0]): {**known, "border": 0.0, "early": 0.0}}, 0.0, 0.0)
    bench = Bench(budgets, ledger=ledger)
    sent_at: dict[int, float] = {}
    bench.offer(task(0, "a", input=400), task(1, "a", input=700))
    for step in range(250):
        bench.at(step / 20)
        if step % 20 == 0:
            bench.offer(task(10 + step, "a", input=20))
        sent_at |= {ask.task.row: bench.now for ask in bench.asks()}
    assert sent_at[190] == 9.0  # half a window after the first of these was sent before row 1, and more
    assert sent_at[1] == pytest.approx(WINDOW, abs=0.2)
