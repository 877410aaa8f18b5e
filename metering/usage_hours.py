"""Calls by the hour, as usage alerts look at them: what is rolled up, and the rows of the hours that are not yet."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import cast

from metering.rollups import HOUR_MICROS, READ_ROLLED, ROW_ANSWER_SUMS, ROW_SUMS
from storage.database import Database, Row
from storage.ids import first_id
from storage.times import from_micros, to_micros

HOUR = timedelta(microseconds=HOUR_MICROS)


@dataclass(frozen=True, slots=True)
class HourSums:
    """What was sent and has ended, of one hour or several. Refused calls and the gateway's own are not in it."""

    calls: int = 0
    cost_nano: int = 0
    """As far as it is known: a call of unknown cost adds nothing here and one to `unknown_calls`."""
    unknown_calls: int = 0
    unknown_hold_nano: int = 0
    """What those may have come to at most."""
    error_calls: int = 0
    timed_calls: int = 0
    """Calls that were answered well and to their end."""
    timed_micros: int = 0
    """How long those took in all, from the request to the end of the answer."""

    def __add__(self, other: "HourSums") -> "HourSums":
        return HourSums(*(getattr(self, name) + getattr(other, name) for name in _NAMES))


_NAMES = tuple(field.name for field in fields(HourSums))
_SUMS = ", ".join(f"SUM({name})" for name in _NAMES)
_OTHERS = "provider <> 'tollwatch'"
_SENT = f"state NOT IN ('intent', 'refused') AND {_OTHERS}"
_MOMENT = f"started_at - started_at % {HOUR_MICROS}"
# All made of the constants above alone.
_BY_HOUR = (
    f"SELECT moment, {_SUMS} FROM ("  # noqa: S608
    f"SELECT hour AS moment, {', '.join(_NAMES)} FROM spend_hours WHERE hour >= ? AND hour < ? AND {_OTHERS} "
    f"UNION ALL SELECT {_MOMENT} AS moment, {', '.join(_NAMES)} "
    f"FROM (SELECT started_at, {ROW_SUMS}, {ROW_ANSWER_SUMS} FROM calls WHERE id >= ? AND started_at >= ? AND {_SENT}) AS ended"
    ") AS sent GROUP BY moment HAVING SUM(calls) > 0"
)
_ENDPOINTS = (
    "SELECT moment, COUNT(*) FROM ("  # noqa: S608
    "SELECT hour AS moment, host, endpoint FROM endpoint_hours WHERE hour >= ? AND hour < ? "
    f"UNION SELECT {_MOMENT} AS moment, host, endpoint FROM calls WHERE id >= ? AND started_at >= ? AND {_SENT}"
    ") AS seen GROUP BY moment"
)
_FIRST_HOUR = f"SELECT hour FROM spend_hours WHERE calls > 0 AND {_OTHERS} ORDER BY hour LIMIT 1"  # noqa: S608
_FIRST_CALL = f"SELECT {_MOMENT} FROM calls WHERE {_SENT} ORDER BY id LIMIT 1"  # noqa: S608
_OLDEST_OPEN = "SELECT MIN(started_at) FROM calls WHERE state = 'intent'"


async def sums_by_hour(database: Database, *, since: datetime) -> Mapping[datetime, HourSums]:
    """Return what was sent in each hour (UTC) from `since`, the beginning of one, on; hours without calls are left out."""
    rows = await database.read(_BY_HOUR, await _bounds(database, since))
    return await asyncio.to_thread(_sums_of, rows)  # of months they are thousands


def _sums_of(rows: Sequence[Row]) -> Mapping[datetime, HourSums]:
    return {from_micros(cast("int", row[0])): HourSums(*map(int, cast("tuple[int, ...]", row[1:]))) for row in rows}


async def endpoints_by_hour(database: Database, *, since: datetime) -> Mapping[datetime, int]:
    """Return to how many endpoints (a host, and what was asked of it) calls went in each hour (UTC) from `since` on."""
    rows = await database.read(_ENDPOINTS, await _bounds(database, since))
    return {from_micros(hour): int(count) for hour, count in cast("list[tuple[int, int]]", rows)}


async def first_hour(database: Database) -> datetime | None:
    """Return the hour of the first call that the ledger knows of; None when it knows of none."""
    rows = [*await database.read(_FIRST_HOUR), *await database.read(_FIRST_CALL)]
    return from_micros(min(cast("int", row[0]) for row in rows)) if rows else None


async def oldest_open(database: Database) -> datetime | None:
    """Return when the oldest call that is still open began."""
    ((moment,),) = await database.read(_OLDEST_OPEN)
    return None if moment is None else from_micros(cast("int", moment))


async def _bounds(database: Database, since: datetime) -> tuple[int, int, str, int]:
    """Return the hours to take rolled up, and from where on the rows. What is rolled up meanwhile is still in the rows."""
    ((rolled,),) = await database.read(READ_ROLLED)
    start = to_micros(since)
    rows_from = max(start, int(rolled or 0))
    return start, rows_from, first_id(from_micros(rows_from)), rows_from
