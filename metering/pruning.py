"""Deleting what is older than it is kept, some rows at a time, so that no call waits for it."""

from datetime import datetime
from functools import partial

from metering.rollups import READ_ROLLED
from storage.database import Database, Sql, Work
from storage.ids import first_id
from storage.times import to_micros

_AT_ONCE = 500

_CALLS = (
    "DELETE FROM calls WHERE id IN (SELECT id FROM calls WHERE id < ? AND started_at < ? AND started_at < ? AND state <> 'intent' "
    "ORDER BY id LIMIT ?) RETURNING id"
)
_HISTORY = "DELETE FROM budget_history WHERE seq IN (SELECT seq FROM budget_history WHERE at < ? ORDER BY seq LIMIT ?) RETURNING seq"


def prune_work(*, before: datetime) -> Work[int]:
    """Delete some ended calls that began before a moment, and as much of the history of budgets; return how many of both."""
    moment = to_micros(before)
    ((rolled_until,),) = yield Sql(READ_ROLLED)
    calls = yield Sql(_CALLS, (first_id(before), moment, rolled_until, _AT_ONCE))
    history = yield Sql(_HISTORY, (moment, _AT_ONCE))
    return len(calls) + len(history)


async def prune(database: Database, *, before: datetime) -> int:
    """Delete calls that began before a moment, and the history of budgets from then; return how many rows. Their hourly sums stay."""
    deleted = 0
    while count := await database.write(partial(prune_work, before=before)):
        deleted += count
    return deleted
