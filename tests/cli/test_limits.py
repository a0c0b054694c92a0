"""What runs learn of a gateway: that the next one begins with it, and that it can be shown and forgotten."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runner.core.knowledge import Knowledge, Ratio
from runner.core.latency import Speed
from runner.gateway.environment import resolve
from runner.gateway.secret import Secret
from runner.sharing import store_of
from runner.storage.knowledge import Memory

MODEL = "claude-haiku-4-5"
ELSEWHERE = {"NEON_AI_GATEWAY_BASE_URL": "https://gateway.example", "NEON_AI_GATEWAY_TOKEN": "any-token-will-do"}
KNOWN = Knowledge(
    limits={
        f"{MODEL}/input": {"amount": 120_000.0, "kind": "bucket", "burst": 30_000.0},
        "*/input": {"amount": 900_000},
    },
    ratios={MODEL: Ratio(1000.0, 1250.0, 412), "gpt-5-mini": Ratio(10.0, 9.0, 3)},
    output_caps={MODEL: 8192},
    lengths={"0a1b2c": {MODEL: (3, 40, 5)}},
    speeds={MODEL: Speed(first=0.81, per_token=0.016, tokens=30.0, tokens_spread=9.0, replies=412)},
)


def remembered(env: dict[str, str], known: Knowledge | None = None) -> Knowledge:
    """What is remembered of a gateway; puts something there first, if it is given."""
    memory = Memory(env["NEON_AI_GATEWAY_BASE_URL"], Secret(env["NEON_AI_GATEWAY_TOKEN"]).fingerprint)
    loaded = memory.load()
    if known is not None:
        memory.save(known)
    return loaded


def run(command: Any, source: Path, *words: str | Path, env: dict[str, str]) -> dict[str, Any]:
    done = command("run", source, "-m", MODEL, "--max-tokens", "60", "--json", *words, env=env)
    assert done.code == 0, done.err
    summary: dict[str, Any] = done.json()
    return summary


@pytest.mark.parametrize("word", ["limits", "budget"])
def test_what_is_refused_is_not_advised(command, word: str) -> None:
    """A local gateway lasts no longer than its run: there is nothing to show of it."""
    done = command(word)
    assert done.code == 2
    assert done.err.endswith("or give --gateway URL.\n")


# Runs.


def test_a_run_begins_with_what_the_last_one_learned(command, gateway, rows) -> None:
    """The second one's estimates are nearer to the truth, and what it learns is kept in its turn."""
    source = rows(6, prompt="Say something about the number of words in this line. " * 40)
    first = run(command, source, "--out", "first", env=gateway.env)
    learned = remembered(gateway.env).ratios[MODEL]
    second = run(command, source, "--out", "second", env=gateway.env)
    assert (learned.replies, remembered(gateway.env).speeds[MODEL].replies) == (6, 12)
    assert remembered(gateway.env).ratios[MODEL].replies == 12
    assert first["tokens"]["input"] == second["tokens"]["input"]
    off = [abs(each["tokens"]["estimated_input"] - each["tokens"]["input"]) for each in (first, second)]
    assert off[1] < off[0]


def test_a_run_that_was_stopped_has_learned_as_well(command, gateway, rows) -> None:
    """And so does the one that goes on with it."""
    words = ["run", rows(9), "-m", MODEL, "--max-total-tokens", "300", "--max-tokens", "100", "--out", "run"]
    assert command(*words, env=gateway.env).code == 4
    before = remembered(gateway.env).ratios[MODEL].replies
    assert 0 < before < 9
    assert command("resume", "run", "--max-total-tokens", "100000", env=gateway.env).code == 0
    assert remembered(gateway.env).ratios[MODEL].replies == 9


def test_without_memory_nothing_is_read_and_nothing_is_kept(command, gateway, rows, state_folder) -> None:
    """Neither by a run nor by a resume."""
    run(command, rows(3), "--no-memory", "--out", "run", env=gateway.env)
    command("resume", "run", "--no-memory", env=gateway.env)
    assert list(state_folder.rglob("*.json")) == []


def test_the_gateway_that_a_run_starts_itself_is_not_remembered(command, rows, state_folder) -> None:
    """It is another one each time."""
    words = ["--gateway", "local?time-scale=0&latency=0", "--out", "run"]
    run(command, rows(2), *words, env={})
    assert not state_folder.exists()


