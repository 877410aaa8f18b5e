"""Hours of the day and days of the week in a time zone."""

import re
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
_SPAN = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)\s*-\s*([01]?\d|2[0-4]):([0-5]\d)")


def minutes_of(spans: Sequence[str]) -> frozenset[int]:
    """Return the minutes of the day that spans such as `09:00-17:00` cover, the last one excluded; `22:00-06:00` goes over midnight."""
    minutes: set[int] = set()
    for span in spans:
        match = _SPAN.fullmatch(span.strip())
        begin, end = _ends(match) if match else (-1, -1)
        if begin < 0 or begin == end:
            raise ValueError(f"{span!r} is not a span of the day: write '09:00-17:00', or '22:00-06:00' for one that goes over midnight")
        minutes.update(range(begin, end) if begin < end else (*range(begin, DAY_MINUTES), *range(end)))
    return frozenset(minutes)


def _ends(match: re.Match[str]) -> tuple[int, int]:
    begin_hour, begin_minute, end_hour, end_minute = map(int, match.groups())
    begin, end = begin_hour * 60 + begin_minute, end_hour * 60 + end_minute
    return (begin, end) if begin < DAY_MINUTES and end <= DAY_MINUTES else (-1, -1)


def days_of(names: Sequence[str]) -> frozenset[int]:
    """Return the days, Monday 0, that names such as `mon` and spans such as `mon-fri` mean; `sat-mon` goes over the week's end."""
    days: set[int] = set()
    for name in names:
        ends = [_day(part) for part in name.split("-")]
        if len(ends) > 2 or None in ends:
            raise ValueError(f"{name!r} is not a day of the week: write one of {', '.join(DAYS)}, or a span such as 'mon-fri'")
        first, last = ends[0] or 0, ends[-1] or 0
        days.update((first + step) % 7 for step in range((last - first) % 7 + 1))
    return frozenset(days)


def _day(name: str) -> int | None:
    short = name.strip().lower()
    return next((index for index, day in enumerate(DAYS) if len(short) >= 3 and _LONG[index].startswith(short) and short[:3] == day), None)


_LONG = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class Schedule:
    """The minutes of a week that a rule means, in its zone. `minutes` are minutes of the day, `days` count from Monday."""

    __slots__ = ("_latest", "days", "minutes", "zone")

    def __init__(self, *, minutes: frozenset[int], days: frozenset[int], zone: ZoneInfo) -> None:
        self.minutes = minutes
        self.days = days
        self.zone = zone
        self._latest: tuple[int, bool] = (-1, False)

    def __contains__(self, at: object) -> bool:
        if not isinstance(at, datetime):
            return False
        minute = int(at.timestamp() // 60)
        latest, inside = self._latest
        if minute != latest:
            inside = self._holds(at)
            self._latest = (minute, inside)
        return inside

    def _holds(self, at: datetime) -> bool:
        there = at.astimezone(self.zone)
        return there.weekday() in self.days and there.hour * 60 + there.minute in self.minutes
