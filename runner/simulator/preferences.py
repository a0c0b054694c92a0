"""Choosing between texts that a prompt shows: each behind the label that stands for it, as `label: "text"` on a line.

The text is preferred that the rest of the prompt speaks for, by the same small rule that picks labels. A model has a
weakness for what stands first, as real judges do; so what it says of two texts may change with their order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from runner.simulator import labels
from runner.simulator.labels import Words

SHOWN = re.compile(r'^(?P<label>[^\n:"]{1,40}): (?P<text>"(?:[^"\\\n]|\\.)*")$', re.MULTILINE)
MARK = ': "'
"""In every prompt that shows such texts; looked for first, because most do not."""


def shown(prompt: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """The labels that a prompt offers for the texts that it shows, and the text behind each; nothing if it shows none.

    A label without a text stands for none of them.
    """
    if MARK not in prompt:
        return (), {}
    texts = {found["label"].strip(): found["text"] for found in SHOWN.finditer(prompt)}
    for options in labels.lists(prompt):
        behind = {label: texts[label] for label in options if label in texts}
        if len(behind) > 1:
            return options, behind
    return (), {}


def prefer(options: Sequence[str], behind: dict[str, str], prompt: str, place: float, weakness: float) -> str:
    """The label of the preferred text: the first one if `place`, from 0 to 1, is below the model's weakness for it.

    Texts for which as much speaks are a tie, if there is a label for that.
    """
    first = next(iter(behind))
    if place < weakness:
        return first
    words = Words(labels.without_lists(SHOWN.sub(" ", prompt)))
    points = {label: labels.score(text, words) for label, text in behind.items()}
    best = [label for label, score in points.items() if score == max(points.values())]
    if len(best) == 1:
        return best[0]
    return next((label for label in options if label not in behind), first)
