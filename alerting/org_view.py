"""An alert as the org feed and its webhooks show it."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from uuid import UUID, uuid5

from alerting.alert import Alert
from alerting.kinds import org_type

type Json = dict[str, object]


def org_moment(moment: datetime) -> str:
    """Return `2025-01-15T10:30:00Z`: whole seconds, as the published samples have them."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def org_uuid(org_id: str, name: str | None) -> str | None:
    """Return the UUID of a user or policy of the organisation: its name where that is one, else a UUIDv5 of the name, always the same."""
    if name is None:
        return None
    try:
        return str(UUID(name))
    except ValueError:
        return str(uuid5(UUID(org_id), name))


def org_view(alert: Alert, *, opted_in: bool, more: Mapping[str, object] | None = None) -> Json | None:
    """Return the alert object of the org feed, with `more` in its metadata; None for an alert that is not in that feed."""
    kind = org_type(alert.kind, severity=alert.severity, opted_in=opted_in)
    if kind is None:
        return None
    return {
        "id": alert.id,
        "org_id": alert.org_id,
        "type": kind,
        "severity": alert.severity.value,
        "status": alert.status.value,
        "title": alert.title,
        "message": alert.message,
        "user_id": org_uuid(alert.org_id, alert.subject.user),
        "policy_id": org_uuid(alert.org_id, alert.subject.rule_id),
        "metadata": {**_metadata(alert), **(more or {})},
        "created_at": org_moment(alert.created_at),
        "resolved_at": None if alert.resolved_at is None else org_moment(alert.resolved_at),
    }


def _metadata(alert: Alert) -> Mapping[str, object]:
    """Return the numbers of the latest occurrence, what the alert is about by its names, and how the episode went."""
    latest: Mapping[str, object] = alert.evidence[-1] if alert.evidence else {}
    about = {name: value for name, value in asdict(alert.subject).items() if value is not None}
    episode = {
        "kind": alert.kind.value,
        "action": alert.action.value,
        "occurrence_count": alert.occurrence_count,
        "last_seen_at": org_moment(alert.last_seen_at),
        "acknowledged_by": alert.acknowledged_by,
        "resolved_by": alert.resolved_by,
        "resolution": alert.resolution,
        "resolution_note": alert.resolution_note,
    }
    return {**latest, **about, **alert.metadata, **{name: value for name, value in episode.items() if value is not None}}
