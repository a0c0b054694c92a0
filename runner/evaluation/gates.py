"""Gates: what must hold of a run's metrics, and the paragraph that says whether it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from runner.core.errors import UsageError
from runner.core.evaluating import JUDGE, PAIRWISE, Gates
from runner.evaluation.comparison import Comparison, Side, compare, kinds
from runner.evaluation.metrics import ALL_MODELS
from runner.evaluation.scores import NO_MODEL

EXIT_CODE = 10
"""Of a run whose metrics do not pass."""
LEAST_GRADED = 0.5
"""Of a model's answers: a judge that graded fewer says nothing of all of them."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    holds: bool | None
    """None where it could not be looked at, and that is no fault of the run."""
    sentence: str


def verdict(
    gates: Gates, evaluation: Mapping[str, Any], cost: float, run: Side | None, accepted: Side | str | None
) -> dict[str, Any]:
    """The verdict on a run: whether it passes, a paragraph, and each check.

    `accepted` is the run to compare with, None if there is none, or why it cannot be read.
    """
    checks = [*_least(gates, evaluation), *_unread(gates, evaluation), *_cost(gates, cost)]
    if gates.not_worse and run is not None:
        checks += _not_worse(run, accepted)
    failed = [check for check in checks if check.holds is False]
    passed = not failed
    if passed:
        count = sum(check.holds is True for check in checks)
        head = f"Passed: {count} {'check holds' if count == 1 else 'checks hold'}."
        said = [check.sentence for check in checks if check.holds is None]
    else:
        head = f"Not passed: {len(failed)} of {len(checks)} checks {'fails' if len(failed) == 1 else 'fail'}."
        said = [check.sentence for check in failed]
    return {
        "passed": passed,
        "verdict": " ".join([head, *said]),
        "checks": [{"holds": check.holds, "sentence": check.sentence} for check in checks],
    }


def _least(gates: Gates, evaluation: Mapping[str, Any]) -> Iterator[Check]:
    for metric, least in gates.least.items():
        for name, about in _models(evaluation):
            if metric == PAIRWISE and name != evaluation["pairwise"]["sides"][0]:
                continue  # what the one side wins the other loses
            found, answers = about["metrics"][metric], about["n"] + about["unscored"]
            mean = found["mean"]
            figure = "no figure" if mean is None else f"{100 * mean:.1f} %"
            few = metric == JUDGE and found["n"] < LEAST_GRADED * answers
            of = f" of the {found['n']:,} of {answers:,} answers that it graded" if few else ""
            yield Check(
                mean is not None and mean >= least and not few,
                f"{metric} of {name} is {figure}{of}, and {100 * least:g} % is the least.",
            )


def _unread(gates: Gates, evaluation: Mapping[str, Any]) -> Iterator[Check]:
    if gates.most_unread is None:
        return
    for name, about in _models(evaluation):
        unread = about["missing"] + about["invalid"]
        share = unread / about["n"] if about["n"] else 0.0
        yield Check(
            share <= gates.most_unread,
            f"{name} has {about['missing']:,} missing and {about['invalid']:,} invalid answers of {about['n']:,}, "
            f"and {100 * gates.most_unread:g} % is the most.",
        )


def _cost(gates: Gates, cost: float) -> Iterator[Check]:
    if gates.max_cost is not None:
        yield Check(cost <= gates.max_cost, f"The run cost ${cost:.4f}, and ${gates.max_cost:g} is the most.")


def _models(evaluation: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """What a gate is about: the pool where any model answers a row, else each model."""
    models = evaluation["models"]
    if ALL_MODELS in models:
        return [(ALL_MODELS, models[ALL_MODELS])]
    return [(name, about) for name, about in models.items() if name != NO_MODEL]


def _not_worse(run: Side, accepted: Side | str | None) -> Iterator[Check]:
    if accepted is None:
        yield Check(None, "No run has been accepted yet, so nothing was compared: runner accept RUN.")
        return
    if isinstance(accepted, str):
        yield Check(False, accepted)
        return
    try:
        found = compare(accepted, run, names=("the accepted run", "this run"))
    except UsageError as error:
        yield Check(False, str(error))
        return
    yield from _parts(found)
    yield from (Check(None, notice) for notice in found.notices)
    if left := found.only[0]:
        yield Check(None, f"{left:,} answers of the accepted run have none in this one to be compared with.")
    if accepted.repeats:
        for name in sorted(set(accepted.evaluation["models"]) - {*run.evaluation["models"], NO_MODEL}):
            yield Check(False, f"{name} was in the accepted run, and is not in this one.")


def _parts(found: Comparison) -> Iterator[Check]:
    """Each comparison; of several, one counts only if it stands when corrected for their number (Holm)."""
    for part, kind in zip(found.parts, kinds(found), strict=True):
        said = part.verdict.sentence
        said = said[:1].upper() + said[1:] if part.models[0] != part.models[1] else f"{part.models[1]}: {said}"
        yield Check(kind not in ("worse", "nothing to compare"), said)
