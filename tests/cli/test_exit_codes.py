"""Every exit code, provoked by a real run, with the one sentence that goes with it."""

from __future__ import annotations

import errno
import json
import os
import resource
import shlex
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from runner import finishing

MODEL = "claude-haiku-4-5"
SAMPLES = Path(__file__).parents[2] / "samples"
TRICKLE = "[per_model]\nrequests_per_second = 10\n"
"""A limits file that makes a run of some tens of rows last some seconds."""


def sentence(done: Any) -> str:
    """The one thing that is said on standard error; fails if it is a traceback, or several things, or none."""
    assert "Traceback" not in done.err, done.err
    assert "internal error" not in done.err, done.err
    said = [line for line in done.err.splitlines() if line.startswith(("runner: ", "Error: "))]
    assert len(said) == 1, done.err
    return said[0]


def resumable(done: Any, directory: Path) -> bool:
    """Whether the command that goes on is printed, as a line of its own."""
    return f"Go on with: runner resume {directory}" in done.err.splitlines()


def statuses(directory: Path) -> list[str]:
    """The statuses of a run's rows, in input order."""
    return pl.read_parquet(directory / "results.parquet")["status"].to_list()


@pytest.fixture
def limits(tmp_path: Path) -> Callable[[str], Path]:
    """Write a limits file."""

    def write(text: str) -> Path:
        path = tmp_path / "limits.toml"
        path.write_text(text)
        return path

    return write


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


# 0


def test_a_run_in_which_all_succeeds_ends_with_0(command, gateway, rows, tmp_path) -> None:
    """Nothing is wrong, so nothing is said of errors or of going on."""
    done = command("run", rows(3), "-m", MODEL, "--out", tmp_path / "run", env=gateway.env)
    assert done.code == 0
    assert "runner:" not in done.err
    assert "Go on with" not in done.err


@pytest.mark.fault("R9")
def test_resume_of_a_finished_run_ends_with_0_and_sends_nothing(command, gateway, rows, tmp_path) -> None:
    """What has an outcome is not asked again."""
    command("run", rows(3), "-m", MODEL, "--out", tmp_path / "run", env=gateway.env)
    gateway.reset()
    done = command("resume", tmp_path / "run", env=gateway.env)
    assert done.code == 0
    assert gateway.meter()["statuses"] == {}


@pytest.mark.fault("R9")
def test_a_finished_run_is_left_as_it_is(command, gateway, rows, tmp_path) -> None:
    """With nothing left to do, neither input nor journal is gone through, and no table is written again."""
    run = tmp_path / "run"
    command("run", rows(3), "-m", MODEL, "--out", run, env=gateway.env)
    before = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns, path.stat().st_size) for path in run.iterdir()}
    done = command("resume", run, env=gateway.env)
    after = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns, path.stat().st_size) for path in run.iterdir()}
    assert {name for name in before if before[name] != after[name]} <= {"lock"}
    assert done.out.startswith("Nothing is left to do")


@pytest.mark.parametrize("name", ["results.parquet", "attempts.parquet"])
def test_a_table_that_is_gone_is_made_again(command, gateway, rows, tmp_path, name) -> None:
    """Tables can be thrown away."""
    command("run", rows(3), "-m", MODEL, "--out", tmp_path / "run", env=gateway.env)
    (tmp_path / "run" / name).unlink()
    done = command("resume", tmp_path / "run", env=gateway.env)
    assert done.code == 0
    assert "Nothing is left to do" not in done.out
    assert (tmp_path / "run" / name).exists()


def test_a_journal_that_was_touched_is_gone_through(command, gateway, rows, tmp_path) -> None:
    """What the summary says is of this journal, byte for byte, or of none."""
    journal = tmp_path / "run" / "journal.jsonl"
    command("run", rows(3), "-m", MODEL, "--out", tmp_path / "run", env=gateway.env)
    journal.write_bytes(journal.read_bytes().replace(b'"row":1', b'"row":2', 1))
    assert command("resume", tmp_path / "run", env=gateway.env).code == 8


# 2


@pytest.mark.parametrize(
    "words",
    [
        ("run", "", "-m", MODEL),
        ("plan", "", "-m", MODEL),
        ("run", "rows.jsonl", "-m", MODEL, "--out", ""),
        ("results", ""),
        ("status", ""),
    ],
    ids=" ".join,
)
def test_an_empty_word_is_no_place(command, gateway, rows, words) -> None:
    """Where a variable is not set, the current folder is not meant."""
    rows(1)
    done = command(*words, env=gateway.env)
    assert done.code == 2
    assert "is a variable not set?" in done.err


LOCAL = ("--gateway", "local")
ELSEWHERE = {"NEON_AI_GATEWAY_BASE_URL": "https://gateway.invalid", "NEON_AI_GATEWAY_TOKEN": "t0ken"}


