"""How the entries feed writes entries, detections, places and labels."""

from datetime import UTC, datetime, timedelta

from pydantic import Field

from alerting.entry import Detected, Entry
from alerting.entry_settings import label_title
from alerting.places import Place
from api.bodies import Answer

_SECOND = timedelta(seconds=1)


class DetectionAnswer(Answer):
    """One thing that was detected."""

    event_id: str
    line_name: str
    """The gateway."""
    roi_name: str
    """The place in the traffic: `<service>/<agent or user or ->/<kind of endpoint>`."""
    roi_title: str
    roi_api_name: str
    label_name: str
    """The kind of detection."""
    label_title: str
    detected_at: datetime
    updated_at: datetime
    duration_seconds: float | None
    """From the request to the end of the answer, or the span that was looked at; null while the call runs or where its end was not seen."""
    downtime_seconds: float = Field(ge=0)
    """How long what was blocked or throttled has been held so far."""


class EntryAnswer(Answer):
    """Detections close together in time, at one place, and what people did with them."""

    id: str
    config_id: str
    created_at: datetime
    updated_at: datetime
    title: str
    acted_at: datetime | None
    action_taken: str | None
    root_cause_set_at: datetime | None
    root_cause: str | None
    viewed_at: datetime | None
    acknowledged_at: datetime | None
    dismissed_at: datetime | None
    events: list[DetectionAnswer]
    """In the order of time; of more than 1,000 the latest."""


def moment(at: datetime) -> str:
    """Return `2024-10-16T15:46:56+00:00`, with a fraction only where it is not zero."""
    return at.astimezone(UTC).isoformat()


def moment_or_null(at: datetime | None) -> str | None:
    """Return a moment as `moment` does; None for none."""
    return None if at is None else moment(at)


def place_json(place: Place) -> dict[str, str]:
    """Return a place as the feed shows it."""
    return {"name": place.name, "title": place.title, "api_name": place.api_name}


def label_json(label: str) -> dict[str, str]:
    """Return a label as the feed shows it."""
    return {"name": label, "title": label_title(label)}


def detection_json(found: Detected) -> dict[str, object]:
    """Return a detection as the feed shows it."""
    return {
        "event_id": found.id,
        "line_name": found.line,
        "roi_name": found.place.name,
        "roi_title": found.place.title,
        "roi_api_name": found.place.api_name,
        "label_name": found.label,
        "label_title": label_title(found.label),
        "detected_at": moment(found.detected_at),
        "updated_at": moment(found.updated_at),
        "duration_seconds": None if found.duration is None else found.duration / _SECOND,
        "downtime_seconds": found.downtime / _SECOND,
    }


def entry_json(entry: Entry) -> dict[str, object]:
    """Return an entry as the feed shows it."""
    return {
        "id": entry.id,
        "config_id": entry.config_id,
        "created_at": moment(entry.created_at),
        "updated_at": moment(entry.updated_at),
        "title": entry.title,
        "acted_at": moment_or_null(entry.acted_at),
        "action_taken": entry.action_taken,
        "root_cause_set_at": moment_or_null(entry.root_cause_set_at),
        "root_cause": entry.root_cause,
        "viewed_at": moment_or_null(entry.viewed_at),
        "acknowledged_at": moment_or_null(entry.acknowledged_at),
        "dismissed_at": moment_or_null(entry.dismissed_at),
        "events": [detection_json(event) for event in entry.events],
    }
