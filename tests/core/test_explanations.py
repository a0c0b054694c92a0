"""Which kind explains what was refused in a first wave; the local gateway's own windows refuse it."""

from __future__ import annotations

import heapq
import math
from random import Random

import pytest

from runner.core.counting import Kind
from runner.core.evidence import Evidence, Refusal
from runner.core.explanations import Explanation, explanations
from runner.core.mirrors import Take
from runner.simulator.window import Shape

WINDOW = 60.0
LIMIT = 1_000_000
WAY = 0.05
"""Seconds to the gateway, and as many back."""
ANSWER = 0.6
GRAIN = 1.0
"""Seconds to which a Retry-After is rounded up."""


def wave(
    shape: Shape, *, real: float = LIMIT, seconds: float = 10.0, largest: int = 400, seed: int = 1
) -> tuple[list[Take], list[Refusal]]:
    """Takes that would spend the limit in so many seconds, and more; the first refusal that is back ends it."""
    chance, judge = Random(seed), shape.window(real)
    takes: list[Take] = []
    refusals: list[Refusal] = []
    under_way: list[tuple[float, int, Take]] = []
    now, spent = 0.0, 0
    while under_way or not refusals:
        over = spent > 1.3 * LIMIT or any(refusal.back <= now for refusal in refusals)
        if not over:
            take = Take(now, chance.randint(200, largest))
            heapq.heappush(under_way, (now + chance.uniform(WAY, 2 * WAY), len(takes), take))
            takes.append(take)
            spent += take.amount
            now += take.amount / LIMIT * seconds
        while under_way and (over or under_way[0][0] <= now):
            at, _, take = heapq.heappop(under_way)
            wait = judge.wait(at, take.amount)
            take.settled = True
            if wait == 0.0:
                judge.add(at, take.amount)
                take.back = at + ANSWER
            else:
                said = float(max(1, math.ceil(WINDOW if wait is None else wait)))
                refusals.append(Refusal(take.sent, at + WAY, take.amount, said, GRAIN))
                take.amount, take.back = 0, at + WAY
        if over and not refusals:
            break
    return takes, refusals


def as_seen_at(moment: float, takes: list[Take]) -> list[Take]:
    """What was not answered then is still in flight."""
    for take in takes:
        if take.back > moment:
            take.settled, take.amount, take.back = False, take.held, math.inf
    return [take for take in takes if take.sent <= moment]


def explained(shape: Shape, **options: float) -> list[Explanation]:
    """What explains the first few refusals of a wave."""
    takes, refusals = wave(shape, **options)  # type: ignore[arg-type]
    return explanations(Evidence(takes, refusals[:3], LIMIT, WINDOW, gives_back=False))


