"""What is printed when a run has ended, and what `plan` and `status` say."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from runner.report.columns import columns
from runner.report.counts import counted
from runner.report.durations import clock
from runner.report.evaluated import evaluation_lines, seconds
from runner.report.labelling import print_labels
from runner.report.poor import poor_answers
from runner.report.safe import safe, safe_json, safe_lines
from runner.report.waits import cap_lines, divided, limit_lines, time_line

if TYPE_CHECKING:
    from runner.finishing import Finish

RESUMABLE = (4, 5, 8, 9, 130, 143)
"""Exit codes of runs that can be gone on with."""
SHOWN = 5
"""Lines of a results table, and reasons why rows errored, that are shown."""
NO_ROWS = "The input has no rows: nothing was asked."


def print_finish(finish: Finish, *, quiet: bool, as_json: bool) -> None:
    """Say how a run ended: the summary on standard output."""
    if as_json:
        print_json({"run": str(finish.directory), **finish.summary})
    elif not quiet:
        for line in finish.said:
            sys.stdout.write(f"{line}\n")
        if finish.idle:
            sys.stdout.write("Nothing is left to do: every task has ended, and the tables are written.\n")
        print_summary(finish.directory, finish.summary)
    if "gates" in finish.summary and not as_json:
        sys.stdout.write(f"\n{safe(finish.summary['gates']['verdict'], 4000)}\n")
    if finish.is_empty:
        sys.stderr.write(f"note: {NO_ROWS}\n")
    if finish.ending.reason and not as_json:
        sys.stderr.write(f"runner: {safe_lines(finish.ending.reason, 500)}\n")
    if finish.ending.exit_code in RESUMABLE:
        sys.stderr.write(f"Go on with: {safe(finish.again, 2000)}\n")


def paragraph(finish: Finish) -> str:
    """How a run ended, in a few sentences that fit in a mail, the verdict of its gates among them."""
    tasks = finish.summary["tasks"]
    counts = ", ".join(f"{tasks[name]:,} {name}" for name in tasks if name != "total" and tasks[name])
    reason = safe(finish.ending.reason, 300).rstrip(".") if finish.ending.reason else ""
    code = finish.ending.exit_code
    said = f"runner: {finish.directory} ended with exit code {code}{f': {reason}' if reason else ''}. "
    said += f"{counted(tasks['total'], 'task')}: {counts or 'none'}."
    said += "".join(f" {line}." for line in poor_answers(finish.summary["models"]))
    if finish.is_empty:
        said += f" {NO_ROWS}"
    if "gates" in finish.summary:
        said += f" {safe(finish.summary['gates']['verdict'], 4000)}"
    return f"{said} Go on with: {finish.again}" if code in RESUMABLE else said


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on standard output."""
    sys.stdout.write(safe_json(value) + "\n")


def print_summary(directory: Path, summary: Mapping[str, Any]) -> None:
    """A summary for people."""
    tasks, requests, tokens = summary["tasks"], summary["requests"], summary["tokens"]
    counts = [f"{tasks[name]:,} {name}" for name in ("succeeded", "errored", "canceled", "expired") if tasks[name]]
    if tasks["open"]:
        counts.append(f"{tasks['open']:,} still open")
    write = sys.stdout.write
    write(f"{counted(tasks['total'], 'task')}: {', '.join(counts) or 'none'}")
    cut_off = summary.get("sessions_cut_off", 0)
    without = f" (without {counted(cut_off, 'session')} that broke off)" if cut_off else ""
    write(f"; {clock(summary['elapsed_s'])}{without}, ${summary['cost_usd']:.4f}\n")
    write(
        f"{counted(requests['sent'], 'request')}, {requests['refused_429']:,} refused with 429, "
        f"{requests['failed']:,} failed in all"
    )
    if requests["asked_again"]:
        write(f", {requests['asked_again']:,} asked again for an answer that can be read")
    if requests["ambiguous"]:
        write(f"; {requests['ambiguous']:,} perhaps billed without an answer")
    write(
        f"\n{tokens['input']:,} input tokens ({tokens['estimated_input']:,} estimated), "
        f"{tokens['output']:,} output tokens\n"
    )
    write("".join(f"{line}\n" for line in poor_answers(summary["models"])))
    if divided(summary["waiting_s"]):
        write(time_line(summary) + "\n")
    write("".join(f"{line}\n" for line in [*limit_lines(summary), *cap_lines(summary)]))
    if summary["models"]:
        write("\n" + model_table(summary) + "\n")
    if "labels" in summary:
        print_labels(directory, summary["labels"])
    if "evaluation" in summary:
        write("\n" + "\n".join(evaluation_lines(summary["evaluation"])) + "\n")
    write(f"\nResults: {safe(str(directory / 'results.parquet'), 1000)}\n")
    preview(directory / "results.parquet")
    if tasks["errored"]:
        write(f"Errors:  {safe(str(directory / 'errors.parquet'), 1000)}\n")
        show_errors(directory / "errors.parquet")


def model_table(summary: Mapping[str, Any]) -> str:
    """A line for each model."""
    lines = [("model", "tasks", "429", "input", "output", "cost $", "p50 s", "p95 s")]
    for name, model in summary["models"].items():
        p50, p95 = model["latency_p50_s"], model["latency_p95_s"]
        lines.append((
            safe(name, 32), f"{model['succeeded']:,}", f"{model['refused_429']:,}", f"{model['input_tokens']:,}",
            f"{model['output_tokens']:,}", f"{model['cost_usd']:.4f}", seconds(p50), seconds(p95),
        ))  # fmt: skip
    return "\n".join(columns(lines))


def preview(results: Path) -> None:
    """The first lines of a results table."""
    frame = (
        pl.scan_parquet(results, glob=False)
        .select("row", "id", "model", "status", "answer", "error_message")
        .head(SHOWN)
        .collect()
    )
    for line in frame.iter_rows(named=True):
        name, model = safe(line["id"], 24), safe(line["model"], 26)
        answer = safe(line["answer"] or line["error_message"] or "", 60)
        sys.stdout.write(f"  {line['row']:>5}  {name:<24} {model:<26} {line['status']:<10} {answer}\n")


def show_errors(errors: Path) -> None:
    """The commonest reasons, with an example of each."""
    frame = (
        pl.scan_parquet(errors, glob=False)
        .filter(pl.col("error_type").is_not_null())
        .group_by("error_type")
        .agg(pl.len().alias("rows"), pl.col("error_message").first())
        .sort("rows", "error_type", descending=[True, False])
        .head(SHOWN)
        .collect()
    )
    for line in frame.iter_rows(named=True):
        sys.stdout.write(
            f"  {line['rows']:>5,} x {safe(line['error_type'], 60)}: {safe(line['error_message'] or '', 160)}\n"
        )
