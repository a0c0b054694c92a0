"""The figures of a labelling run as JSON values: agreement, confusion between annotators, quality by known labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import combinations, compress
from typing import Any

from runner.core.answers import Answer, Invalid
from runner.labelling.votes import Cell, Verdict, Votes, value_of
from runner.reading import as_text, from_text
from runner.statistics import agreement
from runner.statistics.confusion import confusion
from runner.statistics.estimates import Estimate
from runner.statistics.intervals import wilson
from runner.statistics.ratings import Ratings, ratings

MOST_MISTAKES = 10
"""Pairs of labels that are listed for two annotators."""


def figures(votes: Votes, verdicts: Sequence[Verdict], labels: Sequence[str]) -> dict[str, Any]:
    """What a labelling run has come to."""
    counts = Counter(verdict.label for verdict in verdicts if verdict.label is not None)
    return {
        "kind": votes.kind,
        "rows": len(votes.rows),
        "labelled": counts.total(),
        "statuses": dict(Counter(verdict.status for verdict in verdicts)),
        "labels": {label: counts[label] for label in (*labels, *sorted(set(counts) - set(labels)))}
        if votes.kind == "label"
        else {},
        "annotators": {name: dict(said) for name, said in votes.said.items()},
        "stronger": list(votes.stronger),
        "repairs": dict(votes.repairs),
        "agreement": _agreement(votes, labels) if len(votes.annotators) > 1 else None,
        "confusion": _confusions(votes, labels) if votes.kind == "label" else [],
    }


def _agreement(votes: Votes, labels: Sequence[str]) -> dict[str, Any]:
    columns = [votes.values(name) for name in votes.annotators]
    found = ratings(columns)
    level: agreement.Level = "interval" if votes.kind == "rating" else "nominal"
    chance = (
        {"cohen_kappa": agreement.cohen_kappa(found)}
        if len(columns) == 2
        else {"fleiss_kappa": agreement.fleiss_kappa(found, incomplete="leave out")}
    )
    measures: dict[str, Estimate] = {
        "percent": agreement.percent_agreement(found),
        **chance,
        "krippendorff_alpha": agreement.krippendorff_alpha(found, level),
    }
    return {
        **{name: rounded(measure) for name, measure in measures.items()},
        "per_label": {label: rounded(measure) for label, measure in _per_label(votes, found, labels)},
    }


def _per_label(votes: Votes, found: Ratings, labels: Sequence[str]) -> list[tuple[str, Estimate]]:
    """Krippendorff's alpha for each label by itself: this one, or not."""
    if votes.kind == "label":
        measured = agreement.per_label(found, agreement.krippendorff_alpha)
        return [(label, measured[label]) for label in labels if label in measured]
    if votes.kind != "labels":
        return []
    said = [[None if value is None else frozenset(from_text(value, "labels")) for value in votes.values(name)]
            for name in votes.annotators]  # fmt: skip
    return [
        (label, agreement.krippendorff_alpha(ratings([[s if s is None else label in s for s in one] for one in said])))
        for label in labels
    ]


def _confusions(votes: Votes, labels: Sequence[str]) -> list[dict[str, Any]]:
    """For each two annotators, what one calls what the other calls otherwise; rows that one did not answer left out."""
    tables = []
    for one, other in combinations(votes.annotators, 2):
        pairs = [
            (left, right)
            for left, right in zip(votes.cells[one], votes.cells[other], strict=True)
            if isinstance(left, str) and isinstance(right, str)
        ]
        table = confusion([left for left, _ in pairs], [right for _, right in pairs], labels)
        mistakes = [[str(left), str(right), count] for left, right, count in table.mistakes(MOST_MISTAKES)]
        size = len(table.labels)
        tables.append({
            "annotators": [one, other], "rows": table.items, "same": table.right, "apart": mistakes,
            "labels": [str(label) for label in table.labels], "counts": table.counts[:, :size].tolist(),
        })  # fmt: skip
    return tables


def quality(
    votes: Votes, verdicts: Sequence[Verdict], known: Sequence[Any], labels: Sequence[str], read: Callable[[str], Any]
) -> dict[str, Any]:
    """How often annotators and the vote are right about rows whose label is `known`: an empty cell is no known label.

    What is invalid, missing or undecided is not right. Known labels that `read` cannot read are counted, and left out.
    """
    gold, unreadable = readable(known, read)
    voted: list[Cell] = [verdict.label for verdict in verdicts]
    vote = right(votes.kind, gold, voted)
    if votes.kind == "label":
        table = confusion(gold, voted, labels)
        vote["labels"] = [asdict(one) for one in table.figures()]
    return {
        "rows": sum(label is not None for label in gold),
        "unreadable": dict(unreadable),
        "annotators": {name: right(votes.kind, gold, votes.cells[name]) for name in votes.annotators}
        | {name: right(votes.kind, *_asked(votes, name, gold)) for name in votes.stronger},
        "vote": vote,
    }


def readable(known: Sequence[Any], read: Callable[[str], Any]) -> tuple[list[str | None], Counter[str]]:
    """Known labels as answers are written, None where there is none; and how often there is what `read` cannot read."""
    gold: list[str | None] = []
    unreadable = Counter[str]()
    for cell in known:
        text = "" if cell is None else str(cell).strip()
        answer = read(text) if text else None
        if isinstance(answer, Invalid):
            unreadable[text] += 1
        gold.append(as_text(answer) if isinstance(answer, Answer) else None)
    return gold, unreadable


def _asked(votes: Votes, name: str, gold: Sequence[str | None]) -> tuple[list[str | None], list[Cell]]:
    """Known labels and answers of the rows about which a stronger model was asked."""
    asked = votes.asked[name]
    return list(compress(gold, asked)), list(compress(votes.cells[name], asked))


def right(kind: str, gold: Sequence[str | None], said: Sequence[Cell]) -> dict[str, Any]:
    """How often what was said is what is known, with an interval."""
    pairs = [(value_of(one, kind), value_of(other, kind)) for one, other in zip(gold, said, strict=True) if one]
    right = sum(one == other for one, other in pairs)
    unanswered = sum(other is None for _, other in pairs)
    return {"right": right, "unanswered": unanswered, **rounded(wilson(right, len(pairs)))}


def rounded(measure: Estimate) -> dict[str, Any]:
    """An estimate as JSON values."""
    values = asdict(measure)
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in values.items()}
