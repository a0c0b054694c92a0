"""A model as judge of pairs: a second run, which is shown the answers of two sides to each row in both orders.

`core.pairs` has what the judge is shown and what its replies come to, `judges` what holds for the runs of all judges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from runner.core import pairs
from runner.core.answers import Reader
from runner.core.caps import Caps
from runner.core.evaluating import PAIRWISE, Evaluation, Pairwise
from runner.core.job import Job
from runner.core.labelling import Reading
from runner.core.pairs import FIRST, POINTS, SECOND, TIE, Result, Spoken
from runner.core.quoting import quoted
from runner.core.values import Settings, Status
from runner.evaluation.judges import Ask, Judged, as_line, digest, is_answered, judged_by, lines_of
from runner.evaluation.scores import Measured
from runner.statistics.agreement import cohen_kappa
from runner.statistics.estimates import Estimate
from runner.statistics.intervals import wilson
from runner.statistics.preferences import places, preference
from runner.statistics.ratings import ratings

EXPECTED = "expected"
"""What a question may use beside the row's columns."""
NOT_ASKED = Spoken(None, replied=False)


def compare_pairs(
    run: Path, evaluation: Evaluation, pairwise: Pairwise, columns: Mapping[str, str], ask: Ask
) -> Judged | None:
    """Have the answers of both sides compared; None if there is no pair that needs a judge.

    `columns` are the input's by their names in the table.
    """
    questions = _questions(run / "results.parquet", evaluation, pairwise, columns)
    return judged_by(run, PAIRWISE, questions, lambda file: job_of(pairwise, file), ask)


def job_of(pairwise: Pairwise, file: Path) -> Job:
    """The judge's job for the questions in a file."""
    return Job(
        input=str(file),
        name=PAIRWISE,
        models=(pairwise.model,),
        prompt=pairwise.question.rstrip() + pairs.FRAME,
        settings=Settings(max_tokens=pairwise.max_tokens),
        row_settings=False,
        id_column=pairs.KEY_COLUMN,
        bad_rows="record",
        answer=Reading(reader=Reader(kind="label", labels=pairs.CHOICES)),
        caps=Caps(max_cost=pairwise.max_cost),
    )


def pairs_of(results: Path, pairwise: Pairwise) -> pl.DataFrame:
    """A line for each row that both sides were asked about: `row`, `id`, and of either side its `line` in the results
    table and its `answer`, null if there is none that can be read; those of the other side end in `_other`."""
    scan = pl.scan_parquet(results, glob=False).with_row_index("line")
    answer = pl.when(is_answered()).then(pl.col("answer"))
    asked = scan.select("row", "id", "line", _side(scan).alias("side"), answer.alias("answer"))
    one, other = (asked.filter(pl.col("side") == side).drop("side").collect() for side in pairwise.sides)
    return one.join(other.drop("id"), on="row", how="inner", suffix="_other", maintain_order="left")


def _side(scan: pl.LazyFrame) -> pl.Expr:
    return pl.coalesce("annotator", "model") if "annotator" in scan.collect_schema() else pl.col("model")


def _questions(results: Path, evaluation: Evaluation, pairwise: Pairwise, columns: Mapping[str, str]) -> bytes:
    """The judge's input: each pair whose answers differ, in both orders."""
    open_pairs = {
        row: (one, other)
        for row, one, other in pairs_of(results, pairwise).select("row", "answer", "answer_other").iter_rows()
        if pairs.before_judging(one, other) is None
    }
    scan = pl.scan_parquet(results, glob=False)
    seen = {name: table for name, table in columns.items() if name != pairwise.gold}
    lines = []
    for line, row in lines_of(scan.filter(_side(scan) == pairwise.sides[0]), seen):
        if line["row"] not in open_pairs:
            continue
        one, other = open_pairs[line["row"]]
        expected = None if evaluation.expected is None else line[columns[evaluation.expected]]
        for first, second in ((one, other), (other, one)):
            shown = {pairs.FIRST_COLUMN: quoted(first), pairs.SECOND_COLUMN: quoted(second)}
            lines.append(
                as_line({**row, EXPECTED: expected, **shown, pairs.KEY_COLUMN: _key(line["row"], first, second)})
            )
    return b"".join(lines)


