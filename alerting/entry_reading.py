"""Questions to the store of entries: pages of them, one of them, and the detections by themselves."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import cast

from alerting.entry import DETECTION_COLUMNS, ENTRY_COLUMNS, Detected, Entry, Members, detected, entry, members
from alerting.entry_answers import NoEntryError
from alerting.places import Place, place
from storage.database import Database, Row, Value
from storage.times import to_micros

type Clock = Callable[[], datetime]

PAGE = 1_000
"""Entries, or detections, in one answer."""
MOST_EVENTS = 1_000
"""Events that an answer shows of one entry: the latest. `detections` has all of them."""
_MOST_EVENTS_OF_A_PAGE = 20_000
_IDS_AT_ONCE = 200
_PLACES = 1_000
_NEVER = -1
"""Before every moment that a detection changed."""

_PAGE_OF_ENTRIES = f"SELECT {ENTRY_COLUMNS} FROM entries WHERE created_at > ? ORDER BY created_at LIMIT ?"  # noqa: S608  # only constants
_LATEST = f"SELECT {ENTRY_COLUMNS} FROM entries ORDER BY created_at DESC LIMIT ?"  # noqa: S608  # the same
_ENTRY = f"SELECT {ENTRY_COLUMNS} FROM entries WHERE id = ?"  # noqa: S608  # the same
_EVENTS = f"""
SELECT e.entry_id, {DETECTION_COLUMNS} FROM entry_events e JOIN detections d ON d.id = e.detection_id
WHERE e.entry_id IN (%s) ORDER BY e.entry_id, e.detected_at, e.detection_id
"""  # noqa: S608  # the same
_LATEST_EVENTS = f"""
SELECT e.entry_id, {DETECTION_COLUMNS} FROM entry_events e JOIN detections d ON d.id = e.detection_id
WHERE e.entry_id = ? ORDER BY e.detected_at DESC, e.detection_id DESC LIMIT ?
"""  # noqa: S608  # the same
_MEMBERS = """
SELECT e.entry_id, COUNT(*), COUNT(a.acknowledged_at), MAX(a.acknowledged_at), COUNT(a.dismissed_at), MAX(a.dismissed_at)
FROM entry_alerts e JOIN alerts a ON a.seq = e.alert_seq WHERE e.entry_id IN (%s) GROUP BY e.entry_id
"""
_DETECTIONS = f"SELECT {DETECTION_COLUMNS} FROM detections d WHERE d.detected_at > ? AND d.updated_at > ? "  # noqa: S608  # the same
_BY_TIME, _BY_CHANGE = "ORDER BY d.detected_at, d.id LIMIT ?", "ORDER BY d.updated_at LIMIT ?"
_SEEN = "SELECT name FROM places ORDER BY seen_at DESC, name LIMIT ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPage:
    """Some entries in the order in which they were made, and whether there are more."""

    entries: Sequence[Entry]
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionPage:
    """Some detections, and whether there are more."""

    detections: Sequence[Detected]
    more: bool


class EntryReader:
    """Answers from what is committed."""

    def __init__(self, database: Database, *, now: Clock) -> None:
        self._database = database
        self._now = now

    async def page(self, *, since: datetime) -> EntryPage:
        """Return the entries that were made after a moment, the first of them first."""
        rows = await self._database.read(_PAGE_OF_ENTRIES, (to_micros(since), PAGE + 1))
        shown = _within(rows[:PAGE])
        return EntryPage(entries=await self._entries(shown), more=len(shown) < len(rows))

    async def latest(self, *, limit: int) -> list[Entry]:
        """Return the entries that were made last, the latest first."""
        return await self._entries(await self._database.read(_LATEST, (limit,)))

    async def get(self, entry_id: str) -> Entry:
        """Return one entry. Raises NoEntryError."""
        rows = await self._database.read(_ENTRY, (entry_id,))
        if not rows:
            raise NoEntryError(entry_id)
        [found] = await self._entries(rows)
        return found

    async def detections(self, *, since: datetime, updated_at: datetime | None = None) -> DetectionPage:
        """Return detections made after a moment in the order of time; with `updated_at`, those changed after it in the order of changes.

        A page never ends between two of one moment, so that whoever goes on after its last one misses none.
        """
        order, column = (_BY_TIME, 4) if updated_at is None else (_BY_CHANGE, 5)
        params = (to_micros(since), _NEVER if updated_at is None else to_micros(updated_at))
        most = PAGE
        while True:
            rows = await self._database.read(_DETECTIONS + order, (*params, most + 1))
            shown = rows if len(rows) <= most else [row for row in rows if row[column] != rows[-1][column]]
            if shown or not rows:
                break
            most *= 2
        now = self._now()
        return DetectionPage(detections=[detected(row, now=now) for row in shown], more=len(shown) < len(rows))

    async def places(self) -> list[Place]:
        """Return the places that detections were made at, the latest first."""
        return [place(cast("str", row[0])) for row in await self._database.read(_SEEN, (_PLACES,))]

    # --- rows ----------------------------------------------------------------------------------------------------------

    async def _entries(self, rows: Sequence[Row]) -> list[Entry]:
        events = await self._events(rows)
        became = await self._members([row[0] for row in rows])
        nobody = Members()
        return [entry(row, events=events.get(row[0], ()), members=became.get(row[0], nobody)) for row in rows]

    async def _events(self, rows: Sequence[Row]) -> dict[Value, Sequence[Detected]]:
        few = [row[0] for row in rows if cast("int", row[6]) <= MOST_EVENTS]
        read = await self._of(_EVENTS, few)
        for row in rows:
            if cast("int", row[6]) > MOST_EVENTS:
                latest = await self._database.read(_LATEST_EVENTS, (row[0], MOST_EVENTS))
                read += reversed(latest)
        now = self._now()
        return {entry_id: [detected(row[1:], now=now) for row in group] for entry_id, group in groupby(read, key=lambda row: row[0])}

    async def _members(self, ids: Sequence[Value]) -> dict[Value, Members]:
        return {row[0]: members(row[1:]) for row in await self._of(_MEMBERS, ids)}

    async def _of(self, question: str, ids: Sequence[Value]) -> list[Row]:
        """Ask about many entries, some hundreds at a time."""
        rows: list[Row] = []
        for start in range(0, len(ids), _IDS_AT_ONCE):
            some = ids[start : start + _IDS_AT_ONCE]
            rows += await self._database.read(question % ", ".join("?" * len(some)), some)
        return rows


def _within(rows: Iterable[Row]) -> list[Row]:
    """Return the first of the rows, at least one, whose events fit one answer."""
    shown: list[Row] = []
    events = 0
    for row in rows:
        events += min(cast("int", row[6]), MOST_EVENTS)
        if shown and events > _MOST_EVENTS_OF_A_PAGE:
            break
        shown.append(row)
    return shown
