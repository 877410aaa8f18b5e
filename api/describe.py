"""The description of the API, for programs (`/openapi.json`) and for people (`/docs`)."""

import asyncio
from importlib.resources import files

from aiohttp import web

from api.openapi import DESCRIBED
from api.route import Ask, Route

_POLICY = "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


async def describe(ask: Ask) -> web.Response:
    """Answer `GET /openapi.json`: OpenAPI 3.1 of the feeds that are switched on."""
    described = ask.request.app[DESCRIBED]
    return web.Response(body=await asyncio.to_thread(lambda: described.text), content_type="application/json", charset="utf-8")


async def docs(ask: Ask) -> web.Response:
    """Answer `GET /docs`: the same as a page, which needs neither scripts nor a network."""
    described = ask.request.app[DESCRIBED]
    return web.Response(
        text=await asyncio.to_thread(lambda: described.page), content_type="text/html", headers={"Content-Security-Policy": _POLICY}
    )


async def style(_ask: Ask) -> web.Response:
    """Answer `GET /docs.css`."""
    return web.Response(text=files("api").joinpath("docs.css").read_text(encoding="utf-8"), content_type="text/css")


ROUTES = (
    Route(
        method="GET",
        path="/openapi.json",
        handler=describe,
        scope=None,
        answers={200: dict[str, object]},
        summary="Describe the API for programs",
    ),
    Route(
        method="GET",
        path="/docs",
        handler=docs,
        scope=None,
        answers={200: None},
        text_answers=("text/html",),
        summary="Describe the API for people",
    ),
    Route(
        method="GET",
        path="/docs.css",
        handler=style,
        scope=None,
        answers={200: None},
        text_answers=("text/css",),
        summary="How that page looks",
    ),
)
