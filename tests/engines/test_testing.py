"""The loop that jumps and the judge: what other tests rely on."""

from __future__ import annotations

import asyncio

import pytest

from runner.core.limits import ALL, Limit
from runner.core.ports import Lease
from runner.core.values import Charge, Failure, Kind, Reply
from runner.core.work import Ask
from runner.testing import Counted, Deadlock, Judge, ScriptedGateway, charge_of, failure, reply, run, task

INPUT = Limit(scope="a", measure="input", amount=100, window=10.0)
COMBINED = Limit(scope=ALL, measure="input", amount=150, window=10.0)


def ask(row: int = 0, model: str = "a", size: int = 10, number: int = 1) -> Ask:
    asked = task(row, model, input=size)
    return Ask(asked, model, Lease(model, charge_of(asked, model), 0.0, []), number, 0.0)


def test_a_year_of_sleep_takes_no_time() -> None:
    """The clock of the loop goes on by exactly what was waited for."""

    async def sleep() -> float:
        await asyncio.sleep(365 * 86_400.0)
        return asyncio.get_running_loop().time()

    assert run(sleep()) == 365 * 86_400.0


def test_timers_fire_in_their_order_and_at_their_times() -> None:
    """Whoever sleeps shorter wakes first, whoever began first."""
    woken: list[tuple[float, str]] = []

    async def sleep(seconds: float, name: str) -> None:
        await asyncio.sleep(seconds)
        woken.append((asyncio.get_running_loop().time(), name))

    async def all_of_them() -> None:
        await asyncio.gather(sleep(3.0, "c"), sleep(1.0, "a"), sleep(2.0, "b"))

    run(all_of_them())
    assert woken == [(1.0, "a"), (2.0, "b"), (3.0, "c")]


def test_time_stands_still_while_there_is_work() -> None:
    """Only an idle loop jumps."""

    async def work() -> float:
        for _ in range(1000):
            await asyncio.sleep(0)
        return asyncio.get_running_loop().time()

    assert run(work()) == 0.0


def test_a_loop_that_nothing_can_wake_says_so() -> None:
    """Where everything waits for what cannot come, a jumping loop raises rather than sleeps."""

    async def hang() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock):
        run(hang())


def test_a_judge_names_the_limit_that_is_exceeded() -> None:
    """Each model's own, or the one that all share."""
    judge = Judge([INPUT, COMBINED])
    assert isinstance(judge.admit("a", Charge(1, 100, 0), 0.0), Counted)
    assert judge.admit("a", Charge(1, 1, 0), 9.9) is INPUT
    assert judge.admit("b", Charge(1, 51, 0), 9.9) is COMBINED
    assert isinstance(judge.admit("a", Charge(1, 1, 0), 10.0), Counted)
    assert judge.most == {INPUT: 100, COMBINED: 100}


def test_a_judge_counts_the_truth_once_it_is_known() -> None:
    """What was admitted for more than it used makes room."""
    judge = Judge([INPUT])
    counted = judge.admit("a", Charge(1, 100, 0), 0.0)
    assert isinstance(counted, Counted)
    counted.charge = Charge(1, 40, 0)
    assert isinstance(judge.admit("a", Charge(1, 60, 0), 0.0), Counted)


def test_a_scripted_gateway_answers_by_its_script_after_its_latency() -> None:
    """And keeps a record of what it was asked."""
    gateway = ScriptedGateway(
        lambda asked, number: failure(Kind.TIMEOUT) if number == 1 else reply(f"row {asked.task.row}"),
        latency=lambda asked: 2.0 + asked.task.row,
    )

    async def both() -> tuple[list[Reply | Failure], float]:
        answers = await asyncio.gather(gateway(ask(0, number=1)), gateway(ask(1, number=2)))
        return answers, asyncio.get_running_loop().time()

    assert run(both()) == ([failure(Kind.TIMEOUT), reply("row 1")], 3.0)
    assert [(sent.at, sent.row, sent.number) for sent in gateway.sent] == [(0.0, 0, 1), (0.0, 1, 2)]
    assert (gateway.most_in_flight, gateway.in_flight) == (2, 0)


def test_a_scripted_gateway_refuses_what_exceeds_its_limits() -> None:
    """With a 429 that names the scope of the limit."""
    gateway = ScriptedGateway(lambda _ask, _number: reply(input=100), limits=[INPUT, COMBINED])

    async def three() -> list[Reply | Failure]:
        return [await gateway(ask(0)), await gateway(ask(1)), await gateway(ask(2, model="b"))]

    answers = run(three())
    assert [answer.scope for answer in answers if isinstance(answer, Failure)] == ["model", "all"]
    assert gateway.refused == 2
