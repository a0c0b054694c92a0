"""What happens in a run, as one kind of value: journal, progress and tests all watch the same events."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from runner.core.values import Failure, Reply
from runner.core.work import Ask, Finished, Landing


class What(enum.Enum):
    """What happened."""

    SENT = "a request went out"
    LANDED = "a reply or a failure came back"
    FINISHED = "a task has its outcome"
    STOPPED = "admission ended before the work did"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, at a moment of the run's clock."""

    at: float
    what: What
    ask: Ask | None = None
    result: Reply | Failure | None = None
    landing: Landing | None = None
    finished: Finished | None = None
    reason: str | None = None
