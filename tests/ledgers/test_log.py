"""A limit that is mirrored as a sliding log, of which it is learned how much there is: requests a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runner.core.limits import ALL, Budget, Limit
from runner.core.ports import Lease, Ledger, Refusal, Refused
from runner.core.values import Charge
from runner.ledgers.memory import MemoryLedger
from runner.testing import refusal

RATE = Limit(scope="a", measure="requests", amount=100, window=1.0)
BUDGETS: dict[str, Budget] = {"a": (RATE,)}
TOO_MANY = refusal(retry_after=1.0, measure="requests")


@pytest.fixture
def ledger(ledgers: Callable[..., Ledger]) -> Ledger:
    return ledgers(BUDGETS, learns=True)


def sent(ledger: Ledger, now: float) -> list[Lease]:
    """As many requests as may be sent at a moment."""
    leases = []
    while isinstance(lease := ledger.take("a", Charge(1, 1, 1), now), Lease):
        leases.append(lease)
    return leases


def refuse(ledger: Ledger, leases: list[Lease], now: float) -> list[Refused]:
    """What the ledger says of the gateway's 429s to these."""
    said = []
    for lease in leases:
        said.append(ledger.refused(lease, TOO_MANY, now))
        ledger.settle(lease, Charge(1, 0, 0), now)
    return said


def test_as_many_requests_as_are_configured_are_sent_at_first(ledger: Ledger) -> None:
    """Nothing says otherwise yet."""
    assert len(sent(ledger, 0.0)) == 100


def test_a_lower_rate_is_learned_from_what_is_refused(ledger: Ledger) -> None:
    """Of a hundred in a second the gateway let in thirty: so many are sent in the next one."""
    leases = sent(ledger, 0.0)
    assert set(refuse(ledger, leases[30:], 0.2)) == {Refused.SURPRISING}
    assert len(sent(ledger, 1.0)) == 30


def test_the_first_refusal_to_come_back_need_not_be_that_of_the_first_refused(ledger: Ledger) -> None:
    """Refusals of the same moment tell how few there were, in any order."""
    leases = sent(ledger, 0.0)
    refuse(ledger, [leases[80], leases[30], leases[55]], 0.2)
    assert len(sent(ledger, 1.0)) == 30


def test_a_rate_that_is_back_is_used_again(ledger: Ledger) -> None:
    """It is asked for after a minute, at first a little more; each attempt in vain costs a refusal."""
    refuse(ledger, sent(ledger, 0.0)[50:], 0.2)
    assert len(sent(ledger, 59.0)) == 50
    assert 50 <= len(sent(ledger, 62.0)) <= 53
    assert len(sent(ledger, 120.0)) == 100


def test_a_rate_that_is_stated_in_no_limit_is_not_known(ledgers: Callable[..., Ledger]) -> None:
    """There is nothing that could be learned then."""
    tokens = Limit(scope="a", measure="input", amount=100, window=60.0)
    ledger = ledgers({"a": (tokens,)}, learns=True)
    assert refuse(ledger, sent(ledger, 0.0)[:1], 0.2) == [Refused.UNKNOWN]


def test_who_is_told_not_to_learn_sends_what_is_configured(ledgers: Callable[..., Ledger]) -> None:
    """A plan must not change what it reckons with."""
    ledger = ledgers(BUDGETS)
    assert set(refuse(ledger, sent(ledger, 0.0)[30:], 0.2)) == {Refused.UNKNOWN}
    assert len(sent(ledger, 1.0)) == 100


def test_the_next_run_begins_with_the_rate_that_was_learned() -> None:
    """And remembers nothing where all that is configured is there."""
    first, second = (MemoryLedger(BUDGETS, learns=True) for _ in range(2))
    assert first.remember(1e9, 0.0) == {}
    refuse(first, sent(first, 0.0)[30:], 0.2)
    second.recall(first.remember(1e9 + 5, 5.0), 1e9 + 10, 1000.0)
    assert len(sent(second, 1000.0)) == 30


def test_a_rate_that_came_back_in_one_run_is_all_there_for_the_next() -> None:
    """What was remembered of a bad night is told to be over, or every run would begin with it."""
    first, second, third = (MemoryLedger(BUDGETS, learns=True) for _ in range(3))
    refuse(first, sent(first, 0.0)[30:], 0.2)
    second.recall(first.remember(1e9, 5.0), 1e9, 1000.0)
    learned = second.remember(1e9 + 500, 1500.0)
    assert learned["a/requests"]["amount"] == 100
    third.recall(learned, 1e9 + 1000, 2000.0)
    assert len(sent(third, 2000.0)) == 100


def test_a_refusal_of_one_model_says_nothing_of_what_all_share() -> None:
    """The limit that it names is its own."""
    shared = Limit(scope=ALL, measure="requests", amount=200, window=1.0)
    ledger = MemoryLedger({"a": (RATE, shared)}, learns=True)
    refuse(ledger, sent(ledger, 0.0)[30:], 0.2)
    assert [window.belief.amount(0.3) for window in ledger.windows] == [30, 200]


@pytest.mark.parametrize("facts", [{}, {"amount": "many"}, {"amount": "nan", "configured": 100}])
def test_garbled_facts_of_a_rate_stop_no_run(facts: dict[str, Any]) -> None:
    """A file may hold anything."""
    ledger = MemoryLedger(BUDGETS, learns=True)
    ledger.recall({"a/requests": facts}, 1e9, 0.0)
    assert len(sent(ledger, 0.0)) >= 1


def test_what_one_run_of_an_account_learns_of_a_rate_the_others_hear(host: Any) -> None:
    """Each of them would have to be refused for it otherwise."""
    first, second = (host.run(BUDGETS, learns=True) for _ in range(2))
    refuse(first, sent(first, 1000.0)[30:], 1000.2)
    first.meet(1002.0)
    second.meet(1002.0)
    for ledger in (first, second):
        assert isinstance(ledger.take("a", Charge(1, 1, 1), 1002.1), Lease | Refusal)
    assert second.windows[0].belief.amount(1002.1) == first.windows[0].belief.amount(1002.1) <= 30
