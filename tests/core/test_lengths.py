"""How long answers are, and the cap that follows: numbers in, numbers out."""

from __future__ import annotations

import math
from random import Random

import pytest

from runner.core.lengths import FIRST_CAP, LEAST_MARGIN, MEMORY, MOST_CUT, SAMPLE, SLACK_TOKENS, Answers, Lengths
from runner.core.values import Usage

WINDOW = 60.0


def answers(*lengths: int, seconds: float | None = None) -> Answers:
    made = Answers(WINDOW)
    for tokens in lengths:
        made.learn(tokens, seconds)
    return made


def lognormal(count: int, mean: float, sigma: float, seed: int = 1) -> list[int]:
    chance = Random(seed)
    return [round(chance.lognormvariate(math.log(mean), sigma)) for _ in range(count)]


@pytest.mark.parametrize(
    ("cap", "held"),
    [
        # d m + (W - d) min(o, m), with d = 6: reserved for six seconds, and what was written for the other 54.
        (30, (3 * 6 * 30 + 54 * (10 + 20 + 30)) / 3),
        # One of three is cut short, and has to be asked again with the room of the longest.
        (20, (3 * 6 * 20 + 54 * (10 + 20 + 20) + 6 * 30 + 54 * 30) / 3),
        (10, (3 * 6 * 10 + 54 * (10 + 10 + 10) + 2 * 6 * 30 + 54 * (20 + 30)) / 3),
        (100, (3 * 6 * 100 + 54 * (10 + 20 + 30)) / 3),
    ],
)
def test_what_an_answer_holds_is_what_the_formula_says(cap: int, held: float) -> None:
    """In token-seconds, worked out by hand for answers of 10, 20 and 30 tokens that take six seconds."""
    assert answers(10, 20, 30, seconds=6.0).held(cap) == pytest.approx(held)


def test_nothing_is_concluded_from_a_few_answers() -> None:
    """Until five have come, the first cap holds."""
    assert answers(*[10] * 4).cap == FIRST_CAP
    assert answers(*[10] * 5).cap < FIRST_CAP


def test_a_rare_long_answer_is_cut_short_and_a_common_one_is_not() -> None:
    """One in two hundred that is a hundred times longer is worth another request; one in twenty is not."""
    assert answers(*[100] * 199, 10_000).cap < 200
    assert answers(*[*[100] * 19, 10_000] * 10).cap > 10_000


@pytest.mark.parametrize("sigma", [0.1, 0.4, 1.0, 1.8])
@pytest.mark.parametrize("seconds", [0.5, 5.0, 50.0])
def test_at_most_one_answer_in_fifty_is_cut_short(sigma: float, seconds: float) -> None:
    """However dear a generous cap is."""
    lengths = lognormal(MEMORY, 300, sigma)
    cap = answers(*lengths, seconds=seconds).cap
    assert sum(tokens > cap for tokens in lengths) <= MOST_CUT * len(lengths)
    assert cap <= max(lengths) * (1 + 2 * LEAST_MARGIN) + SLACK_TOKENS


@pytest.mark.parametrize("seconds", [1.0, 10.0])
def test_the_cap_is_the_best_of_those_that_cut_short_so_few(seconds: float) -> None:
    """No other length among the longest fiftieth holds less; the margin comes on top."""
    lengths = lognormal(MEMORY, 300, 0.5)
    made = answers(*lengths, *lengths, seconds=seconds)
    best = min(sorted(lengths)[int(MEMORY * (1 - MOST_CUT)) :], key=made.held)
    assert best <= made.cap <= best * (1 + 2 * LEAST_MARGIN) + SLACK_TOKENS


def test_the_margin_shrinks_as_more_is_seen() -> None:
    """From nearly all of the length again to a twentieth of it."""
    made, caps = Answers(WINDOW), []
    for count in range(1, 5_001):
        made.learn(1_000)
        if count in (5, 20, 100, 500, 5_000):
            caps.append(made.cap)
    assert caps == sorted(caps, reverse=True)
    assert caps[0] == int(1_000 * (1 + 2 / math.sqrt(5))) + SLACK_TOKENS
    assert caps[-1] == int(1_000 * (1 + LEAST_MARGIN)) + SLACK_TOKENS


