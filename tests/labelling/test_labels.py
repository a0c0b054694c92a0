"""Labels made of results: what the vote says, what stays open, and the figures beside."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from runner.core.errors import UsageError
from runner.core.evaluating import Evaluation
from runner.core.job import Job
from runner.core.labelling import Voting
from runner.labelling import label
from runner.labelling.confidence import confidences
from runner.labelling.decisions import FILE, keep, kept, read_decisions
from runner.labelling.figures import figures, right
from runner.labelling.tables import ids_of
from runner.labelling.votes import STATUSES, read_votes, verdicts
from runner.reading import Replies
from runner.report.labelling import lines as lines_of
from runner.storage.rundir import RunDirectory

Make = Callable[..., Job]
Write = Callable[..., RunDirectory]


def table(directory: RunDirectory) -> pl.DataFrame:
    return pl.read_parquet(directory.labels_path)


def open_rows(directory: RunDirectory) -> list[dict[str, str]]:
    with directory.disagreements_path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("answers", "found", "status", "support"),
    [
        (("a", "a", "a"), "a", "agreed", 1.0),
        (("a", "b", "a"), "a", "majority", 2 / 3),
        (("a", "b", "c"), None, "tie", 1 / 3),
        (("a", "b", "!"), None, "tie", 0.5),
        (("a", "!", "a"), "a", "agreed", 1.0),
        (("a", "!", None), "a", "single", 1.0),
        (("!", None, "!"), None, "none", 0.0),
        (("a~", "a", "b"), "a", "majority", 2 / 3),
    ],
)
def test_each_row_has_its_label_with_how_it_came_about(
    job: Make, results: Write, answers: tuple[str | None, ...], found: str | None, status: str, support: float
) -> None:
    """Ties are named and never broken; whoever said nothing that can be read has no vote."""
    directory = results({name: [answer] for name, answer in zip("xyz", answers, strict=True)})
    label(job(), ["x", "y", "z"], [], directory)
    [line] = table(directory).to_dicts()
    assert (line["label"], line["label_status"], line["support"]) == (found, status, pytest.approx(support))
    assert status in STATUSES
    assert [line[name] for name in "xyz"] == [
        None if answer in (None, "!") else answer.removesuffix("~") for answer in answers
    ]


def test_a_lead_below_the_least_support_is_left_open(job: Make, results: Write) -> None:
    """Two of three are enough by default, and not if more is asked for."""
    directory = results({"x": ["a"], "y": ["a"], "z": ["b"]})
    label(job(least=0.7), ["x", "y", "z"], [], directory)
    assert table(directory).select("label", "label_status").row(0) == (None, "weak")
    assert open_rows(directory)[0]["reason"] == "a support of 0.67 is below 0.70"


def test_a_lead_of_just_the_least_support_is_enough(job: Make, results: Write) -> None:
    """Three of five, also where their weights do not add up to that for a machine."""
    directory = results({"v": ["a"], "w": ["a"], "x": ["a"], "y": ["b"], "z": ["b"]})
    label(job(least=0.6, weights=dict.fromkeys("vwxyz", 0.7)), ["v", "w", "x", "y", "z"], [], directory)
    assert table(directory).select("label", "label_status").row(0) == ("a", "majority")


def test_weights_count(job: Make, results: Write) -> None:
    """One heavy vote against two."""
    directory = results({"x": ["a"], "y": ["b"], "z": ["b"]})
    label(job(weights={"x": 3.0}), ["x", "y", "z"], [], directory)
    assert table(directory)["label"].to_list() == ["a"]


@pytest.mark.parametrize(
    ("kind", "answers", "found", "status"),
    [
        ("labels", ('["a", "b"]', '["b"]', '["b", "c"]'), '["b"]', "majority"),
        ("rating", ("1", "2", "5"), "2", "median"),
        ("rating", ("1", "2", "!"), "1.5", "median"),
        ("rating", ("3", "3", "!"), "3", "agreed"),
    ],
)
def test_other_kinds_of_answers_are_voted_on_in_their_own_way(
    job: Make, results: Write, kind: str, answers: tuple[str, ...], found: str, status: str
) -> None:
    """Of several labels those that most are for; of ratings the median."""
    directory = results({name: [answer] for name, answer in zip("xyz", answers, strict=True)})
    said = label(job(kind), ["x", "y", "z"], [], directory)
    assert table(directory).select("label", "label_status").row(0) == (found, status)
    assert said is not None
    assert said["agreement"]["krippendorff_alpha"]["reason"]


ANN, BOB = (
    f'{{"text": "{name}", "label": "a", "start": {start}, "end": {start + 3}, "occurrence": 1}}'
    for name, start in (("Ann", 0), ("Bob", 10))
)


@pytest.mark.parametrize(
    ("kind", "one", "other", "different"),
    [
        ("fields", '{"name": "Ann", "born": 1970}', '{"born": 1970.0, "name": "Ann"}', '{"name": "Ann", "born": true}'),
        ("fields", "1970", "1970.0", "1971"),
        ("fields", "Vienna", "Vienna", "Graz"),
        ("spans", f"[{ANN}, {BOB}]", f"[{BOB}, {ANN}]", f"[{ANN}]"),
        ("labels", '["a", "b"]', '["b", "a"]', '["a"]'),
    ],
)
def test_answers_that_say_the_same_agree_whatever_order_they_say_it_in(
    results: Write, kind: str, one: str, other: str, different: str
) -> None:
    """The vote, the agreement, the known labels and the confidence of samples see the same."""
    directory = results({"x#1": [one, one], "x#2": [other, different], "strong": [None, one]})
    votes = read_votes(directory.results_path, kind, ["x#1", "x#2"], ["strong"])
    first, second = verdicts(votes, Voting())
    assert (first.label, first.status, first.support) == (one, "agreed", 1.0)
    assert (second.status, second.support) == ("escalated", pytest.approx(2 / 3))
    assert figures(votes, [first, second], [])["agreement"]["percent"]["value"] == 0.5
    assert right(kind, [other, other], votes.cells["x#1"])["right"] == 2
    assert right(kind, [other, other], votes.cells["x#2"])["right"] == 1
    assert confidences(votes, "samples") == [1.0, 0.5]


def test_the_table_is_the_input_with_labels_in_its_order(job: Make, results: Write) -> None:
    """With the run and the job that they come from; a column of the input that has one of our names gets another."""
    directory = results({"x": ["b", "a"], "y": ["b", "a"]}, {"n": pl.Int64}, n=[7, 8], label=["old", "older"])
    label(job(), ["x", "y"], [], directory)
    frame = table(directory)
    assert frame.columns == [
        "row",
        "id",
        "n",
        "input_label",
        "label",
        "label_status",
        "support",
        "x",
        "y",
        "run",
        "job",
    ]
    assert frame.select("row", "n", "input_label", "label").rows() == [(0, 7, "old", "b"), (1, 8, "older", "a")]
    assert set(frame["job"]) == {job().fingerprint}
    assert set(frame["run"]) == {directory.path.name}


def test_columns_have_their_own_names_again(job: Make, results: Write) -> None:
    """A results table must rename an input's `text` or `status`; a table of labels need not."""
    directory = results({"x": ["b"]}, input_text=["one"], input_model=["theirs"], input_input_id=["3"], input_id=["4"])
    label(job(), ["x"], [], directory)
    frame = table(directory)
    assert frame.columns[:6] == ["row", "id", "text", "model", "input_input_id", "input_id"]


