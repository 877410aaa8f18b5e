"""Whatever calls come, however late they settle, usage alerts fire exactly as a naive sum over the ledger's rows says."""

import asyncio
import statistics
import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.call import Call, Ending, Endpoint
from metering.units import NANO
from storage.times import from_micros

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)

_ENDS = st.fixed_dictionaries(
    {
        "usd": st.sampled_from([None, 0.0, 0.1, 0.25, 1.0]),
        "status": st.sampled_from([None, 101, 200, 404, 500]),
        "ending": st.sampled_from([Ending.COMPLETED, Ending.COMPLETED, Ending.CUT, Ending.UPSTREAM_RESET]),
        "took": st.integers(0, 4000).map(lambda seconds: timedelta(milliseconds=seconds)),
    }
)
_REQUEST = st.fixed_dictionaries({"host": st.sampled_from(["a", "b"]), "endpoint": st.sampled_from([Endpoint.CHAT, Endpoint.IMAGES])})
_THRESHOLDS: dict[str, list[Any]] = {
    "cost_threshold": [0, 0.25, 1, 3],
    "error_rate": [0, 25, 50.5],
    "usage_spike": [0, 50, 300],
    "quota_limit": [25, 50, 100],
    "model_latency": [0, 1000, 2000.5],
    "unusual_activity": [None],
}
_PERIODS = st.sampled_from(["hour", "day", "week", "month"])


def _alert(kind: str) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(st.just("alert"), st.just(kind), st.sampled_from(_THRESHOLDS[kind]), _PERIODS)


_CALLS = st.tuples(st.just("calls"), st.integers(1, 12), st.integers(0, 9), _REQUEST, _ENDS)
_WEEKS_AGO = st.tuples(st.just("weeks ago"), st.integers(1, 9), st.integers(1, 4), _REQUEST, _ENDS)
_DAYS_AGO = st.tuples(st.just("days ago"), st.integers(1, 8), st.integers(1, 4), _REQUEST, _ENDS)
_BEFORE: st.SearchStrategy[list[Any]] = st.one_of(
    st.just([]),
    st.lists(_DAYS_AGO, min_size=4, max_size=8),
    st.tuples(_REQUEST, _ENDS).map(lambda more: [("weeks ago", number, 1 + number % 3, *more) for number in range(1, 6)]),
)
_THEN = st.lists(
    st.one_of(
        _CALLS,
        _CALLS,
        _CALLS,
        _WEEKS_AGO,
        _DAYS_AGO,
        st.sampled_from(sorted(_THRESHOLDS)).flatmap(_alert),
        st.tuples(st.just("open"), _REQUEST),
        st.tuples(st.just("close"), _ENDS),
        st.tuples(st.just("time"), st.sampled_from([1, 30, 61, 600, 1440, 10_080])),
        st.just(("look",)),
        st.just(("look",)),
        st.just(("roll up",)),
        st.just(("restart",)),
    ),
    min_size=6,
    max_size=30,
)
_STEPS = st.tuples(_BEFORE, st.tuples(*map(_alert, sorted(_THRESHOLDS))), _THEN).map(
    lambda parts: [step for part in parts for step in part]
)


