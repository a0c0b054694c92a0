"""Limits and budgets: what a limits file says, over what is known, and what it may not say."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from runner.core.catalog import Model
from runner.core.errors import UsageError
from runner.core.limits import ALL, Allowance, Limit, Limits, from_table
from runner.core.values import Charge

A, B = (Model(id=name, provider="Somebody") for name in ("a", "databricks-b"))


def limits(text: str, base: Limits | None = None) -> Limits:
    return from_table(tomllib.loads(text), "limits.toml", base)


def amounts(limits: Limits, model: Model = A) -> dict[str, int]:
    """A model's own amounts, by measure."""
    return {limit.measure: limit.amount for limit in limits.budgets([model])[model.short] if limit.scope != ALL}


# Budgets.


def test_a_combined_limit_is_one_object_in_all_budgets() -> None:
    """Spending against it is kept once, because it is one limit."""
    budgets = limits("[combined]\ninput_tokens = 1000\n[per_model]\ninput_tokens = 100").budgets([A, B])
    combined = [limit for budget in budgets.values() for limit in budget if limit.scope == ALL]
    assert len(combined) == 2
    assert combined[0] is combined[1]


def test_limits_of_models_are_their_own() -> None:
    """The same amount for each is not one amount for all."""
    budgets = limits("[per_model]\ninput_tokens = 100").budgets([A, B])
    assert budgets["a"] != budgets["b"]
    assert {limit.scope for budget in budgets.values() for limit in budget} == {"a", "b"}


def test_a_budget_has_a_limit_for_each_amount_that_is_stated() -> None:
    """Tokens in the file's window, requests in a second of their own."""
    text = "window_seconds = 30\n[per_model]\ninput_tokens = 100\noutput_tokens = 10\nrequests_per_second = 5"
    assert limits(text).budgets([A])["a"] == (
        Limit(scope="a", measure="input", amount=100, window=30.0),
        Limit(scope="a", measure="output", amount=10, window=30.0),
        Limit(scope="a", measure="requests", amount=5, window=1.0),
    )


def test_input_limits_may_count_the_total() -> None:
    """Later versions of the page count input and output together: one word changes it, for both."""
    budget = limits('count = "total"\n[combined]\ninput_tokens = 9\n[per_model]\ninput_tokens = 5').budgets([A])["a"]
    assert [(limit.scope, limit.measure) for limit in budget] == [("a", "total"), (ALL, "total")]


def test_without_limits_every_budget_is_empty() -> None:
    """Nothing that is not stated binds."""
    assert Limits().budgets([A, B]) == {"a": (), "b": ()}


@pytest.mark.parametrize(("measure", "amount"), [("requests", 1), ("input", 20), ("output", 3), ("total", 23)])
def test_a_limit_takes_its_own_measure_of_a_charge(measure: Any, amount: int) -> None:
    """Each measure is another part of what a request spends."""
    assert Limit(scope="a", measure=measure, amount=100, window=60.0).of(Charge(1, 20, 3)) == amount


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (Limit(scope="a", measure="input", amount=200_000, window=60.0), "200,000 input tokens in 60 s for a"),
        (Limit(scope=ALL, measure="requests", amount=5, window=0.5), "5 requests in 0.5 s for all models"),
    ],
)
def test_a_limit_says_what_it_is(limit: Limit, words: str) -> None:
    """Messages name limits in words."""
    assert str(limit) == words


# What goes over what.


CATALOGUED = Model(id="a", provider="Somebody", input_tokens_per_minute=150_000, output_tokens_per_minute=100_000)
DEFAULT = limits("[per_model]\ninput_tokens = 200_000\noutput_tokens = 20_000")


def test_what_is_known_of_a_model_goes_over_the_accounts_default() -> None:
    """And the default holds where nothing is known."""
    assert amounts(DEFAULT.with_upstream([CATALOGUED]), B) == {"input": 200_000, "output": 20_000}
    assert amounts(DEFAULT.with_upstream([CATALOGUED]), CATALOGUED) == {"input": 150_000, "output": 100_000}


