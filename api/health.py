"""What watches the gateway from outside: `/healthz`, `/readyz`, `/metrics`, and `/`, which says where things are."""

from collections.abc import Mapping
from typing import Literal

from aiohttp import web
from prometheus_client import exposition

from api.bodies import Answer
from api.errors import json_response
from api.route import Ask, Route
from api.scopes import Scope


class Healthy(Answer):
    """The process answers."""

    status: Literal["ok"]


class Readiness(Answer):
    """Whether calls may be sent through the gateway, and why not."""

    ready: bool
    reasons: list[str]


class Index(Answer):
    """Where things are."""

    name: Literal["tollwatch"]
    version: str
    feeds: Mapping[str, str]
    calls: str
    status: str
    spend: str
    login: str
    health: list[str]
    description: str
    docs: str


FEED_HOMES = {
    "org": "/v1/alerts",
    "local": "/api/alerts",
    "entries": "/api/v1/alerts/entries",
    "account": "/api/account/alerts",
    "rules": "/api/v1/alerts",
}
"""Where each feed begins."""


async def index(ask: Ask) -> web.Response:
    """Answer `GET /` with the feeds and what is around them."""
    served = {resource.canonical for resource in ask.request.app.router.resources()}
    return json_response(
        {
            "name": "tollwatch",
            "version": ask.services.status().version,
            "feeds": {name: path for name, path in FEED_HOMES.items() if path in served},
            "calls": "/api/calls",
            "status": "/api/status",
            "spend": "/api/spend",
            "login": "/api/auth/login",
            "description": "/openapi.json",
            "docs": "/docs",
            "health": ["/healthz", "/readyz", "/metrics"],
        }
    )


async def healthz(_ask: Ask) -> web.Response:
    """Answer `GET /healthz`: the process runs and answers."""
    return json_response({"status": "ok"})


async def readyz(ask: Ask) -> web.Response:
    """Answer `GET /readyz`: 200 when calls may be sent through this gateway, else 503 with the reasons."""
    status = ask.services.status()
    return json_response({"ready": status.ready, "reasons": list(status.reasons)}, status=200 if status.ready else 503)


async def metrics(ask: Ask) -> web.Response:
    """Answer `GET /metrics` in the Prometheus text format.

    It carries counts and sums, no caller, prompt or key; so a client on this machine needs no token, like most exporters.
    From elsewhere it takes one with `alerts:read`.
    """
    encode, content_type = exposition.choose_encoder(ask.request.headers.get("Accept", ""))
    return web.Response(body=encode(ask.services.registry), headers={"Content-Type": content_type})


ROUTES = (
    Route(method="GET", path="/", handler=index, scope=None, answers={200: Index}, summary="Say where things are"),
    Route(method="GET", path="/healthz", handler=healthz, scope=None, answers={200: Healthy}, summary="Whether the process answers"),
    Route(
        method="GET",
        path="/readyz",
        handler=readyz,
        scope=None,
        answers={200: Readiness, 503: Readiness},
        summary="Whether calls may be sent through the gateway",
    ),
    Route(
        method="GET",
        path="/metrics",
        handler=metrics,
        scope=Scope.ALERTS_READ,
        public_on_loopback=True,
        summary="Counts and sums for Prometheus",
        answers={200: None},
        text_answers=("text/plain", "application/openmetrics-text"),
    ),
)
