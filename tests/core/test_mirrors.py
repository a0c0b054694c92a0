"""The mirrors of the gateway's windows beside the local gateway's own, which share no code with them."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.mirrors import Bucket, Calendar, Counter, Mirror, SlidingLog, Take
from runner.simulator import window as judges

WINDOW = 60.0
LIMIT = 1000
HAIR = 1e-6
"""Seconds: rounding, and nothing else."""

Step = tuple[float, int, int, float]
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.25, 3.0, 17.5, 41.0]),  # seconds since the step before
        st.integers(1, 240),  # what is reserved
        st.integers(0, 100),  # percent of it that is really used
        st.sampled_from([0.0, 2.25, 20.0, 75.5]),  # seconds until that is known
    ),
    max_size=40,
)
PHASES = st.integers(0, 239).map(lambda quarters: quarters / 4)

Pair = Callable[[float], tuple[Mirror, judges.Window]]
"""A mirror and the judge's window, for a phase."""
PAIRS: dict[str, Pair] = {
    "sliding": lambda _: (SlidingLog(WINDOW), judges.Sliding(LIMIT, WINDOW)),
    "fixed": lambda phase: (Calendar(WINDOW, phase, 0.0, 0.0), judges.Fixed(LIMIT, WINDOW, phase)),
    "counter": lambda phase: (Counter(WINDOW, phase, 0.0, 0.0), judges.Counter(LIMIT, WINDOW, phase)),
    "bucket": lambda _: (Bucket(LIMIT / WINDOW, LIMIT), judges.Bucket(LIMIT, WINDOW)),
    "bucket 25 %": lambda _: (Bucket(LIMIT / WINDOW, LIMIT / 4), judges.Bucket(LIMIT, WINDOW, 0.25)),
}
kinds = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS.keys())


