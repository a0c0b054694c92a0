"""The sums of a run, from the journal's frames: the same whether they are being written or read back."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from runner.core.forecast import least_time
from runner.core.limits import Budget
from runner.core.values import NOTHING, Charge, Kind, Outcome, Status

Sending = tuple[int, int, int]
"""The row, the slot, and the number of a sending of their task within a session."""
Taken = tuple[str, Charge]
"""A model, and what a request reserved of its budget."""


@dataclass(slots=True)
class Quantiles:
    """Quantiles of durations, within half a per cent: in logarithmic buckets, of which there are never many."""

    STEP: ClassVar[float] = math.log(1.01)
    """From one bucket to the next."""

    buckets: Counter[int] = field(default_factory=Counter)
    count: int = 0

    def add(self, seconds: float) -> None:
        """Take in one duration."""
        self.buckets[round(math.log(max(seconds, 1e-4)) / self.STEP)] += 1
        self.count += 1

    def at(self, share: float) -> float | None:
        """The duration that this share of all is at or below; None if there are none."""
        left = share * self.count
        for bucket in sorted(self.buckets):
            left -= self.buckets[bucket]
            if left <= 0:
                return round(math.exp(bucket * self.STEP), 4)
        return None


@dataclass(slots=True)
class ModelTally:
    """The sums of one model."""

    requests: int = 0
    """Requests that came back."""
    succeeded: int = 0
    errored: int = 0
    refused: int = 0
    """Answered with 429."""
    failures: Counter[str] = field(default_factory=Counter)
    """Failed requests by kind, 429s included."""
    outcomes: Counter[str] = field(default_factory=Counter)
    cut_short: int = 0
    """Answers that had too little room, and were asked for again."""
    asked_again: int = 0
    """Answers that could not be read, and were asked for again."""
    input_tokens: int = 0
    estimated_input_tokens: int = 0
    """Of the same replies, as they were reserved."""
    output_tokens: int = 0
    reserved_output_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float = 0.0
    latency: Quantiles = field(default_factory=Quantiles)


@dataclass(slots=True)
class Tally:
    """The sums of a run, over all of its sessions."""

    statuses: Counter[str] = field(default_factory=Counter)
    """Tasks that have ended, by status."""
    models: dict[str, ModelTally] = field(default_factory=dict)
    adopted: int = 0
    """Tasks whose answers were taken over from an earlier run."""
    escalated: int = 0
    """Tasks of stronger models that have ended, about rows on which annotators agreed too little."""
    sent: int = 0
    """Requests that went out."""
    ambiguous: int = 0
    """Requests that may have been billed though no answer came, those among them that a session left under way."""
    under_way: dict[Sending, Mapping[str, Any]] = field(default_factory=dict)
    """Requests of the last session that have not come back, as their frames."""
    untold: Counter[Taken] = field(default_factory=Counter)
    """Requests that may have been billed, where nobody said for how much: the ambiguous, and answers without usage."""
    sessions: int = 0
    closed: int = 0
    """Sessions that ended in order: the others were killed, and nobody knows how long they took."""
    elapsed: float = 0.0
    """Seconds of the sessions that ended in order."""
    waiting: dict[str, float] = field(default_factory=dict)
    """Those seconds, by what they went into (`core.waiting`)."""
    least: float = 0.0
    """The least possible seconds of those sessions."""
    pinned: dict[str, Charge] = field(default_factory=dict)
    """Spent in the last session by work that only this model could do."""
    pooled: Charge = NOTHING
    """Spent in the last session by work that several models could do."""

    def add(self, frame: Mapping[str, Any]) -> None:
        """Take in one frame."""
        kind = frame["t"]
        if frame.get("escalated") and (frame.get("final") or kind == "reopened"):
            self.escalated += -1 if kind == "reopened" else 1
        if kind == "sent":
            self.sent += 1
            self.under_way[_sending(frame)] = frame
        elif kind == "landed":
            self._landed(frame)
        elif kind == "ended" and frame["final"]:
            self.statuses[frame["final"]] += 1
        elif kind == "adopted" and frame["final"]:
            self._adopted(frame)
        elif kind == "reopened":
            self.statuses[Status.ERRORED] -= 1
            if frame["landed"] is not None:
                self.models[frame["landed"]].errored -= 1
        elif kind == "session":
            self._give_up_what_is_under_way()
            self.sessions += 1
            self.pinned, self.pooled = {}, NOTHING
        elif kind == "closed":
            self._give_up_what_is_under_way()
            self.closed += 1
            self.elapsed += frame["elapsed"]
            self.least += frame.get("least", 0.0)
            for cause, seconds in frame.get("waiting", {}).items():
                self.waiting[cause] = self.waiting.get(cause, 0.0) + seconds

    def _give_up_what_is_under_way(self) -> None:
        self.ambiguous += len(self.under_way)
        self.untold.update(map(_reserved, self.under_way.values()))
        self.under_way.clear()

    def _model(self, name: str) -> ModelTally:
        model = self.models.get(name)
        if model is None:
            model = self.models[name] = ModelTally()
        return model

    def _adopted(self, frame: Mapping[str, Any]) -> None:
        self.adopted += 1
        self.statuses[frame["final"]] += 1
        model = self._model(frame["model"])
        model.succeeded += 1
        model.outcomes[frame["outcome"]] += 1

    def _landed(self, frame: Mapping[str, Any]) -> None:
        model = self._model(frame["model"])
        model.requests += 1
        self.under_way.pop(_sending(frame), None)
        if final := frame.get("final"):
            self.statuses[final] += 1
            if final == Status.SUCCEEDED:
                model.succeeded += 1
            else:
                model.errored += 1
        failure = frame.get("failure")
        if failure is not None:
            model.failures[failure["kind"]] += 1
            model.refused += failure["kind"] == Kind.RATE_LIMITED
            if failure.get("ambiguous"):
                self.ambiguous += 1
                self.untold[_reserved(frame)] += 1
            return
        usage = frame["usage"]
        if frame.get("final"):
            model.outcomes[frame["outcome"]] += 1
        else:
            model.cut_short += frame["outcome"] == Outcome.TRUNCATED
            model.asked_again += frame["outcome"] == Outcome.OK
        model.input_tokens += usage["input"]
        model.output_tokens += usage["output"]
        model.reasoning_tokens += usage["reasoning"]
        if usage["reported"]:
            model.estimated_input_tokens += frame["est"]
        else:
            self.untold[_reserved(frame)] += 1
        model.reserved_output_tokens += frame["cap"]
        model.cost += frame["cost"]
        model.latency.add(frame["latency"])
        spent = Charge(1, usage["input"], usage["output"])
        if frame.get("pooled"):
            self.pooled += spent
        else:
            self.pinned[frame["model"]] = self.pinned.get(frame["model"], NOTHING) + spent

    def least_time(self, budgets: Mapping[str, Budget]) -> float:
        """The least possible seconds for what the last session has spent, without latency."""
        return least_time(self.pinned, self.pooled, budgets).seconds

    @property
    def ended(self) -> int:
        """Tasks that have their outcome."""
        return self.statuses.total()

    @property
    def outcomes(self) -> Counter[str]:
        """How the last replies of tasks ended, those of all models."""
        return sum((model.outcomes for model in self.models.values()), Counter())

    def total(self, name: str) -> Any:
        """The sum of one figure over all models."""
        return sum(getattr(model, name) for model in self.models.values())


def _sending(frame: Mapping[str, Any]) -> Sending:
    return frame["row"], frame["slot"], frame["n"]


def _reserved(frame: Mapping[str, Any]) -> Taken:
    return frame["model"], Charge(1, frame["est"], frame["cap"])
