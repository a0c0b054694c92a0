"""What a limit finds out of how a gateway counts, driven in virtual time; the local gateway's own window judges."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random

import pytest

from runner.core.gates import Gates
from runner.core.knowledge import Knowledge, limit_key
from runner.core.limits import Limit
from runner.core.mirrors import Take
from runner.core.ports import Lease
from runner.core.values import Charge
from runner.core.window import Kind, Window, weigh_together
from runner.ledgers.memory import MemoryLedger
from runner.simulator.window import Shape
from runner.testing import refusal

WINDOW = 60.0
LIMIT = 100_000
WAY = 0.05
"""Seconds to the gateway, and as many back."""
ANSWER = 0.6
"""Seconds that writing one takes; a refusal takes none."""


def learning(measure: str = "input", **options: bool) -> Window:
    """A window of which nothing is known yet."""
    limit = Limit(scope="m", measure=measure, amount=LIMIT, window=WINDOW)  # type: ignore[arg-type]
    return Window(limit, 0.3, **options)


class Drive:
    """A client that always has something to send."""

    def __init__(
        self,
        window: Window,
        shape: Shape,
        *,
        retry_after: bool = True,
        changes: Sequence[tuple[float, float]] = (),
        now: float = 0.0,
        real: float = LIMIT,
        answer: float | Callable[[float], float] = ANSWER,
        refusal: float = 0.0,
        way: Callable[[int], float] = lambda _number: WAY,
        seed: int = 1,
        says: Callable[[float, float], float] | None = None,
    ) -> None:
        """`changes` are moments, and the amount that really holds from then on; `says` makes up Retry-Afters.

        Answers take `answer` seconds to be made, by when they were asked for, and refusals `refusal`. A request is on
        its `way` for so many seconds, by its number.
        """
        self.window = window
        self.judge = shape.window(real)
        self.now = now
        self.admitted: list[tuple[float, int]] = []
        self.refused: list[float] = []
        self.without_room = 0
        self.ahead = 0.0
        """What the judge's clock is ahead of ours."""
        self._says = says
        self._retry_after = retry_after
        self._answer = answer
        self._refusal = refusal
        self._way = way
        self._sent = 0
        self._changes = list(changes)
        self._chance = Random(seed)
        self._gates = Gates(WINDOW, Random(1))
        self._flights: list[tuple[float, int, Take, bool, bool, float]] = []
        self._size = self._draw()

    def _draw(self) -> int:
        return self._chance.randint(300, 700)

    def run(self, windows: float) -> Drive:
        """Go on for so many windows."""
        ends = self.now + windows * WINDOW
        while self.now < ends:
            self.window.presumed(self.now)
            fits_at = self._gates.wait("m", self.now)
            if fits_at <= self.now:
                fits_at, _ = self.window.when(self._size, self.now)
            if fits_at <= self.now:
                take = self.window.take(self._size, self.now)
                self.without_room += take.probe
                self._gates.sent("m", take, self.now)
                self._sent += 1
                self._fly(self._way(self._sent), take, arrives=True)
                self._size = self._draw()
                continue
            self.now = min(fits_at, ends, self._flights[0][0] if self._flights else math.inf)
            while self._flights and self._flights[0][0] <= self.now:
                _, _, take, arrives, fine, wait = heapq.heappop(self._flights)
                if arrives:
                    self._arrive(take)
                else:
                    self._land(take, fine, wait)
        return self

    def _fly(self, seconds: float, take: Take, *, arrives: bool, fine: bool = True, wait: float = 0.0) -> None:
        number = self._chance.getrandbits(60)
        heapq.heappush(self._flights, (self.now + seconds, number, take, arrives, fine, wait))

    def _arrive(self, take: Take) -> None:
        while self._changes and self._changes[0][0] <= self.now:
            self.judge.resize(*self._changes.pop(0))
        wait = self.judge.wait(self.now + self.ahead, take.amount)
        if wait == 0.0:
            self.judge.add(self.now + self.ahead, take.amount)
            self.admitted.append((self.now, take.amount))
            answer = self._answer(take.sent) if callable(self._answer) else self._answer
            self._fly(answer + WAY, take, arrives=False)
        else:
            self.refused.append(self.now)
            back = self._refusal + WAY
            self._fly(back, take, arrives=False, fine=False, wait=WINDOW if wait is None else wait)

    def _land(self, take: Take, fine: bool, wait: float) -> None:
        if fine:
            self.window.accepted(take, self.now)
            self.window.settle(take, take.amount, take.sent, self.now)
            self._gates.answered("m", take)
            return
        wait = self._says(5.0, WINDOW - 5.0) if self._says else wait
        failure = refusal(retry_after=float(math.ceil(wait)) if self._retry_after else None)
        expected = self.window.refused(take, failure.retry_after, self.now)
        self.window.settle(take, 0, take.sent, self.now)
        if not expected:
            self._gates.failed("m", take, failure, take.sent, self.now, paced=True)

    def admitted_in(self, begin: float, end: float) -> int:
        """Tokens that the gateway took in a stretch of time."""
        return sum(amount for at, amount in self.admitted if begin <= at < end)

    def share(self, windows: int) -> float:
        """The part of the configured amount that was used in the last so many windows."""
        return self.admitted_in(self.now - windows * WINDOW, self.now) / windows / LIMIT

    def most_in_a_window(self, begin: float = 0.0) -> float:
        """The most that the gateway took in any stretch as long as a window, in configured amounts."""
        return max(self.admitted_in(at, at + WINDOW) for at, _ in self.admitted if at >= begin) / LIMIT


