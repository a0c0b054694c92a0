"""Agreement between annotators, beside scikit-learn and krippendorff, and where there is nothing to agree about."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from runner.statistics.agreement import (
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    per_label,
    percent_agreement,
)
from runner.statistics.estimates import Estimate, Resampling
from runner.statistics.ratings import Ratings, ratings

POINT = Resampling(resamples=0)
Columns = list[list[int | None]]


def tables(annotators: int, *, missing: bool, labels: int = 4) -> st.SearchStrategy[Columns]:
    """Ratings of 1 to `labels` by so many annotators of up to 30 items."""
    cell = st.one_of(st.integers(1, labels), st.none()) if missing else st.integers(1, labels)
    return st.integers(1, 30).flatmap(
        lambda items: st.lists(st.lists(cell, min_size=items, max_size=items), min_size=annotators, max_size=annotators)
    )


def same(estimate: Estimate, reference: float) -> bool:
    """Whether both have the same value, or neither has one."""
    if math.isnan(reference):
        return estimate.value is None and bool(estimate.reason)
    return estimate.value is not None and math.isclose(estimate.value, reference, rel_tol=1e-9, abs_tol=1e-9)


def sklearn_kappa(columns: Sequence[Sequence[int]], weights: str | None = None) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(cohen_kappa_score(columns[0], columns[1], weights=weights, labels=[1, 2, 3, 4]))


def reference_alpha(columns: Columns, level: str) -> float:
    """Krippendorff's alpha by the package; NaN where it has none."""
    data = np.array([[math.nan if value is None else value for value in column] for column in columns], dtype=float)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(krippendorff.alpha(reliability_data=data, level_of_measurement=level))
    except (ValueError, ZeroDivisionError):
        return math.nan


@settings(deadline=None)
@given(tables(2, missing=False), st.sampled_from([None, "linear", "quadratic"]))
def test_cohens_kappa_is_that_of_scikit_learn(columns: Columns, weights: Any) -> None:
    """Nominal, linear and quadratic; one label only has no kappa in either."""
    assert same(cohen_kappa(ratings(columns), weights, POINT), sklearn_kappa(columns, weights))  # type: ignore[arg-type]


@settings(deadline=None)
@given(tables(2, missing=True))
def test_cohens_kappa_looks_at_items_that_both_rated(columns: Columns) -> None:
    """The others are left out and counted."""
    both = [(one, other) for one, other in zip(*columns, strict=True) if one is not None and other is not None]
    estimate = cohen_kappa(ratings(columns), None, POINT)
    assert estimate.left_out == len(columns[0]) - len(both)
    reference = sklearn_kappa(list(zip(*both, strict=True))) if both else math.nan  # type: ignore[arg-type]
    assert same(estimate, reference)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(2, 5).flatmap(lambda n: tables(n, missing=True)), st.sampled_from(["nominal", "ordinal", "interval"])
)
def test_alpha_is_that_of_krippendorff(columns: Columns, level: Any) -> None:
    """Any number of annotators, any missing ratings, all three levels."""
    estimate = krippendorff_alpha(ratings(columns), level, POINT)
    reference = reference_alpha(columns, level)
    if estimate.value is None:
        # The package says 1.0 or NaN where expected disagreement is 0; there is nothing to correct for chance by.
        given = [[row[at] for row in columns if row[at] is not None] for at in range(len(columns[0]))]
        assert len({value for item in given if len(item) > 1 for value in item}) <= 1
    else:
        assert same(estimate, reference)


@settings(deadline=None)
@given(st.integers(2, 5).flatmap(lambda n: tables(n, missing=False)))
def test_fleiss_kappa_follows_from_alpha(columns: Columns) -> None:
    """With nothing missing, alpha is Fleiss' kappa corrected for the number of ratings: one gives the other."""
    estimate = fleiss_kappa(ratings(columns), POINT)
    total = len(columns) * len(columns[0])
    if len({value for column in columns for value in column}) == 1:
        assert estimate.value is None
    else:
        assert same(estimate, 1 - (1 - reference_alpha(columns, "nominal")) * total / (total - 1))


