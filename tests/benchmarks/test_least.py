"""The least possible time, in cases that can be worked out by hand and beside schedules that the judge let through."""

from __future__ import annotations

import importlib.util
import math
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from runner.simulator.judge import Limit as Judged
from runner.simulator.judge import Refused, Taken, Wanted, admit, settle
from runner.simulator.window import Kind, Shape

KINDS: tuple[Kind, ...] = ("fixed", "sliding", "counter", "bucket")
SLOT = 1.0
"""Seconds: what a bound of these windows of a minute may be too low by."""


def _load(name: str) -> ModuleType:
    """A module of the benchmarks, which are no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[2] / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


least = _load("least")


def limit(
    kind: str,
    windows: float,
    *changes: tuple[float, float],
    amount: float = 100.0,
    model: str | None = "m",
    **more: Any,
) -> Any:
    """A limit of so many tokens a minute, and work of so many windows of it."""
    amounts = ((-math.inf, amount), *changes)
    fields = {"measure": "input", "seconds": 60.0, **more}
    return least.Limit(kind=kind, model=model, amounts=amounts, counted=windows * amount, **fields)


def seconds(*limits: Any, pinned: bool = True, outages: Any = ()) -> float:
    return float(least.least_admission(limits, pinned=pinned, outages=outages))


@pytest.mark.parametrize(("windows", "expected"), [(0.5, 0), (1.0, 0), (1.1, 60), (5.0, 240), (5.5, 300)])
def test_a_sliding_log_lets_a_limit_through_in_each_window(windows: float, expected: float) -> None:
    """The first limit passes at once, and one more whenever a window is over."""
    assert seconds(limit("sliding", windows)) == expected


@pytest.mark.parametrize(("burst", "expected"), [(1.0, 240), (0.25, 285), (0.1, 294)])
def test_a_full_bucket_gives_its_content_and_the_refill(burst: float, expected: float) -> None:
    """Five limits are a bucket's content and what runs in meanwhile."""
    assert seconds(limit("bucket", 5.0, burst=burst)) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("phase", "expected"), [(37.0, 37 + 3 * 60), (0.0, 4 * 60), (-3.5, 56.5 + 3 * 60)])
def test_calendar_windows_let_a_limit_through_at_each_border(phase: float, expected: float) -> None:
    """Five limits pass at the start and at the next four borders."""
    assert seconds(limit("fixed", 5.0, phase=phase)) == pytest.approx(expected)


@pytest.mark.parametrize(("phase", "expected"), [(0.0, 300), (30.0, 270)])
def test_a_sliding_counter_lets_a_limit_through_by_the_end_of_each_window(phase: float, expected: float) -> None:
    """The window before weighs until a window is over, but for the first."""
    assert expected - SLOT <= seconds(limit("counter", 5.0, phase=phase)) <= expected


def test_a_pool_may_be_split_at_will() -> None:
    """Three windows of work of one model and one of another are two each; pinned, the larger part takes its time."""
    limits = limit("sliding", 3.0, model="a"), limit("sliding", 1.0, model="b")
    assert seconds(*limits, pinned=False) == 60
    assert seconds(*limits, pinned=True) == 120


def test_a_limit_of_all_models_binds_beside_their_own() -> None:
    """Three models of 200 are bound by 550 for all of them: 2.18 windows instead of two."""
    models = [limit("sliding", 2.0, amount=200, model=f"m{number}") for number in range(3)]
    combined = limit("sliding", 1_200 / 550, amount=550, model=None)
    assert seconds(*models, pinned=False) == 60
    assert seconds(*models, combined, pinned=False) == 120


def test_the_measure_that_takes_longest_counts() -> None:
    """Input that passes in two windows, and output that takes three."""
    assert seconds(limit("sliding", 2.0), limit("sliding", 3.0, measure="output", amount=20)) == 120


def test_requests_have_windows_of_a_second() -> None:
    """A hundred a second let 950 through in nine seconds and a moment."""
    assert seconds(limit("sliding", 9.5, measure="requests", seconds=1.0)) == 9


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("sliding", 420), ("fixed", 322), ("bucket", 450)],
)
def test_a_limit_that_falls_binds_from_then_on(kind: str, expected: float) -> None:
    """Of five limits, what passes before the limit is halved after 90 seconds passes at the old rate."""
    assert seconds(limit(kind, 5.0, (90.0, 50.0), phase=22.0)) == pytest.approx(expected, abs=0.01)


def test_a_limit_that_comes_back_is_there_again() -> None:
    """Half a limit from 30 to 150 seconds: 100, 50, 50 pass, and the other half as soon as it is back."""
    assert seconds(limit("sliding", 5.0, (30.0, 50.0), (150.0, 100.0))) == 300


