"""Which of two texts a simulated model prefers."""

from __future__ import annotations

from runner.simulator.preferences import prefer, shown

PROMPT = """Which section is it? Labels: mail, games

A mail client for IMAP mailboxes and messages.

answer 1: "games"
answer 2: "mail \\"and\\" more"

Labels: answer 1, answer 2, tie
"""
CHOICES = ("answer 1", "answer 2", "tie")


def test_texts_are_found_behind_the_labels_that_stand_for_them() -> None:
    """Other lists and lines do not mislead it, and neither does a prompt without such texts."""
    assert shown(PROMPT) == (CHOICES, {"answer 1": '"games"', "answer 2": '"mail \\"and\\" more"'})
    assert shown('Labels: a, b\n\nnote: "only one text"\n') == ((), {})
    assert shown('a: "x"\nb: "y"\n') == ((), {})


def test_the_text_is_preferred_that_the_rest_speaks_for() -> None:
    """Whatever its place."""
    options, behind = shown(PROMPT)
    assert prefer(options, behind, PROMPT, 0.9, 0.1) == "answer 2"
    turned = (
        PROMPT.replace("answer 1:", "answer x:").replace("answer 2:", "answer 1:").replace("answer x:", "answer 2:")
    )
    assert prefer(*shown(turned), turned, 0.9, 0.1) == "answer 1"


def test_a_model_has_a_weakness_for_the_first_place() -> None:
    """As often as it is said to."""
    options, behind = shown(PROMPT)
    assert prefer(options, behind, PROMPT, 0.05, 0.1) == "answer 1"


def test_equal_texts_are_a_tie() -> None:
    """If there is a label for that."""
    prompt = 'Nothing.\na: "x"\nb: "y"\nLabels: a, b, neither\n'
    assert prefer(*shown(prompt), prompt, 0.9, 0.1) == "neither"
