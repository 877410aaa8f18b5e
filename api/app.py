"""The one route table, and the application that serves it."""

from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web
from pydantic import BaseModel

from api import audit, budgets, calls, describe, health, login, oauth, overview, stream
from api.alertmanager import status as alertmanager
from api.authorize import authorize
from api.bodies import MAX_BYTES, parse_body, parse_form, read_raw
from api.errors import ApiError
from api.feeds import account, entries, local, org, rules
from api.guards import check_content_type
from api.middleware import dress, outer
from api.openapi import DESCRIBED, Described
from api.params import LONGEST, UNFIT, Query, read_query
from api.quota import Quota
from api.route import Ask, Route
from api.services import Services

ROUTES: tuple[Route, ...] = (
    *health.ROUTES,
    *describe.ROUTES,
    *login.ROUTES,
    *org.ROUTES,
    *local.ROUTES,
    *account.ROUTES,
    *rules.ROUTES,
    *entries.ROUTES,
    *overview.ROUTES,
    *budgets.ROUTES,
    *calls.ROUTES,
    *stream.ROUTES,
    *audit.ROUTES,
    *oauth.ROUTES,
    *alertmanager.ROUTES,
)


def create_app(services: Services, *, routes: Iterable[Route] = ROUTES) -> web.Application:
    """Return the application. Only the table's routes exist: no catch-all, and none of a feed that is switched off."""
    quota = Quota(limit=services.settings.requests_per_minute, now=services.now)
    app = web.Application(middlewares=[outer(services.settings.allowed_hosts, quota)], client_max_size=MAX_BYTES)
    app.on_response_prepare.append(dress)
    app.on_shutdown.append(_end_streams(services))
    served = [route for route in routes if route.feed is None or route.feed in services.settings.feeds]
    app[DESCRIBED] = Described(served, version=services.status().version)
    for route in served:
        handler = _guarded(route, services, quota)
        app.router.add_route(route.method, route.path, handler)
        if route.method == "GET":
            app.router.add_route("HEAD", route.path, handler)
    return app


def _end_streams(services: Services) -> Callable[[web.Application], Awaitable[None]]:
    async def end(_app: web.Application) -> None:
        services.streams.close()

    return end


def _guarded(route: Route, services: Services, quota: Quota) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(request: web.Request) -> web.StreamResponse:
        check_content_type(request, media=route.media)
        principal = await authorize(request, services.access, route)
        quota.check(request, principal)
        _check_path(request)
        if route.proof is not None:
            await route.proof(request, services)
        query = read_query(request.query, route.query) if route.query else None
        body = await _body(request, route)
        return await route.handler(Ask(request=request, services=services, principal=principal, query=query, body=body))

    return handler


async def _body(request: web.Request, route: Route) -> BaseModel | None:
    if route.body is None:
        return None
    raw = await read_raw(request)
    if issubclass(route.body, Query):
        return parse_form(raw, route.body)
    return parse_body(raw or b"{}" if route.body_optional else raw, route.body)


def _check_path(request: web.Request) -> None:
    """Refuse what can be no id: the store has no such text."""
    if any(len(part) > LONGEST or UNFIT.search(part) for part in request.match_info.values()):
        raise ApiError(404, "not found")
