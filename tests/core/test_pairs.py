"""Two answers side by side: what a judge is shown, and what its two replies come to."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.pairs import (
    CHOICES,
    FIRST,
    FRAME,
    POINTS,
    SECOND,
    TIE,
    Result,
    Spoken,
    before_judging,
    settled,
)
from runner.core.quoting import quoted

SWAPPED = {FIRST: SECOND, SECOND: FIRST, TIE: TIE}
LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_nothing_in_an_answer_leads_out_of_its_line_or_its_quotes(answer: str) -> None:
    """Whatever it holds, it is one line of JSON that reads back the same, and ends at its last character."""
    line = quoted(answer)
    assert json.loads(line) == answer
    assert len(line.splitlines()) == 1
    assert json.JSONDecoder().raw_decode(line)[1] == len(line)


@pytest.mark.parametrize("hidden", [*LINE_ENDS, "\u202e", "\u200b", "\U000e0041", "\x7f"])
def test_characters_that_end_lines_or_that_nobody_sees_are_escaped(hidden: str) -> None:
    """Text that only a machine reads is a known way to give a judge orders."""
    assert hidden not in quoted(f"a{hidden}b")
    assert json.loads(quoted(f"a{hidden}b")) == f"a{hidden}b"


def test_writing_that_people_read_stays_as_it_is() -> None:
    """Escapes would cost tokens, and a judge reads them worse."""
    assert quoted('Größe: "数" 😀') == '"Größe: \\"数\\" 😀"'


def test_the_frame_names_no_side_and_all_choices() -> None:
    """A judge knows what stands first and second, and nothing more."""
    assert f"Labels: {', '.join(CHOICES)}" in FRAME
    assert FRAME.count("{{") == 2


@pytest.mark.parametrize(
    ("ahead", "behind", "result"),
    [
        (FIRST, SECOND, Result.ONE),
        (SECOND, FIRST, Result.OTHER),
        (TIE, TIE, Result.TIE),
        (FIRST, FIRST, Result.INCONSISTENT),
        (SECOND, SECOND, Result.INCONSISTENT),
        (FIRST, TIE, Result.INCONSISTENT),
        (TIE, SECOND, Result.INCONSISTENT),
    ],
)
def test_a_win_counts_only_where_both_orders_agree(ahead: str, behind: str, result: Result) -> None:
    """All else is a tie."""
    assert settled(Spoken(ahead), Spoken(behind)) is result
    assert POINTS[result] == {Result.ONE: 1.0, Result.OTHER: 0.0}.get(result, 0.5)


@pytest.mark.parametrize("ahead", CHOICES)
@pytest.mark.parametrize("behind", CHOICES)
def test_the_sides_are_treated_alike(ahead: str, behind: str) -> None:
    """To name the sides the other way round gives the other side the same."""
    result, other_way = settled(Spoken(ahead), Spoken(behind)), settled(Spoken(behind), Spoken(ahead))
    assert POINTS[result] == 1.0 - POINTS[other_way]


@pytest.mark.parametrize("said", [Spoken(choice) for choice in CHOICES])
def test_a_reply_that_cannot_be_read_says_nothing_of_the_pair(said: Spoken) -> None:
    """Nor does one that is missing; neither is guessed from the other order."""
    unreadable, missing = Spoken(None), Spoken(None, replied=False)
    assert settled(said, unreadable) is settled(unreadable, said) is Result.INVALID
    assert settled(said, missing) is settled(missing, unreadable) is Result.UNJUDGED
    assert not {Result.INVALID, Result.UNJUDGED} & POINTS.keys()


@pytest.mark.parametrize(
    ("one", "other", "result"),
    [
        ("a", "b", None),
        ("a", "a", Result.SAME),
        ("a", None, Result.ONE_ALONE),
        (None, "b", Result.OTHER_ALONE),
        (None, None, Result.NEITHER),
    ],
)
def test_a_judge_is_asked_only_where_there_is_something_to_judge(
    one: str | None, other: str | None, result: Result | None
) -> None:
    """The same answer twice is a tie, and a missing or invalid answer loses against any."""
    assert before_judging(one, other) is result
