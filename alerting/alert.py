"""An alert: one episode of the same finding, and what people did with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import cast

import orjson

from alerting.finding import AlertKind, Severity, Subject, Taken
from alerting.kinds import local_severity, local_type
from storage.database import Row, Value
from storage.times import from_micros

COLUMNS = (
    "seq, id, org_id, kind, severity, title, message, fingerprint, subject, action, evidence, metadata, occurrence_count, "
    "first_seen_at, last_seen_at, created_at, updated_at, viewed_at, acknowledged_at, acknowledged_by, dismissed_at, resolved_at, "
    "resolved_by, resolution, resolution_note, expires_at"
)
"""What `from_row` expects of a SELECT, in order."""


class Status(StrEnum):
    """Where an alert stands; derived from its moments, never stored."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class AlertAction(StrEnum):
    """One change of an alert, as its history names it."""

    OPENED = "opened"
    VIEWED = "viewed"
    ACKNOWLEDGED = "acknowledged"
    ACTED = "acted"
    DISMISSED = "dismissed"
    RESOLVED = "resolved"
    EXPIRED = "expired"
    CONDITION_CLEARED = "condition_cleared"


class Change(StrEnum):
    """What came of asking an alert to change."""

    DONE = "done"
    ALREADY = "already"
    """It stood so before: nothing was written."""
    RESOLVED = "resolved"
    """Resolved is final: it cannot be acknowledged any more."""
    MISSING = "missing"

    @property
    def found(self) -> bool:
        """Whether there is such an alert."""
        return self is not Change.MISSING


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One episode. `seq` is its number, `id` its UUIDv7; `evidence` are the numbers of its latest occurrence."""

    seq: int
    id: str
    org_id: str
    kind: AlertKind
    severity: Severity
    title: str
    message: str
    fingerprint: str
    subject: Subject
    action: Taken
    evidence: tuple[Mapping[str, str | int | float | bool | None], ...]
    metadata: Mapping[str, str | int | float | bool | None]
    occurrence_count: int
    first_seen_at: datetime
    last_seen_at: datetime
    created_at: datetime
    updated_at: datetime
    viewed_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    dismissed_at: datetime | None = None
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    resolution: str | None = None
    resolution_note: str | None = None
    expires_at: datetime | None = None

    @property
    def status(self) -> Status:
        """Open, acknowledged or resolved."""
        if self.resolved_at:
            return Status.RESOLVED
        return Status.ACKNOWLEDGED if self.acknowledged_at else Status.OPEN

    @property
    def local_id(self) -> str:
        """Its id in the local feed."""
        return f"alert_{self.seq}"

    @property
    def rules_id(self) -> str:
        """Its id in the rules feed."""
        return f"alert-{self.seq:03d}"

    @property
    def local_type(self) -> str | None:
        """Its type in the local feed; None: not shown there."""
        return local_type(self.kind, severity=self.severity, taken=self.action)

    @property
    def local_severity(self) -> str:
        """`critical` or `warning`."""
        return local_severity(self.kind, severity=self.severity, taken=self.action)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One change of an alert: when, what, who, through which feed."""

    at: datetime
    action: AlertAction
    actor: str
    feed: str | None
    note: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedAlert:
    """What became of findings when they were recorded."""

    seq: int
    id: str
    kind: AlertKind
    fingerprint: str
    occurrence_count: int
    is_new: bool
    """A new episode was opened."""
    is_muted: bool = False
    """Its episode was dismissed and has not been quiet since: only the count was raised."""


def _moment(value: Value) -> datetime | None:
    return None if value is None else from_micros(cast("int", value))


def _text(value: Value) -> str | None:
    return cast("str | None", value)


def from_row(row: Row) -> Alert:
    """Return the alert of a row of `COLUMNS`."""
    return Alert(
        seq=cast("int", row[0]),
        id=cast("str", row[1]),
        org_id=cast("str", row[2]),
        kind=AlertKind(cast("str", row[3])),
        severity=Severity(cast("str", row[4])),
        title=cast("str", row[5]),
        message=cast("str", row[6]),
        fingerprint=cast("str", row[7]),
        subject=Subject(**orjson.loads(cast("str", row[8]))),
        action=Taken(cast("str", row[9])),
        evidence=tuple(orjson.loads(cast("str", row[10]))),
        metadata=orjson.loads(cast("str", row[11])),
        occurrence_count=cast("int", row[12]),
        first_seen_at=from_micros(cast("int", row[13])),
        last_seen_at=from_micros(cast("int", row[14])),
        created_at=from_micros(cast("int", row[15])),
        updated_at=from_micros(cast("int", row[16])),
        viewed_at=_moment(row[17]),
        acknowledged_at=_moment(row[18]),
        acknowledged_by=_text(row[19]),
        dismissed_at=_moment(row[20]),
        resolved_at=_moment(row[21]),
        resolved_by=_text(row[22]),
        resolution=_text(row[23]),
        resolution_note=_text(row[24]),
        expires_at=_moment(row[25]),
    )
