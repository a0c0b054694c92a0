"""The sections of a job file: what may stand in each, and the values that they make.

Each section says what it takes in a pydantic model with the section's words, and `made` gives the core's value of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator

from runner.core.answers.reader import Reader
from runner.core.errors import UsageError
from runner.core.examples import Choice, Examples
from runner.core.labelling import Annotators, Escalation, Gold, Reading, Voting
from runner.storage.small import read_small
from runner.storage.templates import text_or_file


def names(value: Any) -> Any:
    """Names given as a list, or as one text with commas."""
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise ValueError("names are given in a list, or in one text with commas")
    return [name.strip() for part in parts for name in str(part).split(",") if name.strip()]


def schema_of(value: str | Mapping[str, Any] | None, what: str) -> Mapping[str, Any] | None:
    """A JSON schema given as a table, as JSON text or as the path of a file; raises UsageError, naming `what`."""
    if not isinstance(value, str):
        return value
    inline = value.lstrip().startswith("{")
    text = value if inline else text_or_file(f"@{value.removeprefix('@')}", what)
    said = f"{what} {value[:80] if inline else value}"
    try:
        schema = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{said}: not JSON: {error}.") from None
    if not isinstance(schema, dict):
        raise UsageError(f"{said}: a schema is a JSON object.")
    return schema


def _by_word(value: Any) -> Any:
    """Synonyms as word -> label; `label = [words]` says several at once."""
    if not isinstance(value, Mapping):
        return value
    said: dict[Any, Any] = {}
    for key, other in value.items():
        said |= dict.fromkeys(other, key) if isinstance(other, list) else {key: other}
    return said


NAMES_IN_JSON = str | list[str]
"""What an editor is told that names may be."""
Names = Annotated[list[str], BeforeValidator(names, json_schema_input_type=NAMES_IN_JSON)]
Name = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Threshold = Annotated[float, Field(gt=0, le=1)]
SPARE = 20
"""Examples behind the first ones that take the place of those that are the row itself."""


class Section(BaseModel):
    """A table of a job file."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)


class AnswerSection(Section):
    """[answer]: what is wanted from a reply, and what is done when it cannot be read."""

    kind: Literal["label", "labels", "rating", "fields", "spans", "text"]
    labels: Annotated[list[Name], BeforeValidator(names, json_schema_input_type=NAMES_IN_JSON)] = []
    """The closed set; with `spans` the kinds of spans."""
    synonyms: Annotated[
        dict[str, str], BeforeValidator(_by_word, json_schema_input_type=dict[str, str | list[str]])
    ] = {}
    """Other words for a label: `word = "label"`, or `label = ["word", "word"]`."""
    schema_: str | dict[str, Any] | None = Field(default=None, alias="schema")
    """With `fields`: a JSON schema, or the path of a file that holds it."""
    low: float = 1
    high: float = 5
    """The ends of a rating's scale."""
    whole: bool = False
    """Whether a rating must be a whole number."""
    fewest: Annotated[int, Field(ge=0)] = 0
    most: Annotated[int, Field(gt=0)] | None = None
    """How many of several labels there may be."""
    asks: Annotated[int, Field(ge=0, le=10)] = 2
    """How often a row is asked again because its answer could not be read."""
    structured: bool = False
    """Ask for structured output, in each dialect's own way."""
    source: str | None = None
    """With `spans`: the column that they are of."""
    confidence: Name | None = None
    """The field of the reply's JSON in which the model says how sure it is, from 0 to 1. That is not calibrated."""
    _reading: Reading = PrivateAttr()

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if (self.kind == "spans") != (self.source is not None):
            raise ValueError("spans need a `source`, the column that they are of" if self.source is None
                             else "only spans have a `source`")  # fmt: skip
        if self.schema_ is not None and self.kind != "fields":
            raise ValueError(f"a schema belongs to kind = 'fields', and the kind is {self.kind!r}")
        try:
            reader = Reader(
                kind=self.kind, labels=tuple(self.labels), synonyms=self.synonyms,
                schema=schema_of(self.schema_, "schema"), low=self.low, high=self.high, whole=self.whole,
                fewest=self.fewest, most=self.most, confidence=self.confidence,
            )  # fmt: skip
        except UsageError as error:
            raise ValueError(str(error).removesuffix(".")) from None
        self._reading = Reading(reader=reader, asks=self.asks, source=self.source)
        return self

    def made(self) -> Reading:
        """The core's value."""
        return self._reading


