"""The `metering`, `pricing`, `budgets`, `users` and `services` sections of the config."""

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from metering.periods import Weekday
from metering.units import BudgetLimit, Span

_LONGEST_WAIT = timedelta(minutes=5)


class Section(BaseModel):
    """A part of the config: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError) as error:
        msg = f"{value!r} is not a time zone: write an IANA name such as 'Europe/Berlin'"
        raise ValueError(msg) from error
    return value


type TimeZone = Annotated[str, AfterValidator(_known_zone)]
"""The IANA name of a time zone."""

type Patterns = str | tuple[str, ...]
"""One glob or several (any may match)."""


class Scope(Section):
    """Which calls; every field given must match, each by globs. An empty scope is every call."""

    provider: Patterns | None = None
    service: Patterns | None = None
    model: Patterns | None = None
    user: Patterns | None = None
    department: Patterns | None = None
    agent: Patterns | None = None
    key_id: Patterns | None = None

    if TYPE_CHECKING:

        def __hash__(self) -> int:
            """Say to type checkers what pydantic gives a frozen model."""
            ...


class BudgetSettings(Section):
    """One budget."""

    name: str = Field(min_length=1, max_length=100)
    scope: Scope = Scope()
    limit: BudgetLimit
    period: Literal["hour", "day", "week", "month"] = "day"
    timezone: TimeZone = "UTC"
    week_start: Weekday = "monday"
    """The day that a week begins on, where `period` is week."""
    warn_at: tuple[float, ...] = (0.8,)
    on_exceed: Literal["alert", "block"] = "block"
    reserve: Literal["lease", "worst_case", "input_only"] = "lease"
    """What an open call holds: a stream its input and a quantum of output at a time; all its output; or its input alone."""
    quantum: int = Field(default=1024, ge=16, le=1_000_000)
    """Output tokens that a stream holds at a time."""
    wait: Span = timedelta(seconds=2)
    """How long a call whose hold does not fit waits for what open calls hold, before it is refused."""
    unpriced: Literal["hold_dearest", "refuse"] = "hold_dearest"
    """Calls whose cost has no bound: held at the provider's dearest price, or refused."""

    @field_validator("wait")
    @classmethod
    def _bearable(cls, value: timedelta) -> timedelta:
        if value > _LONGEST_WAIT:
            msg = f"a call cannot wait {value} for a budget: its client would give up; at most {_LONGEST_WAIT}"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _refuses_or_not(self) -> "BudgetSettings":
        if self.unpriced == "refuse" and self.on_exceed == "alert":
            msg = "unpriced: refuse needs on_exceed: block; a budget that only alerts refuses nothing"
            raise ValueError(msg)
        return self

    @field_validator("warn_at")
    @classmethod
    def _shares(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < share < 1 for share in value):
            msg = "warn_at holds shares of the limit between 0 and 1, for example [0.8]"
            raise ValueError(msg)
        return tuple(sorted(set(value)))


class PriceOverride(Section):
    """USD per million tokens for one model (globs allowed). Without `input` and `output` the listed price counts, times `factor`."""

    provider: str = "*"
    model: str
    since: date | None = None
    """The first day (UTC) of calls that it counts for."""
    factor: Decimal = Field(default=Decimal(1), ge=0)
    input: Decimal | None = Field(default=None, ge=0)
    output: Decimal | None = Field(default=None, ge=0)
    cache_read: Decimal | None = Field(default=None, ge=0)
    cache_write: Decimal | None = Field(default=None, ge=0)
    cache_write_1h: Decimal | None = Field(default=None, ge=0)
    audio_input: Decimal | None = Field(default=None, ge=0)
    audio_output: Decimal | None = Field(default=None, ge=0)
    image_input: Decimal | None = Field(default=None, ge=0)
    image_output: Decimal | None = Field(default=None, ge=0)
    thousand_pages: Decimal | None = Field(default=None, ge=0)
    """From here on US dollars for what is charged by the piece."""
    thousand_annotated_pages: Decimal | None = Field(default=None, ge=0)
    audio_hour: Decimal | None = Field(default=None, ge=0)
    million_characters: Decimal | None = Field(default=None, ge=0)
    thousand_searches: Decimal | None = Field(default=None, ge=0)
    image: Decimal | None = Field(default=None, ge=0)
    video_second: Decimal | None = Field(default=None, ge=0)
    compute_second: Decimal | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _whole_or_on_top(self) -> "PriceOverride":
        if (self.input is None) != (self.output is None):
            msg = "an override gives both `input` and `output`, or neither: then the listed price counts for what is not given"
            raise ValueError(msg)
        return self


class PricingSettings(Section):
    """The `pricing` section."""

    overrides: tuple[PriceOverride, ...] = ()


class MeteringSettings(Section):
    """The `metering` section."""

    ask_for_usage: bool = True
    """Add `stream_options.include_usage` to OpenAI-type streams of hosts known to take it; the extra chunk is hidden from the client."""
    ask_for_usage_hosts: tuple[str, ...] = ()
    """Globs of further hosts that take it: OpenAI-compatible servers of one's own (vLLM)."""
    assume_output_tokens: int = Field(default=8192, ge=1)
    """Output held for a call that sets no cap of its own (bounded by the model's maximum where it is known)."""
    gap_share: float = Field(default=0.05, gt=0, le=1)
    """The uncertain part of a provider's day beyond which `meter_gap` is raised: (most - least) / most."""
    retention_days: int = Field(default=400, ge=1)
    """How long single calls are kept; their hourly sums are kept for good."""


class UserSettings(Section):
    """One person."""

    name: str = Field(min_length=1, max_length=200)
    department: str | None = None
    last_day: date | None = None


class ServiceSettings(Section):
    """A name for a group of calls, beyond the provider's."""

    name: str
    match: Scope