SLIDING = Shape()
FIXED = tuple(Shape(kind="fixed", phase=phase) for phase in (8.37, 23.4, 41.0, 52.5))
COUNTER = tuple(Shape(kind="counter", phase=phase) for phase in (8.37, 23.4, 41.0, 52.5))
BUCKET = tuple(Shape(kind="bucket", burst=burst) for burst in (1.0, 0.25, 0.1))
ALL_SHAPES = (SLIDING, *FIXED, *COUNTER, *BUCKET)
KINDS = {"sliding": Kind.SLIDING, "fixed": Kind.CALENDAR, "counter": Kind.COUNTER, "bucket": Kind.BUCKET}
USED = {"counter": 0.955}
"""Of the limit: a counter's border is trusted no further than clocks and ways allow, at every moment."""
MOST_REFUSED = {"sliding": 3, "fixed": 3, "counter": 3, "bucket": 6}
"""Refusals until the kind is found: one or two questions, and what was on its way meanwhile."""
QUESTIONS = {"fixed": 1}
"""Refusals in a window later on, where the border is still looked for."""


def named(shape: Shape) -> str:
    place = {"bucket": f" {shape.burst:.0%}", "sliding": ""}.get(shape.kind, f" {shape.phase}")
    return shape.kind + place


every_shape = pytest.mark.parametrize("shape", ALL_SHAPES, ids=named)


@every_shape
@pytest.mark.parametrize("measure", ["input", "total"])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_kind_is_found_with_few_refusals_and_the_limit_used(shape: Shape, measure: str, seed: int) -> None:
    """Within three windows; after that nothing but questions is refused, and more than nine tenths are used."""
    drive = Drive(learning(measure), shape, seed=seed).run(3)
    assert drive.window.kind is KINDS[shape.kind]
    assert len(drive.refused) <= MOST_REFUSED[shape.kind]
    found = len(drive.refused)
    drive.run(5)
    assert len(drive.refused) - found <= 5 * QUESTIONS.get(shape.kind, 0)
    assert drive.window.kind is KINDS[shape.kind]
    assert drive.share(5) >= USED.get(shape.kind, 0.96)


def answers_until(moment: float) -> Callable[[float], float]:
    """What was sent by then is answered in six seconds, a little more one by one, and the rest never."""
    return lambda sent: 6.0 if sent < moment else 10.0 * (sent - moment + 1.0) if sent < moment + 3.0 else math.inf


def test_what_is_not_refused_in_time_was_let_in() -> None:
    """A bucket that holds more than the amount is found before the probe is answered, which may take half a minute."""
    window = learning()
    drive = Drive(window, BUCKET[0], answer=answers_until(4.0)).run(0.9)
    assert window.kind is Kind.BUCKET
    assert len(drive.refused) <= 2


def test_nothing_is_presumed_before_answers_say_how_long_requests_are() -> None:
    """A gateway may count many times what was guessed."""
    window = learning()
    Drive(window, BUCKET[0], answer=lambda sent: 12.0 + 15.0 * sent if sent < 1.5 else math.inf).run(0.9)
    assert window.kind is Kind.UNKNOWN


def test_of_what_answers_give_back_nothing_is_presumed() -> None:
    """Nobody knows how much is in use until they are there."""
    window = learning("output")
    drive = Drive(window, BUCKET[0], answer=answers_until(4.0)).run(0.9)
    assert window.kind is Kind.UNKNOWN
    assert not drive.refused


def test_an_answer_after_it_was_presumed_tells_nothing_twice() -> None:
    """The probe has told what it can; the number of those in flight is right all the same."""
    window = learning()
    drive = Drive(window, BUCKET[0], answer=5.0).run(3)
    assert window.kind is Kind.BUCKET
    assert drive.share(2) >= 0.96
    assert window._probing._in_flight == 0


@pytest.mark.parametrize("shape", [SLIDING, *FIXED], ids=repr)
def test_refusals_that_take_longer_than_is_presumed_cost_little(shape: Shape) -> None:
    """What was presumed is corrected when they come."""
    drive = Drive(learning(), shape, refusal=5.0).run(6)
    assert drive.share(3) >= 0.96
    assert len(drive.refused) <= 40


@pytest.mark.parametrize("kind", ["fixed", "counter"])
@pytest.mark.parametrize("phase", [0.0, 1.37, 3.5, 4.37, 6.0, 58.37])
def test_a_border_in_the_first_seconds_may_be_misread_and_costs_little(kind: Kind, phase: float) -> None:
    """It looks like the oldest spending's end, or like a bucket: the limit is used all the same."""
    drive = Drive(learning(), Shape(kind=kind, phase=phase)).run(8)  # type: ignore[arg-type]
    assert drive.share(5) >= 0.9
    assert len(drive.refused) <= 0.07 * len(drive.admitted)


@every_shape
@pytest.mark.parametrize("measure", ["input", "output"])
@pytest.mark.parametrize("seed", [1, 2])
def test_without_a_retry_after_the_kind_is_found_all_the_same(shape: Shape, measure: str, seed: int) -> None:
    """It is asked again until it answers: a border is known to a part of the wait then, which a counter is used by."""
    drive = Drive(learning(measure), shape, retry_after=False, seed=seed).run(10)
    assert drive.window.kind is KINDS[shape.kind]
    assert drive.share(5) >= (0.91 if shape.kind == "counter" else 0.98)
    assert len(drive.refused) <= 0.025 * len(drive.admitted)


def test_without_a_retry_after_it_is_asked_less_and_less_often() -> None:
    drive = Drive(learning(), Shape(kind="fixed", phase=52.5), retry_after=False).run(0.87)
    asked = [at for at in drive.refused if at > drive.refused[0] + 0.5]
    gaps = [later - sooner for sooner, later in pairwise(asked)]
    assert len(asked) <= 20
    assert gaps[0] < 1.2
    assert gaps[-1] == max(gaps) > 5 * gaps[0]


def test_without_a_retry_after_nothing_is_asked_while_answers_still_give_room_back() -> None:
    """What is let in then says nothing of windows."""
    window = learning("output")
    for number in range(20):
        window.take(1000, number / 10)
    first = window.take(1000, 2.0)
    window.refused(first, None, 2.1)
    window.settle(first, 0, 2.0, 2.1)
    assert window.when(1000, 12.0)[0] > 12.0
    assert window.room(12.0) == 0


