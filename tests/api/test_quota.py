"""The organisation's feed tells each token what is left of its minute, and refuses what is beyond."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from api.app import create_app
from api.errors import json_response
from api.listener import ApiServer
from api.quota import Quota
from api.route import Ask, Route
from api.scopes import Scope
from api.services import Services
from api.settings import ApiSettings

NAMES = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
MINUTE_ENDS = "1736937060"


async def fine(_ask: Ask) -> web.Response:
    return json_response({})


TABLE = [
    Route(method="GET", path="/v1/x", handler=fine, scope=Scope.ALERTS_READ, feed="org", summary="x"),
    Route(method="POST", path="/v1/open", handler=fine, scope=None, feed="org", summary="x"),
    Route(method="GET", path="/api/x", handler=fine, scope=Scope.ALERTS_READ, feed="local", summary="x"),
]


@pytest.fixture
def settings() -> ApiSettings:
    return ApiSettings(requests_per_minute=3)


@pytest.fixture
async def gateway(gateway: Any, services: Services) -> AsyncIterator[Any]:
    server = ApiServer(create_app(services, routes=TABLE))
    await server.start("127.0.0.1", 0, None)
    whole, gateway.server = gateway.server, server
    yield gateway
    gateway.server = whole
    await server.stop()


def standing(answer: Any) -> tuple[str | None, ...]:
    return tuple(answer.headers.get(name) for name in NAMES)


async def test_each_answer_says_what_is_left_and_the_one_beyond_is_429(gateway: Any) -> None:
    token = await gateway.token()

    answers = [await gateway.ask("GET", "/v1/x", token=token) for _ in range(5)]

    assert [answer.status for answer in answers] == [200, 200, 200, 429, 429]
    assert [standing(answer) for answer in answers] == [("3", left, MINUTE_ENDS) for left in "21000"]
    assert answers[3].headers["Retry-After"] == "60"
    assert answers[3].body["error"] == "rate_limited"
    assert "api.requests_per_minute" in answers[3].body["message"]


async def test_a_new_minute_begins_anew(gateway: Any) -> None:
    token = await gateway.token()
    for _ in range(4):
        await gateway.ask("GET", "/v1/x", token=token)
    gateway.clock.advance(seconds=59)
    assert (await gateway.ask("GET", "/v1/x", token=token)).headers["Retry-After"] == "1"

    gateway.clock.advance(seconds=1)

    assert standing(await gateway.ask("GET", "/v1/x", token=token)) == ("3", "2", "1736937120")


async def test_tokens_and_sessions_count_apart(gateway: Any) -> None:
    one, other = await gateway.token(name="one"), await gateway.token(name="other")
    sessions = [(await gateway.services.access.sessions.begin()).token for _ in range(2)]

    left = [standing(await gateway.ask("GET", "/v1/x", token=token))[1] for token in (one, one, other, *sessions)]

    assert left == ["2", "1", "2", "2", "2"]


async def test_what_has_no_token_counts_for_its_address(gateway: Any) -> None:
    token = await gateway.token()
    asked = [("GET", "/v1/x"), ("GET", "/v1/nothing"), ("POST", "/v1/open"), ("DELETE", "/v1/x"), ("GET", "/v1/x"), ("POST", "/v1/open")]

    answers = [await gateway.ask(method, path) for method, path in asked]

    assert [answer.status for answer in answers] == [401, 404, 200, 429, 429, 429]
    assert [standing(answer)[1] for answer in answers] == ["2", "1", "0", "0", "0", "0"]
    assert (await gateway.ask("GET", "/v1/x", token=token)).status == 200


async def test_errors_after_the_token_say_what_is_left_too(gateway: Any) -> None:
    weak = await gateway.token(Scope.CONFIG_WRITE, name="weak")

    answer = await gateway.ask("GET", "/v1/x", token=weak)

    assert (answer.status, standing(answer)[0]) == (403, "3")


async def test_other_feeds_have_no_such_limit(gateway: Any) -> None:
    token = await gateway.token()

    answers = [await gateway.ask("GET", "/api/x", token=token) for _ in range(6)]

    assert {answer.status for answer in answers} == {200}
    assert {standing(answer) for answer in answers} == {(None, None, None)}


def test_keys_beyond_the_most_share_a_count() -> None:
    moment = datetime(2025, 1, 15, 10, 30, tzinfo=UTC)
    quota = Quota(limit=2, now=lambda: moment, most_keys=2)

    used = [quota.take(key).used for key in ("a", "b", "c", "d", "a", "c")]
    moment += timedelta(minutes=1)

    assert used == [1, 1, 1, 2, 2, 3]
    assert quota.take("d").used == 1
