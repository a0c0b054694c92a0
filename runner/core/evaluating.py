"""What a job declares about its evaluation: what is expected, how answers are scored and sliced, and what must hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

JUDGE = "judge"
"""The name of the metric that a model as judge gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring:
    """One way in which answers are scored: a metric."""

    name: str
    """What the metric is called."""
    scorer: str
    """A scorer of the table, or one of the caller's own."""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A column of the input by which metrics are given apart."""

    column: str
    by: Literal["value", "length"] = "value"
    """Its values (numbers in quartiles), or the length of its text in characters."""

    @property
    def name(self) -> str:
        """What the slice is called in tables."""
        return self.column if self.by == "value" else f"{self.column} (length)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """A model that grades answers by a rubric."""

    model: str
    rubric: str
    """A Jinja template over the row's columns, with `answer` and `expected` beside them."""
    low: float = 1.0
    high: float = 5.0
    """The ends of the scale that the rubric states."""
    max_cost: float | None = None
    """USD that the judge may spend, beside what the run may."""
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How answers are measured against what is expected."""

    expected: str
    """The input's column with the truth; no model sees it."""
    scorers: tuple[Scoring, ...]
    main: str
    """The metric that verdicts are about."""
    slices: tuple[Slice, ...] = ()
    several: bool = False
    """Whether what is expected is a list of acceptable answers."""
    judge: Judging | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of all metrics, the judge's last."""
        return (*(scoring.name for scoring in self.scorers), *((JUDGE,) if self.judge else ()))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Evaluation:
        """The declaration that `dataclasses.asdict` wrote."""
        judge = values["judge"]
        return cls(
            **{
                **values,
                "scorers": tuple(Scoring(**one) for one in values["scorers"]),
                "slices": tuple(Slice(**one) for one in values["slices"]),
                "judge": None if judge is None else Judging(**judge),
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """What must hold of a run's metrics; a run in which it does not ends with an exit code of its own."""

    least: Mapping[str, float] = field(default_factory=dict)
    """Metric -> the least mean that each model must reach."""
    not_worse: bool = False
    """Whether no model may be worse than in the accepted run, by the paired test."""
    max_cost: float | None = None
    """USD that the run may have cost."""
    most_unread: float | None = None
    """The largest share of a model's answers that may be missing or invalid."""
