"""A labelling job from its declaration to its table, with real processes, and a person's decisions behind it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

ROOT = Path(__file__).parents[2]
JOB = ROOT / "jobs" / "labeling"
FAULTS = "broken_answer=0.05,prose=0.03,refusal=0.01"


@pytest.fixture(scope="module")
def labelled(gateways: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of jobs/labeling at a gateway that breaks answers."""
    gateway = gateways("--no-limits", "--fault", FAULTS)
    run = tmp_path_factory.mktemp("labelling") / "run"
    subprocess.run(
        [sys.executable, "-m", "runner", "run", str(JOB), "--no-limits", "--no-memory", "--quiet", "--out", str(run)],
        env={**os.environ, **gateway.env, "PYTHONPATH": str(ROOT)},
        check=True,
        cwd=run.parent,
    )
    return run


@pytest.fixture
def env(gateways: Any) -> dict[str, str]:
    """The variables that name its gateway."""
    found: dict[str, str] = gateways("--no-limits", "--fault", FAULTS).env
    return found


@pytest.fixture
def run(labelled: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(labelled, tmp_path / "run"))


def summary(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return found


def test_each_row_is_accounted_for_where_answers_break(labelled: Path) -> None:
    """5 % broken JSON, 3 % prose around JSON, 1 % refusals: all rows end, and the counts say how."""
    said = summary(labelled)
    results = pl.read_parquet(labelled / "results.parquet")
    assert said["tasks"]["succeeded"] == said["tasks"]["total"] == len(results) == 3 * 360
    statuses = dict(results["answer_status"].value_counts().iter_rows())
    assert set(statuses) == {"read", "repaired", "invalid"}
    refused = results.filter(pl.col("outcome") == "refused")
    assert set(refused["answer_status"]) == {"invalid"}
    assert set(refused["invalid_reason"]) == {"the model refused to answer"}
    # Every broken answer was asked again, and what was refused was not.
    assert 0.03 < said["requests"]["asked_again"] / len(results) < 0.09
    assert said["requests"]["sent"] == len(results) + said["requests"]["asked_again"]
    assert 0.002 < len(refused) / len(results) < 0.03
    for name, counts in said["labels"]["annotators"].items():
        mine = results.filter(pl.col("annotator") == name)
        assert sum(counts.values()) == len(mine) == 360
        assert counts.get("invalid", 0) == (mine["answer_status"] == "invalid").sum()
    assert said["labels"]["repairs"]["prose"] == (results["repairs"] == "prose").sum()


def test_the_labels_are_the_input_with_the_vote(labelled: Path) -> None:
    """In input order, one line for each row, with the section that the models were not shown beside."""
    labels = pl.read_parquet(labelled / "labels.parquet")
    source = pl.read_ndjson(ROOT / "samples" / "packages.jsonl")
    assert labels["name"].to_list() == source["name"].to_list()
    said = summary(labelled)["labels"]
    assert labels["label"].count() == said["labelled"] == 360 - said["open"]
    gold = said["gold"]
    assert gold["vote"]["right"] == (labels["label"] == labels["section"]).sum()
    assert gold["vote"]["low"] < gold["vote"]["value"] < gold["vote"]["high"]
    assert said["agreement"]["krippendorff_alpha"]["value"] > 0.5
    manifest = json.loads((labelled / "manifest.json").read_text())
    assert set(labels["job"]) == {manifest["fingerprint"]}


def test_nobody_was_shown_what_is_known(labelled: Path, gateways: Any, command: Any) -> None:
    """A prompt that uses the column of known labels is refused before anything is sent."""
    done = command("run", JOB, "-p", "{{ description }} {{ section }}", "--gateway", "local")
    assert done.code == 2
    assert "--prompt shows the column 'section'" in done.err


def test_the_summary_shows_labels_agreement_and_quality(run: Path, command: Any, env: dict[str, str]) -> None:
    """A resume of a finished run prints them from the summary, and asks nothing."""
    done = command("resume", run, env=env)
    assert done.code == 0
    for word in ("rows, ", "Krippendorff's alpha", "right of 360 known", "disagreements.csv", "Repairs: "):
        assert word in done.out


def test_labels_can_be_written_as_csv(run: Path, command: Any) -> None:
    """`runner results --table labels` gives the table in any form that results have."""
    done = command("results", run, "--table", "labels", "--to", "csv")
    lines = list(csv.DictReader(done.out.splitlines()))
    assert len(lines) == 360
    assert {"label", "label_status", "support", "gemma-3-12b", "run", "job"} <= set(lines[0])
    assert command("results", run, "--table", "labels", "--to", "openai-batch").code == 2


def test_a_person_decides_what_is_open(run: Path, command: Any, env: dict[str, str]) -> None:
    """Their decisions are in the table, are kept through a resume, and a wrong one is named and changes nothing."""
    with (run / "disagreements.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    file = run.parent / "decisions.csv"

    def decide(*labels: str) -> None:
        with file.open("w", newline="") as sink:
            writer = csv.DictWriter(sink, lines[0])
            writer.writeheader()
            writer.writerows({**line, "decision": said} for line, said in zip(lines, labels, strict=False))

    decide("weather")
    refused = command("adopt", run, file)
    assert refused.code == 2
    assert "'weather' is no label" in refused.err
    assert not (run / "decisions.jsonl").exists()
    decide("games", "", "web")
    done = command("adopt", run, file)
    assert (done.code, done.out.split(",")[0]) == (0, "2 decisions adopted")
    decided = pl.read_parquet(run / "labels.parquet").filter(pl.col("label_status") == "decided")
    assert decided.select("row", "label").rows() == [(int(lines[0]["row"]), "games"), (int(lines[2]["row"]), "web")]
    (run / "labels.parquet").unlink()
    again = command("resume", run, "--json", env=env)
    assert (again.json()["labels"]["decided"], again.json()["labels"]["open"]) == (2, len(lines) - 2)
    assert pl.read_parquet(run / "labels.parquet").filter(pl.col("label_status") == "decided").equals(decided)


def test_labels_on_the_command_line_make_a_labelling_job(gateway: Any, command: Any, tmp_path: Path) -> None:
    """`--labels` alone reads the answers, and `--set` changes any word."""
    source = tmp_path / "rows.jsonl"
    source.write_text('{"text": "a MySQL database"}\n{"text": "a chess game for two players"}\n')
    done = command(
        "run", source, "-p", "Labels: {{ labels }}\n{{ text }}", "--labels", "database,games", "-m", "claude-opus-4-8",
        "--set", "answer.asks=0", "--out", tmp_path / "run", "--json", env=gateway.env,
    )  # fmt: skip
    assert done.code == 0
    assert done.json()["labels"]["rows"] == 2
    assert set(pl.read_parquet(tmp_path / "run" / "labels.parquet")["label"]) <= {"database", "games"}
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["job"]["answer"]["asks"] == 0


def test_prompts_and_samples_are_annotators(gateway: Any, command: Any, tmp_path: Path) -> None:
    """Each model with each prompt, so often; every annotator has its column."""
    (tmp_path / "job.toml").write_text(
        'input = "rows.jsonl"\nmodels = "claude-opus-4-8,gpt-5-4-mini"\neach = true\n'
        '[answer]\nkind = "label"\nlabels = ["database", "games"]\n'
        "[annotators]\nsamples = 2\n[annotators.prompts]\n"
        'brief = "Labels: {{ labels }}\\n{{ text }}"\nlong = "Think. Labels: {{ labels }}\\n{{ text }}"\n'
    )
    (tmp_path / "rows.jsonl").write_text('{"text": "a MySQL database"}\n')
    done = command("run", tmp_path, "--out", tmp_path / "run", "--json", env=gateway.env)
    assert done.code == 0
    wanted = [f"{model}/{prompt}#{n}" for model in ("claude-opus-4-8", "gpt-5-4-mini")
              for prompt in ("brief", "long") for n in (1, 2)]  # fmt: skip
    assert list(done.json()["labels"]["annotators"]) == wanted
    assert done.json()["tasks"]["succeeded"] == 8
    # A fork takes over each annotator's own answers.
    forked = command("run", tmp_path, "--fork", tmp_path / "run", "--out", tmp_path / "fork", "--json", env=gateway.env)
    assert (forked.json()["requests"]["sent"], forked.json()["requests"]["adopted"]) == (0, 8)


def test_the_weight_of_nobody_is_refused(command: Any, tmp_path: Path) -> None:
    """With what was probably meant."""
    done = command("run", JOB, "--set", 'vote={rule = "weighted", weights = {"gemma-3-12" = 2}}', "--gateway", "local")
    assert done.code == 2
    assert "vote.weights names 'gemma-3-12'" in done.err
    assert "Did you mean 'gemma-3-12b'?" in done.err


def test_a_column_of_known_labels_that_is_not_there_is_refused(command: Any) -> None:
    """Before anything is sent."""
    done = command("run", JOB, "--set", "gold.column=sektion", "--gateway", "local")
    assert done.code == 2
    assert "[gold] names the column 'sektion', and the columns are name, description, section." in done.err


def doubting(out: Path) -> list[str | Path]:
    """The words for jobs/labeling with a stronger model for what three models do not agree on."""
    return [
        "run", JOB, "--no-limits", "--no-memory", "--limit", "60", "--out", out, "--json",
        "--set", 'escalate = { models = ["claude-opus-4-8"], below = 0.6 }',
    ]  # fmt: skip


def escalated(command: Any, out: Path, env: dict[str, str], *words: str | Path) -> Any:
    """Such a run."""
    return command(*doubting(out), *words, env=env)


def test_a_stronger_model_is_asked_about_rows_without_agreement(
    command: Any, env: dict[str, str], tmp_path: Path
) -> None:
    """In the same run, about no other rows; its answer is the label, and all tasks are accounted for."""
    done = escalated(command, tmp_path / "run", env)
    assert done.code == 0
    said = done.json()
    results = pl.read_parquet(tmp_path / "run" / "results.parquet")
    asked = results.filter(pl.col("annotator") == "claude-opus-4-8")["row"].to_list()
    own = results.filter(pl.col("annotator") != "claude-opus-4-8")
    votes = own.filter(pl.col("answer").is_not_null()).group_by("row").agg(pl.col("answer"))
    shares = {row: max(map(cells.count, cells)) / len(cells) for row, cells in votes.iter_rows()}
    assert asked == [row for row in range(60) if shares.get(row, 0.0) < 0.6]
    assert 0 < len(asked) < 30
    assert said["tasks"]["total"] == said["tasks"]["succeeded"] == len(results) == 180 + len(asked)
    labels = pl.read_parquet(tmp_path / "run" / "labels.parquet")
    taken = labels.filter(pl.col("label_status") == "escalated")
    assert taken["row"].to_list() == [row for row in asked if labels["claude-opus-4-8"][row] is not None]
    assert taken["label"].to_list() == taken["claude-opus-4-8"].to_list()
    assert said["labels"]["stronger"] == ["claude-opus-4-8"]
    assert "claude-opus-4-8" not in str(said["labels"]["confusion"])


def test_a_run_that_was_stopped_escalates_what_is_left(command: Any, gateway: Any, tmp_path: Path) -> None:
    """A resume asks the stronger model about the same rows as a run in one go."""
    env = gateway.env
    whole = escalated(command, tmp_path / "whole", env).json()
    stopped = escalated(command, tmp_path / "run", env, "--max-cost", "0.03")
    assert stopped.code == 4
    assert stopped.json()["tasks"]["open"] > 0
    done = command("resume", tmp_path / "run", "--max-cost", "9", "--no-memory", "--json", env=env)
    assert done.code == 0
    for name in ("statuses", "labels", "annotators"):
        assert done.json()["labels"][name] == whole["labels"][name]
    assert done.json()["tasks"] == whole["tasks"]
    assert command("status", tmp_path / "run", "--json").json()["state"] == "finished"


@pytest.fixture(scope="module")
def doubted(gateways: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of jobs/labeling with a stronger model for what three models do not agree on."""
    run = tmp_path_factory.mktemp("doubted") / "old"
    subprocess.run(
        [sys.executable, "-m", "runner", *map(str, doubting(run))],
        env={**os.environ, **gateways("--no-limits", "--fault", FAULTS).env, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
    )
    return run


def test_decisions_do_not_make_a_summary_one_of_what_was_journaled_after_it(
    command: Any, gateway: Any, tmp_path: Path
) -> None:
    """A process that is killed leaves a torn tail, or rows that it has opened again: neither counts as summed up."""
    run = tmp_path / "run"
    (tmp_path / "rows.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    (tmp_path / "decisions.csv").write_text("row,decision\n0,a\n")
    words = ("run", "rows.jsonl", "-m", "gpt-5-4", "-p", "{{ text }}", "--labels", "a,b")
    assert command(*words, "-o", run, env=gateway.env).code == 0
    sealed = summary(run)["files"]
    with (run / "journal.jsonl").open("ab") as file:
        file.write(b"00000100 torn")
    assert command("adopt", run, tmp_path / "decisions.csv").code == 0
    assert summary(run)["files"]["journal"] == sealed["journal"]
    assert summary(run)["files"]["tables"]["labels.parquet"] == (run / "labels.parquet").stat().st_size
    assert command("status", run).code == 0
    done = command("resume", run, "--json", env=gateway.env)
    assert (done.code, done.json()["labels"]["decided"]) == (0, 1), done.err
    assert "bytes were cut off" in done.json()["notices"][0]


class TestFork:
    """What a run of another input, or with another way to count votes, takes over of one that escalates."""

    @pytest.fixture
    def fork(self, command: Any, env: dict[str, str], doubted: Path, tmp_path: Path) -> Any:
        """Runs the job once more; gives its summary."""

        def run(old: Path, *words: str) -> dict[str, Any]:
            out = tmp_path / f"new-{len(list(tmp_path.iterdir()))}"
            done = command(*doubting(out), "--fork", old, *words, env=env)
            assert done.code == 0, done.err
            return {**done.json(), "out": out}

        return run

    @pytest.fixture
    def decided(self, command: Any, doubted: Path, tmp_path: Path) -> Path:
        """A copy of the run in which a person has decided about two rows."""
        old = Path(shutil.copytree(doubted, tmp_path / "old"))
        names = pl.read_parquet(old / "labels.parquet")["name"]
        (tmp_path / "decisions.csv").write_text(f"row,id,decision\n3,{names[3]},web\n59,{names[59]},games\n")
        assert command("adopt", old, tmp_path / "decisions.csv").code == 0
        return old

    def test_answers_of_stronger_models_are_taken_over_with_the_others(self, doubted: Path, fork: Any) -> None:
        """Nothing is asked again, and the labels are the same."""
        before = summary(doubted)
        said = fork(doubted)
        assert before["labels"]["statuses"]["escalated"] > 0
        assert (said["requests"]["sent"], said["requests"]["adopted"]) == (0, before["tasks"]["total"])
        assert said["tasks"] == before["tasks"]
        assert said["labels"] == before["labels"]

    def test_a_stronger_model_is_taken_at_its_word_only_where_it_would_be_asked(self, doubted: Path, fork: Any) -> None:
        """A row that this run finds without doubt goes without; how many answers that leaves is said."""
        before = summary(doubted)
        said = fork(doubted, "--set", "escalate.below=0.1")
        stronger = before["tasks"]["total"] - 180
        assert said["requests"]["adopted"] == said["tasks"]["total"] == 180
        assert "escalated" not in said["labels"]["statuses"]
        assert f"Answers of stronger models that were not taken over: {stronger}." in said["notices"][-1]

    def test_decisions_are_taken_over_where_the_row_is_the_same(self, decided: Path, fork: Any) -> None:
        """Wherever it is now; those about other rows are counted."""
        said = fork(decided, "--limit", "59")
        labels = pl.read_parquet(said["out"] / "labels.parquet")
        assert labels.filter(pl.col("label_status") == "decided").select("row", "label").rows() == [(3, "web")]
        assert said["notices"][-1] == "Decisions taken over: 1 of 2; the other rows are not the same."

    def test_decisions_are_taken_over_whatever_words_of_models_mean_a_label(self, decided: Path, fork: Any) -> None:
        """A person chooses from the labels."""
        assert fork(decided, "--set", "answer.synonyms.net=['networks']")["labels"]["decided"] == 2

    def test_decisions_about_another_question_are_not_taken_over(self, decided: Path, fork: Any) -> None:
        """As answers to it are not."""
        said = fork(decided, "--set", "system=Be brief.")
        assert (said["labels"]["decided"], said["requests"]["adopted"]) == (0, 0)
        assert said["notices"][-1] == f"Decisions taken over: 0 of 2, because {decided} asked otherwise."

    def test_decisions_are_not_taken_over_where_there_are_other_labels_to_choose_from(
        self, command: Any, gateway: Any, tmp_path: Path
    ) -> None:
        """Models are asked the same, and a person may decide otherwise."""
        (tmp_path / "rows.jsonl").write_text('{"text": "one"}\n')
        (tmp_path / "decisions.csv").write_text("row,decision\n0,a\n")
        words = ("run", "rows.jsonl", "-m", "gpt-5-4", "-p", "{{ text }}", "--set", "answer.asks=0", "--json")
        assert command(*words, "--labels", "a,b", "-o", "old", env=gateway.env).code == 0
        assert command("adopt", "old", "decisions.csv").code == 0
        said = command(*words, "--labels", "a,b,c", "-o", "new", "--fork", "old", env=gateway.env).json()
        assert (said["requests"]["adopted"], said["labels"]["decided"]) == (1, 0)
        assert "Decisions taken over: 0 of 1, because there is something else to choose from." in said["notices"]

    def test_a_fork_of_a_fork_has_both(self, decided: Path, fork: Any) -> None:
        """They are the new run's own."""
        said = fork(fork(decided)["out"])
        assert (said["requests"]["sent"], said["labels"]["decided"]) == (0, 2)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ('escalate = { models = ["gemma-3-12b"], below = 0.6 }', "escalate.models names 'gemma-3-12b'"),
        ('escalate = { models = ["nobody"], below = 0.6 }', "There is no model 'nobody'"),
    ],
)
def test_a_stronger_model_must_be_another_one_that_exists(setting: str, reason: str, command: Any) -> None:
    """It is said before anything is sent."""
    done = command("run", JOB, "--set", setting, "--gateway", "local")
    assert done.code == 2
    assert reason in done.err
