"""A forecast follows the pattern of the week, says how sure it is, and is not made from too little."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from metering.forecast import HOUR, Charged, Forecast, forecast
from metering.periods import Period, PeriodKind, period_at

UTC_ZONE = ZoneInfo("UTC")
MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
CENT = 10_000_000


def course(begin: datetime, end: datetime, amount: Callable[[datetime], int], *, calls: int = 5) -> list[Charged]:
    begin = begin.replace(minute=0)
    hours = [begin + number * HOUR for number in range((end - begin) // HOUR)]
    return [Charged(hour, amount(hour), calls) for hour in hours if amount(hour)]


def ahead(
    charged: list[Charged], now: datetime, *, kind: PeriodKind = "day", zone: ZoneInfo = UTC_ZONE, limit: int = 10**15
) -> Forecast | None:
    period = period_at(kind, zone, now)
    spent = sum(one.amount for one in charged if period.starts_at <= one.hour < now)
    return forecast(period=period, zone=zone, now=now, spent=spent, limit=limit, charged=charged)


def working_hours(zone: ZoneInfo) -> Callable[[datetime], int]:
    """A dollar an hour from 9 to 17 on working days."""

    def amount(hour: datetime) -> int:
        wall = hour.astimezone(zone)
        return 100 * CENT if wall.weekday() < 5 and 9 <= wall.hour < 17 else 0

    return amount


def test_with_little_history_the_pace_so_far_goes_on() -> None:
    now = MONDAY + timedelta(hours=12)

    found = ahead(course(MONDAY - 6 * HOUR, now, lambda _hour: CENT), now)

    assert found is not None
    assert (found.method, found.expected, found.observed_hours) == ("linear", 24 * CENT, 17)
    assert (found.low, found.high) == (24 * CENT, 24 * CENT)  # it never varied


@pytest.mark.parametrize("name", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_with_two_weeks_of_history_the_hours_of_the_week_tell(name: str) -> None:
    zone = ZoneInfo(name)
    now = datetime(2026, 11, 16, 10, 0, tzinfo=zone).astimezone(UTC)
    charged = course(now - timedelta(weeks=3), now, working_hours(zone))

    day, week, month = (ahead(charged, now, kind=kind, zone=zone) for kind in ("day", "week", "month"))

    assert day is not None
    assert week is not None
    assert month is not None
    assert day.method == "hour_of_week"
    assert day.expected == pytest.approx(800 * CENT, rel=0.07)
    assert week.expected == pytest.approx(4_000 * CENT, rel=0.02)
    assert month.expected == pytest.approx((5 + 5 + 5 + 5 + 1 - 5 + 0) * 800 * CENT, rel=0.35)


def test_a_weekend_is_not_taken_for_a_working_day() -> None:
    saturday = datetime(2026, 11, 21, 1, tzinfo=UTC)

    found = ahead(course(saturday - timedelta(weeks=4), saturday, working_hours(UTC_ZONE)), saturday, kind="day")

    assert found is not None
    assert (found.expected, found.low, found.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("begin", "calls", "reason"),
    [
        (timedelta(hours=3), 50, "the first hour was not seen whole, so two are left"),
        (timedelta(hours=12), 1, "too few calls"),
        (timedelta(hours=0), 5, "nothing at all"),
    ],
)
def test_from_too_little_nothing_is_told(begin: timedelta, calls: int, reason: str) -> None:
    now = MONDAY + timedelta(hours=12)

    assert ahead(course(now - begin, now, lambda _hour: CENT, calls=calls), now) is None, reason


def test_a_month_is_not_told_from_an_afternoon() -> None:
    now = datetime(2026, 11, 1, 12, tzinfo=UTC)
    charged = course(now - 10 * HOUR, now, lambda _hour: CENT, calls=100)

    assert ahead(charged, now, kind="month") is None
    assert ahead(charged, now, kind="day") is not None


def test_a_period_that_is_over_has_no_forecast() -> None:
    charged = course(MONDAY, MONDAY + 24 * HOUR, lambda _hour: CENT)
    period = Period(MONDAY, MONDAY + 12 * HOUR)

    assert forecast(period=period, zone=UTC_ZONE, now=MONDAY + 24 * HOUR, spent=0, limit=1, charged=charged) is None


def test_the_hour_under_way_counts_by_its_part() -> None:
    now = MONDAY + timedelta(hours=22, minutes=30)
    charged = course(MONDAY, MONDAY + 22 * HOUR, lambda _hour: 60)

    found = forecast(period=Period(MONDAY, MONDAY + 24 * HOUR), zone=UTC_ZONE, now=now, spent=22 * 60 + 30, limit=10**9, charged=charged)

    assert found is not None
    assert found.expected == 24 * 60


def test_the_moment_at_which_the_limit_is_reached() -> None:
    now = MONDAY + timedelta(hours=12)
    charged = course(MONDAY - 2 * HOUR, now, lambda _hour: 60)

    def reached(limit: int) -> datetime | None:
        found = ahead(charged, now, limit=limit)
        assert found is not None
        return found.exceeds_at

    assert reached(13 * 60) == now + HOUR
    assert reached(13 * 60 + 30) == now + timedelta(minutes=90)
    assert reached(24 * 60 + 1) is None
    assert reached(12 * 60) is None  # it is reached already


@pytest.mark.parametrize(("weeks", "kind"), [(0, "day"), (4, "day"), (4, "week"), (4, "month")])
@pytest.mark.untraced
def test_about_four_of_five_ends_lie_in_the_interval(weeks: int, kind: PeriodKind) -> None:
    chance, inside, told = random.Random(7), 0, 0
    for _ in range(250):
        now = MONDAY + timedelta(days=chance.randrange(28), hours=chance.randrange(8, 20))
        begin = now - (timedelta(weeks=weeks) or timedelta(hours=40)) - HOUR
        period = period_at(kind, UTC_ZONE, now)
        truth: dict[datetime, int] = {}
        for number in range((max(period.ends_at, now) - begin) // HOUR + 1):
            hour = begin + number * HOUR
            pattern = working_hours(UTC_ZONE)(hour) if weeks else 50 * CENT
            truth[hour] = max(0, round((pattern + 20 * CENT) * chance.gauss(1, 0.5)))
        charged = [Charged(hour, amount, 5) for hour, amount in truth.items() if hour < now]
        spent = sum(amount for hour, amount in truth.items() if period.starts_at <= hour < now)
        end = spent + sum(amount for hour, amount in truth.items() if now <= hour < period.ends_at)
        found = forecast(period=period, zone=UTC_ZONE, now=now, spent=spent, limit=10**15, charged=charged)
        if found is not None:
            told += 1
            inside += found.low <= end <= found.high

    assert told > 150
    assert 0.70 <= inside / told <= 0.92
