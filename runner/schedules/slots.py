"""Slots: the scheduled times, by which runs are named, and what is to be done about one.

Nothing here reads a clock: moments are aware datetimes, in the time zone in which the schedule is meant. They are
compared by what they are in UTC, for two of the same zone would be compared by their faces.

Daylight saving time goes as in Debian's cron. A time that is skipped comes right after the gap, a time that comes twice
counts once; where minute or hour begin with a star, the schedule follows the time that passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cronsim import CronSim

from runner.core.errors import UsageError
from runner.schedules.expressions import Expression

FORM = "%Y-%m-%dT%H%M%z"
"""A slot's name. The offset tells the two passes of a double hour apart."""
MARGIN = timedelta(hours=26)
"""How far ahead of a moment the search for the slot before it begins: more than any clock was ever set forward."""
MOST_MISSED = 10_000
"""So many missed slots are counted, and no more."""


def latest(expression: Expression, now: datetime) -> datetime:
    """The last slot that is not after `now`. Raises UsageError if there was none in 50 years."""
    for slot in CronSim(expression.text, now + MARGIN, reverse=True):
        if slot.timestamp() <= now.timestamp():
            return slot
    raise UsageError(f'"{expression.text}" has not come in 50 years.')


def between(expression: Expression, after: datetime, before: datetime) -> list[datetime]:
    """The slots after one moment and before another, oldest first; MOST_MISSED of them at most."""
    found: list[datetime] = []
    # From a little earlier: counted from inside the second pass of a double hour, the first one would come again.
    for slot in CronSim(expression.text, after - MARGIN):
        stamp = slot.timestamp()
        if stamp >= before.timestamp() or len(found) == MOST_MISSED:
            break
        if stamp > (found[-1] if found else after).timestamp():
            found.append(slot)
    return found


def name_of(slot: datetime) -> str:
    """The name of a slot, and of its run's directory."""
    return slot.strftime(FORM)


def slot_of(name: str) -> datetime | None:
    """The slot that a name is of, None if it is of none."""
    try:
        slot = datetime.strptime(name, FORM)  # noqa: DTZ007 - the form has %z
    except ValueError:
        return None
    return slot if slot.tzinfo is not None and name_of(slot) == name else None


class State(StrEnum):
    """What is known of the run of a slot."""

    FINISHED = "finished"
    UNFINISHED = "unfinished"
    """It was killed, or stopped by a cap or a failure, or goes on at this moment."""
    PAUSED = "paused"
    CANCELLED = "cancelled"


class Act(StrEnum):
    """What is to be done about a slot."""

    START = "start"
    RESUME = "resume"
    NOTHING = "nothing"


ACTS: Mapping[State | None, Act] = {
    None: Act.START,
    State.UNFINISHED: Act.RESUME,
    State.FINISHED: Act.NOTHING,
    State.PAUSED: Act.NOTHING,
    State.CANCELLED: Act.NOTHING,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """The slot that a moment belongs to, and what is to be done."""

    slot: datetime
    act: Act
    missed: tuple[datetime, ...]
    """Slots since the last one that had a run, oldest first."""
    unfinished: tuple[str, ...]
    """Names of earlier slots whose runs did not come to their end."""

    @property
    def name(self) -> str:
        """Of the slot."""
        return name_of(self.slot)


def due(expression: Expression, now: datetime, runs: Mapping[str, State]) -> Due:
    """What `now` is to bring, given the runs that there are by the names of their slots."""
    slot = latest(expression, now)
    earlier = {name: at for name in runs if (at := slot_of(name)) and at.timestamp() < slot.timestamp()}
    last = max(earlier.values(), key=datetime.timestamp, default=None)
    return Due(
        slot=slot,
        act=ACTS[runs.get(name_of(slot))],
        missed=() if last is None else tuple(between(expression, last.astimezone(now.tzinfo), slot)),
        unfinished=tuple(name for name in _oldest_first(earlier) if runs[name] is State.UNFINISHED),
    )


def _oldest_first(names: Mapping[str, datetime]) -> Iterable[str]:
    return sorted(names, key=lambda name: names[name].timestamp())