@pytest.mark.parametrize(
    ("words", "env", "said"),
    [
        pytest.param(["-m", MODEL], {}, "No gateway is named. Set NEON_AI_GATEWAY_BASE_URL", id="no gateway"),
        pytest.param(
            ["-m", MODEL],
            {"NEON_AI_GATEWAY_BASE_URL": "https://gateway.invalid"},
            "No token for https://gateway.invalid: set NEON_AI_GATEWAY_TOKEN",
            id="no token",
        ),
        pytest.param(
            ["-m", MODEL, "--gateway", "http://gateway.invalid"], ELSEWHERE, "is not https", id="http elsewhere"
        ),
        pytest.param(
            ["-m", MODEL, "--gateway", "https://gateway.invalid/v1"], ELSEWHERE, "has a path", id="gateway with a path"
        ),
        pytest.param(
            ["-m", MODEL, "--gateway", "https://me:pw@gateway.invalid"],
            ELSEWHERE,
            "the token belongs in the environment",
            id="gateway with a password",
        ),
        pytest.param(
            ["-m", "claude-haiku-45", *LOCAL], {}, "Did you mean claude-haiku-4-5", id="unknown model, nearest names"
        ),
        pytest.param(["-m", "pick:cheep", *LOCAL], {}, "The picks are: chat, ", id="unknown pick"),
        pytest.param(["-m", MODEL, "--bad-rows", "maybe", *LOCAL], {}, "'maybe' is not one of", id="unknown choice"),
        pytest.param(["-m", MODEL, "--effort", "huge", *LOCAL], {}, "effort: ", id="unknown effort"),
        pytest.param(["-m", MODEL, "--max-tokens", "0", *LOCAL], {}, "--max-tokens: ", id="number out of range"),
        pytest.param(["-m", MODEL, "--deadline", "soon", *LOCAL], {}, "as in 90m; got 'soon'", id="bad duration"),
        pytest.param(["-m", MODEL, "--no-such-option", *LOCAL], {}, "No such option", id="unknown option"),
        pytest.param(
            ["-m", MODEL, "--endpoint", "pigeon", *LOCAL], {}, "'pigeon' is no endpoint", id="unknown endpoint"
        ),
        pytest.param(
            ["-m", MODEL, "--endpoint", "responses", *LOCAL],
            {},
            "claude-haiku-4-5 does not answer on responses; it answers on chat, messages",
            id="impossible endpoint",
        ),
        pytest.param(
            ["-m", MODEL, "--prompt", "Say {{ prompt", *LOCAL], {}, "--prompt: line 1: ", id="template syntax"
        ),
        pytest.param(
            ["-m", MODEL, "--prompt", "@nowhere.jinja", *LOCAL],
            {},
            "--prompt: nowhere.jinja: No such file or directory",
            id="no prompt file",
        ),
        pytest.param(["-m", MODEL, "--schema", "{oops", *LOCAL], {}, "--schema {oops: not JSON", id="schema, no JSON"),
        pytest.param(
            ["-m", MODEL, "--limits", "nowhere.toml", *LOCAL], {}, "nowhere.toml: No such file", id="no limits file"
        ),
    ],
)
def test_a_wrong_word_ends_with_2_and_says_what_is_wrong(command, rows, tmp_path, words, env, said) -> None:
    """Nothing is begun for a command that cannot be meant."""
    done = command("run", rows(1), *words, "--out", tmp_path / "run", env=env)
    assert done.code == 2
    assert said in sentence(done)
    assert not (tmp_path / "run").exists()


def test_a_command_that_does_not_exist_is_met_with_what_was_meant(command, rows) -> None:
    """One that is spelt like it; or, where it is a file, the command that runs it."""
    for word, said in [("plna", "Did you mean 'plan'?"), (rows(1), f"runner run {rows(1)}")]:
        done = command(word)
        assert done.code == 2
        assert said in sentence(done)


def test_a_wrong_key_of_a_limits_file_is_named_with_the_nearest_right_one(command, rows, limits) -> None:
    """A key that does not exist is more likely misspelt than meant to be ignored."""
    path = limits("[per_model]\ninput_token = 100\n")
    done = command("run", rows(1), "-m", MODEL, "--limits", path, *LOCAL)
    assert done.code == 2
    assert "there is no key per_model.input_token. Did you mean input_tokens?" in sentence(done)


def test_all_errors_of_a_job_file_are_listed_at_once(command, tmp_path) -> None:
    """Whoever mends a file does not want to be told of its errors one by one."""
    path = tmp_path / "job.toml"
    path.write_text('input = "rows.jsonl"\nmax_token = 5\ntemperature = 9\nbad_rows = "ignore"\n')
    done = command("run", path, *LOCAL)
    assert done.code == 2
    assert "Did you mean 'max_tokens'?" in done.err
    assert "temperature: " in done.err
    assert "bad_rows: " in done.err
    assert "Traceback" not in done.err


def test_a_folder_without_a_job_is_refused(command, tmp_path) -> None:
    """A folder is a job only if it holds a job.toml."""
    (tmp_path / "empty").mkdir()
    done = command("run", "empty", *LOCAL)
    assert done.code == 2
    assert "empty is a folder without a job.toml" in sentence(done)


