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

FURTHEST = 900.0
"""Seconds: the furthest reset that is worth waiting for. A day's limit has one too."""

_RESET = re.compile(r"(x-|anthropic-)?ratelimit-(reset(-[a-z-]{1,40})?|[a-z-]{1,40}-reset)")
"""Both orders of words: `x-ratelimit-reset-tokens` and `anthropic-ratelimit-tokens-reset`."""

_T = re.compile(r";[ \t]*t=([0-9]{1,9})[ \t]*(?=[;,]|$)")
_SPAN = re.compile(
    r"(?:([0-9]{1,3})d)?(?:([0-9]{1,4})h)?(?:([0-9]{1,5})m)?(?:([0-9]{1,9}(?:\.[0-9]{1,9})?)s)?"
    r"(?:([0-9]{1,9}(?:\.[0-9]{1,9})?)ms)?"
)
"""Durations as Go writes them: "6m0s", "17ms"."""

_UNITS = (86_400.0, 3600.0, 60.0, 1.0, 0.001)
_MOMENT = re.compile(r"[0-9]{10}([0-9]{3})?")
"""So many digits are no wait: seconds or milliseconds since 1970."""

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


def from_resets(headers: Mapping[str, str]) -> float | None:
    """When limits are whole again, by headers that describe them: a hint, for where nobody said when to come back.

    The `t` of RateLimit (draft-ietf-httpapi-ratelimit-headers) goes first, then the latest reset among the limits of
    which nothing is left. What is further away than anybody waits for is no hint.
    """
    stated = _T.search(headers.get("ratelimit", ""))
    if stated is not None:
        waits = [_number(stated[1])]
    else:
        waits = [_until(value, headers.get("date", "")) for name, value in headers.items() if _is_spent(name, headers)]
    return max((wait for wait in waits if wait is not None and 0 < wait <= FURTHEST), default=None)


def _is_spent(name: str, headers: Mapping[str, str]) -> bool:
    """Whether a header is the reset of a limit that has nothing left, or does not say what it has."""
    left = headers.get(name.replace("reset", "remaining"), "0")
    return _RESET.fullmatch(name) is not None and _number(left) == 0


def _until(value: str, date: str) -> float | None:
    """The wait until a reset: in seconds, as a duration, or a moment, which counts from the response's own Date."""
    value = value.strip(" \t")
    if _MOMENT.fullmatch(value):
        return _between_moments(date, float(value[:10]))
    if (seconds := _number(value)) is not None:
        return seconds
    span = _SPAN.fullmatch(value)
    if span is not None and any(span.groups()):
        return sum(float(number) * unit for number, unit in zip(span.groups("0"), _UNITS, strict=True))
    try:
        return _between_moments(date, datetime.fromisoformat(value).timestamp()) if value[10:11] == "T" else None
    except (ValueError, OverflowError):
        return None


def _between_moments(date: str, moment: float) -> float | None:
    start = _date(date)
    return None if start is None else moment - start.timestamp()


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
