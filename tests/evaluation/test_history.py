"""A job's metrics over its runs, the accepted run, and gates."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from runner.core.errors import UsageError
from runner.core.evaluating import Gates
from runner.core.job import Job
from runner.evaluation.ending import conclude
from runner.evaluation.gates import verdict
from runner.evaluation.history import accept, accepted_path, history_path, read_history
from runner.report.trend import history_lines, sparkline
from runner.storage.rundir import RunDirectory

Make = Callable[..., Path]
Summary = Callable[[Path], dict[str, Any]]


def answers(right: int, of: int = 40) -> list[str]:
    """The first so many are right."""
    return ["x"] * right + ["y"] * (of - right)


def test_a_run_is_written_down_once(make_run: Make) -> None:
    """However often its tables are made again."""
    run = make_run("a", {"m": answers(10), "n": answers(20)}, ["x"] * 40)
    directory = RunDirectory.open(run)
    job = Job.from_json(directory.read_json(directory.manifest_path)["job"])
    conclude(directory, job, {"truth": None, "text": None}, {}, {"exit_code": 0, "cost_usd": 0.0})
    table = read_history(history_path(run.parent, "job"))
    assert table.select("run", "model", "mean").rows() == [("a", "m", 0.25), ("a", "n", 0.5)]


def test_lines_are_only_ever_added(make_run: Make) -> None:
    """The oldest run first; what stood there stays as it was."""
    run = make_run("a", {"m": answers(10)}, ["x"] * 40)
    path = history_path(run.parent, "job")
    before = read_history(path)
    make_run("b", {"m": answers(11)}, ["x"] * 40)
    after = read_history(path)
    assert after.head(len(before)).equals(before)
    assert after["run"].to_list() == ["a", "b"]


def test_a_change_is_marked_only_where_the_paired_test_supports_it(make_run: Make) -> None:
    """Three rows more are noise, ten are not."""
    for name, right in (("a", 10), ("b", 13), ("c", 23), ("d", 5)):
        run = make_run(name, {"m": answers(right)}, ["x"] * 40)
    table = read_history(history_path(run.parent, "job"))
    assert table["change"].to_list() == [None, "no difference shown", "better", "worse"]
    assert table["compared_with"].to_list() == [None, "a", "b", "c"]
    text = "\n".join(history_lines("job", "exact", table.to_dicts(), 3))
    assert "▲ 57.5 %" in text
    assert "▼ 12.5 %" in text
    assert "the last 3 of 4 runs" in text
    assert history_lines("job", "exact", table.to_dicts()[:1], 3)[0] == "job: exact over 1 run"


def test_a_run_before_that_is_gone_is_not_compared(make_run: Make) -> None:
    """The history goes on without it."""
    shutil.rmtree(make_run("a", {"m": answers(10)}, ["x"] * 40))
    run = make_run("b", {"m": answers(30)}, ["x"] * 40)
    assert read_history(history_path(run.parent, "job"))["change"].to_list() == [None, None]


def test_a_run_that_asked_otherwise_is_marked(make_run: Make) -> None:
    """Another prompt makes other figures."""
    run = make_run("a", {"m": answers(10)}, ["x"] * 40)
    make_run("b", {"m": answers(10)}, ["x"] * 40, prompt="Otherwise?")
    lines = history_lines("job", "exact", read_history(history_path(run.parent, "job")).to_dicts(), 10)
    assert [line.endswith("asked otherwise than before") for line in lines[-2:]] == [False, True]


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ([], ""),
        ([None], " "),
        ([0.5], "▄"),
        ([0.50, 0.51], "▄▅"),
        ([0.0, 0.5, 1.0], "▁▅█"),
        ([1.0, None, 0.0], "█ ▁"),
        ([0.0], "▁"),
        ([1.0], "█"),
    ],
)
def test_a_sparkline_does_not_make_much_of_little(values: list[float | None], bars: str) -> None:
    """A point of difference is a step at most."""
    assert sparkline(values) == bars


GATES = Gates(least={"exact": 0.5}, not_worse=True, max_cost=1.0, most_unread=0.1)


def test_gates_that_hold_leave_the_exit_code(make_run: Make, summary: Summary) -> None:
    """The verdict says how many were looked at, and what could not be."""
    said = summary(make_run("a", {"m": answers(30)}, ["x"] * 40, gates=GATES))
    assert (said["exit_code"], said["gates"]["passed"]) == (0, True)
    assert said["gates"]["verdict"].startswith("Passed: 3 checks hold. No run has been accepted yet")


@pytest.mark.parametrize(
    ("answers_", "gates", "reason"),
    [
        (answers(10), Gates(least={"exact": 0.5}), "exact of m is 25.0 %, and 50 % is the least."),
        (answers(40), Gates(max_cost=0.1), "The run cost $0.4000, and $0.1 is the most."),
        ([None] * 4 + ["?"] * 4 + ["x"] * 32, Gates(most_unread=0.1), "m has 4 missing and 4 invalid answers of 40"),
    ],
)
def test_a_gate_that_fails_ends_the_run_with_10_and_says_why(
    make_run: Make, summary: Summary, answers_: list[str], gates: Gates, reason: str
) -> None:
    """One paragraph names each gate that failed."""
    said = summary(make_run("a", {"m": answers_}, ["x"] * 40, gates=gates))
    assert said["exit_code"] == 10
    assert said["gates"]["verdict"].startswith("Not passed: 1 of 1 checks fails.")
    assert reason in said["gates"]["verdict"]


def test_a_run_that_is_worse_than_the_accepted_one_does_not_pass(make_run: Make, summary: Summary) -> None:
    """By the paired test: three rows fewer pass, fifteen do not."""
    gates = Gates(not_worse=True)
    accept(make_run("a", {"m": answers(30)}, ["x"] * 40))
    near = summary(make_run("b", {"m": answers(27)}, ["x"] * 40, gates=gates))
    far = summary(make_run("c", {"m": answers(15)}, ["x"] * 40, gates=gates))
    assert (near["exit_code"], far["exit_code"]) == (0, 10)
    assert "This run answered 0 more rows right than the accepted run and 15 fewer" in far["gates"]["verdict"]


def test_one_of_many_comparisons_must_stand_when_corrected(make_run: Make, summary: Summary) -> None:
    """Seven rows lost are p = 0.016: enough for one model, not for one of four."""
    models = ("m", "n", "o", "p")
    accept(make_run("a", {name: answers(30) for name in models}, ["x"] * 40))
    lost = {"m": answers(23), **{name: answers(30) for name in models[1:]}}
    assert summary(make_run("b", lost, ["x"] * 40, gates=Gates(not_worse=True)))["exit_code"] == 0
    accept(make_run("c", {"m": answers(30)}, ["x"] * 40))
    alone = make_run("d", {"m": answers(23)}, ["x"] * 40, gates=Gates(not_worse=True))
    assert summary(alone)["exit_code"] == 10


def test_a_model_that_is_no_longer_asked_does_not_pass(make_run: Make, summary: Summary) -> None:
    """It would be the easiest way to be no worse."""
    accept(make_run("a", {"m": answers(30), "n": answers(30), "o": answers(3)}, ["x"] * 40))
    run = make_run("b", {"m": answers(30), "n": answers(30)}, ["x"] * 40, gates=Gates(not_worse=True))
    assert "o was in the accepted run, and is not in this one." in summary(run)["gates"]["verdict"]


def test_a_single_model_that_is_left_of_several_does_not_pass_for_all_of_them(make_run: Make, summary: Summary) -> None:
    accept(make_run("a", {"m": answers(30), "n": answers(30), "o": answers(3)}, ["x"] * 40))
    said = summary(make_run("b", {"m": answers(30)}, ["x"] * 40, gates=Gates(not_worse=True)))
    assert said["exit_code"] == 10
    assert "n was in the accepted run, and is not in this one." in said["gates"]["verdict"]


def test_a_comparison_without_a_single_score_does_not_pass(make_run: Make, summary: Summary) -> None:
    """A gate that cannot look must not wave through."""
    accept(make_run("a", {"m": answers(30)}, ["x"] * 40))
    said = summary(make_run("b", {"m": answers(30)}, [None] * 40, gates=Gates(not_worse=True)))
    assert said["exit_code"] == 10
    assert "nothing can be compared" in said["gates"]["verdict"]


@pytest.mark.parametrize(("graded", "passes"), [(4, False), (5, True)])
def test_a_judge_that_graded_few_answers_lets_nobody_pass(graded: int, passes: bool) -> None:
    """Its budget may have ended after the first one."""
    about = {"n": 10, "unscored": 0, "metrics": {"judge": {"n": graded, "mean": 1.0}}}
    said = verdict(Gates(least={"judge": 0.5}), {"models": {"m": about}}, 0.0, None, None)
    assert said["passed"] is passes
    assert ("judge of m is 100.0 % of the 4 of 10 answers that it graded" in said["verdict"]) is not passes


def test_rows_of_the_accepted_run_that_are_not_compared_are_told(make_run: Make, summary: Summary) -> None:
    accept(make_run("a", {"m": answers(30)}, ["x"] * 40))
    said = summary(make_run("b", {"m": answers(3, 4)}, ["x"] * 4, gates=Gates(not_worse=True)))
    assert said["exit_code"] == 0
    assert "36 answers of the accepted run have none in this one to be compared with." in said["gates"]["verdict"]


def test_an_accepted_run_that_is_gone_does_not_pass(make_run: Make, summary: Summary) -> None:
    """A gate that cannot look must not wave through."""
    accepted = make_run("a", {"m": answers(30)}, ["x"] * 40)
    accept(accepted)
    shutil.rmtree(accepted)
    said = summary(make_run("b", {"m": answers(30)}, ["x"] * 40, gates=Gates(not_worse=True)))
    assert said["exit_code"] == 10
    assert "accept another with: runner accept RUN" in said["gates"]["verdict"]


def test_only_a_run_with_an_evaluation_can_be_accepted(make_run: Make) -> None:
    """There would be nothing to compare with."""
    run = make_run("a", {"m": answers(30)}, ["x"] * 40)
    assert accept(run) == "job"
    assert orjson.loads(accepted_path(run, "job").read_bytes())["run"] == "a"
    (run / "scores.parquet").unlink()
    with pytest.raises(UsageError, match="no evaluation"):
        accept(run)


def test_the_history_is_a_table_that_others_can_read(make_run: Make) -> None:
    """Plain columns, one line for each run, model and metric."""
    run = make_run("a", {"m": answers(10)}, ["x"] * 40)
    line = pl.read_parquet(history_path(run.parent, "job")).row(0, named=True)
    assert (line["run"], line["gateway"], line["scorer"], line["n"], line["cost_usd"]) == (
        "a",
        "local",
        "exact",
        40,
        pytest.approx(0.4),
    )


def test_one_of_many_changes_is_marked_only_if_it_stands_when_corrected(make_run: Make) -> None:
    """Of four models one differs by chance often enough."""
    models = ("m", "n", "o", "p")
    make_run("a", {name: answers(30) for name in models}, ["x"] * 40)
    run = make_run("b", {"m": answers(23), **{name: answers(30) for name in models[1:]}}, ["x"] * 40)
    table = read_history(history_path(run.parent, "job")).filter(pl.col("run") == "b")
    assert table["change"].to_list() == ["no difference shown"] * 4


def test_rows_that_no_model_was_asked_about_are_no_models_fault(make_run: Make, summary: Summary) -> None:
    """They stand by themselves in the metrics, and no gate and no comparison takes them for a model."""
    models = {"m": answers(30), "n": answers(30)}
    accept(make_run("a", {**models, "": [None] * 40}, ["x"] * 40))
    gates = Gates(least={"exact": 0.5}, most_unread=0.0, not_worse=True)
    said = summary(make_run("b", models, ["x"] * 40, gates=gates))
    assert said["gates"]["verdict"] == "Passed: 6 checks hold."
    assert summary(make_run("c", {**models, "": [None] * 40}, ["x"] * 40, gates=gates))["exit_code"] == 0
