"""What a usage alert is: the shape that the config file and the account feed share."""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field, model_validator

from metering.periods import PeriodKind
from metering.settings import Section

NAME = r"\S"
"""A name is not blank."""
MOST = 1_000_000_000_000
"""The largest threshold."""


class UsageType(StrEnum):
    """What a usage alert looks at."""

    COST_THRESHOLD = "cost_threshold"
    """US dollars spent in a period."""
    ERROR_RATE = "error_rate"
    """Per cent of the calls of a period that failed."""
    USAGE_SPIKE = "usage_spike"
    """Per cent by which the calls of a period exceed the mean of the periods before."""
    QUOTA_LIMIT = "quota_limit"
    """Per cent of a budget that is spent."""
    MODEL_LATENCY = "model_latency"
    """Mean milliseconds from a request to the end of its answer."""
    UNUSUAL_ACTIVITY = "unusual_activity"
    """An hour that is far from the same hour of other weeks; it has no threshold."""


_WHOLE = 100
_PER_CENT = (UsageType.ERROR_RATE, UsageType.QUOTA_LIMIT)

type Channel = Literal["email", "dashboard"]


class UsageAlertSettings(Section):
    """One usage alert. Its threshold is in the unit of its type (US dollars, per cent, milliseconds)."""

    name: str = Field(min_length=1, max_length=200, pattern=NAME)
    type: UsageType
    threshold: int | float | None = Field(default=None, ge=0, le=MOST, allow_inf_nan=False)
    period: PeriodKind = "day"
    """The calendar (UTC) by which it is evaluated; it fires once in each of its hours, days, weeks or months at most."""
    enabled: bool = True
    notification_channels: tuple[Channel, ...] = ("dashboard",)
    budget: str | None = Field(default=None, min_length=1, max_length=100)
    """Of quota_limit: whose share is looked at; without it, the organisation's (the one that counts every call)."""

    @model_validator(mode="after")
    def _fits_its_type(self) -> "UsageAlertSettings":
        check(self)
        return self


class MisfitError(ValueError):
    """A field of a usage alert that contradicts its type; `why` says what it may be."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


def settings_of(values: Mapping[str, Any]) -> UsageAlertSettings:
    """Return a definition of values that are each good by themselves. Raises MisfitError."""
    check(UsageAlertSettings.model_construct(None, **values))
    return UsageAlertSettings.model_validate(values)


def check(alert: UsageAlertSettings) -> None:
    """Raise MisfitError when the fields of a usage alert contradict each other."""
    if alert.threshold is None and alert.type is not UsageType.UNUSUAL_ACTIVITY:
        raise MisfitError("threshold", f"{alert.type} needs a threshold, a number of {unit_of(alert.type)}")
    if alert.threshold is not None and alert.type in _PER_CENT and alert.threshold > _WHOLE:
        raise MisfitError("threshold", f"a threshold of {alert.type} is per cent, from 0 to 100")
    if alert.budget is not None and alert.type is not UsageType.QUOTA_LIMIT:
        raise MisfitError("budget", f"only quota_limit looks at a budget; leave it out for {alert.type}")
    if len(set(alert.notification_channels)) < len(alert.notification_channels):
        raise MisfitError("notification_channels", "a channel stands twice")


def unit_of(kind: UsageType) -> str:
    """Return the unit of a threshold, in words."""
    if kind is UsageType.COST_THRESHOLD:
        return "US dollars"
    return "milliseconds" if kind is UsageType.MODEL_LATENCY else "per cent"


def threshold_of(value: float) -> str:
    """Return a threshold or a value for people: no digits beyond need."""
    return f"{value:,.0f}" if math.floor(value) == value else f"{value:,.6f}".rstrip("0").rstrip(".")
