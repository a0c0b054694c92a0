"""What can be said of an evaluation before anything is sent: what is wrong with it, and what it will do."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from runner.core.catalog import Catalogue
from runner.core.errors import UsageError
from runner.core.evaluating import JUDGE, PAIRWISE, Evaluation, Gates, Judging, Pairwise
from runner.core.pairs import OWN_COLUMNS, TIE
from runner.evaluation.scores import prepared
from runner.scoring import SCORERS, Scorer
from runner.storage.templates import Template


def check(
    evaluation: Evaluation,
    columns: Mapping[str, Any],
    own: Mapping[str, Scorer],
    catalogue: Catalogue,
    annotators: Sequence[str],
) -> None:
    """Raise UsageError with all that is wrong: scorers, options, columns, models and sides that there are none of.

    `columns` are the input's, `annotators` those who will answer its rows.
    """
    wrong = [
        *_wrong_scorers(evaluation, own),
        *_wrong_columns(evaluation, columns),
        *(() if evaluation.judge is None else _wrong_judge(evaluation.judge, evaluation, columns, catalogue)),
        *(
            ()
            if evaluation.pairwise is None
            else _wrong_pairs(evaluation.pairwise, evaluation, columns, catalogue, annotators)
        ),
    ]
    if wrong:
        raise UsageError("\n".join(wrong))


def _wrong_scorers(evaluation: Evaluation, own: Mapping[str, Scorer]) -> Iterator[str]:
    for scoring in evaluation.scorers:
        try:
            prepared((scoring,), own)
        except UsageError as error:
            yield str(error)


def _wrong_columns(evaluation: Evaluation, columns: Mapping[str, Any]) -> Iterator[str]:
    wanted = {f"slices: {one.name}": one.column for one in evaluation.slices}
    if evaluation.expected is not None:
        wanted = {"expected": evaluation.expected, **wanted}
    if evaluation.pairwise is not None and evaluation.pairwise.gold is not None:
        wanted["pairwise.gold"] = evaluation.pairwise.gold
    for what, name in wanted.items():
        if columns and name not in columns:
            near = _near(name, columns)
            yield f"evaluate.{what}: the input has no column {name!r}; it has {', '.join(columns)}.{near}"


def _wrong_judge(
    judge: Judging, evaluation: Evaluation, columns: Mapping[str, Any], catalogue: Catalogue
) -> Iterator[str]:
    yield from _wrong_model("evaluate.judge.model", judge.model, catalogue)
    yield from _wrong_template("evaluate.judge.rubric", judge.rubric, {"answer": ""}, evaluation, columns)


def _wrong_pairs(
    pairwise: Pairwise,
    evaluation: Evaluation,
    columns: Mapping[str, Any],
    catalogue: Catalogue,
    annotators: Sequence[str],
) -> Iterator[str]:
    yield from _wrong_model("evaluate.pairwise.model", pairwise.model, catalogue)
    yield from _wrong_template("evaluate.pairwise.question", pairwise.question, {}, evaluation, columns)
    for side in pairwise.sides:
        if side not in annotators or side == TIE:
            known = ", ".join(annotators) or "none"
            yield (
                f"evaluate.pairwise.sides: nobody called {side!r} answers the rows of this job; its annotators are "
                f"{known}.{_near(side, annotators)}"
            )
    for name in OWN_COLUMNS:
        if name in columns:
            yield f"evaluate.pairwise: the input has a column {name!r}, which the judge's own input has: rename it."


def _wrong_model(what: str, name: str, catalogue: Catalogue) -> Iterator[str]:
    try:
        catalogue.find(name)
    except UsageError as error:
        yield f"{what}: {error}"


def _wrong_template(
    what: str, text: str, given: Mapping[str, str], evaluation: Evaluation, columns: Mapping[str, Any]
) -> Iterator[str]:
    """What is wrong with a template for a judge, who sees the row's columns, `expected` and what else is `given`."""
    try:
        template = Template(text, what)
    except UsageError as error:
        yield str(error)
        return
    names = [*given, *(["expected"] if evaluation.expected is not None else [])]
    known = [*columns, *names]
    if evaluation.pairwise is not None and evaluation.pairwise.gold in template.columns:
        yield f"{what} shows the column {evaluation.pairwise.gold!r}, which holds the known preferences. Take it out."
    for name in sorted(template.columns - set(known)):
        none = " or ".join([", ".join(["none of the input's columns", *(f"`{one}`" for one in names[:-1])]),
                            *(f"`{one}`" for one in names[-1:])])  # fmt: skip
        yield f"{what} uses {name!r}, which is {none}.{_near(name, known)}"


def _near(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def declared(
    evaluation: Evaluation, own: Mapping[str, Scorer], rows: int, costs: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """What an evaluation will do, as JSON values; `rows` are those of the input that can be asked.

    `costs` are what its judges may cost in all, by metric.
    """
    known = {**SCORERS, **own}
    judge, pairwise = evaluation.judge, evaluation.pairwise
    return {
        "expected": evaluation.expected,
        "main": evaluation.main,
        "scorers": [
            {"name": one.name, "scorer": one.scorer, "options": dict(one.options), "about": known[one.scorer].about}
            for one in evaluation.scorers
        ],
        "slices": [one.name for one in evaluation.slices],
        "judge": None
        if judge is None
        else {
            "model": judge.model,
            "low": judge.low,
            "high": judge.high,
            "max_cost": judge.max_cost,
            **costs[JUDGE],
        },
        "pairwise": None
        if pairwise is None
        else {
            "model": pairwise.model,
            "sides": list(pairwise.sides),
            "gold": pairwise.gold,
            "max_cost": pairwise.max_cost,
            **costs[PAIRWISE],
            "most_questions": 2 * rows,
        },
    }


def judged_afterwards(evaluation: Evaluation, rows: int, answers: int) -> list[str]:
    """What judges will be asked when so many rows have so many answers, a sentence each: no part of the run itself."""
    said = []
    if (judge := evaluation.judge) is not None:
        said.append(f"{judge.model} grades up to {answers:,} answers afterwards, {_up_to(judge.max_cost)}")
    if (pairwise := evaluation.pairwise) is not None:
        asked = f"{2 * rows:,} questions"
        said.append(f"{pairwise.model} compares answers in up to {asked} afterwards, {_up_to(pairwise.max_cost)}")
    return [f"Not in these figures: {one}." for one in said]


def _up_to(cost: float | None) -> str:
    return "without a cap of its own" if cost is None else f"for ${cost:g} at most"


def declared_gates(gates: Gates, evaluation: Evaluation | None) -> list[str]:
    """What must hold of a run when it has ended, a sentence each."""
    said = []
    for metric, least in gates.least.items():
        of = "each model"
        if evaluation is not None and evaluation.pairwise is not None and metric == PAIRWISE:
            of = evaluation.pairwise.sides[0]
        said.append(f"{metric} of {of} is at least {100 * least:g} %")
    if gates.not_worse:
        said.append("no model is worse than in the accepted run, by the paired test")
    if gates.max_cost is not None:
        said.append(f"the run costs ${gates.max_cost:g} at most, its judges with it")
    if gates.most_unread is not None:
        said.append(f"at most {100 * gates.most_unread:g} % of each model's answers are missing or invalid")
    return said
