"""Rows with known labels among the others: each once, at places that say nothing, and without columns of their own."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.mixing import disguised, mixed


@settings(deadline=None)
@given(rows=st.integers(0, 60), others=st.integers(0, 60), seed=st.integers(0, 5))
def test_every_row_comes_once_and_the_inputs_in_their_order(rows: int, others: int, seed: int) -> None:
    """However many of each there are; and the same order every time."""
    own, known = list(range(rows)), [f"known {number}" for number in range(others)]
    found: list[int | str] = list(mixed([*own], known, rows, seed))  # type: ignore[arg-type, list-item]
    assert [row for row in found if isinstance(row, int)] == own
    assert sorted(row for row in found if isinstance(row, str)) == sorted(known)
    assert list(mixed([*own], known, rows, seed)) == found  # type: ignore[arg-type, list-item]


def test_they_stand_everywhere_and_not_in_the_order_of_their_file() -> None:
    """A gateway that sees the requests cannot tell them by their place."""
    found = list(mixed(range(1_000), range(1_000, 1_100), 1_000, 0))
    places = [place for place, row in enumerate(found) if row >= 1_000]
    assert [sum(start <= place < start + 275 for place in places) > 12 for start in range(0, 1_100, 275)] == [True] * 4
    assert [found[place] for place in places] != sorted(found[place] for place in places)
    assert list(mixed(range(1_000), range(1_000, 1_100), 1_000, 1)) != found


def test_they_have_the_columns_of_the_others_in_their_order() -> None:
    """A prompt that shows the whole row shows nothing that tells them apart, but for the label, which none is shown."""
    row = {"known": "spam", "text": "x", "note": "from the handbook", "id": 1}
    assert disguised(row, "known", ["id", "text", "length"]) == {"id": 1, "text": "x", "known": "spam"}
