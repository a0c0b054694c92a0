"""Everything that can be said about a job before anything is sent."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from typing import Any

from runner.core.answers import Invalid
from runner.core.examples import Examples
from runner.core.prompt import RowError
from runner.evaluation.checking import declared, declared_gates
from runner.planning import Plan
from runner.preparing import Prepared
from runner.reading import Replies
from runner.storage.rows import Row

LONGEST = 4_000
"""Characters of a prompt that are shown."""


def checked(prepared: Prepared, plan: Plan, costs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What a job asks of whom, what that takes, and what is known beforehand, as JSON values.

    `costs` are those of its judges, by metric.

    Raises UsageError for a schema that is none.
    """
    job, survey = prepared.job, prepared.survey
    replies = Replies(job)
    return {
        "name": job.name,
        "fingerprint": job.fingerprint,
        "input": os.path.normpath(prepared.source.path),
        "rows": survey.selected,
        "cannot_be_asked": survey.bad,
        "problems": survey.problems,
        "columns": list(prepared.columns),
        "annotators": list(prepared.maker.annotators),
        "models": sorted(plan.requests),
        "requests": sum(plan.requests.values()),
        "input_tokens": plan.input_tokens.total(),
        "output_tokens": plan.output_tokens.total(),
        "answers": plan.answers,
        "cost_usd": round(sum(plan.cost.values()), 6),
        "without_price": plan.unpriced,
        "seconds": round(plan.seconds, 1),
        "answer": _answer(prepared),
        "examples": None if job.examples is None else _examples(job.examples),
        "gold": None if job.gold is None else _gold(prepared, replies, job.gold.column),
        "evaluate": None
        if job.evaluate is None
        else declared(job.evaluate, prepared.setup.scorers, survey.selected - survey.bad, costs),
        "gates": [] if job.gates is None else declared_gates(job.gates, job.evaluate),
        "first_prompt": _first_prompt(prepared),
        "notices": prepared.notices,
    }


def _answer(prepared: Prepared) -> dict[str, Any] | None:
    reading = prepared.job.reading
    if reading is None:
        return None
    return {
        "kind": reading.reader.kind,
        "labels": list(reading.reader.labels),
        "synonyms": dict(reading.reader.synonyms),
        "asks": reading.asks,
        "structured": prepared.job.settings.schema is not None,
    }


def _examples(examples: Examples) -> dict[str, Any]:
    """How many a row is shown, of how many, and how they are chosen."""
    return {"count": examples.count, "of": len(examples.rows), "choose": examples.choose}


def _gold(prepared: Prepared, replies: Replies, column: str) -> dict[str, Any]:
    """How many rows have a known label, which ones, and what stands there that is none."""
    known, unreadable = Counter[str](), Counter[str]()
    for record in prepared.records():
        cell = record.columns.get(column) if isinstance(record, Row) else None
        text = "" if cell is None else str(cell).strip()
        if text:
            (unreadable if isinstance(replies.read(text), Invalid) else known)[text] += 1
    return {
        "column": column, "rows": known.total(), "mixed_in": len(prepared.gold), "labels": dict(known.most_common(100)),
        "unreadable": dict(unreadable.most_common(100)),
    }  # fmt: skip


def _first_prompt(prepared: Prepared) -> str | None:
    """The last message of the first row that can be asked, as it will be sent."""
    for record in prepared.records():
        if not isinstance(record, Row):
            continue
        try:
            task = prepared.maker.tasks(record.index, record.columns, record.digest, lambda _text: 0)[0]
        except RowError:
            continue
        content = task.request.messages[-1].content if task.request.messages else ""
        return content[:LONGEST] if isinstance(content, str) else None
    return None