@pytest.fixture
def asking() -> Window:
    """All of the limit was spent in ten seconds, and what came then was refused."""
    window = learning()
    for number in range(200):
        window.settle(window.take(500, number / 20), 500, number / 20, number / 20 + 0.5)
    refuse(window, 500, 11.0)
    return window


def refuse(window: Window, amount: int, now: float) -> None:
    take = window.take(amount, now)
    window.refused(take, None, now + 0.1)
    window.settle(take, 0, now, now + 0.1)


def let_in(window: Window, amount: int, now: float) -> bool:
    """Whether that told something, after which others may be sent."""
    take = window.take(amount, now)
    told = window.accepted(take, now + 0.1)
    window.settle(take, amount, now, now + 0.1)
    return told


def test_when_a_part_of_what_was_refused_is_let_in_the_rest_follows_at_once(asking: Window) -> None:
    """Whoever waits for the next question to be due is told so."""
    refuse(asking, 500, 50.0)
    assert let_in(asking, 300, 61.5)
    assert asking.when(300, 61.6) == (61.6, False)


def test_what_was_asked_is_tried_out_before_it_is_relied_upon(asking: Window) -> None:
    """The first second is spent slowly; what comes back meanwhile may tell otherwise."""
    refuse(asking, 500, 50.0)
    assert let_in(asking, 500, 61.5)
    even = LIMIT / WINDOW
    assert asking.pace(61.7) <= 2 * even
    assert asking.pace(63.0) > 10 * even


def test_a_bucket_that_was_just_found_is_spent_slowly() -> None:
    """What was under way when it refused may have left less in it than it seems; it was empty, so nothing is lost."""
    window, even = learning(), LIMIT / WINDOW
    window._counting.become_empty_bucket(10.0, LIMIT / 4, 10.5)
    assert even < window.pace(11.0) <= 2 * even
    assert window.pace(16.0) > 10 * even


def test_a_limit_that_lets_nothing_in_for_a_window_is_believed_to_be_lower() -> None:
    window = learning()
    for number in range(100):
        window.settle(window.take(500, number / 10), 500, number / 10, number / 10 + 0.5)
    now, refused = 10.0, 0
    while now < 90.0 and window.belief.amount(now) == LIMIT:
        until, _ = window.when(500, now)
        if until > now:
            now = until
            continue
        take = window.take(500, now)
        window.refused(take, None, now + 0.1)
        window.settle(take, 0, now, now + 0.1)
        refused += 1
    assert window.belief.amount(now) == pytest.approx(50_000)
    assert 70.0 < now < 90.0
    assert refused < 25


def test_what_one_limit_lacks_is_spent_slowly_of_the_others_until_it_is_let_in() -> None:
    """Somebody who spends of one model's limit may spend of all."""
    windows = [learning(probes=False), learning(probes=False)]
    weigh_together(windows)
    for window in windows:
        window._counting.become_sliding(-2 * WINDOW, sure=True)
    refused, other = windows
    refused.settle(refused.take(60_000, 0.0), 60_000, 0.0, 0.5)
    refused.refused(refused.take(500, 1.0), 30.0, 1.1)
    assert refused.belief.amount(1.1) == pytest.approx(60_000)
    rush = other.pace(1.1)
    other.take(61_000, 1.2)
    assert other.pace(1.3) == pytest.approx(rush / 10)
    other.accepted(other.take(5_000, 1.4), 1.9)
    assert other.belief.amount(2.0) == LIMIT
    assert other.belief.proven == 66_000


def test_two_limits_of_a_gateway_take_turns_in_asking() -> None:
    """What one is told, both know: together they ask hardly more often than one."""
    windows = [learning(), learning()]
    weigh_together(windows)
    for window in windows:
        window.settle(window.take(500, 0.0), 500, 0.0, 0.5)
    for number, window in enumerate(windows):
        take = window.take(500, 10.0 + number / 10)
        window.refused(take, None, 10.2 + number / 10)
        window.settle(take, 0, take.sent, 10.2 + number / 10)
    asked, now = [0, 0], 10.3
    while now < 40.0:
        for number, window in enumerate(windows):
            if window.when(500, now)[0] <= now:
                take = window.take(500, now)
                asked[number] += 1
                window.refused(take, None, now + 0.05)
                window.settle(take, 0, now, now + 0.05)
        now += 0.1
    assert asked[0] >= 8
    assert asked[1] <= 2


