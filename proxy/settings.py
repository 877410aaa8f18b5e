"""The `proxy` and `identity` sections of the config."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from metering.settings import Section
from metering.units import ByteSize, off
from proxy.addresses import Address, DoorAddress, ProxyUrl, UpstreamUrl


class BodyLimits(Section):
    """The largest request bodies, by what they carry."""

    json_: ByteSize = Field(default=32 << 20, alias="json")
    upload: ByteSize = 512 << 20


class ProxySettings(Section):
    """The `proxy` section."""

    listen: DoorAddress = "127.0.0.1:8080"
    base_url_listen: DoorAddress = "127.0.0.1:8081"
    upstreams: Mapping[str, UpstreamUrl] = {}
    """base-URL prefix → URL; adds or replaces (`ollama: http://127.0.0.1:11434`)."""
    resolve: Mapping[str, Address] = {}
    """host → address:port, like `curl --resolve` (private endpoints, tests). `*` answers for every provider host."""
    intercept_hosts: tuple[str, ...] = ()
    """Globs, beyond the built-in provider hosts."""
    chain_hosts: Mapping[str, int | None] = {}
    """Globs of hosts that speak JSON-RPC (nodes of a blockchain, MCP servers) → the chain id of the node; decrypted too."""
    unknown_hosts: Literal["tunnel", "refuse"] = "tunnel"
    unknown_formats: Literal["pass", "refuse"] = "pass"
    on_error: Literal["closed", "open"] = "closed"
    client_certificates: Annotated[Literal["off", "optional", "required"], BeforeValidator(off)] = "off"
    """Whether clients are asked for a certificate of `tollwatch ca client issue`, and whether calls without one are refused."""
    upstream_proxy: ProxyUrl | None = None
    upstream_ca: Path | None = None
    """An extra CA file for upstream TLS."""
    body_limits: BodyLimits = BodyLimits()

    @property
    def decrypted_hosts(self) -> tuple[str, ...]:
        """All globs beyond the built-in provider hosts."""
        return (*self.intercept_hosts, *self.chain_hosts)


SOURCES = ("proxy_auth", "header", "key_fingerprints", "client_certificate", "os_user", "process")


class IdentitySource(Section):
    """One place to learn who calls; exactly one of the fields. Sources are asked in order; the first that knows a field sets it."""

    proxy_auth: bool | None = None
    """The user name of `Proxy-Authorization` (forward door)."""
    header: str | None = None
    """A request header, stripped before forwarding; its value is the user (or the field named in `field`)."""
    field: Literal["user", "department", "service", "agent"] | None = None
    """What a header, the user or the program names; null: the user, of a program the agent."""
    key_fingerprints: Mapping[str, str] | None = None
    """key_id → user."""
    client_certificate: bool | None = None
    """The user or the service that the client certificate names (`proxy.client_certificates`)."""
    os_user: bool | None = None
    """The user of this machine who holds the other end of the connection (Linux)."""
    process: bool | None = None
    """The file name of the program that holds the other end of the connection (Linux)."""

    @property
    def sets(self) -> Literal["user", "department", "service", "agent"]:
        """The field of a caller that it sets."""
        return self.field or ("agent" if self.process else "user")

    @model_validator(mode="after")
    def _exactly_one(self) -> "IdentitySource":
        if sum(getattr(self, name) is not None for name in SOURCES) != 1:
            msg = f"an identity source is one of {', '.join(f'`{name}`' for name in SOURCES)}"
            raise ValueError(msg)
        return self
