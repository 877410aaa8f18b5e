"""Webhooks as a channel of the outbox: the envelope of an event, and its signed delivery."""

from collections.abc import Callable, Iterator
from datetime import datetime
from uuid import uuid4

import orjson

from alerting.alert import Alert
from alerting.notify.channel import AlertEvent, Delivery, Message, Result
from alerting.notify.events import is_asked_for
from alerting.notify.http import Poster
from alerting.notify.signing import signed_headers
from alerting.notify.webhooks import CHANNEL, Webhook, Webhooks
from alerting.org_view import Json, org_moment, org_view

type Clock = Callable[[], datetime]

TEST_EVENT = "webhook.test"
_GONE = 410


class WebhookChannel:
    """Tells webhooks of the alerts that the org feed shows."""

    name = CHANNEL

    def __init__(self, webhooks: Webhooks, poster: Poster, *, org_id: str, opted_in: bool, now: Clock) -> None:
        self._webhooks = webhooks
        self._poster = poster
        self._org_id = org_id
        self._opted_in = opted_in
        self._now = now

    @property
    def listens(self) -> bool:
        """Whether a webhook is enabled."""
        return bool(self._webhooks.listening)

    def compose(self, event: AlertEvent) -> Iterator[Message]:
        """Say who gets what."""
        told = [hook for hook in self._webhooks.listening if is_asked_for(event.type, hook.events)]
        view = self._view(event.alert) if told else None
        if view is None:
            return
        body = envelope(event_id=event.id, event=event.type, at=event.at, org_id=self._org_id, data=view)
        for hook in told:
            yield Message(target=hook.id, body=body)

    async def send(self, delivery: Delivery) -> Result:
        """Make one attempt, signed anew."""
        hook = self._webhooks.get(delivery.target)
        if hook is None:
            return Result(error="the webhook was deleted", final=True)
        if not hook.enabled:
            return Result(error="the webhook is disabled: enable it and replay the delivery", final=True)
        result = await self._post(hook, delivery.event_id, delivery.body)
        if result.status == _GONE:
            await self._webhooks.disable(hook.id, reason=str(result.error), actor="system")
        return result

    async def test(self, hook: Webhook) -> tuple[str, Result]:
        """Really send an event of no alert, enabled or not; return its id with what came of it."""
        event_id, at = f"evt_{uuid4().hex}", self._now()
        data: Json = {"webhook_id": hook.id, "message": "This is a test of tollwatch: the webhook works."}
        body = envelope(event_id=event_id, event=TEST_EVENT, at=at, org_id=self._org_id, data=data)
        return event_id, await self._post(hook, event_id, body)

    async def _post(self, hook: Webhook, event_id: str, body: str) -> Result:
        at, raw = self._now(), body.encode()
        headers = signed_headers(event_id=event_id, body=raw, at=at, live_secrets=hook.secrets_at(at))
        return await self._poster.post(hook.url, raw, headers)

    def _view(self, alert: Alert) -> Json | None:
        return org_view(alert, opted_in=self._opted_in)


def envelope(*, event_id: str, event: str, at: datetime, org_id: str, data: Json) -> str:
    """Return the body: Standard Webhooks calls the moment `timestamp`, older receivers read `created_at`."""
    moment = org_moment(at)
    return orjson.dumps({"id": event_id, "type": event, "timestamp": moment, "created_at": moment, "org_id": org_id, "data": data}).decode()
