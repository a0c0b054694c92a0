"""What is done about a run that somebody else works in, in virtual time."""

from __future__ import annotations

import pytest

from runner.core.errors import RunBusy
from runner.locking import LOOK_SECONDS, Policy, by_policy


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self, free_at: float) -> None:
        self.now, self.free_at, self.calls = 100.0, 100.0 + free_at, 0
        self.said: list[str] = []

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def call(self) -> str:
        self.calls += 1
        if self.now < self.free_at:
            raise RunBusy("Another runner works in x.")
        return "done"

    def by(self, policy: Policy) -> str | None:
        return by_policy(self.call, policy, self.said.append, clock=lambda: self.now, sleep=self.sleep)


@pytest.mark.parametrize("if_locked", ["skip", "wait", "fail"])
def test_what_is_free_is_begun_at_once(if_locked: str) -> None:
    """No policy costs anything then."""
    clock = Clock(0)
    assert clock.by(Policy(if_locked, 10)) == "done"  # type: ignore[arg-type]
    assert (clock.calls, clock.said, clock.now) == (1, [], 100.0)


@pytest.mark.fault("P17")
def test_skip_leaves_it_with_a_line() -> None:
    """P17: nothing is begun, and what works there is named."""
    clock = Clock(5)
    assert clock.by(Policy("skip")) is None
    assert clock.said == ["Another runner works in x. It is left alone (--if-locked skip)."]
    assert clock.now == 100.0


@pytest.mark.fault("P17")
def test_fail_says_so_at_once() -> None:
    """P17: with the exit code of a busy run."""
    clock = Clock(5)
    with pytest.raises(RunBusy):
        clock.by(Policy("fail", 100))
    assert clock.calls == 1


@pytest.mark.fault("P17")
def test_wait_waits_until_it_is_free_and_says_so_once() -> None:
    """P17: not longer than needed."""
    clock = Clock(30)
    assert clock.by(Policy("wait", 60)) == "done"
    assert 130 <= clock.now <= 130 + LOOK_SECONDS
    assert len(clock.said) == 1


@pytest.mark.fault("P17")
@pytest.mark.parametrize("seconds", [0.0, 0.5, 60.0])
def test_wait_ends(seconds: float) -> None:
    """P17: a night that never ends holds up only so many others."""
    clock = Clock(1000)
    with pytest.raises(RunBusy, match="was waited for"):
        clock.by(Policy("wait", seconds))
    assert clock.now == 100.0 + seconds
