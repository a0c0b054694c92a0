"""What is left of a limit for whoever comes later: a part that is spent evenly, and neither lost nor overspent."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from runner.core.leeway import Leeway

AMOUNT, WINDOW, PART, REQUEST = 100_000, 60.0, 0.05, 500


def sliding(now: float) -> float:
    return now - WINDOW


def calendar(now: float) -> float:
    return math.floor(now / WINDOW) * WINDOW


def spend(since: Callable[[float], float], windows: int) -> list[tuple[float, int]]:
    """The log of a run that takes all it may, looking twice a second."""
    log: list[tuple[float, int]] = []
    for half in range(2 * windows * round(WINDOW)):
        now = half / 2
        leeway = Leeway(AMOUNT, PART, WINDOW, since)
        leeway.spend(log)
        room = leeway.room(now, 0.0, REQUEST)
        free = AMOUNT - sum(amount for at, amount in log if at > since(now))
        log += [(now, REQUEST)] * int(min(room, free, 0.2 * AMOUNT) // REQUEST)
    return log


@pytest.mark.parametrize("since", [sliding, calendar])
def test_nearly_all_is_spent_all_the_same(since: Callable[[float], float]) -> None:
    """Where nobody comes, what is left is used by the end of the window."""
    log = spend(since, 5)
    for window in range(5):
        spent = sum(amount for at, amount in log if window * WINDOW <= at < (window + 1) * WINDOW)
        assert spent >= 0.985 * AMOUNT


def test_in_calendar_windows_there_is_room_until_the_window_is_nearly_over() -> None:
    """So much of the part as there is of the window."""
    log = spend(calendar, 3)
    for second in range(5, 50):
        now = 2 * WINDOW + second
        spent = sum(amount for at, amount in log if 2 * WINDOW <= at <= now)
        assert AMOUNT - spent >= PART * AMOUNT * (1 - second / 54) - 2 * REQUEST


def test_in_a_sliding_log_something_leaves_it_all_the_time() -> None:
    """Ten seconds give back what a few requests take, wherever in the window they are."""
    log = spend(sliding, 5)
    for second in range(0, 60, 5):
        begin = 3 * WINDOW + second
        leaving = sum(amount for at, amount in log if begin <= at < begin + 10)
        assert leaving >= PART * AMOUNT / 6 - REQUEST


def test_who_takes_more_than_its_turn_waits_for_longer() -> None:
    """What a newcomer took of the part is not spent once more by the run that left it."""
    log = [(0.0, round((1 - PART) * AMOUNT)), (10.0, 2_000)]
    leeway = Leeway(AMOUNT, PART, WINDOW, calendar)
    leeway.spend(log)
    assert leeway.room(15.0, 0.0, REQUEST) == 0.0
    assert leeway.room(50.0, 0.0, REQUEST) >= REQUEST


def test_a_request_larger_than_the_part_goes_in_its_time() -> None:
    """It cannot be cut, and would wait for ever for all of it."""
    leeway = Leeway(AMOUNT, PART, WINDOW, calendar)
    leeway.spend([(0.0, round((1 - PART) * AMOUNT))])
    assert leeway.room(10.0, 0.0, 20_000) == 20_000
