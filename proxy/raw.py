"""A request as it came, before anything is made of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from metering.call import Door
from metering.providers.catalog import Provider
from proxy.peer import Peer

type Fields = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRequest:
    """What the reading of a request starts from; it knows no proxy.

    `host` is where the request will really go. `names` are all other names it goes by (CONNECT, SNI, Host): they must agree with it.
    `headers` are by lower-case name, the values of equal names joined; `repeated` are the names that came more than once.
    """

    door: Door
    provider: Provider
    method: str
    host: str
    path: str
    names: tuple[str, ...]
    headers: Mapping[bytes, bytes]
    repeated: frozenset[bytes]
    body: bytes
    proxy_user: str | None = None
    peer: Peer | None = None


def headers_of(fields: Fields) -> tuple[dict[bytes, bytes], frozenset[bytes]]:
    """Return the fields by lower-case name, and the names that came more than once."""
    headers: dict[bytes, bytes] = {}
    repeated: set[bytes] = set()
    for name, value in fields:
        lower = name.lower()
        if lower in headers:
            repeated.add(lower)
            headers[lower] += b", " + value
        else:
            headers[lower] = value
    return headers, frozenset(repeated)
