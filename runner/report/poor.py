"""Answers that are there, and are not what was wanted: what to call them, and what to do about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.core.values import Outcome
from runner.report.counts import counted
from runner.report.safe import safe

POOR: Mapping[str, tuple[str, str]] = {
    Outcome.TRUNCATED: ("truncated", "allow more with --max-tokens, or ask for shorter ones"),
    Outcome.FILTERED: ("filtered", "word these rows otherwise, or ask another model"),
    Outcome.REFUSED: ("refused by the model", "word the prompt otherwise, or ask another model"),
    "invalid": ("invalid", "invalid_reason in the results says why; word the prompt otherwise, or ask another model"),
}
"""How a task succeeded without the answer that was wanted -> what to call that, and what to do about it."""
MODELS_NAMED = 4


def poor_answers(models: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each way in which answers are none to rely on, if there are such."""
    lines = []
    for how, (said, advice) in POOR.items():
        found = {name: model["outcomes"].get(how) or model.get(how) or 0 for name, model in models.items()}
        if answers := sum(found.values()):
            by_model = _by_model(found) if len(models) > 1 else ""
            lines.append(f"{counted(answers, 'answer')} {said}{by_model}: {advice}")
    return lines


def _by_model(counts: Mapping[str, int]) -> str:
    most = sorted(((name, count) for name, count in counts.items() if count), key=lambda item: (-item[1], item[0]))
    named = [f"{count:,} of {safe(name, 32)}" for name, count in most[:MODELS_NAMED]]
    if left := len(most) - len(named):
        named.append(f"and of {counted(left, 'more model')}")
    return f" ({', '.join(named)})"
