"""Two runs, or two models of one run, on the same rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from runner.core.answers import Reader
from runner.core.errors import UsageError
from runner.core.evaluating import Evaluation, Scoring
from runner.core.labelling import Reading
from runner.evaluation.comparison import compare, corrected_p, side, to_json, write_rows
from runner.report.compared import comparison_lines
from runner.statistics.paired import mcnemar

Make = Callable[..., Path]

RIGHT, WRONG = "x", "y"


def answers(right: int, of: int) -> list[str]:
    """The first so many are right."""
    return [RIGHT] * right + [WRONG] * (of - right)


def test_rows_are_paired_by_their_content_whatever_their_order(make_run: Make) -> None:
    """The second input is turned round and has a row more; each row still meets itself."""
    one = make_run("a", {"m": [RIGHT, RIGHT, WRONG]}, ["x"] * 3, columns={"text": ["1", "2", "3"]})
    two = make_run("b", {"m": [RIGHT, RIGHT, WRONG, RIGHT]}, ["x"] * 4, columns={"text": ["0", "3", "2", "1"]})
    found = compare(side(str(one)), side(str(two)))
    [part] = found.parts
    assert (found.paired_by, found.only) == ("content", (0, 1))
    assert part.rows.select("change", "row_a", "row_b").rows() == [("lost", 1, 2), ("gained", 2, 1)]
    assert part.rows["answer_a"].to_list() == [RIGHT, WRONG]


def test_rows_of_the_same_content_are_paired_in_turn(make_run: Make) -> None:
    """Three times the same row is three pairs, not nine."""
    columns = {"text": ["same"] * 3}
    one = make_run("a", {"m": answers(3, 3)}, ["x"] * 3, columns=columns)
    two = make_run("b", {"m": answers(2, 3)}, ["x"] * 3, columns=columns)
    [part] = compare(side(str(one)), side(str(two))).parts
    assert part.verdict.difference.items == 3
    assert len(part.verdict.lost) == 1


def test_rows_with_other_columns_are_paired_by_their_ids(make_run: Make) -> None:
    """As where a column was added to the input."""
    one = make_run("a", {"m": answers(2, 3)}, ["x"] * 3)
    two = make_run("b", {"m": answers(3, 3)}, ["x"] * 3, columns={"more": ["1", "2", "3"]})
    found = compare(side(str(one)), side(str(two)))
    assert found.paired_by == "id"
    assert len(found.parts[0].verdict.gained) == 1


def test_mcnemar_judges_scores_of_0_and_1(make_run: Make) -> None:
    """Ten rows gained and none lost is a difference; the p value is the test's."""
    one = make_run("a", {"m": answers(10, 40)}, ["x"] * 40)
    two = make_run("b", {"m": answers(20, 40)}, ["x"] * 40)
    [part] = compare(side(str(one)), side(str(two))).parts
    assert part.verdict.kind == "better"
    assert part.verdict.test == mcnemar(10, 0)
    assert part.verdict.difference.value == 0.25


def test_models_of_one_run_are_compared_with_each_other(make_run: Make) -> None:
    """By their names, and with what each cost."""
    run = make_run("a", {"m": answers(10, 40), "n": answers(30, 40)}, ["x"] * 40)
    found = compare(side(f"{run}:m"), side(f"{run}:n"))
    [part] = found.parts
    assert part.verdict.sentence.startswith("n answered 20 more rows right than m and 0 fewer, of 40")
    assert part.costs["cost_usd"] == (pytest.approx(0.4), pytest.approx(0.4))


def test_where_rows_went_to_several_models_each_is_compared_with_itself(make_run: Make) -> None:
    """Answers of two models to one row are no two rows; p values are corrected for the number of comparisons."""
    one = make_run("a", {"m": answers(10, 40), "n": answers(20, 40)}, ["x"] * 40)
    two = make_run("b", {"m": answers(17, 40), "n": answers(20, 40)}, ["x"] * 40)
    found = compare(side(str(one)), side(str(two)))
    assert [part.models for part in found.parts] == [("m", "m"), ("n", "n")]
    assert [part.verdict.kind for part in found.parts] == ["better", "no difference shown"]
    assert corrected_p(found) == [pytest.approx(2 * 2 * 0.5**7), 1.0]


def test_a_pool_is_compared_as_a_whole(make_run: Make) -> None:
    """Whatever model answered a row, unless it is asked for each model by itself."""
    one = make_run("a", {"m": answers(4, 4)}, ["x"] * 4, each=False)
    two = make_run("b", {"n": answers(3, 4)}, ["x"] * 4, each=False)
    assert len(compare(side(str(one)), side(str(two))).parts[0].verdict.lost) == 1
    with pytest.raises(UsageError, match="no rows in common that the same model"):
        compare(side(str(one)), side(str(two)), by_model=True)


def test_all_rows_that_changed_are_written_and_no_cell_is_a_formula(make_run: Make, tmp_path: Path) -> None:
    """By the file's ending; nothing that exists is replaced."""
    one = make_run("a", {"m": ["x", "=1+1"]}, ["x", "x"])
    two = make_run("b", {"m": ["y", "x"]}, ["x", "x"])
    found = compare(side(str(one)), side(str(two)))
    assert write_rows(found, tmp_path / "rows.csv") == 2
    written = pl.read_csv(tmp_path / "rows.csv")
    assert written["change"].to_list() == ["lost", "gained"]
    assert written["answer_a"].to_list() == ["x", "'=1+1"]
    assert write_rows(found, tmp_path / "rows.parquet") == 2
    for name, reason in (("rows.csv", "exists"), ("rows.txt", "ending")):
        with pytest.raises(UsageError, match=reason):
            write_rows(found, tmp_path / name)


