"""What a budget can do to a run, and a run to its budget; the ledgers' and windows' own tests have the rest."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

import pytest

from runner.core.catalog import Model
from runner.core.congestion import START
from runner.core.limits import ALL, Limit
from runner.core.values import Charge, Failure, Kind, Message, Reply, Request, Settings, Status, Usage
from runner.gateway.asking import capped
from runner.gateway.dialects import DIALECTS
from runner.testing import Counted, Judge, ScriptedGateway, failure, reply, task

WINDOW = 60.0
LIMIT = Limit(scope="a", measure="input", amount=1000, window=WINDOW)


def rows(count: int, *, size: int = 10, model: str = "a") -> list[Any]:
    return [task(row, model, input=size) for row in range(count)]


def all_succeeded(count: int) -> dict[int, Status]:
    return dict.fromkeys(range(count), Status.SUCCEEDED)


class Shared(ScriptedGateway):
    """A gateway that somebody else uses as well, who wants so much of the limit and comes back for what was refused."""

    def __init__(self, share: float, **options: Any) -> None:
        super().__init__(limits=[LIMIT], **options)
        self.each = share * LIMIT.amount / WINDOW
        self.used: list[tuple[float, int]] = []
        """What they were let in with, and when."""

    async def be_used(self) -> None:
        """Be that somebody: once a second."""
        owed, loop = 0.0, asyncio.get_running_loop()
        while True:
            owed += self.each
            while owed >= 5 and isinstance(self.judge.admit("a", Charge(1, 5, 0), loop.time()), Counted):
                self.used.append((loop.time(), 5))
                owed -= 5
            await asyncio.sleep(1.0)


@pytest.mark.fault("B4")
@pytest.mark.parametrize("seed", range(3))
def test_a_neighbour_who_wants_a_third_is_not_starved_and_costs_us_little(play_beside: Any, seed: int) -> None:
    """We have few refusals and use what they leave; they get what they want, for they come back."""
    gateway = Shared(0.3, latency=lambda ask: Random(seed * 1000 + ask.task.row).uniform(0.5, 3.0))
    (played,) = play_beside(rows(1400), gateway=gateway, budgets={"a": (LIMIT,)}, learns=True, beside=gateway.be_used)
    assert played.ends == all_succeeded(1400)
    theirs = sum(tokens for _, tokens in gateway.used) / (0.3 * LIMIT.amount * played.ended_at / WINDOW)
    all_used = (14_000 + sum(tokens for _, tokens in gateway.used)) / (LIMIT.amount * (played.ended_at / WINDOW + 1))
    assert gateway.refused <= 40
    assert theirs >= 0.9
    assert all_used >= 0.9


@pytest.mark.fault("B5")
def test_two_runs_with_one_token_share_what_there_is(play_beside: Any) -> None:
    """Each takes the other for a lower limit: both finish, with few refusals, and neither much later than the other."""
    gateway = ScriptedGateway(limits=[LIMIT])
    both = play_beside(rows(400), rows(400), gateway=gateway, budgets={"a": (LIMIT,)}, learns=True)
    assert [played.ends for played in both] == [all_succeeded(400)] * 2
    ends = sorted(played.ended_at for played in both)
    least = 800 * 10 / LIMIT.amount * WINDOW - WINDOW
    assert ends[1] <= 1.6 * least
    assert ends[0] >= 0.5 * ends[1]
    assert gateway.refused <= 0.1 * 800


@pytest.mark.fault("B9")
@pytest.mark.parametrize(
    ("dialect", "place"),
    [
        ("chat", ["max_tokens"]),
        ("messages", ["max_tokens"]),
        ("responses", ["max_output_tokens"]),
        ("gemini", ["generationConfig", "maxOutputTokens"]),
    ],
)
@pytest.mark.parametrize("settings", [Settings(), Settings(max_tokens=4096)], ids=["no cap", "another cap"])
def test_the_cap_that_was_reserved_is_the_cap_that_is_sent(dialect: str, place: list[str], settings: Any) -> None:
    """In every dialect, also where nobody gave one: what is not sent the gateway chooses by itself."""
    request = capped(Request(messages=(Message(role="user", content="hello"),), settings=settings), 77)
    value = json.loads(DIALECTS[dialect].encode(request, Model(id="m", provider="Somebody")).body)
    for key in place:
        value = value[key]
    assert value == 77


@pytest.mark.fault("B10")
def test_many_limits_at_once_are_kept_together(play: Any) -> None:
    """Inputs, outputs and requests of each model and the inputs of all: nothing is exceeded, and nothing is stuck."""
    combined = Limit(scope=ALL, measure="input", amount=1500, window=WINDOW)
    budgets = {
        name: (
            Limit(scope=name, measure="input", amount=1000, window=WINDOW),
            Limit(scope=name, measure="output", amount=400, window=WINDOW),
            Limit(scope=name, measure="requests", amount=5, window=1.0),
            Limit(scope=name, measure="requests", amount=100, window=10 * WINDOW),
            combined,
        )
        for name in "ab"
    }
    chance = Random(4)
    tasks = [
        task(
            row,
            *chance.choice([("a",), ("b",), ("a", "b")]),
            input=chance.choice([5, 50, 400]),
            cap=chance.choice([5, 90]),
        )
        for row in range(150)
    ]
    gateway = ScriptedGateway(limits={limit for budget in budgets.values() for limit in budget})
    played = play(tasks, gateway, budgets)
    assert played.ends == all_succeeded(150)
    assert gateway.refused == 0
    assert gateway.judge.most[combined] > 0.9 * combined.amount


class Losing(ScriptedGateway):
    """A gateway that does all it is asked, and whose answers get lost on the way at times."""

    def __init__(self, seed: int, **options: Any) -> None:
        super().__init__(**options)
        self._chance = Random(seed)

    async def __call__(self, ask: Any) -> Reply | Failure:
        result = await super().__call__(ask)
        lost = isinstance(result, Reply) and self._chance.random() < 0.2
        return failure(Kind.TIMEOUT, ambiguous=True) if lost else result


@pytest.mark.fault("B11", "H25", "H31", "H33")
@pytest.mark.parametrize("seed", range(20))
def test_what_an_answer_that_got_lost_cost_stays_counted(play: Any, seed: int) -> None:
    """One in five is lost, and the gateway, which counts them all, has nothing to refuse."""
    gateway = Losing(seed, limits=[LIMIT], latency=lambda ask: Random(ask.task.row).uniform(0.5, 9.0))
    played = play(rows(300), gateway, {"a": (LIMIT,)}, attempts=30)
    assert played.ends == all_succeeded(300)
    assert gateway.refused == 0
    assert gateway.judge.most[LIMIT] <= LIMIT.amount


class Awake(Judge):
    """A judge whose clock goes on while ours sleeps: it is ahead by an hour from the first minute on."""

    def admit(self, model: str, charge: Any, now: float) -> Any:
        return super().admit(model, charge, now + (3600.0 if now > WINDOW else 0.0))


@pytest.mark.fault("B13")
def test_a_machine_that_slept_exceeds_nothing(play: Any) -> None:
    """Our windows look younger than the gateway's: what is sent is less than what would be let in."""
    gateway = ScriptedGateway()
    gateway.judge = Awake([LIMIT])
    played = play(rows(400), gateway, {"a": (LIMIT,)})
    assert played.ends == all_succeeded(400)
    assert gateway.refused == 0


