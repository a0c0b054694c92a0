"""Runs of one account before the gateway's own judge: what they use together, what is refused, and who waits for whom.

Schedulers, ledgers and the file are real; time is virtual. Requests are under way for a moment before they count, and
each run hears of the others only when it visits the file.
"""

from __future__ import annotations

from typing import Any

import pytest

WINDOW = 60.0


@pytest.mark.parametrize("kind", ["sliding", "fixed"])
def test_four_runs_use_what_one_uses_and_are_refused_no_more(together: Any, kind: str) -> None:
    """At least 95 % of it by the end of every window; and their parts are equal within 10 %."""
    one, four = together(kind, 0), together(kind, 0)
    one.begin("a", "b", "c", "d")
    for model in "abcd":
        four.begin(model)
        four.play(0.1)
    for world in (one, four):
        world.play(3 * WINDOW)
    for windows in (2, 3):
        assert four.used(0, windows * WINDOW) >= 0.95 * one.used(0, windows * WINDOW)
    assert four.refused / four.sent <= one.refused / one.sent + 0.005
    border = 1_000.0 + (four.combined.shape.phase - 1_000.0) % WINDOW if kind == "fixed" else 1_000.0 + WINDOW
    parts = [run.between(border, border + 2 * WINDOW) for run in four.runs]
    assert max(parts) <= 1.1 * min(parts)
    assert four.combined.log.report(four.combined.shape, four.amount)["peak"] <= four.amount


@pytest.mark.parametrize("window", [10.0, 60.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_runs_that_connect_late_and_guess_badly_are_refused_as_often_as_one(
    together: Any, seed: int, window: float
) -> None:
    """One probe tells all of them that it is a log, another that it is no calendar; and all of it is used."""
    world = together("sliding", seed, window=window, connects=(0.0, window / 24 + 1.0), guesses=1.08)
    for model in "abcd":
        world.begin(model)
        world.play(0.1)
    world.play(3.5 * window)
    assert world.refused == 2
    assert min(world.used(number * window, (number + 1) * window) for number in range(3)) >= 0.98


def test_a_bucket_that_was_only_supposed_is_given_up_for_calendar_windows(together: Any) -> None:
    """What was let in looked like a full bucket; the first refusal of all came seconds before a border."""
    world = together("fixed", 6, connects=(0.0, 3.5), guesses=1.08)
    for model in "abcd":
        world.begin(model)
        world.play(0.1)
    world.play(3.5 * WINDOW)
    assert {run.ledger.windows[-1].kind.value for run in world.runs} == {"calendar"}
    assert world.used(2 * WINDOW, 3 * WINDOW) >= 0.98


@pytest.mark.parametrize("kind", ["sliding", "fixed"])
def test_a_holder_that_is_killed_costs_the_others_at_most_a_window(together: Any, kind: str) -> None:
    """What it held counts as spent for a window; from then on the others have all that there is."""
    world = together(kind, 3)
    runs = [world.begin(model) for model in "abcd"]
    world.play(2.02 * WINDOW)  # in the middle of its burst
    world.kill(runs[0])
    world.play(2.98 * WINDOW)
    assert world.used(2 * WINDOW, 3 * WINDOW) >= 0.85
    assert min(world.used(3 * WINDOW, 4 * WINDOW), world.used(4 * WINDOW, 5 * WINDOW)) >= 0.95
    assert runs[0].between(1_000.0 + 2.03 * WINDOW, 2_000.0) == 0
    assert world.refused / world.sent <= 0.01
    assert world.combined.log.report(world.combined.shape, world.amount)["peak"] <= world.amount


@pytest.mark.parametrize("kind", ["sliding", "fixed"])
@pytest.mark.parametrize("priority", ["urgent", "normal"])
def test_a_run_that_starts_beside_a_bulk_run_has_its_part_within_a_window(
    together: Any, kind: str, priority: str
) -> None:
    """Two thirds for a normal one beside a batch, eight ninths for an urgent one; at least half is asked for."""
    world = together(kind, 1)
    bulk = world.begin("a", priority="batch")
    world.play(2.5 * WINDOW)
    late, begins = world.begin("b", priority=priority), world.now
    world.play(3 * WINDOW)
    window = begins + WINDOW, begins + 2 * WINDOW
    assert late.between(*window) >= 0.5 * world.amount
    assert late.between(*window) > bulk.between(*window)


@pytest.mark.parametrize("kind", ["sliding", "fixed"])
@pytest.mark.parametrize("seed", range(3))
def test_a_few_rows_beside_a_bulk_run_do_not_wait_for_a_window(together: Any, kind: str, seed: int) -> None:
    """Whenever they come: the first is asked within a quarter of a window, all eight within half of one; and the bulk
    run loses next to nothing by it."""
    world = together(kind, seed)
    world.begin("a", priority="batch")
    world.play((3 + world.chance.random()) * WINDOW)
    few, begins = world.begin("b", tokens=400, rows=8), world.now
    world.play(1.2 * WINDOW)
    waited = [at - begins for at, _ in few.taken]
    assert len(waited) == 8
    assert waited[0] <= WINDOW / 4
    assert waited[-1] <= WINDOW / 2
    assert world.used(WINDOW, 3 * WINDOW) >= 0.97


@pytest.mark.parametrize("kind", ["sliding", "fixed"])
def test_who_comes_late_knows_what_was_found_out_long_before(together: Any, kind: str) -> None:
    """What is known of a limit stays at the table for as long as somebody is there who knows it."""
    world = together(kind, 2)
    first = world.begin("a")
    world.play(6 * WINDOW)
    late = world.begin("b")
    assert late.ledger.windows[-1].kind is first.ledger.windows[-1].kind
    assert late.ledger.windows[-1].kind != "unknown"