def test_what_is_open_goes_to_a_person(job: Make, results: Write) -> None:
    """Texts, what each annotator said, why the row is open, and a place for the decision; nothing known is shown."""
    directory = results(
        {"x": ["a", "a", "!"], "y": ["a", "b", "!"]}, {"n": pl.Int64},
        input_text=["one", "=2+2", "three"], n=[1, 2, 3], known=["a", "a", "a"],
    )  # fmt: skip
    said = label(job(gold="known"), ["x", "y"], [], directory)
    assert said is not None
    assert said["open"] == 2
    first, second = open_rows(directory)
    assert first == {
        "row": "1", "id": "id-1", "text": "'=2+2", "x": "a", "y": "b", "reason": "2 values tie", "decision": "",
    }  # fmt: skip
    assert (second["x"], second["reason"]) == ("(invalid: it names 2 labels)", "there is no valid vote")


def test_what_an_evaluation_expects_is_shown_to_no_person_either(job: Make, results: Write) -> None:
    """Who decides by the truth does not label."""
    directory = results({"x": ["a"], "y": ["b"]}, input_text=["one"], truth=["a"])
    exact = Evaluation(expected="truth", scorers=(), main="exact")
    label(replace(job(), evaluate=exact, vote=Voting(declared=True)), ["x", "y"], [], directory)
    assert "truth" not in open_rows(directory)[0]


