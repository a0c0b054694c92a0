"""When a response asks to come back, in seconds from its arrival.

The grammar is narrow on purpose: a value that is not plainly a number or a date is ignored, since a wait invented from
garbage can stop a run for hours. There is no clock here: a date counts only from the response's own `Date`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from runner.core.values import Json

LONGEST = 86_400.0
"""One day: nobody means more, and what to do about a wait this long is not decided here."""

LONGEST_DATE = 64
"""Characters; an HTTP date has 29."""

_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
"""Not `float()`, which takes "1_000", "inf", "1e9" and Arabic digits."""


def from_headers(headers: Mapping[str, str]) -> float | None:
    """The wait that `retry-after-ms` or `retry-after` asks for; the finer one wins."""
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return _clamped(milliseconds / 1000)
    stated = headers.get("retry-after", "")
    seconds = _number(stated)
    if seconds is None:
        seconds = _between(headers.get("date", ""), stated)
    return _clamped(seconds)


def from_body(value: Json) -> float | None:
    """The wait that a field of a body states: a number of seconds, or text such as "42s"."""
    if isinstance(value, str):
        return _clamped(_number(value.strip().removesuffix("s")))
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        return None
    return _clamped(value)


def _number(text: str) -> float | None:
    text = text.strip(" \t")
    return float(text) if _NUMBER.fullmatch(text) else None


def _between(start: str, end: str) -> float | None:
    first, last = _date(start), _date(end)
    return None if first is None or last is None else (last - first).total_seconds()


def _date(text: str) -> datetime | None:
    if len(text) > LONGEST_DATE:
        return None
    try:
        date = parsedate_to_datetime(text)
        return date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _clamped(seconds: float | None) -> float | None:
    return None if seconds is None else min(max(float(min(seconds, LONGEST)), 0.0), LONGEST)
