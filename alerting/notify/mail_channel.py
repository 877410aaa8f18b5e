"""Mail as a channel of the outbox: which alerts are told to whom, and in what words."""

from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from uuid import uuid4

import orjson

from alerting.alert import Alert
from alerting.finding import Severity
from alerting.notify.channel import AlertEvent, Delivery, EventType, Message, Result
from alerting.notify.mail import Mailer
from alerting.notify.mail_settings import EmailSettings

type Clock = Callable[[], datetime]

CHANNEL = "email"
_RANKS = {severity: rank for rank, severity in enumerate(Severity)}
_UNSET = "notify.email is not set in the config file, or off: it says by which server mail is sent"


class MailChannel:
    """Tells by mail of alerts as they are raised. `channels_of` says through what the usage alert of an id notifies."""

    name = CHANNEL

    def __init__(self, mailer: Mailer | None, *, channels_of: Callable[[str], Collection[str]], now: Clock) -> None:
        self._mailer = mailer
        self._channels_of = channels_of
        self._now = now

    @property
    def settings(self) -> EmailSettings | None:
        """By which server; None where none is set."""
        return self._mailer.settings if self._mailer else None

    @property
    def recipients(self) -> tuple[str, ...]:
        """Who gets mail; nobody where no server is set."""
        return self.settings.recipients if self.settings else ()

    @property
    def listens(self) -> bool:
        """Whether a server is set."""
        return self._mailer is not None

    def compose(self, event: AlertEvent) -> Iterator[Message]:
        """Say who gets what: only that an alert was raised is told."""
        if event.type is not EventType.CREATED or not self._is_told(event.alert):
            return
        body = orjson.dumps({"subject": _subject(event.alert), "text": _text(event.alert)}).decode()
        for address in self.recipients:
            yield Message(target=address, body=body)

    async def send(self, delivery: Delivery) -> Result:
        """Make one attempt."""
        if self._mailer is None:
            return Result(error=f"{_UNSET}; then replay the delivery", final=True)
        told = orjson.loads(delivery.body)
        return await self._hand_over(
            self._mailer, delivery.event_id, delivery.target, subject=told["subject"], text=told["text"], at=delivery.created_at
        )

    async def test(self, about: str) -> Result:
        """Really send a mail that is about no alert to everybody; the first fault is the result."""
        if self._mailer is None:
            return Result(error=_UNSET)
        event_id, at = f"evt_{uuid4().hex}", self._now()
        text = f"This is a test of tollwatch: mail works.\n\n{about}\n\nNothing is wrong: no alert was raised.\n"
        for address in self.recipients:
            result = await self._hand_over(self._mailer, event_id, address, subject=f"[tollwatch] Test: {about}", text=text, at=at)
            if result.error is not None:
                return result
        return Result(status=250)

    async def _hand_over(self, mailer: Mailer, event_id: str, to: str, *, subject: str, text: str, at: datetime) -> Result:
        return await mailer.send(mailer.message(event_id=event_id, to=to, subject=subject, text=text, at=at), to=to)

    def _is_told(self, alert: Alert) -> bool:
        if alert.subject.usage_alert_id is not None and CHANNEL in self._channels_of(alert.subject.usage_alert_id):
            return True
        least = self.settings.min_severity if self.settings else None
        return least is not None and _RANKS[alert.severity] >= _RANKS[least]


def _subject(alert: Alert) -> str:
    return f"[tollwatch] {alert.severity.value}: {alert.title}"


def _text(alert: Alert) -> str:
    lines = [
        alert.message,
        "",
        f"Kind:     {alert.kind.value}",
        f"Severity: {alert.severity.value}",
        f"Raised:   {alert.created_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC",
        f"Alert:    {alert.local_id} ({alert.id})",
        "",
        f"`tollwatch alerts show {alert.local_id}` tells more; `tollwatch alerts ack {alert.local_id}` says that you took it up.",
        "",
    ]
    return "\n".join(lines)
