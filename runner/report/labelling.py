"""What is printed about labels when a run has ended: how many, how well annotators agree, and how good they are."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runner.core.commands import command
from runner.report.columns import columns
from runner.report.counts import counted
from runner.report.safe import safe

MEASURES = {
    "percent": "observed agreement",
    "cohen_kappa": "Cohen's kappa",
    "fleiss_kappa": "Fleiss' kappa",
    "krippendorff_alpha": "Krippendorff's alpha",
}
"""Measures of agreement by their names in the summary -> as people call them."""
MOST_LABELS = 20
MOST_MISTAKES = 3


def print_labels(directory: Path, labels: Mapping[str, Any]) -> None:
    """A labelling run for people."""
    sys.stdout.write("".join(f"{line}\n" for line in lines(directory, labels)))


def lines(directory: Path, labels: Mapping[str, Any]) -> Iterator[str]:
    """The lines of it."""
    statuses = ", ".join(f"{count:,} {status}" for status, count in labels["statuses"].items())
    yield ""
    yield f"{counted(labels['rows'], 'row')}, {labels['labelled']:,} labelled: {statuses}"
    if labels["decided"]:
        yield f"{labels['decided']:,} decided by a person"
    yield from _annotators(labels)
    if labels["agreement"] is not None:
        yield from _agreement(labels)
    if labels.get("confidence") is not None:
        yield from _confidence(labels["confidence"])
    for table in labels["confusion"]:
        if table["apart"]:
            apart = ", ".join(f"{left} / {right} {count}" for left, right, count in table["apart"][:MOST_MISTAKES])
            yield f"{' / '.join(table['annotators'])} most often apart: {safe(apart, 160)}"
    yield f"Labels:  {directory / 'labels.parquet'}"
    if labels["open"]:
        rows = counted(labels["open"], "row")
        yield f"Open:    {directory / 'disagreements.csv'}, {rows} for a person to decide, then"
        yield f"         {command('adopt', directory, directory / 'disagreements.csv')}"


def _annotators(labels: Mapping[str, Any]) -> Iterator[str]:
    gold = labels.get("gold")
    yield ""
    right = "" if gold is None else f"right of {gold['rows']:,} known"
    table: list[tuple[str, ...]] = [("annotator", *COUNTS, right)]
    for name, said in labels["annotators"].items():
        counts = (f"{said.get(status, 0):,}" for status in COUNTS)
        table.append((safe(name, 34), *counts, "" if gold is None else estimate(gold["annotators"][name])))
    if gold is not None:
        without = gold["vote"]["unanswered"]
        left = f", {without:,} of them without a label" if without else ""
        table.append(("vote", *("" for _ in COUNTS), f"{estimate(gold['vote'])}{left}"))
    yield from columns(table, left=(0, len(COUNTS) + 1))
    if gold is not None:
        if gold["mixed_in"]:
            yield f"{gold['mixed_in']:,} rows with known labels were mixed in; the table is without them."
        if gold["unreadable"]:
            shown = safe(", ".join(gold["unreadable"]), 100)
            yield f"{sum(gold['unreadable'].values()):,} known labels are none of the job's, and left out: {shown}"
    if labels["repairs"]:
        yield "Repairs: " + ", ".join(f"{name} {count:,}" for name, count in labels["repairs"].items())


BASES = {
    "stated": "as the models state it; that is not calibrated",
    "samples": "the share of a model's samples that say the same",
}
"""What shows confidence -> how it is explained."""


def _confidence(confidence: Mapping[str, Any]) -> Iterator[str]:
    known = any(bucket["known"] for bucket in confidence["buckets"])
    yield ""
    yield f"{'confidence':<13} {'rows':>7}" + (f" {'known':>7}   vote right" if known else "")
    for bucket in confidence["buckets"]:
        if bucket["rows"]:
            quality = f" {bucket['known']:>7,}   {estimate(bucket['quality'])}" if known else ""
            yield f"{bucket['low']:.2f} to {bucket['high']:.2f}  {bucket['rows']:>7,}{quality}"
    yield f"(confidence: {BASES[confidence['basis']]})"


COUNTS = ("read", "repaired", "invalid", "missing")
"""Kinds of answer, each with its column."""


def _agreement(labels: Mapping[str, Any]) -> Iterator[str]:
    measures = labels["agreement"]
    yield ""
    for name, title in MEASURES.items():
        if name in measures:
            left = measures[name]["left_out"]
            yield f"{title:<21} {estimate(measures[name])}" + (f"  ({counted(left, 'row')} left out)" if left else "")
    by_label = measures["per_label"]
    if all(measure["value"] is None for measure in by_label.values()):
        return  # for the reason that was just given
    for name, measure in list(by_label.items())[:MOST_LABELS]:
        count = labels["labels"].get(name)
        given = "" if count is None else f"  {counted(count, 'row')}"
        yield f"  {safe(name, 19):<19} {estimate(measure)}{given}"
    if len(by_label) > MOST_LABELS:
        yield f"  ({counted(len(by_label) - MOST_LABELS, 'more label')} in summary.json)"


def estimate(measure: Mapping[str, Any]) -> str:
    """A figure with its interval, or why there is none."""
    if measure["value"] is None:
        return f"-  ({measure['reason']})"
    if measure["low"] is None:
        return f"{measure['value']:.3f}  ({measure['reason']})"
    return f"{measure['value']:.3f} ({measure['low']:.3f} to {measure['high']:.3f})"