def test_fleiss_kappa_of_the_published_example() -> None:
    """Fleiss (1971), as it is told everywhere: 14 raters, 10 items, 5 categories, kappa 0.210."""
    table = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    items = [[label for label, count in enumerate(row) for _ in range(count)] for row in table]
    estimate = fleiss_kappa(ratings(list(zip(*items, strict=True))), POINT)
    assert estimate.value == pytest.approx(0.20993070442195522, abs=1e-12)


def test_fleiss_kappa_refuses_missing_ratings_unless_told_to_leave_items_out() -> None:
    """It is defined for one number of ratings per item; the reason names what takes others."""
    columns = [["a", "b", "a", None], ["a", "b", "b", "b"], ["a", "b", "b", "b"]]
    refused = fleiss_kappa(ratings(columns))
    assert refused.value is None
    assert "1 have fewer; Krippendorff's alpha takes missing ratings" in refused.reason
    kept = fleiss_kappa(ratings(columns), incomplete="leave out")
    assert kept.left_out == 1
    assert kept.value == fleiss_kappa(ratings([column[:3] for column in columns])).value


@settings(deadline=None)
@given(st.integers(2, 4).flatmap(lambda n: tables(n, missing=True)))
def test_percent_agreement_is_the_mean_over_items_of_the_share_of_pairs_that_agree(columns: Columns) -> None:
    """Of the items that have a pair, counted naively."""
    shares = []
    for item in zip(*columns, strict=True):
        pairs = list(permutations([value for value in item if value is not None], 2))
        if pairs:
            shares.append(sum(one == other for one, other in pairs) / len(pairs))
    assert same(percent_agreement(ratings(columns), POINT), sum(shares) / len(shares) if shares else math.nan)


@settings(deadline=None)
@given(st.integers(2, 4).flatmap(lambda n: tables(n, missing=True)))
def test_a_measure_for_each_label_is_that_of_the_label_against_all_others(columns: Columns) -> None:
    """As if the annotators had been asked about this label alone."""
    estimates = per_label(ratings(columns), lambda rated: krippendorff_alpha(rated, "nominal", POINT))
    for label, estimate in estimates.items():
        binary: Columns = [[None if value is None else int(value == label) for value in column] for column in columns]
        if estimate.value is not None:
            assert same(estimate, reference_alpha(binary, "nominal"))


MEASURES: dict[str, Callable[[Ratings], Estimate]] = {
    "percent": percent_agreement,
    "cohen": cohen_kappa,
    "cohen linear": lambda rated: cohen_kappa(rated, "linear"),
    "cohen quadratic": lambda rated: cohen_kappa(rated, "quadratic"),
    "fleiss": fleiss_kappa,
    "fleiss incomplete": lambda rated: fleiss_kappa(rated, incomplete="leave out"),
    "nominal": krippendorff_alpha,
    "ordinal": lambda rated: krippendorff_alpha(rated, "ordinal"),
    "interval": lambda rated: krippendorff_alpha(rated, "interval"),
}
DEGENERATE: dict[str, list[list[Any]]] = {
    "no annotators": [],
    "no items": [[], []],
    "one annotator": [[1, 2, 1]],
    "one item": [[1], [2]],
    "one label": [[1, 1, 1], [1, 1, 1]],
    "all missing": [[None, None], [None, math.nan]],
    "no item rated twice": [[1, None, 2], [None, 1, None]],
    "words": [["a", "b", "a"], ["a", "a", "b"]],
    "always apart": [[1, 2, 1, 2], [2, 1, 2, 1]],
}


