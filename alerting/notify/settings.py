"""The `notify` section of the config."""

import ipaddress
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from alerting.notify.addresses import AddressGuard, ForbiddenAddressError, UrlError
from alerting.notify.events import ALL, known_events
from alerting.notify.mail_settings import EmailSettings
from alerting.notify.signing import key_of
from metering.settings import Section
from metering.units import Span

_LEAST_TIMEOUT, _MOST_TIMEOUT = timedelta(seconds=1), timedelta(seconds=25)


def _network(value: object) -> object:
    try:
        return ipaddress.ip_network(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"{value!r} is no network: write for example '10.1.0.0/16' or '127.0.0.0/8' ({error})") from error


class WebhookSettings(Section):
    """One receiver of alerts."""

    name: str = Field(min_length=1, max_length=100)
    url: str
    secret: str
    events: tuple[str, ...] = (ALL,)
    description: str | None = Field(default=None, max_length=500)
    enabled: bool = True

    @field_validator("secret")
    @classmethod
    def _is_a_key(cls, value: str) -> str:
        key_of(value)
        return value

    @field_validator("events")
    @classmethod
    def _are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return known_events(value)


class NotifySettings(Section):
    """Who is told of alerts outside."""

    webhooks: tuple[WebhookSettings, ...] = ()
    allowed_networks: tuple[Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)], ...] = ()
    """Networks beyond the public internet that webhooks may go to, by http too."""
    email: EmailSettings | None = None
    timeout: Span = timedelta(seconds=10)
    """How long a receiver may take to answer."""

    @field_validator("timeout")
    @classmethod
    def _bearable(cls, value: timedelta) -> timedelta:
        if not _LEAST_TIMEOUT <= value <= _MOST_TIMEOUT:
            raise ValueError(f"a receiver is given 1s to 25s to answer, not {value.total_seconds():g}s")
        return value

    @model_validator(mode="after")
    def _may_be_reached(self) -> Self:
        names = [hook.name for hook in self.webhooks]
        for hook in self.webhooks:
            if names.count(hook.name) > 1:
                raise ValueError(f"the webhook {hook.name!r} stands twice; give each its own name")
            try:
                self.guard().check_url(hook.url)
            except (UrlError, ForbiddenAddressError) as error:
                raise ValueError(f"the webhook {hook.name!r} cannot be used: {error}") from error
        return self

    def guard(self) -> AddressGuard:
        """Return what decides where webhooks may go."""
        return AddressGuard(self.allowed_networks)