def test_a_run_given_as_an_input_is_met_with_the_command_that_goes_on(command, gateway, rows, tmp_path) -> None:
    """`run` is a letter away from what was meant, and the lines of a journal are no rows."""
    assert command("run", rows(2), "-m", MODEL, "--out", tmp_path / "run", env=gateway.env).code == 0
    done = command("run", tmp_path / "run", "-p", "{{ a }}", *LOCAL)
    assert done.code == 2
    assert f"is a run, and no input. To go on with it: runner resume {tmp_path / 'run'}. " in sentence(done)
    answers = tmp_path / "run" / "results.parquet"
    assert command("run", answers, "-p", "{{ text }}", "-m", MODEL, env=gateway.env).code == 0


def test_a_file_given_as_a_command_is_met_with_the_right_command(command, rows) -> None:
    """`runner rows.jsonl` is an easy slip."""
    rows(1)
    done = command("rows.jsonl")
    assert done.code == 2
    assert "runner run rows.jsonl" in sentence(done)


def test_a_run_is_not_begun_where_there_is_one(command, gateway, rows, tmp_path) -> None:
    """A finished run is never written over; the way to continue it is named."""
    words = ["run", rows(1), "-m", MODEL, "--out", tmp_path / "run"]
    command(*words, env=gateway.env)
    done = command(*words, env=gateway.env)
    assert done.code == 2
    assert f"runner resume {tmp_path / 'run'}" in sentence(done)


def test_a_run_is_not_begun_among_other_files(command, gateway, rows, tmp_path) -> None:
    """Files that no run made are not mixed with a run's."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    done = command("run", rows(1), "-m", MODEL, "--out", tmp_path / "mine", env=gateway.env)
    assert done.code == 2
    assert "is not empty, and holds no run" in sentence(done)


@pytest.mark.fault("R11")
def test_a_run_is_not_resumed_against_another_gateway(command, gateway, rows, tmp_path) -> None:
    """Half of the answers from one gateway and half from another would be nobody's."""
    command("run", rows(1), "-m", MODEL, "--out", tmp_path / "run", env=gateway.env)
    done = command("resume", tmp_path / "run", env=ELSEWHERE)
    assert done.code == 2
    assert f"The run was begun against {gateway.url}, and the gateway is now https://gateway.invalid" in sentence(done)
    assert "Name the first one again, or begin a new run: --fork takes over" in sentence(done)


def test_resume_where_no_run_is_ends_with_2(command, tmp_path) -> None:
    """A folder without a manifest is no run."""
    done = command("resume", tmp_path, *LOCAL)
    assert done.code == 2
    assert f"There is no run in {tmp_path}" in sentence(done)


# 3


@pytest.mark.fault("I1")
def test_rows_that_cannot_be_read_are_recorded_if_that_is_asked_for(command, gateway, tmp_path) -> None:
    """With --bad-rows record the sound rows are asked, and the others end as errored beside them."""
    words = ["run", SAMPLES / "broken.jsonl", "-m", MODEL, "--bad-rows", "record", "--out", tmp_path / "run"]
    done = command(*words, env=gateway.env)
    assert done.code == 3
    good, bad = "succeeded", "errored"
    assert statuses(tmp_path / "run") == [good, good, bad, good, bad, good]
    assert "Traceback" not in done.err


def test_errored_rows_are_summed_up_by_reason(command, gateway, tmp_path) -> None:
    """The summary names each reason, with an example."""
    words = ["run", SAMPLES / "broken.jsonl", "-m", MODEL, "--bad-rows", "record", "--out", tmp_path / "run"]
    done = command(*words, env=gateway.env)
    assert "2 x bad_row: line 3: not JSON at byte" in done.out


@pytest.mark.promise("bounded")
def test_a_row_whose_attempts_are_used_up_is_errored(command, gateways, rows, tmp_path) -> None:
    """A gateway that answers every attempt with nonsense costs the row its attempts, and the run goes on to its end."""
    broken = gateways("--no-limits", "--fault", "invalid_json=1")
    words = ["run", rows(3), "-m", MODEL, "--attempts", "2", "--out", tmp_path / "run"]
    done = command(*words, env=broken.env)
    table = pl.read_parquet(tmp_path / "run" / "results.parquet")
    assert done.code == 3
    assert table["attempts"].to_list() == [2, 2, 2]
    assert table["error_type"].to_list() == ["invalid_response"] * 3


def test_a_row_is_saved_by_its_later_attempts(command, gateways, rows, tmp_path) -> None:
    """A gateway that fails now and then costs some rows a second attempt, and none its answer."""
    flaky = gateways("--no-limits", "--fault", "bad_gateway_502=0.3")
    done = command("run", rows(24), "-m", MODEL, "--out", tmp_path / "run", env=flaky.env)
    table = pl.read_parquet(tmp_path / "run" / "results.parquet")
    assert done.code == 0
    assert table["attempts"].max() > 1


