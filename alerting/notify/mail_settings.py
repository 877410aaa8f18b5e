"""The `notify.email` section of the config: by which server mail is sent, from whom and to whom."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from alerting.finding import Severity
from metering.settings import Section

type Security = Literal["starttls", "tls", "none"]

_PORTS: dict[Security, int] = {"starttls": 587, "tls": 465, "none": 25}
_ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\]{1,64}@[A-Za-z0-9.-]{1,255}")


def _is_an_address(value: str) -> str:
    if not _ADDRESS.fullmatch(value) or not value.isascii():
        raise ValueError(f"{value!r} is no address: write for example 'alerts@example.com', without a name")
    return value


type Address = Annotated[str, AfterValidator(_is_an_address)]


class EmailSettings(Section):
    """A server that takes mail, and who gets it."""

    host: str = Field(min_length=1, max_length=255)
    port: int | None = Field(default=None, ge=1, le=65535)
    """Null: 587 for starttls, 465 for tls, 25 for none."""
    security: Security = "starttls"
    """`starttls`: begins in clear text and is encrypted before anything is said, or fails. `tls`: encrypted from the first byte."""
    ca_file: Path | None = None
    """A PEM file of the authority that signed the server's certificate; null: those that the system trusts."""
    username: str | None = Field(default=None, min_length=1)
    password: SecretStr | None = None
    sender: Address = Field(alias="from")
    recipients: tuple[Address, ...] = Field(alias="to", min_length=1, max_length=20)
    min_severity: Severity | None = None
    """Tell by mail of every alert of at least this severity; null: of those of usage alerts alone that name `email`."""
    enabled: bool = True

    @model_validator(mode="after")
    def _hold_together(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together: give both, or neither")
        if self.password is not None and self.security == "none" and not _is_loopback(self.host):
            raise ValueError(f"the password would go to {self.host} in clear text: write `security: starttls` or `tls`")
        if self.ca_file is not None and self.security == "none":
            raise ValueError("ca_file says nothing where security is none: take it out, or write `security: starttls` or `tls`")
        if len(set(self.recipients)) < len(self.recipients):
            raise ValueError("an address stands twice in `to`")
        return self

    @property
    def effective_port(self) -> int:
        """The port that is connected to."""
        return self.port or _PORTS[self.security]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
