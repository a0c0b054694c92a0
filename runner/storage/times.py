"""Times to the nanosecond: as tables keep them, beside what Python's own hold, and as texts show them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from itertools import repeat
from typing import Any

import polars as pl

Exact = Mapping[str, Any]
"""A row's columns in which times are finer than Python's, with their nanoseconds in the place of these: since 1970,
since midnight, or of a duration."""


def is_finer(kind: Any) -> bool:
    """Whether a column's times are finer than Python's, which end at microseconds."""
    return kind == pl.Time or getattr(kind, "time_unit", None) == "ns"


def in_nanoseconds(kind: Any) -> Any:
    """A column's type, with whole numbers for times that are finer than Python's."""
    if is_finer(kind):
        return pl.Int64()
    match kind:
        case pl.List():
            return pl.List(in_nanoseconds(kind.inner))
        case pl.Array():
            return pl.Array(in_nanoseconds(kind.inner), kind.size)
        case pl.Struct():
            return pl.Struct({field.name: in_nanoseconds(field.dtype) for field in kind.fields})
        case _:
            return kind


def nanoseconds(chunk: pl.DataFrame, buffer: int) -> Iterator[Exact]:
    """The nanoseconds of each row of a chunk, so many rows at once."""
    kinds = {name: whole for name, kind in chunk.schema.items() if (whole := in_nanoseconds(kind)) != kind}
    if not kinds:
        return repeat({})
    return chunk[list(kinds)].cast(pl.Schema(kinds)).iter_rows(named=True, buffer_size=buffer)


def told(columns: Mapping[str, Any], found: Exact) -> Mapping[str, Any]:
    """A row's columns, with times that are texts to the nanosecond where they are finer than Python's."""
    finer = {name: exact for name, exact in found.items() if (exact % 1000 if isinstance(exact, int) else exact)}
    return {**columns, **{name: _told(columns[name], exact) for name, exact in finer.items()}} if finer else columns


def plain(value: object) -> str:
    """What JSON has no value for as a text: a moment or a time of day by ISO 8601."""
    return value.isoformat() if isinstance(value, dt.datetime | dt.time) else str(value)


def _told(value: Any, exact: Any) -> Any:
    if isinstance(exact, list):
        return list(map(_told, value, exact))
    if isinstance(exact, dict):
        return {name: _told(value[name], part) for name, part in exact.items()}
    is_time = isinstance(value, dt.datetime | dt.time | dt.timedelta)
    return _finer(value, exact) if is_time and isinstance(exact, int) and exact % 1000 else value


def _finer(value: dt.datetime | dt.time | dt.timedelta, ns: int) -> _Moment | _Clock | _Duration:
    made: _Moment | _Clock | _Duration
    if isinstance(value, dt.datetime):
        made = _Moment.combine(value.date(), value.timetz())
    elif isinstance(value, dt.time):
        made = _Clock(value.hour, value.minute, value.second, value.microsecond)
    else:
        made = _Duration(microseconds=ns // 1000)  # the library rounds those below zero up
    made.beyond = ns % 1000
    return made


class _Moment(dt.datetime):
    beyond = 0
    """Nanoseconds beyond the microsecond."""

    def isoformat(self, sep: str = "T", timespec: str = "auto") -> str:
        text = super().isoformat(sep, timespec)
        return _finely(text, self.beyond) if timespec == "auto" else text

    def __str__(self) -> str:
        return self.isoformat(" ")

    __repr__ = __str__  # of which digests of rows are made, here and below


class _Clock(dt.time):
    beyond = 0

    def isoformat(self, timespec: str = "auto") -> str:
        text = super().isoformat(timespec)
        return _finely(text, self.beyond) if timespec == "auto" else text

    def __str__(self) -> str:
        return self.isoformat()

    __repr__ = __str__


class _Duration(dt.timedelta):
    beyond = 0

    def __str__(self) -> str:
        return _finely(super().__str__(), self.beyond)

    __repr__ = __str__


def _finely(text: str, beyond: int) -> str:
    """A time as Python writes it, with so many nanoseconds more."""
    if not beyond:
        return text
    return _SECONDS.sub(lambda found: f"{found[1]}{found[2] or '.000000'}{beyond:03}", text, count=1)


_SECONDS = re.compile(r"(:\d\d:\d\d)(\.\d{6})?")