def test_an_evaluation_counts_no_votes_unless_it_asks_for_that(job: Make, results: Write) -> None:
    """Its models are compared with the truth, and a vote among them is nobody's question."""
    directory = results({"x": ["a"], "y": ["b"]}, truth=["a"])
    exact = Evaluation(expected="truth", scorers=(), main="exact")
    assert label(replace(job(), evaluate=exact), ["x", "y"], [], directory) is None
    assert not directory.labels_path.exists()
    assert label(job(), ["x", "y"], [], directory) is not None


def test_the_figures_say_how_much_annotators_agree(job: Make, results: Write) -> None:
    """Percent, kappa and alpha with intervals; by label; and who calls what otherwise."""
    directory = results({"x": ["a", "b", "c", "a", "!"], "y": ["a", "b", "b", "a", "a"]})
    said = label(job(), ["x", "y"], [], directory)
    assert said is not None
    measures = said["agreement"]
    assert measures["percent"]["value"] == 0.75
    assert measures["cohen_kappa"]["value"] == pytest.approx(1 - 0.25 / (1 - (2 * 2 + 1 * 2) / 16), abs=1e-4)
    assert measures["percent"]["low"] <= 0.75 <= measures["percent"]["high"]
    assert "fleiss_kappa" not in measures
    assert set(measures["per_label"]) == {"a", "b", "c"}
    [apart] = said["confusion"]
    assert (apart["annotators"], apart["apart"], apart["rows"]) == (["x", "y"], [["c", "b", 1]], 4)
    assert said["annotators"]["x"] == {"read": 4, "invalid": 1, "missing": 0}
    assert said["statuses"] == {"agreed": 3, "tie": 1, "single": 1}
    assert said["labels"] == {"a": 3, "b": 1, "c": 0}


def test_three_annotators_have_fleiss_kappa_and_rows_that_it_cannot_use_are_counted(job: Make, results: Write) -> None:
    """Krippendorff's alpha uses them."""
    directory = results({"x": ["a", "b", "!"], "y": ["a", "b", "a"], "z": ["a", "b", "a"]})
    said = label(job(), ["x", "y", "z"], [], directory)
    assert said is not None
    assert said["agreement"]["fleiss_kappa"]["left_out"] == 1
    assert said["agreement"]["krippendorff_alpha"]["left_out"] == 0


def test_one_annotator_has_labels_and_nobody_to_agree_with(job: Make, results: Write) -> None:
    """A pool or a single model labels too."""
    directory = results({"pool": ["a", "!"]})
    said = label(job(), ["pool"], [], directory)
    assert said is not None
    assert (said["agreement"], said["confusion"]) == (None, [])
    assert table(directory)["label_status"].to_list() == ["agreed", "none"]


