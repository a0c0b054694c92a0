"""How much of a limit is believed to be there: numbers in, numbers out."""

from __future__ import annotations

import pytest

from runner.core.belief import Belief

WINDOW = 60.0


@pytest.fixture
def belief() -> Belief:
    return Belief(1000, WINDOW)


def test_the_configured_amount_is_believed_at_first(belief: Belief) -> None:
    """And nothing about it is shaken."""
    assert belief.amount(0.0) == 1000
    assert not belief.is_shaken


def test_a_refusal_shows_how_much_there_is(belief: Belief) -> None:
    """What was in use when the gateway refused is all there is."""
    belief.cut(500, 5.0)
    assert belief.amount(5.0) == 500
    assert belief.is_shaken


def test_refusals_of_one_episode_cut_to_the_lowest_of_them(belief: Belief) -> None:
    """They tell more of the same, and never raise the amount."""
    belief.cut(700, 5.0)
    belief.deepen(600)
    belief.deepen(650)
    assert belief.amount(6.0) == 600


def test_one_episode_cuts_to_a_quarter_at_most(belief: Belief) -> None:
    """An empty window that is refused speaks of somebody's passing burst."""
    belief.cut(0, 5.0)
    belief.deepen(0)
    assert belief.amount(5.0) == 250


def test_what_was_lost_is_won_back_within_three_windows(belief: Belief) -> None:
    """After a pause of one, and never above the configured amount."""
    belief.cut(500, 0.0)
    assert belief.amount(WINDOW) == 500
    assert 500 < belief.amount(1.2 * WINDOW) < 1000
    assert belief.amount(3 * WINDOW) == 1000
    assert belief.amount(1000 * WINDOW) == 1000
    assert not belief.is_shaken


def test_growth_begins_slowly_and_is_over_within_half_a_window(belief: Belief) -> None:
    """An attempt in vain costs few refusals then, and what is back is not left lying."""
    belief.cut(500, 0.0)
    assert belief.amount(1.02 * WINDOW) == pytest.approx(508, abs=1)
    assert belief.amount(1.45 * WINDOW) == 1000


def test_it_grows_no_faster_above_the_configured_amount_after_it_was_won_back() -> None:
    """Nothing says that there ever was more."""
    bold = Belief(1000, WINDOW, above=True)
    bold.cut(500, 0.0)
    assert bold.amount(1.4 * WINDOW) < 1000 < bold.amount(1.5 * WINDOW)
    assert bold.amount(2.4 * WINDOW) == pytest.approx(1000 + 866, rel=0.1)


def test_a_refusal_during_growth_begins_another_pause(belief: Belief) -> None:
    """A limit that stays low is knocked at once in a while, so that its return is not missed."""
    belief.cut(500, 0.0)
    belief.cut(510, 1.1 * WINDOW)
    assert belief.amount(2.1 * WINDOW) == 510
    assert belief.amount(2.2 * WINDOW) > 510


def test_a_refusal_at_the_brim_corrects_the_last_cut_and_begins_no_pause(belief: Belief) -> None:
    """A window that is full all the time is refused by the errors of guesses, which must not hold up growth."""
    belief.cut(500, 0.0)
    belief.cut(499, 0.9 * WINDOW)
    assert 490 < belief.amount(WINDOW) < 500
    assert belief.amount(1.2 * WINDOW) > 500


def test_what_is_above_the_last_cut_is_unproven(belief: Belief) -> None:
    """Until everything is believed again."""
    belief.cut(500, 0.0)
    assert belief.proven == 500
    belief.amount(10 * WINDOW)
    assert belief.proven == float("inf")


def test_many_episodes_never_take_everything(belief: Belief) -> None:
    """However long a gateway refuses, some knocking goes on, and no number overflows."""
    for episode in range(1, 3000):
        belief.cut(0, 1000.0 * episode)
    assert belief.amount(3_000_000.0) >= 20


def test_growth_above_the_configured_amount_has_to_be_asked_for() -> None:
    """Then it goes on until a refusal, and what was found is kept to."""
    bold = Belief(1000, WINDOW, above=True)
    bold.grow_from(WINDOW)
    assert bold.amount(2 * WINDOW) > 1000
    bold.cut(1300, 2 * WINDOW)
    assert bold.amount(2 * WINDOW) == 1300
    timid = Belief(1000, WINDOW)
    timid.grow_from(WINDOW)
    assert timid.amount(10 * WINDOW) == 1000


def test_a_run_begins_with_what_an_earlier_one_learned(belief: Belief) -> None:
    """The amount grows from there after a pause, as after a cut."""
    belief.recall(600, 0.0)
    assert belief.amount(WINDOW) == 600
    assert belief.amount(3 * WINDOW) == 1000