class AnnotatorsSection(Section):
    """[annotators]: each model is asked with each of these prompts, so many times."""

    prompts: dict[Annotated[str, Field(pattern=r"^[\w.-]+$")], Name] = {}
    """Name -> template, or @FILE; instead of the job's one prompt."""
    samples: Annotated[int, Field(gt=0, le=100)] = 1

    def made(self) -> Annotators:
        """The core's value; raises UsageError for a file that cannot be read."""
        prompts = {name: text_or_file(text, f"annotators.prompts.{name}") for name, text in self.prompts.items()}
        return Annotators(prompts=prompts, samples=self.samples)


class ExamplesSection(Section):
    """[examples]: rows with the answers that are wanted, shown to the model before each row that it is asked about."""

    file: Name
    """JSONL, CSV or Parquet, with the columns that the prompt uses."""
    answer: Name
    """The column with the answer that is wanted; no prompt is shown it."""
    count: Annotated[int, Field(gt=0, le=100)]
    """How many a row is shown. Those that ask the same as the row itself are left out."""
    choose: Choice = "first"
    """The first of the file, or others for each row: drawn by its content, and the same every time."""
    seed: int = 0
    """Of the drawing."""

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.seed and self.choose == "first":
            raise ValueError("a seed belongs to choose = 'seeded'")
        return self

    def made(self) -> Examples:
        """The core's value; raises UsageError for a file that cannot be read, or holds fewer examples."""
        rows = read_small(self.file, "examples", self.answer)
        if len(rows) < self.count:
            raise UsageError(f"[examples]: {self.file} holds {len(rows)} examples, and `count` asks for {self.count}.")
        kept = rows if self.choose == "seeded" else rows[: self.count + SPARE]
        return Examples(rows=kept, answer=self.answer, count=self.count, choose=self.choose, seed=self.seed)


class VoteSection(Section):
    """[vote]: how the annotators' votes are counted."""

    rule: Literal["majority", "weighted"] = "majority"
    weights: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}
    """Annotator -> what its vote weighs; the others weigh 1."""
    least: Share = 0.0
    """The share of the votes below which a row is a disagreement."""

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if (self.rule == "weighted") != bool(self.weights):
            raise ValueError("weights belong to rule = 'weighted', and it needs some")
        return self

    def made(self) -> Voting:
        """The core's value."""
        return Voting(rule=self.rule, weights=self.weights, least=self.least, declared=True)


class GoldSection(Section):
    """[gold]: rows whose label is known, and shown to no model."""

    column: Name
    """The column with the known labels, of the input or of the file."""
    file: Name | None = None
    """JSONL, CSV or Parquet: rows that are asked about among the input's, and are no rows of its table."""
    count: Annotated[int, Field(gt=0)] | None = None
    """Only so many rows of the file, drawn: the same every time."""
    keep: bool = False
    """Have the file's rows in the table of labels too, behind the input's."""

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.file is None and (self.keep or self.count is not None):
            raise ValueError("`count` and `keep` are about the rows of a `file`")
        return self

    def made(self) -> Gold:
        """The core's value; raises UsageError for a file that cannot be read."""
        if self.file is None:
            return Gold(column=self.column)
        rows = read_small(self.file, "gold", self.column)
        if self.count is not None and self.count < len(rows):
            rows = tuple(rows[place] for place in sorted(Random(0).sample(range(len(rows)), self.count)))
        return Gold(column=self.column, rows=rows, keep=self.keep)


class EscalateSection(Section):
    """[escalate]: rows on which annotators agree too little, or are too little sure, are asked of stronger models."""

    models: Annotated[Names, Field(min_length=1)]
    below: Threshold | None = None
    """The share of the votes behind the winner, below which a row is asked about."""
    confidence_below: Threshold | None = None
    """How sure annotators are, each of its own answer: by what they state in the field that `answer.confidence` names,
    or else by the share of their samples that say the same."""

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.below is None and self.confidence_below is None:
            raise ValueError("it needs `below` (agreement) or `confidence_below`, to say which rows are asked about")
        return self

    def made(self) -> Escalation:
        """The core's value."""
        return Escalation(models=tuple(self.models), below=self.below, confidence_below=self.confidence_below)


PATHS: Mapping[str, tuple[str, ...]] = {
    "": ("input", "schema", "limits", "catalogs"),
    "answer": ("schema",),
    "examples": ("file",),
    "gold": ("file",),
}
"""Section ("" for the words at the top) -> its words that are paths, which lead from the job file."""
TEXTS: Mapping[str, tuple[str, ...]] = {
    "": ("prompt", "system"),
    "annotators": ("prompts",),
    "evaluate.judge": ("rubric",),
    "evaluate.pairwise": ("question",),
}
"""Section -> its words that are texts or @FILE, or tables of such."""
