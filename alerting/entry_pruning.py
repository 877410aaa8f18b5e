"""Entries that outlived their time, and what is left of others' events."""

from datetime import datetime, timedelta

from storage.database import Many, Sql, Work
from storage.times import to_micros

_BATCH = 500
_LONGEST_WAIT = timedelta(days=8)
"""Longer than any window: nothing that waits so long comes to be enough."""

_OLD = "SELECT id FROM entries WHERE updated_at < ? ORDER BY updated_at LIMIT ?"
_OLD_EVENTS = "DELETE FROM entry_events WHERE detected_at < ? AND entry_id IN (SELECT id FROM entries WHERE first_event_at < ?)"


def prune(*, before: datetime, now: datetime) -> Work[int]:
    """Delete a batch of entries that nothing has touched since `before`, and of others the events from before; return how many entries."""
    moment = to_micros(before)
    rows = yield Sql(_OLD, (moment, _BATCH))
    ids = [(row[0],) for row in rows]
    for table, column in (("entry_events", "entry_id"), ("entry_alerts", "entry_id"), ("entries", "id")):
        yield Many(f"DELETE FROM {table} WHERE {column} = ?", ids)  # noqa: S608  # only constants are put together
    if not ids:
        yield Sql(_OLD_EVENTS, (moment, moment))
        yield Sql("DELETE FROM entry_waiting WHERE last_at < ?", (to_micros(now - _LONGEST_WAIT),))
        yield Sql("DELETE FROM entry_silences WHERE until_at < ?", (moment,))
        yield Sql("DELETE FROM places WHERE seen_at < ?", (moment,))
    return len(ids)
