"""The sums of a run as one table of JSON values: what `summary.json` holds and `--json` prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from runner.core.lengths import Advice
from runner.core.limits import ALL, Limit
from runner.core.tally import ModelTally, Tally
from runner.core.values import Status


def summarise(
    *,
    tally: Tally,
    tasks: int,
    limits: Iterable[Limit],
    ratios: Mapping[str, float],
    caps: Mapping[str, Advice],
    invalid: Mapping[str, int],
    placement: Mapping[str, Any],
    exit_code: int,
    reason: str | None,
    notices: Iterable[str],
    gateway: str,
    local: bool,
) -> dict[str, Any]:
    """The summary of a run. The counts of `tasks` always add up to `total`.

    `invalid` are each model's answers that are whole, and cannot be read.
    """
    limits = tuple(dict.fromkeys(limits))
    counts = {str(status): tally.statuses[status] for status in Status}
    open_tasks = tasks - tally.ended
    return {
        "exit_code": exit_code,
        "reason": reason,
        "tasks": {"total": tasks, **counts, "open": open_tasks},
        "outcomes": dict(tally.outcomes),
        "invalid": sum(invalid.values()),
        "requests": {
            "sent": tally.sent,
            "adopted": tally.adopted,
            "refused_429": tally.total("refused"),
            "ambiguous": tally.ambiguous,
            "failed": sum(model.failures.total() for model in tally.models.values()),
            "asked_again": tally.total("asked_again"),
        },
        "tokens": {
            "input": tally.total("input_tokens"),
            "estimated_input": tally.total("estimated_input_tokens"),
            "output": tally.total("output_tokens"),
            "reasoning": tally.total("reasoning_tokens"),
            "reserved_output": tally.total("reserved_output_tokens"),
        },
        "cost_usd": round(tally.total("cost"), 6),
        "elapsed_s": round(tally.elapsed, 3),
        "waiting_s": {cause: round(seconds, 3) for cause, seconds in _longest_first(tally.waiting)},
        "least_possible_s": round(tally.least, 3),
        "sessions": tally.sessions,
        "sessions_cut_off": tally.sessions - tally.closed,
        "models": {
            name: _model(model, invalid.get(name, 0), ratios.get(name)) for name, model in sorted(tally.models.items())
        },
        "caps": _caps(tally, caps, limits),
        "placement": dict(placement),
        "limits": _limits(tally, limits),
        "notices": list(notices),
        "gateway": {"url": gateway, "local": local},
    }


def _model(model: ModelTally, invalid: int, ratio: float | None) -> dict[str, Any]:
    return {
        "requests": model.requests,
        "succeeded": model.succeeded,
        "errored": model.errored,
        "refused_429": model.refused,
        "failures": dict(model.failures),
        "outcomes": dict(model.outcomes),
        "invalid": invalid,
        "cut_short": model.cut_short,
        "asked_again": model.asked_again,
        "input_tokens": model.input_tokens,
        "estimated_input_tokens": model.estimated_input_tokens,
        "output_tokens": model.output_tokens,
        "reasoning_tokens": model.reasoning_tokens,
        "tokens_per_o200k_token": None if ratio is None else round(ratio, 4),
        "cost_usd": round(model.cost, 6),
        "latency_p50_s": model.latency.at(0.5),
        "latency_p95_s": model.latency.at(0.95),
    }


def _longest_first(seconds: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(seconds.items(), key=lambda part: -part[1])


def _caps(tally: Tally, caps: Mapping[str, Advice], limits: Iterable[Limit]) -> dict[str, Any]:
    """For models whose output is limited: the caps that were sent, and what their answers would have needed."""
    limited = {limit.scope for limit in limits if limit.measure in ("output", "total")}
    rows = {}
    for name, advice in sorted(caps.items()):
        model = tally.models.get(name)
        replies = model.latency.count if model else 0
        if model is None or not replies or not {name, ALL} & limited:
            continue
        sent = model.reserved_output_tokens / replies
        rows[name] = {
            "sent": round(sent),
            "answers": round(advice.mean),
            "enough": advice.cap,
            "cut_short": model.cut_short,
            "held_times": round(advice.times(sent), 2),
        }
    return rows


def _limits(tally: Tally, limits: Iterable[Limit]) -> list[dict[str, Any]]:
    """How much of each limit the run used, of what it could have used in its time."""
    rows = []
    for limit in limits:
        if limit.measure == "requests":
            continue
        spent = used(tally, limit)
        # A window's amount at the start of a session, and another after each window, is all that can be had.
        windows = max(1, tally.sessions) + int(tally.elapsed / limit.window)
        rows.append(
            {
                "scope": "all" if limit.scope == ALL else limit.scope,
                "measure": limit.measure,
                "limit": limit.amount,
                "window_s": limit.window,
                "used": spent,
                "used_share": round(spent / (limit.amount * windows), 4),
            }
        )
    return rows


def used(tally: Tally, limit: Limit) -> int:
    """What a run has taken of a limit in all its time."""
    models = tally.models.values() if limit.scope == ALL else [tally.models.get(limit.scope, ModelTally())]
    return sum(_measured(model, limit) for model in models)


def _measured(model: ModelTally, limit: Limit) -> int:
    if limit.measure == "requests":
        return model.requests
    if limit.measure == "total":
        return model.input_tokens + model.output_tokens
    return model.input_tokens if limit.measure == "input" else model.output_tokens
