"""What a simulated model copies from a prompt: words of the text that is shown, as they stand there."""

from __future__ import annotations

import json

import pytest

from runner.core.catalog import Catalogue
from runner.simulator import tokens
from runner.simulator.asked import Asked
from runner.simulator.behaviour import Manner, Player
from runner.simulator.chance import bits
from runner.simulator.quotes import quote, shown

REPORT = "On 3 May 1887 the surveyor (Agnes Bell) left Whitby."
SPANS = {
    "type": "object", "required": ["spans"],
    "properties": {"spans": {"type": "array", "items": {
        "type": "object", "required": ["label", "text", "occurrence"],
        "properties": {
            "label": {"type": "string", "enum": ["person", "place"]},
            "text": {"type": "string", "description": "copied from the text exactly"},
            "occurrence": {"type": "integer", "description": "which occurrence of these words, counted from 1"},
        },
    }}},
}  # fmt: skip


@pytest.mark.parametrize(
    "prompt",
    [
        f"Find every person and place in the report that stands below, and copy each exactly.\n\nReport:\n{REPORT}",
        f"Report:\n\n{REPORT}\n\nNow find every person, every place and every date in it, and copy each exactly.",
        f"Labels: person, place\nText:\nShort.\n\nText:\n{REPORT}\nAnswer.",
        f"Find the names.\n{REPORT}",
        REPORT,
    ],
)
def test_the_text_is_told_from_the_instructions(prompt: str) -> None:
    """By the colon before it, or by its length."""
    assert shown(prompt) == REPORT


@pytest.mark.parametrize("where", [0.0, 0.3, 0.6, 0.999])
@pytest.mark.parametrize("length", [0.0, 0.5, 0.999])
def test_a_quote_stands_in_the_text(where: float, length: float) -> None:
    """One to three words, without the punctuation around them."""
    found = quote(f"Find the names.\n\nReport:\n{REPORT}", where, length)
    assert found in REPORT
    assert 1 <= len(found.split()) <= 3
    assert found[0].isalnum()
    assert found[-1].isalnum()


def test_nothing_is_quoted_of_nothing() -> None:
    """An empty prompt is no error."""
    assert quote("", 0.5, 0.5) == ""


def test_a_text_that_is_to_be_copied_is_copied(catalogue: Catalogue) -> None:
    """From the row, not from the examples before it, nor from what is said of an answer that could not be read."""
    player = Player(manner=Manner(latency=0, tokens_per_second=0), counter=tokens.bytes_over_four)
    again = ('{"spans": 5}', 'Your answer "{"spans": 5}" cannot be used: its spans are no list. Answer with JSON.')
    found = set()
    for key in range(40):
        for turns in (("Report:\nAn example.", "{}", f"Report:\n{REPORT}"), (f"Report:\n{REPORT}", *again)):
            asked = Asked(model="gpt-5-2", schema=SPANS, turns=turns)
            said = json.loads(player.answer(asked, catalogue.find("gpt-5-2"), 100, bits(key, 1), 0).text)
            [span] = said["spans"]
            assert span["occurrence"] == 1
            assert span["text"] in REPORT
            found.add(span["text"])
    assert len(found) > 5
