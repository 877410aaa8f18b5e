"""What each budget was charged by the hour: sums that outlive its history, for forecasts."""

from datetime import datetime
from typing import cast

from metering.forecast import Charged
from metering.rollups import HOUR_MICROS
from storage.database import Database, Sql, Work
from storage.times import from_micros, to_micros

_ROLLED = "COALESCE((SELECT CAST(value AS BIGINT) FROM meta WHERE name = 'budget_hours_until'), 0)"
_CHARGES = "event IN ('settle', 'charge_unknown')"
_LAST = f"SELECT {_ROLLED}, COALESCE(MAX(seq), 0) FROM budget_history"  # noqa: S608 - made of the constants above alone, as those below
_ADD = (
    f"INSERT INTO budget_hours (budget_id, hour, amount, calls) SELECT budget_id, at - at % {HOUR_MICROS}, SUM(amount), COUNT(*) "  # noqa: S608
    f"FROM budget_history WHERE seq > ? AND seq <= ? AND {_CHARGES} GROUP BY 1, 2 "
    "ON CONFLICT (budget_id, hour) DO UPDATE "
    "SET amount = budget_hours.amount + excluded.amount, calls = budget_hours.calls + excluded.calls"
)
_SET_ROLLED = "INSERT INTO meta (name, value) VALUES ('budget_hours_until', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_READ = (
    "SELECT hour, SUM(amount), SUM(calls) FROM (SELECT hour, amount, calls FROM budget_hours WHERE budget_id = ? AND hour >= ? "  # noqa: S608
    f"UNION ALL SELECT at - at % {HOUR_MICROS}, amount, 1 FROM budget_history WHERE seq > {_ROLLED} AND budget_id = ? AND at >= ? "
    f"AND {_CHARGES}) AS charged GROUP BY 1 ORDER BY 1"
)


def roll_work() -> Work[int]:
    """Add what the history of budgets has gained since the last time to their hours; return how many entries were looked at."""
    ((done, last),) = cast("list[tuple[int, int]]", (yield Sql(_LAST)))
    if last <= done:
        return 0
    yield Sql(_ADD, (done, last))
    yield Sql(_SET_ROLLED, (str(last),))
    return last - done


async def roll_up_budgets(database: Database) -> int:
    """Roll up the history of budgets. What is not rolled up yet, `charged` reads from the history."""
    return await database.write(roll_work)


async def charged(database: Database, budget_id: str, *, since: datetime) -> list[Charged]:
    """Return what a budget was charged in each hour since the one of `since`, the oldest first; hours of nothing are left out."""
    begin = to_micros(since.replace(minute=0, second=0, microsecond=0))
    rows = await database.read(_READ, (budget_id, begin, budget_id, begin))
    return [Charged(from_micros(hour), int(amount), int(calls)) for hour, amount, calls in cast("list[tuple[int, int, int]]", rows)]
