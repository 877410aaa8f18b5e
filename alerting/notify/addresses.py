"""Where webhooks may go: every address is looked at before it is connected to, whatever name led there."""

import ipaddress
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from urllib.parse import urlsplit

type Address = IPv4Address | IPv6Address
type Network = IPv4Network | IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_LONGEST_URL = 2_000


class ForbiddenAddressError(ValueError):
    """The address is not one that webhooks may go to; the message says why and what to do."""


class UrlError(ValueError):
    """The URL cannot be a webhook's; the message says why."""


def embedded(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one leads to (mapped, compatible, 6to4, NAT64), else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


class AddressGuard:
    """Lets through what is on the public internet, and the networks that the config opens (`notify.allowed_networks`)."""

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        self._allowed = tuple(allowed)

    def check(self, text: str, *, scheme: str) -> None:
        """Pass an address that may be connected to. Raises ForbiddenAddressError."""
        address = ipaddress.ip_address(text.partition("%")[0])
        real = embedded(address)
        if any(candidate.version == network.version and candidate in network for candidate in (address, real) for network in self._allowed):
            return
        if not _is_public(real):
            raise ForbiddenAddressError(
                f"{address} is {_what(real)}, where webhooks do not go: add its network to notify.allowed_networks if it is meant"
            )
        if scheme != "https":
            raise ForbiddenAddressError(
                f"{address} is on the public internet, where webhooks go by https alone: use https:// "
                "(plain http is for notify.allowed_networks)"
            )

    def check_url(self, url: str) -> None:
        """Pass a URL that a webhook may have; a name in it is looked at when it is resolved. Raises UrlError, ForbiddenAddressError."""
        if len(url) > _LONGEST_URL or not url.isprintable() or " " in url:
            raise UrlError(f"a webhook's URL has at most {_LONGEST_URL:,} characters and no blanks")
        try:
            parts = urlsplit(url)
            host, _port = parts.hostname, parts.port
        except ValueError as error:
            raise UrlError(f"this is no URL: {error}") from error
        if parts.scheme not in {"http", "https"} or not host:
            raise UrlError("a webhook's URL begins with https:// and names a host")
        if parts.username is not None or parts.password is not None:
            raise UrlError("a webhook's URL carries no user and password: the signature proves who sends")
        if parts.fragment:
            raise UrlError("a webhook's URL has no fragment (#…): it would not be sent")
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return
        self.check(host, scheme=parts.scheme)


def _is_public(address: Address) -> bool:
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _what(address: Address) -> str:
    if address.is_loopback:
        return "this machine"
    if address.is_link_local:
        return "link-local (metadata services answer there)"
    if address.is_multicast or address.is_unspecified or address.is_reserved:
        return "no address of a single machine"
    return "in a private network" if address.is_private else "in a shared network (carrier-grade NAT)"
