"""What happens round every request: the guards before it, the feed's words for what failed, the security headers after it."""

from collections.abc import Sequence
from typing import cast

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from api.errors import ApiError, error_response, feed_of, from_http
from api.guards import check_host, check_origin
from api.quota import STANDING, Quota
from storage.database import StoreError

SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "tollwatch",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_log = structlog.get_logger(__name__)


def outer(configured_hosts: Sequence[str], quota: Quota) -> Middleware:
    """Return the one middleware of the API."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            _guard(request, configured_hosts)
            return await handler(request)
        except ApiError as error:
            refusal = error
        except web.HTTPException as error:
            refusal = from_http(error)
        except StoreError:
            _log.exception("api_store_failed", method=request.method, path=request.path)
            refusal = ApiError(500, "database error")
        except Exception:  # noqa: BLE001 - whatever a handler raised, the client gets the body of its feed and the log the trace, once
            _log.exception("api_failed", method=request.method, path=request.path)
            refusal = ApiError(500, "internal error")
        try:
            quota.check(request, None)  # what never came to a token counts for its address
        except ApiError as error:
            refusal = error
        return error_response(refusal, path=request.path)

    return middleware


def _guard(request: web.Request, configured_hosts: Sequence[str]) -> None:
    port = _port(request)
    check_host(request, port=port, configured=configured_hosts)
    check_origin(request, port=port, configured=configured_hosts)


def _port(request: web.Request) -> int:
    """Return the port that the request came in by; 0, which no Host names, once the connection is gone."""
    name = cast("tuple[str, int] | None", request.get_extra_info("sockname"))
    return name[1] if name else 0


async def dress(request: web.Request, response: web.StreamResponse) -> None:
    """Put the headers on an answer that every answer has, as it begins; a page may have a policy of its own."""
    policy = response.headers.get("Content-Security-Policy", SECURITY_HEADERS["Content-Security-Policy"])
    response.headers.update({**SECURITY_HEADERS, "Content-Security-Policy": policy})
    if feed := feed_of(request.path):
        response.headers["X-Alert-Feed"] = feed
    if standing := request.get(STANDING):
        response.headers.update(standing.headers())
