"""From an `Authorization` header to a principal, or a refusal."""

import ipaddress
import re
from collections.abc import Mapping

from aiohttp import web

from api.access import Access
from api.errors import Feed, MissingScopeError, Refused, UnauthorizedError
from api.route import Route
from api.scopes import Principal
from api.secret import ExpiredTokenError

KEY_HEADERS: Mapping[Feed, str] = {"rules": "X-API-Key"}
"""Where a feed takes its token from, too."""

_BEARER = re.compile(r"bearer ([\x21-\x7e]{1,256})", re.IGNORECASE)


def token_of(request: web.Request, *, key_header: str | None = None) -> str:
    """Return the token of a request: a bearer's, or where there is no such header that of `key_header`.

    Raises UnauthorizedError for a header that is missing, double, oversized or odd.
    """
    values = request.headers.getall("Authorization", [])
    if not values and key_header:
        values = [f"Bearer {key}" for key in request.headers.getall(key_header, [])]
    match = _BEARER.fullmatch(values[0]) if len(values) == 1 else None
    if not match:
        raise UnauthorizedError(Refused.MISSING)
    return match[1]


async def authenticate(request: web.Request, access: Access, *, key_header: str | None = None) -> Principal:
    """Return who asks. Raises UnauthorizedError."""
    try:
        principal = await access.find(token_of(request, key_header=key_header))
    except ExpiredTokenError as error:
        access.abuse.unknown_token(source_of(request))
        raise UnauthorizedError(Refused.EXPIRED) from error
    if principal is None:
        access.abuse.unknown_token(source_of(request))
        raise UnauthorizedError(Refused.INVALID)
    return principal


async def authorize(request: web.Request, access: Access, route: Route) -> Principal | None:
    """Return who asks, None where anyone may. Raises ApiError 401 or 403."""
    if route.scope is None or (route.public_on_loopback and _from_loopback(request)):
        return None
    principal = await authenticate(request, access, key_header=KEY_HEADERS.get(route.feed or "local"))
    if not principal.may(route.scope):
        raise MissingScopeError(f"the token {principal.name!r} lacks the scope {route.scope}")
    return principal


def source_of(request: web.Request) -> str:
    """Return the address that a request came from, for counting failed logins."""
    return request.remote or "unknown"


def _from_loopback(request: web.Request) -> bool:
    try:
        return ipaddress.ip_address(source_of(request)).is_loopback
    except ValueError:
        return False
