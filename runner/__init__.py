"""Finish batches of LLM requests as fast as a gateway's token budgets allow, and lose nothing on the way.

import runner

finish = runner.run("packages.jsonl", prompt="Label this: {{ description }}", models="pick:cheap", gateway="local")
print(finish.summary["tasks"], finish.results())
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.api import plan, resume, run
    from runner.core.errors import RunnerError
    from runner.finishing import Finish
    from runner.planning import Plan
    from runner.scoring.scores import Score

_HOMES = {
    "run": "runner.api",
    "resume": "runner.api",
    "plan": "runner.api",
    "Finish": "runner.finishing",
    "Plan": "runner.planning",
    "RunnerError": "runner.core.errors",
    "Score": "runner.scoring.scores",
}
"""Where the public names live. They are imported when they are used, so that the command line starts quickly."""

__all__ = ["Finish", "Plan", "RunnerError", "Score", "plan", "resume", "run"]


def __getattr__(name: str) -> Any:
    """Import a public name."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'runner' has no attribute {name!r}")
