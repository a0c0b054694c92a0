"""What a job declares about its evaluation: what is expected, how answers are scored and sliced, and what must hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

JUDGE, PAIRWISE = "judge", "pairwise"
"""The names of the metrics that models as judges give: of answers one by one, and of two side by side."""


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
class Pairwise:
    """A model that says which of two answers to a row is the better one."""

    model: str
    question: str
    """A Jinja template over the row's columns, and `expected`: what was to be answered, and what makes one better."""
    sides: tuple[str, str]
    """Two of the job's annotators, whose answers are compared."""
    gold: str | None = None
    """The input's column with known preferences: one of the sides, or `tie`; no model sees it."""
    max_cost: float | None = None
    """USD that the judge may spend, beside what the run may."""
    max_tokens: int | None = None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Pairwise:
        """The declaration that `dataclasses.asdict` wrote."""
        one, other = values["sides"]
        return cls(**{**values, "sides": (one, other)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """How answers are measured: against what is expected, and by judges."""

    expected: str | None
    """The input's column with the truth; no model sees it. None where judges have no need of one."""
    scorers: tuple[Scoring, ...]
    main: str
    """The metric that verdicts are about."""
    slices: tuple[Slice, ...] = ()
    several: bool = False
    """Whether what is expected is a list of acceptable answers."""
    judge: Judging | None = None
    pairwise: Pairwise | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of all metrics, the judges' last."""
        judges = {JUDGE: self.judge, PAIRWISE: self.pairwise}
        return (*(scoring.name for scoring in self.scorers), *(name for name, judge in judges.items() if judge))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Evaluation:
        """The declaration that `dataclasses.asdict` wrote."""
        judge, pairwise = values["judge"], values.get("pairwise")  # which earlier versions did not know
        return cls(
            **{
                **values,
                "scorers": tuple(Scoring(**one) for one in values["scorers"]),
                "slices": tuple(Slice(**one) for one in values["slices"]),
                "judge": None if judge is None else Judging(**judge),
                "pairwise": None if pairwise is None else Pairwise.from_json(pairwise),
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
