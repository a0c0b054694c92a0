"""The table of scorers, and how one of one's own is put into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from runner.core.errors import UsageError
from runner.core.values import Json
from runner.scoring import choices, numbers, sets, structures, texts
from runner.scoring.scores import Judge, Score, guarded


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """A way to score. Called, it scores one answer; `prepared` makes it ready for many with the same options."""

    prepare: Callable[[Mapping[str, Json]], Judge]
    about: str
    options: Mapping[str, Json] = field(default_factory=dict)
    """Name -> what it is if it is not given; None where there is none."""
    expects: bool = True
    """Whether it needs something expected."""
    open: bool = False
    """Whether it takes any options, unchecked: those of one's own do."""

    def prepared(self, options: Mapping[str, Json] | None = None) -> Callable[[Json, Json], Score]:
        """The scorer with its options; UsageError for an option that it does not know or cannot use."""
        given = options or {}
        unknown = [name for name in given if name not in self.options]
        if unknown and not self.open:
            known = ", ".join(self.options) or "none"
            raise UsageError(f"The scorer takes no option {unknown[0]!r}; it takes {known}.")
        return guarded(self.prepare({**self.options, **given}), expects=self.expects)

    def __call__(self, answer: Json, expected: Json = None, options: Mapping[str, Json] | None = None) -> Score:
        """Score one answer."""
        return self.prepared(options)(answer, expected)


_WRITING = {"punctuation": True, "articles": True}

SCORERS: Mapping[str, Scorer] = {
    "exact": Scorer(prepare=texts.exact, about="equal to the character"),
    "normalised": Scorer(
        prepare=texts.exact_normalised, about="equal but for case, spacing, punctuation and articles", options=_WRITING
    ),
    "contains": Scorer(
        prepare=texts.contains, about="contains the expected text", options={"case": False, "words": True}
    ),
    "regex": Scorer(
        prepare=texts.regex,
        about="matches the expected pattern",
        options={"pattern": None, "case": True, "whole": False},
    ),
    "numeric": Scorer(
        prepare=numbers.numeric,
        about="a number within a tolerance",
        options={"absolute": 0.0, "relative": 1e-9, "take": "last", "decimal": ".", "percent": "hundredths"},
    ),
    "choice": Scorer(
        prepare=choices.multiple_choice,
        about="the letter of a choice",
        options={"letters": "ABCDEFGHIJ", "choices": None},
    ),
    "f1": Scorer(prepare=texts.token_f1, about="words in common", options=_WRITING),
    "edit": Scorer(prepare=texts.edit, about="1 less the edit distance", options={"normalise": False}),
    "rouge_l": Scorer(prepare=texts.rouge_l, about="words in common, in order"),
    "json_fields": Scorer(
        prepare=structures.json_fields, about="fields as expected", options={"fields": (), "relative": 0.0}
    ),
    "json": Scorer(prepare=structures.json_equal, about="the same JSON value", options={"relative": 0.0}),
    "schema": Scorer(
        prepare=structures.by_schema, about="satisfies a JSON schema", options={"schema": None}, expects=False
    ),
    "set": Scorer(prepare=sets.same_set, about="the same labels"),
    "jaccard": Scorer(prepare=sets.jaccard, about="labels in common, as a share"),
    "closeness": Scorer(
        prepare=numbers.closeness, about="how near a rating is, as a share of its scale", options={"low": 1, "high": 5}
    ),
}
"""Name -> scorer."""

Own = Callable[[Json, Json, Mapping[str, Json]], Score | float | bool | None]
"""A function of one's own: answer, expected and options; a number of 0 to 1, whether it is right, or a `Score`."""


def own_scorer(function: Own) -> Scorer:
    """A scorer of a function of one's own.

    What it raises, NaN and numbers beyond 0 to 1 give a score of None with the reason: never a 0.
    """

    def prepare(options: Mapping[str, Json]) -> Judge:
        return lambda answer, expected: _own_score(function, answer, expected, options)

    return Scorer(prepare=prepare, about=function.__doc__ or "", open=True)


def _own_score(function: Own, answer: Json, expected: Json, options: Mapping[str, Json]) -> Score:
    try:
        given = function(answer, expected, options)
        if isinstance(given, Score):
            value, reason, parts = given.value, given.reason, given.parts
        else:
            value, reason, parts = given, "", {}
        if value is None:
            return Score(None, reason or "the scorer gave none", parts)
        number = float(value)
    except Exception as error:  # what somebody else's function raises must not end an evaluation
        return Score(None, f"the scorer failed: {type(error).__name__}: {error}")
    if not 0.0 <= number <= 1.0:  # so for NaN too
        return Score(None, f"the scorer gave {number:g}, which is not between 0 and 1", parts)
    return Score(number, reason, parts)
