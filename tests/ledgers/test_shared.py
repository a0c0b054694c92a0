"""Runs that share one account: what each may take, what the others hear, and what happens when they cannot meet.

All runs are in this process, with a clock of numbers; the file is real.
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

import pytest

from runner.core.limits import ALL, Budget, Limit
from runner.core.ports import Lease
from runner.core.values import Charge, Failure, Kind
from runner.ledgers.processes import Life, this_process
from runner.ledgers.shared import SharedLedger
from runner.ledgers.sqlite import Store, Unusable

WINDOW = 10.0
INPUT = Limit(scope="a", measure="input", amount=10_000, window=WINDOW)
INPUT_B = Limit(scope="b", measure="input", amount=10_000, window=WINDOW)
COMBINED = Limit(scope=ALL, measure="input", amount=10_000, window=WINDOW)
OUTPUT = Limit(scope="a", measure="output", amount=1_000, window=WINDOW)
QUERIES = Limit(scope="a", measure="requests", amount=8, window=0.5)
ONE: Mapping[str, Budget] = {"a": (INPUT,)}
TWO: Mapping[str, Budget] = {"a": (INPUT, COMBINED), "b": (INPUT_B, COMBINED)}
REQUEST = Charge(1, 100, 0)
START = 1_000.0


class Work:
    """A run that takes all it can get, and settles at once; what it took, and when."""

    def __init__(
        self, ledger: SharedLedger, model: str = "a", charge: Charge = REQUEST, *, starts: float = START
    ) -> None:
        self.ledger = ledger
        self.model = model
        self.charge = charge
        self.taken: list[float] = []
        self.next = starts
        self.ends = float("inf")

    def go(self, now: float) -> None:
        while self.next <= now < self.ends:
            lease = self.ledger.take(self.model, self.charge, now)
            if isinstance(lease, Lease):
                self.taken.append(now)
                self.ledger.settle(lease, self.charge, now)
            else:
                assert lease.until > now
                self.next = lease.until

    def between(self, begin: float, end: float) -> int:
        """Tokens taken from one moment to another, in windows from the start."""
        return sum(self.charge.input for at in self.taken if begin <= (at - START) / WINDOW < end)


def play(works: list[Work], windows: float, step: float = 0.02, begin: float = START) -> None:
    """Let runs work beside each other, for so many windows."""
    now = begin
    while now < begin + windows * WINDOW:
        for work in works:
            work.go(now)
            if now < work.ends:
                work.ledger.beat(now)
        now = round(now + step, 6)


def most_in_a_window(works: list[Work]) -> int:
    """The most that all took together in any stretch of a window."""
    log = sorted((at, work.charge.input) for work in works for at in work.taken)
    most = held = first = 0
    for at, amount in log:
        held += amount
        while log[first][0] <= at - WINDOW + 1e-6:
            held -= log[first][1]
            first += 1
        most = max(most, held)
    return most


# Dividing.


def test_together_they_take_no_more_than_there_is_and_nearly_all_of_it(host: Any) -> None:
    """Four runs of one account use at least 95 % of what one alone would, and never more."""
    works = [Work(host.run(ONE)) for _ in range(4)]
    play(works, 4)
    assert most_in_a_window(works) <= INPUT.amount
    assert sum(work.between(0, 4) for work in works) >= 0.95 * 4 * INPUT.amount


@pytest.mark.parametrize("budgets", [ONE, TWO], ids=["one limit", "a combined limit too"])
def test_equal_runs_get_equal_parts(host: Any, budgets: Mapping[str, Budget]) -> None:
    """Within 10 %, whoever came first."""
    works = [Work(host.run(budgets, learns=True, probes=False)) for _ in range(4)]
    play(works, 4)
    parts = [work.between(1, 4) for work in works]
    assert max(parts) <= 1.1 * min(parts)


def test_an_urgent_run_gets_at_least_half_within_a_window(host: Any) -> None:
    """A bulk run has used all; what leaves the window goes to the urgent one first."""
    bulk, urgent = Work(host.run(ONE, priority="batch")), Work(host.run(ONE, priority="urgent"), starts=START + 15.0)
    play([bulk, urgent], 5)
    assert urgent.between(1.5, 2.5) >= INPUT.amount / 2
    assert urgent.between(2.5, 5) / bulk.between(2.5, 5) == pytest.approx(8, rel=0.25)


def test_what_one_does_not_need_the_others_get(host: Any) -> None:
    """A run that asks for a tenth leaves nine tenths."""
    small, large = Work(host.run(ONE)), Work(host.run(ONE))
    now = START
    while now < START + 3 * WINDOW:
        if now >= START + len(small.taken):  # one request a second
            lease = small.ledger.take("a", REQUEST, now)
            if isinstance(lease, Lease):
                small.ledger.settle(lease, REQUEST, now)
                small.taken.append(now)
        small.ledger.beat(now)
        large.go(now)
        now = round(now + 0.1, 6)
    assert small.between(1, 3) > 0
    assert small.between(1, 3) + large.between(1, 3) >= 0.95 * 2 * INPUT.amount


def test_a_run_alone_is_not_held_back(host: Any) -> None:
    """It may take all at once, as from a ledger in memory."""
    ledger = host.run(ONE)
    assert isinstance(ledger.take("a", Charge(1, 10_000, 0), START), Lease)


def test_a_request_larger_than_a_lease_is_saved_for(host: Any) -> None:
    """One that takes a fifth of a limit goes out beside a run of small ones, and not only once."""
    large, small = Work(host.run(ONE), charge=Charge(1, 2_000, 0)), Work(host.run(ONE))
    play([large, small], 4)
    assert large.between(1, 4) >= 0.3 * 3 * INPUT.amount
    assert most_in_a_window([large, small]) <= INPUT.amount


def test_runs_that_use_different_limits_do_not_disturb_each_other(host: Any) -> None:
    """Each has all of a limit that the other does not use."""
    works = [Work(host.run({"a": (INPUT,)})), Work(host.run({"b": (INPUT_B,)}), "b")]
    play(works, 2)
    assert all(work.between(0, 2) >= 0.95 * 2 * INPUT.amount for work in works)


def test_a_limit_of_short_windows_is_divided_in_fixed_parts(host: Any) -> None:
    """Requests a second are over before a lease is: two runs have half of them each."""
    works = [Work(host.run({"a": (INPUT, QUERIES)}), charge=Charge(1, 1, 0)) for _ in range(2)]
    play(works, 1)
    for work in works:
        late = [at for at in work.taken if at > START + 2]
        assert max(sum(at - 0.5 + 1e-6 < other <= at for other in late) for at in late) == QUERIES.amount // 2


@pytest.mark.parametrize("together", [False, True])
def test_a_run_that_joins_takes_its_part_of_a_short_window_once_the_others_know_of_it(
    host: Any, together: bool
) -> None:
    """Until then they take all of it: together they would be refused, and that would be taken for a lower limit."""
    first = Work(host.run({"a": (INPUT, QUERIES)}), charge=Charge(1, 1, 0))
    joined = Work(host.run({"a": (INPUT, QUERIES)}), charge=Charge(1, 1, 0), starts=START + (not together) * 3.01)
    joined.ledger.beat = lambda now: None if now < joined.next else SharedLedger.beat(joined.ledger, now)
    play([first, joined], 1)
    log = sorted([*first.taken, *joined.taken])
    assert max(sum(at - 0.5 + 1e-6 < other <= at for other in log) for at in log) <= QUERIES.amount + 1
    assert len([at for at in joined.taken if at >= START + 6.0]) == pytest.approx(QUERIES.amount / 2 * 8, abs=2)


def test_a_refusal_says_nothing_of_a_limit_that_others_may_take_all_of(host: Any) -> None:
    """They do not know of this run yet."""
    first = Work(host.run({"a": (INPUT, QUERIES)}, learns=True), charge=Charge(1, 1, 0))
    play([first], 0.3)
    joined = host.run({"a": (INPUT, QUERIES)}, learns=True)
    leases = ((now, joined.take("a", Charge(1, 1, 0), now)) for now in (START + 3.0 + step / 50 for step in range(50)))
    now, lease = next((now, lease) for now, lease in leases if isinstance(lease, Lease))
    over = Failure(kind=Kind.RATE_LIMITED, message="too many", status=429, scope="model", measure="requests")
    joined.refused(lease, over, now + 0.05)
    assert joined._by_key["a/requests"].belief.amount(now + 0.1) == QUERIES.amount


# What is spent stays spent.


def test_what_a_run_spent_counts_for_the_others_until_its_window_is_over(host: Any) -> None:
    """Also after it has ended."""
    first, second = host.run(ONE), host.run(ONE)
    lease = first.take("a", Charge(1, 9_000, 0), START)
    first.settle(lease, Charge(1, 8_000, 0), START + 1.0)
    first.leave(START + 1.0)
    second.meet(START + 1.5)
    assert second.spent(START + 1.5)[INPUT] == 8_000
    assert second.spent(START + 9.9)[INPUT] == 8_000
    assert second.spent(START + 11.0)[INPUT] == 0


def test_others_hear_when_less_was_spent_than_was_held(host: Any) -> None:
    """A settlement makes room for everybody."""
    first, second = host.run(ONE), host.run(ONE)
    lease = first.take("a", Charge(1, 9_000, 0), START)
    first.meet(START + 0.2)
    second.meet(START + 0.3)
    assert second.spent(START + 0.3)[INPUT] == 9_000
    first.settle(lease, Charge(1, 500, 0), START + 0.4)
    first.meet(START + 0.5)
    second.meet(START + 0.6)
    assert second.spent(START + 0.6)[INPUT] == 500


def test_what_was_counted_later_is_told_with_its_own_date(host: Any) -> None:
    """And not with that of its answer, which would keep it for longer than the gateway does."""
    first, second = host.run(ONE), host.run(ONE)
    lease = first.take("a", Charge(1, 500, 0), START)
    first.meet(START + 0.2)
    first.settle(lease, Charge(1, 500, 0), START + 5.0, sent_at=START + 0.1)
    first.meet(START + 5.1)
    second.meet(START + 5.2)
    assert second.spent(START + 10.05)[INPUT] == 500
    assert second.spent(START + 10.15)[INPUT] == 0


def test_what_is_in_flight_for_longer_than_a_window_still_counts(host: Any) -> None:
    """The gateway may count it at any time."""
    first, second = host.run(ONE), host.run(ONE)
    first.take("a", Charge(1, 9_000, 0), START)
    for tenth in range(250):
        first.beat(START + tenth / 10)
    second.meet(START + 25.0)
    assert second.spent(START + 25.0)[INPUT] == 9_000


def test_a_run_that_is_gone_on_with_does_not_count_its_spending_twice(host: Any) -> None:
    """It has it from its journal; the others still have it from before."""
    first, other = host.run(ONE, run="same"), host.run(ONE)
    first.settle(first.take("a", Charge(1, 4_000, 0), START), Charge(1, 4_000, 0), START)
    first.meet(START + 0.1)
    first.meet(START + 0.2)  # nothing is under way any more
    host.kill(first)
    again = host.run(ONE, run="same")
    again.restore("a", Charge(1, 4_000, 0), START)
    again.meet(START + 0.5)
    other.meet(START + 0.6)
    assert again.spent(START + 0.6)[INPUT] == 4_000
    assert other.spent(START + 0.6)[INPUT] == 4_000


def test_a_killed_holder_costs_the_others_at_most_a_window(host: Any) -> None:
    """What it may have spent of its lease counts as spent; then the others have all."""
    works = [Work(host.run(ONE)) for _ in range(3)]
    works[0].ends = START + 20.0
    play(works, 2)
    host.kill(works[0].ledger)
    play(works, 3, begin=START + 20.0)
    assert most_in_a_window(works) <= INPUT.amount
    assert sum(work.between(3, 5) for work in works[1:]) >= 0.95 * 2 * INPUT.amount


def test_what_a_killed_run_may_have_spent_of_its_lease_counts(host: Any) -> None:
    """Nobody knows; so all of it does, for one window."""
    works = [Work(host.run(ONE, learns=True)) for _ in range(2)]
    play(works, 0.1)
    held = dict(works[0].ledger.lease)
    host.kill(works[0].ledger)
    before = works[1].ledger.spent(START + 1.0)[INPUT]
    works[1].ledger.meet(START + 1.1)
    assert held["a/input"] > 0
    assert works[1].ledger.spent(START + 1.1)[INPUT] >= before + held["a/input"] - 1


def test_the_part_of_a_run_that_cannot_come_is_left_to_it(host: Any) -> None:
    """It is there and spends by itself what it had as its part; one that is stopped spends nothing."""
    works = [Work(host.run(ONE)) for _ in range(2)]
    play(works, 1)
    lost, other = works
    lost.ends = 0.0
    play(works, 2, begin=START + 10.0)
    assert other.between(2, 3) <= 0.55 * INPUT.amount
    host.fates[lost.ledger.me.process.pid] = Life.STOPPED
    play(works, 2, begin=START + 30.0)
    assert other.between(4, 5) >= 0.95 * INPUT.amount


def test_the_part_of_a_run_that_cannot_be_seen_is_left_to_it_while_it_lives(host: Any) -> None:
    """It was alone, and goes on by itself in a container that cannot write: whoever comes has nothing."""
    lost, late = Work(host.run(ONE)), Work(host.run(ONE), starts=START + 15.0)
    play([lost], 1)
    host.fates[lost.ledger.me.process.pid] = Life.UNKNOWN
    play([late], 5, begin=START + 15.0)
    assert late.taken == []


def test_a_run_that_is_killed_in_another_container_costs_at_most_a_window(host: Any) -> None:
    """It was alone, so all was its part; its number means nothing here, but its sign is gone."""
    killed, late = Work(host.run(ONE)), Work(host.run(ONE), starts=START + 10.0)
    play([killed], 1)
    host.kill_unseen(killed.ledger)
    play([late], 3, begin=START + 10.0)
    assert most_in_a_window([killed, late]) <= INPUT.amount
    assert late.between(2, 4) >= 0.95 * 2 * INPUT.amount
    assert [page.member for page in Store(host.path).look()[0]] == [late.ledger.me]
    assert len(list(host.path.parent.glob("*.share-sign"))) == 1


def busy(times: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else holds the file, whenever it is asked for the next so many times."""
    visit, tries = Store.visit, count(1)

    def visited(store: Store) -> Any:
        if next(tries) <= times:
            raise Unusable("it is held", busy=True)
        return visit(store)

    monkeypatch.setattr(Store, "visit", visited)


