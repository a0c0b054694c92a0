"""What `runner check` prints."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from runner.report.counts import counted
from runner.report.durations import clock
from runner.report.printing import print_json
from runner.report.safe import safe

MOST_SHOWN = 20


def show(found: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what was found."""
    if as_json:
        print_json(found)
        return
    sys.stdout.write("".join(f"{line}\n" for line in lines(found)))


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """What was found, for people."""
    yield f"{safe(found['name'])}: job {found['fingerprint']}"
    bad = f", {found['cannot_be_asked']:,} of them cannot be asked" if found["cannot_be_asked"] else ""
    yield f"input:      {safe(found['input'])}, {counted(found['rows'], 'row')}{bad}"
    for problem in found["problems"]:
        yield f"  {safe(problem)}"
    yield f"columns:    {_listed(found['columns'])}"
    yield f"models:     {_listed(found['models'])}"
    if len(found["annotators"]) > 1:
        yield f"annotators: {_listed(found['annotators'])}"
    free = f" (no price known for {', '.join(found['without_price'])})" if found["without_price"] else ""
    yield (
        f"takes:      {counted(found['requests'], 'request')}, {found['input_tokens']:,} input tokens, "
        f"{found['output_tokens']:,} output tokens if answers are {found['answers']}; "
        f"${found['cost_usd']:.4f}{free}; about {clock(found['seconds'])}"
    )
    if found["answer"] is not None:
        yield from _answer(found["answer"])
    if found["examples"] is not None:
        shown = found["examples"]
        how = "the first" if shown["choose"] == "first" else f"drawn for each row from {shown['of']:,}"
        yield f"examples:   {shown['count']:,} before each row, {how}"
    if found["gold"] is not None:
        yield from _gold(found["gold"])
    if found["evaluate"] is not None:
        yield from _evaluate(found["evaluate"])
    for gate in found["gates"]:
        yield f"gate:       {safe(gate)}"
    for notice in found["notices"]:
        yield f"note: {safe(notice)}"
    if found["first_prompt"]:
        yield "the first row is asked:"
        for line in found["first_prompt"].splitlines()[:MOST_SHOWN]:
            yield f"  | {safe(line, 110)}"


def _answer(answer: Mapping[str, Any]) -> Iterator[str]:
    how = "structured output" if answer["structured"] else "free text"
    labels = f": {_listed(answer['labels'])}" if answer["labels"] else ""
    yield f"answer:     {answer['kind']}{labels}"
    yield f"            as {how}, asked again up to {answer['asks']} times if it cannot be read"


def _gold(gold: Mapping[str, Any]) -> Iterator[str]:
    counts = ", ".join(f"{safe(label, 30)} {count:,}" for label, count in list(gold["labels"].items())[:MOST_SHOWN])
    mixed = f", {gold['mixed_in']:,} of them mixed in" if gold["mixed_in"] else ""
    yield f"known:      {counted(gold['rows'], 'row')} in the column {gold['column']!r}{mixed}: {counts or 'none'}"
    if gold["unreadable"]:
        yield f"            none of the job's labels, and left out: {_listed(list(gold['unreadable']))}"


def _evaluate(evaluate: Mapping[str, Any]) -> Iterator[str]:
    for one in evaluate["scorers"]:
        options = ", ".join(f"{name} = {value!r}" for name, value in one["options"].items())
        about = safe(" ".join(one["about"].split()), 80)
        main = ", which verdicts are about" if one["name"] == evaluate["main"] else ""
        what = f" ({safe(options, 80)})" if options else ""
        yield f"metric:     {safe(one['name'], 40)}: {about}, against {evaluate['expected']!r}{what}{main}"
    for name, lines in (("judge", _judge), ("pairwise", _pairwise)):
        if evaluate[name] is not None:
            main = ", which verdicts are about" if name == evaluate["main"] else ""
            yield f"metric:     {name}: {lines(evaluate[name])}{_capped(evaluate[name])}{main}"
    if evaluate["slices"]:
        yield f"slices:     {_listed(evaluate['slices'])}"


def _judge(judge: Mapping[str, Any]) -> str:
    return f"{safe(judge['model'], 60)} grades each answer from {judge['low']:g} to {judge['high']:g}"


def _pairwise(pairwise: Mapping[str, Any]) -> str:
    one, other = pairwise["sides"]
    gold = f" beside the known preferences in {pairwise['gold']!r}" if pairwise["gold"] else ""
    return (
        f"{safe(pairwise['model'], 60)} compares {safe(one, 60)} with {safe(other, 60)} in both orders, "
        f"up to {pairwise['most_questions']:,} questions{gold}"
    )


def _capped(judge: Mapping[str, Any]) -> str:
    about = ", at no known price" if judge["cost_usd"] is None else f", about ${judge['cost_usd']:.4f}"
    replies = "" if judge["cost_usd"] is None else f" if its replies are {judge['replies']}"
    cap = ", without a cap of its own" if judge["max_cost"] is None else f", for ${judge['max_cost']:g} at most"
    return about + replies + cap


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_SHOWN:,} more" if len(names) > MOST_SHOWN else ""
    return safe(", ".join(names[:MOST_SHOWN]) or "none", 400) + more
