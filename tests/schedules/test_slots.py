"""Which slot a moment belongs to, over both changes of the clock, and what is to be done about it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.errors import UsageError
from runner.schedules.expressions import ALIASES, parse
from runner.schedules.slots import Act, State, between, due, latest, name_of, slot_of
from runner.schedules.zone import Local

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
LORD_HOWE, CAIRO, APIA = ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Africa/Cairo"), ZoneInfo("Pacific/Apia")


def at(text: str, zone: ZoneInfo) -> datetime:
    """A moment: local time, or with an offset where local time would not say which."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=zone) if moment.tzinfo is None else moment.astimezone(zone)


# Expressions.


@pytest.mark.parametrize(("alias", "text"), ALIASES.items())
def test_names_of_schedules_are_accepted(alias: str, text: str) -> None:
    """They mean what crontab(5) says."""
    assert parse(alias) == parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has 0 fields"),
        ("0 2 * *", "has 4 fields, and a schedule has 5: minute, hour"),
        ("0 0 2 * * *", "has 6 fields"),
        ("60 2 * * *", "'60' is no minute; that is 0-59"),
        ("0 24 * * *", "'24' is no hour; that is 0-23"),
        ("0 2 0 * *", "'0' is no day of month"),
        ("0 2 * 13 *", "'13' is no month"),
        ("0 2 * * 8", "'8' is no day of week"),
        ("0 2 * * MOO", "'MOO' is no day of week"),
        ("0 2 L * *", "'L' is no day of month"),
        ("0 2 * * 5L", "'5L' is no day of week"),
        ("0 2 * * 1#2", "'1#2' is no day of week"),
        ("5-1 2 * * *", "'5-1' is no minute"),
        ("*/0 2 * * *", "'*/0' is no minute"),
        ("0 2 30 2 *", "names no day that there ever is"),
        ("0 2 31 4,6 *", "names no day that there ever is"),
        ("@reboot", "@reboot names no time"),
        ("@nightly", "@nightly is no schedule: there are @hourly, @daily"),
        ("0 2 * * *\n", None),
        ("0 2 * * 1-5,sun", None),
    ],
)
def test_a_wrong_schedule_is_refused_with_what_is_wrong(text: str, said: str | None) -> None:
    """Also what only some programs understand: a line that the daemon cannot read would never run."""
    if said is None:
        assert parse(text)
        return
    with pytest.raises(UsageError) as refused:
        parse(text)
    assert said in str(refused.value)


# The latest slot.

CASES = [
    # An ordinary night.
    ("0 2 * * *", BERLIN, "2026-11-24T02:00:00", "2026-11-24T0200+0100"),
    ("0 2 * * *", BERLIN, "2026-11-24T01:59:59", "2026-11-23T0200+0100"),
    ("0 2 * * *", BERLIN, "2026-11-24T23:00:00", "2026-11-24T0200+0100"),
    ("0 2 * * *", UTC, "2026-11-24T02:00:00.9", "2026-11-24T0200+0000"),
    # The missing hour, 2:00 to 3:00: right after it.
    ("30 2 * * *", BERLIN, "2026-03-29T01:59:00", "2026-03-28T0230+0100"),
    ("30 2 * * *", BERLIN, "2026-03-29T03:00:00", "2026-03-29T0300+0200"),
    ("30 2 * * *", BERLIN, "2026-03-29T03:30:00", "2026-03-29T0300+0200"),
    ("30 2 * * *", NEW_YORK, "2026-03-08T03:00:01", "2026-03-08T0300-0400"),
    ("0,30 2,3 * * *", BERLIN, "2026-03-29T03:10:00", "2026-03-29T0300+0200"),
    ("*/30 * * * *", BERLIN, "2026-03-29T03:10:00", "2026-03-29T0300+0200"),
    # The double hour, 2:00 to 3:00 twice: the first pass alone, but what goes by the hour runs in both.
    ("30 2 * * *", BERLIN, "2026-10-25T02:29:00+02:00", "2026-10-24T0230+0200"),
    ("30 2 * * *", BERLIN, "2026-10-25T02:30:00+02:00", "2026-10-25T0230+0200"),
    ("30 2 * * *", BERLIN, "2026-10-25T02:10:00+01:00", "2026-10-25T0230+0200"),
    ("30 2 * * *", BERLIN, "2026-10-25T02:30:00+01:00", "2026-10-25T0230+0200"),
    ("30 2 * * *", BERLIN, "2026-10-25T12:00:00+01:00", "2026-10-25T0230+0200"),
    ("30 1 * * *", NEW_YORK, "2026-11-01T01:30:00-05:00", "2026-11-01T0130-0400"),
    ("0 * * * *", BERLIN, "2026-10-25T02:00:00+02:00", "2026-10-25T0200+0200"),
    ("0 * * * *", BERLIN, "2026-10-25T02:00:00+01:00", "2026-10-25T0200+0100"),
    # Half an hour, midnight that does not exist, a day that does not exist.
    ("15 2 * * *", LORD_HOWE, "2026-10-04T02:30:00", "2026-10-04T0230+1100"),
    ("45 1 * * *", LORD_HOWE, "2026-04-05T01:50:00+10:30", "2026-04-05T0145+1100"),
    ("0 0 * * *", CAIRO, "2026-04-24T01:00:00", "2026-04-24T0100+0300"),
    ("0 2 * * *", APIA, "2011-12-31T01:00:00", "2011-12-31T0000+1400"),
    # Leap days, weekdays, and the two kinds of "and".
    ("0 2 29 2 *", BERLIN, "2026-11-24T12:00:00", "2024-02-29T0200+0100"),
    ("0 2 29 2 *", UTC, "2104-02-28T12:00:00", "2096-02-29T0200+0000"),
    ("0 2 * * 7", BERLIN, "2026-11-24T12:00:00", "2026-11-22T0200+0100"),
    ("0 2 1 * MON", BERLIN, "2026-11-24T12:00:00", "2026-11-23T0200+0100"),
    ("0 2 */2 * MON", BERLIN, "2026-11-25T12:00:00", "2026-11-23T0200+0100"),
]