@dataclass
class Model:
    """What should have fired: every bucket since an alert was made, summed anew from all rows."""

    alerts: list[Any] = field(default_factory=list[Any])
    fired: dict[tuple[str, datetime], float] = field(default_factory=dict)
    charges: list[tuple[datetime, int]] = field(default_factory=list)
    admitted: dict[str, datetime] = field(default_factory=dict)

    def admit(self, call: Call, at: datetime) -> None:
        self.admitted[call.id] = _start("day", at)

    def charge(self, call: Call, usd: float | None) -> None:
        self.charges.append((self.admitted[call.id], 1 if usd is None else round(usd * NANO)))

    def look(self, rows: list[Any], now: datetime) -> None:
        for alert in self.alerts:
            start = _start(alert.settings.period, alert.armed_at)
            while start <= now:
                end = _end(alert.settings.period, start)
                value = None if end <= alert.armed_at or (alert.id, start) in self.fired else self.value(alert, start, end, rows, now)
                if value is not None:
                    self.fired[alert.id, start] = value
                start = end

    def value(self, alert: Any, start: datetime, end: datetime, rows: list[Any], now: datetime) -> float | None:
        """Return what was measured, if it is beyond the threshold."""
        kind, limit = alert.type.value, alert.settings.threshold
        if kind == "unusual_activity":
            hours = [start + number * HOUR for number in range((end - start) // HOUR)]
            looked_at = [hour for hour in hours if hour + HOUR > alert.armed_at and hour <= now]
            return next((most for hour in looked_at if (most := _unusual(rows, hour)) is not None and most >= 3.5), None)
        if kind == "quota_limit":
            shares = self.shares(start, max(start, alert.armed_at), end, now)
            return max(shares) if shares and max(shares) >= limit else None
        value = _MEASURES[kind]([row for row in rows if start <= row["at"] < end], rows, start, alert.settings.period)
        return value if value is not None and value > limit else None

    def shares(self, start: datetime, after: datetime, end: datetime, now: datetime) -> list[float]:
        days = {
            day
            for day, _amount in self.charges
            if day < end and day + DAY > after and (day + DAY <= end or (day <= now < day + DAY and start <= now < end))
        }
        return [100 * sum(amount for of, amount in self.charges if of == day) / NANO for day in days]


def _start(period: str, at: datetime) -> datetime:
    hour = at.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    return {"hour": hour, "day": day, "week": day - day.weekday() * DAY, "month": day.replace(day=1)}[period]


def _end(period: str, start: datetime) -> datetime:
    month = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1) if period == "month" else start
    return {"hour": start + HOUR, "day": start + DAY, "week": start + WEEK, "month": month}[period]


def _cost(bucket: list[Any], *_more: Any) -> float | None:
    return sum(row["cost"] or 0 for row in bucket) / NANO


def _errors(bucket: list[Any], *_more: Any) -> float | None:
    failed = [row for row in bucket if (row["status"] or 0) >= 400 or row["ending"] == "upstream_reset"]
    return 100 * len(failed) / len(bucket) if len(bucket) >= 20 else None


def _latency(bucket: list[Any], *_more: Any) -> float | None:
    times = [row["took"] / 1000 for row in bucket if row["ending"] == "completed" and 200 <= (row["status"] or 0) < 400]
    return sum(times) / len(times) if len(times) >= 5 else None


def _spike(bucket: list[Any], rows: list[Any], start: datetime, period: str) -> float | None:
    before: list[int] = []
    first = min((row["at"] for row in rows), default=None)
    for _ in range(7):
        end, start = start, _start(period, start - timedelta(microseconds=1))
        if first is not None and end > _start("hour", first):
            before.append(sum(start <= row["at"] < end for row in rows))
    if sum(map(bool, before)) < 3:
        return None
    mean = sum(before) / len(before)
    return 100 * (len(bucket) - mean) / mean


def _unusual(rows: list[Any], hour: datetime) -> float | None:
    if not rows:
        return None
    first = _start("hour", min(row["at"] for row in rows))
    weeks = [hour - number * WEEK for number in range(1, 9) if hour - number * WEEK >= first]
    if len(weeks) < 4:
        return None
    scores: list[float] = []
    for measure, least in ((lambda of: sum(row["cost"] or 0 for row in of) / NANO, 0.01), (len, 1), (_endpoints, 1)):
        value, *before = [measure([row for row in rows if at <= row["at"] < at + HOUR]) for at in (hour, *weeks)]
        middle = statistics.median(before)
        deviations = [abs(each - middle) for each in before]
        spread = 1.4826 * statistics.median(deviations) or 1.2533 * statistics.fmean(deviations) or max(0.1 * middle, least)
        scores.append((value - middle) / spread)
    return round(max(scores), 6)


def _endpoints(rows: list[Any]) -> int:
    return len({row["to"] for row in rows})


_MEASURES = {"cost_threshold": _cost, "error_rate": _errors, "model_latency": _latency, "usage_spike": _spike}


async def _rows(desk: Any) -> list[dict[str, Any]]:
    columns = "started_at, cost_nano, status, ending, ended_at - started_at, host, endpoint"
    found = await desk.database.read(f"SELECT {columns} FROM calls WHERE state IN ('settled', 'unknown')")  # noqa: S608
    return [
        {"at": from_micros(at), "cost": cost, "status": status, "ending": ending, "took": took, "to": (host, endpoint)}
        for at, cost, status, ending, took, host, endpoint in found
    ]


@dataclass
class Play:
    """Does each step to the real thing, and tells the model."""

    desk: Any
    model: Model = field(default_factory=Model)
    opened: list[Call] = field(default_factory=list[Call])
    ancient: bool = False
    """Calls that began and ended long ago, which come by no other way than this test, were not looked at."""

    async def step(self, name: str, *more: Any) -> None:
        await getattr(self, name.replace(" ", "_"))(*more)

    async def alert(self, kind: str, threshold: float | None, period: str) -> None:
        self.model.alerts.append(await self.desk.alert(kind, threshold, period))

    async def calls(self, number: int, minutes: int, request: Any, ends: Any) -> None:
        await self._calls(number, timedelta(minutes=minutes), request, ends)

    async def weeks_ago(self, number: int, count: int, request: Any, ends: Any) -> None:
        self.ancient = True
        await self._calls(count, number * WEEK, request, ends)

    async def days_ago(self, number: int, count: int, request: Any, ends: Any) -> None:
        self.ancient = True
        await self._calls(count, number * DAY, request, ends)

    async def _calls(self, number: int, back: timedelta, request: Any, ends: Any) -> None:
        for _ in range(number):
            await self._begin(at=self.desk.clock() - back, **request)
            await self._end(self.opened.pop(), ends)

    async def open(self, request: Any) -> None:
        await self._begin(**request)

    async def close(self, ends: Any) -> None:
        if self.opened:
            await self._end(self.opened.pop(0), ends)

    async def _begin(self, **request: Any) -> None:
        call = await self.desk.begin(hold=1, **request)
        self.model.admit(call, self.desk.clock())
        self.opened.append(call)

    async def _end(self, call: Call, ends: Any) -> None:
        await self.desk.end(call, **ends)
        self.model.charge(call, ends["usd"])

    async def time(self, minutes: int) -> None:
        self.desk.clock.time += timedelta(minutes=minutes)

    async def roll_up(self) -> None:
        await self.desk.roll_up()

    async def look(self) -> None:
        await self.desk.look()
        self.model.look(await _rows(self.desk), self.desk.clock())
        self.ancient = False

    async def restart(self) -> None:
        if self.opened:
            return
        if self.ancient:
            await self.look()
        self.desk.start()
        await self.desk.alerts.load()


async def _live(desk: Any, steps: list[Any]) -> None:
    play = Play(desk)
    for step in steps:
        await play.step(*step)
    await play.look()

    rows = await desk.database.read("SELECT usage_alert_id, bucket, value FROM usage_triggers")
    assert {(key, from_micros(bucket)): pytest.approx(value) for key, bucket, value in rows} == play.model.fired
    assert len(await desk.book.list()) == len(play.model.fired)


async def _in_a_folder(desk_of: Any, budgets_of: Any, steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with desk_of(Path(folder), budgets=budgets_of({"name": "all", "limit": "1 USD", "on_exceed": "alert"})) as desk:
            await _live(desk, steps)


_MADE_ONCE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=6, deadline=None, suppress_health_check=_MADE_ONCE)
@given(steps=_STEPS)
def test_what_fires_is_what_a_naive_sum_over_the_rows_says(desk_of: Any, budgets_of: Any, steps: list[Any]) -> None:
    asyncio.run(_in_a_folder(desk_of, budgets_of, steps))


@pytest.mark.soak
@pytest.mark.timeout(900)
@settings(max_examples=300, deadline=None, suppress_health_check=_MADE_ONCE)
@given(steps=_STEPS)
def test_it_is_so_for_many_histories(desk_of: Any, budgets_of: Any, steps: list[Any]) -> None:
    asyncio.run(_in_a_folder(desk_of, budgets_of, steps))
