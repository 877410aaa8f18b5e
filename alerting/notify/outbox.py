"""The outbox: what is to be told of a change is written in the transaction of the change, and sent afterwards."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import structlog

from alerting.alert import from_row
from alerting.listing import BY_SEQ
from alerting.notify.channel import AlertEvent, Channel, EventType, Message
from storage.database import Many, Sql, Value, Work
from storage.ids import uuid7
from storage.times import to_micros

_PUT = """
INSERT INTO deliveries (event_id, event, channel, target, alert_seq, body, state, attempts, created_at, next_at)
VALUES (?, ?, ?, ?, ?, ?, 'pending', 0, ?, ?)
"""

_log = structlog.get_logger(__name__)


class Outbox:
    """The channels, and the rows of what they are to send."""

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}
        self.on_put: Callable[[], None] = _nobody
        """Called when something is put in, perhaps in the writer's thread and before it is committed: the sender's."""

    def add(self, channel: Channel) -> None:
        """Tell this channel of what happens from now on. To be called while the gateway is wired."""
        if channel.name in self._channels:
            raise ValueError(f"There are two channels named {channel.name!r}: their deliveries could not be told apart")
        self._channels[channel.name] = channel

    def channel(self, name: str) -> Channel | None:
        """Return a channel by the name that its deliveries are kept under."""
        return self._channels.get(name)

    @property
    def listens(self) -> bool:
        """Whether anybody is to be told of anything."""
        return any(channel.listens for channel in self._channels.values())

    def put(self, event: EventType, seqs: Sequence[int], *, at: datetime) -> Work[None]:
        """Write what is to be told of these alerts, which have just been changed by the same transaction."""
        if not seqs or not self.listens:
            return
        for seq in seqs:
            rows = yield Sql(BY_SEQ, (seq,))
            told = AlertEvent(id=f"evt_{uuid7(at).hex}", type=event, at=at, alert=from_row(rows[0]))
            if messages := list(self._rows(told)):
                yield Many(_PUT, messages)
                self.on_put()

    def _rows(self, event: AlertEvent) -> Iterator[tuple[Value, ...]]:
        at = to_micros(event.at)
        for channel in self._channels.values():
            if not channel.listens:
                continue
            for message in _composed(channel, event):
                yield (
                    event.id,
                    event.type.value,
                    channel.name,
                    message.target,
                    event.alert.seq,
                    message.body,
                    at,
                    at,
                )


def _composed(channel: Channel, event: AlertEvent) -> Sequence[Message]:
    """Return what a channel has to tell. A fault of a channel costs its message, not the alert and not the others."""
    try:
        return list(channel.compose(event))
    except Exception:  # noqa: BLE001 - an error here would roll back the alert itself; it stands in the log
        _log.exception("channel_cannot_tell", channel=channel.name, alert=event.alert.id)
        return ()


def _nobody() -> None:
    """Wake nobody: no sender runs."""