@pytest.mark.parametrize("name", MEASURES)
@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_data_gives_a_value_or_the_reason_why_there_is_none(name: str, case: str) -> None:
    """Never an exception and never NaN; no warning of numpy either."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimate = MEASURES[name](ratings(DEGENERATE[case]))
    assert estimate.value is None or math.isfinite(estimate.value)
    assert estimate.value is not None or estimate.reason
    assert (estimate.low is None) == (estimate.high is None)
    assert estimate.low is not None or estimate.reason
    if case in ("no annotators", "no items", "one annotator", "all missing", "no item rated twice"):
        assert estimate.value is None
    if case == "one label" and name != "percent":
        assert estimate.value is None
    if case == "one label" and name == "percent":
        assert (estimate.value, estimate.low, estimate.high) == (1.0, 1.0, 1.0)
        assert "no resample differs" in estimate.reason


@pytest.mark.parametrize("labels", [2, 4], ids=["few patterns", "nearly as many patterns as items"])
def test_an_interval_is_what_resampling_item_by_item_gives(labels: int) -> None:
    """Drawing counts of patterns is the same as drawing items: compared with a plain loop, by its percentiles."""
    generator = np.random.default_rng(5)
    truth = generator.integers(1, labels + 1, 120)
    columns = [
        np.where(generator.random(120) < 0.7, truth, generator.integers(1, labels + 1, 120)).tolist() for _ in range(3)
    ]
    estimate = krippendorff_alpha(ratings(columns), "ordinal", Resampling(resamples=2000, seed=1))
    table = np.array(columns, dtype=float)
    values = [
        krippendorff.alpha(table[:, generator.integers(0, 120, 120)], level_of_measurement="ordinal")
        for _ in range(1000)
    ]
    low, high = np.quantile(values, (0.025, 0.975))
    assert (estimate.low, estimate.high) == (pytest.approx(low, abs=0.02), pytest.approx(high, abs=0.02))


def test_an_interval_is_the_same_for_the_same_seed_only() -> None:
    """A report that is made again says the same."""
    columns = [[1, 2, 3, 1, 2, 3, 1, 2] * 5, [1, 2, 3, 1, 2, 1, 3, 2] * 5]
    one, again, other = (percent_agreement(ratings(columns), Resampling(seed=seed, resamples=50)) for seed in (1, 1, 2))
    assert one == again
    assert (one.low, one.high) != (other.low, other.high)


def test_many_distinct_patterns_are_drawn_item_by_item() -> None:
    """Ratings on a continuous scale: every item has a pattern of its own, and the intervals are of the same kind."""
    generator = np.random.default_rng(3)
    truth = generator.normal(size=100)
    columns = [(truth + 0.3 * generator.normal(size=100)).tolist() for _ in range(2)]
    estimate = krippendorff_alpha(ratings(columns), "interval", Resampling(resamples=200))
    assert estimate.value == pytest.approx(reference_alpha(columns, "interval"), abs=1e-9)
    assert estimate.low is not None
    assert estimate.high is not None
    assert 0.8 < estimate.low < estimate.value < estimate.high < 0.98


def test_any_number_of_annotators_can_be_told_apart() -> None:
    """Forty annotators and nine labels make more patterns than a number of 64 bits can name."""
    generator = np.random.default_rng(6)
    columns = generator.integers(1, 10, size=(40, 25)).tolist()
    assert same(krippendorff_alpha(ratings(columns), "ordinal", POINT), reference_alpha(columns, "ordinal"))


def test_a_scale_may_have_places_that_nobody_chose() -> None:
    """Weights go by the distance on the scale, also for words in a given order."""
    order = ["bad", "poor", "fair", "good", "great"]
    one, other = ["bad", "great", "good", "bad"], ["bad", "good", "good", "great"]
    numbers = [[order.index(word) + 1 for word in column] for column in (one, other)]
    reference = cohen_kappa_score(*numbers, weights="linear", labels=[1, 2, 3, 4, 5])
    assert same(cohen_kappa(ratings([one, other], order=order), "linear", POINT), float(reference))
    assert same(
        krippendorff_alpha(ratings([one, other], order=order), "ordinal", POINT), reference_alpha(numbers, "ordinal")
    )  # type: ignore[arg-type]


def test_words_without_an_order_have_no_distances() -> None:
    """The reason says so; nothing is ordered by the alphabet."""
    rated = ratings([["low", "high"], ["high", "low"]])
    assert cohen_kappa(rated, "linear").reason == "the labels have no order"
    assert krippendorff_alpha(rated, "ordinal").reason == "the labels have no order"


def test_ratings_of_different_items_are_refused() -> None:
    """They cannot be lined up."""
    with pytest.raises(ValueError, match="differ in length"):
        ratings([["a"], ["a", "b"]])
    with pytest.raises(ValueError, match="not in the order given"):
        ratings([["a"], ["b"]], order=["a"])