def test_known_labels_say_how_good_annotators_and_vote_are(job: Make, results: Write) -> None:
    """Invalid, missing and undecided rows are not right; what is no label is left out and named."""
    directory = results(
        {"x": ["a", "a", "!", "a", "a"], "y": ["a", "b", "b", "a", "a"]}, known=["a", "a", "b", "zebra", None]
    )
    said = label(job(gold="known"), ["x", "y"], [], directory)
    assert said is not None
    gold = said["gold"]
    assert (gold["rows"], gold["unreadable"]) == (3, {"zebra": 1})
    assert (gold["annotators"]["x"]["right"], gold["annotators"]["x"]["unanswered"]) == (2, 1)
    assert gold["annotators"]["y"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert (gold["vote"]["right"], gold["vote"]["unanswered"], gold["vote"]["items"]) == (2, 1, 3)
    assert gold["vote"]["low"] < 2 / 3 < gold["vote"]["high"]


def test_a_stronger_model_is_wrong_about_the_rows_that_it_was_asked_about_and_did_not_answer(
    job: Make, results: Write
) -> None:
    """As any annotator is; the rows about which it was not asked say nothing of it."""
    directory = results({"x": ["a"] * 4, "y": ["b"] * 4, "strong": ["a", None, "!", "-"]}, known=["a"] * 4)
    said = label(job(gold="known"), ["x", "y"], ["strong"], directory)
    assert said is not None
    assert said["annotators"]["strong"] == {"read": 1, "invalid": 1, "missing": 1}
    quality = said["gold"]["annotators"]["strong"]
    assert (quality["right"], quality["unanswered"], quality["items"]) == (1, 2, 3)


def test_why_there_is_no_agreement_is_said_once_and_not_for_each_label(job: Make, results: Write) -> None:
    """A run that was stopped early has hardly a row with two answers, and may have many labels."""
    directory = results({"x": ["a", "-"], "y": ["-", "b"]})
    said = label(job(), ["x", "y"], [], directory)
    assert said is not None
    shown = [line for line in lines_of(directory.path, said) if "no item has" in line]
    assert [line.split("  ")[0] for line in shown] == ["observed agreement", "Cohen's kappa", "Krippendorff's alpha"]


def test_agreement_counts_each_row_once_however_many_answers_it_has(job: Make, results: Write) -> None:
    """It is the mean over rows of the share of pairs that agree, as Fleiss has it; rows without a pair are left out."""
    directory = results({"x": ["a", "a", "a"], "y": ["a", "b", "!"], "z": ["b", "!", None]})
    said = label(job(), ["x", "y", "z"], [], directory)
    assert said is not None
    percent = said["agreement"]["percent"]
    assert (percent["value"], percent["items"], percent["left_out"]) == (pytest.approx((1 / 3 + 0) / 2, abs=1e-4), 2, 1)


def test_a_job_that_declares_no_label_has_no_labels(results: Write, job: Make) -> None:
    """Texts are not voted on."""
    directory = results({"x": ["a"]})
    assert label(Job(input="a"), ["x"], [], directory) is None
    assert label(job("text"), ["x"], [], directory) is None
    assert not directory.labels_path.exists()


# What people decide.


def decide(directory: RunDirectory, job: Job, text: str) -> dict[int, str]:
    file = directory.path / "decisions.csv"
    file.write_text(text)
    return read_decisions(file, ids_of(directory.results_path), Replies(job))


def test_decisions_take_the_place_of_the_vote(job: Make, results: Write) -> None:
    """They are kept with the run, and hold whenever the table is made again; the last one holds."""
    directory = results({"x": ["a", "a", "a"], "y": ["b", "b", "a"]})
    found = decide(directory, job(), "row,id,decision\n0,id-0,b\n1,id-1,\n2,id-2, B \n")
    assert found == {0: "b", 2: "b"}
    keep(directory.path / FILE, found, "decisions.csv")
    keep(directory.path / FILE, {0: "c"}, "decisions.csv")
    assert kept(directory.path) == {0: "c", 2: "b"}
    for _ in range(2):
        said = label(job(), ["x", "y"], [], directory)
        assert said is not None
        assert (said["decided"], said["open"], said["statuses"]) == (2, 1, {"tie": 2, "agreed": 1})
        assert table(directory).select("label", "label_status").rows() == [
            ("c", "decided"), (None, "tie"), ("b", "decided"),
        ]  # fmt: skip


def test_decisions_that_cannot_be_used_are_named_by_line_and_none_is_adopted(job: Make, results: Write) -> None:
    """An unknown row, and what is no label."""
    directory = results({"x": ["a"], "y": ["b"]})
    with pytest.raises(UsageError, match="nothing was adopted") as caught:
        decide(directory, job(), "row,id,decision\n0,id-0,zebra\n7,id-7,a\n,,a\n")
    lines = str(caught.value).split("\n")[1:]
    assert [line.strip()[:6] for line in lines] == ["line 2", "line 3", "line 4"]
    assert "'zebra' is no label" in lines[0]
    assert "the run has no row '7'" in lines[1]
    assert "the run has no row ''" in lines[2]


def test_a_decision_that_is_no_label_is_met_with_those_there_are(job: Make, results: Write) -> None:
    """The nearest, where one is meant; else all of them."""
    directory = results({"x": ["a"], "y": ["b"]})
    with pytest.raises(UsageError) as caught:
        decide(directory, job(), "row,id,decision\n0,id-0,aa\n0,id-0,zebra\n")
    near, far = str(caught.value).split("\n")[1:]
    assert near.endswith("Did you mean 'a'?")
    assert far.endswith("it names none of the labels; the labels are a, b, c")


def test_a_decision_beside_the_id_of_another_row_is_refused(job: Make, results: Write) -> None:
    """A column was sorted by itself, or the table is another run's: the number alone would take it for another row."""
    directory = results({"x": ["a", "a"], "y": ["b", "b"]})
    with pytest.raises(UsageError, match="nothing was adopted") as caught:
        decide(directory, job(), "row,id,decision\n0,id-0,a\n1,id-7,b\n")
    assert str(caught.value).split("\n")[1:] == [
        "  line 3: row 1 is 'id-1' in the run, and not 'id-7': keep each decision beside its own row and id"
    ]


def test_two_decisions_about_a_row_are_refused_unless_they_say_the_same(job: Make, results: Write) -> None:
    """Nobody knows which one holds."""
    directory = results({"x": ["a"], "y": ["b"]})
    assert decide(directory, job(), "row,id,decision\n0,id-0,a\n0,id-0,\n0,id-0,A\n") == {0: "a"}
    with pytest.raises(UsageError, match="nothing was adopted") as caught:
        decide(directory, job(), "row,id,decision\n0,id-0,a\n0,id-0,b\n")
    assert "line 3: row 0 is 'b' here, and 'a' in line 2: leave one of them" in str(caught.value)


@pytest.mark.parametrize(
    "line",
    ["1.0,7,x,b", " 1 ,7.0,x,b", "01,007,x, b ", "1,'007,x,'b", "1,007,x,b\n,,,\n\n,,,", f"1,007,{'x' * 200_000},b"],
)
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_what_spreadsheets_do_to_a_table_changes_no_decision(job: Make, results: Write, line: str, mark: str) -> None:
    """They write numbers otherwise, drop zeros, add empty lines, and put marks of their own between cells."""
    directory = results({"x": ["a", "a"], "y": ["b", "b"]}, ids=["=1", "007"])
    assert decide(directory, job(), f"\ufeffrow,id,text,decision\n{line}\n".replace(",", mark)) == {1: "b"}
    assert decide(directory, job(), "row,id,decision\n0,'=1,a\n") == {0: "a"}


def test_a_label_that_is_a_number_is_read_as_spreadsheets_write_it(job: Make, results: Write) -> None:
    """A column of numbers with empty cells becomes one of fractions."""
    directory = results({"x": ["0"], "y": ["1"]})
    assert decide(directory, job(labels=("0", "1")), "row,id,decision\n0,id-0,1.0\n") == {0: "1"}


def test_rows_without_ids_are_decided_by_their_numbers(job: Make, results: Write) -> None:
    """There is nothing else to know them by."""
    directory = results({"x": ["a", "a"], "y": ["b", "b"]}, ids=["0", "1"])
    assert decide(directory, job(), "row,decision\n1,b\n") == {1: "b"}


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("", "has no column 'row'"),
        ("decision", "has no column 'row'"),
        ("row,id,label", "has no column 'decision'"),
        ("row,decision", "has no column 'id'"),
        ("row,id,id,decision", "has 2 columns 'id'"),
        ("row,id,decision,decision", "the input's own: give that another name"),
    ],
)
def test_a_file_in_which_decisions_have_no_certain_row_is_refused(
    job: Make, results: Write, header: str, reason: str
) -> None:
    """It says which column is missing, or there twice, and what the file should be."""
    with pytest.raises(UsageError, match="as the run has written them") as caught:
        decide(results({"x": ["a"]}), job(), f"{header}\n0,a,a,a\n")
    assert reason in str(caught.value)


