"""Periods partition time in every zone: no gap, no overlap, whatever the clocks on the walls do."""

import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from metering.periods import Period, PeriodKind, Weekday, period_at

MICROSECOND = timedelta(microseconds=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "zone", "at", "starts_at", "ends_at"),
    [
        ("hour", "UTC", "2026-11-02T12:34", "2026-11-02T12:00", "2026-11-02T13:00"),
        ("hour", "Asia/Kolkata", "2026-11-02T12:34", "2026-11-02T12:30", "2026-11-02T13:30"),
        ("day", "UTC", "2026-11-02T00:00", "2026-11-02T00:00", "2026-11-03T00:00"),
        ("week", "UTC", "2026-11-01T23:59", "2026-10-26T00:00", "2026-11-02T00:00"),
        ("week", "America/New_York", "2026-11-02T04:00", "2026-10-26T04:00", "2026-11-02T05:00"),
        ("month", "UTC", "2028-02-29T12:00", "2028-02-01T00:00", "2028-03-01T00:00"),
        ("month", "UTC", "2026-12-31T23:59", "2026-12-01T00:00", "2027-01-01T00:00"),
        ("day", "Europe/Berlin", "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),  # 23 hours
        ("day", "Europe/Berlin", "2026-10-25T12:00", "2026-10-24T22:00", "2026-10-25T23:00"),  # 25 hours
        ("hour", "Europe/Berlin", "2026-10-25T01:30", "2026-10-25T00:00", "2026-10-25T02:00"),  # 2 o'clock twice: one long hour
        ("day", "Africa/Cairo", "2026-04-23T21:59", "2026-04-22T22:00", "2026-04-23T22:00"),
        ("day", "Africa/Cairo", "2026-04-23T22:00", "2026-04-23T22:00", "2026-04-24T21:00"),  # no midnight: the day begins at 1 o'clock
        ("day", "Pacific/Apia", "2011-12-30T09:59", "2011-12-29T10:00", "2011-12-30T10:00"),
        ("day", "Pacific/Apia", "2011-12-30T10:00", "2011-12-30T10:00", "2011-12-31T10:00"),  # the 30th was skipped
        ("day", "America/St_Johns", "2010-11-07T02:45", "2010-11-07T02:30", "2010-11-08T03:30"),  # midnight twice
        ("day", "America/Toronto", "1919-03-31T05:00", "1919-03-31T04:30", "1919-04-01T04:00"),  # 23:30 to 0:30
    ],
)
def test_a_moment_has_its_period(kind: PeriodKind, zone: str, at: str, starts_at: str, ends_at: str) -> None:
    assert period_at(kind, ZoneInfo(zone), utc(at)) == Period(utc(starts_at), utc(ends_at))


ZONES = sorted({
    "UTC", "Europe/Berlin", "Europe/London", "Africa/Cairo", "Africa/Casablanca", "America/New_York", "America/Sao_Paulo",
    "America/St_Johns", "America/Havana", "America/Asuncion", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tehran", "Asia/Gaza",
    "Asia/Beirut", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kwajalein", "Pacific/Chatham", "Antarctica/Troll",
})  # fmt: skip


def follow(kind: PeriodKind, zone: ZoneInfo, period: Period, until: datetime) -> int:
    """Walk from period to period, checking that each is where the one before ends, and that its last moment is its own."""
    count = 0
    while period.ends_at < until:
        after = period_at(kind, zone, period.ends_at)
        assert after.starts_at == period.ends_at < after.ends_at
        assert period_at(kind, zone, after.ends_at - MICROSECOND) == after
        period = after
        count += 1
    return count


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.untraced
def test_days_weeks_and_months_follow_each_other_through_the_years(zone: str) -> None:
    where, start = ZoneInfo(zone), utc("2009-12-31T12:00")

    assert follow("day", where, period_at("day", where, start), utc("2014-01-01")) > 1_400
    assert follow("week", where, period_at("week", where, start), utc("2027-01-01")) > 880
    assert follow("month", where, period_at("month", where, start), utc("2037-12-31")) > 330


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.untraced
def test_hours_follow_each_other_through_the_nights_of_a_year(zone: str) -> None:
    where = ZoneInfo(zone)
    for month in range(1, 13):  # clocks change in the days round the ends of months, mostly
        start = datetime(2011, month, 1, tzinfo=UTC) - timedelta(days=8)
        assert follow("hour", where, period_at("hour", where, start), start + timedelta(days=12)) > 280


def test_every_zone_has_a_period_now() -> None:
    at = utc("2026-11-02T12:00")
    for name in zoneinfo.available_timezones():
        for kind in ("hour", "day", "week", "month"):
            assert at in period_at(kind, ZoneInfo(name), at)


@pytest.mark.parametrize(
    ("first", "starts_at"),
    [("monday", "2026-10-26"), ("tuesday", "2026-10-27"), ("saturday", "2026-10-31"), ("sunday", "2026-11-01")],
)
def test_a_week_begins_on_the_day_that_is_asked_for(first: Weekday, starts_at: str) -> None:
    week = period_at("week", ZoneInfo("UTC"), utc("2026-11-01T12:00"), week_start=first)

    assert week == Period(utc(starts_at), utc(starts_at) + timedelta(days=7))


SINCE, UNTIL = utc("2011-01-01"), utc("2038-01-01")
STEP = timedelta(days=2)


def offsets(zone: ZoneInfo) -> tuple[timedelta | None, ...]:
    """Return how far a zone is from UTC, every other day."""
    return tuple((SINCE + number * STEP).astimezone(zone).utcoffset() for number in range((UNTIL - SINCE) // STEP))


def different_zones() -> dict[tuple[timedelta | None, ...], ZoneInfo]:
    """Return one zone of all whose clocks ever went differently in these years."""
    return {offsets(zone): zone for zone in map(ZoneInfo, sorted(zoneinfo.available_timezones()))}


def changes(zone: ZoneInfo, seen: tuple[timedelta | None, ...]) -> Iterator[datetime]:
    """Return the seconds at which the clocks of a zone are set."""
    for number in range(1, len(seen)):
        if seen[number - 1] == seen[number]:
            continue
        early, late = SINCE + (number - 1) * STEP, SINCE + number * STEP
        while late - early > timedelta(seconds=1):
            middle = early + (late - early) // 2
            if middle.astimezone(zone).utcoffset() == seen[number - 1]:
                early = middle
            else:
                late = middle
        yield late.replace(microsecond=0)


REACH: dict[PeriodKind, timedelta] = {
    "hour": timedelta(hours=3),
    "day": timedelta(days=2),
    "week": timedelta(days=8),
    "month": timedelta(days=32),
}


@pytest.mark.untraced
def test_at_every_change_of_the_clocks_of_every_zone_periods_leave_no_gap_and_do_not_overlap() -> None:
    checked = 0
    for seen, zone in different_zones().items():
        for change in changes(zone, seen):
            for kind, reach in REACH.items():
                follow(kind, zone, period_at(kind, zone, change - reach), change + reach)
                for moment in (change - MICROSECOND, change, change + MICROSECOND):
                    assert moment in period_at(kind, zone, moment)
            checked += 1

    assert checked > 2_000
