"""What can be said of an evaluation before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.core.errors import UsageError
from runner.core.evaluating import Evaluation
from runner.evaluation.scores import prepared
from runner.scoring import Scorer


def check(evaluation: Evaluation, columns: Mapping[str, Any], own: Mapping[str, Scorer]) -> None:
    """Raise UsageError for a scorer, an option or a column that there is none of; `columns` are the input's."""
    prepared(evaluation.scorers, own)
    wanted = {"expected": evaluation.expected, **{f"slices: {one.name}": one.column for one in evaluation.slices}}
    for what, name in wanted.items():
        if columns and name not in columns:
            raise UsageError(f"evaluate.{what}: the input has no column {name!r}; it has {', '.join(columns)}.")
