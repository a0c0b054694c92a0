"""What `runner budget` prints: the runs that share an account, and what each has used of every limit."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from runner.core.limits import ALL
from runner.report.safe import safe


def show(table: Mapping[str, Any]) -> None:
    """For people."""
    write = sys.stdout.write
    write(f"{safe(table['gateway'])}, with the token whose fingerprint is {safe(table['credential'])}\n")
    if not table["runs"]:
        write("No run spends from it now.\n")
        return
    write(f"\n{'run':<40} {'pid':>8}  {'priority':<8}  {'since':<24}  state\n")
    for run in table["runs"]:
        seen = run["state"] if run["seen_s_ago"] < 3 else f"{run['state']}, last seen {run['seen_s_ago']:g} s ago"
        write(f"{name(run['run']):<40} {run['pid']:>8}  {safe(run['priority'], 8):<8}  {run['since']:<24}  {seen}\n")
    known = {run["run"] for run in table["runs"]}
    for limit in table["limits"]:
        scope, _, measure = limit["limit"].rpartition("/")
        whose = "all models" if scope == ALL else safe(scope, 40)
        what = "requests" if measure == "requests" else f"{safe(measure, 10)} tokens"
        write(f"\n{what} in {limit['window_s']:g} s for {whose}: {part(limit['used'], limit['amount'])}\n")
        for run, used in sorted(limit["by"].items(), key=lambda item: -item[1]):
            ended = "" if run in known else " (ended)"
            write(f"  {name(run) + ended:<48} {part(used, limit['amount'])}\n")


def name(run: str) -> str:
    """A run by the name of its directory."""
    return safe(PurePath(run).name, 40)


def part(used: float, amount: float) -> str:
    """An amount of a limit, with what that is of it."""
    return f"{used:>12,.0f} of {amount:,.0f} ({used / amount:.0%})"
