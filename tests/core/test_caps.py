"""What a reply costs, and what a user allows a run to spend."""

from __future__ import annotations

import pytest

from runner.core.caps import Caps, Spending, cost
from runner.core.catalog import Model, Price
from runner.core.values import Charge, Usage

PLAIN = Price(input=2.0, output=10.0)
CACHING = Price(input=2.0, output=10.0, cached_input=0.2, cache_write=2.5)
LONG = Price(input=2.0, output=10.0, long_above=200_000, long_input=4.0, long_output=15.0)
MILLION = 1_000_000


@pytest.mark.parametrize(
    ("price", "usage", "dollars"),
    [
        (None, Usage(input=MILLION, output=MILLION), 0.0),
        (PLAIN, Usage(input=MILLION, output=MILLION), 12.0),
        (PLAIN, Usage(output=MILLION, reasoning=MILLION), 10.0),
        (PLAIN, Usage(input=MILLION, cached_input=MILLION), 2.0),
        (CACHING, Usage(input=MILLION, cached_input=MILLION), 0.2),
        (CACHING, Usage(input=MILLION, cache_write=MILLION), 2.5),
        (CACHING, Usage(input=MILLION, cached_input=500_000, cache_write=250_000), 0.5 + 0.1 + 0.625),
        (LONG, Usage(input=200_000, output=MILLION), 0.4 + 10.0),
        (LONG, Usage(input=200_001, output=MILLION), 0.800004 + 15.0),
        (LONG, Usage(input=250_000, cached_input=250_000), 1.0),
    ],
    ids=[
        "no price",
        "input and output",
        "reasoning is part of the output",
        "cached, without a price of its own",
        "cached",
        "written to the cache",
        "all three kinds of input",
        "as long as a short prompt may be",
        "one token longer: all of it at the long prices",
        "cached and long, without a price of its own",
    ],
)
def test_a_reply_costs_what_the_catalogue_says(price: Price | None, usage: Usage, dollars: float) -> None:
    """Each kind of token at its own price, and a long prompt at the long prices for all of it."""
    assert cost(price, usage) == pytest.approx(dollars)


def test_a_free_cache_is_free() -> None:
    """A price of zero is a price, and not the lack of one."""
    price = Price(input=2.0, output=10.0, cached_input=0.0)
    assert cost(price, Usage(input=MILLION, cached_input=MILLION)) == 0.0


def spending(**caps: float) -> Spending:
    models = [Model(id="a", provider="Somebody", price=PLAIN), Model(id="free", provider="Somebody")]
    return Spending(Caps(**caps), models, started=100.0)  # type: ignore[arg-type]


def test_without_caps_nothing_is_refused() -> None:
    """The default is to spend what the work takes."""
    assert spending().refuses("a", Charge(1, 10**12, 10**12)) is None
    assert spending().ends is None


@pytest.mark.parametrize(("output", "allowed"), [(50, True), (51, False)])
def test_tokens_are_allowed_up_to_the_cap_and_no_further(output: int, allowed: bool) -> None:
    """Input and output count together, and the cap itself may be reached."""
    assert (spending(max_total_tokens=150).refuses("a", Charge(1, 100, output)) is None) == allowed


def test_what_is_held_counts_as_spent() -> None:
    """Answers under way may still cost all that they reserved."""
    spent = spending(max_total_tokens=150)
    spent.hold("a", Charge(1, 60, 40))
    assert str(spent.refuses("a", Charge(1, 51, 0))).startswith("--max-total-tokens 150: 100 are spent or in flight, ")


def test_a_cap_that_stops_a_run_says_what_the_next_request_may_take() -> None:
    """A cap below a single request stops a run that has spent nothing: only the figure says why."""
    reason = spending(max_cost=0.01).refuses("a", Charge(1, 100_000, 0))
    assert (
        reason
        == "--max-cost 0.01: $0.0000 are spent or in flight, and the next request may take $0.2000; give a higher one"
    )
    assert str(spending(max_total_tokens=9).refuses("a", Charge(1, 8, 2))).endswith("may take 10; give a higher one")


def test_a_settlement_replaces_what_was_held() -> None:
    """Only what was really used stays spent."""
    spent = spending(max_total_tokens=150)
    spent.hold("a", Charge(1, 60, 40))
    spent.settle("a", Charge(1, 60, 40), Usage(input=50, output=10))
    assert (spent.tokens, spent.refuses("a", Charge(1, 90, 0))) == (60, None)
    assert spent.refuses("a", Charge(1, 91, 0)) is not None


def test_an_attempt_that_used_nothing_costs_nothing() -> None:
    """A refused request gives its reservation back."""
    spent = spending(max_cost=1.0)
    spent.hold("a", Charge(1, 400_000, 10_000))
    spent.settle("a", Charge(1, 400_000, 10_000), None)
    assert (spent.tokens, spent.cost) == (0, 0.0)
    assert spent.refuses("a", Charge(1, 450_000, 10_000)) is None


def test_dollars_are_reserved_at_the_worst_price() -> None:
    """Before the answer is there, every token of the cap is taken to be written, and none of the input to be cached."""
    spent = spending(max_cost=1.0)
    spent.hold("a", Charge(1, 100_000, 60_000))
    assert spent.refuses("a", Charge(1, 100_000, 0)) is None
    assert "$0.8000 are spent or in flight" in str(spent.refuses("a", Charge(1, 100_001, 0)))


def test_dollars_that_a_cap_speaks_of_are_shown_however_few_they_are() -> None:
    spent = spending(max_cost=0.00002)
    assert "the next request may take $0.000024;" in str(spent.refuses("a", Charge(1, 12, 0)))


def test_a_model_without_a_price_spends_no_dollars() -> None:
    """A cap in dollars cannot bind what has no price."""
    assert spending(max_cost=0.01).refuses("free", Charge(1, 10**9, 10**9)) is None


def test_earlier_sessions_count() -> None:
    """A resumed run has the same cap, and not a new one."""
    spent = spending(max_total_tokens=150)
    spent.add(100, 0.5)
    assert (spent.cost, spent.refuses("a", Charge(1, 50, 0))) == (0.5, None)
    assert spent.refuses("a", Charge(1, 51, 0)) is not None


def test_what_earlier_sessions_may_have_been_billed_counts_as_reserved() -> None:
    """As within a session: each such request counts in full, in tokens and at the worst price."""
    spent = spending(max_cost=9.0)
    spent.add_untold("a", Charge(1, 100_000, 60_000), 2)
    assert (spent.tokens, spent.cost) == (320_000, pytest.approx(2 * 0.8))


def test_the_deadline_counts_from_the_start() -> None:
    """It is a time to spend, and not a time of day."""
    assert spending(deadline=30.0).ends == 130.0
    assert spending(deadline=30.0).over == "--deadline: 30 seconds are over"
