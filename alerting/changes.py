"""The changes of all alerts, one after another, as their history tells them: what a stream follows and where it goes on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from alerting.alert import COLUMNS, Alert, AlertAction, from_row
from storage.database import Database, Row
from storage.times import from_micros

RAISED = "raised"
"""What a change is called that only raised an alert's count; the history has no row of it."""

RAISE = """
INSERT INTO alert_raises (alert_seq, position) SELECT ?, COALESCE(MAX(position), 0) + 1 FROM alert_raises WHERE 1 = 1
ON CONFLICT (alert_seq) DO UPDATE SET position = excluded.position
"""
"""Note that an alert's count was raised; one row for each alert, so that many raises between two looks are one change."""

_LATEST = """
SELECT COALESCE((SELECT MAX(seq) FROM alert_history), 0), COALESCE((SELECT MAX(position) FROM alert_raises), 0)
"""
_ALERT = ", ".join(f"a.{column}" for column in COLUMNS.split(", "))
_HISTORY = f"""
SELECT h.seq, h.at, h.event, h.actor, h.feed, h.note, {_ALERT} FROM alert_history h JOIN alerts a ON a.seq = h.alert_seq
WHERE h.seq > ? ORDER BY h.seq LIMIT ?
"""  # noqa: S608  # only constants are put together
_RAISES = f"""
SELECT r.position, {_ALERT} FROM alert_raises r JOIN alerts a ON a.seq = r.alert_seq
WHERE r.position > ? ORDER BY r.position LIMIT ?
"""  # noqa: S608  # the same
_WRITTEN = re.compile(r"([0-9]{1,15})\.([0-9]{1,15})")


@dataclass(frozen=True, slots=True)
class Position:
    """How far the changes were read: the last row of the history, and the last raise. Both only ever grow."""

    history: int
    raises: int

    def __str__(self) -> str:
        return f"{self.history}.{self.raises}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Return what `str` wrote; `0` is the beginning. Raises ValueError."""
        match = _WRITTEN.fullmatch("0.0" if text == "0" else text)
        if not match:
            raise ValueError(f"{text[:40]!r} is no position: use the id of an event, or 0 for the beginning")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertChange:
    """One change: what, when, by whom; and the alert as it is now. `position` is where to go on after it."""

    position: Position
    event: str
    """As the history names it (`AlertAction`), or `raised`."""
    at: datetime
    actor: str | None
    feed: str | None
    note: str | None
    alert: Alert


class AlertChanges:
    """What changed after a position."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def latest(self) -> Position:
        """Return the position after all that has changed so far."""
        ((history, raises),) = cast("list[tuple[int, int]]", await self._database.read(_LATEST))
        return Position(history, raises)

    async def after(self, position: Position, *, limit: int) -> Sequence[AlertChange]:
        """Return the next changes, those of the history before raises; at most `limit` of each."""
        latest = await self.latest()
        changes: list[AlertChange] = []
        if latest.history > position.history:
            for row in await self._database.read(_HISTORY, (position.history, limit)):
                position = Position(cast("int", row[0]), position.raises)
                changes.append(_from_history(row, position))
        if latest.raises > position.raises:
            for row in await self._database.read(_RAISES, (position.raises, limit)):
                position = Position(position.history, cast("int", row[0]))
                changes.append(_from_raise(row, position))
        return changes


def _from_history(row: Row, position: Position) -> AlertChange:
    _seq, at, event, actor, feed, note = row[:6]
    return AlertChange(
        position=position,
        event=AlertAction(cast("str", event)).value,
        at=from_micros(cast("int", at)),
        actor=cast("str | None", actor),
        feed=cast("str | None", feed),
        note=cast("str | None", note),
        alert=from_row(row[6:]),
    )


def _from_raise(row: Row, position: Position) -> AlertChange:
    alert = from_row(row[1:])
    return AlertChange(position=position, event=RAISED, at=alert.last_seen_at, actor=None, feed=None, note=None, alert=alert)
