"""The time zone of this machine, as the cron daemon knows it: by the C library, whatever TZ or /etc/localtime hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo


class Local(tzinfo):
    """The local time zone with its changes; `datetime.astimezone()` alone would freeze the offset of one moment."""

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        """The offset of a local time; of the two passes of a double hour, `fold` says which."""
        return None if moment is None else moment.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, moment: datetime | None) -> timedelta | None:
        """Not known apart from the offset."""
        return None

    def tzname(self, moment: datetime | None) -> str | None:
        """The abbreviation."""
        return None if moment is None else moment.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, moment: datetime) -> datetime:
        """The local time of a moment in UTC."""
        stamp = moment.replace(tzinfo=UTC).timestamp()
        return datetime.fromtimestamp(stamp).replace(tzinfo=self)  # noqa: DTZ006 - the zone is put on just here


def now() -> datetime:
    """This moment, in the local time zone."""
    return datetime.now(Local())
