"""The `rules` section of the config: what one policy rule says."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from alerting.finding import Action, Severity
from alerting.schedule import days_of, minutes_of
from alerting.texts import MOST_PATTERNS, compiled, known_kinds
from metering.settings import Patterns, Section, TimeZone

RESERVED = "tollwatch:"
"""What the ids of the gateway's own rules begin with."""


class Not(Section):
    """Everything but these: `{not: [engineering]}`. A call whose field is unknown matches."""

    not_: Patterns = Field(alias="not")

    @field_validator("not_")
    @classmethod
    def _names_some(cls, value: Patterns) -> Patterns:
        if not value:
            raise ValueError("`not` names nothing: leave the field out to match every call")
        return value


def listed(patterns: "Patterns | Not | None") -> tuple[str, ...]:
    """Return the patterns of a field, whether it has one, several or a `not` of them; none for a field that is not given."""
    if isinstance(patterns, Not):
        patterns = patterns.not_
    return () if patterns is None else (patterns,) if isinstance(patterns, str) else patterns


def _names_some(value: object) -> object:
    if value in ("", [], ()):
        raise ValueError("the field names nothing: leave it out to match every call")
    return value


Named = Annotated[Patterns | Not | None, BeforeValidator(_names_some)]
"""A field that is matched by globs, one or several, or by everything but these."""


class Match(Section):
    """Which calls a rule is about; every field given must match."""

    provider: Named = None
    model: Named = None
    operation: Named = None
    endpoint: Named = None
    host: Named = None
    path: Named = None
    user: Named = None
    department: Named = None
    agent: Named = None
    service: Named = None
    key_id: Named = None
    tools: Named = None
    """Any tool that the call defines, by its name."""
    min_input_tokens: int | None = Field(default=None, ge=1, strict=True)
    """The prompt has at least so many tokens."""
    max_input_tokens: int | None = Field(default=None, ge=0, strict=True)
    """The prompt has at most so many tokens."""
    min_bytes: int | None = Field(default=None, ge=1, strict=True)
    """The request's body has at least so many bytes."""
    max_bytes: int | None = Field(default=None, ge=0, strict=True)
    """The request's body has at most so many bytes."""
    hours: Named = None
    """Spans of the day such as `09:00-17:00`, in the time zone."""
    weekdays: Named = None
    """Days such as `mon` and spans of them such as `mon-fri`, in the time zone."""
    timezone: TimeZone = "UTC"
    secrets: Named = None
    """Kinds of secrets that stand in the prompt, or `any`."""
    text: Named = None
    """RE2 patterns that the prompt's text has."""

    @field_validator("hours")
    @classmethod
    def _hours(cls, value: Patterns | Not | None) -> Patterns | Not | None:
        minutes_of(listed(value))
        return value

    @field_validator("weekdays")
    @classmethod
    def _weekdays(cls, value: Patterns | Not | None) -> Patterns | Not | None:
        days_of(listed(value))
        return value

    @field_validator("secrets")
    @classmethod
    def _secrets(cls, value: Patterns | Not | None) -> Patterns | Not | None:
        known_kinds(listed(value))
        return value

    @field_validator("text")
    @classmethod
    def _text(cls, value: Patterns | Not | None) -> Patterns | Not | None:
        patterns = listed(value)
        if len(patterns) > MOST_PATTERNS:
            raise ValueError(f"{len(patterns)} patterns are too many for one rule: at most {MOST_PATTERNS}")
        for pattern in patterns:
            compiled(pattern)
        return value

    @model_validator(mode="after")
    def _spans(self) -> Self:
        for least, most, unit in (
            (self.min_input_tokens, self.max_input_tokens, "input_tokens"),
            (self.min_bytes, self.max_bytes, "bytes"),
        ):
            if least is not None and most is not None and least > most:
                raise ValueError(f"min_{unit} {least:,} is above max_{unit} {most:,}: no call can match")
        if self.timezone != "UTC" and self.hours is None and self.weekdays is None:
            raise ValueError("a timezone without `hours` or `weekdays` means nothing: add one of these, or leave it out")
        return self


class RuleSettings(Section):
    """One policy rule. The highest priority that matches decides; among equals block beats alert beats allow."""

    id: str = Field(min_length=1, max_length=100)
    title: str = Field(min_length=1, max_length=200)
    match: Match
    action: Action
    severity: Severity = Severity.MEDIUM
    priority: int = Field(default=0, ge=-1_000_000, le=1_000_000)
    enabled: bool = True
    description: str | None = Field(default=None, max_length=2_000)
    """Why the rule is there."""
    owner: str | None = Field(default=None, max_length=200)
    """Who answers for it."""

    @field_validator("id")
    @classmethod
    def _is_free(cls, value: str) -> str:
        if value.strip() != value or not value.isprintable() or set(value) & set("/?#"):
            raise ValueError(f"{value!r} is no id of a rule: leave out `/`, `?`, `#`, and blanks at its ends")
        if value.startswith(RESERVED):
            raise ValueError(f"{value!r} begins with {RESERVED!r}, which the gateway's own rules do: choose another id")
        return value