def _key(row: int, first: str, second: str) -> str:
    return f"{row}-{digest(orjson.dumps([first, second]).decode())}"


def judged_pairs(results: Path, pairwise: Pairwise, columns: Mapping[str, str], judged: Judged | None) -> pl.DataFrame:
    """The pairs with what was said of each: `ahead` (the one side first) and `behind` (it second), the `result`, the
    `points` of the one side, and, if there is a column of known preferences, `known`."""
    found = pairs_of(results, pairwise)
    spoken = {} if judged is None else _spoken(judged.directory / "results.parquet")
    lines = []
    for row, one, other in found.select("row", "answer", "answer_other").iter_rows():
        result, ahead, behind = pairs.before_judging(one, other), NOT_ASKED, NOT_ASKED
        if result is None:
            ahead = spoken.get(_key(row, one, other), NOT_ASKED)
            behind = spoken.get(_key(row, other, one), NOT_ASKED)
            result = pairs.settled(ahead, behind)
        lines.append((ahead.choice, behind.choice, str(result), POINTS.get(result)))
    schema = {"ahead": pl.String, "behind": pl.String, "result": pl.String, "points": pl.Float64}
    found = found.hstack(pl.DataFrame(lines, schema=schema, orient="row"))
    if pairwise.gold is None:
        return found
    cells = pl.read_parquet(results, columns=[columns[pairwise.gold]], glob=False).to_series()
    return found.with_columns(cells.cast(pl.String).str.strip_chars().gather(found["line"]).alias("known"))


def _spoken(results: Path) -> dict[str, Spoken]:
    """What came of each question to the judge."""
    lines = pl.read_parquet(results, columns=["id", "status", "answer"], glob=False)
    return {key: Spoken(answer, replied=status == Status.SUCCEEDED) for key, status, answer in lines.iter_rows()}


def scored(found: pl.DataFrame, tasks: int) -> pl.DataFrame:
    """The points of each task of the run as its score: 1 for a pair that was won, a half for a tie."""
    values: list[float | None] = [None] * tasks
    reasons = ["it is of no pair"] * tasks
    for one, other, result, points in found.select("line", "line_other", "result", "points").iter_rows():
        for line, score, said in (
            (one, points, REASONS[Result(result)][0]),
            (other, None if points is None else 1.0 - points, REASONS[Result(result)][1]),
        ):
            values[line], reasons[line] = score, said
    return pl.DataFrame({"score": pl.Series(values, dtype=pl.Float64), "reason": pl.Series(reasons, dtype=pl.String)})


WON, LOST = "preferred in both orders", "the other one was preferred in both orders"
ALONE, ABSENT = "the other side has no answer", "no answer that can be read"
REASONS: Mapping[Result, tuple[str, str]] = {
    Result.ONE: (WON, LOST),
    Result.OTHER: (LOST, WON),
    Result.ONE_ALONE: (ALONE, ABSENT),
    Result.OTHER_ALONE: (ABSENT, ALONE),
    Result.TIE: ("a tie in both orders",) * 2,
    Result.INCONSISTENT: ("the judge contradicted itself when the order was swapped",) * 2,
    Result.SAME: ("both answers are the same",) * 2,
    Result.NEITHER: (ABSENT,) * 2,
    Result.INVALID: ("a reply of the judge cannot be read",) * 2,
    Result.UNJUDGED: ("the judge gave no reply",) * 2,
}
"""What a pair comes to -> the reason of the score, for the one side and the other."""