def test_somebody_who_draws_of_what_is_poured_in_leaves_a_bucket_its_content() -> None:
    """A full one's content and two limits in the first two minutes; then half a limit in each, and the content of a
    pause in between, which a smaller bucket could not hold."""
    half = ((120.0, 50.0), (0.0, 50.0))
    assert seconds(limit("bucket", 5.0, half[0], others=half[1])) == pytest.approx(360, abs=0.01)
    idle = [(120.0, 240.0)]
    assert seconds(limit("bucket", 5.0, half[0], others=half[1]), outages=idle) == pytest.approx(360, abs=0.01)
    assert seconds(limit("bucket", 5.0, half[0]), outages=idle) > 390


@pytest.mark.parametrize(("kind", "expected"), [("sliding", 240), ("fixed", 202), ("bucket", 245)])
def test_nothing_passes_in_an_outage(kind: str, expected: float) -> None:
    """A log loses nothing by 35 seconds between two of its bursts; a bucket loses what overflows meanwhile."""
    outage = (65.0, 100.0) if kind != "bucket" else (65.0, 130.0)
    assert seconds(limit(kind, 5.0, phase=22.0), outages=[outage]) == pytest.approx(expected, abs=0.01)


def test_a_reservation_keeps_what_would_overflow() -> None:
    """Who holds reservations in an outage gets them back after it, so a bucket of output loses nothing."""
    assert seconds(limit("bucket", 5.0, measure="output"), outages=[(65.0, 130.0)]) == pytest.approx(240)


def test_nothing_counted_takes_no_time() -> None:
    """Without work there is nothing to wait for."""
    assert seconds(limit("sliding", 0.0)) == 0
    assert seconds() == 0


Change = tuple[float, float]
"""From when on a limit is which part of what it was."""


def greedy(models: list[list[Judged]], sizes: list[int], reserved: float, changes: Sequence[Change] = ()) -> float:
    """When the last row is let in, if each in turn is sent to whichever model takes it first.

    A row reserves `reserved` times its output, and gives what it has not used back after seven seconds.
    """
    now, later = 0.0, list(changes)
    flights: list[tuple[float, list[Taken], int]] = []
    for size in sizes:
        while True:
            for at, taken, output in [flight for flight in flights if flight[0] <= now]:
                settle(at, taken, output)
            flights = [flight for flight in flights if flight[0] > now]
            while later and later[0][0] <= now:
                at, factor = later.pop(0)
                for one in {id(one): one for limits in models for one in limits}.values():
                    one.change(at, factor, 0)
            answer = _ask(now, models, size, reserved)
            if isinstance(answer, list):
                flights.append((now + 7.0, answer, size))
                break
            # A little more, or a moment that cannot be told from this one would never pass.
            now = min([now + answer, *(flight[0] for flight in flights), *(at for at, _ in later)]) + 1e-6
    return now


def _ask(now: float, models: list[list[Judged]], size: int, reserved: float) -> list[Taken] | float:
    """What the first model that takes a row has taken, or in how many seconds one may."""
    waits = [math.inf]
    for limits in models:
        kept = limits[0].measure == "output"
        answer = admit(now, [Wanted(one, 0, reserved * size) if kept else Wanted(one, size) for one in limits])
        if not isinstance(answer, Refused):
            return answer
        if answer.wait is not None:
            waits.append(answer.wait)
    return min(waits)


def bound(*limits: Judged) -> float:
    return seconds(*(least.Limit.from_meter(one.name, one.report()) for one in limits), pinned=False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("measure", "reserved"), [("input", 1.0), ("output", 2.5)])
@pytest.mark.parametrize("seed", range(2))
def test_no_schedule_that_was_let_through_is_faster(kind: Kind, measure: Any, reserved: float, seed: int) -> None:
    """Rows of random lengths, sent as soon as the judge takes them, take longer than the bound, and not much longer."""
    rng = random.Random(seed)
    shape = Shape(kind=kind, seconds=60, phase=rng.uniform(0, 60), burst=rng.choice([1.0, 0.5]))
    combined = Judged(measure=measure, model=None, amount=1_600, shape=shape)
    own = [Judged(measure=measure, model=name, amount=1_000, shape=shape) for name in "ab"]
    taken = greedy([[combined, one] for one in own], [rng.randint(5, 40) for _ in range(160)], reserved)
    assert 0.6 * taken < bound(combined, *own) <= taken


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(2))
def test_no_schedule_is_faster_when_limits_change(kind: Kind, seed: int) -> None:
    """The same under a limit that falls twice and comes back."""
    rng = random.Random(seed)
    shape = Shape(kind=kind, seconds=60, phase=rng.uniform(0, 60), burst=rng.choice([1.0, 0.5]))
    one = Judged(measure="input", model="a", amount=1_000, shape=shape)
    changes = [(rng.uniform(10, 60), 0.6), (rng.uniform(60, 120), 0.3), (rng.uniform(130, 200), 1.0)]
    taken = greedy([[one]], [rng.randint(5, 40) for _ in range(200)], 1.0, changes)
    assert 0.6 * taken < bound(one) <= taken
