"""Whether a failure that may pass counts against its row: in an outage, the row is not to blame.

An outage is known late: where little is sent, to several models, one row can fail as often as it may before any model
has failed often enough to be left alone (`core.gates`). But whoever fails among others, while nobody is answered,
shows nothing that was not known before; unless all of those have failed before while others were answered.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from runner.core.gates import OUTAGE_AFTER
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

    def failed(self, ask: Ask) -> bool:
        """Whether an outage failure counts: its row's first, or others were answered since, or none else fails that is
        no suspect."""
        task, model = ask.task, ask.model
        others = any(not (task is other or other.suspect) for name in task.models for other in self._failing[name])
        self._failing[model][task] = ask.at
        task.suspect = task.suspect or (self._answered[model] >= ask.at and len(self._failing[model]) < OUTAGE_AFTER)
        if others and self._answered[model] < task.failed_at:
            return False
        task.failed_at = ask.at
        return True
