"""Which examples a row is shown: the first, or drawn by its content; never itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from runner.core.examples import Choice, Examples, Shot, Shots
from runner.core.prompt import Prompt
from runner.core.values import Message

ASKED = [f"Is {number} even?" for number in range(8)]


def shots(count: int, choose: Choice = "first", seed: int = 0, asked: Sequence[str] = ASKED) -> Shots:
    declared = Examples(rows=tuple({} for _ in asked), answer="is", count=count, choose=choose, seed=seed)
    return Shots([Shot(text, f"answer to {text}") for text in asked], declared)


def shown(turns: Sequence[Message]) -> list[str]:
    """The questions of the examples, after a look at the turns between which they stand."""
    assert [turn.role for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
    questions = [str(turn.content) for turn in turns[::2]]
    assert [turn.content for turn in turns[1::2]] == [f"answer to {text}" for text in questions]
    return questions


def test_the_first_are_shown_in_their_order() -> None:
    """Each as a question and its answer."""
    assert shown(shots(3).turns("Is 99 even?", "key")) == ASKED[:3]


@pytest.mark.parametrize("choose", ["first", "seeded"])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_a_row_is_never_shown_itself(choose: Choice, count: int) -> None:
    """Another example takes its place while there is one; other spacing is no other question."""
    for row in ASKED:
        found = shown(shots(count, choose).turns(f" {row.replace(' ', chr(10))}", row))
        assert row not in found
        assert len(found) == len(set(found)) == min(count, 7)


def test_an_example_that_stands_there_twice_is_left_out_twice() -> None:
    """And the count is filled up behind it."""
    assert shown(shots(2, asked=["a", "a", "b", "c"]).turns("a", "")) == ["b", "c"]


def test_drawn_examples_go_by_the_rows_content_and_the_seed() -> None:
    """The same for the same row in every run and place, others for others, and each about as often."""
    found = {key: shown(shots(2, "seeded").turns("x", key)) for key in map(str, range(400))}
    assert {key: shown(shots(2, "seeded").turns("x", key)) for key in reversed(found)} == found
    assert found["1"] != shown(shots(2, "seeded", seed=1).turns("x", "1")) or found["2"] != shown(
        shots(2, "seeded", seed=1).turns("x", "2")
    )
    counts = Counter(text for texts in found.values() for text in texts)
    assert len(counts) == 8
    assert min(counts.values()) > 60


def test_examples_stand_between_the_system_text_and_the_question() -> None:
    """The row is asked last."""
    prompt = Prompt(template=lambda row: f"Is {row['n']} even?", system=lambda _row: "Be brief.", shots=shots(1))
    asked = prompt.request({"n": 5}, "key").messages
    assert [(turn.role, turn.content) for turn in asked] == [
        ("system", "Be brief."), ("user", "Is 0 even?"), ("assistant", "answer to Is 0 even?"), ("user", "Is 5 even?"),
    ]  # fmt: skip
