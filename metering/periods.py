"""The calendar of budgets: hours, days, weeks and months of a time zone, as half-open spans of UTC that leave no gap."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

type PeriodKind = Literal["hour", "day", "week", "month"]
type Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

_MICROSECOND = timedelta(microseconds=1)
_WEEKDAYS: tuple[Weekday, ...] = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True)
class Period:
    """From `starts_at` (in it) to `ends_at` (no longer in it), aware UTC."""

    starts_at: datetime
    ends_at: datetime

    def __contains__(self, moment: datetime) -> bool:
        return self.starts_at <= moment < self.ends_at


def period_at(kind: PeriodKind, zone: ZoneInfo, at: datetime, *, week_start: Weekday = "monday") -> Period:
    """Return the period that `at` (aware) falls in; weeks begin on `week_start`.

    A period starts when the clock on the wall first reaches its start. So a night with an hour twice has a long hour, a midnight
    that does not exist is the moment the clock jumps over it, and a date that a zone skipped has no period.
    """
    at = at.astimezone(UTC)
    label = _floor(kind, at.astimezone(zone).replace(tzinfo=None), _WEEKDAYS.index(week_start))
    starts_at = _first_reached(label, zone)
    while (ends_at := _first_reached(_next(kind, label), zone)) <= at:  # the clock was set back after the next one had begun
        label, starts_at = _next(kind, label), ends_at
    return Period(starts_at, ends_at)


def _floor(kind: PeriodKind, wall: datetime, first: int) -> datetime:
    if kind == "hour":
        return wall.replace(minute=0, second=0, microsecond=0)
    day = wall.replace(hour=0, minute=0, second=0, microsecond=0)
    if kind == "week":
        return day - timedelta(days=(day.weekday() - first) % 7)
    return day.replace(day=1) if kind == "month" else day


def _next(kind: PeriodKind, label: datetime) -> datetime:
    if kind == "month":
        return (label + timedelta(days=31)).replace(day=1)
    return label + {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}[kind]


def _first_reached(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the first moment at which the clock on the wall of `zone` shows `wall` or later."""
    moment = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == wall:
        return moment
    # The wall clock jumped over it. PEP 495: fold 1 reckons with the offset after the jump (too early), fold 0 with the one before.
    early, late = wall.replace(tzinfo=zone, fold=1).astimezone(UTC), moment
    while late - early > _MICROSECOND:
        middle = early + (late - early) // 2
        if middle.astimezone(zone).replace(tzinfo=None) >= wall:
            late = middle
        else:
            early = middle
    return late