@pytest.mark.fault("B3")
@pytest.mark.parametrize(("seed", "begins"), [(0, 1.5), (1, 1.2), (2, 1.5)])
def test_a_counter_stays_one_where_somebody_else_spends(seed: int, begins: float) -> None:
    """It has held for half a window: that there is less is likelier than that the gateway counts in another way."""
    drive = Drive(learning(), Shape(kind="counter", phase=20.0 + seed), seed=seed).run(begins)
    assert drive.window.kind is Kind.COUNTER
    for _ in range(2 * 60):
        if drive.judge.wait(drive.now, LIMIT // 120) == 0:
            drive.judge.add(drive.now, LIMIT // 120)
        drive.run(1 / 60)
    assert drive.window.kind is Kind.COUNTER


@pytest.mark.fault("B4")
@pytest.mark.parametrize("shape", COUNTER, ids=named)
def test_a_counter_that_names_a_far_moment_tells_at_once_how_much_there_is(shape: Shape) -> None:
    """What will be in use at that moment, by the mirror, is all that there is: nothing is asked before it in vain."""
    drive = Drive(learning(), shape, changes=[(1.7 * WINDOW, LIMIT / 2)]).run(1.7)
    before = len(drive.refused)
    drive.run(0.8)
    assert drive.window.belief.amount(drive.now) == pytest.approx(LIMIT / 2, rel=0.1)
    assert len(drive.refused) - before <= 12


@pytest.mark.fault("B4")
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
@pytest.mark.parametrize(("lowered", "ends"), [(1.03, 1.2), (1.1, 2.2)], ids=["in a wave", "between two"])
def test_a_log_that_names_a_far_moment_tells_at_once_how_much_there_is(
    lowered: float, ends: float, share: float
) -> None:
    """What was spent leaves it bit by bit, and what is left at that moment is all that there is."""
    drive = Drive(learning(), Shape(kind="sliding"), changes=[(lowered * WINDOW, share * LIMIT)]).run(ends)
    assert drive.window.kind is Kind.SLIDING
    assert drive.window.belief.amount(drive.now) == pytest.approx(share * LIMIT, rel=0.03)


@pytest.mark.parametrize("said", [10.0, 30.0, 60.0])
def test_a_gateway_that_always_says_the_same_retry_after_is_used_all_the_same(said: float) -> None:
    """It says nothing of how much there is: also where the limit is halved in mid-run, and comes back."""
    changes = [(2.1 * WINDOW, LIMIT / 2), (4.2 * WINDOW, LIMIT)]
    drive = Drive(learning(), SLIDING, says=lambda *_: said, changes=changes).run(12)
    assert drive.admitted_in(0.0, 12 * WINDOW) >= 0.75 * 12 * LIMIT
    assert len(drive.refused) <= 30


def test_what_a_log_tells_counts_all_that_was_let_in_before_the_refused_request_was_counted() -> None:
    """It had waited for a connection, and more was sent and let in meanwhile."""
    window = learning()
    window._counting.become_sliding(0.0, sure=True)
    for at in range(10):
        take = window.take(LIMIT // 10, float(at))
        window.settle(take, take.amount, counted_at=take.sent, now=take.sent + 0.1)
    waited = window.take(500, 62.0)
    for at in range(4):
        take = window.take(LIMIT // 10, 62.5 + at)
        window.settle(take, take.amount, counted_at=take.sent, now=take.sent + 0.1)
    window.refused(waited, 5.0, 66.2, sent_at=66.1)
    window.settle(waited, 0, counted_at=66.1, now=66.2)
    assert window.belief.amount(66.2) == pytest.approx(0.4 * LIMIT, rel=0.03)


def spent_evenly(window: Window, seconds: int) -> Take:
    """A request that comes after so many, one in a second, of which a window of seconds spends the limit."""
    for at in range(seconds):
        take = window.take(LIMIT // 60, float(at))
        window.settle(take, take.amount, counted_at=take.sent, now=take.sent + 0.1)
    return window.take(LIMIT // 60, float(seconds))


def test_a_retry_after_of_a_whole_window_does_not_tell_how_much_there_is() -> None:
    """Some gateways always say that: by it, nothing that was spent would be there any more."""
    window = learning()
    window._counting.become_sliding(0.0, sure=True)
    refused = spent_evenly(window, 45)
    window.refused(refused, WINDOW, 45.1)
    assert window.belief.amount(45.1) >= 0.7 * LIMIT


def test_a_limit_of_which_nothing_was_known_is_not_taken_for_a_log_that_was_lowered_in_the_middle() -> None:
    """Calendar windows of half the limit, with a border 5 s after the first request, are as likely as that."""
    window = learning()
    refused = spent_evenly(window, 35)
    window.refused(refused, WINDOW + 5.0 - 35.0, 35.1)
    assert window.kind is Kind.CALENDAR


def test_retry_afters_that_nothing_explains_do_not_tell_how_much_there_is() -> None:
    """Of one limit: then those of another one that is counted alike are not believed either."""
    one, other = learning(), learning()
    weigh_together([one, other])
    begins = Drive(one, SLIDING, says=Random(3).uniform).run(12).now
    assert one.kind is Kind.SLIDING
    other.suppose(one, begins)
    for step in range(9):
        take = other.take(LIMIT // 10, begins + step)
        other.settle(take, take.amount, counted_at=take.sent, now=take.sent + 0.5)
    refused = other.take(LIMIT // 20, begins + 10)
    other.refused(refused, WINDOW - 1, begins + 10.1)
    assert other.belief.amount(begins + 10.1) == 0.9 * LIMIT


def test_a_limit_learns_from_another_that_its_kind_was_given_up() -> None:
    """Both were taken for buckets, and one of them has found out better since."""
    mine, other = learning(), learning()
    for window in (mine, other):
        window._counting.become_empty_bucket(1.0, LIMIT, 1.0)
    mine.suppose(other, 2.0)
    assert mine.kind is Kind.BUCKET
    other._counting.become_counter(20.0, 0.5, 30.0)
    mine.suppose(other, 31.0)
    assert mine.kind is Kind.COUNTER


def test_a_limit_that_was_taken_for_a_counter_is_mirrored_as_the_log_that_another_one_was_found_to_be() -> None:
    """What was spent before leaves it a window later, and not bit by bit from the next border on."""
    mine, other = learning(), learning()
    take = mine.take(LIMIT // 2, 1.0)
    mine.settle(take, LIMIT // 2, counted_at=1.0, now=1.5)
    other._counting.become_counter(WINDOW / 2, 0.5, 2.0)
    mine.suppose(other, 2.0)
    other._counting.become_sliding(20.0, sure=True)
    mine.suppose(other, 20.0)
    assert mine.kind is Kind.SLIDING
    assert mine.used(1.0 + 0.9 * WINDOW) == LIMIT // 2


def test_what_a_limit_was_found_to_be_of_its_own_is_not_given_up_for_what_another_one_was_thought_to_be_before() -> (
    None
):
    """The other one was taken for a counter, and then this one refused what shows it to be a log, which is not sure."""
    mine, other = learning(), learning()
    other._counting.become_counter(0.0, 0.5, 2.0)
    mine.suppose(other, 2.0)
    mine._counting.become_sliding(20.0, late=0.5)
    mine.suppose(other, 21.0)
    assert mine.kind is Kind.SLIDING
    other._counting.become_calendar(15.0, 0.5, 22.0)
    mine.suppose(other, 22.0)
    assert mine.kind is Kind.CALENDAR


@pytest.mark.parametrize("burst", [0.25, 0.1])
def test_what_waits_for_a_connection_does_not_make_a_bucket_seem_larger(burst: float) -> None:
    """A part of what was sent is counted behind what was sent later, and refused: it was not in the bucket."""
    window, other = learning(), learning()
    weigh_together([window, other])
    Drive(window, Shape(kind="bucket", burst=burst), way=lambda number: 0.7 if number % 3 == 0 else WAY).run(0.2)
    other._counting.suppose(window._counting, 0.2 * WINDOW)
    for one in (window, other):
        assert one.kind is Kind.BUCKET
        assert one.tell(0.2 * WINDOW)["burst"] == pytest.approx(burst * LIMIT, abs=0.01 * LIMIT)


@pytest.mark.parametrize(("written", "drawn"), [(0.85, 0), (1.4, 500)], ids=["before it was empty", "after it"])
def test_what_waited_for_a_connection_is_drawn_from_what_came_back_since(written: float, drawn: int) -> None:
    """It was sent before a bucket was seen to be empty, and let in: then it was counted before that, or later."""
    limit = Limit(scope="m", measure="input", amount=LIMIT, window=WINDOW)
    ledger = MemoryLedger({"m": (limit,)}, learns=True)
    lease = ledger.take("m", Charge(1, 600, 0), 0.8)
    assert isinstance(lease, Lease)
    (window,) = ledger.windows
    window._counting.become_empty_bucket(0.9, LIMIT / 4, 0.9)
    empty = window.used(1.5)
    ledger.settle(lease, Charge(1, 500, 0), 1.5, sent_at=written)
    assert window.used(1.5) == empty + drawn


def test_a_supposed_bucket_of_which_more_is_under_way_than_it_holds_is_empty() -> None:
    """What is refused of that, later, was never in it."""
    mine, other = learning(), learning()
    takes = [mine.take(LIMIT // 10, step / 10) for step in range(8)]
    other._counting.become_empty_bucket(0.9, LIMIT / 4, 0.9)
    mine.suppose(other, 1.0)
    for take in takes[3:]:
        mine.settle(take, 0, counted_at=take.sent, now=1.2)
    assert mine.used(1.2) == pytest.approx(LIMIT / 4 - 0.2 * LIMIT / WINDOW)


@pytest.mark.fault("B1")
@every_shape
def test_a_limit_that_is_half_of_what_it_should_be_is_found_within_three_windows(shape: Shape) -> None:
    """From then on nearly all of it is used, and it is asked whether there is more now and then."""
    drive = Drive(learning(), shape, real=LIMIT / 2).run(3)
    assert drive.window.belief.amount(drive.now) == pytest.approx(LIMIT / 2, rel=0.2)
    before = len(drive.refused)
    assert before <= 20
    drive.run(5)
    assert drive.share(5) >= 0.45
    assert len(drive.refused) - before <= 0.03 * 5 * LIMIT / 2 / 500


@pytest.mark.fault("B3")
@every_shape
def test_a_limit_that_falls_and_comes_back_is_followed_within_three_windows(shape: Shape) -> None:
    """Half of it from the fifth window until the tenth: first half is used, then all again."""
    drive = Drive(learning(), shape, changes=[(5 * WINDOW, LIMIT / 2), (10 * WINDOW, LIMIT)]).run(10)
    assert drive.share(2) == pytest.approx(0.5, rel=0.05)
    drive.run(3)
    before = len(drive.refused)
    drive.run(5)
    assert drive.share(5) >= USED.get(shape.kind, 0.96)
    assert len(drive.refused) - before <= 5 * QUESTIONS.get(shape.kind, 0)
    assert before <= 50


@every_shape
def test_another_run_begins_with_what_was_found(shape: Shape) -> None:
    """With the kind, without a refusal but for questions, and with what has just been spent still counted."""
    drive = Drive(learning(), shape).run(4.3)
    facts = drive.window.remember(wall=1e9, now=drive.now)
    window = learning()
    window.recall(facts, wall=1e9 + 5, now=7_000.0, spending=True)  # another clock, five seconds later
    assert window.kind is KINDS[shape.kind]
    again = Drive(window, shape, now=7_000.0)
    again.judge, again.ahead = drive.judge, drive.now + 5 - 7_000.0
    again.run(5)
    assert len(again.refused) <= 5 * QUESTIONS.get(shape.kind, 0)
    assert again.share(5) >= 0.9


def test_what_was_not_sure_is_not_surer_for_another_run() -> None:
    """A run that ended before the first border has read calendar windows from what a counter said."""
    drive = Drive(learning(), Shape(kind="counter", seconds=WINDOW, phase=52.5)).run(0.8)
    assert (drive.window.kind, drive.window.sure) == (Kind.CALENDAR, False)
    window = learning()
    window.recall(drive.window.remember(wall=1e9, now=drive.now), wall=1e9 + 600, now=648.0, spending=True)
    assert (window.kind, window.sure) == (Kind.CALENDAR, False)
    again = Drive(window, Shape(kind="counter", seconds=WINDOW, phase=52.5), now=648.0).run(4)
    assert window.kind is Kind.COUNTER
    assert len(again.refused) <= 10


@pytest.mark.parametrize("kind", ["fixed", "counter"])
def test_a_border_that_lies_elsewhere_by_now_is_found_again(kind: str) -> None:
    """The host has slept since it was found: its clock has stood still, the gateway's has not."""
    shape, asleep = Shape(kind=kind, seconds=WINDOW, phase=23.4), 25.0  # type: ignore[arg-type]
    drive = Drive(learning(), shape).run(4)
    window, now = learning(), drive.now + 600.0
    facts = drive.window.remember(wall=1e9 + asleep, now=drive.now)
    window.recall(facts, wall=1e9 + asleep + 600.0, now=now, spending=True)
    again = Drive(window, shape, now=now)
    again.ahead = asleep
    again.run(10)
    assert window.kind is KINDS[shape.kind]
    assert len(again.refused) <= 3
    assert again.share(10) >= 0.95


def test_a_counters_border_is_trusted_no_further_than_clocks_and_ways_allow() -> None:
    borders = []
    for guard in (0.3, 1.3):
        window = Window(Limit(scope="m", measure="input", amount=LIMIT, window=WINDOW), guard)
        Drive(window, Shape(kind="counter", seconds=WINDOW, phase=20.0)).run(2)
        assert window.kind is Kind.COUNTER
        borders.append(float(window.remember(wall=1e9, now=1e9)["border"]))
    assert borders[1] - borders[0] == pytest.approx(1.0, abs=0.3)


def test_an_episode_of_refusals_counts_from_the_last_cut() -> None:
    """What was sent after a cut and is refused is another episode, though refusals of the first one still come in."""
    window = learning(probes=False)
    large = window.take(LIMIT // 2, 0.0)
    first, second = window.take(100, 10.0), window.take(100, 10.1)
    window.refused(first, None, 10.2)
    window.settle(large, LIMIT // 4, 0.0, 10.25)
    third = window.take(100, 10.3)
    window.refused(second, None, 10.4)
    window.refused(third, None, 10.5)
    grows_from = 10.5 + WINDOW
    assert window.belief.amount(grows_from - 0.01) == window.belief.amount(10.5)
    assert window.belief.amount(grows_from + 1.0) > window.belief.amount(10.5)


def test_room_that_comes_back_within_a_second_is_no_lower_limit() -> None:
    """A Retry-After is whole seconds, in short windows too: the gateway counted a little later than was thought."""
    window = Window(Limit(scope="m", measure="input", amount=LIMIT, window=10.0), 0.3, probes=False)
    large = window.take(LIMIT - 200, 0.0)
    window.settle(large, LIMIT - 200, 0.0, 0.5)
    early = window.take(100, 10.4)
    window.refused(early, 1.0, 10.5)
    assert window.belief.amount(10.5) == LIMIT


def test_room_that_comes_back_later_than_any_delay_is_a_lower_limit() -> None:
    """A Retry-After that is finer than a second says so in less than one."""
    window = Window(Limit(scope="m", measure="input", amount=LIMIT, window=10.0), 0.3, probes=False)
    window._counting.become_sliding(-20.0, sure=True)
    for number in range(10):
        window.settle(window.take(LIMIT // 10, number / 10), LIMIT // 10, number / 10, 0.5)
    early = window.take(100, 10.45)
    window.refused(early, 0.667, 10.5)
    assert window.belief.amount(10.5) < LIMIT


@pytest.mark.parametrize(("retry_after", "border"), [(1.0, 61.0), (0.5, 60.55)])
def test_a_border_that_was_thought_to_have_passed_is_still_to_come(retry_after: float, border: float) -> None:
    """A refusal just after it that names one in a moment says so, and not that there is less."""
    window = learning()
    window._counting.become_calendar(0.0, 0.0, 0.0, sure=True)
    window.settle(window.take(LIMIT, 20.0), LIMIT, 20.0, 20.5)
    early = window.take(100, 60.0)
    window.refused(early, retry_after, 60.05)
    window.settle(early, 0, 60.0, 60.05)
    assert window.belief.amount(60.1) == LIMIT
    until, _ = window.when(100, 60.1)
    assert until == pytest.approx(border, abs=0.1)


def test_a_probe_that_is_refused_closes_a_limit_for_as_long_as_the_gateway_says() -> None:
    """Also where that is longer than a window."""
    window = learning()
    window.take(LIMIT, 0.0)
    probe = window.take(500, 1.0)
    assert probe.probe
    assert window.refused(probe, 2 * WINDOW, 1.1)
    until, _ = window.when(1, 1.2)
    assert until >= 1.1 + 2 * WINDOW


def test_a_refusal_that_was_under_way_for_windows_breaks_nothing() -> None:
    """It says when there will be room, but what was in use then is forgotten."""
    window = learning()
    take = window.take(500, 0.0)
    assert not window.refused(take, 30.0, 3 * WINDOW)
    window.settle(take, 0, 0.0, 3 * WINDOW)
    until, _ = window.when(500, 3 * WINDOW + 1.0)
    assert until == 3 * WINDOW + 1.0


def test_what_was_doubtful_of_a_log_is_not_asked_of_a_counter() -> None:
    """A log that may be calendar windows is asked; once it is known to be something else, nothing is sent for that."""
    window = learning()
    for second in range(100):
        take = window.take(LIMIT // 100, second / 20)
        window.settle(take, take.amount, take.sent, second / 20)
    probe = window.take(500, 5.0)
    window.refused(probe, 55.0, 5.1)
    window.settle(probe, 0, 5.0, 5.1)
    assert window.kind is Kind.SLIDING
    assert not window.sure
    told = learning()
    told.hear({**(window.tell(6.0) or {}), "kind": "counter", "border": 60.5, "early": 0.5}, 6.0)
    window.hear({**(told.tell(20.0) or {}), "at": 20.0, "now": 20.0}, 20.0)
    assert window.kind is Kind.COUNTER
    left = LIMIT - round(window.used(75.0))
    take = window.take(left, 75.0)
    window.settle(take, left, 75.0, 75.0)
    until, _ = window.when(4_000, 75.1)
    assert until == pytest.approx(77.5, abs=0.2)


def test_the_oldest_is_what_was_counted_first_not_what_was_sent_first() -> None:
    """What waited for a connection was sent first and counted later: a Retry-After still speaks of a log."""
    window = Window(Limit(scope="m", measure="input", amount=LIMIT, window=WINDOW), 0.3)
    waited, quick = window.take(LIMIT // 2, 0.0), window.take(LIMIT // 2, 1.0)
    window.settle(waited, LIMIT // 2, 9.0, 9.5)
    window.settle(quick, LIMIT // 2, 1.0, 1.5)
    probe = window.take(100, 12.0)
    window.refused(probe, 49.0, 12.1)
    assert window.kind is Kind.SLIDING


@pytest.mark.parametrize("border", [3.0, 11.0, 25.0, 40.0, 55.0])
def test_a_border_that_is_put_off_again_and_again_is_none(border: float) -> None:
    """Whoever took a log for calendar windows hears at each border that there will be room in a moment."""
    window, told = learning(), learning()
    calendar = {"kind": "calendar", "sure": 1.0, "border": border, "early": 0.5}
    told.hear({"at": 1.0, "now": 1.0, "configured": LIMIT, "base": LIMIT, "before": LIMIT, **calendar}, 1.0)
    window.hear(told.tell(1.0) or {}, 1.0)
    drive = Drive(window, SLIDING, now=1.0).run(6)
    assert window.kind is Kind.SLIDING
    assert len(drive.refused) <= 30
    assert drive.share(4) >= 0.97


@pytest.mark.parametrize("sent_at", [11.0, 5.1], ids=["for its connection", "at the door"])
def test_what_had_to_wait_was_refused_for_what_was_in_use_by_then(sent_at: float) -> None:
    """It was taken when there was room, and written when there was none: nothing says that there is less."""
    window = learning()
    window.settle(window.take(LIMIT // 2, 0.0), LIMIT // 2, 0.0, 0.1)
    waited = window.take(500, 5.0)
    for number in range(99):
        take = window.take(LIMIT // 200, 6.0 + number / 20)
        window.settle(take, take.amount, take.sent, take.sent + 0.1)
    window.refused(waited, 20.0, 11.1, sent_at=sent_at)
    window.settle(waited, 0, 11.0, 11.1)
    assert window.kind is Kind.CALENDAR
    assert window.belief.amount(11.1) == LIMIT
    until, _ = window.when(500, 11.2)
    assert until == pytest.approx(31.0, abs=1.1)


def test_what_has_left_the_window_does_not_come_back_when_the_oldest_is_dated() -> None:
    """A second refusal of the same moment says what the first one said: it is a log."""
    window = Window(Limit(scope="m", measure="input", amount=LIMIT, window=WINDOW), 0.3)
    for begins, part in ((0.0, LIMIT // 2), (62.0, LIMIT)):
        for number in range(10):
            take = window.take(part // 10, begins + number / 4)
            window.settle(take, part // 10, take.sent, take.sent + 0.1)
    probes = [window.take(100, 66.0) for _ in range(2)]
    for number, probe in enumerate(probes):
        window.refused(probe, 56.0, 66.1 + number / 50)
        window.settle(probe, 0, 66.0, 66.1 + number / 50)
    assert window.kind is Kind.SLIDING


@every_shape
def test_without_probes_nothing_is_sent_without_room(shape: Shape) -> None:
    """No request is sent to find out; what is found out is found by chance, and a log is safe under most kinds."""
    drive = Drive(learning(probes=False), shape).run(8)
    assert drive.without_room == 0
    assert drive.share(5) >= 0.9
    assert len(drive.refused) <= (0.02 * len(drive.admitted) if shape.kind == "counter" else 5)


@pytest.mark.fault("B2")
@every_shape
def test_a_limit_that_is_really_higher_is_not_exceeded_for_long(shape: Shape) -> None:
    """Learning lets at most three amounts through in a window; from the fourth on one and what a bucket had saved."""
    drive = Drive(learning(), shape, real=2 * LIMIT).run(10)
    assert drive.most_in_a_window() <= 3.0
    assert drive.most_in_a_window(begin=4 * WINDOW) <= 1.3
    assert drive.share(5) == pytest.approx(1.0, rel=0.05)


@pytest.mark.fault("B2")
@pytest.mark.parametrize("shape", FIXED[1:], ids=named)
def test_where_it_is_asked_for_more_than_the_configured_amount_is_found(shape: Shape) -> None:
    """Calendar windows of twice the amount are used, and asked for more now and then."""
    drive = Drive(learning(above=True), shape, real=2 * LIMIT).run(12)
    assert drive.share(5) == pytest.approx(2.0, rel=0.1)
    assert len(drive.refused) <= 40


def test_contradictions_end_at_the_sliding_log() -> None:
    """A gateway whose Retry-After names another border each time is believed a few times, and then not any more."""
    drive = Drive(learning(), SLIDING, says=Random(3).uniform).run(12)
    assert drive.window.kind is Kind.SLIDING
    before = len(drive.refused)
    drive.run(5)
    assert len(drive.refused) == before
    assert drive.share(5) >= 0.9


REMEMBERED = {
    "kind": "bucket",
    "sure": 1.0,
    "amount": 900.0,
    "burst": 300.0,
    "level": 200.0,
    "spent": "0:100",
    "until": 1000.0,
    "configured": 1000.0,
    "window": WINDOW,
}


@pytest.mark.fault("H38")
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param({"until": 10.0**12}, id="the clock was set back"),
        pytest.param({"level": -(10.0**12)}, id="a bucket in endless debt"),
        pytest.param({"kind": "sliding", "until": 10.0**12}, id="spending that is yet to come"),
        pytest.param({"kind": "sliding", "spent": "0:-100000"}, id="less than nothing spent"),
        pytest.param({"kind": "sliding", "spent": f"0:{'9' * 400}"}, id="more spent than any number"),
        pytest.param({"burst": 1e12, "level": 1e12}, id="a bucket without a bottom"),
        pytest.param({"kind": "unknown", "sure": 1.0}, id="sure of nothing"),
    ],
)
def test_nothing_that_is_remembered_stops_a_run_or_gives_it_more(damage: dict[str, float | str]) -> None:
    """A hint that cannot be true is corrected to one that can."""
    window = Window(Limit(scope="m", measure="input", amount=1000, window=WINDOW), 0.0)
    window.recall({**REMEMBERED, **damage}, wall=1001.0, now=0.0, spending=True)
    assert window.used(0.0) >= 0
    assert not math.isnan(window.room(0.0))
    assert window.room(2 * WINDOW) >= 100
    assert window.free(2 * WINDOW) <= 1000
    assert not (window.sure and window.kind is Kind.UNKNOWN)


def test_what_was_spent_all_the_time_is_remembered_as_well_as_what_was_spent_at_once() -> None:
    """Through the file that it is kept in, which holds no text of any length."""
    limit = Limit(scope="m", measure="input", amount=2_000_000_000, window=WINDOW)
    spending = Window(limit, 0.0)
    for second in range(240):
        spending.settle(spending.take(10_123_457, second / 2), 10_123_457, second / 2, second / 2)
    known = Knowledge(limits={limit_key(limit): spending.remember(wall=1e9, now=120.0)})
    read = Knowledge.from_json(known.to_json())
    window = Window(limit, 0.0)
    window.recall(read.limits[limit_key(limit)], wall=1e9, now=0.0, spending=True)
    assert window.used(0.0) == pytest.approx(spending.used(120.0), rel=0.02)


def test_a_limit_that_is_now_configured_higher_is_believed() -> None:
    """What was all of the limit when it was learned says nothing of more."""
    window = Window(Limit(scope="m", measure="input", amount=2000, window=WINDOW), 0.0)
    window.recall({**REMEMBERED, "amount": 1000.0}, wall=1001.0, now=0.0, spending=False)
    assert window.belief.amount(0.0) == 2000


@pytest.mark.parametrize("handed_on", ["remembered", "told"])
def test_a_bucket_that_was_learned_keeps_a_limit_that_was_lowered_since(handed_on: str) -> None:
    """What it held was a part of another limit."""
    before, after = (
        Window(Limit(scope="m", measure="input", amount=amount, window=WINDOW), 0.0) for amount in (LIMIT, LIMIT // 5)
    )
    before._counting.become_empty_bucket(0.0, LIMIT, 0.0)
    if handed_on == "told":
        told = before.tell(2 * WINDOW)
        assert told is not None
        after.hear(told, 2 * WINDOW)
    else:
        facts = before.remember(wall=1e9, now=2 * WINDOW)
        after.recall(facts, wall=1e9, now=2 * WINDOW, spending=True)
    assert after.kind is Kind.BUCKET
    assert after.free(2 * WINDOW) <= LIMIT // 5


def test_a_bucket_of_a_run_that_goes_on_fills_between_what_was_taken_of_it() -> None:
    facts = Window(Limit(scope="m", measure="input", amount=LIMIT, window=WINDOW), 0.0)
    facts._counting.become_empty_bucket(0.0, LIMIT / 4, 0.0)
    window = learning()
    window.recall(facts.remember(wall=1e9, now=500.0), wall=1e9, now=500.0, spending=False)
    for second in range(45):
        window.restore(LIMIT // 60, 440.0 + second)
    assert window.free(500.0) == pytest.approx(LIMIT / 4, rel=0.05)


def test_windows_of_another_length_are_not_recalled() -> None:
    """Borders and amounts are of no use then."""
    window = Window(Limit(scope="m", measure="input", amount=1000, window=WINDOW / 6), 0.0)
    with pytest.raises(ValueError, match="windows of another length"):
        window.recall(REMEMBERED, wall=1001.0, now=0.0, spending=False)
    assert window.kind is Kind.UNKNOWN


@pytest.mark.parametrize(
    "damage",
    [
        {"kind": "sliding", "spent": "0:many"},
        {"kind": "calendar", "border": "nan", "early": 0.0},
        {"kind": "counter", "border": 0.0, "early": "inf"},
        {"burst": "inf"},
        {"level": "nan"},
    ],
)
def test_what_is_garbled_leaves_a_limit_as_it_was(damage: dict[str, float | str]) -> None:
    """Half of a memory is worse than none."""
    window = Window(Limit(scope="m", measure="input", amount=1000, window=WINDOW), 0.0)
    before = repr(window)
    with pytest.raises(ValueError, match=r"invalid literal|is nan|is inf"):
        window.recall({**REMEMBERED, **damage}, wall=1001.0, now=0.0, spending=True)
    assert repr(window) == before


def test_a_refused_request_that_was_taken_for_a_probe_makes_no_room_for_others() -> None:
    """Those that are under way are counted, and it was none of them when it was sent."""
    window, now = learning(), 0.0
    for _ in range(199):
        take = window.take(500, now)
        window.settle(take, 500, now, now + 0.05)
        now += 0.1
    plain = window.take(400, now)
    probes = [window.take(500, now + number / 100) for number in range(1, 4)]
    assert [take.probe for take in (plain, *probes)] == [False, True, True, True]
    under_way = window._probing._in_flight
    window.refused(plain, None, now + 0.2)
    window.settle(plain, 0, now, now + 0.2)
    assert window._probing._in_flight == under_way


def test_one_request_that_hangs_keeps_nothing_from_being_asked_for_longer_than_a_window() -> None:
    """Until answers give nothing back any more nobody asks when there is room again; that one never will."""
    window, now = learning("output"), 1.0
    window.take(4_096, 0.0)
    for _ in range(90):
        take = window.take(1_000, now)
        window.accepted(take, now + 0.05)
        window.settle(take, 1_000, now, now + 0.05)
        now += 0.1
    take = window.take(1_000, now)
    window.refused(take, None, now + 0.05)
    window.settle(take, 0, now, now + 0.05)
    asked_at = next(at for at in (now + step for step in range(600)) if window.when(1_000, at)[0] <= at)
    assert asked_at <= 1.1 * WINDOW


@pytest.mark.parametrize("phase", [5.0, 20.0, 40.0])
def test_a_refusal_by_a_hair_does_not_say_that_refused_requests_are_counted(phase: float) -> None:
    window = learning()
    drive = Drive(window, Shape(kind="counter", seconds=WINDOW, phase=phase))
    while not drive.refused:
        drive.run(1 / 60)
    now, _ = window.when(500, drive.run(0.7).now)
    take = window.take(500, now)
    with_it = window.used(now)
    window.refused(take, 2.0, now + 2 * WAY)
    window.settle(take, 0, now, now + 2 * WAY)
    assert window.used(now + 2 * WAY) < with_it - 400
