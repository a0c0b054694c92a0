"""Runs over several sessions: what each of them did counts, and nothing that has an outcome is done again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

MODEL = "claude-haiku-4-5"
JOB = ("-m", MODEL, "--max-tokens", "16")
MORE = ("--max-total-tokens", "100000")


@pytest.fixture
def stopped(command: Any, gateway: Any, prompts: Any, tmp_path: Path) -> Path:
    """The directory of a run of six rows that a cap stopped after some."""
    words = ["run", prompts(6), *JOB, "--max-total-tokens", "150", "--out", tmp_path / "run"]
    assert command(*words, env=gateway.env).code == 4
    return tmp_path / "run"


@pytest.fixture
def killed(stopped, tamper, processes, gateway) -> Path:
    """The same run after two more sessions, killed before and after they wrote that they had begun."""
    for when in (1, 2):
        under = tamper("write", "signal=KILL", stopped / "journal.jsonl", when=when)
        assert processes("resume", stopped, *MORE, env=gateway.env, under=under).done().code in (-9, 137)
    return stopped


@pytest.mark.fault("R1")
@pytest.mark.fault("R3")
def test_sessions_that_were_killed_as_they_began_hide_nothing_of_those_before(
    stopped, killed, command, gateway, finals, frames, complete
) -> None:
    """However many attempts came to nothing, the outcomes of the first are there, and are not asked for again."""
    before = finals(killed)
    assert 0 < len(before) < 6
    assert command("status", killed, "--json").json()["state"] == "stopped"
    sent, asked = len(frames(killed, "sent")), gateway.meter()["answered"]
    assert command("resume", killed, *MORE, env=gateway.env).code == 0
    complete(killed, 6)
    assert finals(killed).items() >= before.items()
    assert len(frames(killed, "sent")) - sent == gateway.meter()["answered"] - asked == 6 - len(before)


@pytest.mark.fault("R4")
def test_a_summary_is_of_all_sessions(killed, command, gateway, frames) -> None:
    """Requests, tokens, cost and sessions are sums over the whole run, also over sessions that were killed."""
    sessions = len(frames(killed, "session")) + 1
    done = command("resume", killed, *MORE, "--json", env=gateway.env)
    assert done.code == 0
    table, said = pl.read_parquet(killed / "results.parquet"), done.json()
    assert said["sessions"] == sessions >= 3
    assert said["sessions_cut_off"] == sessions - len(frames(killed, "closed")) >= 1
    assert "that broke off), $" in command("resume", killed, env=gateway.env).out
    assert said["requests"]["sent"] == len(frames(killed, "sent"))
    assert said["tokens"]["input"] == table["input_tokens"].sum()
    assert said["tokens"]["output"] == table["output_tokens"].sum()
    assert said["cost_usd"] == pytest.approx(table["cost_usd"].sum(), abs=1e-5)


@pytest.mark.fault("R7")
def test_a_row_that_is_never_answered_ends_after_its_attempts(command, gateways, prompts, frames, tmp_path) -> None:
    """Each attempt has its time, and there are only so many: the row is errored, and the run comes to its end."""
    mute = gateways("--no-limits", "--fault", "hang=0.5", "--seed", "1")
    words = ["run", prompts(8), *JOB, "--timeout", "0.8", "--attempts", "2", "--out", tmp_path / "run"]
    assert command(*words, env=mute.env).code == 3
    table = pl.read_parquet(tmp_path / "run" / "results.parquet")
    hung = table.filter(pl.col("status") == "errored")
    assert 0 < hung.height < 8
    assert hung["error_type"].to_list() == ["timeout"] * hung.height
    assert hung["attempts"].to_list() == [2] * hung.height
    assert {frame["n"] for frame in frames(tmp_path / "run", "sent")} == {1, 2}


@pytest.mark.fault("R7")
@pytest.mark.promise("bounded")
def test_attempts_are_counted_over_all_sessions(command, gateways, prompts, frames, tmp_path) -> None:
    """A run that is killed after the first of two attempts has one left for the row, however often it is started."""
    broken, run = gateways("--no-limits", "--fault", "invalid_json=1"), tmp_path / "run"
    assert command("run", prompts(1), *JOB, "--attempts", "2", "--out", run, env=broken.env).code == 3
    journal = run / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if b'"landed"' in line)
    journal.write_bytes(b"".join(lines[: first + 1]))
    (run / "summary.json").unlink()
    assert command("resume", run, env=broken.env).code == 3
    assert [frame["attempts"] for frame in frames(run, "landed")] == [1, 2]
    assert pl.read_parquet(run / "results.parquet")["attempts"].to_list() == [2]


@pytest.mark.fault("R4")
def test_a_cap_counts_what_was_under_way_when_a_run_was_killed(command, gateway, prompts, frames, tmp_path) -> None:
    """It may have been billed, so a resume counts it in full, as within a session."""
    run = tmp_path / "run"
    assert command("run", prompts(1), *JOB, "--out", run, env=gateway.env).code == 0
    journal = run / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if b'"sent"' in line)
    journal.write_bytes(b"".join(lines[: first + 1]))
    (run / "summary.json").unlink()
    (sent,) = frames(run, "sent")
    reserved = sent["est"] + sent["cap"]
    done = command("resume", run, "--max-total-tokens", str(2 * reserved - 1), env=gateway.env)
    assert done.code == 4
    assert f"--max-total-tokens {2 * reserved - 1}: {reserved} are spent or in flight" in done.err
    assert command("resume", run, *MORE, env=gateway.env).code == 0


@pytest.mark.fault("R8")
def test_one_attempt_is_one(command, gateways, prompts, frames, tmp_path) -> None:
    """A number that is given is meant, also the least; none at all is refused and not taken for the usual one."""
    broken = gateways("--no-limits", "--fault", "invalid_json=1")
    words = ["run", prompts(3), *JOB, "--out", tmp_path / "run", "--attempts"]
    assert command(*words, "0", env=broken.env).code == 2
    assert not (tmp_path / "run").exists()
    assert command(*words, "1", env=broken.env).code == 3
    assert pl.read_parquet(tmp_path / "run" / "results.parquet")["attempts"].to_list() == [1, 1, 1]
    assert len(frames(tmp_path / "run", "sent")) == 3


@pytest.mark.fault("R10")
def test_an_answer_that_is_not_what_was_asked_for_is_kept_as_it_came(command, gateway, prompts, tmp_path) -> None:
    """Paid for is paid for: half an object where a whole one was wanted is in the table, and is not asked for again."""
    schema = {"type": "object", "properties": {"words": {"type": "string"}}, "required": ["words"]}
    (tmp_path / "schema.json").write_text(json.dumps(schema))
    words = ["run", prompts(3), "-m", MODEL, "--max-tokens", "2", "--schema", "schema.json", "--out", tmp_path / "run"]
    command(*words, env=gateway.env)
    table = pl.read_parquet(tmp_path / "run" / "results.parquet")
    assert table["row"].to_list() == [0, 1, 2]
    assert table["outcome"].to_list() == ["truncated"] * 3
    for text in table["text"]:
        with pytest.raises(json.JSONDecodeError):
            json.loads(text)
    asked = gateway.meter()["answered"]
    command("resume", tmp_path / "run", env=gateway.env)
    assert gateway.meter()["answered"] == asked