@pytest.mark.fault("R9")
@pytest.mark.promise("paid")
def test_resume_after_3_asks_nothing_again(command, gateways, rows, tmp_path) -> None:
    """An errored row has had its last word: the run is finished, and says 3 again."""
    broken = gateways("--no-limits", "--fault", "invalid_json=1")
    command("run", rows(2), "-m", MODEL, "--attempts", "1", "--out", tmp_path / "run", env=broken.env)
    broken.reset()
    done = command("resume", tmp_path / "run", env=broken.env)
    assert done.code == 3
    assert broken.meter()["statuses"] == {}


# 4


def dollars(summary: dict[str, Any]) -> float:
    """What a run has cost."""
    return float(summary["cost_usd"])


def tokens(summary: dict[str, Any]) -> float:
    """What a run has read and written."""
    return float(summary["tokens"]["input"] + summary["tokens"]["output"])


@pytest.mark.parametrize(
    ("cap", "amount", "higher", "spent"),
    [
        pytest.param("--max-cost", "0.002", "1", dollars, id="max-cost"),
        pytest.param("--max-total-tokens", "500", "100000", tokens, id="max-total-tokens"),
    ],
)
class TestCaps:
    """What a user allows to be spent in all."""

    @pytest.fixture
    def stopped(self, command, gateway, rows, tmp_path, cap, amount) -> Any:
        """A run of twenty rows that its cap has stopped."""
        words = ["run", rows(20), "-m", MODEL, "--max-tokens", "64", cap, amount, "--out", tmp_path / "run"]
        return command(*words, env=gateway.env)

    def test_a_cap_ends_the_run_with_4_and_the_command_to_go_on(
        self, stopped, tmp_path, cap, amount, higher, spent
    ) -> None:
        """The sentence says which cap, and what is spent of it."""
        assert stopped.code == 4
        assert f"{cap} {amount}: " in sentence(stopped)
        assert resumable(stopped, tmp_path / "run")

    def test_a_cap_is_not_exceeded(self, stopped, tmp_path, cap, amount, higher, spent) -> None:
        """Something was spent, and by the gateway's own count at most what was allowed."""
        assert 0 < spent(json.loads((tmp_path / "run" / "summary.json").read_text())) <= float(amount)

    def test_a_resume_meets_the_same_cap(self, stopped, command, gateway, tmp_path, cap, amount, higher, spent) -> None:
        """What earlier sessions spent counts, so a second one ends at the same cap in the same words."""
        done = command("resume", tmp_path / "run", env=gateway.env)
        assert done.code == 4
        assert f"{cap} {amount}: " in sentence(done)
        assert spent(json.loads((tmp_path / "run" / "summary.json").read_text())) <= float(amount)

    def test_a_resume_with_a_higher_cap_finishes(
        self, stopped, command, gateway, tmp_path, cap, amount, higher, spent
    ) -> None:
        """The cap is the one thing of a job that may change on the way."""
        assert command("resume", tmp_path / "run", cap, higher, env=gateway.env).code == 0
        assert statuses(tmp_path / "run") == ["succeeded"] * 20


@pytest.fixture
def late(command, gateway, rows, limits, tmp_path) -> Any:
    """A run of four rows that may send two in two seconds, and has half a second."""
    path = limits("window_seconds = 2\n[per_model]\ninput_tokens = 50\n")
    words = ["run", rows(4), "-m", MODEL, "--max-tokens", "16", "--limits", path, "--deadline", "0.5"]
    return command(*words, "--out", tmp_path / "run", env=gateway.env)


def test_a_deadline_ends_the_run_with_4_and_the_command_to_go_on(late, tmp_path) -> None:
    """The sentence names the deadline."""
    assert late.code == 4
    assert "--deadline: 0.5 seconds are over" in sentence(late)
    assert resumable(late, tmp_path / "run")


def test_rows_that_a_deadline_left_are_expired(late, tmp_path) -> None:
    """What was not sent in time is `expired`, not `errored`."""
    assert set(statuses(tmp_path / "run")) == {"succeeded", "expired"}


def test_resumes_after_a_deadline_come_to_the_end(late, command, gateway, tmp_path, wait_for) -> None:
    """Every session has the whole time again, so resuming makes progress as the limits allow."""
    wait_for(lambda: command("resume", tmp_path / "run", env=gateway.env).code == 0)
    assert statuses(tmp_path / "run") == ["succeeded"] * 4


def test_the_command_that_goes_on_names_the_gateway_as_the_run_did(command, gateway, rows, tmp_path) -> None:
    """It can be copied as it stands, also where the directory's name has blanks."""
    token = {"NEON_AI_GATEWAY_TOKEN": gateway.env["NEON_AI_GATEWAY_TOKEN"]}
    words = ["run", rows(3), "-m", MODEL, "--out", tmp_path / "my run", "--gateway", gateway.url]
    done = command(*words, "--max-total-tokens", "1", env=token)
    [said] = [line for line in done.err.splitlines() if line.startswith("Go on with: ")]
    _, *again = shlex.split(said.removeprefix("Go on with: "))
    assert again == ["resume", str(tmp_path / "my run"), "--gateway", gateway.url]
    assert command(*again, "--max-total-tokens", "10000", env=token).code == 0


