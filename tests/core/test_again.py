"""Answers that cannot be read: what the model is told, what that costs, and when it is the last word."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from runner.core.again import NOTHING, AskingAgain
from runner.core.answers import Answer, Invalid, Reader
from runner.core.caps import Caps, Spending
from runner.core.catalog import Model
from runner.core.charges import Charges
from runner.core.estimate import PER_MESSAGE, Size
from runner.core.limits import Limit
from runner.core.retry import Action
from runner.core.schedule import Scheduler
from runner.core.tally import Tally
from runner.core.values import Message, Outcome, Reply, Request, Status
from runner.core.work import Done, Landing, Task
from runner.engines.local import Engine
from runner.ledgers.memory import MemoryLedger
from runner.testing import ScriptedGateway, failure, reply, run

WINDOW = 60.0
READER = Reader(kind="label", labels=("spam", "ham"))
ASKED = (Message(role="user", content="Is it spam?"),)


def words(text: str) -> int:
    return len(text.split())


class Bench:
    """Models with a limit of input, whose answers are labels; `script` is what they say, one after the other."""

    def __init__(self, *, asks: int = 2, models: tuple[str, ...] = ("m",), largest: int = 10_000) -> None:
        known = [Model(id=name, provider="Somebody") for name in models]
        budgets = {name: (Limit(scope=name, measure="input", amount=50_000, window=WINDOW),) for name in models}
        self.charges = Charges(known, budgets, WINDOW)
        self.ledger = MemoryLedger(budgets)
        self.scheduler = Scheduler(
            budgets=budgets,
            ledger=self.ledger,
            charge=self.charges,
            spending=Spending(Caps(), known, 0.0),
            rng=Random(1),
            window=WINDOW,
            lengths=self.charges.lengths,
            again=AskingAgain(READER, asks, self.read, words, lambda _task, size: size.text <= largest),
        )
        self.task = Task(
            row=0, models=models, size=Size(100), caps=dict.fromkeys(models, 50), request=Request(messages=ASKED)
        )

    @staticmethod
    def read(text: str, _source: str) -> Answer | Invalid:
        return READER.read(text)

    def answered(self, *script: Any) -> list[Landing]:
        """The landings of the task, whose replies are these texts or replies."""
        self.scheduler.offer(self.task)
        self.scheduler.close()
        landings = []
        for said in script:
            ask = self.scheduler.next(0.0)
            assert not isinstance(ask, Done), f"nobody asks, and {said!r} was to be said"
            result = said if not isinstance(said, str) else reply(said, input=ask.lease.charge.input)  # type: ignore[union-attr]
            landings.append(self.scheduler.landed(ask, result, 0.0))  # type: ignore[arg-type]
        assert isinstance(self.scheduler.next(0.0), Done)
        return landings


def last(landings: list[Landing]) -> Reply:
    (finished,) = landings[-1].finished
    assert finished.status is Status.SUCCEEDED
    assert isinstance(finished.result, Reply)
    return finished.result


def test_an_answer_that_can_be_read_is_the_last_word() -> None:
    """Nothing is asked twice for nothing, and a repaired answer is an answer."""
    for text in ("spam", '```json\n{"label": "SPAM"}\n```'):
        assert [landing.action for landing in Bench().answered(text)] == [None]


def test_an_answer_that_cannot_be_read_is_shown_to_the_model_with_what_is_wrong() -> None:
    """What was asked, what it said, and the instruction, as three turns."""
    bench = Bench()
    landings = bench.answered("no idea", "ham")
    assert [landing.action for landing in landings] == [Action.REASK, None]
    assert last(landings).text == "ham"
    first, said, told = bench.task.request.messages
    assert (first, said.role, said.content, told.role) == (*ASKED, "assistant", "no idea", "user")
    assert "Answer with one of these only: spam, ham." in str(told.content)


def test_each_asking_shows_what_was_said_last() -> None:
    """The conversation grows, so that no mistake is made twice."""
    bench = Bench()
    bench.answered("one", "two", "ham")
    contents = [str(message.content) for message in bench.task.request.messages]
    assert [contents[1], contents[3]] == ["one", "two"]
    assert '"two" cannot be used' in contents[4]


@pytest.mark.parametrize("asks", [0, 1, 2])
def test_it_is_asked_again_so_often_and_no_more(asks: int) -> None:
    """Then the row succeeds with the reply as it is: reading it is not a matter of the run."""
    bench = Bench(asks=asks)
    landings = bench.answered(*["no idea"] * (asks + 1))
    assert [landing.action for landing in landings] == [*[Action.REASK] * asks, None]
    assert last(landings).text == "no idea"
    assert bench.task.asked_again == asks


def test_what_is_added_is_charged() -> None:
    """The task grows by the two turns, and each asking is settled by itself."""
    bench = Bench()
    bench.answered("no idea at all", "ham")
    _, said, told = bench.task.request.messages
    grown = 100 + words(str(said.content)) + words(str(told.content)) + 2 * PER_MESSAGE
    assert bench.task.size == Size(grown)
    assert sum(bench.ledger.spent(0.0).values()) > 2 * 100


@pytest.mark.parametrize("outcome", [Outcome.TRUNCATED, Outcome.REFUSED, Outcome.FILTERED, Outcome.TOOL_CALLS])
def test_what_was_refused_or_cut_short_is_not_asked_again_for_its_form(outcome: Outcome) -> None:
    """There is no form to mend."""
    assert last(Bench().answered(reply("no idea", outcome=outcome))).outcome is outcome


def test_a_batch_line_is_not_asked_again() -> None:
    """It is sent as it is, and has no turns that something could be added to."""
    bench = Bench()
    bench.task.request = Request(body={"model": "m"}, dialect="chat")
    assert [landing.action for landing in bench.answered("no idea")] == [None]


def test_a_task_that_would_outgrow_its_limits_is_not_asked_again() -> None:
    """It would only be refused."""
    assert [landing.action for landing in Bench(largest=105).answered("no idea")] == [None]


def test_an_empty_answer_stands_as_a_turn_that_says_so() -> None:
    """Dialects refuse an empty turn."""
    bench = Bench()
    bench.answered("", "ham")
    assert bench.task.request.messages[1].content == NOTHING


def test_asking_again_counts_no_attempt_and_failures_keep_theirs() -> None:
    """A failure while it is asked again is tried again with the conversation as it has become."""
    bench = Bench()
    bench.scheduler.offer(bench.task)
    bench.scheduler.close()
    for result in (reply("no idea"), failure("server_error")):
        bench.scheduler.landed(bench.scheduler.next(0.0), result, 0.0)  # type: ignore[arg-type]
    assert (bench.task.attempts, bench.task.asked_again, len(bench.task.request.messages)) == (1, 1, 3)


def test_a_run_ends_with_every_task_answered_once() -> None:
    """In virtual time: a third of the answers cannot be read at first, and all tasks end."""
    bench = Bench()
    tasks = [
        Task(row=row, models=("m",), size=Size(50), caps={"m": 20}, request=Request(messages=ASKED))
        for row in range(30)
    ]
    ended: list[int] = []

    async def main() -> ScriptedGateway:
        gateway = ScriptedGateway(lambda ask, number: reply("no" if ask.task.row % 3 == 0 and number < 3 else "ham"))
        watch = lambda event: ended.append(event.finished.task.row) if event.finished else None  # noqa: E731
        await Engine(bench.scheduler, iter(tasks), gateway, watch).run()
        return gateway

    gateway = run(main())
    assert sorted(ended) == list(range(30))
    assert len(gateway.sent) == 30 + 10 * 2


def test_the_tally_counts_answers_that_were_asked_for_again() -> None:
    """By model, apart from those that were cut short."""
    usage = {"input": 1, "output": 1, "reasoning": 0, "reported": True}
    frame = {"t": "landed", "row": 0, "slot": 0, "model": "m", "final": None, "usage": usage, "est": 1, "cap": 1}
    frame |= {"cost": 0, "latency": 0.1}
    tally = Tally()
    for number, outcome in enumerate((Outcome.OK, Outcome.TRUNCATED, Outcome.OK), 1):
        tally.add({**frame, "n": number, "outcome": outcome})
    assert (tally.models["m"].asked_again, tally.models["m"].cut_short, tally.ended) == (2, 1, 0)
