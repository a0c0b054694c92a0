"""Runs under limits that bind, against gateways of every kind of window: the judge is the gateway's own meter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

MODELS = "claude-haiku-4-5,gpt-5-4-nano"
LIMITS = """
window_seconds = 2
[combined]
input_tokens = 250
[per_model]
input_tokens = 160
output_tokens = 400
requests_per_second = 20
"""
OUTPUT = '{"window_seconds": 2, "per_model": {"output_tokens": 240}}'
"""A gateway that limits nothing but output."""
WINDOWS = ("fixed", "sliding", "counter", "bucket")


@pytest.fixture(scope="session")
def limits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The limits file of all these runs."""
    path = tmp_path_factory.mktemp("limits") / "limits.toml"
    path.write_text(LIMITS)
    return path


@pytest.fixture
def limited(request: pytest.FixtureRequest, gateways: Any, limits: Path) -> Any:
    """A gateway with these limits and this kind of window."""
    return gateways("--limits", str(limits), "--window", request.param)


@pytest.mark.parametrize("limited", WINDOWS, indirect=True)
def test_a_run_that_knows_the_limits_keeps_them(command, limited, limits, rows, tmp_path) -> None:
    """All rows succeed in the end, and at no time was more in force than a window allows.

    A bucket that starts full lets through its content and one refill in the length of a window.
    """
    words = ["run", rows(14), "-m", MODELS, "--max-tokens", "60", "--limits", limits, "--out", tmp_path / "run"]
    done = command(*words, env=limited.env)
    table = pl.read_parquet(tmp_path / "run" / "results.parquet")
    meter = limited.meter()
    assert done.code == 0
    assert table["status"].to_list() == ["succeeded"] * 14
    for name, limit in meter["limits"].items():
        allowed = limit["limit"] * (2 if meter["window"] == "bucket" else 1)
        assert limit["peak"] <= allowed, name
    assert meter["answered_more_than_once"] == 0


@pytest.mark.parametrize("limited", ["sliding"], indirect=True)
def test_what_a_summary_says_of_limits_and_time_is_what_the_gateway_has_measured(
    command, limited, limits, rows, tmp_path
) -> None:
    """Tokens used of each limit, to the token, and a least possible time that what was let in really took."""
    words = ["run", rows(14), "-m", MODELS, "--max-tokens", "60", "--limits", limits, "--out", tmp_path / "run"]
    summary = command(*words, "--json", env=limited.env).json()
    meter = limited.meter()
    for limit in summary["limits"]:
        name = f"{limit['measure']}/{limit['scope'].replace('all', 'combined')}"
        assert limit["used"] == round(meter["limits"][name]["tokens"]), name
        windows = 1 + int(summary["elapsed_s"] / limit["window_s"])
        assert limit["used_share"] == pytest.approx(limit["used"] / limit["limit"] / windows, abs=1e-4)
    assert 0 < summary["least_possible_s"] <= meter["last_done"] <= summary["elapsed_s"]


@pytest.mark.parametrize("window", ["fixed", "sliding"])
def test_a_run_whose_charges_are_certain_is_refused_by_its_probes_alone(
    command, gateways, rows, tmp_path, window
) -> None:
    """Caps are reserved by both sides alike, so nothing else ever asks for output that is not there."""
    limits = tmp_path / "output.toml"
    limits.write_text("window_seconds = 2\n[per_model]\noutput_tokens = 240\n")
    gateway = gateways("--window", window, "--window-seconds", "2", "--limits-json", OUTPUT, "--lengths", "20,0.1")
    words = ["run", rows(16), "-m", "claude-haiku-4-5", "--max-tokens", "60", "--limits", limits]
    command(*words, "--out", tmp_path / "run", env=gateway.env)
    statuses = gateway.meter()["statuses"]
    assert statuses["200"] == 16
    assert statuses.get("429", 0) <= 12  # two seconds are short beside a round trip: most of them are probes


@pytest.mark.fault("H1")
@pytest.mark.parametrize("limited", WINDOWS, indirect=True)
def test_429s_cost_a_row_no_attempt(command, limited, rows, tmp_path) -> None:
    """A run that knows of no limits is refused, waits as it is told, and every row succeeds at its first attempt.

    The rows take more than two windows, so that a border between the first requests does not let all of them in.
    """
    words = ["run", rows(28), "-m", MODELS, "--max-tokens", "60", "--no-limits", "--out", tmp_path / "run"]
    done = command(*words, env=limited.env)
    table = pl.read_parquet(tmp_path / "run" / "results.parquet")
    assert done.code == 0
    assert limited.meter()["statuses"]["429"] > 0
    assert table["attempts"].to_list() == [1] * 28


@pytest.mark.parametrize("limited", ["sliding"], indirect=True)
def test_429s_are_counted(command, limited, rows, tmp_path) -> None:
    """The summary, the table of attempts and the gateway agree on how many there were."""
    words = ["run", rows(12), "-m", MODELS, "--max-tokens", "60", "--no-limits", "--out", tmp_path / "run"]
    done = command(*words, "--json", env=limited.env)
    attempts = pl.read_parquet(tmp_path / "run" / "attempts.parquet")
    refused = limited.meter()["statuses"]["429"]
    assert done.json()["requests"]["refused_429"] == refused
    assert attempts.filter(pl.col("http_status") == 429).height == refused