def test_the_command_that_goes_on_names_the_environment_file(command, gateway, rows, tmp_path) -> None:
    """The gateway and its token are in it alone."""
    own = tmp_path / "own.env"
    own.write_text("".join(f"{name}={value}\n" for name, value in gateway.env.items()))
    own.chmod(0o600)
    words = ["run", rows(3), "-m", MODEL, "--out", "run", "--env-file", "own.env"]
    done = command(*words, "--max-total-tokens", "1")
    assert "Go on with: runner resume run --env-file own.env" in done.err.splitlines()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        pytest.param(["score", "my run"], "runner resume 'my run'", id="score"),
        pytest.param(["unpause", "my run"], "runner resume 'my run'", id="unpause"),
        pytest.param(["unpause", "my run", "--env-file", "own.env"], "'my run' --env-file own.env", id="environment"),
        pytest.param(["run", "other.jsonl", "-m", MODEL, "-o", "my run", *LOCAL], "--fork 'my run'", id="fork"),
    ],
)
def test_commands_that_are_named_can_be_copied(command, gateway, rows, tmp_path, words, named) -> None:
    """Also where the directory's name has blanks."""
    own = tmp_path / "own.env"
    own.write_text("".join(f"{name}={value}\n" for name, value in gateway.env.items()))
    own.chmod(0o600)
    (tmp_path / "other.jsonl").write_text('{"prompt": "Another?"}\n')
    command("run", rows(3), "-m", MODEL, "-o", "my run", "--max-total-tokens", "1", env=gateway.env)
    command("cancel", "my run")
    done = command(*words)
    assert (done.code, named in done.err) == (2, True), done.err


# 5


@pytest.fixture
def unauthorized(command, gateways, rows, tmp_path) -> Any:
    """A run of twenty rows with a token that the gateway does not know."""
    strict = gateways("--no-limits", "--token", "the-right-one")
    env = {**strict.env, "NEON_AI_GATEWAY_TOKEN": "a-wrong-one"}
    return command("run", rows(20), "-m", MODEL, "--out", tmp_path / "run", env=env)


@pytest.mark.fault("H18")
def test_a_token_that_is_not_accepted_ends_with_5_and_the_command_to_go_on(unauthorized, tmp_path) -> None:
    """The sentence is the gateway's own."""
    assert unauthorized.code == 5
    assert "credential" in sentence(unauthorized)
    assert resumable(unauthorized, tmp_path / "run")


def test_a_wrong_token_costs_no_row_its_outcome(unauthorized, tmp_path) -> None:
    """The rows are not at fault: none is errored, all are pending."""
    tasks = json.loads((tmp_path / "run" / "summary.json").read_text())["tasks"]
    assert tasks["errored"] == 0
    assert tasks["open"] == 20


def test_a_resume_with_the_right_token_finishes(unauthorized, command, gateways, tmp_path) -> None:
    """Nothing but the token has to change."""
    strict = gateways("--no-limits", "--token", "the-right-one")
    done = command("resume", tmp_path / "run", env={**strict.env, "NEON_AI_GATEWAY_TOKEN": "the-right-one"})
    assert done.code == 0
    assert statuses(tmp_path / "run") == ["succeeded"] * 20


# 6


@pytest.mark.fault("P14")
def test_a_second_runner_in_one_directory_ends_with_6(command, going) -> None:
    """The sentence names the process that is at work there."""
    done = command("resume", going.directory, env={**ELSEWHERE})
    assert done.code == 6
    assert f"Another runner works in {going.directory}: process {going.process.popen.pid} on" in sentence(done)


@pytest.mark.fault("P14")
def test_a_second_runner_does_not_disturb_the_first(command, going, frames) -> None:
    """The first one's journal is as it was, and it still runs."""
    before = (going.directory / "journal.jsonl").read_bytes()
    command("resume", going.directory, env={**ELSEWHERE})
    assert (going.directory / "journal.jsonl").read_bytes() == before
    assert going.process.popen.poll() is None


# 7


@pytest.mark.fault("I1")
def test_bad_lines_end_with_7_and_are_named_with_line_and_byte(command, gateway) -> None:
    """Line and byte are where an editor finds them."""
    lines = (SAMPLES / "broken.jsonl").read_bytes().split(b"\n")
    inside = sum(len(line) + 1 for line in lines[:2]) + len(lines[2])
    begin = sum(len(line) + 1 for line in lines[:4])
    done = command("run", SAMPLES / "broken.jsonl", "-m", MODEL, env=gateway.env)
    assert done.code == 7
    assert f"line 3: not JSON at byte {inside}: " in done.err
    assert f"line 5: a JSON array, not an object (byte {begin})" in done.err
    assert "Traceback" not in done.err


