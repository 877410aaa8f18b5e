"""An entry: detections close to each other in time, at one place; and the detections themselves, as their feed shows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from alerting.places import Place, place
from storage.database import Row, Value
from storage.times import from_micros, to_micros

DETECTION_COLUMNS = "d.id, d.line, d.place, d.kind, d.detected_at, d.updated_at, d.duration, d.held_until, d.held"
ENTRY_COLUMNS = (
    "id, config_id, place, title, created_at, updated_at, event_count, viewed_at, acknowledged_at, acted_at, action_taken, "
    "root_cause_set_at, root_cause, dismissed_at"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """One detection. `duration` is from the request to the end of the answer, or the span that was looked at; None while a call runs."""

    id: str
    line: str
    place: Place
    label: str
    detected_at: datetime
    updated_at: datetime
    duration: timedelta | None
    downtime: timedelta
    """How long what was blocked or throttled has been held so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """What became of the alerts of an entry: when the last of them was acknowledged or dismissed; None while one is not."""

    acknowledged_at: datetime | None = None
    dismissed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry, and what people did with it or with all of its alerts."""

    id: str
    config_id: str
    place: Place
    title: str
    created_at: datetime
    updated_at: datetime
    event_count: int
    viewed_at: datetime | None
    acknowledged_at: datetime | None
    acted_at: datetime | None
    action_taken: str | None
    root_cause_set_at: datetime | None
    root_cause: str | None
    dismissed_at: datetime | None
    events: Sequence[Detected]


def detected(row: Row, *, now: datetime) -> Detected:
    """Return the detection of a row of `DETECTION_COLUMNS`."""
    detection_id, line, name, label, at, updated_at, duration, held_until, is_held = row
    until = cast("int", at if held_until is None else held_until)
    held = (min(until, to_micros(now)) if is_held else until) - cast("int", at)
    return Detected(
        id=cast("str", detection_id),
        line=cast("str", line),
        place=place(cast("str", name)),
        label=cast("str", label),
        detected_at=from_micros(cast("int", at)),
        updated_at=from_micros(cast("int", updated_at)),
        duration=None if duration is None else timedelta(microseconds=cast("int", duration)),
        downtime=timedelta(microseconds=max(0, held)),
    )


def entry(row: Row, *, events: Sequence[Detected], members: Members) -> Entry:
    """Return the entry of a row of `ENTRY_COLUMNS`."""
    acknowledged_at = _first(_moment(row[8]), members.acknowledged_at)
    dismissed_at = _first(_moment(row[13]), members.dismissed_at)
    return Entry(
        id=cast("str", row[0]),
        config_id=cast("str", row[1]),
        place=place(cast("str", row[2])),
        title=cast("str", row[3]),
        created_at=from_micros(cast("int", row[4])),
        updated_at=max(filter(None, (_moment(row[5]), acknowledged_at, dismissed_at))),
        event_count=cast("int", row[6]),
        viewed_at=_moment(row[7]),
        acknowledged_at=acknowledged_at,
        acted_at=_moment(row[9]),
        action_taken=cast("str | None", row[10]),
        root_cause_set_at=_moment(row[11]),
        root_cause=cast("str | None", row[12]),
        dismissed_at=dismissed_at,
        events=events,
    )


def members(row: Row) -> Members:
    """Return what became of an entry's alerts: how many there are, how many are acknowledged, the last, how many dismissed, the last."""
    alerts, acknowledged, acknowledged_at, dismissed, dismissed_at = row
    return Members(
        acknowledged_at=_moment(acknowledged_at) if acknowledged == alerts else None,
        dismissed_at=_moment(dismissed_at) if dismissed == alerts else None,
    )


def _moment(value: Value) -> datetime | None:
    return None if value is None else from_micros(cast("int", value))


def _first(one: datetime | None, other: datetime | None) -> datetime | None:
    return min(filter(None, (one, other)), default=None)