@dataclass
class Client:
    """Sends as soon as a mirror has room; what it sends is counted by the judge at that moment."""

    mirror: Mirror
    judge: judges.Window
    now: float = 0.0
    takes: list[Take] = field(default_factory=list)
    flights: list[tuple[float, int, Take, judges.Entry, int]] = field(default_factory=list)

    def pass_until(self, moment: float) -> None:
        """Let what lands meanwhile land."""
        while self.flights and self.flights[0][0] <= moment:
            self.now, _, take, entry, truth = heapq.heappop(self.flights)
            self.judge.credit(self.now, entry, take.amount - truth)
            self.mirror.settle(take, truth, self.now)
            take.amount, take.settled = truth, True
        self.now = moment

    def send(self, step: Step) -> bool:
        """Wait until it fits, and whether the judge thinks so too."""
        gap, amount, percent, seconds = step
        self.pass_until(self.now + gap)
        while (fits_at := self.mirror.when(amount, LIMIT, self.now)) > self.now:
            lands = self.flights[0][0] if self.flights else fits_at
            self.pass_until(max(self.now, min(fits_at, lands)))
        wait = self.judge.wait(self.now, amount)
        entry = self.judge.add(self.now, amount)
        take = Take(self.now, amount, self.mirror.used(self.now))
        self.mirror.take(take, self.now)
        self.takes.append(take)
        flight = (self.now + seconds, len(self.takes), take, entry, amount * percent // 100)
        heapq.heappush(self.flights, flight)
        return wait is not None and wait <= HAIR


@kinds
@settings(deadline=None)
@given(phase=PHASES, steps=STEPS)
def test_what_a_mirror_has_room_for_is_never_refused(pair: Pair, phase: float, steps: list[Step]) -> None:
    """With the window known exactly, a client that asks its mirror is let in each time, credits included."""
    client = Client(*pair(phase))
    assert all(client.send(step) for step in steps)


@kinds
@settings(deadline=None)
@given(phase=PHASES, steps=STEPS)
def test_a_mirror_shows_what_the_judge_counts(pair: Pair, phase: float, steps: list[Step]) -> None:
    """With everything settled at once, no room is wasted: the same is in use at every moment."""
    client = Client(*pair(phase))
    for gap, amount, percent, _ in steps:
        client.send((gap, amount, percent, 0.0))
        client.pass_until(client.now)
        assert client.mirror.used(client.now) == pytest.approx(client.judge.used(client.now), abs=1e-3)


@kinds
@settings(deadline=None)
@given(phase=PHASES, steps=STEPS, amount=st.integers(1, 240), later=st.floats(0.0, 30.0))
def test_what_a_mirror_promises_holds(pair: Pair, phase: float, steps: list[Step], amount: int, later: float) -> None:
    """The moment that it names is not over, stays the same while nothing happens, and is the first with room."""
    client = Client(*pair(phase))
    for step in steps:
        client.send(step)
    client.pass_until(client.now + 100.0)  # everything has landed
    for step in steps:
        client.send((0.0, *step[1:3], 0.0))
        client.pass_until(client.now)
    mirror, now = client.mirror, client.now + later
    fits_at = mirror.when(amount, LIMIT, now)
    assert fits_at >= now
    if fits_at > now + HAIR:
        half = (now + fits_at) / 2
        assert mirror.when(amount, LIMIT, half) == pytest.approx(fits_at, abs=HAIR)
        assert mirror.when(amount, LIMIT, fits_at - HAIR / 2) > fits_at - HAIR / 2
    assert mirror.when(amount, LIMIT, fits_at) <= fits_at + HAIR


EARLY: dict[str, Pair] = {
    "fixed": lambda true: (Calendar(WINDOW, 30.0, 15.0, 0.0), judges.Fixed(LIMIT, WINDOW, true)),
    "counter": lambda true: (Counter(WINDOW, 30.0, 15.0, 0.0), judges.Counter(LIMIT, WINDOW, true)),
}


@pytest.mark.parametrize("pair", EARLY.values(), ids=EARLY.keys())
@settings(deadline=None)
@given(before=st.integers(0, 60), steps=STEPS)
def test_an_uncertain_border_leads_to_no_refusal(pair: Pair, before: int, steps: list[Step]) -> None:
    """Wherever in the interval the true border lies, what the mirror has room for is let in."""
    client = Client(*pair(30.0 - before / 4))
    assert all(client.send(step) for step in steps)


def test_a_full_bucket_refills_from_when_the_first_request_must_have_come() -> None:
    """It may have been full until then, and what runs over is lost."""
    bucket = Bucket(1.0, 100.0)
    bucket.late = 2.0
    bucket.take(Take(0.0, 60), 0.0)
    assert bucket.level(1.5) == 40.0
    assert bucket.level(5.0) == 43.0
    assert bucket.level(100.0) == 100.0
    answered = Take(100.0, 60)
    bucket.take(answered, 100.0)
    bucket.settle(answered, 50, 101.0)
    assert bucket.level(102.0) == 51.0


def test_a_counter_counts_once_what_may_have_been_taken_on_either_side_of_a_border() -> None:
    counter = Counter(WINDOW, 30.0, 15.0, 0.0)
    counter.take(Take(0.0, 30), 0.0)
    counter.take(Take(20.0, 50), 20.0)
    assert counter.used(30.0) == 30 + 50
    assert counter.used(30.0 + WINDOW / 2) == 30 / 2 + 50


def test_a_counter_counts_once_what_turns_out_to_have_been_taken_after_a_border() -> None:
    """It was sent before it, waited, and is not in the window before any more."""
    counter, take = Counter(WINDOW, 0.0, 0.0, 0.3), Take(WINDOW - 2.0, 1_000)
    counter.take(take, take.sent)
    take.at = WINDOW + 0.5
    counter.settle(take, 900, WINDOW + 1.0)
    assert counter.used(WINDOW + 1.0) == 900


@pytest.mark.parametrize("made", [Calendar, Counter])
@settings(deadline=None)
@given(transits=st.lists(st.floats(0.0, 1.0), min_size=40, max_size=40), steps=STEPS)
def test_a_guard_covers_the_way_to_a_border(made: type[Calendar], transits: list[float], steps: list[Step]) -> None:
    """What is counted up to a guard after its sending, and so perhaps in the next window, fits all the same."""
    judge = judges.Fixed(LIMIT, WINDOW, 30.0) if made is Calendar else judges.Counter(LIMIT, WINDOW, 30.0)
    mirror, now, arrivals = made(WINDOW, 30.0, 0.0, 1.0), 0.0, []
    for (gap, amount, _, _), transit in zip(steps, transits, strict=False):
        now += gap
        while (fits_at := mirror.when(amount, LIMIT, now)) > now:
            now = fits_at
        mirror.take(Take(now, amount), now)
        arrivals.append((now + transit, amount))
    for at, amount in sorted(arrivals):
        wait = judge.wait(at, amount)
        assert wait is not None
        assert wait <= HAIR
        judge.add(at, amount)


REBUILT: dict[str, Callable[[list[Take], float], Mirror]] = {
    "sliding": lambda takes, _: SlidingLog(WINDOW, takes),
    "fixed": lambda takes, phase: Calendar(WINDOW, phase, 7.0, 1.0, takes),
    "counter": lambda takes, phase: Counter(WINDOW, phase, 7.0, 1.0, takes),
    "bucket": lambda takes, _: Bucket(LIMIT / WINDOW, LIMIT / 2, takes),
}


@pytest.mark.parametrize("made", REBUILT.values(), ids=REBUILT.keys())
@settings(deadline=None)
@given(phase=PHASES, steps=STEPS, later=st.floats(0.0, 130.0))
def test_a_mirror_made_of_takes_shows_what_one_that_saw_them_shows(
    made: Callable[[list[Take], float], Mirror], phase: float, steps: list[Step], later: float
) -> None:
    """A kind of window that is found out late begins with what was sent before."""
    seen, takes, now = made([], phase), [], 0.0
    for gap, amount, _, _ in steps:
        now += gap
        takes.append(Take(now, amount))
        seen.take(takes[-1], now)
    assert made(takes, phase).used(now + later) == pytest.approx(seen.used(now + later), abs=1e-6)


def test_a_log_keeps_what_is_in_flight_for_longer_than_a_window() -> None:
    """Nobody knows when it is counted; once it is known to have been long ago, it counts no more."""
    log, take = SlidingLog(WINDOW), Take(0.0, 100)
    log.take(take, 0.0)
    assert log.used(2 * WINDOW) == 100
    log.settle(take, 70, 2 * WINDOW)
    assert log.used(2 * WINDOW) == 0


def test_a_calendar_counts_what_arrived_late_in_the_next_window() -> None:
    """An answer that had waited for long may have been counted after the border, and is."""
    calendar, take = Calendar(WINDOW, 0.0, 0.0, 0.0), Take(50.0, 100)
    calendar.take(take, 50.0)
    take.at = 65.0
    assert calendar.used(61.0) == 0
    calendar.settle(take, 80, 70.0)
    assert calendar.used(70.0) == 80


def test_an_emptied_bucket_holds_what_ran_in_since_less_what_was_taken() -> None:
    """Takes from before the moment at which it was empty are part of that."""
    bucket = Bucket(10.0, 500.0)
    takes = [Take(0.0, 400), Take(3.0, 70), Take(12.0, 30)]
    bucket.empty(2.0, takes)
    assert bucket.level(12.0) == 10 * 10.0 - 70 - 30


@pytest.mark.parametrize(
    ("gives_back", "answered", "level"),
    [(False, 0, 0.0), (False, 60, 0.0), (True, 0, 0.0), (True, 60, 40.0)],
    ids=["refused", "answered", "refused, of a limit that gives back", "answered, of a limit that gives back"],
)
def test_what_was_sent_before_a_bucket_was_seen_to_be_empty_is_part_of_that(
    gives_back: bool, answered: int, level: float
) -> None:
    """What was refused was not in it; only what an answer gives back comes into it later."""
    bucket, take = Bucket(10.0, 500.0), Take(1.0, 100)
    bucket.gives_back = gives_back
    bucket.take(take, 1.0)
    bucket.empty(2.0, [take])
    bucket.settle(take, answered, 2.0)
    assert bucket.level(2.0) == level


def test_what_is_more_than_a_bucket_can_hold_goes_when_it_is_full() -> None:
    """Waiting for more would be waiting for ever."""
    bucket = Bucket(10.0, 500.0)
    bucket.take(Take(0.0, 500), 0.0)
    assert bucket.when(2000, LIMIT, 0.0) == pytest.approx(49.5)


def test_the_reserve_of_a_bucket_is_left_in_it() -> None:
    """Errors of guesses are taken from there."""
    bucket = Bucket(10.0, 500.0)
    bucket.reserve = 20.0
    bucket.take(Take(0.0, 490), 0.0)
    assert bucket.when(30, LIMIT, 0.0) == pytest.approx(4.0)