def test_a_run_that_ends_while_the_file_is_busy_tries_again(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others hear what it has spent, and that it is over."""
    ledger = host.run(ONE)
    ledger.meet(START)
    ledger.take("a", REQUEST, START + 0.1)
    with monkeypatch.context() as patched:
        busy(3, patched)
        ledger.leave(START + 0.2)
    pages, spent = Store(host.path).look()
    assert pages == []
    assert [dict(one.amounts) for one in spent] == [{"a/input": 100}]


def test_a_run_that_could_not_say_that_it_ended_is_not_waited_for(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process lives on, as a notebook does, and its sign is gone."""
    ended, late = Work(host.run(ONE)), Work(host.run(ONE), starts=START + 10.0)
    play([ended], 1)
    with monkeypatch.context() as patched:
        busy(math.inf, patched)
        ended.ledger.leave(START + 10.0)
    play([late], 3, begin=START + 10.0)
    assert late.between(2, 4) >= 0.95 * 2 * INPUT.amount
    assert [page.member for page in Store(host.path).look()[0]] == [late.ledger.me]


# What one finds out the others know.


def test_what_one_run_finds_out_of_a_limit_the_others_take_over(host: Any) -> None:
    """Half of the limit was all that there was: nobody else has to be refused for that."""
    first, second = host.run(ONE, learns=True), host.run(ONE, learns=True)
    for number in range(50):
        now = START + number / 50
        lease = first.take("a", REQUEST, now)
        if isinstance(lease, Lease):
            first.settle(lease, REQUEST, now)
    lease = next(
        lease for tenth in range(100) if isinstance(lease := first.take("a", REQUEST, START + 1 + tenth / 100), Lease)
    )
    first.refused(lease, Failure(kind=Kind.RATE_LIMITED, message="", retry_after=9.0), lease.at + 0.05)
    first.settle(lease, Charge(1, 0, 0), lease.at + 0.05)
    first.meet(lease.at + 0.2)
    second.meet(lease.at + 0.3)
    known = first.windows[0].belief.amount(lease.at + 0.3)
    assert known < INPUT.amount
    assert second.windows[0].belief.amount(lease.at + 0.3) == pytest.approx(known)
    assert second.windows[0].kind is first.windows[0].kind


def test_only_one_of_all_tries_out_how_a_limit_is_counted(host: Any) -> None:
    """The one that was there first; the others wait for what it finds."""
    works = [Work(host.run(ONE, learns=True)) for _ in range(3)]
    play(works, 0.5)
    assert [work.ledger.windows[0].probes for work in works] == [True, False, False]


def test_nothing_is_tried_out_while_others_only_guess_what_they_spend(host: Any) -> None:
    """What is let in beside guesses that are too high does not tell of a bucket."""
    first, second = host.run(ONE, learns=True), host.run(ONE, learns=True)
    lease = second.take("a", Charge(1, 500, 0), START)
    second.meet(START + 0.2)
    first.meet(START + 0.3)
    assert not first.windows[0].probes
    second.settle(lease, Charge(1, 450, 0), START + 0.4)
    second.meet(START + 0.5)
    first.meet(START + 0.6)
    assert first.windows[0].probes


# When they cannot meet.


@contextlib.contextmanager
def held(path: Any) -> Iterator[None]:
    """Somebody holds the file."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


def test_a_file_that_is_held_for_ever_leaves_each_run_its_part(host: Any) -> None:
    """Neither stopped nor overspent: each goes on with what it had as its part, and says so once."""
    works = [Work(host.run(ONE)) for _ in range(2)]
    play(works, 1)
    with held(host.path):
        play(works, 3, step=0.1, begin=START + 10.0)
    assert most_in_a_window(works) <= INPUT.amount
    assert all(work.between(2, 4) >= 0.4 * 2 * INPUT.amount for work in works)
    for work in works:
        assert len(work.ledger.notices) == 1
        assert "50%" in work.ledger.notices[0]


def test_when_the_file_is_free_again_they_share_again(host: Any) -> None:
    """What was spent meanwhile is told then."""
    works = [Work(host.run(ONE)) for _ in range(2)]
    play(works, 1)
    with held(host.path):
        play(works, 1, step=0.1, begin=START + 10.0)
    works[0].ends = START + 20.0
    works[0].ledger.leave(START + 20.0)
    play(works, 3, begin=START + 20.0)
    assert works[1].between(3, 5) >= 0.95 * 2 * INPUT.amount


def test_a_moment_of_waiting_is_not_told(host: Any) -> None:
    """Another run's transaction is no failure."""
    ledger = host.run(ONE)
    ledger.meet(START)
    with held(host.path):
        ledger.meet(START + 0.1)
    ledger.meet(START + 0.2)
    assert ledger.notices == []


def test_a_damaged_file_is_put_aside_and_all_meet_in_a_new_one(host: Any) -> None:
    """Nothing is lost by it but what was in it."""
    host.path.write_bytes(b"no database " * 1000)
    works = [Work(host.run(ONE)) for _ in range(2)]
    play(works, 4)
    assert sum(work.between(2, 4) for work in works) >= 0.95 * 2 * INPUT.amount
    assert host.path.with_suffix(".share-unusable").exists()
    assert len(Store(host.path).look()[0]) == 2


def test_runs_meet_in_a_new_file_where_theirs_is_taken_away(host: Any) -> None:
    """Whoever comes first makes it, and who has the old one open looks whether it is still there."""
    works = [Work(host.run(ONE)) for _ in range(2)]
    play(works, 1)
    for ending in ("", "-wal", "-shm"):
        host.path.with_name(host.path.name + ending).unlink(missing_ok=True)
    play(works, 3, begin=START + 10.0)
    assert sum(work.between(2, 4) for work in works) >= 0.95 * 2 * INPUT.amount
    assert len(Store(host.path).look()[0]) == 2


def test_a_newer_runners_file_is_left_alone(host: Any) -> None:
    """It may hold what this one does not understand."""
    with contextlib.closing(sqlite3.connect(host.path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    ledger = host.run(ONE)
    assert isinstance(ledger.take("a", REQUEST, START), Lease)
    assert "newer" in ledger.notices[0]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"lease": 3}', '{"share": "x", "lease": null, "claims": {}}'])
def test_a_garbled_entry_is_as_if_it_were_not_there(host: Any, text: str) -> None:
    """The others go on."""
    works = [Work(host.run(ONE)) for _ in range(2)]
    play(works, 0.1)
    with contextlib.closing(sqlite3.connect(host.path, isolation_level=None)) as connection:
        connection.execute("UPDATE runs SET page = ? WHERE run = (SELECT min(run) FROM runs)", (text,))
        connection.execute("INSERT INTO spent VALUES ('x', 1, 1000.0, 9999.0, 999999, ?)", (text,))
        connection.execute("INSERT INTO learned VALUES ('a/input', 1000.0, 9999.0, 999999, ?)", (text,))
    play(works, 1, begin=START + 1.0)
    assert works[0].ledger.notices == works[1].ledger.notices == []


def test_the_file_is_the_users_own(host: Any) -> None:
    """Nobody else can read what an account spends."""
    host.run(ONE).meet(START)
    assert stat.S_IMODE(host.path.stat().st_mode) == 0o600


def test_what_is_from_before_a_reboot_is_forgotten(host: Any) -> None:
    """The clock began anew, in the same file where the system names no boots; a number of a process is used again."""
    before = Work(host.run(ONE), starts=90_000.0)
    play([before], 0.5, begin=90_000.0)
    with contextlib.closing(sqlite3.connect(host.path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO learned VALUES ('a/input', 80000.0, 99999.0, 1, '{}')")
        after = host.run(ONE)
        assert isinstance(after.take("a", Charge(1, 10_000, 0), 30.0), Lease)
        after.meet(30.5)
        assert connection.execute("SELECT * FROM learned").fetchall() == []
    pages, spent = Store(host.path).look()
    assert [page.member for page in pages] == [after.me]
    assert [(one.run, one.at) for one in spent] == [(after.me.run, 30.0)]


def test_who_looked_at_the_clock_before_it_waited_forgets_nothing(host: Any) -> None:
    """Others have come since, and are not from another boot."""
    first, second = host.run(ONE), host.run(ONE)
    first.take("a", Charge(1, 9_000, 0), START)
    first.meet(START + 5.0)
    second.meet(START - 5.0)
    assert second.spent(START)[INPUT] == 9_000
    assert len(Store(host.path).look()[0]) == 2


def test_it_is_visited_a_few_times_a_second(host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is taken: leases are for many requests."""
    visits = 0
    visit: Callable[[Store], Any] = Store.visit

    def counting(store: Store) -> Any:
        nonlocal visits
        visits += 1
        return visit(store)

    monkeypatch.setattr(Store, "visit", counting)
    limit = Limit(scope="a", measure="input", amount=100_000, window=60.0)
    works = [Work(host.run({"a": (limit,)})) for _ in range(2)]
    play(works, 2)
    assert sum(len(work.taken) for work in works) > 900
    assert visits / 2 / (2 * WINDOW) <= 5


def test_this_process_is_alive_and_an_earlier_one_of_its_number_is_gone() -> None:
    """Numbers of processes are used again."""
    from dataclasses import replace

    from runner.ledgers.processes import life

    me = this_process()
    assert life(me) is Life.RUNS
    assert life(replace(me, born=me.born - 1)) is (Life.GONE if me.born else Life.RUNS)
    assert life(replace(me, boot="another")) is Life.GONE
    assert life(replace(me, space="another")) is Life.UNKNOWN


def test_parts_that_are_too_small_for_a_request_are_put_together(host: Any) -> None:
    """Four runs with a part of a request each would leave two requests unsent for a window."""
    limit = Limit(scope="a", measure="input", amount=200_000, window=WINDOW)
    works = [Work(host.run({"a": (limit,)}, learns=True, probes=False), charge=Charge(1, 3_000, 0)) for _ in range(4)]
    play(works, 0.9)
    assert sum(len(work.taken) for work in works) == 66
