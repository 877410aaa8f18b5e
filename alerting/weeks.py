"""Whether a moment exists that the hours and weekdays of several rules mean, each in its own time zone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

from alerting.rule import schedule_of
from alerting.rule_settings import Match
from alerting.schedule import DAY_MINUTES, DAYS, Schedule

_WEEK = 7 * DAY_MINUTES
_ALL = (1 << _WEEK) - 1
_FIRST, _LAST, _STEP = datetime(2025, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC), timedelta(minutes=30)
"""The years in which zones are held against each other: their rules for summer time repeat."""


@dataclass(frozen=True, slots=True)
class Week:
    """Minutes of the week, from Monday's first on, as bits; on the wall of a time zone."""

    minutes: int
    zone: str


def week_of(match: Match) -> Week | None:
    """Return the minutes that a match means; None where it says nothing of them."""
    schedule = schedule_of(match)
    return None if schedule is None else Week(_bits(schedule), schedule.zone.key)


@lru_cache(maxsize=1_024)
def _bits_of(minutes: frozenset[int], days: frozenset[int]) -> int:
    day = sum(1 << minute for minute in minutes)
    return sum(day << number * DAY_MINUTES for number in days)


def _bits(schedule: Schedule) -> int:
    return _bits_of(schedule.minutes, schedule.days)


def a_moment(weeks: Sequence[tuple[Week, bool]]) -> str | None:
    """Return a moment, on the first one's wall, that lies in each week which is paired with True and in none of the others."""
    zones = tuple(dict.fromkeys(week.zone for week, _ in weeks))
    for offsets in _offsets(zones):
        shift = dict(zip(zones, offsets, strict=True))
        common = _ALL
        for week, inside in weeks:
            common &= _turned(week.minutes if inside else _ALL & ~week.minutes, -shift[week.zone])
        if common:
            minute = ((common & -common).bit_length() - 1 + offsets[0]) % _WEEK
            return f"{DAYS[minute // DAY_MINUTES]} {minute % DAY_MINUTES // 60:02}:{minute % 60:02} {zones[0]}"
    return None


def _turned(minutes: int, by: int) -> int:
    """Return the minutes of a week that are so many later, over the week's end."""
    by %= _WEEK
    return (minutes << by | minutes >> _WEEK - by) & _ALL


@cache
def _offsets(zones: tuple[str, ...]) -> tuple[tuple[int, ...], ...]:
    """Return each set of minutes by which the zones are ever ahead of UTC at the same time."""
    if len(zones) == 1:
        return ((0,),)  # by itself, each minute of a week is some time on a zone's wall
    known = list(map(ZoneInfo, zones))
    found: dict[tuple[int, ...], None] = {}
    at = _FIRST
    while at < _LAST:
        found[tuple(int((at.astimezone(zone).utcoffset() or timedelta()).total_seconds() // 60) for zone in known)] = None
        at += _STEP
    return tuple(found)
