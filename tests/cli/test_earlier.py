"""What a new run takes over from an earlier one, errored rows that are asked again, and damage that is repaired."""

from __future__ import annotations

import contextlib
import errno
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from runner import forking
from runner.core.errors import StorageFailed
from runner.earlier import job_of
from runner.labelling import decisions
from runner.ledgers.pages import Member
from runner.preparing import Setup, prepare
from runner.storage.journal import DiskFile, read
from runner.storage.rundir import RunDirectory

MODEL = "claude-haiku-4-5"


def write(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    return path


def table(run: Path) -> list[dict[str, Any]]:
    return pl.read_parquet(run / "results.parquet").to_dicts()


def asked(gateway: Any) -> int:
    return sum(gateway.meter()["statuses"].values())


def damage(journal: Path) -> None:
    data = bytearray(journal.read_bytes())
    data[data.index(b'"t":"landed","row":2') + 10] ^= 1
    journal.write_bytes(data)


@pytest.mark.fault("R5")
class TestFork:
    """A changed input begins a new run, which pays only for what is new."""

    @pytest.fixture
    def source(self, command, gateway, tmp_path) -> Path:
        source = write(tmp_path / "rows.jsonl", ["a", "b", "b", "c"])
        assert command("run", source, "-m", MODEL, "-o", tmp_path / "old", env=gateway.env).code == 0
        gateway.reset()
        return source

    def test_rows_that_are_the_same_are_not_asked_again(self, command, gateway, source, tmp_path) -> None:
        """In another order, with duplicates: there are as many answers as there were."""
        answers = {line["prompt"]: line["text"] for line in table(tmp_path / "old")}
        write(source, ["new", "c", "b", "a", "b", "b"])
        done = command("run", source, "-m", MODEL, "-o", "new", "--fork", "old", "--json", env=gateway.env)
        assert done.code == 0
        assert (asked(gateway), done.json()["requests"]["adopted"]) == (2, 4)
        lines = table(tmp_path / "new")
        assert [line["status"] for line in lines] == ["succeeded"] * 6
        assert [line["text"] for line in lines[1:5]] == [answers[text] for text in ("c", "b", "a", "b")]
        assert done.json()["tasks"]["succeeded"] == 6

    def test_what_was_taken_over_is_told_and_costs_nothing(self, command, gateway, source, tmp_path) -> None:
        """The summary counts what this run has paid."""
        done = command("run", source, "-m", MODEL, "-o", "new", "--fork", "old", env=gateway.env)
        assert "4 answers were taken over from old." in done.err
        assert asked(gateway) == 0
        assert json.loads((tmp_path / "new/summary.json").read_text())["cost_usd"] == 0
        assert all(line["cost_usd"] > 0 for line in table(tmp_path / "new"))

    def test_a_fork_can_be_resumed_and_forked(self, command, gateway, source, tmp_path) -> None:
        """What was taken over is there like any other answer."""
        for old, new in (("old", "new"), ("new", "newer")):
            assert command("run", source, "-m", MODEL, "-o", new, "--fork", old, env=gateway.env).code == 0
            (tmp_path / new / "results.parquet").unlink()
            assert command("resume", new, env=gateway.env).code == 0
        assert [line["text"] for line in table(tmp_path / "newer")] == [
            line["text"] for line in table(tmp_path / "old")
        ]
        assert asked(gateway) == 0

    @pytest.mark.parametrize("words", [("--temperature", "0.5"), ("--system", "Be brief.")])
    def test_answers_to_another_question_are_not_taken_over(self, command, gateway, source, words) -> None:
        """The reason is told: what differs, before and now."""
        done = command("run", source, "-m", MODEL, "-o", "new", "--fork", "old", *words, env=gateway.env)
        assert "0 answers were taken over from old, because it asked otherwise: " in done.err
        assert f"{words[0][2:]}: None -> " in done.err
        assert asked(gateway) == 4

    def test_answers_to_a_prompt_that_showed_other_labels_are_not_taken_over(
        self, command, gateway, source, tmp_path
    ) -> None:
        """The template is the same, and what it made is not."""
        words = ("run", source, "-m", MODEL, "-p", "One of {{ labels }}: {{ prompt }}")
        command(*words, "--labels", "a,b", "-o", "two", env=gateway.env)
        gateway.reset()
        done = command(*words, "--labels", "a,b,c", "-o", "three", "--fork", "two", env=gateway.env)
        assert "0 answers were taken over from two, because it asked otherwise: labels: ('a', 'b') -> " in done.err
        assert asked(gateway) >= 4

    def test_answers_about_columns_that_had_other_names_are_not_taken_over(self, command, gateway, tmp_path) -> None:
        """A header that is mended changes what every row asks."""
        file = tmp_path / "rows.csv"
        file.write_text("q,context\nwhat,blue\n")
        words = ("run", file, "-m", MODEL, "-p", "{{ q }}? {{ context }}")
        command(*words, "-o", "old", env=gateway.env)
        gateway.reset()
        file.write_text("q,context\nwhat,blue\nwho,\n")
        command(*words, "-o", "longer", "--fork", "old", env=gateway.env)
        assert asked(gateway) == 1
        file.write_text("context,q\nwhat,blue\n")
        done = command(*words, "-o", "new", "--fork", "old", env=gateway.env)
        assert "because it asked otherwise: columns: q, context -> context, q" in done.err
        assert asked(gateway) == 2

    def test_answers_of_a_model_that_is_not_asked_are_not_taken_over(self, command, gateway, source) -> None:
        """A pool that still holds the model takes them."""
        command("run", source, "-m", "gpt-5-4-nano", "-o", "other", "--fork", "old", env=gateway.env)
        assert asked(gateway) == 4
        command("run", source, "-m", f"gpt-5-4-nano,{MODEL}", "-o", "both", "--fork", "old", env=gateway.env)
        assert asked(gateway) == 4

    def test_there_must_be_a_run_to_fork(self, command, gateway, source, tmp_path) -> None:
        """Nothing is begun otherwise."""
        done = command("run", source, "-m", MODEL, "-o", "new", "--fork", "nowhere", env=gateway.env)
        assert (done.code, (tmp_path / "new").exists()) == (2, False)
        assert "There is no run in nowhere" in done.err

    def test_a_run_in_which_nothing_was_sent_yet_has_no_answers(self, command, gateway, source, tmp_path) -> None:
        """The new run asks about all rows."""
        for name in ("journal.jsonl", "summary.json"):
            (tmp_path / "old" / name).unlink()
        done = command("run", source, "-m", MODEL, "-o", "new", "--fork", "old", env=gateway.env)
        assert (done.code, asked(gateway)) == (0, 4)
        assert "0 answers were taken over from old." in done.err

    def test_a_fork_of_a_damaged_run_begins_nothing(self, command, gateway, source, tmp_path) -> None:
        """Gone on with, a new run would have asked about all rows again."""
        damage(tmp_path / "old/journal.jsonl")
        done = command("run", source, "-m", MODEL, "-o", "new", "--fork", "old", env=gateway.env)
        assert (done.code, asked(gateway), (tmp_path / "new").exists()) == (8, 0, False)
        assert "runner repair old" in done.err
        assert "resume" not in done.err

    @pytest.mark.parametrize("end", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
    def test_a_fork_that_is_cut_off_leaves_no_run_and_can_be_tried_again(
        self, command, gateway, source, tmp_path, monkeypatch, end
    ) -> None:
        """What the first try has written of the journal is not gone on with."""

        def fail(*_: object) -> None:
            raise end

        with monkeypatch.context() as patch:
            patch.setattr(DiskFile, "sync", fail)
            failed = command("run", source, "-m", MODEL, "-o", "new", "--fork", "old", env=gateway.env)
        assert failed.code in (8, 130)
        assert "resume" not in failed.err
        assert "There is no run in new" in command("resume", "new", env=gateway.env).err
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["lock"]
        (tmp_path / "new/.journal.jsonl.new").write_text("as kill -9 leaves it")
        done = command("run", source, "-m", MODEL, "-o", "new", "--fork", "old", "--json", env=gateway.env)
        assert (done.code, asked(gateway), done.json()["requests"]["adopted"]) == (0, 0, 4)

    @pytest.mark.parametrize("end", [StorageFailed("No space left on device"), KeyboardInterrupt()])
    def test_a_fork_that_is_cut_off_before_it_is_a_run_can_be_tried_again(
        self, command, gateway, source, tmp_path, monkeypatch, end
    ) -> None:
        """Its journal is written by then: it counts for nothing until the manifest is there."""

        def fail(*_: object) -> None:
            raise end

        decisions.keep(tmp_path / "old" / decisions.FILE, {0: "a"}, "decisions.csv")
        with monkeypatch.context() as patch:
            patch.setattr("runner.manifest.found", fail)
            failed = command("run", source, "-m", MODEL, "-o", "new", "--fork", "old", env=gateway.env)
        assert failed.code in (8, 130)
        done = command("run", source, "-m", MODEL, "-o", "new", "--fork", "old", "--json", env=gateway.env)
        assert (done.code, asked(gateway), done.json()["requests"]["adopted"]) == (0, 0, 4), done.err
        assert decisions.kept(tmp_path / "new") == {0: "a"}

    def test_a_fork_that_is_cut_off_as_soon_as_it_is_a_run_goes_on_with_what_it_took_over(
        self, command, gateway, source, monkeypatch
    ) -> None:
        """Between its manifest and its journal's name."""

        def fail(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(RunDirectory, "settle", fail)
            patch.setattr(RunDirectory, "held", lambda _: contextlib.nullcontext())
            assert command("run", source, "-m", MODEL, "-o", "new", "--fork", "old", env=gateway.env).code == 130
        done = command("resume", "new", "--json", env=gateway.env)
        assert (done.code, asked(gateway), done.json()["requests"]["adopted"]) == (0, 0, 4), done.err

    def test_only_rows_like_one_that_was_decided_are_kept_in_memory(self, source, tmp_path) -> None:
        """A decision about one row of a million is as small as one of two; equal rows keep their order."""
        decisions.keep(tmp_path / "old" / decisions.FILE, {2: "a"}, "decisions.csv")
        prepared = prepare(job_of(RunDirectory.open(tmp_path / "old")), Setup())
        found = forking.read(prepared, tmp_path / "old").decisions
        assert found is not None
        assert [list(labels) for labels in found.values()] == [[None, "a"]]

    def test_what_is_taken_over_says_the_name_of_its_run_however_that_was_given(
        self, command, gateway, source, tmp_path
    ) -> None:
        """Such as by dots, which name another place elsewhere."""
        decisions.keep(tmp_path / "old" / decisions.FILE, {0: "a"}, "decisions.csv")
        (tmp_path / "old/folder").mkdir()
        assert command("run", source, "-m", MODEL, "-o", "new", "--fork", "old/folder/..", env=gateway.env).code == 0
        frames = [frame.payload for frame in read(tmp_path / "new/journal.jsonl")]
        assert {frame["from"] for frame in frames if frame["t"] == "adopted"} == {"old"}
        assert json.loads((tmp_path / "new/decisions.jsonl").read_text())["from"] == "old"

    def test_a_fork_that_was_cut_off_leaves_nothing_to_a_run_that_is_none(
        self, command, gateway, source, tmp_path
    ) -> None:
        """What it had begun is cleared away."""
        (tmp_path / "new").mkdir(mode=0o700)
        (tmp_path / "new/.journal.jsonl.new").write_bytes((tmp_path / "old/journal.jsonl").read_bytes())
        for words in (("run", source, "-m", MODEL, "-o", "new"), ("resume", "new")):
            assert command(*words, env=gateway.env).code == 0
        assert asked(gateway) == 4


@pytest.mark.fault("R5")
def test_a_changed_input_is_refused_with_what_changed(command, gateway, tmp_path) -> None:
    """How many rows, where the first is, and what to do."""
    source = write(tmp_path / "rows.jsonl", ["a", "b", "c"])
    command("run", source, "-m", MODEL, "-o", "run", env=gateway.env)
    write(source, ["a", "B"])
    done = command("resume", "run", env=gateway.env)
    assert done.code == 7
    assert "it has 2 rows, and had 3; rows with an outcome that differ: 1, the first in line 2" in done.err
    assert "1 rows with an outcome are gone" in done.err
    assert "--fork run" in done.err


@pytest.mark.fault("R6")
def test_a_run_of_something_else_is_not_begun_where_one_is(command, gateway, rows, tmp_path) -> None:
    """What differs is listed, before and now; the same job is told how to go on."""
    source = rows(2)
    command("run", source, "-m", MODEL, "-o", "run", "-p", "Say {{ prompt }}", env=gateway.env)
    done = command("run", source, "-m", "gpt-5-4", "-o", "run", "-p", "Sing {{ prompt }}", env=gateway.env)
    assert done.code == 2
    assert "prompt: 'Say {{ prompt }}' -> 'Sing {{ prompt }}'" in done.err
    assert f"models: ('{MODEL}',) -> ('gpt-5-4',)" in done.err
    same = command("run", source, "-m", MODEL, "-o", "run", "-p", "Say {{ prompt }}", env=gateway.env)
    assert "Continue it with: runner resume run" in same.err


@pytest.mark.fault("R14")
class TestRedrive:
    """Errored rows are asked again; nothing else is."""

    @pytest.fixture
    def bad(self, gateways) -> Any:
        return gateways("--fault", "error_500=0.5", "--seed", "3")

    @pytest.fixture
    def errored(self, command, bad, rows, tmp_path) -> int:
        words = ("-m", MODEL, "--max-tokens", "30", "--attempts", "1", "--json")
        done = command("run", rows(20), *words, "-o", "run", env=bad.env)
        assert done.code == 3
        count: int = done.json()["tasks"]["errored"]
        assert 0 < count < 20
        return count

    def test_a_run_in_which_nothing_was_sent_yet_is_begun(self, command, gateway, rows, tmp_path) -> None:
        command("run", rows(2), "-m", MODEL, "-o", "run", env=gateway.env)
        for name in ("journal.jsonl", "summary.json"):
            (tmp_path / "run" / name).unlink()
        assert command("redrive", "run", env=gateway.env).code == 0

    def test_a_redrive_behaves_as_the_run_did_that_nobody_watched(self, command, bad, errored, tmp_path) -> None:
        """With the gateway of an environment file, and a log."""
        lines = "".join(f"{name}={value}\n" for name, value in bad.env.items())
        (tmp_path / "gateway.env").write_text(lines)
        (tmp_path / "gateway.env").chmod(0o600)
        done = command("redrive", "run", "--env-file", "gateway.env", "--log", "log", "--if-locked", "skip")
        assert done.code in (0, 3)
        assert f"{errored} errored row" in (tmp_path / "log").read_text()

    def test_a_redrive_goes_on_with_the_run(self, command, bad, errored, tmp_path) -> None:
        """As often as it takes."""
        before = {line["row"]: line["text"] for line in table(tmp_path / "run") if line["status"] == "succeeded"}
        answered = bad.meter()["distinct_bodies"]
        left = errored
        for _ in range(30):
            done = command("redrive", "run", "--json", env=bad.env)
            tasks = done.json()["tasks"]
            assert f"{left} errored row" in done.json()["notices"][-1]
            assert tasks["succeeded"] + tasks["errored"] == 20
            left = tasks["errored"]
            if not left:
                break
        assert done.code == 0
        meter = bad.meter()
        assert (meter["distinct_bodies"], meter["answered_more_than_once"]) == (answered, 0)
        lines = table(tmp_path / "run")
        assert {row: lines[row]["text"] for row in before} == before
        attempts = pl.read_parquet(tmp_path / "run/attempts.parquet")
        assert attempts.filter(pl.col("status") == "failed").height >= errored

    def test_only_some_failures(self, command, bad, errored) -> None:
        """The others stay errored, and are counted."""
        bad.reset()
        done = command("redrive", "run", "--only", "timeout", env=bad.env)
        assert done.code == 3
        assert asked(bad) == 0
        assert f"Left as errored: server_error {errored}" in done.out

    def test_a_failure_that_does_not_exist_is_refused(self, command, bad, errored) -> None:
        """With the names that there are."""
        done = command("redrive", "run", "--only", "timeouts", env=bad.env)
        assert done.code == 2
        assert "no failure is called 'timeouts'; there are" in done.err

    def test_it_shares_the_budget_as_it_is_told(self, command, bad, errored, state_folder, monkeypatch) -> None:
        """By a priority of its own, or not at all."""
        members = []
        monkeypatch.setattr("runner.sharing.Member", lambda **words: members.append(Member(**words)) or members[-1])
        for file in state_folder.rglob("*.share*"):
            file.unlink()
        command("redrive", "run", "--no-share", env=bad.env)
        assert (members, [*state_folder.rglob("*.share")]) == ([], [])
        command("redrive", "run", "--priority", "urgent", env=bad.env)
        assert [member.priority for member in members] == ["urgent"]


def test_rows_that_cannot_be_asked_stay_errored(command, gateway, tmp_path) -> None:
    """Asking again would end the same way."""
    source = tmp_path / "rows.jsonl"
    source.write_text('{"prompt": "a"}\nno JSON\n')
    command("run", source, "-m", MODEL, "-o", "run", "--bad-rows", "record", env=gateway.env)
    gateway.reset()
    for words in ((), ("--only", "bad_row")):
        done = command("redrive", "run", *words, env=gateway.env)
        assert (done.code, asked(gateway)) == (3, 0)
        assert "Left as errored: bad_row 1" in done.out
        assert "A row with bad_row would end in the same way: mend the input" in done.out


@pytest.mark.fault("P20")
class TestRepair:
    """A damaged journal is repaired in a copy."""

    @pytest.fixture
    def damaged(self, command, gateway, rows, tmp_path) -> bytes:
        command("run", rows(5), "-m", MODEL, "-o", "run", env=gateway.env)
        journal = tmp_path / "run/journal.jsonl"
        damage(journal)
        gateway.reset()
        return journal.read_bytes()

    def test_resume_names_the_command_that_helps(self, command, gateway, damaged) -> None:
        """And none that does not, and changes nothing."""
        done = command("resume", "run", env=gateway.env)
        assert done.code == 8
        assert done.err.endswith("runner repair run\n")

    def test_what_can_be_read_is_saved_and_the_rest_is_asked_again(self, command, gateway, damaged, tmp_path) -> None:
        """One row in five; the damaged run stays as it is."""
        before = table(tmp_path / "run")
        done = command("repair", "run", env=gateway.env)
        assert done.code == 0
        assert "Go on with: runner resume run-repaired" in done.out
        assert command("resume", "run-repaired", env=gateway.env).code == 0
        assert asked(gateway) == 1
        after = table(tmp_path / "run-repaired")
        assert [line["text"] for line in after if line["row"] != 2] == [x["text"] for x in before if x["row"] != 2]
        assert [line["status"] for line in after] == ["succeeded"] * 5
        assert (tmp_path / "run/journal.jsonl").read_bytes() == damaged

    def test_a_journal_that_was_emptied_is_not_paid_for_again(self, command, gateway, damaged, tmp_path) -> None:
        """Nor one that was cut: what its summary was made of is missing, though what is left reads well."""
        for left in (b"", damaged[: damaged.index(b'"t":"landed"')]):
            (tmp_path / "run/journal.jsonl").write_bytes(left)
            for words in ("resume", "status"):
                done = command(words, "run", env=gateway.env)
                assert (done.code, "answers are missing" in done.err) == (8, True), done.err
            assert (asked(gateway), command("results", "run").code) == (0, 0)
        (tmp_path / "run/journal.jsonl").unlink()
        assert command("resume", "run", env=gateway.env).code == 8
        assert command("repair", "run", env=gateway.env).code == 0
        assert command("resume", "run-repaired", env=gateway.env).code == 0

    @pytest.mark.parametrize(
        "words",
        [("cancel", "run"), ("redrive", "run"), ("run", "rows.jsonl", "-m", MODEL, "-o", "new", "--fork", "run")],
    )
    @pytest.mark.parametrize("left", [0, -1])
    def test_what_a_cut_journal_has_left_is_not_written_over(
        self, command, gateway, damaged, tmp_path, words, left
    ) -> None:
        """Its tables are all that there is of what is missing."""
        journal, results = tmp_path / "run/journal.jsonl", tmp_path / "run/results.parquet"
        cut = damaged[: damaged.index(b'"t":"landed"') - 40 if left else 0]
        journal.write_bytes(cut)
        tables = results.read_bytes()
        done = command(*words, env=gateway.env)
        assert (done.code, "answers are missing" in done.err) == (8, True), done.err
        assert (journal.read_bytes(), results.read_bytes()) == (cut, tables)
        assert (asked(gateway), (tmp_path / "new").exists()) == (0, False)

    def test_results_of_a_cut_journal_advise_nothing_that_would_write_over_them(
        self, command, damaged, tmp_path
    ) -> None:
        """They are told from results that a process which was killed has left behind."""
        (tmp_path / "run/journal.jsonl").write_bytes(damaged[:-9])
        done = command("results", "run")
        assert (done.code, len(done.out.splitlines())) == (0, 5)
        assert "answers are missing" in done.err
        assert not [words for words in ("is gone", "cancel", "resume") if words in done.err]

    @pytest.mark.parametrize("left", ['{"a', "{}"])
    def test_a_run_whose_manifest_is_damaged_is_not_copied(self, command, damaged, tmp_path, left) -> None:
        """The copy could not be gone on with either."""
        (tmp_path / "run/manifest.json").write_text(left)
        done = command("repair", "run")
        assert (done.code, "Go on with" in done.out, "runner results run" in done.err) == (8, False, True)
        assert not (tmp_path / "run-repaired").exists()

    def test_a_copy_overwrites_nothing(self, command, gateway, damaged, tmp_path) -> None:
        """Another place is asked for."""
        (tmp_path / "there").mkdir()
        done = command("repair", "run", "--out", "there", env=gateway.env)
        assert done.code == 2
        assert "there exists already" in done.err
