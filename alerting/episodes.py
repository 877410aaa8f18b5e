"""How findings become alerts in the store: one statement decides whether a finding is new, again, or muted."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import cast
from uuid import uuid4

import orjson

from alerting.alert import AlertAction, RecordedAlert
from alerting.changes import RAISE
from alerting.downtime import held_until
from alerting.finding import AlertKind, Occurrence, Subject
from alerting.fingerprint import fingerprint
from alerting.kinds import KINDS, Ends, local_type
from storage.database import Many, Sql, Value, Work
from storage.ids import uuid7
from storage.times import to_micros

TOGGLE_PREFIX = "toggle."
_MICROSECOND = timedelta(microseconds=1)
_OWN, _AFTER_OWN = ":;"
"""What stands between a fingerprint and that which makes it one event's own, and the sign after it."""
SYSTEM = "system"
"""The actor of what no person did."""

_RANK = "CASE {0}.severity WHEN 'critical' THEN 4 WHEN 'high' THEN 3 WHEN 'medium' THEN 2 ELSE 1 END"

_FORCE = "CASE {0}.action WHEN 'observed' THEN 1 WHEN 'alerted' THEN 2 ELSE 3 END"
"""What was done at most to a call of the episode: one that was blocked once stays one that blocked."""

_OPEN_OR_RAISE = f"""
INSERT INTO alerts (id, org_id, kind, severity, title, message, fingerprint, subject, action, evidence, metadata, occurrence_count,
                    first_seen_at, last_seen_at, created_at, updated_at, expires_at)
SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '{{}}', ?, ?, ?, ?, ?, ?
WHERE NOT EXISTS (SELECT 1 FROM alert_settings WHERE name = ? AND value = 'false')
  AND NOT EXISTS (SELECT 1 FROM alert_mutes WHERE fingerprint = ? AND (? = 1 OR quiet_since_at > ?))
ON CONFLICT (fingerprint) WHERE resolved_at IS NULL DO UPDATE SET
    occurrence_count = alerts.occurrence_count + excluded.occurrence_count,
    severity = CASE WHEN {_RANK.format("excluded")} > {_RANK.format("alerts")} THEN excluded.severity ELSE alerts.severity END,
    message = excluded.message,
    action = CASE WHEN {_FORCE.format("excluded")} >= {_FORCE.format("alerts")} THEN excluded.action ELSE alerts.action END,
    evidence = excluded.evidence,
    last_seen_at = CASE WHEN excluded.last_seen_at > alerts.last_seen_at THEN excluded.last_seen_at ELSE alerts.last_seen_at END,
    updated_at = excluded.updated_at
RETURNING seq, id, occurrence_count
"""  # noqa: S608  # only constants of this module are put together

_STILL_MUTED = """
UPDATE alert_mutes SET quiet_since_at = ?
WHERE fingerprint = ? AND (? = 1 OR quiet_since_at > ?)
  AND NOT EXISTS (SELECT 1 FROM alert_settings WHERE name = ? AND value = 'false')
RETURNING alert_seq
"""

_RAISE_DISMISSED = """
UPDATE alerts SET occurrence_count = occurrence_count + ?, last_seen_at = ?, updated_at = ? WHERE seq = ?
RETURNING id, occurrence_count
"""

