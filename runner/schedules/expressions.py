"""Cron expressions, as Debian's cron reads them: five fields or @daily and its like, checked before they are used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from runner.core.errors import UsageError

ALIASES: Mapping[str, str] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""Names for expressions; crontab(5)."""

FIELDS = (("minute", "0-59"), ("hour", "0-23"), ("day of month", "1-31"), ("month", "1-12"), ("day of week", "0-7"))
"""The fields, and what may stand in them."""

_VALUE = r"(?:\d+|[A-Za-z]{3})"
_PART = rf"(?:\*|{_VALUE}(?:-{_VALUE})?)(?:/\d+)?"
_FIELD = re.compile(rf"{_PART}(?:,{_PART})*", re.ASCII)
"""What the cron daemons read. CronSim knows L, LW and # too, which they do not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A cron expression that some moment satisfies."""

    text: str
    """Its five fields, with single blanks between them."""
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    """Of the month."""
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""
    both: bool
    """Whether day of month and day of week must both hold; else either is enough."""


def parse(text: str) -> Expression:
    """An expression from what a user wrote; raises UsageError that says which field is wrong, and how."""
    said = text.strip()
    if said.startswith("@"):
        if said.lower() == "@reboot":
            raise UsageError("@reboot names no time, so a run could not be named by it; give five fields.")
        if said.lower() not in ALIASES:
            raise UsageError(f"{said} is no schedule: there are {', '.join(ALIASES)}, or five fields.")
        said = ALIASES[said.lower()]
    parts = said.split()
    if len(parts) != len(FIELDS):
        names = ", ".join(name for name, _ in FIELDS)
        raise UsageError(f'"{said}" has {len(parts)} fields, and a schedule has 5: {names}; "0 2 * * *" is 2:00 daily.')
    for place, part in enumerate(parts):
        _check(place, part, said)
    try:
        found = CronSim(" ".join(parts), datetime.now(UTC))
        next(found)
    except (CronSimError, StopIteration):
        raise UsageError(f'"{said}" names no day that there ever is.') from None
    return Expression(
        text=" ".join(parts),
        minutes=frozenset(found.minutes),
        hours=frozenset(found.hours),
        days=frozenset(found.days),
        months=frozenset(found.months),
        weekdays=frozenset(day % 7 for day in found.weekdays if isinstance(day, int)),
        both=found.day_and,
    )


def _check(place: int, part: str, said: str) -> None:
    """Raise UsageError if a field alone is not right."""
    name, range_ = FIELDS[place]
    alone = ["*"] * len(FIELDS)
    alone[place] = part
    wrong = UsageError(
        f'"{said}": {part!r} is no {name}; that is {range_}, with lists, ranges and steps, as in 1-5,*/2.'
    )
    if not _FIELD.fullmatch(part):
        raise wrong
    try:
        CronSim(" ".join(alone), datetime(2024, 1, 1, tzinfo=UTC))
    except CronSimError:
        raise wrong from None
