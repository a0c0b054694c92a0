"""A run as the batch APIs show a batch: their words for its state, and an object that OpenAI's SDK reads.

Facts: OpenAI, "Batch" object of the API reference. `paused` is ours: those APIs cannot pause.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from runner.core.evaluating import JUDGE, PAIRWISE
from runner.storage import marks
from runner.storage.marks import Mark, Wish
from runner.storage.rundir import RunDirectory

ENDED = (0, 3, 10)
"""Exit codes of runs in which every task has its outcome; with 10 its gates do not hold."""
GOING = ("validating", "in_progress", "finalizing", "cancelling")
"""States in which a process works in the run."""
CAPS = 4
"""The exit code of a run that a cap has stopped."""
LOST = "The process that worked in the run is gone."


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a run's state follows from."""

    locked: bool
    """Whether a process works in it."""
    sent: int
    """Requests."""
    ended: int
    total: int | None
    """Tasks; None until the input has been looked over."""
    wish: Wish | None
    summary: Mapping[str, Any] | None
    """What the last session left when it ended; None if it left nothing."""
    judged: bool
    """Whether judges are asked about its answers."""

    @property
    def done(self) -> bool:
        """Whether every task has its outcome, and judges did not stop before their end."""
        left = self.judged and self.summary is not None and self.summary["exit_code"] not in ENDED
        return self.total is not None and self.ended >= self.total and not left

    @property
    def expired(self) -> bool:
        """Whether its deadline has stopped it."""
        said = self.summary
        return said is not None and said["exit_code"] == CAPS and str(said["reason"]).startswith("--deadline")


def word_of(facts: Facts) -> str:
    """The state of a run, in one word of the batch APIs."""
    mark = None if facts.wish is None else facts.wish.mark
    if facts.locked:
        if mark is Mark.CANCELLED:
            return "cancelling"
        if facts.done:
            return "finalizing"
        return "in_progress" if facts.sent or facts.ended else "validating"
    if facts.done:
        return "completed"
    if mark is not None:
        return str(mark)
    return "expired" if facts.expired else "failed"


def last_summary(directory: RunDirectory) -> dict[str, Any] | None:
    """The summary of the run's last session; None if that has not ended, or was killed."""
    if not directory.summary_path.is_file():
        return None
    summary = directory.read_json(directory.summary_path)
    return summary if _is_current(directory, summary) else None


def sealed(summary: Mapping[str, Any]) -> int | None:
    """How many bytes the journal had that a summary was made of; an early one does not say so."""
    length: int | None = summary.get("files", {}).get("journal", {}).get("bytes")
    return length


def _is_current(directory: RunDirectory, summary: Mapping[str, Any]) -> bool:
    """Whether nothing was journaled after a summary. Times tell little of it: a copy has its own."""
    length, journal = sealed(summary), directory.journal_path
    if length is not None:
        return directory.journal_bytes == length
    return not journal.exists() or journal.stat().st_mtime_ns <= directory.summary_path.stat().st_mtime_ns


def has_ended(directory: RunDirectory) -> bool:
    """Whether a run has come to its end, by what its last session left. Its journal is not read."""
    summary = last_summary(directory)
    return summary is not None and summary["exit_code"] in ENDED and not summary["tasks"]["open"]


def has_judges(manifest: Mapping[str, Any]) -> bool:
    """Whether judges are asked about a run's answers."""
    said = manifest["job"].get("evaluate") or {}
    return any(said.get(judge) for judge in (JUDGE, PAIRWISE))


def facts_of(directory: RunDirectory, manifest: Mapping[str, Any], sent: int, ended: int, total: int | None) -> Facts:
    """The facts of a run, its sums being known."""
    locked = directory.is_locked
    return Facts(
        locked=locked,
        sent=sent,
        ended=ended,
        total=total,
        wish=marks.read(directory),
        summary=None if locked else last_summary(directory),
        judged=has_judges(manifest),
    )


def batch(
    directory: RunDirectory, manifest: Mapping[str, Any], facts: Facts, counts: Mapping[str, int]
) -> dict[str, Any]:
    """The fields of OpenAI's object that a run has. `counts` are its tasks by status."""
    word = word_of(facts)
    created = created_at(manifest)
    deadline = manifest["job"]["caps"]["deadline"]
    left = _moment(directory.summary_path)
    wished = None if facts.wish is None else int(facts.wish.at)
    results = word not in GOING and directory.results_path.is_file()
    return {
        "id": manifest["run"],
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "input_file_id": manifest["input"]["path"],
        "completion_window": f"{deadline:g}s" if deadline else "unbounded",
        "status": word,
        "created_at": created,
        "expires_at": created + int(deadline) if deadline else None,
        "completed_at": left if word == "completed" else None,
        "failed_at": left if word == "failed" else None,
        "expired_at": left if word == "expired" else None,
        "cancelling_at": wished if word in ("cancelling", "cancelled") else None,
        "cancelled_at": (left or wished) if word == "cancelled" else None,
        "request_counts": {
            "total": facts.ended if facts.total is None else facts.total,
            "completed": counts["succeeded"],
            "failed": counts["errored"],
        },
        "output_file_id": str(directory.results_path) if results and counts["succeeded"] else None,
        "error_file_id": str(directory.errors_path) if results and counts["errored"] else None,
        "errors": _errors(facts) if word == "failed" else None,
    }


def created_at(manifest: Mapping[str, Any]) -> int:
    """When a run was begun, in seconds since the epoch."""
    return int(datetime.strptime(manifest["created"], "%Y-%m-%dT%H:%M:%S%z").timestamp())


def _errors(facts: Facts) -> dict[str, Any]:
    """Why a run stands still, as the batch APIs say it."""
    said = facts.summary
    code, message = ("killed", LOST) if said is None else (f"exit_{said['exit_code']}", said["reason"] or LOST)
    return {"object": "list", "data": [{"code": code, "message": message, "line": None, "param": None}]}


def _moment(path: Path) -> int | None:
    return int(path.stat().st_mtime) if path.exists() else None
