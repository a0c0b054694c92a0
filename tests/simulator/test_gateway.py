"""The gateway without its wire, under a clock of numbers: when limits renew, change and are given back."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import orjson
import pytest

import runner.simulator
from runner.core.catalog import Catalogue
from runner.simulator import Neighbour, Simulator
from runner.simulator.gateway import Exchange, Gateway, Incoming


class Clock:
    """A gateway that is asked at times of our choosing."""

    def __init__(self, catalogue: Catalogue, wall: float = 0.0, **settings: Any) -> None:
        self.gateway = Gateway(Simulator(**settings), catalogue, wall=wall)

    def ask(self, now: float, text: str = "Name a prime.", max_tokens: int = 64) -> Exchange:
        body = {"model": "gpt-5-2", "messages": [{"role": "user", "content": text}], "max_tokens": max_tokens}
        headers = {"authorization": "Bearer x"}
        path = "/v1/chat/completions"
        return self.gateway.receive(now, Incoming(method="POST", path=path, headers=headers, body=orjson.dumps(body)))

    def status(self, now: float, **asked: Any) -> int:
        return self.ask(now, **asked).answer.status


def test_calendar_windows_follow_the_wall_clock(catalogue: Catalogue) -> None:
    """Started 50 seconds into a minute, a fixed window ends after 10, and Retry-After says so."""
    clock = Clock(catalogue, wall=600 + 50.0, window="fixed", per_model_input=20)
    assert clock.status(1) == 200
    refused = clock.ask(2)
    assert (refused.answer.status, refused.answer.headers["Retry-After"]) == (429, "8")
    assert clock.status(10) == 200


def test_the_phase_can_be_set(catalogue: Catalogue) -> None:
    """With a phase the borders lie where the test wants them, whatever the time of day."""
    clock = Clock(catalogue, wall=12345.6, window="fixed", phase=30.0, per_model_input=20)
    assert [clock.status(now) for now in (29, 30, 89, 90)] == [200, 200, 429, 200]


def test_limits_behind_the_gateway_can_have_another_window(catalogue: Catalogue) -> None:
    """A full bucket of output behind a sliding log of input: the bucket refills while the log remembers."""
    clock = Clock(catalogue, upstream_window="bucket", per_model_input=1_000, output_per_model=60)
    clock.ask(0, max_tokens=60)
    assert clock.status(29, max_tokens=30) == 429
    assert clock.status(30, max_tokens=30) == 200


def test_output_is_given_back_when_the_answer_is_complete(catalogue: Catalogue) -> None:
    """Until `finish` the whole reservation is in force, afterwards only what was written."""
    clock = Clock(catalogue, output_per_model=100)
    first = clock.ask(0, max_tokens=100)
    assert clock.status(1) == 429
    clock.gateway.finish(2, first)
    assert clock.status(2, max_tokens=100 - first.output_tokens) == 200


def test_a_request_without_a_cap_reserves_the_default(catalogue: Catalogue) -> None:
    """No `max_tokens` reserves as much as the default reservation says."""
    clock = Clock(catalogue, default_reservation=300)
    body = orjson.dumps({"model": "gpt-5-2", "messages": [{"role": "user", "content": "Hi"}]})
    headers = {"authorization": "Bearer x"}
    clock.gateway.receive(0, Incoming(method="POST", path="/v1/chat/completions", headers=headers, body=body))
    assert clock.gateway.meter()["limits"]["output/gpt-5-2"]["peak"] == 300


def test_limits_change_when_they_are_to(catalogue: Catalogue) -> None:
    """A limit halves at one moment and is back at another; models first asked later are under it too."""
    clock = Clock(catalogue, per_model_input=30, limit_changes=((100.0, 0.1), (200.0, 1.0)))
    assert [clock.status(now) for now in (99, 100, 199, 200)] == [200, 429, 429, 200]
    late = Clock(catalogue, per_model_input=30, limit_changes=((100.0, 0.1),))
    assert late.status(150) == 429


def test_refused_requests_can_cost(catalogue: Catalogue) -> None:
    """Where refusals are charged, knocking every 20 seconds keeps the door shut."""
    patient = [Clock(catalogue, per_model_input=20, charge_refused=charged) for charged in (False, True)]
    statuses = [[clock.status(now) for now in (0, 20, 40, 60)] for clock in patient]
    assert statuses == [[200, 429, 429, 200], [200, 429, 429, 429]]


def test_a_neighbour_takes_part_of_the_limit(catalogue: Catalogue) -> None:
    """With a neighbour on the same limits, less than the limit is there."""
    assert Clock(catalogue, output_per_model=100).status(0, max_tokens=60) == 200
    near = (Neighbour(output=50),)
    assert Clock(catalogue, output_per_model=100, neighbours=near).status(0, max_tokens=60) == 429


def test_a_neighbour_comes_and_goes(catalogue: Catalogue) -> None:
    """Two neighbours take their parts while they are there, and of a limit that has changed too."""
    near = (Neighbour(input=12, begin=100, end=300), Neighbour(input=12, begin=200, end=400))
    clock = Clock(catalogue, per_model_input=50, neighbours=near, limit_changes=((300.0, 0.5),))
    room = []
    for now in (99, 100, 200, 300, 400):
        clock.ask(now)
        room.append(clock.gateway.account.limits[1].window.limit)
    assert room == [50, 38, 26, 13, 25]
    assert clock.gateway.meter()["limits"]["input/gpt-5-2"]["changes"] == [
        (100, 38, 12),
        (200, 26, 24),
        (300, 13, 12),
        (400, 25, 0),
    ]


def test_changes_hold_from_their_moment_however_late_a_request_comes(catalogue: Catalogue) -> None:
    """A bucket refills at its new rate from the moment of the change, not from the next request."""
    clock = Clock(catalogue, window="bucket", per_model_input=40, limit_changes=((30.0, 0.1),))
    clock.ask(0)
    clock.ask(0)
    taken = clock.gateway.account.limits[1]
    clock.ask(60)
    assert taken.window.used(60) == pytest.approx(taken.log.tokens - 30 * 40 / 60 - 30 * 4 / 60)


@pytest.mark.parametrize(
    ("seconds", "now", "stated"),
    [(60.0, 17.5, "43"), (120.0, 17.5, "103"), (30.0, 17.4, "13"), (10.0, 1.7, "8.334"), (6.0, 5.95, "0.1")],
)
def test_waits_are_as_coarse_as_time_is_compressed(
    catalogue: Catalogue, seconds: float, now: float, stated: str
) -> None:
    """Whole seconds of a minute are sixtieths of a shorter window; a longer one has whole seconds too."""
    clock = Clock(catalogue, window_seconds=seconds, per_model_input=20)
    clock.ask(0)
    refused = clock.ask(now)
    assert refused.answer.headers["Retry-After"] == stated


@pytest.mark.parametrize("retry_after", [True, False])
def test_too_large_for_any_window(catalogue: Catalogue, retry_after: bool) -> None:
    """What never fits gets the same 429 each time: come back in a window."""
    clock = Clock(catalogue, per_model_input=5, retry_after=retry_after)
    for now in (0, 60, 120):
        headers = clock.ask(now).answer.headers
        assert headers.get("Retry-After") == ("60" if retry_after else None)


def test_a_slow_answer_takes_its_time(catalogue: Catalogue) -> None:
    """The delay is the latency plus the time to write, and the same request always takes the same."""
    clock = Clock(catalogue, latency=0.0, tokens_per_second=10)
    exchange = clock.ask(0)
    assert exchange.delay == pytest.approx(exchange.output_tokens / 10)
    assert clock.ask(1).delay == exchange.delay


def test_another_seed_is_another_luck(catalogue: Catalogue) -> None:
    """The seed changes latencies, counts and errors together."""
    delays = {Clock(catalogue, seed=seed).ask(0).delay for seed in range(5)}
    assert len(delays) == 5


def test_the_judge_shares_no_code_with_the_runner() -> None:
    """Of the project the simulator imports its own modules and the catalogue, nothing else."""
    folder = Path(runner.simulator.__file__).parent
    imported = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module)
            elif isinstance(node, ast.Import):
                imported.update(name.name for name in node.names)
    ours = {name for name in imported if name.startswith("runner") and not name.startswith("runner.simulator")}
    assert ours == {"runner.core.catalog"}
