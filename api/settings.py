"""The `api` section of the config."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from metering.settings import Section
from metering.units import Span, off


class SessionSettings(Section):
    """How long a session token is good."""

    absolute: Span = timedelta(hours=4)
    idle: Span = timedelta(hours=1)
    at_most: int = Field(default=5, ge=1, le=100)


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
