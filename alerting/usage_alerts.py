"""The usage alerts that are kept, by the config file and by the API, and how often each fired."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import cast

from alerting.toggles import DefinedInConfigError
from alerting.usage_alert import COLUMNS, Trigger, Triggered, UsageAlert, definition_of, file_id, from_row, new_id
from alerting.usage_settings import Channel, UsageAlertSettings, settings_of
from storage.audit import audit_row
from storage.database import Database, Sql, Work
from storage.times import from_micros, to_micros

MOST_ALERTS = 1000
RECENT = 10
"""How many triggers are shown with a usage alert."""

_INSTANT = timedelta(microseconds=1)
_SELECT = f"SELECT {COLUMNS} FROM usage_alerts ORDER BY created_at, id"  # noqa: S608 - constants alone
_PUT = (
    f"INSERT INTO usage_alerts ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "  # noqa: S608 - the same
    "definition = excluded.definition, updated_at = excluded.updated_at, armed_at = excluded.armed_at"
)
_TRIGGERED = "SELECT usage_alert_id, COUNT(*), MAX(triggered_at) FROM usage_triggers GROUP BY usage_alert_id"
_RECENT = (
    "SELECT t.triggered_at, t.value, "
    "CASE WHEN a.seq IS NULL OR a.acknowledged_at IS NOT NULL OR a.resolved_at IS NOT NULL THEN 1 ELSE 0 END "
    "FROM usage_triggers t LEFT JOIN alerts a ON a.seq = t.alert_seq WHERE t.usage_alert_id = ? "
    "ORDER BY t.triggered_at DESC, t.bucket DESC LIMIT ?"
)


class TooManyError(Exception):
    """There is no room for another usage alert; the message says what to do."""


class UsageAlerts:
    """All usage alerts, in memory as they are in the store. `on_change` is called after each change."""

    def __init__(self, database: Database, *, file: Sequence[UsageAlertSettings] = (), where: str, now: Callable[[], datetime]) -> None:
        self._database = database
        self._file = tuple(file)
        self._where = where
        """Where the config file defines them, for people."""
        self._now = now
        self._all: Mapping[str, UsageAlert] = MappingProxyType({})
        self._changing = asyncio.Lock()
        self.on_change: Callable[[], None] = _nobody

    @property
    def all(self) -> tuple[UsageAlert, ...]:
        """All of them, the oldest first."""
        return tuple(self._all.values())

    def get(self, key: str) -> UsageAlert | None:
        """Return one by its id."""
        return self._all.get(key)

    def channels_of(self, key: str) -> Collection[Channel]:
        """Return through what one notifies; nothing for one that is gone. May be called from any thread."""
        known = self._all.get(key)
        return known.channels if known else ()

    async def load(self) -> None:
        """Read what is kept, and take over what the config file says. To be called at the start."""
        async with self._changing:
            at = self._now()
            await self._database.write(lambda: _follow(self._file, at))
            await self._reread()

    async def follow(self, file: Sequence[UsageAlertSettings]) -> None:
        """Take over what the config file says now."""
        self._file = tuple(file)
        await self.load()

    async def create(self, settings: UsageAlertSettings, *, actor: str) -> UsageAlert:
        """Keep a new one. It counts from the bucket that it is made in. Raises TooManyError."""
        async with self._changing:
            if len(self._all) >= MOST_ALERTS:
                raise TooManyError(f"there are {len(self._all)} usage alerts already, which is the most: delete one first")
            at = self._now()
            created = max([at, *(one.created_at + _INSTANT for one in self._all.values())])  # they are listed in this order
            made = UsageAlert(id=new_id(), origin="api", settings=settings, created_at=created, updated_at=at, armed_at=at)
            await self._put(made, action="usage_alert.created", actor=actor)
            return made

    async def update(self, key: str, changes: Mapping[str, object], *, actor: str) -> UsageAlert | None:
        """Change what is named of one of the API's; None when there is none.

        Raises DefinedInConfigError for one of the config file, MisfitError where the whole makes no sense any more.
        """
        async with self._changing:
            known = self._changeable(key)
            if known is None:
                return None
            settings, at = settings_of({**known.settings.model_dump(), **changes}), self._now()
            armed_at = at if _means_other(known.settings, settings) else known.armed_at
            changed = replace(known, settings=settings, updated_at=at, armed_at=armed_at)
            await self._put(changed, action="usage_alert.changed", actor=actor)
            return changed

    async def delete(self, key: str, *, actor: str) -> bool:
        """Forget the definition of one; its triggers and alerts stay. Raises DefinedInConfigError for one of the config file."""
        async with self._changing:
            known = self._changeable(key)
            if known is None:
                return False
            detail, at = definition_of(known.settings), self._now()

            def work() -> Work[None]:
                yield Sql("DELETE FROM usage_alerts WHERE id = ?", (key,))
                yield audit_row(at=at, actor=actor, action="usage_alert.deleted", subject=key, detail=detail)

            await self._database.write(work)
            await self._reread()
            return True

    async def triggered(self) -> Mapping[str, Triggered]:
        """Return how often each fired; one that never did is left out."""
        rows = cast("list[tuple[str, int, int]]", await self._database.read(_TRIGGERED))
        return {key: Triggered(count=count, last_at=from_micros(last)) for key, count, last in rows}

    async def triggers(self, key: str) -> list[Trigger]:
        """Return the last triggers of one, newest first."""
        rows = cast("list[tuple[int, float, int]]", await self._database.read(_RECENT, (key, RECENT)))
        return [Trigger(triggered_at=from_micros(at), value=value, acknowledged=bool(known)) for at, value, known in rows]

    def _changeable(self, key: str) -> UsageAlert | None:
        known = self._all.get(key)
        if known is not None and known.origin == "file":
            raise DefinedInConfigError(
                f"the usage alert {known.name!r} is defined in the config file, in {self._where}: change it there and reload "
                "(`tollwatch config show` names the file)"
            )
        return known

    async def _put(self, alert: UsageAlert, *, action: str, actor: str) -> None:
        def work() -> Work[None]:
            yield _row(alert)
            yield audit_row(at=alert.updated_at, actor=actor, action=action, subject=alert.id, detail=definition_of(alert.settings))

        await self._database.write(work)
        await self._reread()

    async def _reread(self) -> None:
        rows = await self._database.read(_SELECT)
        self._all = MappingProxyType({alert.id: alert for alert in map(from_row, rows)})
        self.on_change()


def _follow(file: Sequence[UsageAlertSettings], at: datetime) -> Work[None]:
    """Make the kept ones of the file those that it says."""
    rows = yield Sql(f"SELECT {COLUMNS} FROM usage_alerts WHERE origin = 'file'")  # noqa: S608 - a constant
    kept = {alert.id: alert for alert in map(from_row, rows)}
    wanted = {file_id(settings.name): settings for settings in file}
    for key in kept.keys() - wanted.keys():
        yield Sql("DELETE FROM usage_alerts WHERE id = ?", (key,))
    for key, settings in wanted.items():
        before = kept.get(key)
        if before is not None and before.settings == settings:
            continue
        armed = at if before is None or _means_other(before.settings, settings) else before.armed_at
        created = at if before is None else before.created_at
        yield _row(UsageAlert(id=key, origin="file", settings=settings, created_at=created, updated_at=at, armed_at=armed))


def _row(alert: UsageAlert) -> Sql:
    moments = tuple(map(to_micros, (alert.created_at, alert.updated_at, alert.armed_at)))
    return Sql(_PUT, (alert.id, alert.origin, definition_of(alert.settings), *moments))


def _means_other(before: UsageAlertSettings, after: UsageAlertSettings) -> bool:
    """Return whether what is over must not be looked at again with what is said now: names and channels do not matter."""
    told = {"name", "notification_channels"}
    return before.model_dump(exclude=told) != after.model_dump(exclude=told)


def _nobody() -> None:
    """Tell nobody."""