def test_what_answers_are_now_counts_and_not_what_they_were_long_ago() -> None:
    """A job whose answers get shorter gets a smaller cap, once the long ones are out of memory."""
    made = answers(*[2_000] * MEMORY, *[50] * (2 * MEMORY))
    assert made.longest == 50
    assert made.cap < 100


def test_a_slow_answer_makes_room_dearer() -> None:
    """Unused room is held for as long as the answer takes: the longer, the tighter the cap."""
    lengths = lognormal(MEMORY, 100, 1.0)
    assert answers(*lengths, seconds=55.0).cap < answers(*lengths, seconds=0.1).cap
    assert answers(*lengths, seconds=600.0).held(500) == answers(*lengths, seconds=WINDOW).held(500)


def test_an_answers_duration_is_averaged() -> None:
    """The first one replaces the guess, a tenth of a window."""
    made = answers(100, seconds=10.0)
    assert made.held(200) == pytest.approx(10 * 200 + 50 * 100)
    made.learn(100, 20.0)
    assert made.held(200) == pytest.approx(15 * 200 + 45 * 100)
    made.learn(100)  # one that was recalled says nothing about it
    assert made.held(200) == pytest.approx(15 * 200 + 45 * 100)


# All models of a job.


def taught(*lengths: int) -> Lengths:
    made = Lengths(["m", "other"], WINDOW)
    for tokens in lengths:
        made.learn("m", Usage(input=1, output=tokens), 6.0)
    return made


def test_a_cap_is_never_above_the_ceiling() -> None:
    """Neither at first nor for one that needs more room."""
    lengths = taught()
    assert lengths.cap("m", 100) == 100
    assert lengths.cap("m", 100, least=5_000) == 100
    assert lengths.cap("m", 50_000) == FIRST_CAP
    assert lengths.cap("m", 50_000, least=5_000) == 5_000


def test_models_learn_apart() -> None:
    """What one writes says nothing of another."""
    lengths = taught(*[10] * 50)
    assert lengths.cap("m", 4_096) < 30
    assert lengths.cap("other", 4_096) == FIRST_CAP


def test_an_answer_that_reports_nothing_teaches_nothing() -> None:
    """Its length is unknown, not zero."""
    lengths = taught()
    for _ in range(10):
        lengths.learn("m", Usage(reported=False), 6.0)
    assert lengths.of_model["m"].count == 0


def test_an_answer_that_was_cut_short_gets_twice_the_room_or_that_of_the_longest() -> None:
    """Whichever is more, so that few are asked a third time."""
    lengths = taught(10, 20, 900)
    assert lengths.larger("m", 100) == 900
    assert lengths.larger("m", 600) == 1_200


def test_a_cap_that_the_gateway_named_is_kept_to() -> None:
    """The smallest that it ever named."""
    lengths = taught()
    lengths.refused("m", 800)
    lengths.refused("m", 900)
    assert lengths.cap("m", 50_000, least=5_000) == 800
    assert lengths.within("m", 500) == 500
    assert lengths.cap("other", 50_000, least=5_000) == 5_000


def test_another_run_begins_with_what_was_seen() -> None:
    """A sample of the lengths, evenly spaced in rank, leads to nearly the same cap."""
    seen = taught(*lognormal(MEMORY, 300, 0.5))
    remembered = seen.remember()
    assert set(remembered) == {"m"}
    assert len(remembered["m"]) == SAMPLE
    again = Lengths(["m", "other"], WINDOW)
    again.recall(remembered, {"m": 2_000, "somebody else's": 5})
    assert again.cap("m", 50_000) == pytest.approx(seen.cap("m", 50_000), rel=0.2)
    assert again.most == {"m": 2_000}


def test_few_answers_are_all_remembered() -> None:
    """A sample is never larger than what there is."""
    assert taught(30, 10, 20).remember() == {"m": (10, 20, 30)}
