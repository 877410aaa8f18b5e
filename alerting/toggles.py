"""Which types of alert are raised, and how long alerts are kept: the choices made through the local feed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from alerting.episodes import TOGGLE_PREFIX
from alerting.kinds import LOCAL_TYPES
from alerting.settings import AlertingSettings
from storage.audit import audit_row
from storage.database import Row, Sql, Work

RETENTION = "retention_days"
LONGEST_RETENTION = 3650

READ = "SELECT name, value FROM alert_settings"
_WRITE = "INSERT INTO alert_settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertToggles:
    """One switch for each type of the local feed, and the days that a resolved alert is kept."""

    toggles: Mapping[str, bool]
    retention_days: int


class DefinedInConfigError(Exception):
    """The config file defines what was to be set; the message says where."""


def from_rows(rows: list[Row], *, settings: AlertingSettings) -> AlertToggles:
    """Return the choices made, and the defaults where none was. What the config file defines counts before a choice of earlier."""
    stored = {cast("str", name): cast("str", value) for name, value in rows}
    chosen = None if _defines_retention(settings) else stored.get(RETENTION)
    return AlertToggles(
        toggles={name: stored.get(TOGGLE_PREFIX + name) != "false" for name in LOCAL_TYPES},
        retention_days=settings.retention_days if chosen is None else int(chosen),
    )


def refuse_what_is_defined(retention_days: int | None, settings: AlertingSettings) -> None:
    """Raise DefinedInConfigError when the config file says something else; what it says already may be said again."""
    if retention_days is not None and _defines_retention(settings) and retention_days != settings.retention_days:
        raise DefinedInConfigError(
            f"retention_days is {settings.retention_days} by alerting.retention_days in the config file: change it there and start the "
            "gateway again (`tollwatch config show` names the file), or take the key out to set it here"
        )


def checked(toggles: Mapping[str, bool], retention_days: int | None) -> dict[str, str]:
    """Return the settings to write; raise ValueError with what is accepted when one is not."""
    if unknown := sorted(set(toggles) - set(LOCAL_TYPES)):
        raise ValueError(f"Cannot set toggle {unknown[0]!r}: there is no such alert type. Known: {', '.join(LOCAL_TYPES)}")
    if retention_days is not None and not 1 <= retention_days <= LONGEST_RETENTION:
        raise ValueError(f"Cannot keep alerts for {retention_days} days: give a number from 1 to {LONGEST_RETENTION}")
    changes = {TOGGLE_PREFIX + name: "true" if on else "false" for name, on in toggles.items()}
    if retention_days is not None:
        changes[RETENTION] = str(retention_days)
    return changes


def _defines_retention(settings: AlertingSettings) -> bool:
    return RETENTION in settings.model_fields_set


def write(changes: Mapping[str, str], *, at: datetime, actor: str) -> Work[None]:
    """Keep the choices, and who made them."""
    for name, value in changes.items():
        yield Sql(_WRITE, (name, value))
    yield audit_row(
        at=at, actor=actor, action="alert_config.changed", subject="alert config", detail=json.dumps(dict(changes), sort_keys=True)
    )
