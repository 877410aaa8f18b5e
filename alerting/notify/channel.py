"""What a way to send must offer to use the outbox: say in the alert's own transaction who is to be told what, and send it later.

A new channel (mail, a chat, a ticket system) is one class with these members, added in the wiring by `Outbox.add`. Everything else
is the outbox's and the sender's: that a message is durable together with the change that it tells of, the retries with their pauses,
dead letters and their replay, holding back what a silence covers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from alerting.alert import Alert


class EventType(StrEnum):
    """What of an alert is told."""

    CREATED = "alert.created"
    ACKNOWLEDGED = "alert.acknowledged"
    RESOLVED = "alert.resolved"
    """Whether a person did it, its time came, or its condition cleared: the alert's `resolution` says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertEvent:
    """One change of an alert, which is shown as it stands after it. `id` is the same for all who are told of it."""

    id: str
    type: EventType
    at: datetime
    alert: Alert


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What one target is to get. `target` is the channel's own name of who gets it; `body` is sent as it was written, however late."""

    target: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message on its way. `event_id` stays the same over all attempts; `attempt` counts from 1. `seq` 0: a trial that is not kept."""

    seq: int = 0
    event_id: str
    event: str
    target: str
    body: str
    attempt: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one attempt. Without an error it was delivered; with one it is tried again, unless `final`."""

    error: str | None = None
    """One sentence for people; it holds no secret."""
    status: int | None = None
    """The status of the answer, where there was one."""
    retry_after: timedelta | None = None
    """How long the receiver asks to be left alone."""
    final: bool = False
    """No further attempt could help (the target is gone): a dead letter at once."""


class Channel(Protocol):
    """One way to send."""

    @property
    def name(self) -> str:
        """What its deliveries are kept under; never changes."""
        ...

    @property
    def listens(self) -> bool:
        """Whether anybody is to be told of anything: while no channel listens, a change of an alert costs nothing more."""
        ...

    def compose(self, event: AlertEvent) -> Iterable[Message]:
        """Say who gets what. Called within the transaction, perhaps in the writer's thread, perhaps again for the same change.

        It must be quick and pure: it reads only what the channel keeps in memory as a value that is replaced whole.
        """
        ...

    async def send(self, delivery: Delivery) -> Result:
        """Make one attempt. It may come twice for one delivery (a crash after sending): receivers tell by `event_id`."""
        ...
