"""What is asked and answered about webhooks."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from pydantic import Field

from alerting.notify.channel import EventType
from alerting.notify.deliveries import DeliveryState, KeptDelivery
from alerting.notify.webhooks import Webhook
from alerting.org_view import Json, org_moment
from api.bodies import Answer, Body
from api.paging import LONGEST_CURSOR
from api.params import Query

type Event = Literal["alert.*", "alert.created", "alert.acknowledged", "alert.resolved"]


class NewWebhook(Body):
    """A webhook that is to be made."""

    url: str = Field(min_length=1, max_length=2_000)
    """Where to: https, or an address in `notify.allowed_networks`."""
    events: Sequence[Event] = Field(default=("alert.*",), min_length=1)
    """What it is told of."""
    description: str | None = Field(default=None, max_length=500)
    enabled: bool = True


class WebhookChange(Body):
    """What to change of a webhook; what is null or not given stays."""

    url: str | None = Field(default=None, min_length=1, max_length=2_000)
    events: Sequence[Event] | None = Field(default=None, min_length=1)
    description: str | None = Field(default=None, max_length=500)
    enabled: bool | None = None


class Rotation(Body):
    """How a secret is rotated."""

    overlap_hours: float = Field(default=24, ge=0, le=168)
    """How long the present secret signs beside the new one."""


class DeliveriesQuery(Query):
    """Which deliveries to list."""

    cursor: str | None = Field(default=None, max_length=LONGEST_CURSOR)
    """`next_cursor` of an earlier answer; without it, the first page."""
    limit: int = Field(default=25, ge=1, le=100)
    """How many at most."""
    state: DeliveryState | None = None
    """Only deliveries that stand so."""


class DeliveryAnswer(Answer):
    """A delivery: one event on its way to one webhook."""

    id: str
    event_id: str
    """The `webhook-id` that it is sent with."""
    event: EventType
    state: DeliveryState
    """`pending`: an attempt is due; `held`: until a silence is over; `dead`: it can be replayed; `dropped`: its alert ended while held."""
    attempts: int
    created_at: str
    next_attempt_at: str | None
    last_attempt_at: str | None
    status_code: int | None
    """Of the last answer."""
    error: str | None
    """Why it was not delivered, or what holds it back."""


class DeliveriesAnswer(Answer):
    """One page of deliveries, newest first."""

    items: list[DeliveryAnswer]
    next_cursor: str | None
    has_more: bool
    total_count: int


class WebhookAnswer(Answer):
    """A webhook."""

    id: str
    org_id: str
    url: str
    events: list[Event]
    description: str | None
    enabled: bool
    disabled_reason: str | None
    """Why it was switched off, where no person did."""
    source: Literal["config", "api"]
    """Webhooks of the config file are read-only here."""
    earlier_secret_until: str | None
    """Until when the secret before the last rotation signs too."""
    created_at: str | None
    updated_at: str | None
    last_delivery: DeliveryAnswer | None
    """The newest that was attempted."""


class NewWebhookAnswer(WebhookAnswer):
    """A webhook with its secret, which is not shown again."""

    secret: str


class WebhooksAnswer(Answer):
    """All webhooks, on one page."""

    items: list[WebhookAnswer]
    next_cursor: None
    has_more: bool
    total_count: int


class TestAnswer(Answer):
    """What came of a test."""

    success: bool
    event_id: str
    status_code: int | None
    error: str | None
    duration_ms: int


class ReplayAnswer(Answer):
    """How many deliveries are sent again."""

    replayed: int


def webhook_json(hook: Webhook, *, last: KeptDelivery | None, org_id: str) -> Json:
    """Return a webhook without its secrets."""
    until = hook.earlier_until if len(hook.live_secrets) > 1 else None
    return {
        "id": hook.id,
        "org_id": org_id,
        "url": hook.url,
        "events": list(hook.events),
        "description": hook.description,
        "enabled": hook.enabled,
        "disabled_reason": hook.disabled_reason,
        "source": "config" if hook.origin == "file" else "api",
        "earlier_secret_until": _moment(until),
        "created_at": _moment(hook.created_at),
        "updated_at": _moment(hook.updated_at),
        "last_delivery": None if last is None else delivery_json(last),
    }


def delivery_json(delivery: KeptDelivery) -> Json:
    """Return a delivery without its body."""
    return {
        "id": str(delivery.seq),
        "event_id": delivery.event_id,
        "event": delivery.event,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "created_at": org_moment(delivery.created_at),
        "next_attempt_at": _moment(delivery.next_at),
        "last_attempt_at": _moment(delivery.last_at),
        "status_code": delivery.last_status,
        "error": delivery.last_error,
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else org_moment(moment)
