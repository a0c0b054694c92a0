"""What the answers of a run come to: scores, metrics and slices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from runner.core.errors import UsageError
from runner.core.evaluating import Evaluation, Scoring, Slice
from runner.evaluation.checking import check
from runner.evaluation.scores import measure
from runner.scoring import Score
from runner.scoring.table import own_scorer
from runner.statistics.intervals import mean_interval, wilson
from runner.storage.specs import load_catalogue

Make = Callable[..., Path]
Summary = Callable[[Path], dict[str, Any]]


def test_each_task_and_metric_has_a_line_of_scores(make_run: Make, evaluation: Evaluation) -> None:
    """In the order of the results table, with the reason of what is not right."""
    both = replace(evaluation, scorers=(*evaluation.scorers, Scoring(name="words", scorer="f1")))
    run = make_run("a", {"m": ["x", "y z"], "n": ["w", "y"]}, ["x", "y"], evaluation=both)
    table = pl.read_parquet(run / "scores.parquet")
    assert table["scorer"].to_list() == ["exact"] * 4 + ["words"] * 4
    assert table["line"].to_list() == [0, 1, 2, 3] * 2
    assert table["model"].to_list() == ["m", "n"] * 4
    assert table["score"].to_list() == [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, pytest.approx(2 / 3), 1.0]
    assert table["reason"][1] == "it differs"


def test_missing_and_invalid_answers_count_as_wrong_and_are_counted(make_run: Make, summary: Summary) -> None:
    """A model that answers less is not better for it; a refusal is no answer, whatever its text."""
    run = make_run("a", {"m": ["x", None, "?", "!", "x"]}, ["x", "x", "x", "!", None])
    model = summary(run)["evaluation"]["models"]["m"]
    assert {name: model[name] for name in ("n", "missing", "invalid", "unscored")} == {
        "n": 4,
        "missing": 2,
        "invalid": 1,
        "unscored": 1,
    }
    assert model["metrics"]["exact"]["mean"] == 0.25
    scores = pl.read_parquet(run / "scores.parquet")
    assert scores["state"].to_list() == ["answered", "missing", "invalid", "missing", "answered"]
    assert scores["reason"][2] == "invalid: it names no label"


def test_scores_of_0_and_1_have_wilsons_interval_and_others_the_bootstraps(
    make_run: Make, evaluation: Evaluation, summary: Summary
) -> None:
    """Each is what the statistics say of the same scores."""
    both = replace(evaluation, scorers=(*evaluation.scorers, Scoring(name="words", scorer="f1")))
    answers = ["red blue", "red", "green", "red blue"] * 5
    run = make_run("a", {"m": answers}, ["red blue"] * 20, evaluation=both)
    found = summary(run)["evaluation"]["models"]["m"]["metrics"]
    exact = wilson(10, 20)
    assert (found["exact"]["low"], found["exact"]["high"], found["exact"]["method"]) == (
        exact.low,
        exact.high,
        "wilson",
    )
    words = mean_interval([1.0, 2 / 3, 0.0, 1.0] * 5)
    assert (found["words"]["mean"], found["words"]["low"], found["words"]["high"]) == (
        pytest.approx(words.value),
        pytest.approx(words.low),
        pytest.approx(words.high),
    )


def test_cost_and_latency_stand_beside_quality(make_run: Make) -> None:
    """For each model and each slice."""
    run = make_run("a", {"m": ["x", "x", "x"], "n": ["x", "x", "x"]}, ["x"] * 3)
    line = pl.read_parquet(run / "metrics.parquet").row(0, named=True)
    assert (line["cost_usd"], line["input_tokens"], line["latency_p50_s"]) == (pytest.approx(0.03), 30, 2.0)


def test_slices_are_values_or_quartiles_or_lengths(make_run: Make, evaluation: Evaluation, summary: Summary) -> None:
    """Few values are slices of their own, numbers are cut at their quartiles, texts are taken by their length."""
    sliced = replace(evaluation, slices=(Slice(column="kind"), Slice(column="size"), Slice(column="note", by="length")))
    columns = {
        "kind": ["a", "b", None, "a"] * 4,
        "size": [float(n) for n in range(16)],
        "note": ["n" * n for n in range(16)],
    }
    run = make_run("a", {"m": ["x", "y"] * 8}, ["x"] * 16, evaluation=sliced, columns=columns)
    slices = summary(run)["evaluation"]["slices"]
    assert {value: by["m"]["n"] for value, by in slices["kind"].items()} == {"(empty)": 4, "a": 8, "b": 4}
    assert {value: by["m"]["n"] for value, by in slices["size"].items()} == {
        "0 to 4": 5,
        "5 to 8": 4,
        "9 to 11": 3,
        "12 to 15": 4,
    }
    assert list(slices["note (length)"]) == ["0 to 4", "5 to 8", "9 to 11", "12 to 15"]
    assert slices["kind"]["b"]["m"]["mean"] == 0.0


def test_many_values_are_put_together_and_it_is_said(make_run: Make, evaluation: Evaluation, summary: Summary) -> None:
    """A column of names makes no thousand slices."""
    sliced = replace(evaluation, slices=(Slice(column="name"),))
    names = [f"n{row:02}" for row in range(40)]
    run = make_run("a", {"m": ["x"] * 40}, ["x"] * 40, evaluation=sliced, columns={"name": names})
    said = summary(run)["evaluation"]
    assert said["slices"]["name"]["(others)"]["m"]["n"] == 10
    assert said["notices"] == ["The slice 'name' has 40 values: 10 are together in (others)."]


def test_a_pool_has_metrics_of_all_models_together(make_run: Make, summary: Summary, tmp_path: Path) -> None:
    """Where any model answers a row, the run as a whole is what a row was given."""
    pooled = make_run("a", {"m": ["x"], "n": ["y"]}, ["x"], each=False)
    assert summary(pooled)["evaluation"]["models"]["(all)"]["n"] == 2
    each = make_run("b", {"m": ["x"], "n": ["y"]}, ["x"])
    assert "(all)" not in summary(each)["evaluation"]["models"]


def test_a_list_of_acceptable_answers_is_one_if_the_job_says_so(make_run: Make, evaluation: Evaluation) -> None:
    """The table holds it as JSON; without the word it is a text like any other."""
    truth = ['["x", "y"]', "y", "[not JSON"]
    several = replace(evaluation, several=True)
    right = make_run("a", {"m": ["y", "y", "[not JSON"]}, truth, evaluation=several)
    assert pl.read_parquet(right / "scores.parquet")["score"].to_list() == [1.0, 1.0, 1.0]
    plain = make_run("b", {"m": ["y", "y", "x"]}, truth)
    assert pl.read_parquet(plain / "scores.parquet")["score"].to_list() == [0.0, 1.0, 0.0]


def test_the_key_of_a_row_is_of_its_content_without_what_is_expected(make_run: Make) -> None:
    """The same row has the same key in every run, at whatever place, also when its truth was corrected."""
    one = make_run("a", {"m": ["x", "y"]}, ["x", "y"], columns={"a": ["1", "2"], "b": ["3", "4"]})
    two = make_run("b", {"m": ["x", "y"]}, ["x", "z"], columns={"b": ["4", "3"], "a": ["2", "1"]})
    keys = [pl.read_parquet(run / "scores.parquet")["key"].to_list() for run in (one, two)]
    assert keys[0] == keys[1][::-1]
    assert len(set(keys[0])) == 2


def test_a_scorer_of_ones_own_is_used(make_run: Make, evaluation: Evaluation) -> None:
    """It is given the answer, what is expected and its options; what it raises gives no score, and the reason."""
    run = make_run("a", {"m": ["x", "boom"]}, ["x", "x"])

    def mine(answer: Any, _expected: Any, options: Any) -> Score:
        if answer == "boom":
            raise ValueError(answer)
        return Score(options["worth"], "because")

    declared = replace(evaluation, scorers=(Scoring(name="mine", scorer="mine", options={"worth": 0.5}),))
    found = measure(run / "results.parquet", declared, {"truth": "truth"}, {"mine": own_scorer(mine)})
    assert found.scores["mine"].rows() == [(0.5, "because"), (None, "the scorer failed: ValueError: boom")]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"expected": "nothing"}, "the input has no column 'nothing'"),
        ({"slices": (Slice(column="nothing"),)}, "the input has no column 'nothing'"),
        ({"scorers": (Scoring(name="mine", scorer="mine"),)}, "no scorer 'mine'.*runner.run"),
        ({"scorers": (Scoring(name="n", scorer="numeric", options={"near": 1}),)}, "n: .*no option 'near'"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_before_anything_is_sent(
    evaluation: Evaluation, changes: dict[str, Any], reason: str
) -> None:
    """Each in one sentence that names the place."""
    with pytest.raises(UsageError, match=reason):
        check(replace(evaluation, **changes), {"truth": None, "text": None}, {}, load_catalogue(()), ())


def test_odd_numbers_have_no_place_in_a_slice(make_run: Make, evaluation: Evaluation, summary: Summary) -> None:
    """NaN and infinity stand with the empty ones, whether there are few numbers or many."""
    sliced = replace(evaluation, slices=(Slice(column="few"), Slice(column="many")))
    odd = [float("nan"), float("inf"), None]
    columns = {"few": [*odd, *([1.5, 2.0] * 4)], "many": [*odd, *(float(n) for n in range(8))]}
    run = make_run("a", {"m": ["x"] * 11}, ["x"] * 11, evaluation=sliced, columns=columns)
    slices = summary(run)["evaluation"]["slices"]
    assert {value: by["m"]["n"] for value, by in slices["few"].items()} == {"1.5": 4, "2": 4, "(empty)": 3}
    assert slices["many"]["(empty)"]["m"]["n"] == 3


def test_a_run_without_anything_expected_has_no_figures(make_run: Make, summary: Summary) -> None:
    """Nor does it fail."""
    run = make_run("a", {"m": ["x", "y"]}, [None, None], columns={"text": ["a", "b"]})
    model = summary(run)["evaluation"]["models"]["m"]
    assert (model["n"], model["unscored"], model["metrics"]["exact"]["mean"]) == (0, 2, None)


def test_the_column_of_ids_can_be_a_slice(make_run: Make, evaluation: Evaluation, summary: Summary) -> None:
    """It stands in the results table as the runner's own `id`."""
    sliced = replace(evaluation, slices=(Slice(column="id"),))
    run = make_run("a", {"m": ["x"]}, ["x"], evaluation=sliced, columns={"id": ["r0"]}, id_column="id")
    assert list(summary(run)["evaluation"]["slices"]["id"]) == ["r0"]
