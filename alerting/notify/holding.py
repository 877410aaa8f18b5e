"""What silences and inhibition hold back: a delivery waits while its alert is held, and is dropped when the alert ends meanwhile."""

from enum import StrEnum
from functools import partial
from typing import cast

from alerting.alert import from_row
from alerting.listing import BY_SEQ
from alerting.suppression import Suppression, Suppressors
from storage.database import Database, Sql, Work

_HELD = "SELECT DISTINCT alert_seq FROM deliveries WHERE state IN ('held', 'dropped') AND state = 'held'"
_WAS_HELD = """
SELECT 1 FROM deliveries
WHERE alert_seq = ? AND state IN ('held', 'dropped') AND event = 'alert.created' AND channel = ? AND target = ? LIMIT 1
"""
_RELEASE = """
UPDATE deliveries SET state = 'pending', next_at = created_at, last_error = NULL
WHERE alert_seq = ? AND state IN ('held', 'dropped') AND state = 'held'
"""
_DROP = """
UPDATE deliveries SET state = 'dropped', last_error = 'the alert ended while it was held back'
WHERE alert_seq = ? AND state IN ('held', 'dropped') AND state = 'held'
"""


class Course(StrEnum):
    """What becomes of a delivery now."""

    SEND = "send"
    HOLD = "hold"
    DROP = "drop"
    """Whoever was not told of an alert's beginning is not told of its end."""


class Holding:
    """Says of each delivery whether it goes out now."""

    def __init__(self, database: Database, suppression: Suppression) -> None:
        self._database = database
        self._suppression = suppression

    async def course(self, seq: int, *, channel: str, target: str) -> tuple[Course, str]:
        """Return what becomes of a delivery about the alert `seq` to this target, and why."""
        verdict, why = await self._look(seq, await self._suppression.now())
        if verdict is Course.DROP:
            was_held = await self._database.read(_WAS_HELD, (seq, channel, target))
            return (Course.DROP, why) if was_held else (Course.SEND, "")
        return verdict, why

    async def release(self) -> None:
        """Send on what is held back no more; drop what is about alerts that ended meanwhile."""
        held = [cast("int", row[0]) for row in await self._database.read(_HELD)]
        if not held:
            return
        suppressors = await self._suppression.now()
        for seq in held:
            verdict, _why = await self._look(seq, suppressors)
            if verdict is not Course.HOLD:
                statement = Sql(_RELEASE if verdict is Course.SEND else _DROP, (seq,))
                await self._database.write(partial(_one, statement))

    async def _look(self, seq: int, suppressors: Suppressors) -> tuple[Course, str]:
        rows = await self._database.read(BY_SEQ, (seq,))
        alert = from_row(rows[0]) if rows else None
        if alert is None or alert.resolved_at is not None:
            return Course.DROP, "the alert ended while it was held back"
        held = suppressors.of(alert)
        if held.silenced_by:
            return Course.HOLD, f"held back by the silence {held.silenced_by[0]}"
        if held.inhibited_by:
            return Course.HOLD, f"held back by the alert {held.inhibited_by[0].id}, which says more"
        return Course.SEND, ""


def _one(statement: Sql) -> Work[None]:
    yield statement