_DETECTIONS = """
INSERT INTO detections (id, alert_seq, call_id, detected_at, action, message, evidence, duration, held_until, held, muted, due)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""

_LIFT = "UPDATE detections SET held_until = ? WHERE alert_seq = ? AND held = 1 AND held_until > ?"

_CLEAR = """
UPDATE alerts SET resolved_at = ?, resolved_by = ?, resolution = ?, updated_at = ?
WHERE resolved_at IS NULL AND fingerprint >= ? AND fingerprint < ? AND (fingerprint = ? OR fingerprint > ?)
RETURNING seq
"""
"""Ends what has a fingerprint or one of its own below it; in one range, for which the index of open episodes serves."""

HISTORY = "INSERT INTO alert_history (alert_seq, at, event, actor, feed, note) VALUES (?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Detection:
    """One finding, ready to be written under its alert."""

    id: str
    call_id: str | None
    at: int
    action: str
    message: str
    evidence: str
    duration: int | None
    held_until: int | None


@dataclass(slots=True)
class Group:
    """Findings of one episode that are written together."""

    fingerprint: str
    first_at: int
    latest: Occurrence
    count: int
    detections: list[Detection]


def detection(occurrence: Occurrence) -> Detection:
    """Return the row of one finding."""
    finding, until = occurrence.finding, held_until(occurrence)
    return Detection(
        id=str(uuid7(occurrence.at)),
        call_id=occurrence.call_id,
        at=to_micros(occurrence.at),
        action=occurrence.taken.value,
        message=finding.message,
        evidence=orjson.dumps(dict(finding.evidence)).decode(),
        duration=None if finding.window is None else finding.window // _MICROSECOND,
        held_until=None if until is None else to_micros(until),
    )


def identity(occurrence: Occurrence, *, merge: bool) -> str:
    """Return the fingerprint of a finding; where findings are not merged, each of an event kind gets one of its own below it."""
    base = fingerprint(occurrence.finding.kind, occurrence.finding.episode)
    if merge or KINDS[occurrence.finding.kind].ends is Ends.CONDITION:
        return base
    return f"{base}{_OWN}{uuid4().hex}"


def base_of(key: str) -> str:
    """Return the fingerprint without what makes it one event's own: what is dismissed, and what a condition ends, goes by this."""
    return key.partition(_OWN)[0]


def grouped(occurrences: Sequence[Occurrence], *, merge: bool) -> list[Group]:
    """Return the findings by episode, in the order in which the episodes first appear; silent ones are left out."""
    groups: dict[str, Group] = {}
    for occurrence in occurrences:
        if not occurrence.finding.silent:
            add(groups, occurrence, identity(occurrence, merge=merge))
    return list(groups.values())


def add(groups: dict[str, Group], occurrence: Occurrence, key: str) -> None:
    """Count one finding into its group."""
    row = detection(occurrence)
    if group := groups.get(key):
        group.latest = occurrence
        group.count += 1
        group.detections.append(row)
        return
    groups[key] = Group(fingerprint=key, first_at=row.at, latest=occurrence, count=1, detections=[row])


def record(groups: Sequence[Group], *, org_id: str, expire_after: timedelta) -> Work[list[RecordedAlert]]:
    """Write findings under their alerts. A kind that is toggled off leaves nothing."""
    recorded: list[RecordedAlert] = []
    for group in groups:
        alert_id = str(uuid7(group.latest.at))
        alert = yield from _open_or_raise(group, alert_id, org_id=org_id, expire_after=expire_after)
        alert = alert or (yield from _raise_dismissed(group, expire_after=expire_after))
        if not alert:
            continue
        if alert.is_new:
            yield Sql(HISTORY, (alert.seq, group.first_at, AlertAction.OPENED.value, SYSTEM, None, None))
        yield Many(_DETECTIONS, _detection_rows(group, alert))
        recorded.append(alert)
    if raised := [(alert.seq,) for alert in recorded if not alert.is_new]:
        yield Many(RAISE, raised)
    return recorded


def _detection_rows(group: Group, alert: RecordedAlert) -> list[tuple[Value, ...]]:
    """Return the rows of a group's findings. A kind that no entry tells of is complete at once: nobody looks for it."""
    muted, due = int(alert.is_muted), int(KINDS[alert.kind].entries_label is not None)
    rows: list[tuple[Value, ...]] = []
    for one in group.detections:
        held = int(one.held_until is not None)
        found = (one.id, alert.seq, one.call_id, one.at, one.action, one.message, one.evidence)
        rows.append((*found, one.duration, one.held_until, held, muted, due))
    return rows


