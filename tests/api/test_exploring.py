"""The API, explored as its description says it: no failure of ours, every answer as described, nothing without its token."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from alerting.finding import AlertKind, Subject
from api.app import create_app
from api.bodies import Answer, Body
from api.describe import ROUTES as DESCRIBE
from api.errors import json_response
from api.listener import ApiServer
from api.route import Ask, Route
from api.scopes import Scope
from api.services import Services
from api.settings import ApiSettings
from tests.support.exploring import Found, Plan, explore

OWN_WORDS = {
    "POST /api/account/alerts": "a threshold depends on the type of the alert",
    "PUT /api/account/alerts/{id}": "a threshold depends on the type of the alert",
    "PUT /api/v1/gateway/policies/{id}": "`url` must be one that may be called",
    "GET /v1/alerts": "a cursor must be one that was handed out",
    "GET /v1/policies": "a cursor must be one that was handed out",
    "GET /v1/webhooks/{id}/deliveries": "a cursor must be one that was handed out",
    "POST /v1/policies": "patterns, hours and weekdays have a syntax of their own",
    "PATCH /v1/policies/{id}": "patterns, hours and weekdays have a syntax of their own",
    "POST /v1/webhooks": "`url` must be one that may be called",
    "PATCH /v1/webhooks/{id}": "`url` must be one that may be called",
    "POST /api/v1/alerts/configs": "a config needs a title of its own, and labels and places that there are",
    "PUT /api/v1/alerts/configs/{id}": "a config needs a title of its own, and labels and places that there are",
    "POST /api/v1/alerts/configs/{id}/silence": "`until` is a moment in many forms",
    "POST /api/v1/alerts/entries/{id}/acknowledge": "the config says how an entry may be acknowledged",
    "POST /api/v1/alerts/entries/{id}/act": "the config says which texts may be used",
    "POST /api/v1/alerts/entries/{id}/root_cause": "the config says which texts may be used",
    "POST /api/v1/gateway/policies": "`url` must be one that may be called",
    "POST /api/v1/rules": "patterns, hours and weekdays have a syntax of their own",
    "PUT /api/v1/rules/{id}": "patterns, hours and weekdays have a syntax of their own",
    "GET /alertmanager/api/v2/alerts": "`filter` has a syntax of its own",
    "GET /alertmanager/api/v2/alerts/groups": "`filter` has a syntax of its own",
    "GET /alertmanager/api/v2/silences": "`filter` has a syntax of its own",
    "POST /alertmanager/api/v2/silences": "a silence must end after it begins, and may not match everything",
    "POST /v1/oauth/token": "the errors of OAuth have codes of their own, an unknown grant type, too",
    "GET /api/audit": "`after` must be an entry that there is",
    "GET /api/calls": "`after` must be a call that there is",
    "GET /api/spend": "`until` must be after `since`",
}
LEFT_OUT = {
    "GET /api/stream": "its answer does not end",
    "POST /v1/webhooks/{id}/test": "it would send to made-up names",
}
_EXPIRED = "a silence that is deleted has expired, and is told for a while, as Alertmanager does"
LIVES_ON = dict.fromkeys(("GET /alertmanager/api/v2/silence/{id}", "DELETE /alertmanager/api/v2/silence/{id}"), _EXPIRED)
SHORT = Plan(examples=2, own_words=OWN_WORDS, lives_on=LIVES_ON, left_out=LEFT_OUT)
LONG = replace(SHORT, examples=50, seed=1000, thorough=True)


@pytest.fixture
def settings() -> ApiSettings:
    return ApiSettings(requests_per_minute=1_000_000)


@pytest.fixture
async def seeded(gateway: Any, book: Any, occur: Any) -> Any:
    subject = Subject(service="openai", rule_id="SEC-003", user="ada")
    await book.record([occur(kind, episode=(kind,), subject=subject) for kind in AlertKind])
    return gateway


def told(found: Found) -> str:
    flaws = "\n\n".join(f"{name}\n{text}" for name, text in found.flaws.items())
    if any(name.endswith("positive_data_acceptance") for name in found.flaws):
        flaws += "\n\nWhere a refusal is meant though the schema cannot say so, name the operation in OWN_WORDS, with the reason."
    return f"{found.cases} requests, {dict(found.by_phase)}, {dict(sorted(found.by_status.items()))}\n{flaws}"


@pytest.mark.untraced
async def test_no_made_up_request_finds_a_flaw(seeded: Any) -> None:
    token = await seeded.token()

    found = await asyncio.to_thread(explore, seeded.url, token, SHORT)

    assert not found.flaws, told(found)
    assert found.cases >= 1000, told(found)
    assert {200, 201, 204, 400, 401, 404, 409, 422} <= set(found.by_status), told(found)


@pytest.mark.soak
@pytest.mark.untraced
@pytest.mark.timeout(7200)
async def test_no_made_up_request_of_fifty_thousand_finds_a_flaw(seeded: Any) -> None:
    token = await seeded.token()

    found = await asyncio.to_thread(explore, seeded.url, token, LONG, cases=50_000)

    assert not found.flaws, told(found)
    assert found.cases >= 50_000, told(found)
    print(told(found))  # noqa: T201  # a soak says what it did


class Thing(Answer):
    """What the flawed routes promise."""

    size: int


class Wish(Body):
    """What they ask for."""

    size: int


async def broken(_ask: Ask) -> web.Response:
    raise ZeroDivisionError


async def lying(_ask: Ask) -> web.Response:
    return json_response({"size": "large"})


async def open_to_all(_ask: Ask) -> web.Response:
    return json_response({"size": 1})


async def undescribed(_ask: Ask) -> web.Response:
    return json_response({"size": 1}, status=202)


@pytest.fixture
async def flawed(services: Services) -> AsyncIterator[str]:
    common: dict[str, Any] = {"answers": {200: Thing}, "summary": "x", "feed": "org"}
    described = [
        Route(method="POST", path="/v1/broken", handler=broken, scope=Scope.ALERTS_READ, body=Wish, **common),
        Route(method="GET", path="/v1/lying", handler=lying, scope=Scope.ALERTS_READ, **common),
        Route(method="GET", path="/v1/open", handler=open_to_all, scope=Scope.ALERTS_READ, public_on_loopback=False, **common),
        Route(method="GET", path="/v1/undescribed", handler=undescribed, scope=Scope.ALERTS_READ, **common),
    ]
    app = create_app(services, routes=[*DESCRIBE, *described])
    opened = next(route for route in app.router.routes() if route.handler.__name__ == "handler" and "/v1/open" in str(route.resource))
    opened._handler = _without_a_guard  # noqa: SLF001  # a guard that is missing
    server = ApiServer(app)
    await server.start("127.0.0.1", 0, None)
    yield f"http://127.0.0.1:{server.address[1]}"
    await server.stop()


async def _without_a_guard(_request: web.Request) -> web.Response:
    return json_response({"size": 1})


async def test_the_exploration_sees_what_it_is_for(flawed: str, gateway: Any, capsys: pytest.CaptureFixture[str]) -> None:
    token = await gateway.token()

    found = await asyncio.to_thread(explore, flawed, token, Plan(examples=2, phases=("fuzzing",)))

    assert {
        "POST /v1/broken: not_a_server_error",
        "GET /v1/lying: response_schema_conformance",
        "GET /v1/open: ignored_auth",
        "GET /v1/undescribed: status_code_conformance",
    } <= set(found.flaws), told(found)
    assert "api_failed" in "".join(capsys.readouterr())
