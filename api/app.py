"""The one route table, and the application that serves it."""

from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from api import budgets, calls, health, login, overview
from api.authorize import authorize
from api.bodies import MAX_BYTES
from api.feeds import local
from api.middleware import outer
from api.route import Ask, Route
from api.services import Services

ROUTES: tuple[Route, ...] = (*health.ROUTES, *login.ROUTES, *local.ROUTES, *overview.ROUTES, *budgets.ROUTES, *calls.ROUTES)


def create_app(services: Services, *, routes: Iterable[Route] = ROUTES) -> web.Application:
    """Return the application. Only the table's routes exist: no catch-all, and none of a feed that is switched off."""
    app = web.Application(middlewares=[outer(services.settings.allowed_hosts)], client_max_size=MAX_BYTES)
    for route in routes:
        if route.feed is not None and route.feed not in services.settings.feeds:
            continue
        handler = _guarded(route, services)
        app.router.add_route(route.method, route.path, handler)
        if route.method == "GET":
            app.router.add_route("HEAD", route.path, handler)
    return app


def _guarded(route: Route, services: Services) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(request: web.Request) -> web.Response:
        principal = await authorize(request, services.access, route)
        return await route.handler(Ask(request=request, services=services, principal=principal))

    return handler
