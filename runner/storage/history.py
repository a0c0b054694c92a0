"""What a journal says of a run so far: which tasks have ended, where their last frames stand, and the sums."""

from __future__ import annotations

import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.core.errors import StorageFailed
from runner.core.tally import Tally
from runner.storage import journal


class History:
    """Grows by the same frames whether they are read back or just being written."""

    def __init__(self, slots: int) -> None:
        """`slots` is the most tasks that one row can make."""
        self.slots = slots
        self.tally = Tally()
        self.end = 0
        """Where the last whole frame ends."""
        self._offsets: array.array[int] = array.array("q")

    def add(self, payload: Mapping[str, Any], offset: int) -> None:
        """Take in one frame."""
        self.tally.add(payload)
        if payload.get("final"):
            position = payload["row"] * self.slots + payload["slot"]
            if position >= len(self._offsets):
                self._offsets.extend([-1] * (2 * position + 1024 - len(self._offsets)))
            if self._offsets[position] < 0:  # the first word on a task stands
                self._offsets[position] = offset

    def offset(self, row: int, slot: int) -> int:
        """Where the frame stands that ended a task, or -1."""
        position = row * self.slots + slot
        return self._offsets[position] if position < len(self._offsets) else -1

    def has_ended(self, row: int, slot: int) -> bool:
        """Whether a task has its outcome."""
        return self.offset(row, slot) >= 0


def read_history(path: Path, slots: int) -> History:
    """Read a journal through; raises StorageFailed if it is damaged or of a newer version."""
    history = History(slots)
    if not path.exists():
        return history
    for frame in journal.read(path):
        if frame.payload["t"] == "header" and frame.payload["version"] > journal.VERSION:
            raise StorageFailed(f"{path} was written by a newer runner (journal version {frame.payload['version']}).")
        history.add(frame.payload, frame.offset)
        history.end = frame.end
    return history
