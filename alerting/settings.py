"""The `detectors` and `alerting` sections of the config."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from alerting.entry_settings import SHIPPED, EntryConfigSettings
from alerting.finding import Action
from alerting.matchers import Matcher, parse_matcher
from alerting.onchain_settings import OnchainSettings
from alerting.silence import LONGEST_COMMENT, LONGEST_NAME, checked_matchers
from metering.settings import Scope, Section, TimeZone
from metering.units import Span


class PromptDriftSettings(Section):
    """A service's system prompt departs from what is normal for it."""

    enabled: bool = True
    action: Literal[Action.ALERT, Action.BLOCK] = Action.ALERT
    compare: Literal["exact"] = "exact"
    approve: Literal["first", "manual"] = "first"
    """`first`: the first prompt seen of a service and agent becomes its baseline. `manual`: nothing is normal until approved."""


class ToolDriftSettings(Section):
    """The definition of a tool departs from what is normal for its service."""

    enabled: bool = False
    action: Literal[Action.ALERT, Action.BLOCK] = Action.ALERT
    approve: Literal["first", "manual"] = "first"
    """`first`: the first definition seen of a tool becomes normal for its service and agent. `manual`: nothing is normal until approved."""


class PromptSizeSettings(Section):
    """Prompts that are larger than they should be."""

    max_tokens: int | None = Field(default=200_000, ge=1)
    max_chars: int | None = Field(default=None, ge=1)
    action: Literal[Action.ALERT, Action.BLOCK] = Action.ALERT


class RateLimitSettings(Section):
    """At most so many requests or tokens in any window of this length, per scope."""

    name: str | None = None
    scope: Scope = Scope()
    per: Literal["second", "minute", "hour", "day"] = "minute"
    by: Literal["user", "service", "model", "key_id", "agent"] | None = None
    """Count apart for each value of this field; without it, all calls of the scope together."""
    requests: int | None = Field(default=None, ge=1)
    tokens: int | None = Field(default=None, ge=1)
    action: Literal[Action.ALERT, Action.BLOCK] = Action.BLOCK

    @model_validator(mode="after")
    def _limits_something(self) -> "RateLimitSettings":
        if self.requests is None and self.tokens is None:
            msg = "a rate limit needs `requests` or `tokens`"
            raise ValueError(msg)
        return self


class LockoutSettings(Section):
    """Callers who break critical rules again and again are refused until a person releases them."""

    after: int | None = Field(default=None, ge=1, le=1000)
    """So many refusals by findings of severity critical lock the caller out; null: only the command does."""
    within: Span = timedelta(minutes=10)

    @field_validator("within")
    @classmethod
    def _lasts(cls, value: timedelta) -> timedelta:
        if value <= timedelta(0):
            msg = "`within` must be longer than nothing, for example 10m"
            raise ValueError(msg)
        return value


class LastDaySettings(Section):
    """Calls of users whose `last_day` is over."""

    action: Literal[Action.ALERT, Action.BLOCK] = Action.BLOCK
    timezone: TimeZone = "UTC"
    """Where the day ends."""


class DetectorSettings(Section):
    """The `detectors` section."""

    prompt_drift: PromptDriftSettings = PromptDriftSettings()
    tool_drift: ToolDriftSettings = ToolDriftSettings()
    prompt_size: PromptSizeSettings = PromptSizeSettings()
    rate_limits: tuple[RateLimitSettings, ...] = ()
    onchain: OnchainSettings = OnchainSettings()
    lockout: LockoutSettings = LockoutSettings()
    last_day: LastDaySettings = LastDaySettings()


def _in_utc(value: datetime) -> datetime:
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{value.isoformat()} is out of range; leave the key out for no end") from error


type Moment = Annotated[datetime, AfterValidator(_in_utc)]
"""A moment; without an offset it is UTC."""


class SilenceSettings(Section):
    """A silence that the config file defines."""

    matchers: Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
    """Conditions on labels, as Prometheus writes them; all must match."""
    starts: Moment | None = None
    ends: Moment | None = None
    comment: str = Field(min_length=1, max_length=LONGEST_COMMENT)
    created_by: str = Field(default="config", min_length=1, max_length=LONGEST_NAME)

    @field_validator("matchers")
    @classmethod
    def _can_be_asked(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        checked_matchers([parse_matcher(text) for text in value])
        return value

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> "SilenceSettings":
        if self.starts and self.ends and self.ends <= self.starts:
            msg = f"a silence that ends at {self.ends.isoformat()} cannot start at {self.starts.isoformat()}"
            raise ValueError(msg)
        return self

    @property
    def parsed(self) -> tuple[Matcher, ...]:
        """The matchers, read."""
        return tuple(map(parse_matcher, self.matchers))


class AlertingSettings(Section):
    """The `alerting` section."""

    dedup: Literal["episode", "none"] = "episode"
    expire_after: Span = timedelta(hours=24)
    retention_days: int = Field(default=30, ge=1, le=3650)
    silences: tuple[SilenceSettings, ...] = ()
    org_budget_warnings: bool = False
    """The org feed and its webhooks show `budget_warning` too."""
    entry_configs: tuple[EntryConfigSettings, ...] = SHIPPED

    @field_validator("entry_configs")
    @classmethod
    def _told_apart(cls, value: tuple[EntryConfigSettings, ...]) -> tuple[EntryConfigSettings, ...]:
        ids = [one.config_id for one in value]
        for one in value:
            if ids.count(one.config_id) > 1:
                raise ValueError(f"{one.title!r} stands twice; give each its own title, or an id")
        return value


class RuleHealthSettings(Section):
    """The `rule_health` section: when a rule itself is worth an alert."""

    dormant_after: Span = timedelta(days=90)
    """A rule that was not evaluated for so long is dormant."""
    deny_rate: float = Field(default=0.5, gt=0, lt=1)
    """The share of evaluations that may be denied; the alert ends 0.05 below it."""
    deny_window: Span = timedelta(days=30)
    """The days over which the share is taken, today included."""
    min_evaluations: int = Field(default=10, ge=1)
    """With fewer in the window, the share says nothing."""

    @model_validator(mode="after")
    def _whole_days(self) -> "RuleHealthSettings":
        for name in ("dormant_after", "deny_window"):
            if getattr(self, name) < timedelta(days=1):
                msg = f"{name} is counted by days: write at least 1d"
                raise ValueError(msg)
        return self
