"""Numbers of things, in words; and of answers that are there, and are not what was wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.core.values import Outcome
from runner.report.safe import safe

POOR: Mapping[str, tuple[str, str]] = {
    Outcome.TRUNCATED: ("truncated", "allow more with --max-tokens, or ask for shorter ones"),
    Outcome.FILTERED: ("filtered", "word these rows otherwise, or ask another model"),
    Outcome.REFUSED: ("refused by the model", "word the prompt otherwise, or ask another model"),
    "invalid": ("invalid", "invalid_reason in the results says why; word the prompt otherwise, or ask another model"),
}
"""How a task succeeded without the answer that was wanted -> what to call that, and what to do about it."""
MODELS_NAMED = 4


def counted(number: int, thing: str) -> str:
    """`1 row`, `1,200 rows`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


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


def clock(seconds: float) -> str:
    """A duration for people: 42 s, 3 min 20 s, 5 h 12 min."""
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 100:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
