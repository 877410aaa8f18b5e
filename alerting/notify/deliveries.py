"""What became of deliveries: listed, counted, replayed, and forgotten in time."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import cast

from storage.audit import audit_row
from storage.database import Database, Row, Sql, Value, Work
from storage.times import from_micros, to_micros

type Clock = Callable[[], datetime]

KEPT_DELIVERED = timedelta(days=7)
KEPT_DEAD = timedelta(days=30)

_COLUMNS = "seq, event_id, event, target, alert_seq, state, attempts, created_at, next_at, last_at, last_status, last_error"
_LAST = f"SELECT {_COLUMNS} FROM deliveries WHERE channel = ? AND target = ? AND attempts > 0 ORDER BY seq DESC LIMIT 1"  # noqa: S608 - a constant
_COUNTS = "SELECT state, COUNT(*) FROM deliveries WHERE channel = ? AND target = ? GROUP BY state"
_REPLAY = """
UPDATE deliveries SET state = 'pending', attempts = 0, next_at = ?
WHERE channel = ? AND target = ? AND state IN ('dead', 'delivered', 'dropped')
"""
_PRUNE = """
DELETE FROM deliveries WHERE seq IN (
    SELECT seq FROM deliveries
    WHERE (state IN ('delivered', 'dropped') AND created_at < ?) OR (state = 'dead' AND created_at < ?) LIMIT 1000)
RETURNING seq
"""


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    """It waits for its first attempt or its next."""
    DELIVERED = "delivered"
    DEAD = "dead"
    """All attempts failed, or no further one could help: a person may replay it."""
    HELD = "held"
    """A silence or another alert holds it back."""
    DROPPED = "dropped"
    """Its alert ended while it was held back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptDelivery:
    """One delivery as the store has it, without its body."""

    seq: int
    event_id: str
    event: str
    target: str
    alert_seq: int | None
    state: DeliveryState
    attempts: int
    created_at: datetime
    next_at: datetime | None
    last_at: datetime | None
    last_status: int | None
    last_error: str | None


class Deliveries:
    """The deliveries of one channel."""

    def __init__(self, database: Database, *, channel: str, now: Clock) -> None:
        self._database = database
        self._channel = channel
        self._now = now

    async def page(self, target: str, *, state: DeliveryState | None = None, limit: int, after: int | None = None) -> list[KeptDelivery]:
        """Return the deliveries to a target, newest first; `after`: only those below this `seq`."""
        where = ["channel = ?", "target = ?"]
        bound: list[Value] = [self._channel, target]
        if state is not None:
            where.append("state = ?")
            bound.append(state.value)
        if after is not None:
            where.append("seq < ?")
            bound.append(after)
        text = f"SELECT {_COLUMNS} FROM deliveries WHERE {' AND '.join(where)} ORDER BY seq DESC LIMIT ?"  # noqa: S608 - values are bound
        return [_kept(row) for row in await self._database.read(text, (*bound, limit))]

    async def last(self, target: str) -> KeptDelivery | None:
        """Return the newest delivery to a target that was attempted."""
        rows = await self._database.read(_LAST, (self._channel, target))
        return _kept(rows[0]) if rows else None

    async def counts(self, target: str) -> dict[DeliveryState, int]:
        """Return how many deliveries to a target stand where."""
        rows = await self._database.read(_COUNTS, (self._channel, target))
        found = {DeliveryState(cast("str", state)): cast("int", number) for state, number in rows}
        return {state: found.get(state, 0) for state in DeliveryState}

    async def replay(self, target: str, *, seq: int | None = None, actor: str) -> int:
        """Send again: one delivery that is no longer under way, or (without `seq`) all dead letters of a target; return how many."""
        at = self._now()
        narrowed = " AND state = 'dead'" if seq is None else " AND seq = ?"
        params: list[Value] = [to_micros(at), self._channel, target]

        def work() -> Work[int]:
            rows = yield Sql(f"{_REPLAY}{narrowed} RETURNING seq", params if seq is None else [*params, seq])
            if rows:
                which = f"{len(rows)} dead letters" if seq is None else f"delivery {seq}"
                yield audit_row(at=at, actor=actor, action=f"{self._channel}.replayed", subject=target, detail=which)
            return len(rows)

        return await self._database.write(work)


async def prune_deliveries(database: Database, *, now: datetime) -> int:
    """Delete what was delivered a week ago, and dead letters after 30 days; return how many."""

    def work() -> Work[int]:
        return len((yield Sql(_PRUNE, (to_micros(now - KEPT_DELIVERED), to_micros(now - KEPT_DEAD)))))

    deleted = 0
    while batch := await database.write(work):
        deleted += batch
    return deleted


def _moment(value: Value) -> datetime | None:
    return None if value is None else from_micros(cast("int", value))


def _kept(row: Row) -> KeptDelivery:
    seq, event_id, event, target, alert_seq, state, attempts, created_at, next_at, last_at, status, error = row
    return KeptDelivery(
        seq=cast("int", seq),
        event_id=cast("str", event_id),
        event=cast("str", event),
        target=cast("str", target),
        alert_seq=cast("int | None", alert_seq),
        state=DeliveryState(cast("str", state)),
        attempts=cast("int", attempts),
        created_at=from_micros(cast("int", created_at)),
        next_at=_moment(next_at),
        last_at=_moment(last_at),
        last_status=cast("int | None", status),
        last_error=cast("str | None", error),
    )
