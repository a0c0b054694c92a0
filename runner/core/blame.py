"""Whether a failure that may pass counts against its row: in an outage, the row is not to blame.

An outage is known late: where little is sent, to several models, one row can fail as often as it may before any model
has failed often enough to be left alone (`core.gates`). But whoever fails among others, while nobody is answered,
shows nothing that was not known before; unless all of those have failed before while others were answered.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from runner.core.gates import OUTAGE_AFTER
from runner.core.values import Kind
from runner.core.work import Ask, Task


class Blame:
    """Who failed and who was answered, by model."""

    def __init__(self, models: Iterable[str]) -> None:
        self._failing: dict[str, dict[Task, float]] = {model: {} for model in models}
        """When those that failed were sent, where nothing sent later was answered."""
        self._answered = dict.fromkeys(self._failing, -math.inf)
        """When the youngest request that was answered was sent."""

    def answered(self, ask: Ask) -> None:
        """The model works, or did when this was sent."""
        self._answered[ask.model] = max(self._answered[ask.model], ask.at)
        failing = self._failing[ask.model]
        if failing:
            before = [task for task, sent in failing.items() if sent <= ask.at]
            for task in before:
                task.suspect = task.suspect or len(before) < OUTAGE_AFTER
                del failing[task]

    def failed(self, ask: Ask, kind: Kind) -> bool:
        """Whether an outage failure counts: its row's first, or others were answered since, or only suspects fail."""
        task, model = ask.task, ask.model
        beside = [other for name in task.models for other in self._failing[name] if other is not task]
        others = not all(other.suspect for other in beside)
        self._failing[model][task] = ask.at
        hung = kind is Kind.TIMEOUT and self._answered[model] >= ask.at  # meanwhile others were answered
        task.suspect = task.suspect or hung or (bool(beside) and not others)
        if others and self._answered[model] < task.failed_at:
            return False
        task.failed_at = ask.at
        return True