@pytest.mark.parametrize(("text", "zone", "now", "name"), CASES)
def test_the_slot_of_a_moment(text: str, zone: ZoneInfo, now: str, name: str) -> None:
    """The last scheduled time that is not after it; a skipped time comes after the gap, a double one counts once."""
    assert name_of(latest(parse(text), at(now, zone))) == name


ZONES = [BERLIN, NEW_YORK, LORD_HOWE, CAIRO, UTC, ZoneInfo("Asia/Kathmandu"), ZoneInfo("America/Santiago")]
TEXTS = ["30 2 * * *", "0 0 * * *", "0,30 2,3 * * *", "15 */6 * * *", "59 23 * * 1-5", "10 1 1 * SUN", "20 * * * *"]


@settings(max_examples=150, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    text=st.sampled_from(TEXTS),
    minutes=st.integers(0, 2 * 365 * 24 * 60),
)
def test_looking_back_finds_what_looking_forward_gives(zone: ZoneInfo, text: str, minutes: int) -> None:
    """No slot lies between the one found and the moment, and the one found is one of the schedule's."""
    now = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    expression, now = parse(text), now.astimezone(zone)
    slot = latest(expression, now)
    assert slot.timestamp() <= now.timestamp()
    assert between(expression, slot, now) == []
    assert slot.timestamp() in {one.timestamp() for one in between(expression, slot - timedelta(days=40), now)} | {
        now.timestamp()
    }


@pytest.mark.parametrize("zone", ZONES, ids=str)
@pytest.mark.parametrize("text", ["30 2 * * *", "0 0 * * *"])
def test_a_year_has_every_night_once(zone: ZoneInfo, text: str) -> None:
    """Neither change of the clock takes a night away or gives one twice."""
    expression, end = parse(text), datetime(2027, 1, 1, tzinfo=zone)
    every = between(expression, datetime(2025, 12, 31, 23, 59, tzinfo=zone), end)
    assert len({name_of(slot) for slot in every}) == len(every) == 365
    moments = [datetime(2026, 1, 2, tzinfo=UTC) + timedelta(hours=29 * n) for n in range(300)]
    found = {name_of(latest(expression, moment.astimezone(zone))) for moment in moments}
    assert found <= {name_of(slot) for slot in every}


@pytest.mark.parametrize("zone", [zone for zone in ZONES if zone is not LORD_HOWE], ids=str)
def test_a_year_has_every_hour_once(zone: ZoneInfo) -> None:
    """What goes by the hour follows the time that passes; only clocks that change by half an hour are left out."""
    start, end = datetime(2026, 1, 1, tzinfo=zone), datetime(2027, 1, 1, tzinfo=zone)
    assert len({name_of(slot) for slot in between(parse("30 * * * *"), start, end)}) == 365 * 24


def test_the_local_zone_changes_its_clock_as_the_c_library_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """TZ may hold a name or a rule; both know the missing and the double hour."""
    try:
        for name in ("Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3"):
            monkeypatch.setenv("TZ", name)
            time.tzset()
            for text, zone, now, slot in CASES:
                if zone is BERLIN:
                    moment = at(now, BERLIN).astimezone(UTC).astimezone(Local())
                    assert name_of(latest(parse(text), moment)) == slot, (name, text, now)
    finally:
        monkeypatch.undo()
        time.tzset()


# Names.