def test_an_input_with_bad_lines_is_not_begun(command, gateway, tmp_path) -> None:
    """The whole input is looked at first: not one of its sound rows reaches the gateway."""
    command("run", SAMPLES / "broken.jsonl", "-m", MODEL, "--out", tmp_path / "run", env=gateway.env)
    assert gateway.meter()["statuses"] == {}
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("line", "words", "said"),
    [
        pytest.param({"text": "a"}, [], "line 1: it has neither `prompt` nor `messages`", id="nothing to ask"),
        pytest.param({"prompt": " "}, [], "line 1: its prompt is empty", id="empty prompt"),
        pytest.param({"text": "a"}, ["-p", "{{ txt }}"], "line 1: it has no column 'txt'", id="missing column"),
        pytest.param({"prompt": "a", "model": "gpt-9"}, [], "line 1: its `model`: There is no model", id="its model"),
        pytest.param({"prompt": "a", "max_tokens": -1}, [], "line 1: its `max_tokens` is -1", id="its cap"),
        pytest.param(
            {"prompt": "word " * 300},
            ["--max-tokens", "16", "--limits", "limits.toml"],
            "line 1: it can never fit: about",
            id="never fits",
            marks=pytest.mark.fault("H6"),
        ),
    ],
)
@pytest.mark.fault("I9")
def test_a_row_that_cannot_be_asked_ends_with_7(command, gateway, limits, tmp_path, line, words, said) -> None:
    """The place and the reason are named, and nothing is sent."""
    limits("[per_model]\ninput_tokens = 100\n")
    (tmp_path / "rows.jsonl").write_text(json.dumps(line) + "\n")
    done = command("run", "rows.jsonl", "-m", MODEL, *words, env=gateway.env)
    assert done.code == 7
    assert said in done.err
    assert gateway.meter()["statuses"] == {}


NO_UTF8 = os.fsdecode(b"a\xffb")


@pytest.mark.parametrize(
    "words", [[f"{NO_UTF8}.jsonl"], ["rows.jsonl", "--out", NO_UTF8], ["rows.jsonl", "-p", NO_UTF8]]
)
def test_a_word_that_is_no_utf8_ends_with_2(command, gateway, rows, tmp_path, words) -> None:
    """Names are bytes to the system, and text to whatever we write: the word is shown with what is wrong in it."""
    rows(3, f"{NO_UTF8}.jsonl"), rows(3)
    done = command("run", *words, "-m", MODEL, env=gateway.env)
    assert done.code == 2
    assert r"a\xffb" in sentence(done)
    assert gateway.meter()["statuses"] == {}
    assert {path.name for path in tmp_path.iterdir()} == {f"{NO_UTF8}.jsonl", "rows.jsonl"}


