"""The `api` section of the config."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from alerting.notify.signing import key_of
from metering.settings import Patterns, Section
from metering.units import Span, off


class SessionSettings(Section):
    """How long a session token is good."""

    absolute: Span = timedelta(hours=4)
    idle: Span = timedelta(hours=1)
    at_most: int = Field(default=5, ge=1, le=100)


class HookSettings(Section):
    """One integration that reports on rules."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    """The last part of its URL."""
    secret: str
    rules: Patterns = "*"
    """The ids of the rules that it may speak of, by globs."""
    enabled: bool = True

    @field_validator("secret")
    @classmethod
    def _is_a_key(cls, value: str) -> str:
        key_of(value)
        return value


class ApiSettings(Section):
    """The `api` section."""

    listen: str = "127.0.0.1:3100"
    tls: Annotated[Literal["auto", "off"], BeforeValidator(off)] = "auto"
    """`auto`: plain and TLS on one port, told apart by the first byte. `off`: plain only."""
    feeds: tuple[Literal["org", "local", "entries", "account", "rules"], ...] = ("org", "local", "entries", "account", "rules")
    """What a feed that is not named here would serve is 404."""
    requests_per_minute: int = Field(default=1000, ge=1, le=1_000_000)
    """How many requests a minute one token may send to the org feed."""
    allowed_hosts: tuple[str, ...] = ()
    """Names beyond localhost and loopback addresses that a `Host` header may carry."""
    sessions: SessionSettings = SessionSettings()
    hooks: tuple[HookSettings, ...] = ()
    """Integrations that report on rules: `POST /api/v1/gateway/hooks/{name}`."""

    @field_validator("hooks")
    @classmethod
    def _are_told_apart(cls, value: tuple[HookSettings, ...]) -> tuple[HookSettings, ...]:
        names = [hook.name for hook in value]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"the hook {twice!r} stands twice; give each its own name")
        return value
