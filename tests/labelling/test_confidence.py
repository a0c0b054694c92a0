"""Confidence against known labels: which rows are in which bucket, and how often the vote on them is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from runner.core.job import Job
from runner.labelling import label
from runner.report.labelling import lines
from runner.storage.rundir import RunDirectory

Make = Callable[..., Job]
Write = Callable[..., RunDirectory]


def buckets(said: dict[str, Any]) -> dict[float, tuple[int, int, int]]:
    """Lower end -> rows, known rows, right ones; of buckets with rows."""
    return {
        bucket["low"]: (bucket["rows"], bucket["known"], bucket["quality"]["right"])
        for bucket in said["confidence"]["buckets"]
        if bucket["rows"]
    }


def test_stated_confidence_is_held_against_known_labels(job: Make, results: Write) -> None:
    """Every row is in one bucket; what is not known is counted, and not judged."""
    directory = results(
        {"x": ["a", "a", "b", "b", "!", "a"]}, sure={"x": [0.95, 1.0, 0.9, 0.55, None, 0.5]},
        known=["a", "b", None, "b", "a", "a"],
    )  # fmt: skip
    said = label(job(gold="known", confidence="sure"), ["x"], [], directory)
    assert said is not None
    assert said["confidence"]["basis"] == "stated"
    assert buckets(said) == {0.0: (1, 1, 0), 0.5: (2, 2, 2), 0.9: (3, 2, 1)}
    assert pl.read_parquet(directory.labels_path)["confidence"].to_list() == [0.95, 1.0, 0.9, 0.55, 0.0, 0.5]
    shown = "\n".join(lines(directory.path, said))
    assert "0.90 to 1.00        3       2   0.500 (" in shown
    assert "(confidence: as the models state it; that is not calibrated)" in shown


def test_samples_are_their_own_sign_of_confidence(job: Make, results: Write) -> None:
    """Without known labels the table says how many rows a threshold would send on."""
    directory = results({"x#1": ["a", "a", "b"], "x#2": ["a", "b", "!"], "x#3": ["a", "a", "!"]})
    said = label(job(samples=3), ["x#1", "x#2", "x#3"], [], directory)
    assert said is not None
    assert buckets(said) == {0.0: (1, 0, 0), 0.6: (1, 0, 0), 0.9: (1, 0, 0)}
    assert pl.read_parquet(directory.labels_path)["confidence"].to_list() == pytest.approx([1.0, 2 / 3, 1 / 3])
    assert "0.60 to 0.70        1\n" in "\n".join([*lines(directory.path, said), ""])


def test_the_table_judges_what_was_said_before_a_stronger_model_was_asked(job: Make, results: Write) -> None:
    """A threshold is chosen by what it would have left as it is."""
    directory = results({"x": ["a"], "strong": ["b"]}, sure={"x": [0.3], "strong": [1.0]}, known=["b"])
    said = label(job(gold="known", confidence="sure"), ["x"], ["strong"], directory)
    assert said is not None
    assert buckets(said) == {0.0: (1, 1, 0)}
    assert said["gold"]["vote"]["right"] == 1


def test_a_job_without_a_sign_of_confidence_has_no_such_table(job: Make, results: Write) -> None:
    """Nothing is made up."""
    directory = results({"x": ["a"]})
    said = label(job(), ["x"], [], directory)
    assert said is not None
    assert "confidence" not in said
    assert "confidence" not in pl.read_parquet_schema(directory.labels_path)