def shape(kind: str, phase: float = 0.0, burst: float = 1.0) -> Shape:
    return Shape(kind=kind, seconds=WINDOW, phase=phase, burst=burst)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("real", [LIMIT, LIMIT // 2])
def test_a_log_is_told_by_the_moment_at_which_the_oldest_leaves(real: int, seed: int) -> None:
    best = explained(shape("sliding"), real=real, seed=seed)[0]
    assert best.kind is Kind.SLIDING
    assert best.holds == pytest.approx(real, rel=0.02)


@pytest.mark.parametrize("real", [LIMIT, LIMIT // 2])
@pytest.mark.parametrize("phase", [13.3, 20.0, 33.7, 47.1, 55.0])
def test_a_border_is_told_by_when_there_is_room_again_and_lies_where_it_is_said(phase: float, real: int) -> None:
    best = explained(shape("fixed", phase), real=real)[0]
    assert best.kind is Kind.CALENDAR
    assert best.holds == pytest.approx(real, rel=0.02)
    assert (best.border - phase) % WINDOW <= best.early + 0.1 <= 2.0


@pytest.mark.parametrize("burst", [0.5, 0.25, 0.1])
@pytest.mark.parametrize("seed", range(3))
def test_a_small_bucket_is_told_by_lifting_at_once_and_its_size_is_found(burst: float, seed: int) -> None:
    best = explained(shape("bucket", burst=burst), seed=seed)[0]
    assert best.kind is Kind.BUCKET
    assert best.holds == pytest.approx(burst * LIMIT, rel=0.1)


@pytest.mark.parametrize("burst", [0.25, 0.1])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [1, 3])
def test_what_is_in_flight_and_will_be_refused_was_not_drawn_from_a_bucket(burst: float, seed: int, count: int) -> None:
    """As much as it holds, or more, is sent in the time that a refusal takes."""
    takes, refusals = wave(shape("bucket", burst=burst), seconds=0.5, seed=seed)
    seen = sorted(refusals, key=lambda refusal: refusal.back)[:count]
    best = explanations(Evidence(as_seen_at(seen[-1].back, takes), seen, LIMIT, WINDOW, gives_back=False))[0]
    assert best.kind is Kind.BUCKET
    assert best.holds == pytest.approx(burst * LIMIT, rel=0.5)


@pytest.mark.parametrize("phase", [0.5, 1.0, 2.0, 5.0, 8.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_counter_whose_border_passed_unseen_is_told_from_a_bucket(phase: float, seed: int) -> None:
    """It lets in a little more than the limit, and then little by little; a bucket would have let in far more."""
    found = explained(shape("counter", phase), seed=seed)
    kinds = [one.kind for one in found if one.excuses <= found[0].excuses + 0.1]
    assert Kind.COUNTER in kinds
    counter = next(one for one in found if one.kind is Kind.COUNTER)
    assert counter.holds == LIMIT


def test_a_border_that_was_known_is_kept_where_the_evidence_allows_it() -> None:
    takes, refusals = wave(shape("counter", 30.0))
    known = (30.6, 1.2)
    found = explanations(Evidence(takes, refusals[:1], LIMIT, WINDOW, gives_back=False), known=known)
    counter = next(one for one in found if one.kind is Kind.COUNTER)
    assert counter.excuses == 0.0
    assert 29.4 <= counter.border % WINDOW <= 31.2


def test_retry_afters_that_fit_nothing_are_explained_by_nothing() -> None:
    takes, _ = wave(shape("sliding"))
    refusals = [
        Refusal(9.5 + n / 20, 9.6 + n / 20, 300, said, GRAIN) for n, said in enumerate((7.0, 31.0, 19.0, 44.0, 2.0))
    ]
    assert explanations(Evidence(takes, refusals, LIMIT, WINDOW, gives_back=False)) == []


def test_what_was_let_in_before_a_limit_was_lowered_is_not_held_against_the_lower_one() -> None:
    """All of the limit in the window before; then a counter of half of it, which lets in half."""
    takes = [Take(float(second), LIMIT // 60) for second in range(60)]
    for take in takes:
        take.settled, take.back = True, take.sent + ANSWER
    refusals = [Refusal(90.0, 90.1, 300, 1.0, GRAIN)]
    believed = [
        explanations(Evidence(takes, refusals, LIMIT, WINDOW, gives_back=False, since=since), known=(0.0, 0.5))
        for since in (-math.inf, 61.0)
    ]
    before, after = (next(one.excuses for one in found if one.kind is Kind.COUNTER) for found in believed)
    assert after == pytest.approx(1.0)
    assert before > after


def lowered_in_a_wave(share: float, seed: int) -> Evidence:
    """All of a log's limit in ten seconds; and again as it leaves, when only a share of the limit is there."""
    chance = Random(seed)
    takes: list[Take] = []
    for wave_begins in (0.0, WINDOW + 0.2):
        ends = wave_begins + (10.0 if not wave_begins else 3.0)
        while (now := wave_begins + sum(take.held for take in takes if take.sent >= wave_begins) / LIMIT * 10) < ends:
            take = Take(now, chance.randint(200, 400))
            take.settled, take.back = True, now + ANSWER
            takes.append(take)
    in_use = sum(take.held for take in takes if take.sent > now - WINDOW)
    sent = [now + number / 50 for number in range(3)]
    leaves = (in_use - share * LIMIT) / LIMIT * 10
    refusals = [Refusal(at, at + 2 * WAY, 300, math.ceil(4 * leaves) / 4, GRAIN / 4) for at in sent]
    return Evidence(takes, refusals, LIMIT, WINDOW, gives_back=False)


@pytest.mark.parametrize("share", [0.4, 0.5, 0.6])
@pytest.mark.parametrize("alike", [0, 3])
def test_a_log_that_was_lowered_while_it_was_spent_is_told_from_one_with_borders(share: float, alike: int) -> None:
    """Refused with far more in use than there was to be, until so much has left as leaves what there is now."""
    seen, *others = (lowered_in_a_wave(share, seed) for seed in range(alike + 1))
    best = explanations(seen, others)[0]
    assert best.kind is Kind.SLIDING
    assert best.holds == pytest.approx(share * LIMIT, rel=0.05)


@pytest.mark.parametrize(("said", "tells"), [(40.0, True), (WINDOW, False)])
def test_a_retry_after_of_a_whole_window_does_not_show_that_a_log_was_lowered(said: float, tells: bool) -> None:
    takes = [Take(float(second), LIMIT // 60) for second in range(50)]
    for take in takes:
        take.settled, take.back = True, take.sent + ANSWER
    seen = Evidence(takes, [Refusal(50.0, 50.1, 300, said, GRAIN)], LIMIT, WINDOW, gives_back=False)
    assert (seen.lowered_log(0.0).excuses < math.inf) is tells


@pytest.mark.parametrize("phase", [0.5, 1.0, 2.0, 3.0, 8.0])
def test_limits_that_are_counted_alike_tell_together_where_a_border_lies_that_none_tells_alone(phase: float) -> None:
    """Each was spent at another rate, so that each leaves other borders open."""
    waves = [wave(shape("counter", phase), seconds=seconds, seed=round(seconds)) for seconds in (8.0, 10.0, 13.0)]
    seen = [Evidence(takes, refusals[:2], LIMIT, WINDOW, gives_back=False) for takes, refusals in waves]
    for one in seen:
        assert lies_there(explanations(one, [other for other in seen if other is not one])[0], phase)
    assert not all(lies_there(explanations(one)[0], phase) for one in seen)


def lies_there(best: Explanation, phase: float) -> bool:
    return best.kind is Kind.COUNTER and best.border - best.early - 0.6 <= phase <= best.border + 0.1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_retry_after_tells_how_much_a_bucket_holds_that_refused_a_large_request(seed: int) -> None:
    """No less than it says, which is rounded up to a second; and the limit with the smallest requests knows best."""
    large, small = (
        Evidence(takes, refusals[:1], LIMIT, WINDOW, gives_back=False)
        for takes, refusals in (
            wave(shape("bucket", burst=0.25), largest=largest, seed=seed) for largest in (150_000, 400)
        )
    )
    alone, together = explanations(large)[0], explanations(large, [small])[0]
    assert alone.kind is together.kind is Kind.BUCKET
    assert 0.25 * LIMIT - LIMIT / WINDOW <= alone.holds <= 0.251 * LIMIT
    assert abs(together.holds - 0.25 * LIMIT) <= abs(alone.holds - 0.25 * LIMIT)


def test_a_limit_of_which_somebody_else_spends_does_not_outvote_the_others() -> None:
    takes, refusals = wave(shape("fixed", 33.7))
    seen = Evidence(takes, refusals[:3], LIMIT, WINDOW, gives_back=False)
    said = (7.0, 31.0, 19.0, 44.0, 2.0)
    others = [Refusal(9.5 + n / 20, 9.6 + n / 20, 300, each, GRAIN) for n, each in enumerate(said)]
    best = explanations(seen, [Evidence(takes, others, LIMIT, WINDOW, gives_back=False)] * 3)[0]
    assert best.kind is Kind.CALENDAR
    assert (best.border - 33.7) % WINDOW <= best.early + 0.1
