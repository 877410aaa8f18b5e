"""The entry configs of the config file and those made through the API, with their silences."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast
from uuid import uuid4

from alerting.entry_settings import EntryConfigSettings, read_definition
from alerting.toggles import DefinedInConfigError
from storage.audit import audit_row
from storage.database import Database, Row, Sql, Work
from storage.times import from_micros, to_micros

type Clock = Callable[[], datetime]
type Origin = Literal["file", "store"]

MOST_STORED = 1_000
"""Configs that the API may make."""
EVERYWHERE = ""
"""The place of a silence of a whole config."""

_COLUMNS = "id, origin, definition, created_at, updated_at"
IN_FORCE = f"SELECT {_COLUMNS} FROM entry_configs WHERE deleted_at IS NULL ORDER BY origin, seq, id"  # noqa: S608  # only constants
SILENCES = "SELECT config_id, place, since_at, until_at FROM entry_silences ORDER BY config_id, place"
DEFINITION = "SELECT definition FROM entry_configs WHERE id = ?"
"""Also of a config that is gone: its entries are still answered by it."""
_PUT_FILE = """
INSERT INTO entry_configs (id, seq, origin, definition, created_at, updated_at) VALUES (?, ?, 'file', ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, origin = 'file', definition = excluded.definition, deleted_at = NULL,
    updated_at = CASE WHEN entry_configs.definition = excluded.definition AND entry_configs.deleted_at IS NULL
        THEN entry_configs.updated_at ELSE excluded.updated_at END
"""
_FILED = "SELECT id FROM entry_configs WHERE origin = 'file' AND deleted_at IS NULL"
_GONE = "UPDATE entry_configs SET deleted_at = ? WHERE id = ?"
_FORGET = ("DELETE FROM entry_silences WHERE config_id = ?", "DELETE FROM entry_waiting WHERE config_id = ?")
_MAKE = """
INSERT INTO entry_configs (id, seq, origin, definition, created_at, updated_at)
SELECT ?, (SELECT COALESCE(MAX(seq), 0) + 1 FROM entry_configs), 'store', ?, ?, ?
WHERE (SELECT COUNT(*) FROM entry_configs WHERE origin = 'store' AND deleted_at IS NULL) < ?
RETURNING id
"""
_CHANGE = "UPDATE entry_configs SET definition = ?, updated_at = ? WHERE id = ? AND origin = 'store' AND deleted_at IS NULL RETURNING id"
_REMOVE = "UPDATE entry_configs SET deleted_at = ? WHERE id = ? AND origin = 'store' AND deleted_at IS NULL RETURNING id"
_STANDING = "SELECT origin FROM entry_configs WHERE id = ? AND deleted_at IS NULL"
_SILENCE = """
INSERT INTO entry_silences (config_id, place, since_at, until_at) VALUES (?, ?, ?, ?)
ON CONFLICT (config_id, place) DO UPDATE SET until_at = excluded.until_at,
    since_at = CASE WHEN entry_silences.until_at > excluded.since_at THEN entry_silences.since_at ELSE excluded.since_at END
"""
_LIFT = "DELETE FROM entry_silences WHERE config_id = ? AND place = ?"
_TOUCH = "UPDATE entry_configs SET updated_at = ? WHERE id = ?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """No entries of a config, at one place or (`EVERYWHERE`) at all, of detections from `since_at` to before `until_at` (microseconds)."""

    place: str
    since_at: int
    until_at: int

    def holds(self, at: int) -> bool:
        """Whether it holds back a detection of this moment."""
        return self.since_at <= at < self.until_at


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptConfig:
    """A config, where it is from, and its silences."""

    id: str
    origin: Origin
    settings: EntryConfigSettings
    created_at: datetime
    updated_at: datetime
    silences: Mapping[str, Silence]

    def is_silent(self, place: str, at: int) -> bool:
        """Whether it makes no entry of a detection at this place and moment (microseconds)."""
        found = (self.silences.get(EVERYWHERE), self.silences.get(place))
        return any(silence is not None and silence.holds(at) for silence in found)


class NoConfigError(LookupError):
    """There is no such config."""


class TooManyConfigsError(ValueError):
    """So many configs are made already that there may be no more."""


def kept(configs: Sequence[Row], silences: Sequence[Row]) -> list[KeptConfig]:
    """Return the configs of the rows of `IN_FORCE` and `SILENCES`; one that this version cannot read is left out."""
    by_config: dict[str, dict[str, Silence]] = {}
    for config_id, place, since_at, until_at in cast("Sequence[tuple[str, str, int, int]]", silences):
        by_config.setdefault(config_id, {})[place] = Silence(place=place, since_at=since_at, until_at=until_at)
    return [found for row in configs if (found := _kept(row, by_config)) is not None]


def _kept(row: Row, silences: Mapping[str, Mapping[str, Silence]]) -> KeptConfig | None:
    config_id, origin, definition, created_at, updated_at = cast("tuple[str, Origin, str, int, int]", row)
    try:
        settings = read_definition(definition)
    except ValueError:
        return None
    return KeptConfig(
        id=config_id,
        origin=origin,
        settings=settings,
        created_at=from_micros(created_at),
        updated_at=from_micros(updated_at),
        silences=silences.get(config_id, {}),
    )


class EntryConfigs:
    """All entry configs. `settle` groups what was detected before a change, so that the change is for what comes after it."""

    def __init__(self, database: Database, *, now: Clock, settle: Callable[[], Awaitable[object]]) -> None:
        self._database = database
        self._now = now
        self._settle = settle

    # --- questions -----------------------------------------------------------------------------------------------------

    async def all(self) -> list[KeptConfig]:
        """Return the configs in force: the file's in its order, then those of the API as they were made."""
        return kept(await self._database.read(IN_FORCE), await self._database.read(SILENCES))

    async def get(self, config_id: str) -> KeptConfig:
        """Return a config that is in force. Raises NoConfigError."""
        for config in await self.all():
            if config.id == config_id:
                return config
        raise NoConfigError(config_id)

    async def broken(self) -> list[str]:
        """Return the ids of stored configs that this version cannot read: they make no entries."""
        rows = await self._database.read(IN_FORCE)
        return [cast("str", row[0]) for row in rows if _kept(row, {}) is None]

    # --- changes -------------------------------------------------------------------------------------------------------

    async def follow_file(self, file: Sequence[EntryConfigSettings]) -> None:
        """Bring the config file's into force, and take out of force what it no longer has."""
        await self._settle()
        at = to_micros(self._now())
        ids = {settings.config_id for settings in file}

        def work() -> Work[None]:
            for seq, settings in enumerate(file):
                yield Sql(_PUT_FILE, (settings.config_id, seq, _definition(settings), at, at))
            for row in (yield Sql(_FILED)):
                if row[0] not in ids:
                    yield Sql(_GONE, (at, row[0]))
                    yield from _forget(cast("str", row[0]))

        await self._database.write(work)

    async def create(self, settings: EntryConfigSettings, *, actor: str) -> KeptConfig:
        """Make a config. Raises TooManyConfigsError."""
        await self._settle()
        now, config_id = self._now(), str(uuid4())
        at, definition = to_micros(now), _definition(settings)

        def work() -> Work[bool]:
            made = yield Sql(_MAKE, (config_id, definition, at, at, MOST_STORED))
            if made:
                yield audit_row(at=now, actor=actor, action="entry_config.created", subject=config_id, detail=definition)
            return bool(made)

        if not await self._database.write(work):
            raise TooManyConfigsError(f"there are {MOST_STORED} configs already: delete one that is not needed")
        return await self.get(config_id)

    async def change(self, config_id: str, settings: EntryConfigSettings, *, actor: str) -> KeptConfig:
        """Change a config for what is detected from now on. Raises NoConfigError or DefinedInConfigError."""
        await self._settle()
        now, definition = self._now(), _definition(settings)
        change = Sql(_CHANGE, (definition, to_micros(now), config_id))
        audit = audit_row(at=now, actor=actor, action="entry_config.updated", subject=config_id, detail=definition)
        await self._database.write(lambda: _own(change, audit, config_id=config_id))
        return await self.get(config_id)

    async def remove(self, config_id: str, *, actor: str) -> None:
        """Take a config out of force; its entries stay. Raises NoConfigError or DefinedInConfigError."""
        await self._settle()
        now = self._now()
        change = Sql(_REMOVE, (to_micros(now), config_id))
        audit = audit_row(at=now, actor=actor, action="entry_config.deleted", subject=config_id)

        def work() -> Work[None]:
            yield from _own(change, audit, config_id=config_id)
            yield from _forget(config_id)

        await self._database.write(work)

    async def silence(self, config_id: str, *, place: str = EVERYWHERE, until: datetime | None, actor: str) -> KeptConfig:
        """Make no entries of a config, at one place or at all, until a moment; None: make them again. Raises NoConfigError."""
        await self._settle()
        now = self._now()
        at = to_micros(now)
        said = json.dumps({"roi": place or None, "until": None if until is None else until.isoformat()})
        action = "entry_silence.deleted" if until is None else "entry_silence.created"

        def work() -> Work[None]:
            if not (yield Sql(_STANDING, (config_id,))):
                raise NoConfigError(config_id)
            yield Sql(_LIFT, (config_id, place)) if until is None else Sql(_SILENCE, (config_id, place, at, to_micros(until)))
            yield Sql(_TOUCH, (at, config_id))
            yield audit_row(at=now, actor=actor, action=action, subject=config_id, detail=said)

        await self._database.write(work)
        return await self.get(config_id)


def _own(change: Sql, audit: Sql, *, config_id: str) -> Work[None]:
    """Change a config of the API's own, and say so in the audit trail."""
    if (yield change):
        yield audit
        return
    rows = yield Sql(_STANDING, (config_id,))
    if not rows:
        raise NoConfigError(config_id)
    raise DefinedInConfigError(
        f"the config {config_id} is defined by alerting.entry_configs in the config file, or is one of those that are shipped and stand "
        "where that key is left out: change it there (`tollwatch config show` names the file), then `tollwatch reload`"
    )


def _forget(config_id: str) -> Work[None]:
    for text in _FORGET:
        yield Sql(text, (config_id,))


def _definition(settings: EntryConfigSettings) -> str:
    return settings.model_dump_json(exclude={"id"})
