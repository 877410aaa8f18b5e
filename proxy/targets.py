"""Where the gateway never connects: itself, metadata services, link-local and other addresses that are no destination."""

import asyncio
import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

type Address = IPv4Address | IPv6Address

_METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"})
_METADATA = frozenset(
    map(ip_address, ("169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"))
)
_TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))


def literal(host: str) -> Address | None:
    """Return the address that a host is in any way of writing it (`127.1`, `0x7f000001`, `[::ffff:7f00:1]`), or None for a name."""
    text = host.strip().strip("[]").rstrip(".").partition("%")[0]
    try:
        return _plain(ip_address(text))
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(text)) if text and text[0].isdigit() else None
    except (OSError, UnicodeEncodeError):
        return None


def _plain(address: Address) -> Address:
    """Return the IPv4 address inside a mapped, translated or 6to4 one, where that is what it reaches."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped:
        return address.ipv4_mapped
    if address.sixtofour:
        return address.sixtofour
    if any(address in network for network in _TRANSLATED) or (int(address) >> 32 == 0 and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def forbidden_address(address: Address) -> str | None:
    """Return what an address is that nobody may reach through the gateway, or None."""
    address = _plain(address)
    if address in _METADATA:
        return "a cloud metadata service"
    if address.is_link_local:
        return "a link-local address"
    if address.is_unspecified or (isinstance(address, IPv4Address) and address.packed[0] == 0):
        return "no destination"
    if address.is_multicast or address == IPv4Address("255.255.255.255"):
        return "a multicast or broadcast address"
    return None


class Targets:
    """Knows the gateway's own ports."""

    def __init__(self, own_ports: Callable[[], set[int]]) -> None:
        self._own_ports = own_ports

    def forbidden(self, host: str, port: int) -> str | None:
        """Return why this destination is refused, or None; names are taken as they are written."""
        address = literal(host)
        if address is None:
            name = host.lower().rstrip(".")
            if name in _METADATA_NAMES:
                return f"{host} is a cloud metadata service"
            is_loopback = name == "localhost" or name.endswith(".localhost")
        else:
            if what := forbidden_address(address):
                return f"{host} is {what}"
            is_loopback = address.is_loopback
        if is_loopback and port in self._own_ports():
            return f"{host}:{port} is this gateway"
        return None

    async def forbidden_name(self, host: str, port: int) -> str | None:
        """Return why a name is refused for what it resolves to, or None. A name that does not resolve is left to the connection."""
        if why := self.forbidden(host, port):
            return why
        if literal(host) is not None:
            return None
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return None
        return self._first(host, port, (str(entry[4][0]) for entry in found))

    def _first(self, host: str, port: int, addresses: Iterable[str]) -> str | None:
        for address in addresses:
            if why := self.forbidden(address, port):
                return f"{host} leads there: {why}" if address != host else why
        return None
