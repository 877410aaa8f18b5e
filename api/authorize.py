"""From an `Authorization` header to a principal, or a refusal."""

import ipaddress
import re

from aiohttp import web

from api.access import Access
from api.errors import ApiError
from api.route import Route
from api.scopes import Principal

_BEARER = re.compile(r"bearer ([\x21-\x7e]{1,256})", re.IGNORECASE)


def bearer_of(request: web.Request) -> str:
    """Return the bearer token of a request. Raises ApiError 401 for a header that is missing, double, oversized or odd."""
    values = request.headers.getall("Authorization", [])
    match = _BEARER.fullmatch(values[0]) if len(values) == 1 else None
    if not match:
        raise _unauthorized("missing or invalid authorization header")
    return match[1]


async def authenticate(request: web.Request, access: Access) -> Principal:
    """Return who asks. Raises ApiError 401."""
    principal = await access.find(bearer_of(request))
    if principal is None:
        raise _unauthorized("invalid or expired session token")
    return principal


async def authorize(request: web.Request, access: Access, route: Route) -> Principal | None:
    """Return who asks, None where anyone may. Raises ApiError 401 or 403."""
    if route.scope is None or (route.public_on_loopback and _from_loopback(request)):
        return None
    principal = await authenticate(request, access)
    if not principal.may(route.scope):
        raise ApiError(403, f"the token {principal.name!r} lacks the scope {route.scope}")
    return principal


def source_of(request: web.Request) -> str:
    """Return the address that a request came from, for counting failed logins."""
    return request.remote or "unknown"


def _from_loopback(request: web.Request) -> bool:
    try:
        return ipaddress.ip_address(source_of(request)).is_loopback
    except ValueError:
        return False


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, message, headers={"WWW-Authenticate": "Bearer"})
