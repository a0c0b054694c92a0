"""The sections of a job file about evaluation: [evaluate], its judges, and [gates]."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from runner.core.evaluating import JUDGE, PAIRWISE, Evaluation, Gates, Judging, Pairwise, Scoring, Slice
from runner.storage.declarations import NAMES_IN_JSON, Name, Section, Share, names
from runner.storage.templates import text_or_file


class ScorerTable(Section):
    """A scorer with options: `{name = "numeric", relative = 0.01}`; what else stands in it is an option."""

    model_config = ConfigDict(extra="allow")

    name: Name
    as_: Name | None = Field(default=None, alias="as")
    """What its metric is called, where one scorer is used twice."""

    def made(self) -> Scoring:
        """The core's value."""
        return Scoring(name=self.as_ or self.name, scorer=self.name, options=dict(self.model_extra or {}))


class SliceTable(Section):
    """A slice: `{column = "description", by = "length"}`."""

    column: Name
    by: Literal["value", "length"] = "value"

    def made(self) -> Slice:
        """The core's value."""
        return Slice(column=self.column, by=self.by)


class JudgeSection(Section):
    """[evaluate.judge]: a model that grades the answers by a rubric."""

    model: Name
    rubric: Name
    """A Jinja template over the row's columns, `answer` and `expected`, or @FILE."""
    low: float = 1
    high: float = 5
    """The ends of the rubric's scale; the score is the share of it."""
    max_cost: Annotated[float, Field(gt=0)] | None = None
    """USD that the judge may spend."""
    max_tokens: Annotated[int, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"the scale's low ({self.low:g}) must be below its high ({self.high:g})")
        return self

    def made(self) -> Judging:
        """The core's value; raises UsageError for a rubric that cannot be read."""
        rubric = text_or_file(self.rubric, "evaluate.judge.rubric")
        return Judging(
            model=self.model, rubric=rubric, low=self.low, high=self.high, max_cost=self.max_cost,
            max_tokens=self.max_tokens,
        )  # fmt: skip


class PairwiseSection(Section):
    """[evaluate.pairwise]: a model that says which of two answers to a row is the better one, asked in both orders."""

    model: Name
    question: Name
    """What was to be answered, and what is better: a Jinja template over the row's columns and `expected`, or @FILE."""
    sides: Annotated[list[Name], BeforeValidator(names, json_schema_input_type=NAMES_IN_JSON)]
    """Two of the job's annotators: models, or MODEL/PROMPT where it has several prompts."""
    gold: Name | None = None
    """The input's column with known preferences: the name of a side, or `tie`."""
    max_cost: Annotated[float, Field(gt=0)] | None = None
    """USD that the judge may spend."""
    max_tokens: Annotated[int, Field(gt=0)] | None = None

    @field_validator("sides")
    @classmethod
    def _are_two(cls, value: list[str]) -> list[str]:
        if len(set(value)) != 2 or len(value) != 2:
            raise ValueError(
                f"a pair has two different sides, as in ['MODEL', 'MODEL'], and there are {len(set(value))}"
            )
        return value

    def made(self) -> Pairwise:
        """The core's value; raises UsageError for a question that cannot be read."""
        return Pairwise(
            model=self.model, question=text_or_file(self.question, "evaluate.pairwise.question"),
            sides=(self.sides[0], self.sides[1]), gold=self.gold, max_cost=self.max_cost, max_tokens=self.max_tokens,
        )  # fmt: skip


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _column(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


ScorerWord = Annotated[ScorerTable, BeforeValidator(_named, json_schema_input_type=str | ScorerTable)]
SliceWord = Annotated[SliceTable, BeforeValidator(_column, json_schema_input_type=str | SliceTable)]


class EvaluateSection(Section):
    """[evaluate]: what is expected, and how answers are scored."""

    expected: Name | None = None
    """The input's column with the truth; no model sees it. Judges can do without."""
    several: bool = False
    """Whether that column holds lists of acceptable answers."""
    scorers: list[ScorerWord] | None = None
    """`exact`, if they are not given and something is expected."""
    main: str | None = None
    """The metric that verdicts are about; the first scorer's if it is not given."""
    slices: list[SliceWord] = Field(default_factory=list)
    """Columns by which metrics are given apart."""
    judge: JudgeSection | None = None
    pairwise: PairwiseSection | None = None

    @property
    def scored_by(self) -> list[ScorerTable]:
        """The scorers that are named, or else the usual one."""
        if self.scorers is None:
            return [] if self.expected is None else [ScorerTable(name="exact")]
        return self.scorers

    @property
    def metrics(self) -> list[str]:
        """What the metrics are called."""
        judges = {JUDGE: self.judge, PAIRWISE: self.pairwise}
        return [one.as_ or one.name for one in self.scored_by] + [name for name, judge in judges.items() if judge]

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        names = self.metrics
        if self.expected is None and (self.scorers or not names):
            raise ValueError("`expected` is missing: the column that holds the right answers; only judges do without")
        if not names:
            raise ValueError("there is nothing to score by: name scorers, or a judge")
        twice = [name for name, times in Counter(names).items() if times > 1]
        if twice:
            raise ValueError(f"two metrics are called {twice[0]!r}: name one otherwise, as in {{..., as = 'other'}}")
        slices = Counter((one.column, one.by) for one in self.slices)
        if slices and max(slices.values()) > 1:
            raise ValueError(f"the slice {slices.most_common(1)[0][0][0]!r} is there twice")
        if self.main is not None and self.main not in names:
            raise ValueError(f"main is {self.main!r}, which is none of the metrics: {', '.join(names)}")
        return self

    def made(self) -> Evaluation:
        """The core's value."""
        return Evaluation(
            expected=self.expected, scorers=tuple(one.made() for one in self.scored_by),
            main=self.main or self.metrics[0], slices=tuple(one.made() for one in self.slices), several=self.several,
            judge=self.judge.made() if self.judge else None, pairwise=self.pairwise.made() if self.pairwise else None,
        )  # fmt: skip


class GatesSection(Section):
    """[gates]: what must hold of the metrics; else the run exits with 10."""

    least: dict[str, Share] = Field(default_factory=dict)
    """Metric -> the least mean of each model."""
    not_worse: bool = False
    """No model may be worse than in the accepted run, by the paired test."""
    max_cost: Annotated[float, Field(gt=0)] | None = None
    """USD that the run may have cost."""
    most_unread: Share | None = None
    """The largest share of a model's answers that may be missing or invalid."""

    def made(self) -> Gates:
        """The core's value."""
        return Gates(least=self.least, not_worse=self.not_worse, max_cost=self.max_cost, most_unread=self.most_unread)