def test_the_json_holds_the_verdict_and_the_counts(make_run: Make) -> None:
    """For programs: what the sentence says, in figures."""
    one = make_run("a", {"m": answers(1, 2)}, ["x"] * 2)
    two = make_run("b", {"m": answers(2, 2)}, ["x"] * 2)
    said = to_json(compare(side(str(one)), side(str(two))))
    [part] = said["comparisons"]
    assert (part["kind"], part["gained"], part["lost"], part["rows"]) == ("no difference shown", 1, 0, 2)
    assert part["costs"]["input_tokens"] == {"a": 20.0, "b": 20.0}


def test_what_cannot_be_compared_is_said_in_a_sentence(make_run: Make, evaluation: Evaluation, tmp_path: Path) -> None:
    """No run, no evaluation, no such model, other scorers, no rows in common."""
    one = make_run("a", {"m": answers(1, 2), "n": answers(1, 2)}, ["x"] * 2)
    other = make_run("b", {"m": answers(1, 2)}, ["x"] * 2, columns={"text": ["k", "l"]})
    for word, reason in (
        (tmp_path / "nothing", "There is no run"),
        (f"{one}:o", "no answers of 'o'; it has those of m, n"),
    ):
        with pytest.raises(UsageError, match=reason):
            side(str(word))
    with pytest.raises(UsageError, match="no metric 'f1'; it has exact"):
        compare(side(str(one)), side(str(other)), "f1")
    with pytest.raises(UsageError, match="Say which model"):
        compare(side(str(one)), side(f"{other}:m"))
    loose = replace(evaluation, scorers=(Scoring(name="exact", scorer="normalised"),))
    third = make_run("c", {"m": answers(1, 2)}, ["x"] * 2, evaluation=loose)
    with pytest.raises(UsageError, match="not the same in both runs"):
        compare(side(str(other)), side(str(third)))
    (third / "scores.parquet").unlink()
    with pytest.raises(UsageError, match="no evaluation in"):
        side(str(third))


def test_runs_that_were_scored_against_other_columns_are_not_compared(make_run: Make, evaluation: Evaluation) -> None:
    """Where the columns hold the same, as after one was renamed, nothing is wrong."""
    given, truth = {"m": answers(2, 3)}, ["x"] * 3
    one = make_run("a", given, truth)
    for name, values, same in (("b", ["x", "x", "y"], False), ("c", truth, True)):
        columns = {"text": ["1", "2", "3"], "other": values}
        two = make_run(name, given, truth, columns=columns, evaluation=replace(evaluation, expected="other"))
        if same:
            assert compare(side(str(one)), side(str(two))).notices == ()
            continue
        with pytest.raises(
            UsageError, match=r"against 'truth', .* against 'other', and these differ in 1 of 3 answers"
        ):
            compare(side(str(one)), side(str(two)))


def test_runs_of_which_something_else_is_expected_are_compared_and_it_is_said(make_run: Make) -> None:
    """As where a known answer was put right in the meantime."""
    one = make_run("a", {"m": answers(2, 3)}, ["x"] * 3)
    two = make_run("b", {"m": answers(2, 3)}, ["x", "x", "y"])
    [notice] = to_json(compare(side(str(one)), side(str(two))))["notices"]
    assert notice == "What is expected differs in 1 of 3 answers: their scores may differ by that alone."


def test_runs_whose_answers_were_read_otherwise_are_compared_and_it_is_said(make_run: Make) -> None:
    """Other labels make other answers of the same replies."""
    reading = [Reading(reader=Reader(kind="label", labels=("x", "y", *more))) for more in ((), ("z",))]
    one, two = (make_run(name, {"m": ["x"]}, ["x"], answer=how) for name, how in zip("ab", reading, strict=True))
    found = compare(side(str(one)), side(str(two)))
    assert found.notices == ("Answers were not read alike: [answer] differs in labels.",)
    assert f"\n{found.notices[0]}\n" in "\n".join(comparison_lines(to_json(found), [[]], 5))


def test_scores_against_one_and_against_several_answers_are_not_compared(
    make_run: Make, evaluation: Evaluation
) -> None:
    """A list of acceptable answers is another measure."""
    one = make_run("a", {"m": ["x"]}, ["x"])
    two = make_run("b", {"m": ["x"]}, ["x"], evaluation=replace(evaluation, several=True))
    with pytest.raises(UsageError, match="not the same in both runs"):
        compare(side(str(one)), side(str(two)))


def test_rows_that_have_nothing_in_common_are_not_compared(make_run: Make) -> None:
    """Ids that only count the rows would pair anything with anything."""
    one = make_run("a", {"m": answers(1, 2)}, ["x"] * 2)
    two = make_run("b", {"m": answers(1, 2)}, ["x"] * 2, columns={"text": ["k", "l"]})
    for run in (one, two):
        frame = pl.read_parquet(run / "scores.parquet")
        frame.with_columns(pl.col("row").cast(pl.String).alias("id")).write_parquet(run / "scores.parquet")
    with pytest.raises(UsageError, match="no rows in common"):
        compare(side(str(one)), side(str(two)))
