"""Answers that a new run takes over from an earlier one, and errored tasks that are opened again.

Both are frames of the journal: `adopted` is an answer that another run has paid for, and `reopened` takes its outcome
from a task, so that it is asked again. What was there before stays in the journal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from runner.core.values import Kind, Status
from runner.core.work import Task
from runner.storage import journal
from runner.storage.history import UNASKABLE, read_history
from runner.storage.rundir import RunDirectory
from runner.storage.states import mind_the_journal

_KEPT = (
    "key",
    "model",
    "est",
    "cap",
    "latency",
    "pooled",
    "attempts",
    "outcome",
    "finish",
    "text",
    "calls",
    "version",
)


class Answers:
    """The answers of an earlier run, to be taken one by one: by what the row holds, and by the model that answered.

    Rows with the same content have one answer each, so that duplicates and another order change nothing.
    """

    def __init__(self, path: Path, slots: int) -> None:
        """Read a journal; raises StorageFailed if it is damaged."""
        self.path = path
        self._name = path.parent.resolve().name  # a person may have called it "."
        self.stronger: set[int] = set()
        """Where the answers of stronger models stand that have not been taken."""
        self._offsets: dict[tuple[str, str], list[int]] = {}
        self._history = history = read_history(path, slots)
        self.end = history.end
        """Where the last whole frame ends."""
        for frame in journal.read(path):
            payload = frame.payload
            if payload["t"] not in ("landed", "adopted") or payload.get("final") != Status.SUCCEEDED:
                continue
            if history.offset(payload["row"], payload["slot"]) == frame.offset:
                self._offsets.setdefault((payload["key"], payload["model"]), []).append(frame.offset)
                if payload.get("escalated"):
                    self.stronger.add(frame.offset)
        for offsets in self._offsets.values():
            offsets.reverse()  # so that the first rows take the first answers

    def take(self, file: BinaryIO, tasks: Iterable[Task]) -> Iterator[dict[str, Any]]:
        """Frames for those of the tasks that the earlier run has answered; `file` is its journal."""
        for task in tasks:
            found = next((one for name in task.models if (one := self._offsets.get((task.digest, name)))), None)
            if found:
                offset = found.pop()
                self.stronger.discard(offset)
                old = journal.read_at(file, offset)
                yield {
                    "t": "adopted",
                    "row": task.row,
                    "slot": task.slot,
                    "id": task.id,
                    "from": self._name,
                    "final": Status.SUCCEEDED,
                    "usage": old["usage"],
                    "cost": old["cost"],
                    **{name: old.get(name) for name in _KEPT},
                    "before": old.get("before") or dict(self._history.paid(old["row"], old["slot"])) or None,
                    **({"escalated": True} if task.escalated else {}),
                }


def take_over(path: Path, name: str, frames: Iterable[Mapping[str, Any]]) -> int:
    """Begin the journal of the run `name` with frames of an earlier one; how many they are."""
    book = journal.Journal(journal.DiskFile(path))
    book.append({"t": "header", "version": journal.VERSION, "run": name})
    count = 0
    for payload in frames:
        book.append(payload)
        count += 1
        if count % 1000 == 0:
            book.write()
    book.close()
    return count


def reopen_errored(directory: RunDirectory, slots: int, kinds: frozenset[Kind] | None) -> tuple[int, Counter[str]]:
    """Take the outcome from the tasks that errored, those with one of these kinds if any are named.

    Gives how many were reopened, and by kind how many stay errored. Raises StorageDamaged if answers are missing.
    """
    path = directory.journal_path
    history = read_history(path, slots)
    mind_the_journal(directory, history.end)
    if not path.exists():  # nothing was ever sent
        return 0, Counter()
    journal.cut_torn_tail(path, history.end)
    reopened: list[dict[str, Any]] = []
    left: Counter[str] = Counter()
    for frame in journal.read(path):
        payload = frame.payload
        if payload.get("final") != Status.ERRORED or history.offset(payload["row"], payload["slot"]) != frame.offset:
            continue
        kind = (payload.get("failure") or {}).get("kind", "")  # early journals have some without
        if kind in UNASKABLE or (kinds is not None and kind not in kinds):
            left[kind] += 1
            continue
        landed = payload["model"] if payload["t"] == "landed" else None
        again = {"t": "reopened", "row": payload["row"], "slot": payload["slot"], "landed": landed}
        reopened.append({**again, "escalated": True} if payload.get("escalated") else again)
    book = journal.Journal(journal.DiskFile(path), history.chain)
    for payload in reopened:
        book.append(payload)
    book.close()
    return len(reopened), left