def test_columns_of_the_input_are_not_taken_for_ours_where_a_person_decides(job: Make, results: Write) -> None:
    """They have the names that they have in the table of labels."""
    directory = results({"x": ["a"], "y": ["b"]}, input_id=["theirs"], input_row=["5"], decision=["b"])
    label(job(), ["x", "y"], [], directory)
    [line] = open_rows(directory)
    assert (line["row"], line["id"], line["decision"]) == ("0", "id-0", "")
    assert (line["input_id"], line["input_row"], line["input_decision"]) == ("theirs", "5", "b")


def test_a_file_that_is_no_text_in_utf_8_is_refused(job: Make, results: Write, tmp_path: Path) -> None:
    """It says how to save it."""
    file = tmp_path / "decisions.csv"
    file.write_bytes("row,id,decision\n0,Zoë,a\n".encode("latin-1"))
    with pytest.raises(UsageError, match="is no text in UTF-8: save it as CSV in UTF-8"):
        read_decisions(file, ids_of(results({"x": ["a"]}).results_path), Replies(job()))


def test_decisions_may_come_through_a_pipe(job: Make, results: Write) -> None:
    """As a shell gives them: `runner adopt RUN <(...)`."""
    reading, writing = os.pipe()
    os.write(writing, b"row,id,decision\r0,id-0,a\r")
    os.close(writing)
    ids = ids_of(results({"x": ["a"]}).results_path)
    assert read_decisions(Path(f"/dev/fd/{reading}"), ids, Replies(job())) == {0: "a"}
    os.close(reading)


def test_a_file_that_is_not_there_is_refused(job: Make, results: Write, tmp_path: Path) -> None:
    """In one sentence."""
    ids = ids_of(results({"x": ["a"]}).results_path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_decisions(tmp_path / "nowhere.csv", ids, Replies(job()))
