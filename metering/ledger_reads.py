"""Reads of the ledger: its rows page by page, and its sums."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from types import MappingProxyType
from typing import cast

from metering.budget_view import BudgetView, budget_views
from metering.holds import BudgetState
from metering.ledger_rows import COLUMNS, LedgerRow
from metering.reconcile import CallOfDay
from metering.recorded import RECORDED_COLUMNS, Recorded
from metering.rollups import READ_ROLLED
from metering.spend import SpendBy, SpendRow, spend_query, spend_rows
from metering.spread import Spread
from storage.database import Database, Value
from storage.ids import first_id
from storage.times import to_micros

type Filters = Mapping[str, str | None]

_FILTERS = {
    "provider": "provider = ?",
    "model": "? IN (request_model, response_model)",
    "user": '"user" = ?',
    "verdict": "verdict = ?",
    "state": "state = ?",
    "service": "service = ?",
}


class LedgerReads:
    """What can be asked of a ledger without writing to it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def rows(  # noqa: PLR0913 - one filter a column
        self,
        *,
        after: str | None = None,
        since: datetime | None = None,
        limit: int = 100,
        newest_first: bool = False,
        provider: str | None = None,
        model: str | None = None,
        user: str | None = None,
        verdict: str | None = None,
        state: str | None = None,
        service: str | None = None,
    ) -> list[LedgerRow]:
        """Return a page of rows in the order in which the calls began; `after` is the id of the last row of the page before."""
        filters = {"provider": provider, "model": model, "user": user, "verdict": verdict, "state": state, "service": service}
        text, params = rows_query(after=after, since=since, limit=limit, newest_first=newest_first, filters=filters)
        return await self._read(text, params)

    async def recorded(self, *, after: str | None = None, since: datetime | None = None, limit: int = 100) -> list[Recorded]:
        """Return a page of rows with the steps that budgets saw, in the order in which the calls began."""
        text, params = rows_query(after=after, since=since, limit=limit, columns=RECORDED_COLUMNS)
        return [Recorded.from_row(row) for row in await self._database.read(text, params)]

    async def row(self, call_id: str) -> LedgerRow | None:
        """Return the row of one call."""
        found = await self._read(f"SELECT {COLUMNS} FROM calls WHERE id = ?", (call_id,))  # noqa: S608 - COLUMNS is a constant
        return found[0] if found else None

    async def spend(self, *, since: datetime, until: datetime | None = None, by: SpendBy) -> list[SpendRow]:
        """Return what was spent from `since` to before `until`, by day (UTC) or by name, dearest first."""
        return [row for _keys, row in await self.spend_by(since=since, until=until, by=(by,))]

    async def spend_by(
        self, *, since: datetime, until: datetime | None = None, by: Sequence[SpendBy], provider: str | None = None
    ) -> list[tuple[tuple[str | None, ...], SpendRow]]:
        """Return the same by several keys at once, each row with its keys."""
        text, params = spend_query(since=since, until=until, by=by, rolled_until=await self.rolled_until(), provider=provider)
        return spend_rows(await self._database.read(text, params), by=by)

    async def budget_views(self, states: Sequence[BudgetState], *, now: datetime) -> list[BudgetView]:
        """Return how budgets stand, with their forecasts."""
        return await budget_views(self._database, states, now=now)

    async def rolled_until(self) -> int:
        """Return up to where the hours are rolled up, in microseconds."""
        ((micros,),) = await self._database.read(READ_ROLLED)
        return int(micros or 0)

    async def calls_of_day(self, day: date, *, provider: str | None) -> list[CallOfDay]:
        """Return the calls of a day (UTC) that may have cost something, as far as their rows are kept."""
        start = datetime.combine(day, time(), UTC)
        end = start + timedelta(days=1)
        rows = await self._database.read(
            "SELECT id, COALESCE(response_model, request_model), source FROM calls WHERE id >= ? AND id < ? AND started_at >= ? "
            "AND started_at < ? AND COALESCE(source, '') <> 'none' AND provider = COALESCE(?, provider) ORDER BY id",
            (first_id(start), first_id(end + timedelta(minutes=2)), to_micros(start), to_micros(end), provider),
        )
        return [CallOfDay(*row) for row in cast("list[tuple[str, str | None, str | None]]", rows)]

    async def spreads(self, *, since: datetime) -> list[Spread]:
        """Return how far apart the least and the most of each provider's days (UTC) lie, from the day of `since` on."""
        begin = since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return [
            Spread(str(provider), date.fromisoformat(str(day)), row.floor_nano, row.ceiling_nano)
            for (day, provider), row in await self.spend_by(since=begin, by=("day", "provider"))
        ]

    async def jobs(self, *, limit: int) -> list[tuple[str, str]]:
        """Return provider and id of the last results that were charged, the oldest first."""
        rows = await self._database.read("SELECT provider, job FROM calls WHERE job IS NOT NULL ORDER BY id DESC LIMIT ?", (limit,))
        return [(str(provider), str(job)) for provider, job in reversed(rows)]

    async def _read(self, text: str, params: tuple[Value, ...]) -> list[LedgerRow]:
        return [LedgerRow.from_row(row) for row in await self._database.read(text, params)]


def rows_query(
    *,
    after: str | None,
    since: datetime | None,
    limit: int,
    newest_first: bool = False,
    filters: Filters = MappingProxyType({}),
    columns: str = COLUMNS,
) -> tuple[str, tuple[Value, ...]]:
    """Return the statement for a page of rows in the order in which the calls began; `after` is the id of the last row before it."""
    clauses: list[str] = []
    params: list[Value] = []
    if after is not None:
        clauses.append("id < ?" if newest_first else "id > ?")
        params.append(after)
    if since is not None:
        clauses.append("id >= ? AND started_at >= ?")
        params += [first_id(since), to_micros(since)]
    for name, value in filters.items():
        if value is not None:
            clauses.append(_FILTERS[name])
            params.append(value)
    where = f"WHERE {' AND '.join(clauses)} " if clauses else ""
    order = "DESC" if newest_first else "ASC"
    # Made of the constants of this module alone; what comes from outside is bound.
    text = f"SELECT {columns} FROM calls {where}ORDER BY id {order} LIMIT ?"  # noqa: S608
    return text, (*params, limit)
