"""A trial of a usage alert's channels: something is really sent, and no alert is raised."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

import orjson

from alerting.notify.mail_channel import MailChannel
from alerting.usage_alert import UsageAlert
from alerting.usage_settings import Channel
from storage.database import Database, Sql, Work
from storage.times import to_micros

TEST_EVENT = "usage_alert.test"
DASHBOARD = "dashboard"
_KEEP = """
INSERT INTO deliveries (event_id, event, channel, target, alert_seq, body, state, attempts, created_at, next_at, last_at)
VALUES (?, ?, ?, ?, NULL, ?, 'delivered', 1, ?, NULL, ?)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something for whoever looks at the dashboard; it is no alert and counts as none."""

    id: str
    event: str
    at: datetime
    usage_alert_id: str | None
    message: str

    def as_json(self) -> dict[str, object]:
        """Return the shape of the stream."""
        at = self.at.astimezone(UTC).isoformat().replace("+00:00", "Z")
        return {"id": self.id, "event": self.event, "at": at, "usage_alert_id": self.usage_alert_id, "message": self.message}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Which channels worked, and why the others did not."""

    worked: tuple[Channel, ...] = ()
    faults: Mapping[Channel, str] = field(default_factory=dict["Channel", str])


class UsageTrials:
    """Tries channels. `on_notice` shows a notice to those who look right now; it is kept for those who look later."""

    def __init__(self, database: Database, mail: MailChannel, *, on_notice: Callable[[Notice], None], now: Callable[[], datetime]) -> None:
        self._database = database
        self._mail = mail
        self._on_notice = on_notice
        self._now = now

    async def run(self, alert: UsageAlert) -> Trial:
        """Try the channels of a usage alert, whether or not it is enabled."""
        about = f"usage alert {alert.name!r} ({alert.type})"
        results: dict[Channel, str | None] = {channel: await self._one(channel, about, alert.id) for channel in alert.channels}
        return Trial(
            worked=tuple(channel for channel, fault in results.items() if fault is None),
            faults={channel: fault for channel, fault in results.items() if fault is not None},
        )

    async def try_channel(self, channel: Channel) -> str | None:
        """Try one channel; return why it failed."""
        return await self._one(channel, f"channel {channel}", None)

    async def _one(self, channel: Channel, about: str, usage_alert_id: str | None) -> str | None:
        if channel == DASHBOARD:
            await self._show(about, usage_alert_id)
            return None
        return (await self._mail.test(about)).error

    async def _show(self, about: str, usage_alert_id: str | None) -> None:
        at = self._now()
        notice = Notice(id=f"evt_{uuid4().hex}", event=TEST_EVENT, at=at, usage_alert_id=usage_alert_id, message=f"This is a test: {about}")
        body = orjson.dumps({"usage_alert_id": usage_alert_id, "message": notice.message}).decode()
        moment = to_micros(at)

        def work() -> Work[None]:
            yield Sql(_KEEP, (notice.id, notice.event, DASHBOARD, usage_alert_id or DASHBOARD, body, moment, moment))

        await self._database.write(work)
        self._on_notice(notice)