@settings(deadline=None)
@given(st.integers(0, 2**32 // 60), st.sampled_from(ZONES))
def test_a_name_says_which_slot_it_is_of(minute: int, zone: ZoneInfo) -> None:
    """Also in a double hour, for the offset is in it."""
    slot = datetime.fromtimestamp(minute * 60, zone)
    found = slot_of(name_of(slot))
    assert found is not None
    assert found.timestamp() == slot.timestamp()


@pytest.mark.parametrize("name", ["", "lock", "log", "2026-11-24", "2026-11-24T0200", "20261124-020000-job", "x/../y"])
def test_other_names_are_of_no_slot(name: str) -> None:
    """What else lies in a job's folder is left alone."""
    assert slot_of(name) is None


# What is to be done.


def test_a_first_slot_has_missed_nothing() -> None:
    """Where there was no run, none is missing."""
    found = due(parse("@daily"), at("2026-11-24T00:00:01", BERLIN), {})
    assert (found.act, found.missed, found.unfinished) == (Act.START, (), ())


@pytest.mark.parametrize(
    ("state", "act"),
    [
        (State.FINISHED, Act.NOTHING),
        (State.UNFINISHED, Act.RESUME),
        (State.PAUSED, Act.NOTHING),
        (State.CANCELLED, Act.NOTHING),
    ],
)
def test_a_slot_that_has_a_run_gets_no_second_one(state: State, act: Act) -> None:
    """What is unfinished is gone on with; what a person stopped stays stopped."""
    assert due(parse("0 2 * * *"), at("2026-11-24T02:00:00", BERLIN), {"2026-11-24T0200+0100": state}).act is act


class Week:
    """Seven nights in virtual time: a daemon that fires by the schedule, and runs that take their time."""

    def __init__(self, text: str, zone: ZoneInfo) -> None:
        self.expression, self.zone = parse(text), zone
        self.runs: dict[str, State] = {}
        self.told: list[str] = []
        self.begun: list[str] = []
        self._busy_until = 0.0

    def fire(self, moment: datetime, hours: float, *, killed: bool = False) -> None:
        """Start what is due at a moment, for so long; as `runner run --slot-of ... --if-locked skip` does."""
        if moment.timestamp() < self._busy_until:
            self.told.append("skipped")
            return
        found = due(self.expression, moment, self.runs)
        if found.missed:
            self.told.append(f"missed {' '.join(map(name_of, found.missed))}")
        if found.act is Act.NOTHING:
            self.told.append("nothing to do")
            return
        self.begun.append(f"{found.act} {found.name}")
        self._busy_until = moment.timestamp() + hours * 3600
        self.runs[found.name] = State.UNFINISHED if killed else State.FINISHED


def nights(first: str, zone: ZoneInfo) -> Iterator[datetime]:
    """Half past two of seven nights, as cron fires them."""
    expression = parse("30 2 * * *")
    start = at(first, zone)
    yield from between(expression, start, start + timedelta(days=7, hours=12))


@pytest.mark.parametrize(
    ("zone", "first"),
    [(BERLIN, "2026-03-25T12:00:00"), (BERLIN, "2026-10-21T12:00:00"), (NEW_YORK, "2026-03-04T12:00:00"),
     (NEW_YORK, "2026-10-28T12:00:00"), (BERLIN, "2028-02-25T12:00:00")],
)  # fmt: skip
def test_a_week_with_an_overlap_a_missed_night_and_a_killed_run(zone: ZoneInfo, first: str) -> None:
    """Every night that the machine was on has one run, what was killed is gone on with, and what is missing is told."""
    week = Week("30 2 * * *", zone)
    times = list(nights(first, zone))
    names = [name_of(time) for time in times]
    week.fire(times[0], 1)
    week.fire(times[1], 1, killed=True)
    week.fire(times[1] + timedelta(hours=3), 1)  # started again by hand, in the afternoon or after a reboot
    week.fire(times[2], 30)  # runs into the next night
    week.fire(times[3], 1)
    week.fire(times[5], 1)  # the machine was off in night 4
    week.fire(times[6], 1)
    week.fire(times[6] + timedelta(hours=2), 1)  # the daemon fires twice, as in a double hour
    assert week.begun == [
        f"start {names[0]}",
        f"start {names[1]}",
        f"resume {names[1]}",
        f"start {names[2]}",
        f"start {names[5]}",
        f"start {names[6]}",
    ]
    assert week.told == ["skipped", f"missed {names[3]} {names[4]}", "nothing to do"]


def test_runs_that_were_left_unfinished_are_named() -> None:
    """A later slot does not hide that an earlier one never came to its end."""
    runs = {"2026-11-22T0200+0100": State.UNFINISHED, "2026-11-23T0200+0100": State.FINISHED, "log": State.FINISHED}
    found = due(parse("0 2 * * *"), at("2026-11-24T02:00:00", BERLIN), runs)
    assert found.unfinished == ("2026-11-22T0200+0100",)
    assert found.missed == ()
