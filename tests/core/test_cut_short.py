"""Answers that a cap has cut short, and caps that the gateway does not take: what becomes of the task."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from runner.core.caps import Caps, Spending
from runner.core.catalog import Model
from runner.core.charges import Charges
from runner.core.estimate import Size
from runner.core.lengths import FIRST_CAP
from runner.core.limits import Limit
from runner.core.retry import Action
from runner.core.schedule import Scheduler
from runner.core.values import Failure, Kind, Outcome, Reply, Request, Status
from runner.core.work import Ask, Done, Landing, Task
from runner.ledgers.memory import MemoryLedger
from runner.testing import failure, reply

WINDOW = 60.0
CEILING = 8_000


class Bench:
    """One model with a limit of output, fed by hand; it answers `length` tokens, as far as the cap lets it."""

    def __init__(self, **model: Any) -> None:
        known = Model(id="m", provider="Somebody", **model)
        budgets = {"m": (Limit(scope="m", measure="output", amount=50_000, window=WINDOW),)}
        self.charges = Charges([known], budgets, WINDOW)
        self.ledger = MemoryLedger(budgets)
        self.now = 0.0
        self.scheduler = Scheduler(
            budgets=budgets,
            ledger=self.ledger,
            charge=self.charges,
            spending=Spending(Caps(), [known], 0.0),
            rng=Random(1),
            window=WINDOW,
            lengths=self.charges.lengths,
        )

    def offer(self, *, cap: int = CEILING, free: bool = True, size: int = 100, body: Any = None) -> None:
        request = Request(body=body)
        task = Task(row=0, models=("m",), size=Size(size), caps={"m": cap}, free=free, request=request)
        self.scheduler.offer(task)
        self.scheduler.close()

    def ask(self) -> Ask:
        decision = self.scheduler.next(self.now)
        assert isinstance(decision, Ask), decision
        return decision

    def land(self, ask: Ask, length: int) -> Landing:
        """An answer of this length, or as much of it as there is room for."""
        cap = ask.lease.charge.output
        outcome = Outcome.TRUNCATED if length > cap else Outcome.OK
        result = reply(input=ask.lease.charge.input, output=min(cap, length), outcome=outcome)
        return self.scheduler.landed(ask, result, self.now)

    def refuse(self, ask: Ask, cap: int) -> Landing:
        return self.scheduler.landed(ask, failure(Kind.INVALID_REQUEST, status=400, cap=cap), self.now)

    def answered(self, length: int) -> tuple[list[int], list[Landing]]:
        """The caps that one task is sent with until it ends, and its landings."""
        caps: list[int] = []
        landings: list[Landing] = []
        while not isinstance(decision := self.scheduler.next(self.now), Done):
            assert isinstance(decision, Ask), decision
            assert len(caps) < 20, "It never ends."
            caps.append(decision.lease.charge.output)
            landings.append(self.land(decision, length))
        return caps, landings


def outcome(landing: Landing) -> Outcome:
    (finished,) = landing.finished
    assert finished.status is Status.SUCCEEDED
    assert isinstance(finished.result, Reply)
    return finished.result.outcome


@pytest.mark.fault("H22")
def test_an_answer_that_our_cap_cut_short_is_asked_again_with_more_room() -> None:
    """Twice as much each time, until it is complete; it ends once, and whole."""
    bench = Bench()
    bench.offer()
    caps, landings = bench.answered(3_000)
    assert caps == [FIRST_CAP, 2 * FIRST_CAP, 4 * FIRST_CAP]
    assert [landing.action for landing in landings] == [Action.REASK, Action.REASK, None]
    assert [len(landing.finished) for landing in landings] == [0, 0, 1]
    assert outcome(landings[-1]) is Outcome.OK


def test_an_answer_that_was_cut_short_is_kept_where_its_model_has_gone_meanwhile() -> None:
    """It is all there is."""
    bench = Bench()
    bench.offer()
    bench.scheduler.offer(Task(row=1, models=("m",), size=Size(100), caps={"m": CEILING}, free=True, request=Request()))
    first, second = bench.ask(), bench.ask()
    bench.scheduler.landed(second, failure(Kind.MODEL_UNAVAILABLE, status=404, scope="model"), bench.now)
    assert outcome(bench.land(first, 3_000)) is Outcome.TRUNCATED


def test_an_answer_that_is_longer_than_the_ceiling_ends_truncated() -> None:
    """After the ceiling there is no more room to give."""
    bench = Bench()
    bench.offer(cap=1_500)
    caps, landings = bench.answered(3_000)
    assert caps == [FIRST_CAP, 1_500]
    assert outcome(landings[-1]) is Outcome.TRUNCATED


def test_a_cap_that_was_given_is_not_exceeded() -> None:
    """An answer that is cut short by it ends so, and is not asked for again."""
    bench = Bench()
    bench.offer(cap=200, free=False)
    caps, landings = bench.answered(3_000)
    assert caps == [200]
    assert outcome(landings[0]) is Outcome.TRUNCATED


def test_an_answer_that_was_refused_or_filtered_is_not_asked_again() -> None:
    """More room would not change it."""
    bench = Bench()
    bench.offer()
    landing = bench.scheduler.landed(bench.ask(), reply(outcome=Outcome.FILTERED), 0.0)
    assert outcome(landing) is Outcome.FILTERED


def test_what_was_cut_short_counts_no_attempt_and_is_paid_for() -> None:
    """It was an answer: its tokens are spent, and the row has as many tries as before."""
    bench = Bench()
    bench.offer()
    ask = bench.ask()
    bench.land(ask, 3_000)
    assert ask.task.attempts == 0
    assert set(bench.ledger.spent(bench.now).values()) == {FIRST_CAP}


@pytest.mark.parametrize("free", [True, False])
def test_a_cap_that_the_gateway_does_not_take_is_lowered_to_what_it_names(free: bool) -> None:
    """The request is sent again at once, without counting an attempt, and later ones keep to it."""
    bench = Bench()
    bench.offer(free=free, cap=900)
    ask = bench.ask()
    landing = bench.refuse(ask, 300)
    assert (landing.action, landing.finished, ask.task.attempts) == (Action.REQUEUE, (), 0)
    caps, landings = bench.answered(200)
    assert caps == [300]
    assert outcome(landings[0]) is Outcome.OK


def test_an_answer_that_the_gateways_own_cap_cuts_short_ends_truncated() -> None:
    """There is no more room to be had at this model."""
    bench = Bench()
    bench.offer(cap=900)
    bench.refuse(bench.ask(), 300)
    caps, landings = bench.answered(3_000)
    assert caps == [300]
    assert outcome(landings[0]) is Outcome.TRUNCATED


def test_a_refused_cap_that_stands_in_a_batch_line_is_the_lines_fault() -> None:
    """Its body is sent as it is: sending it again would end the same way."""
    bench = Bench()
    bench.offer(cap=900, free=False, body={"max_tokens": 900})
    landing = bench.refuse(bench.ask(), 300)
    (finished,) = landing.finished
    assert finished.status is Status.ERRORED
    assert isinstance(finished.result, Failure)


def test_a_gateway_that_names_the_cap_that_was_sent_is_not_asked_for_ever() -> None:
    """A 400 that names what was sent, or more, is a fault of something else."""
    bench = Bench()
    bench.offer(cap=900)
    landing = bench.refuse(bench.ask(), 900)
    assert [finished.status for finished in landing.finished] == [Status.ERRORED]


def test_what_was_learned_of_answers_gives_the_next_ones_their_room() -> None:
    """A job of long answers is not cut short over and over."""
    bench = Bench()
    for _ in range(50):
        bench.charges.lengths.of_model["m"].learn(3_000, 10.0)
    bench.offer()
    caps, landings = bench.answered(3_100)
    assert len(caps) == 1
    assert outcome(landings[0]) is Outcome.OK


def test_an_answer_that_had_all_the_room_of_the_context_window_ends_as_truncated() -> None:
    """There is no more to give, so it is not asked for again."""
    bench = Bench(context_tokens=1_000)
    bench.offer(size=700)
    _caps, landings = bench.answered(3_000)
    assert outcome(landings[-1]) is Outcome.TRUNCATED