@pytest.mark.parametrize("name", ["a", "databricks-a"])
def test_a_file_goes_over_what_is_known_of_a_model(name: str) -> None:
    """In either form of its name, and for the facts that the file states."""
    found = limits(f"[models.{name}]\noutput_tokens = 7", DEFAULT.with_upstream([CATALOGUED]))
    assert amounts(found, CATALOGUED) == {"input": 150_000, "output": 7}


def test_a_files_figure_for_every_model_goes_over_what_is_known_of_one() -> None:
    """The user's word is the last, also where it is not about one model."""
    found = limits("[per_model]\noutput_tokens = 9", DEFAULT.with_upstream([CATALOGUED]))
    assert amounts(found, CATALOGUED) == {"input": 150_000, "output": 9}


def test_a_files_figure_for_one_model_goes_over_its_figure_for_every_model() -> None:
    """The particular goes over the general."""
    found = limits("[per_model]\ninput_tokens = 5\n[models.a]\ninput_tokens = 6", DEFAULT)
    assert (amounts(found, A)["input"], amounts(found, B)["input"]) == (6, 5)


def test_a_file_that_says_nothing_changes_nothing() -> None:
    """An empty file is the default."""
    base = limits('window_seconds = 10\ncount = "total"\n[combined]\ninput_tokens = 3', DEFAULT)
    assert limits("", base) == base


def test_limits_can_be_written_down_and_read_again() -> None:
    """The manifest of a run holds them in the file's own words."""
    text = "count = 'total'\n[combined]\ninput_tokens = 9\n[per_model]\noutput_tokens = 2\n[models.b]\ninput_tokens = 1"
    assert from_table(limits(text).to_table(), "manifest") == limits(text)


def test_an_allowance_takes_from_below_only_what_it_leaves_open() -> None:
    """Fact by fact, not table by table."""
    above, below = Allowance(input_tokens=1), Allowance(input_tokens=2, requests_per_second=3)
    assert above.over(below) == Allowance(input_tokens=1, requests_per_second=3)


# What a file may not say.


@pytest.mark.fault("B18")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("window_second = 60", "there is no key window_second. Did you mean window_seconds?"),
        ("[per_model]\ninput_token = 1", "there is no key per_model.input_token. Did you mean input_tokens?"),
        ("[combined]\nzzz = 1", "no key combined.zzz. There are input_tokens, output_tokens, requests_per_second."),
        ("[models.a]\nouput_tokens = 1", 'no key models."a".ouput_tokens. Did you mean output_tokens?'),
        ("[per_model]\ninput_tokens = 0", "per_model.input_tokens is a whole number above zero; got 0."),
        ("[per_model]\ninput_tokens = -5", "per_model.input_tokens is a whole number above zero; got -5."),
        ("[per_model]\ninput_tokens = 1.5", "per_model.input_tokens is a whole number above zero; got 1.5."),
        ("[per_model]\ninput_tokens = 1e30", "per_model.input_tokens is a whole number above zero; got 1e+30."),
        ("[per_model]\ninput_tokens = inf", "per_model.input_tokens is a whole number above zero; got inf."),
        ("[per_model]\ninput_tokens = true", "per_model.input_tokens is a whole number above zero; got True."),
        ("[per_model]\ninput_tokens = '5'", "per_model.input_tokens is a whole number above zero; got '5'."),
        ("combined = 5", "[combined] is a table."),
        ("models.a = 5", '[models."a"] is a table.'),
        ("models = 5", "[models] is a table."),
        ("window_seconds = 0", "window_seconds is a number of seconds from 0.1 to 86400; got 0."),
        ("window_seconds = -1", "window_seconds is a number of seconds from 0.1 to 86400; got -1."),
        ("window_seconds = nan", "window_seconds is a number of seconds from 0.1 to 86400; got nan."),
        ("window_seconds = true", "window_seconds is a number of seconds from 0.1 to 86400; got True."),
        ('count = "output"', """count is "input" or "total"; got 'output'."""),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(text: str, message: str) -> None:
    """Every refusal names the file, the key and what is wanted."""
    with pytest.raises(UsageError) as refused:
        limits(text)
    assert str(refused.value).startswith("limits.toml: ")
    assert message in str(refused.value)
