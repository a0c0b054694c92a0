"""Comparisons of the same rows: the tests beside scipy, and what the sentences may claim."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from runner.statistics.estimates import Resampling
from runner.statistics.paired import compare, holm, mcnemar

COUNTS = st.integers(0, 400)


@settings(deadline=None)
@given(COUNTS, COUNTS)
def test_mcnemars_exact_test_is_the_binomial_test(gained: int, lost: int) -> None:
    """Two-sided, with gains as likely as losses; no differing row gives 1."""
    reference = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert mcnemar(gained, lost).p == pytest.approx(float(reference), rel=1e-9, abs=1e-12)


@settings(deadline=None)
@given(st.integers(0, 20_000), st.integers(0, 20_000))
def test_the_approximation_is_chi_squared_with_a_correction(gained: int, lost: int) -> None:
    """One degree of freedom; it comes in where exact arithmetic would take long."""
    differing = gained + lost
    statistic = max(0, abs(gained - lost) - 1) ** 2 / differing if differing else 0.0
    assert mcnemar(gained, lost, "chi2").p == pytest.approx(float(stats.chi2.sf(statistic, 1)), rel=1e-9, abs=1e-300)
    assert mcnemar(gained, lost).method == ("exact" if differing <= 10_000 else "chi2")


def test_large_counts_are_exact_to_the_last_digit() -> None:
    """Beside the approximation, which is close by then."""
    exact, close = mcnemar(5100, 4900), mcnemar(5100, 4900, "chi2")
    assert exact.p == pytest.approx(float(stats.binomtest(5100, 10_000).pvalue), rel=1e-9)
    assert exact.p == pytest.approx(close.p, abs=1e-4)


def rows(both: int, gained: int, lost: int, neither: int) -> tuple[list[float], list[float]]:
    """Scores of 0 and 1: right in both, in B only, in A only, in neither."""
    return (
        [1.0] * both + [0.0] * gained + [1.0] * lost + [0.0] * neither,
        [1.0] * both + [1.0] * gained + [0.0] * lost + [0.0] * neither,
    )


def test_a_difference_that_is_shown_is_said_with_its_interval_and_its_test() -> None:
    """The sentence has every figure that it rests on."""
    verdict = compare(*rows(700, 31, 12, 257))
    assert verdict.kind == "better"
    assert verdict.difference.value == pytest.approx(0.019)
    assert verdict.sentence == (
        "B answered 31 more rows right than A and 12 fewer, of 1,000; a difference of +1.9 points "
        f"(95 % interval {100 * (verdict.difference.low or 0):.1f} to {100 * (verdict.difference.high or 0):.1f}); "
        "not explained by chance at the 5 % level (McNemar p = 0.005)."
    )
    assert verdict.gained == tuple(range(700, 731))
    assert verdict.lost == tuple(range(731, 743))
    swapped = compare(*reversed(rows(700, 31, 12, 257)), names=("new", "old"))
    assert swapped.kind == "worse"
    assert swapped.sentence.startswith(
        "old answered 12 more rows right than new and 31 fewer, of 1,000; a difference of −1.9"
    )


def test_where_no_difference_is_shown_the_sentence_says_how_large_one_could_be() -> None:
    """A lack of evidence is no evidence that both are as good."""
    verdict = compare(*rows(50, 6, 4, 40))
    assert verdict.kind == "no difference shown"
    assert verdict.sentence.startswith(
        "no difference was shown: B answered 6 more rows right than A and 4 fewer, of 100;"
    )
    assert "(McNemar p = 0.754); one of up to " in verdict.sentence
    hidden = max(abs(verdict.difference.low or 0), abs(verdict.difference.high or 0))
    assert f"up to {100 * hidden:.1f} points could have been missed" in verdict.sentence


def test_rows_that_never_differ_do_not_prove_that_nothing_differs() -> None:
    """The interval has no width; what could hide is told from the number of rows, as the rule of three does."""
    verdict = compare([1.0] * 100, [1.0] * 100)
    assert verdict.kind == "no difference shown"
    assert "up to 3.7 points could have been missed" in verdict.sentence
    assert "interval" not in verdict.sentence


@pytest.mark.parametrize("gained", [1, 2, 5])
def test_a_handful_of_rows_shows_nothing(gained: int) -> None:
    """Not even if all of them change the same way, and not for graded scores, whose interval would exclude 0."""
    assert compare([0.0] * gained, [1.0] * gained).kind == "no difference shown"
    graded = compare([0.2] * gained, [0.9] * gained)
    assert graded.kind == "no difference shown"
    assert "intervals from so few rows are rough" in graded.sentence


def test_graded_scores_are_judged_by_their_interval() -> None:
    """The mean difference and its percentiles, with signs to inform."""
    generator = np.random.default_rng(4)
    a = generator.uniform(0.2, 0.8, 400)
    b = a + generator.normal(0.03, 0.1, 400)
    verdict = compare(a.tolist(), b.tolist())
    reference = stats.bootstrap((b - a,), np.mean, n_resamples=4000, method="percentile", rng=1).confidence_interval
    assert (verdict.difference.low, verdict.difference.high) == pytest.approx(
        (reference.low, reference.high), abs=0.003
    )
    assert verdict.kind == "better"
    assert "McNemar" not in verdict.sentence
    assert "not explained by chance at the 5 % level (paired bootstrap)" in verdict.sentence
    assert len(verdict.gained) + len(verdict.lost) == 400


def test_rows_without_a_score_on_both_sides_are_left_out_and_said() -> None:
    """NaN is no score, and no 0."""
    verdict = compare([1.0, None, 1.0, 0.0], [1.0, 1.0, math.nan, 0.0])
    assert verdict.left_out == 2
    assert verdict.difference.items == 2
    assert verdict.sentence.endswith("2 rows could not be scored on both sides.")


@pytest.mark.parametrize("scores", [([], []), ([None], [1.0]), ([math.nan], [math.nan])])
def test_nothing_to_compare_is_a_verdict_too(scores: tuple[list[float | None], list[float | None]]) -> None:
    """No exception, no claim."""
    verdict = compare(*scores)
    assert verdict.kind == "nothing to compare"
    assert verdict.test is None
    assert "nothing can be compared" in verdict.sentence


def test_other_rows_cannot_be_compared() -> None:
    """Pairs are by position, so the lengths must be the same."""
    with pytest.raises(ValueError, match="differ in length"):
        compare([1.0], [1.0, 0.0])


def test_equal_models_are_called_different_no_more_often_than_the_level_says() -> None:
    """400 comparisons of models of the same quality at 5 %, counted."""
    generator = np.random.default_rng(9)
    quick = Resampling(resamples=200)
    claims = 0
    for _ in range(200):
        binary = (generator.random((2, 120)) < 0.7).astype(float).tolist()
        graded = generator.uniform(size=(2, 120)).tolist()
        claims += sum(compare(*pair, resampling=quick).kind != "no difference shown" for pair in (binary, graded))
    assert claims <= 0.08 * 400


def test_many_comparisons_are_corrected_for() -> None:
    """Holm's step-down, by the example of his definition: the smallest times n, the next times n - 1, never falling."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