@pytest.mark.parametrize("several", [False, True])
def test_an_input_in_a_folder_that_is_no_utf8_ends_with_7(command, gateway, rows, tmp_path, several) -> None:
    """Nobody wrote the name on the command line: it is the folder's where the user stands, or a file's in a folder."""
    folder = tmp_path / NO_UTF8
    folder.mkdir()
    rows(3, f"{NO_UTF8}/rows.jsonl")
    words, cwd = ([tmp_path], tmp_path) if several else (["rows.jsonl"], folder)
    done = command("run", *words, "-m", MODEL, "--out", tmp_path / "run", env=gateway.env, cwd=cwd)
    assert done.code == 7
    assert r"a\xffb" in sentence(done)
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_kept_in_a_folder_that_is_no_utf8(command, gateway, rows, tmp_path) -> None:
    """The default place is below the folder where the user stands."""
    (tmp_path / NO_UTF8).mkdir()
    done = command("run", rows(3), "-m", MODEL, env=gateway.env, cwd=tmp_path / NO_UTF8)
    assert done.code == 2
    assert r"a\xffb" in sentence(done)
    assert list((tmp_path / NO_UTF8).iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        pytest.param("absent.jsonl", None, "There is no input at", id="absent"),
        pytest.param("cut.jsonl.gz", b"\x1f\x8b\x08\x00cut", "cannot be read to its end", id="cut gzip"),
        pytest.param("cut.parquet", b"PAR1cut", "cannot be read as Parquet", id="cut Parquet"),
        pytest.param("no.parquet", b"text", "does not begin with PAR1", id="no Parquet"),
        pytest.param("twice.csv", b"a,a\n1,2\n", "line 1: two columns are called 'a'", id="CSV, names twice"),
    ],
)
@pytest.mark.fault("I13")
@pytest.mark.fault("I16")
def test_a_file_that_cannot_be_read_ends_with_7(command, gateway, tmp_path, name, content, said) -> None:
    """The sentence says what is wrong with the file."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = command("run", name, "-m", MODEL, "-p", "{{ row }}", env=gateway.env)
    assert done.code == 7
    assert said in sentence(done)


@pytest.mark.fault("I15")
def test_a_run_whose_input_has_changed_is_not_resumed(command, gateway, rows, tmp_path) -> None:
    """Answers would stand beside rows that they were not given to."""
    command("run", rows(2), "-m", MODEL, "--out", tmp_path / "run", env=gateway.env)
    rows(3)
    done = command("resume", tmp_path / "run", env=gateway.env)
    assert done.code == 7
    assert "has changed since the run in" in sentence(done)


def test_an_input_that_nobody_touched_is_not_read_again(command, gateway, rows, tmp_path, monkeypatch) -> None:
    """Ten gigabytes take a while: the same size and time of change are taken for the same content."""
    command("run", rows(2), "-m", MODEL, "--out", tmp_path / "run", env=gateway.env)
    monkeypatch.setattr("runner.storage.rows.Source.digest", lambda _self: "another")
    assert command("resume", tmp_path / "run", env=gateway.env).code == 0


def test_an_input_that_was_written_again_the_same_is_the_same(command, gateway, rows, tmp_path) -> None:
    """A copy has another time and the same content."""
    source = rows(2)
    command("run", source, "-m", MODEL, "--out", tmp_path / "run", env=gateway.env)
    os.utime(source, (1, 1))
    assert command("resume", tmp_path / "run", env=gateway.env).code == 0


@pytest.mark.fault("I15")
@pytest.mark.parametrize("more", [0, 1], ids=["other rows", "one more row"])
def test_an_input_that_changes_while_the_run_goes_ends_with_7(
    processes, command, gateways, rows, tmp_path, wait_for, frames, more
) -> None:
    """No answer stands beside a row that was not asked; with the input put back, all stand where they belong."""
    slow = gateways("--no-limits", "--time-scale", "1", "--latency", "1.5")
    source, run = rows(3), tmp_path / "run"
    before = source.read_bytes()
    process = processes("run", source, "-m", MODEL, "--out", run, env=slow.env)
    wait_for(lambda: len(frames(run, "sent")) == 3)
    source.write_bytes(before.replace(b"Say", b"Sing") if not more else before + before)
    done = process.done()
    assert done.code == 7
    assert "was changed" in sentence(done)
    assert not (run / "results.parquet").exists()
    source.write_bytes(before)
    assert command("resume", run, env=slow.env).code == 0
    assert len(frames(run, "sent")) == 3


# 8


@pytest.mark.fault("P20")
def test_a_journal_damaged_in_the_middle_ends_with_8(command, gateway, rows, tmp_path) -> None:
    """What stands behind the damage is not trusted, and not thrown away either."""
    command("run", rows(5), "-m", MODEL, "--out", tmp_path / "run", env=gateway.env)
    journal = tmp_path / "run" / "journal.jsonl"
    data = bytearray(journal.read_bytes())
    start = data.index(b"\n", len(data) // 2) + 1
    data[start + 30] ^= 1
    journal.write_bytes(data)
    done = command("resume", tmp_path / "run", env=gateway.env)
    assert done.code == 8
    assert f"damaged at byte {start}" in sentence(done)
    assert journal.read_bytes() == bytes(data)


@pytest.mark.fault("P13")
def test_a_run_directory_that_cannot_be_made_ends_with_8(command, gateway, rows, tmp_path) -> None:
    """Under a regular file there is no folder, whoever one is."""
    (tmp_path / "file").write_text("")
    done = command("run", rows(1), "-m", MODEL, "--out", tmp_path / "file" / "run", env=gateway.env)
    assert done.code == 8
    assert "cannot be made: Not a directory" in sentence(done)
    assert gateway.meter()["statuses"] == {}


def _no_file_above(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.fixture
def full(processes, gateway, rows, tmp_path) -> Any:
    """A run of forty rows whose journal the system takes some kilobytes of, and no more."""
    words = ["run", rows(40), "-m", MODEL, "--no-limits", "--out", tmp_path / "run"]
    return processes(*words, env=gateway.env, preexec_fn=_no_file_above(8_000)).done()


@pytest.mark.fault("P12")
def test_a_journal_that_cannot_be_written_ends_with_8_and_the_command_to_go_on(full, tmp_path) -> None:
    """A full disk stops a run at once; once there is room it can go on."""
    assert full.code == 8
    assert "cannot be written: File too large" in sentence(full)
    assert resumable(full, tmp_path / "run")


def test_a_resume_once_there_is_room_finishes(full, command, gateway, tmp_path) -> None:
    """The journal ends with a whole frame, and the run goes on behind it."""
    done = command("resume", tmp_path / "run", env=gateway.env)
    assert done.code == 0
    assert statuses(tmp_path / "run") == ["succeeded"] * 40


def test_a_place_that_a_command_cannot_use_ends_with_8_and_is_named(command, monkeypatch, tmp_path) -> None:
    """Whichever it is: what the disk refuses is no bug of ours."""

    def refuses(*_words: object, **_more: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "/there/history")

    monkeypatch.setattr("runner.storage.runs.briefs", refuses)
    done = command("list")
    assert done.code == 8
    assert sentence(done) == "runner: /there/history cannot be used: Read-only file system."


# 9


@pytest.mark.fault("H34")
def test_a_gateway_that_is_not_there_ends_with_9_and_can_be_resumed(command, gateways, rows, tmp_path) -> None:
    """No row is errored for it; once the gateway is there, a resume finishes."""
    port = free_port()
    env = {"NEON_AI_GATEWAY_BASE_URL": f"http://127.0.0.1:{port}", "NEON_AI_GATEWAY_TOKEN": "t0ken"}
    words = ["run", rows(5), "-m", MODEL, "--patience", "1", "--out", tmp_path / "run"]
    done = command(*words, env=env)
    assert done.code == 9
    assert "The gateway has not answered for" in sentence(done)
    assert resumable(done, tmp_path / "run")
    assert "errored" not in statuses(tmp_path / "run")
    gateways("--no-limits", "--port", str(port))
    assert command("resume", tmp_path / "run", env=env).code == 0


@pytest.mark.fault("H11")
def test_an_outage_longer_than_the_patience_ends_with_9(command, gateways, rows, tmp_path) -> None:
    """A gateway that answers nothing but 503 costs no row its attempts."""
    down = gateways("--no-limits", "--outage", "0:3600")
    words = ["run", rows(20), "-m", MODEL, "--patience", "1", "--out", tmp_path / "run"]
    done = command(*words, env=down.env)
    assert done.code == 9
    assert "The gateway has not answered for" in sentence(done)
    assert resumable(done, tmp_path / "run")
    assert statuses(tmp_path / "run") == ["canceled"] * 20


# 130 and 143


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.fault("P1"), id="SIGINT"),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.fault("P3"), id="SIGTERM"),
    ],
)
def test_a_signal_lets_what_is_in_flight_land_and_a_resume_finishes(
    command, processes, gateways, rows, limits, tmp_path, wait_for, frames, number, code
) -> None:
    """Nothing that was paid for is lost, and nothing is paid for twice."""
    run = tmp_path / "run"
    slow = gateways("--no-limits", "--time-scale", "1", "--latency", "0.4", "--tokens-per-second", "0")
    words = ["run", rows(12), "-m", MODEL, "--limits", limits(TRICKLE), "--out", run]
    process = processes(*words, env=slow.env)
    wait_for(lambda: len(frames(run, "sent")) > len(frames(run, "landed")) > 0)
    process.signal(number)
    done = process.done()
    assert done.code == code
    assert f"stopped by {number.name}" in sentence(done)
    assert resumable(done, run)
    assert len(frames(run, "sent")) == len(frames(run, "landed")) < 12
    assert command("resume", run, env=slow.env).code == 0
    assert statuses(run) == ["succeeded"] * 12
    meter = slow.meter()
    assert meter["answered_more_than_once"] == 0
    assert meter["answered"] == 12


@pytest.mark.fault("P2")
def test_a_second_sigint_ends_at_once(processes, gateways, rows, tmp_path, wait_for, frames) -> None:
    """Whoever presses Ctrl-C twice does not want to wait for answers that take minutes."""
    slow = gateways("--no-limits", "--time-scale", "1", "--latency", "600")
    process = processes("run", rows(3), "-m", MODEL, "--out", tmp_path / "run", env=slow.env)
    wait_for(lambda: len(frames(tmp_path / "run", "sent")) == 3)

    process.signal(signal.SIGINT)
    wait_for(lambda: "stopping (SIGINT)" in process.err.read_text())  # two that come at the same moment count as one
    process.signal(signal.SIGINT)
    done = process.done()
    assert done.code == 130
    assert resumable(done, tmp_path / "run")


@pytest.mark.fault("P2")
def test_an_interruption_while_the_tables_are_written_says_how_to_go_on(
    command, gateway, rows, tmp_path, monkeypatch
) -> None:
    """Whoever presses Ctrl-C a third time has no tables, and loses no answer."""

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(finishing, "finish", interrupted)
        done = command("run", rows(3), "-m", MODEL, "--out", tmp_path / "run", env=gateway.env)
    assert done.code == 130
    assert resumable(done, tmp_path / "run")
    assert command("resume", tmp_path / "run", env=gateway.env).code == 0
    assert gateway.meter()["answered"] == 3


@pytest.mark.fault("P15")
@pytest.mark.fault("R3")
def test_a_run_that_was_killed_can_be_resumed(
    command, processes, gateways, rows, limits, tmp_path, wait_for, frames
) -> None:
    """Every answer that was in the journal when the process died stays as it is; only the rest is asked."""
    run = tmp_path / "run"
    slow = gateways("--no-limits", "--time-scale", "1", "--latency", "0.4", "--tokens-per-second", "0")
    process = processes("run", rows(12), "-m", MODEL, "--limits", limits(TRICKLE), "--out", run, env=slow.env)
    wait_for(lambda: frames(run, "landed"))
    process.signal(signal.SIGKILL)
    process.popen.wait(10)
    landed = {frame["row"] for frame in frames(run, "landed")}
    sent_before = len(frames(run, "sent"))
    assert command("resume", run, env=slow.env).code == 0
    assert statuses(run) == ["succeeded"] * 12
    assert {frame["row"] for frame in frames(run, "sent")[sent_before:]} == set(range(12)) - landed
