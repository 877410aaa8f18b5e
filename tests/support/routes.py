"""The route table as tests ask it: every route, with a handler that only says that it was reached."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from aiohttp import web

from api.app import ROUTES
from api.route import Ask, Route

REACHED = 299
"""The status of a request that passed all guards; no route of the product answers it."""


async def _reached(_ask: Ask) -> web.Response:
    return web.Response(status=REACHED)


def doors(routes: Iterable[Route] = ROUTES) -> list[Route]:
    """Return the routes with their guards alone: what they would do, and what they ask of parameters and bodies, is left out."""
    return [replace(route, handler=_reached, query=None, body=None, proof=None, media="application/json") for route in routes]


def name_of(route: Route) -> str:
    """Return `GET /api/alerts`."""
    return f"{route.method} {route.path}"


def asked(routes: Iterable[Route] = ROUTES, *, heads: bool = True) -> Iterator[tuple[str, str, Route]]:
    """Yield each method and path that exists, with an id that fits where the path has one; with `heads` HEAD wherever there is GET."""
    for route in routes:
        path = _PARAMETER.sub(_fitting, route.path)
        for method in (route.method, "HEAD") if heads and route.method == "GET" else (route.method,):
            yield method, path, route


_PARAMETER = re.compile(r"\{\w+(?::((?:[^{}]|\{[^{}]*\})*))?\}")
_IDS = ("1", "alert-1", "alert_1", "alert_abcdefghijkl", "0194fdc2-fa2f-7cc0-81d3-ff12045b73c8")


def _fitting(parameter: re.Match[str]) -> str:
    pattern = parameter[1]
    return next(one for one in _IDS if pattern is None or re.fullmatch(pattern, one))
