"""Where a budget will stand at the end of its period, from what it was charged by the hour.

With two weeks of history or more, each hour to come is expected to cost what the same hour of the week (on the budget's own clock)
cost on average over the last whole weeks, at most four. Before that the mean of all hours so far counts for every hour to come.

The interval holds the true end in about four of five cases, if days (with less than five days of history: hours) vary independently
of each other as they did so far: the variance of the sum of the blocks to come, and that of the mean they are expected by, with
Student's quantile. It is blind to what has not happened yet: a new program, a holiday.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from metering.periods import Period

type Rate = Callable[[datetime], float]

HOUR = timedelta(hours=1)
WINDOW = timedelta(weeks=4)
"""How far back a forecast looks."""
_WEEK_HOURS = 168
_DAY_HOURS = 24
_LEAST_WEEKS = 2
_LEAST_HOURS = 3
_LEAST_CHARGES = 20
_FARTHEST = 8
"""Nothing is said of a time to come that is more than so many times as long as what was observed."""
_DAYS_TELL_FROM = 5 * _DAY_HOURS
_TENTH = 1.2815515655446004
"""The quantile of the normal distribution that a tenth lies beyond."""


@dataclass(frozen=True, slots=True)
class Charged:
    """What a budget was charged in the hour (UTC) that begins at `hour`, in its unit, and by how many calls."""

    hour: datetime
    amount: int
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What will be spent when the period ends, if nothing is refused; `low` and `high` bound it in four of five cases."""

    method: Literal["hour_of_week", "linear"]
    expected: int
    low: int
    high: int
    exceeds_at: datetime | None
    """When the expected course reaches the limit; None: not in this period, or it has."""
    observed_hours: int


@dataclass(frozen=True, slots=True)
class _Basis:
    """The complete hours that a forecast stands on: `amounts` from `begin` on, one an hour, the newest last."""

    begin: datetime
    amounts: Sequence[int]

    def at(self, index: int) -> datetime:
        return self.begin + index * HOUR


def forecast(*, period: Period, zone: ZoneInfo, now: datetime, spent: int, limit: int, charged: Sequence[Charged]) -> Forecast | None:
    """Return the forecast, or None where too little is known to make one: fewer than 3 hours or 20 charges, or an end too far off."""
    basis = _basis(charged, now)
    if basis is None or not now < period.ends_at <= now + _FARTHEST * len(basis.amounts) * HOUR:
        return None
    weeks = len(basis.amounts) // _WEEK_HOURS
    if weeks >= _LEAST_WEEKS:
        basis = _newest(basis, weeks * _WEEK_HOURS)
        rate: Rate = _Pattern(basis, zone)
    else:
        weeks, mean = 0, sum(basis.amounts) / len(basis.amounts)
        rate = lambda _hour: mean  # noqa: E731 - as short as a function can be
    more, exceeds_at = _course(rate, now=now, until=period.ends_at, room=limit - spent)
    margin = _margin(basis, rate, hours=(period.ends_at - now) / HOUR, weeks=weeks)
    return Forecast(
        method="hour_of_week" if weeks else "linear",
        expected=spent + round(more),
        low=spent + round(max(0.0, more - margin)),
        high=spent + round(more + margin),
        exceeds_at=exceeds_at,
        observed_hours=len(basis.amounts),
    )


def _basis(charged: Sequence[Charged], now: datetime) -> _Basis | None:
    """Return the complete hours since the one of the first charge, which was not observed whole; None where they are too few."""
    end = now.replace(minute=0, second=0, microsecond=0)
    if not charged:
        return None
    begin = max(min(one.hour for one in charged) + HOUR, end - WINDOW)
    hours = (end - begin) // HOUR
    inside = [one for one in charged if begin <= one.hour < end]
    if hours < _LEAST_HOURS or sum(one.calls for one in inside) < _LEAST_CHARGES:
        return None
    amounts = [0] * hours
    for one in inside:
        amounts[(one.hour - begin) // HOUR] += one.amount
    return _Basis(begin, amounts)


def _newest(basis: _Basis, hours: int) -> _Basis:
    return _Basis(basis.at(len(basis.amounts) - hours), basis.amounts[-hours:])


class _Pattern:
    """The mean of each hour of the week."""

    def __init__(self, basis: _Basis, zone: ZoneInfo) -> None:
        self._zone = zone
        found: dict[tuple[int, int], list[int]] = {}
        for index, amount in enumerate(basis.amounts):
            found.setdefault(self._slot(basis.at(index)), []).append(amount)
        self._means: Mapping[tuple[int, int], float] = {slot: sum(amounts) / len(amounts) for slot, amounts in found.items()}

    def _slot(self, hour: datetime) -> tuple[int, int]:
        wall = hour.astimezone(self._zone)
        return wall.weekday(), wall.hour

    def __call__(self, hour: datetime) -> float:
        """Return what an hour is expected to cost. One that only the night of a clock change has was never seen: nothing."""
        return self._means.get(self._slot(hour), 0.0)


def _course(rate: Rate, *, now: datetime, until: datetime, room: int) -> tuple[float, datetime | None]:
    """Return what is expected from now on, and when it uses up the room that is left."""
    total, reached = 0.0, None
    while now < until:
        hour = now.replace(minute=0, second=0, microsecond=0)
        end = min(hour + HOUR, until)
        amount = rate(hour) * ((end - now) / HOUR)
        if reached is None and 0 < room <= total + amount:
            reached = now + (end - now) * ((room - total) / amount)
        total += amount
        now = end
    return total, reached


def _margin(basis: _Basis, rate: Rate, *, hours: float, weeks: int) -> float:
    """Return how far the truth may lie from what is expected of so many hours, on each side."""
    amounts = basis.amounts
    size = _DAY_HOURS if len(amounts) >= _DAYS_TELL_FROM else 1
    off = [amount - rate(basis.at(index)) for index, amount in enumerate(amounts)]
    newest_first = off[::-1]
    blocks = [sum(newest_first[start : start + size]) for start in range(0, len(off) - size + 1, size)]
    to_come = hours / size
    if weeks:  # each weekday has a mean of its own, of one day a week
        freedom = len(blocks) * (1 - 1 / weeks)
        doubt = max(1.0, to_come / 7) / weeks
    else:
        freedom = len(blocks) - 1.0
        doubt = to_come / len(blocks)
    variance = sum(block * block for block in blocks) / freedom
    quantile = _TENTH + (_TENTH**3 + _TENTH) / (4 * freedom)
    return float(quantile * (variance * to_come * (1 + doubt)) ** 0.5)
