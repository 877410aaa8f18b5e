"""Addresses as people write them in the config."""

from collections.abc import Callable
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator

_PROXY_PORT = 3128


def host_and_port(value: str) -> tuple[str, int]:
    """Return the host and the port of `127.0.0.1:8443` or `[::1]:8443`; raise ValueError with an example otherwise."""
    name, colon, port = value.rpartition(":")
    if not colon or not name or not _is_port(port):
        raise ValueError(f"{value!r} is no address with a port; write for example '127.0.0.1:8443'")
    return name.strip("[]"), int(port)


def door_address(value: str) -> tuple[str, int]:
    """Return the host and port (0: any free one) that a door listens on; raise ValueError where not only this machine reaches it."""
    name, _, port = value.rpartition(":")
    host = "127.0.0.1" if name == "localhost" else name.strip("[]")
    if not host or not port.isdecimal() or not port.isascii() or int(port) > 65535:
        raise ValueError(f"{value!r} is not an address to listen on: write host:port, for example '127.0.0.1:8080'")
    try:
        here = ip_address(host).is_loopback
    except ValueError:
        here = False
    if not here:
        raise ValueError(f"refusing to listen on {value}: whoever reaches the gateway may use it; listen on 127.0.0.1")
    return host, int(port)


def upstream_url(value: str) -> str:
    """Return `value` when it is the URL of a provider; raise ValueError with an example otherwise."""
    parts = _split(value)
    if parts is None or parts.scheme not in {"http", "https"} or parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"{_shown(value)} is no http or https URL of a server; write for example 'http://127.0.0.1:11434'")
    return value


def proxy_address(value: str) -> tuple[SplitResult, int]:
    """Return a proxy's URL (`http://` is added where it has no scheme) and its port; raise ValueError with an example otherwise."""
    parts = _split(value if "//" in value else f"http://{value}")
    if parts is None or parts.scheme not in {"http", "https"}:
        raise ValueError(f"{_shown(value)} is no proxy; write for example 'http://proxy.example.com:3128'")
    return parts, parts.port or (443 if parts.scheme == "https" else _PROXY_PORT)


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text) <= 65535


def _shown(url: str) -> str:
    """Return a URL without the name and the password that may stand in it."""
    head, at, tail = url.rpartition("@")
    return repr(f"{head.partition('//')[0]}//…@{tail}" if at else url)


def _checked(parse: Callable[[str], object]) -> AfterValidator:
    def check(value: str) -> str:
        parse(value)
        return value

    return AfterValidator(check)


type Address = Annotated[str, _checked(host_and_port)]
type DoorAddress = Annotated[str, _checked(door_address)]
type UpstreamUrl = Annotated[str, _checked(upstream_url)]
type ProxyUrl = Annotated[str, _checked(proxy_address)]