def about_pairs(
    found: pl.DataFrame, measured: Measured, pairwise: Pairwise, judged: Judged | None, against: str | None
) -> dict[str, Any]:
    """What the summary says of the pairs: wins, ties and their reasons, what place does, cost, and the agreement with
    known preferences, or else with `against`, a metric of 0 and 1, where it tells both sides apart."""
    results = Counter(found["result"])
    said = preference(found["points"].to_list())
    asked = [
        pair for pair in found.select("ahead", "behind").iter_rows() if pair[0] is not None and pair[1] is not None
    ]
    both = Counter(asked)
    first, second = both[FIRST, FIRST], both[SECOND, SECOND]
    once = sum(count for pair, count in both.items() if TIE in pair and pair != (TIE, TIE))
    of_sides = measured.tasks["model"].is_in(list(pairwise.sides)).sum()
    place = places(pairs=len(asked), first=first, second=second, once=once)
    return {
        "model": pairwise.model,
        "run": None if judged is None else judged.directory.name,
        "cost_usd": 0.0 if judged is None else judged.cost,
        "sides": list(pairwise.sides),
        **_replies(judged),
        "pairs": len(found),
        "without_partner": int(of_sides) - 2 * len(found),
        "results": {str(result): results[result] for result in Result},
        "win_rate": _figures(said.rate),
        "points": _figures(said.points),
        "p": said.p,
        "places": {
            **asdict(place),
            "inconsistent": _figures(place.inconsistent),
            "preferred_first": _figures(place.preferred_first),
        },
        **_agreement(found, measured, pairwise, against),
    }


def _replies(judged: Judged | None) -> dict[str, int]:
    """How many questions the judge was asked, how many of its replies cannot be read, and how many are missing."""
    if judged is None:
        return {"questions": 0, "invalid_replies": 0, "missing_replies": 0}
    lines = pl.read_parquet(judged.directory / "results.parquet", columns=["status", "answer"], glob=False)
    replied = lines["status"] == Status.SUCCEEDED
    return {
        "questions": len(lines),
        "invalid_replies": int((replied & lines["answer"].is_null()).sum()),
        "missing_replies": int((~replied).sum()),
    }


def _figures(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.items}


def _agreement(
    found: pl.DataFrame, measured: Measured, pairwise: Pairwise, against: str | None
) -> dict[str, dict[str, Any]]:
    """How often the judge prefers what is known to be better, of the pairs that it has judged."""
    one, other = pairwise.sides
    unreadable = 0
    if pairwise.gold is not None:
        named = {one: 1.0, other: 0.0, TIE: 0.5}
        known = [named.get(cell) if cell else None for cell in found["known"]]
        unreadable = sum(bool(cell) and cell not in named for cell in found["known"])
    elif against is not None:
        scores = measured.scores[against]["score"]
        ours, theirs = (scores.gather(found[line]) for line in ("line", "line_other"))
        known = [None if a is None or b is None or a == b else a for a, b in zip(ours, theirs, strict=True)]
    else:
        return {}
    judged = found["result"].is_in([Result.ONE, Result.OTHER, Result.TIE, Result.INCONSISTENT])
    compared = [
        (points, wanted)
        for points, wanted, counts in zip(found["points"], known, judged, strict=True)
        if counts and wanted is not None
    ]
    same = wilson(sum(points == wanted for points, wanted in compared), len(compared))
    kappa = cohen_kappa(ratings([[str(value) for value in values] for values in _columns(compared)]))
    return {
        "agreement": {
            "with": pairwise.gold or against,
            "n": len(compared),
            "share": _figures(same),
            "ties": sum(points == 0.5 != wanted for points, wanted in compared),
            "opposed": sum({points, wanted} == {0.0, 1.0} for points, wanted in compared),
            "kappa": {"value": kappa.value, "low": kappa.low, "high": kappa.high, "reason": kappa.reason},
            "unreadable": unreadable,
        }
    }


def _columns(compared: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [points for points, _ in compared], [wanted for _, wanted in compared]
