"""What `runner limits` prints: what is configured beside what was learned of a gateway."""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from runner.core.catalog import Catalogue, Model
from runner.core.errors import UsageError
from runner.core.knowledge import Facts, Knowledge, limit_key
from runner.core.limits import ALL, Limit, Limits
from runner.report.safe import safe

Times = Mapping[tuple[str, str], float]
"""When something was learned, by section and name, in seconds of the wall clock."""


def as_table(
    gateway: str, credential: str, known: Knowledge, learned: Times, limits: Limits, catalogue: Catalogue
) -> dict[str, Any]:
    """All of it as JSON values."""
    return {
        "gateway": gateway,
        "credential": credential,
        "limits": _limits(known, learned, limits.budgets(_models(known, catalogue)).values()),
        "models": {
            name: _model(name, known, learned)
            for name in sorted(known.models)
            if name in known.ratios or name in known.output_caps or name in known.speeds
        },
        "jobs": {
            job: {
                "answers": {name: _sample(sample) for name, sample in sorted(by_model.items())},
                "learned": _iso(learned.get(("lengths", job))),
            }
            for job, by_model in known.lengths.items()
        },
    }


def _models(known: Knowledge, catalogue: Catalogue) -> list[Model]:
    """The models that something is known of; any other, for the sake of what all share, if there is none."""
    found = []
    for name in sorted(known.models):
        try:
            found.append(catalogue.find(name))
        except UsageError:
            continue
    return found or [next(iter(catalogue))]


def _limits(known: Knowledge, learned: Times, budgets: Iterable[tuple[Limit, ...]]) -> list[dict[str, Any]]:
    """The limits that bind models of which something is known, and whatever else was learned; combined ones first."""
    stated = {limit_key(limit): limit for budget in budgets for limit in budget}
    shown = {
        key for key, limit in stated.items() if limit.measure != "requests" and limit.scope in {ALL, *known.models}
    }
    rows = []
    for key in sorted({*shown, *known.limits}, key=lambda key: (not key.startswith(ALL), key)):
        scope, _, measure = key.rpartition("/")
        limit, facts = stated.get(key), known.limits.get(key)
        rows.append(
            {
                "scope": "all" if scope == ALL else scope,
                "measure": measure,
                "configured": None if limit is None else limit.amount,
                "window_s": None if limit is None else limit.window,
                "learned": None if facts is None else dict(facts),
                "when": _iso(learned.get(("limits", key))),
            }
        )
    return rows


def _model(name: str, known: Knowledge, learned: Times) -> dict[str, Any]:
    ratio, speed = known.ratios.get(name), known.speeds.get(name)
    sections = ("ratios", "output_caps", "speeds")
    times = [learned[section, name] for section in sections if (section, name) in learned]
    return {
        "true_for_one_estimated": None if ratio is None else round(ratio.true / ratio.guessed, 4),
        "replies": 0 if ratio is None else ratio.replies,
        "largest_cap": known.output_caps.get(name),
        "first_token_s": None if speed is None else round(speed.first, 4),
        "tokens_per_second": None if speed is None or not speed.per_token else round(1 / speed.per_token, 1),
        "learned": _iso(max(times, default=None)),
    }


def _sample(lengths: tuple[int, ...]) -> dict[str, Any]:
    return {"known": len(lengths), "median": statistics.median(lengths), "longest": max(lengths)}


def _iso(at: float | None) -> str | None:
    return None if at is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def show(table: Mapping[str, Any]) -> None:
    """For people."""
    write = sys.stdout.write
    write(f"{safe(table['gateway'])}, with the token whose fingerprint is {safe(table['credential'])}\n")
    if not (table["models"] or table["jobs"] or any(limit["learned"] for limit in table["limits"])):
        write("Nothing was learned of it yet, or what was is forgotten, or older than 30 days.\n")
    write(f"\n{'limit':<56} {'configured':>12}  learned\n")
    write("".join(f"{line}\n" for line in map(_limit_line, table["limits"])))
    if table["models"]:
        write(f"\n{'model':<32} {'tokens for 1 estimated':>23} {'replies':>9} {'largest cap':>12} ")
        write(f"{'first s':>8} {'tokens/s':>9}  learned\n")
        write("".join(f"{_model_line(name, model)}\n" for name, model in table["models"].items()))
    if table["jobs"]:
        write(f"\n{'lengths of answers, job':<26} {'model':<32} {'answers':>8} {'median':>8} {'longest':>9}  learned\n")
        write("".join(f"{line}\n" for job, of_job in table["jobs"].items() for line in _job_lines(job, of_job)))


def _limit_line(limit: Mapping[str, Any]) -> str:
    whose = "all models" if limit["scope"] == "all" else safe(limit["scope"], 40)
    window = "" if limit["window_s"] is None else f" in {limit['window_s']:g} s"
    what = "requests" if limit["measure"] == "requests" else f"{safe(limit['measure'], 20)} tokens"
    what = f"{what}{window} for {whose}"
    amount = "none" if limit["configured"] is None else f"{limit['configured']:,}"
    learned = f"{facts(limit['learned'])} ({limit['when']})" if limit["learned"] else "-"
    return f"{what:<56} {amount:>12}  {learned}"


def _model_line(name: str, model: Mapping[str, Any]) -> str:
    ratio = "-" if model["true_for_one_estimated"] is None else f"{model['true_for_one_estimated']:.3f}"
    cap = "-" if model["largest_cap"] is None else f"{model['largest_cap']:,}"
    first = "-" if model["first_token_s"] is None else f"{model['first_token_s']:.2f}"
    pace = "-" if model["tokens_per_second"] is None else f"{model['tokens_per_second']:,.0f}"
    figures = f"{ratio:>23} {model['replies']:>9,} {cap:>12} {first:>8} {pace:>9}"
    return f"{safe(name, 32):<32} {figures}  {model['learned'] or ''}"


def _job_lines(job: str, of_job: Mapping[str, Any]) -> list[str]:
    return [
        f"{safe(job, 26):<26} {safe(name, 32):<32} {sample['known']:>8,} {sample['median']:>8,.0f} "
        f"{sample['longest']:>9,}  {of_job['learned'] or ''}"
        for name, sample in of_job["answers"].items()
    ]


KINDS: Mapping[str, str] = {
    "unknown": "kind of window not found out",
    "sliding": "a sliding log",
    "calendar": "calendar windows, borders at {border:.1f} s",
    "counter": "a sliding counter, borders at {border:.1f} s",
    "bucket": "a bucket that holds {burst:,.0f}",
}
"""By kind of window, what it is."""


def facts(learned: Facts) -> str:
    """What was learned of one limit, in a line; what the last run had just spent is left out."""
    numbers = {name: fact for name, fact in learned.items() if isinstance(fact, int | float)}
    said = [f"{numbers['amount']:,.0f}"] if "amount" in numbers else []
    kind = KINDS.get(str(learned.get("kind")))
    if kind is not None:
        with contextlib.suppress(KeyError):
            said.append(kind.format_map(numbers))
    return ", ".join(said) or "-"