def test_a_memory_that_cannot_be_used_is_told_and_stops_nothing(command, gateway, rows) -> None:
    """On the screen and in the summary."""
    remembered(gateway.env, KNOWN)
    memory = Memory(gateway.url, Secret(gateway.env["NEON_AI_GATEWAY_TOKEN"]).fingerprint)
    memory.path.write_text("{")
    done = command("run", rows(2), "-m", MODEL, "--out", "run", env=gateway.env)
    assert (done.code, "cannot be used (it is damaged)" in done.err) == (0, True)
    assert remembered(gateway.env).ratios[MODEL].replies == 2


def test_a_state_directory_that_cannot_be_written_is_told_and_stops_nothing(command, gateway, rows, tmp_path) -> None:
    """A run needs no memory."""
    (tmp_path / "file").write_text("")
    env = {**gateway.env, "RUNNER_STATE_DIR": str(tmp_path / "file")}
    done = command("run", rows(2), "-m", MODEL, "--out", "run", env=env)
    assert (done.code, "will not be kept" in done.err) == (0, True)


# Showing.


def test_what_was_learned_stands_beside_what_is_configured(command) -> None:
    """In lines that need no explanation, and without the token."""
    remembered(ELSEWHERE, KNOWN)
    done = command("limits", env=ELSEWHERE)
    assert done.code == 0
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert lines[0].startswith("https://gateway.example, with the token whose fingerprint is ")
    assert any(line.startswith("input tokens in 60 s for all models 1,100,000 900,000 (20") for line in lines)
    one = f"input tokens in 60 s for {MODEL} 200,000 120,000, a bucket that holds 30,000 (20"
    assert any(line.startswith(one) for line in lines)
    assert any(line.startswith("output tokens in 60 s for gpt-5-mini") and line.endswith(" -") for line in lines)
    assert any(line.startswith(f"{MODEL} 1.250 412 8,192 0.81 62 20") for line in lines)
    assert any(line.startswith(f"0a1b2c {MODEL} 3 5 40 20") for line in lines)
    assert ELSEWHERE["NEON_AI_GATEWAY_TOKEN"] not in done.out


def test_of_a_gateway_that_is_not_known_only_the_configuration_is_shown(command) -> None:
    """And it says so."""
    done = command("limits", env=ELSEWHERE)
    assert "Nothing was learned of it yet" in done.out
    assert "input tokens in 60 s for all models" in done.out


def test_limits_as_json_hold_all_of_it(command) -> None:
    """For a program."""
    remembered(ELSEWHERE, KNOWN)
    (table,) = command("limits", "--json", env=ELSEWHERE).json()["gateways"]
    limits = {(limit["scope"], limit["measure"]): limit for limit in table["limits"]}
    assert limits["all", "input"]["learned"] == {"amount": 900_000}
    assert (limits[MODEL, "input"]["configured"], limits[MODEL, "output"]["learned"]) == (200_000, None)
    assert table["models"][MODEL]["largest_cap"] == 8192
    assert (table["models"][MODEL]["first_token_s"], table["models"][MODEL]["tokens_per_second"]) == (0.81, 62.5)
    assert table["models"]["gpt-5-mini"]["tokens_per_second"] is None
    assert table["jobs"]["0a1b2c"]["answers"] == {MODEL: {"known": 3, "median": 5, "longest": 40}}


def test_all_gateways_are_shown_without_any_in_the_environment(command, state_folder) -> None:
    """With a note on a file that cannot be read."""
    assert command("limits", "--all").out == "Nothing is remembered of any gateway.\n"
    for name in ("one", "two"):
        remembered({**ELSEWHERE, "NEON_AI_GATEWAY_BASE_URL": f"https://{name}.example"}, KNOWN)
    (state_folder / "gateways" / "odd.json").write_text("")
    done = command("limits", "--all", "--json")
    assert {table["gateway"] for table in done.json()["gateways"]} == {"https://one.example", "https://two.example"}
    assert "odd.json cannot be used" in done.err


