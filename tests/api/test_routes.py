"""What becomes of a request on its way to a handler: no route, no token, no feed, a handler that fails."""

from dataclasses import replace
from typing import Any, Never

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from api.app import ROUTES, create_app
from api.errors import json_response
from api.listener import ApiServer
from api.route import Ask, Route
from api.scopes import Scope
from api.services import Services
from api.settings import ApiSettings
from storage.sqlite import SqliteDatabase


@pytest.mark.parametrize("scope", ["alerts:write", "", "everything"])
def test_a_route_with_a_mistyped_scope_cannot_be_built(scope: Scope) -> None:
    with pytest.raises(TypeError, match="is not a scope"):
        Route(method="GET", path="/x", handler=ROUTES[0].handler, scope=scope, summary="x")


def test_a_route_without_a_scope_cannot_be_built() -> None:
    with pytest.raises(TypeError, match="scope"):
        Route(method="GET", path="/x", handler=ROUTES[0].handler, summary="x")


async def test_a_handler_of_a_public_route_has_no_principal(gateway: Any) -> None:
    ask = Ask(request=make_mocked_request("GET", "/x"), services=gateway.services, principal=None)

    with pytest.raises(LookupError, match="/x is public"):
        _ = ask.who


async def test_a_feed_that_is_switched_off_is_not_there(services: Services, settings: ApiSettings) -> None:
    off = replace(services, settings=settings.model_copy(update={"feeds": ()}))

    paths = {resource.canonical for resource in create_app(off).router.resources()}

    assert not [path for path in paths if path.startswith("/api/alerts")]
    assert "/api/auth/login" in paths


@pytest.mark.parametrize("path", ["/api/alert", "/api/alerts/", "/api/alerts/alert_1", "/api//alerts", "/api/"])
async def test_an_unknown_path_answers_in_the_words_of_its_feed(gateway: Any, path: str) -> None:
    answer = await gateway.ask("GET", path, token=await gateway.token())

    assert (answer.status, answer.body) == (404, {"error": "not found"})
    assert answer.headers["X-Alert-Feed"] == "local"


async def test_an_unknown_path_around_the_feeds_is_in_no_feed(gateway: Any) -> None:
    answer = await gateway.ask("GET", "/nothing")

    assert (answer.status, answer.body) == (404, {"error": "not found"})
    assert "X-Alert-Feed" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("POST", "/api/alerts", "GET,HEAD"), ("DELETE", "/api/alerts/config", "GET,HEAD,PUT"), ("GET", "/api/alerts/dismiss", "POST")],
)
async def test_a_wrong_method_says_which_are_right(gateway: Any, method: str, path: str, allow: str) -> None:
    answer = await gateway.ask(method, path)

    assert answer.status == 405
    assert sorted(answer.headers["Allow"].split(",")) == sorted(allow.split(","))
    assert answer.body["error"].startswith("method not allowed: use ")


async def test_no_answer_allows_another_origin(gateway: Any) -> None:
    answer = await gateway.ask("OPTIONS", "/api/alerts", headers={"Access-Control-Request-Method": "GET"})

    assert answer.status == 405
    assert not [name for name in answer.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/api/alerts", "/api/nothing"])
async def test_every_answer_carries_the_security_headers(gateway: Any, path: str) -> None:
    headers = (await gateway.ask("GET", path)).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Server"] == "tollwatch"
    assert headers.get("X-Alert-Feed") == ("local" if path.startswith("/api/") else None)


async def test_head_answers_like_get_without_a_body(gateway: Any) -> None:
    answer = await gateway.ask("HEAD", "/healthz")

    assert (answer.status, answer.raw) == (200, b"")
    assert answer.headers["Content-Length"] == "15"


async def test_head_needs_the_scope_too(gateway: Any) -> None:
    assert (await gateway.ask("HEAD", "/api/alerts")).status == 401


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "Bearer é",
        "Bearer \x7f",
        "Bearer a b",
        "Bearer  fn_sess_00",
        "Bearer " + "x" * 257,
        "Bearer " + "x" * 8000,
        '["Bearer x"]',
        "Bearer x, Bearer y",
        "Bearer ' OR 1=1 --",
        "Bearer \x00",
    ],
)
async def test_an_odd_authorization_header_is_401(gateway: Any, raw_exchange: Any, value: str) -> None:
    request = f"GET /api/alerts HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nConnection: close\r\nAuthorization: {value}\r\n\r\n"

    answer = await raw_exchange(request.encode())

    # A NUL or a line of more than 8 KiB never reaches the API: the parser refuses the request.
    assert answer.split(b" ", 2)[1] in ({b"400"} if "\x00" in value or "\x7f" in value else {b"401"})


async def test_two_authorization_headers_are_401(gateway: Any, raw_exchange: Any) -> None:
    token = await gateway.token()
    header = f"Authorization: Bearer {token}\r\n"
    request = f"GET /api/alerts HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nConnection: close\r\n{header}{header}\r\n"

    assert (await raw_exchange(request.encode())).startswith(b"HTTP/1.1 401 ")


async def test_bytes_that_are_no_text_in_authorization_are_401(gateway: Any, raw_exchange: Any) -> None:
    request = f"GET /api/alerts HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nConnection: close\r\nAuthorization: Bearer ".encode()

    assert (await raw_exchange(request + b"\xff\xfe\r\n\r\n")).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer"])
async def test_the_scheme_may_be_written_in_any_case(gateway: Any, scheme: str) -> None:
    token = await gateway.token()

    answer = await gateway.ask("GET", "/api/alerts", headers={"Authorization": f"{scheme} {token}"})

    assert answer.status == 200


async def test_a_token_in_the_url_is_no_token(gateway: Any) -> None:
    token = await gateway.token()

    assert (await gateway.ask("GET", f"/api/alerts?token={token}&access_token={token}")).status == 401


async def test_a_handler_that_fails_is_logged_once_and_tells_nothing(services: Services, capsys: pytest.CaptureFixture[str]) -> None:
    async def fails(_ask: Ask) -> Never:
        raise ZeroDivisionError("secret detail")

    route = Route(method="GET", path="/api/fails", handler=fails, scope=None, summary="x")
    answer, logged = await _one_answer(services, route, capsys)

    assert (answer[0], answer[1]) == (500, {"error": "internal error"})
    assert answer[2] == "local"
    assert logged.count("api_failed") == 1
    assert "ZeroDivisionError" in logged


async def test_a_store_that_fails_is_named_in_the_answer(
    services: Services, database: SqliteDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    async def reads(ask: Ask) -> web.Response:
        await database.close()
        return json_response(await ask.services.access.passwords.is_set())

    route = Route(method="GET", path="/api/reads", handler=reads, scope=None, summary="x")
    answer, logged = await _one_answer(services, route, capsys)

    assert (answer[0], answer[1]) == (500, {"error": "database error"})
    assert logged.count("api_store_failed") == 1


async def _one_answer(services: Services, route: Route, capsys: pytest.CaptureFixture[str]) -> tuple[tuple[int, Any, str | None], str]:
    server = ApiServer(create_app(services, routes=[route]))
    await server.start("127.0.0.1", 0, None)
    try:
        async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{server.address[1]}{route.path}") as response:
            answer = (response.status, await response.json(), response.headers.get("X-Alert-Feed"))
    finally:
        await server.stop()
    out, err = capsys.readouterr()
    return answer, out + err
