"""A usage alert as it is kept: its definition, where it is defined, since when it counts."""

import base64
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, cast
from zoneinfo import ZoneInfo

from alerting.finding import AlertKind
from alerting.usage_settings import Channel, UsageAlertSettings, UsageType
from metering.periods import Period, PeriodKind, period_at
from storage.database import Row
from storage.times import from_micros

type Origin = Literal["file", "api"]

ID: Final = re.compile(r"alert_(?=[a-z2-7]*[a-z])[a-z2-7]{12}")
"""Twelve characters of base32, a letter among them: so that it is never an id of the local feed, which has digits alone."""

KIND_OF: Final[Mapping[UsageType, AlertKind]] = {
    UsageType.COST_THRESHOLD: AlertKind.USAGE_COST,
    UsageType.ERROR_RATE: AlertKind.USAGE_ERROR_RATE,
    UsageType.USAGE_SPIKE: AlertKind.USAGE_SPIKE,
    UsageType.QUOTA_LIMIT: AlertKind.USAGE_QUOTA,
    UsageType.MODEL_LATENCY: AlertKind.USAGE_LATENCY,
    UsageType.UNUSUAL_ACTIVITY: AlertKind.USAGE_UNUSUAL,
}

COLUMNS = "id, origin, definition, created_at, updated_at, armed_at"
_UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageAlert:
    """One usage alert. From `armed_at` on it is evaluated: buckets that were over before then are never looked at."""

    id: str
    origin: Origin
    settings: UsageAlertSettings
    created_at: datetime
    updated_at: datetime
    armed_at: datetime

    @property
    def name(self) -> str:
        """What its owner calls it."""
        return self.settings.name

    @property
    def type(self) -> UsageType:
        """What it looks at."""
        return self.settings.type

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Through what it notifies."""
        return self.settings.notification_channels

    @property
    def kind(self) -> AlertKind:
        """The kind of the alerts that it raises."""
        return KIND_OF[self.type]

    def bucket(self, at: datetime) -> Period:
        """Return the bucket of its calendar that a moment falls in."""
        return bucket_at(self.settings.period, at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """That a usage alert fired, as its owner sees it: `acknowledged` is how the alert stands that it raised."""

    triggered_at: datetime
    value: float
    acknowledged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggered:
    """How often a usage alert fired, and when last."""

    count: int = 0
    last_at: datetime | None = None


def bucket_at(period: PeriodKind, at: datetime) -> Period:
    """Return the hour, day, week (from Monday on) or month in UTC that a moment falls in."""
    return period_at(period, _UTC, at.astimezone(UTC))


def new_id() -> str:
    """Return an id that nobody can guess."""
    while not ID.fullmatch(made := _id_of(os.urandom(8))):
        pass
    return made


def file_id(name: str) -> str:
    """Return the id of a usage alert of the config file: always the same for its name."""
    seed = hashlib.sha256(name.encode()).digest()
    while not ID.fullmatch(made := _id_of(seed)):
        seed = hashlib.sha256(seed).digest()
    return made


def _id_of(seed: bytes) -> str:
    return f"alert_{base64.b32encode(seed[:8]).decode().lower()[:12]}"


def definition_of(settings: UsageAlertSettings) -> str:
    """Return a definition as the store keeps it."""
    return json.dumps(settings.model_dump(mode="json", exclude_none=True), sort_keys=True)


def from_row(row: Row) -> UsageAlert:
    """Return the usage alert of a row of `COLUMNS`."""
    key, origin, definition, created_at, updated_at, armed_at = cast("tuple[str, Origin, str, int, int, int]", tuple(row))
    return UsageAlert(
        id=key,
        origin=origin,
        settings=UsageAlertSettings.model_validate_json(definition),
        created_at=from_micros(created_at),
        updated_at=from_micros(updated_at),
        armed_at=from_micros(armed_at),
    )