def test_what_a_file_holds_cannot_move_the_terminal(command) -> None:
    """Names and words in it are text like any other."""
    remembered(ELSEWHERE, Knowledge(limits={"a\x1b[2J/input": {"k\x1b[2J": "v\x1b[2J"}}, output_caps={"b\x1b[2J": 1}))
    assert "\x1b" not in command("limits", env=ELSEWHERE).out


# Forgetting.


def test_one_model_is_forgotten_by_any_of_its_names(command) -> None:
    """And the others are not."""
    remembered(ELSEWHERE, KNOWN)
    done = command("limits", "--forget", f"databricks-{MODEL}", env=ELSEWHERE)
    assert done.out == f"What was learned of {MODEL} at https://gateway.example is forgotten.\n"
    left = remembered(ELSEWHERE)
    assert (left.models, set(left.limits)) == ({"gpt-5-mini"}, {"*/input"})


@pytest.mark.parametrize(("words", "left"), [((), set()), ((MODEL,), {"*/input", f"{MODEL}-x/input"})])
def test_what_runs_have_told_each_other_is_forgotten_with_it(command, words, left) -> None:
    """They hand it on for some minutes, also to a run that begins without any memory."""
    remembered(ELSEWHERE, KNOWN)
    store = store_of(resolve(None, ELSEWHERE))
    assert store is not None
    told = {"at": 1.0, "base": 100.0, "before": 100.0}
    with store.visit() as visit:
        visit.tell(dict.fromkeys(("*/input", f"{MODEL}/input", f"{MODEL}-x/input"), told), 1e12)
    assert command("limits", "--forget", *words, "--yes", env=ELSEWHERE).code == 0
    with store.visit() as visit:
        assert set(visit.learned(0)) == left
    store.close()


@pytest.mark.parametrize("words", [("--forget",), ("--forget", "--yes"), ("--all", "--forget")])
def test_all_of_it_is_forgotten(command, words) -> None:
    """Where there is no terminal, nobody is asked."""
    remembered(ELSEWHERE, KNOWN)
    assert command("limits", *words, env=ELSEWHERE).code == 0
    assert remembered(ELSEWHERE) == Knowledge()


@pytest.mark.parametrize(("answer", "left"), [(b"n\n", KNOWN), (b"y\n", Knowledge())])
def test_on_a_terminal_one_is_asked_before(command, monkeypatch, answer, left) -> None:
    """What is forgotten has to be learned again, by refusals."""
    remembered(ELSEWHERE, KNOWN)
    terminal = SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("runner.cli.limits.sys", terminal)
    command("limits", "--forget", env=ELSEWHERE, stdin=answer)
    assert remembered(ELSEWHERE) == left


@pytest.mark.parametrize(
    ("words", "known", "said"),
    [
        (["--forget", "gpt-9"], KNOWN, f"Nothing is remembered of gpt-9; there are {MODEL}, gpt-5-mini."),
        (["--forget", "gpt-9"], None, "Nothing is remembered of gpt-9; nothing is remembered at all."),
        (["--gateway", "local"], None, "nothing is remembered of it"),
        (["--all", "--gateway", "https://gateway.example"], None, "give one of the two"),
        (["--gateway", "http://gateway.example"], None, "is not https"),
        (["--limits", "nowhere.toml"], None, "nowhere.toml"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(command, words, known, said) -> None:
    """With the exit code of a wrong command."""
    remembered(ELSEWHERE, known)
    done = command("limits", *words, env=ELSEWHERE)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert said in done.err


def test_without_a_gateway_it_is_said_what_to_set(command) -> None:
    """As every other command says it."""
    done = command("limits")
    assert (done.code, "NEON_AI_GATEWAY_BASE_URL" in done.err) == (2, True)


def test_what_a_newer_runner_wrote_is_not_forgotten_in_part(command) -> None:
    """This one does not know what it holds."""
    remembered(ELSEWHERE, KNOWN)
    memory = Memory(ELSEWHERE["NEON_AI_GATEWAY_BASE_URL"], Secret(ELSEWHERE["NEON_AI_GATEWAY_TOKEN"]).fingerprint)
    memory.path.write_text(json.dumps({**json.loads(memory.path.read_text()), "version": 99}))
    done = command("limits", "--forget", MODEL, env=ELSEWHERE)
    assert (done.code, "newer runner" in done.err) == (2, True)