class Strict(Judge):
    """A judge that counts what it refuses, like a gateway by whose rules unsuccessful requests count."""

    def admit(self, model: str, charge: Any, now: float) -> Any:
        refused = super().admit(model, charge, now)
        if isinstance(refused, Limit):
            self._log.append(Counted(now, model, charge))
        return refused


@pytest.mark.fault("B17", "B1")
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_gateway_that_counts_what_it_refuses_is_met_with_patience(play: Any, share: float) -> None:
    """Also where its limit is half of what was said: pauses grow, and no refusal brings on the next for ever."""
    gateway = ScriptedGateway()
    gateway.judge = Strict([Limit(scope="a", measure="input", amount=int(share * LIMIT.amount), window=WINDOW)])
    played = play(rows(400), gateway, {"a": (LIMIT,)}, learns=True)
    assert played.ends == all_succeeded(400)
    assert gateway.refused <= 60
    assert played.ended_at <= 2.5 * 400 * 10 / (share * LIMIT.amount) * WINDOW


@pytest.mark.fault("B19")
def test_a_light_load_raises_nothing(play: Any) -> None:
    """An hour of answers that never waited is no reason to believe in more than there was."""
    slow = [task(row, "a", input=10) for row in range(300)]
    one_each_minute = Limit(scope="a", measure="requests", amount=5, window=WINDOW)
    played = play(slow, ScriptedGateway(limits=[LIMIT]), {"a": (LIMIT, one_each_minute)}, learns=True)
    assert played.ended_at >= 3500.0
    assert [window.belief.amount(played.ended_at) for window in played.ledger.windows] == [LIMIT.amount, 5]
    assert played.scheduler.flights.congestion.allowed <= START


@pytest.mark.fault("H42", "B14")
@pytest.mark.parametrize("told", [0, 1, 10, 5_000])
def test_a_report_that_is_far_from_what_was_reserved_ends_no_run(play: Any, told: int) -> None:
    """More than the whole limit fills its window once; then the run goes on."""

    def script(ask: Any, _number: int) -> Reply:
        tokens = told if ask.task.row == 0 else 10
        return reply(input=tokens) if tokens else reply(usage=Usage(reported=False))

    played = play(rows(250), ScriptedGateway(script), {"a": (LIMIT,)}, learns=True)
    assert played.ends == all_succeeded(250)
    assert played.ended_at <= 5 * WINDOW
