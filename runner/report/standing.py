"""Why a run stands as it does: what stopped it, or what its gates say of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.report.safe import safe, safe_lines


def why(state: Mapping[str, Any]) -> list[str]:
    """The lines that say it, of a run's status; none of one that goes, or has ended with nothing to say."""
    errors = [] if state["errors"] is None else state["errors"]["data"]
    reasons = [safe_lines(error["message"], 500) for error in errors]
    return reasons if state["gates"] is None else [*reasons, safe(state["gates"]["verdict"], 4000)]