def _open_or_raise(group: Group, alert_id: str, *, org_id: str, expire_after: timedelta) -> Work[RecordedAlert | None]:
    finding = group.latest.finding
    at = to_micros(group.latest.at)
    rows = yield Sql(
        _OPEN_OR_RAISE,
        (
            alert_id,
            org_id,
            finding.kind.value,
            finding.severity.value,
            finding.title,
            finding.message,
            group.fingerprint,
            subject_json(finding.subject),
            group.latest.taken.value,
            orjson.dumps([dict(finding.evidence)]).decode(),
            group.count,
            group.first_at,
            at,
            group.first_at,
            at,
            to_micros(finding.ends_at) if finding.ends_at else None,
            _toggle(group.latest),
            *_muted(group, expire_after),
        ),
    )
    if not rows:
        return None
    seq, stored_id, count = rows[0]
    return _recorded(group, seq=cast("int", seq), alert_id=cast("str", stored_id), count=cast("int", count), is_new=stored_id == alert_id)


def _raise_dismissed(group: Group, *, expire_after: timedelta) -> Work[RecordedAlert | None]:
    at = to_micros(group.latest.at)
    rows = yield Sql(_STILL_MUTED, (at, *_muted(group, expire_after), _toggle(group.latest)))
    if not rows:
        return None
    seq = cast("int", rows[0][0])
    raised = yield Sql(_RAISE_DISMISSED, (group.count, at, at, seq))
    alert_id, count = raised[0]
    return _recorded(group, seq=seq, alert_id=cast("str", alert_id), count=cast("int", count), is_new=False, is_muted=True)


def _recorded(group: Group, *, seq: int, alert_id: str, count: int, is_new: bool, is_muted: bool = False) -> RecordedAlert:
    return RecordedAlert(
        seq=seq,
        id=alert_id,
        kind=group.latest.finding.kind,
        fingerprint=group.fingerprint,
        occurrence_count=count,
        is_new=is_new,
        is_muted=is_muted,
    )


def _muted(group: Group, expire_after: timedelta) -> tuple[Value, ...]:
    """Return the parameters of the mute test: fingerprint, whether only an ending lifts it, since when it must have recurred."""
    until_ended = KINDS[group.latest.finding.kind].ends is not Ends.QUIET
    return base_of(group.fingerprint), int(until_ended), to_micros(group.latest.at - expire_after)


def _toggle(occurrence: Occurrence) -> str | None:
    """Return the name of the setting that can switch this alert off; None for what the local feed does not show."""
    finding = occurrence.finding
    name = local_type(finding.kind, severity=finding.severity, taken=occurrence.taken)
    return None if name is None else TOGGLE_PREFIX + name


def subject_json(subject: Subject) -> str:
    """Return the known fields of a subject as a JSON object."""
    return orjson.dumps({name: value for name, value in asdict(subject).items() if value is not None}).decode()


def clear(key: str, *, at: datetime, resolution: AlertAction) -> Work[list[int]]:
    """End the open episode of a fingerprint (all, where findings are not merged), and its mute; return the `seq` of what ended.

    What its condition held may go on.
    """
    muted = yield Sql("DELETE FROM alert_mutes WHERE fingerprint = ? RETURNING alert_seq", (key,))
    moment = to_micros(at)
    rows = yield Sql(_CLEAR, (moment, SYSTEM, resolution.value, moment, key, key + _AFTER_OWN, key, key + _OWN))
    for row in rows:
        yield Sql(HISTORY, (row[0], moment, resolution.value, SYSTEM, None, None))
    for seq in {row[0] for row in (*muted, *rows)}:
        yield lifted(seq, moment)
    return [cast("int", row[0]) for row in rows]


def lifted(seq: Value, moment: int) -> Sql:
    """Return the statement that says of an alert's detections that what they blocked may go on."""
    return Sql(_LIFT, (moment, seq, moment))


def ends_by(ends: Ends) -> tuple[AlertKind, ...]:
    """Return the kinds that end in this way."""
    return tuple(row.kind for row in KINDS.values() if row.ends is ends)
