"""The unit of work, and what is said of it: what the scheduler is given, what it answers, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from runner.core.estimate import Size
from runner.core.ports import Lease
from runner.core.retry import Action
from runner.core.values import Failure, Reply, Request, Status


@dataclass(slots=True, kw_only=True, eq=False)
class Task:
    """One row and the models that may answer it: the unit of work."""

    row: int
    """Position of the row in the input, from 0."""
    slot: int = 0
    """Which of the row's tasks this is, where every model is asked."""
    id: str = ""
    models: tuple[str, ...]
    """Short ids: any one of them answers the task."""
    size: Size
    caps: Mapping[str, int]
    """The most output tokens to allow, for each of the models."""
    free: bool = False
    """Whether fewer may be allowed at first: an answer that is cut short by that is asked for again."""
    least: int = 0
    """Where it was cut short: what to allow at least the next time."""
    request: Request
    dialects: Mapping[str, str] = field(default_factory=dict)
    """The dialect for each of the models."""
    digest: str = ""
    annotator: str = ""
    """Who answers, where several are asked about a row: the model, the prompt's name, the sample's number."""
    source: str = ""
    """The text that spans are of, where they are asked for."""
    escalated: bool = False
    """Whether a stronger model is asked, because annotators agreed too little."""
    asked_again: int = 0
    """How often it was asked again because its answer could not be read."""
    attempts: int = 0
    """Attempts that counted."""
    failed_at: float = -math.inf
    """When the last of them was sent that an outage may explain."""
    suspect: bool = False
    """Whether it failed while its model answered others, or beside such rows alone: no outage explains that."""
    sends: int = 0
    sequence: int = 0
    """Its age among all tasks: the oldest has the least. Another task may be let go first by a new one."""
    sent_as: int = 0
    """The sequence under which it was last sent."""
    refusals: int = 0
    """429s between which the model answered others, or nobody for a window."""
    answers_seen: int = 0
    """Of the model that last refused it, at that time."""

    def __repr__(self) -> str:
        return f"<Task row {self.row} for {'|'.join(self.models)}, {self.attempts} attempts>"


@dataclass(slots=True, eq=False)
class Ask:
    """Send this task to this model now; the lease holds its charge."""

    task: Task
    model: str
    lease: Lease
    number: int
    """Which sending of the task this is, from 1."""
    at: float
    sent_at: float = -math.inf
    """When it was written to a connection, which may have had to be made; minus infinity while that is unknown."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be sent before `until`, unless a request lands or a task is offered first."""

    until: float
    """Infinity where only a landing can change anything."""


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to send and nothing is under way."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The last word on a task."""

    task: Task
    model: str
    status: Status
    result: Reply | Failure


@dataclass(frozen=True, slots=True)
class Landing:
    """What a landing led to."""

    action: Action | None
    """None after a reply."""
    finished: tuple[Finished, ...] = ()
    closed: str | None = None
    """The scope that the failure closed, if it did."""
    retry_at: float | None = None
