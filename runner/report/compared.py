"""What is printed of a comparison: the verdict, what it cost, and some of the rows gained and lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.report.safe import safe

MOST_PARTS = 20
"""Comparisons that are shown in full."""


def comparison_lines(found: Mapping[str, Any], changed: Sequence[Sequence[Mapping[str, Any]]], rows: int) -> list[str]:
    """The whole of it, as lines; `changed` has the rows of each comparison, of which `rows` are shown."""
    parts = found["comparisons"]
    by_model = parts[0]["a"] == parts[0]["b"] or found["a"]["model"] == found["b"]["model"]
    lines = [
        f"A: {_side(found['a'])}",
        f"B: {_side(found['b'])}",
        _paired(found),
        *(safe(one, 400) for one in found["notices"]),
    ]
    for part, lost_and_gained in list(zip(parts, changed, strict=True))[:MOST_PARTS]:
        lines += ["", *([f"{safe(part['b'], 60)}"] if by_model and part["a"] == part["b"] else [])]
        lines += [_sentence(part["sentence"]), _costs(part["costs"])]
        for change in ("lost", "gained"):
            lines += _rows(change, [row for row in lost_and_gained if row["change"] == change], rows)
    if len(parts) > MOST_PARTS:
        lines.append(f"  ({len(parts) - MOST_PARTS:,} more comparisons: --json has them all)")
    return [*lines, *_corrected(parts)]


def _side(side: Mapping[str, Any]) -> str:
    return safe(side["run"] if side["model"] is None else f"{side['run']}:{side['model']}", 200)


def _paired(found: Mapping[str, Any]) -> str:
    only = [
        f"{count:,} answers only in {name}"
        for name, count in (("A", found["only_in_a"]), ("B", found["only_in_b"]))
        if count
    ]
    rest = f"; {' and '.join(only)} left out" if only else ""
    by = "content" if found["paired_by"] == "content" else "id, because no row has the same content"
    return f"{found['metric']}, rows paired by their {by}{rest}"


def _sentence(text: str) -> str:
    text = safe(text, 600)
    return text[0].upper() + text[1:] if text.startswith("no difference") else text


def _costs(costs: Mapping[str, Mapping[str, float | None]]) -> str:
    def change(name: str, form: str) -> str:
        a, b = costs[name]["a"], costs[name]["b"]
        if a is None or b is None:
            return "unknown"
        return f"{a:{form}} -> {b:{form}}{_percent(a, b)}"

    return (
        f"  cost $ {change('cost_usd', '.4f')} · input tokens {change('input_tokens', ',.0f')} · "
        f"output tokens {change('output_tokens', ',.0f')} · median s {change('latency_s', '.2f')}"
    )


def _percent(a: float, b: float) -> str:
    """A change in percent, where that says something."""
    if not a or b > 10 * a:
        return ""
    change = round(100 * (b - a) / a)
    return f" ({change:+d} %)".replace("-", "−") if change else ""


def _rows(change: str, rows: Sequence[Mapping[str, Any]], most: int) -> list[str]:
    if not rows or not most:
        return []
    more = f", {most} of them" if len(rows) > most else ""
    lines = [f"  {len(rows):,} {'row' if len(rows) == 1 else 'rows'} {change}{more} (expected: A -> B)"]
    for row in rows[:most]:
        a, b = (safe(row[name] if row[name] is not None else "no answer", 28) for name in ("answer_a", "answer_b"))
        lines.append(f"    {safe(row['id'], 28):<28} {safe(row['expected'] or '', 24)}: {a} -> {b}")
    return lines


def _corrected(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is left of the differences once it is said how many were looked for."""
    shown = [part for part in parts if part["kind"] in ("better", "worse")]
    if len(parts) < 2 or not shown:
        return []
    kept = [part["b"] for part in shown if part["kind_corrected"] == part["kind"]]
    left = ", ".join(safe(name, 60) for name in kept) or "none"
    return ["", f"Of {len(parts)} comparisons some differ by chance alone; what Holm's correction leaves: {left}."]
