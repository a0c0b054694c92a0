"""What a journal says of a run so far: which tasks have ended, where their last frames stand, and the sums."""

from __future__ import annotations

import array
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from runner.core.errors import StorageFailed
from runner.core.limits import ALL
from runner.core.tally import Tally
from runner.core.values import Charge, Kind, Outcome
from runner.storage import journal


@dataclass(frozen=True, slots=True)
class Spent:
    """What one request took of its model's budget."""

    at: float
    """Wall clock time of its sending."""
    model: str
    charge: Charge


UNASKABLE = frozenset({Kind.BAD_ROW, Kind.NEVER_FITS})
"""Failures of rows that cannot be asked at all: asking again would end the same way."""

Paid = Mapping[str, float]
"""Tokens and USD, by their names in frames."""
NOWHERE = -1
"""In place of an offset: there is no frame."""
USED = ("input", "cached_input", "output", "reasoning")
"""Tokens of a reply."""


class Tried(NamedTuple):
    """What a task without an outcome has used of what it may use."""

    attempts: int = 0
    """Attempts that counted."""
    asked_again: int = 0
    """How often it was asked again because its answer could not be read."""


NOTHING_TRIED = Tried()
NOTHING_PAID: Paid = MappingProxyType({})


def paid_for(reply: Mapping[str, Any], before: Paid) -> Paid:
    """What a task's replies have cost: that of this frame, and those `before` it."""
    own = {"est": reply["est"], "cost": reply["cost"], **{name: reply["usage"][name] for name in USED}}
    return {name: value + before.get(name, 0) for name, value in own.items()}


class _Recent:
    """The spending of the last window, followed while frames are read."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._session = 0  # in each of them the sendings of a task are counted from 1
        self._spent: OrderedDict[tuple[int, ...], Spent] = OrderedDict()  # a dict forgets its first keys slowly

    def add(self, frame: Mapping[str, Any]) -> None:
        kind = frame["t"]
        self._session += kind == "session"
        if kind not in ("sent", "landed"):
            return
        key = (self._session, frame["row"], frame["slot"], frame["n"])
        if kind == "sent":
            self._spent[key] = Spent(frame["at"], frame["model"], Charge(1, frame["est"], frame["cap"]))
            while self._spent and next(iter(self._spent.values())).at < frame["at"] - self._window:
                self._spent.popitem(last=False)
        elif key in self._spent:
            spent, failure, usage = self._spent[key], frame.get("failure"), frame.get("usage")
            if usage is not None and usage["reported"]:
                self._spent[key] = replace(spent, charge=Charge(1, usage["input"], usage["output"]))
            elif failure is not None and not failure["ambiguous"]:
                self._spent[key] = replace(spent, charge=Charge(1, 0, 0))

    def __iter__(self) -> Iterator[Spent]:
        return iter(self._spent.values())


class History:
    """Grows by the same frames whether they are read back or just being written."""

    def __init__(self, slots: int) -> None:
        """`slots` is the most tasks that one row can make."""
        self.slots = slots
        self.tally = Tally()
        self.end = 0
        """Where the last whole frame ends."""
        self.chain = 0
        """Of the frames up to there."""
        self.recent: list[Spent] = []
        """What the last sessions spent within `window` of their end: a resume still has to reckon with it."""
        self.last = -1
        """The last row of the input that has an outcome."""
        self.shut: dict[str, float] = {}
        """Scope -> until when, by the wall clock, the gateway has said with a 429 not to come back."""
        self._tried: dict[int, Tried] = {}
        self._paid: dict[int, Paid] = {}
        self._offsets: array.array[int] = array.array("q")
        """By task: where its last frame stands, NOWHERE, or, of rows that cannot be asked, NOWHERE - 1 less that."""

    def add(self, payload: Mapping[str, Any], offset: int) -> None:
        """Take in one frame."""
        if payload["t"] == "landed":
            self._note_attempt(payload)
        if payload["t"] == "reopened":
            self._offsets[payload["row"] * self.slots + payload["slot"]] = NOWHERE
        elif payload.get("final"):
            position = payload["row"] * self.slots + payload["slot"]
            if position >= len(self._offsets):
                self._offsets.extend([NOWHERE] * (2 * position + 1024 - len(self._offsets)))
            if self._offsets[position] != NOWHERE:  # the first word on a task stands
                payload = {**payload, "final": None}
            else:
                is_unaskable = payload["t"] == "ended" and (payload.get("failure") or {}).get("kind") in UNASKABLE
                self._offsets[position] = NOWHERE - 1 - offset if is_unaskable else offset
                self.last = max(self.last, payload["row"])
        self.tally.add(payload)

    def _note_attempt(self, payload: Mapping[str, Any]) -> None:
        position, failure = payload["row"] * self.slots + payload["slot"], payload.get("failure")
        if payload.get("final"):
            self._tried.pop(position, None)
            if failure is None and "before" in payload:  # else it may be opened again, or the frame is early
                self._paid.pop(position, None)
            return
        before = self._tried.get(position, NOTHING_TRIED)
        if failure is None:
            self._paid[position] = paid_for(payload, self._paid.get(position, NOTHING_PAID))
            if payload["outcome"] == Outcome.OK:
                self._tried[position] = before._replace(asked_again=before.asked_again + 1)
            return
        if payload["attempts"] > before.attempts:
            self._tried[position] = before._replace(attempts=payload["attempts"])
        if failure["kind"] == Kind.RATE_LIMITED and (seconds := failure.get("retry_after")) is not None:
            scope = ALL if failure.get("scope") == "all" else payload["model"]
            self.shut[scope] = max(self.shut.get(scope, 0.0), payload["at"] + seconds)

    def tried(self, row: int, slot: int) -> Tried:
        """What a task without an outcome has used of its attempts, over all sessions and since it was last reopened.

        What was under way when a process died is not among them: nobody knows that it failed.
        """
        return self._tried.get(row * self.slots + slot, NOTHING_TRIED)

    def paid(self, row: int, slot: int) -> Paid:
        """What the replies to a task have cost that its last frame, if it has one, does not tell of."""
        return self._paid.get(row * self.slots + slot, NOTHING_PAID)

    def offset(self, row: int, slot: int) -> int:
        """Where the frame stands that ended a task, or NOWHERE."""
        position = row * self.slots + slot
        found = self._offsets[position] if position < len(self._offsets) else NOWHERE
        return found if found >= NOWHERE else NOWHERE - 1 - found

    def has_ended(self, row: int, slot: int) -> bool:
        """Whether a task has its outcome."""
        return self.offset(row, slot) != NOWHERE

    def is_unaskable(self, row: int) -> bool:
        """Whether a row could not be asked at all: it has one outcome, however many tasks it would have made."""
        position = row * self.slots
        return position < len(self._offsets) and self._offsets[position] < NOWHERE


def read_history(path: Path, slots: int, window: float = 0.0) -> History:
    """Read a journal through; raises StorageFailed if it is damaged or of a newer version.

    `window`, in seconds, is how far back spending is remembered.
    """
    history, recent = History(slots), _Recent(window)
    if not path.exists():
        return history
    for frame in journal.read(path):
        if frame.payload["t"] in ("header", "session") and frame.payload.get("version", 0) > journal.VERSION:
            raise StorageFailed(f"{path} was written by a newer runner (journal version {frame.payload['version']}).")
        history.add(frame.payload, frame.offset)
        history.end, history.chain = frame.end, frame.chain
        if window:
            recent.add(frame.payload)
    history.recent = list(recent)
    return history
