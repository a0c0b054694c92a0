"""What a job declares about labelling: how replies are read, who annotates, and how their votes are counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from runner.core.answers.reader import Reader
from runner.core.values import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How replies are read."""

    reader: Reader
    asks: int = 2
    """How often a task is asked again because its answer could not be read."""
    source: str | None = None
    """The column that spans are of."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Reading:
        """The declaration that `dataclasses.asdict` wrote."""
        return cls(**{**values, "reader": Reader.from_json(values["reader"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotators:
    """Who annotates, beside the models: each of them with each prompt, and so many times."""

    prompts: Mapping[str, str] = field(default_factory=dict)
    """Name -> template; empty where the job's one prompt is used."""
    samples: int = 1

    @property
    def variants(self) -> int:
        """Tasks that a row makes for each model."""
        return max(1, len(self.prompts)) * self.samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Voting:
    """How votes are counted."""

    rule: Literal["majority", "weighted"] = "majority"
    weights: Mapping[str, float] = field(default_factory=dict)
    """Annotator -> what its vote weighs; the others weigh 1."""
    least: float = 0.0
    """The share of the votes below which a row is a disagreement."""
    declared: bool = False
    """Whether the job says so, in a section of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gold:
    """Which rows have a known label."""

    column: str
    """Rows in which it is not empty; it is shown to no model."""
    rows: tuple[Mapping[str, Json], ...] = ()
    """Rows of a file of their own, which are asked about among the input's."""
    keep: bool = False
    """Whether these stand in the table of labels too, behind the input's."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Gold:
        """The declaration that `dataclasses.asdict` wrote."""
        return cls(**{**values, "rows": tuple(values.get("rows", ()))})


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalation:
    """Rows on which annotators agree too little, or are too little sure, are asked of further models."""

    models: tuple[str, ...]
    below: float | None = None
    """The share of votes for the winner below which a row is asked about again."""
    confidence_below: float | None = None
    """The same for how sure annotators are, each of its own answer."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Escalation:
        """The declaration that `dataclasses.asdict` wrote."""
        return cls(**{**values, "models": tuple(values["models"])})
