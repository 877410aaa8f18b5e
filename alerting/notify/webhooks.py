"""The webhooks of the config file and those that were made while the gateway ran: kept, changed, and their secrets."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, cast
from uuid import UUID, uuid5

from alerting.notify.addresses import AddressGuard
from alerting.notify.events import known_events
from alerting.notify.sealing import Seal, SealedError
from alerting.notify.settings import WebhookSettings
from alerting.notify.signing import new_secret
from storage.audit import audit_row, place_of
from storage.database import Database, Row, Sql, Work
from storage.ids import uuid7
from storage.times import from_micros, to_micros

type Clock = Callable[[], datetime]

CHANNEL = "webhook"
"""What their deliveries are kept under."""
MOST = 100
OVERLAP = timedelta(hours=24)
"""How long the earlier secret signs beside a new one."""

_COLUMNS = (
    "id, url, events, description, enabled, disabled_reason, created_at, created_by, updated_at, secret, earlier_secret, earlier_until"
)
_ALL = f"SELECT {_COLUMNS} FROM webhooks ORDER BY id"  # noqa: S608 - a constant
_PUT = f"""
INSERT INTO webhooks ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET url = excluded.url, events = excluded.events, description = excluded.description,
    enabled = excluded.enabled, disabled_reason = excluded.disabled_reason, updated_at = excluded.updated_at,
    secret = excluded.secret, earlier_secret = excluded.earlier_secret, earlier_until = excluded.earlier_until
"""  # noqa: S608 - the same


class NoWebhookError(LookupError):
    """There is no webhook of this id."""


class ReadOnlyWebhookError(ValueError):
    """The webhook stands in the config file, which alone may change it."""


class TooManyWebhooksError(ValueError):
    """There are as many webhooks as there may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One receiver. `live_secrets` are for signing alone: the newest first."""

    id: str
    url: str
    events: tuple[str, ...]
    description: str | None
    enabled: bool
    origin: Literal["file", "store"]
    live_secrets: tuple[str, ...]
    disabled_reason: str | None = None
    earlier_until: datetime | None = None
    """Until when the second secret signs too."""
    created_at: datetime | None = None
    created_by: str | None = None
    updated_at: datetime | None = None

    def secrets_at(self, at: datetime) -> tuple[str, ...]:
        """Return the secrets that sign at a moment."""
        return self.live_secrets if self.earlier_until is not None and at < self.earlier_until else self.live_secrets[:1]


class Webhooks:
    """All webhooks. Each change is durable, with its row of audit, before it is in force. `where` names the config file for messages."""

    def __init__(  # noqa: PLR0913 - all keyword-only but the first: what they are made of
        self,
        database: Database,
        *,
        file: Sequence[WebhookSettings],
        guard: AddressGuard,
        seal: Seal,
        org_id: str,
        now: Clock,
        where: str = "its `notify.webhooks` section",
    ) -> None:
        self._database = database
        self._guard = guard
        self._seal = seal
        self._now = now
        self._where = where
        self._file = tuple(_of_file(settings, org_id) for settings in file)
        self._stored: dict[str, Webhook] = {}
        self._changing = asyncio.Lock()
        self.listening: tuple[Webhook, ...] = ()
        """Those that are told of alerts: replaced whole, so that it may be read from any thread."""
        self._refresh()

    async def load(self) -> None:
        """Read the stored webhooks. Raises StoreError."""
        self._stored = {hook.id: hook for hook in map(self._of_row, await self._database.read(_ALL))}
        self._refresh()

    def all(self) -> list[Webhook]:
        """Return every webhook: the file's first, then the others in the order in which they were made."""
        return [*self._file, *self._stored.values()]

    def get(self, webhook_id: str) -> Webhook | None:
        """Return one webhook."""
        return next((hook for hook in self.all() if hook.id == webhook_id), None)

    async def add(self, *, url: str, events: Sequence[str], description: str | None, enabled: bool = True, actor: str) -> Webhook:
        """Make a webhook with a fresh secret. Raises UrlError, ForbiddenAddressError, TooManyWebhooksError, ValueError (events)."""
        self._guard.check_url(url)
        now = self._now()
        hook = Webhook(
            id=str(uuid7(now)),
            url=url,
            events=known_events(events),
            description=description,
            enabled=enabled,
            origin="store",
            live_secrets=(new_secret(),),
            created_at=now,
            created_by=actor,
            updated_at=now,
        )
        async with self._changing:
            if len(self._stored) >= MOST:
                raise TooManyWebhooksError(f"There are {MOST} webhooks, which is the most: remove some first")
            return await self._put(hook, actor=actor, action="created")

    async def change(
        self,
        webhook_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        description: str | None = None,
        enabled: bool | None = None,
        actor: str,
    ) -> Webhook:
        """Change what is given. Raises as `add` does, NoWebhookError, ReadOnlyWebhookError."""
        if url is not None:
            self._guard.check_url(url)
        async with self._changing:
            hook = self._known(webhook_id)
            changed = replace(
                hook,
                url=hook.url if url is None else url,
                events=hook.events if events is None else known_events(events),
                description=hook.description if description is None else description,
                enabled=hook.enabled if enabled is None else enabled,
                disabled_reason=hook.disabled_reason if enabled is None else None,
                updated_at=self._now(),
            )
            return await self._put(changed, actor=actor, action="changed")

    async def rotate(self, webhook_id: str, *, overlap: timedelta = OVERLAP, actor: str) -> Webhook:
        """Give it a fresh secret; the present one signs too for `overlap`. Raises NoWebhookError, ReadOnlyWebhookError."""
        async with self._changing:
            hook, now = self._known(webhook_id), self._now()
            secrets = (new_secret(), *hook.live_secrets[:1])
            changed = replace(hook, live_secrets=secrets, earlier_until=now + overlap, updated_at=now)
            return await self._put(changed, actor=actor, action="rotated")

    async def disable(self, webhook_id: str, *, reason: str, actor: str) -> None:
        """Tell it of nothing more until a person enables it. One of the config file stays off until the next start."""
        async with self._changing:
            hook = self.get(webhook_id)
            if hook is None or not hook.enabled:
                return
            off = replace(hook, enabled=False, disabled_reason=reason, updated_at=self._now())
            if hook.origin == "store":
                await self._put(off, actor=actor, action="disabled")
                return
            self._file = tuple(off if kept.id == webhook_id else kept for kept in self._file)
            self._refresh()
            row = audit_row(at=self._now(), actor=actor, action="webhook.disabled", subject=webhook_id, detail=reason)
            await self._database.write(lambda: _one(row))

    async def remove(self, webhook_id: str, *, actor: str) -> None:
        """Remove a webhook and what waits for it. Raises NoWebhookError, ReadOnlyWebhookError."""
        async with self._changing:
            hook, at = self._known(webhook_id), self._now()

            def work() -> Work[None]:
                yield Sql("DELETE FROM webhooks WHERE id = ?", (hook.id,))
                yield Sql("DELETE FROM deliveries WHERE channel = ? AND target = ?", (CHANNEL, hook.id))
                yield audit_row(at=at, actor=actor, action="webhook.deleted", subject=hook.id, detail=place_of(hook.url))

            await self._database.write(work)
            del self._stored[webhook_id]
            self._refresh()

    def _known(self, webhook_id: str) -> Webhook:
        """Return a webhook that may be changed."""
        hook = self.get(webhook_id)
        if hook is None:
            raise NoWebhookError(f"There is no webhook {webhook_id!r}")
        if hook.origin == "file":
            raise ReadOnlyWebhookError(
                f"The webhook {webhook_id!r} is defined in the config ({self._where}): change it there, then start the gateway again"
            )
        return hook

    async def _put(self, hook: Webhook, *, actor: str, action: str) -> Webhook:
        sealed = [self._seal.close(secret, context=hook.id) for secret in hook.live_secrets]
        at = hook.updated_at or self._now()

        def work() -> Work[None]:
            yield Sql(_PUT, _row(hook, sealed))
            detail = hook.disabled_reason or place_of(hook.url)
            yield audit_row(at=at, actor=actor, action=f"webhook.{action}", subject=hook.id, detail=detail)

        await self._database.write(work)
        self._stored[hook.id] = hook
        self._refresh()
        return hook

    def _of_row(self, row: Row) -> Webhook:
        webhook_id, url, events, description, enabled, reason, created_at, created_by, updated_at, *sealed, until = row
        secrets = [self._opened(cast("str", text), cast("str", webhook_id)) for text in sealed if text is not None]
        readable = None not in secrets
        return Webhook(
            id=cast("str", webhook_id),
            url=cast("str", url),
            events=tuple(cast("str", events).split(",")),
            description=cast("str | None", description),
            enabled=bool(enabled) and readable,
            origin="store",
            live_secrets=tuple(secret for secret in secrets if secret is not None) or (new_secret(),),
            disabled_reason=cast("str | None", reason)
            if readable
            else "its secret cannot be read (the installation's key changed): rotate it",
            earlier_until=None if until is None else from_micros(cast("int", until)),
            created_at=from_micros(cast("int", created_at)),
            created_by=cast("str", created_by),
            updated_at=from_micros(cast("int", updated_at)),
        )

    def _opened(self, sealed: str, webhook_id: str) -> str | None:
        try:
            return self._seal.open(sealed, context=webhook_id)
        except SealedError:
            return None

    def _refresh(self) -> None:
        self.listening = tuple(hook for hook in self.all() if hook.enabled)


def _of_file(settings: WebhookSettings, org_id: str) -> Webhook:
    return Webhook(
        id=str(uuid5(UUID(org_id), f"webhook {settings.name}")),
        url=settings.url,
        events=settings.events,
        description=settings.description or settings.name,
        enabled=settings.enabled,
        origin="file",
        live_secrets=(settings.secret,),
    )


def _row(hook: Webhook, sealed: Sequence[str]) -> Row:
    return (
        hook.id,
        hook.url,
        ",".join(hook.events),
        hook.description,
        int(hook.enabled),
        hook.disabled_reason,
        to_micros(cast("datetime", hook.created_at)),
        hook.created_by,
        to_micros(cast("datetime", hook.updated_at)),
        sealed[0],
        sealed[1] if len(sealed) > 1 else None,
        None if hook.earlier_until is None else to_micros(hook.earlier_until),
    )


def _one(statement: Sql) -> Work[None]:
    yield statement
