"""Client credentials over HTTP, in the words of RFC 6749."""

import base64
import re
from datetime import timedelta
from typing import Any
from urllib.parse import quote_plus, urlencode

import pytest

from api.scopes import Scope

READ, WRITE = Scope.ALERTS_READ, Scope.ALERTS_WRITE


@pytest.fixture
async def client(gateway: Any) -> tuple[str, str]:
    made = await gateway.services.access.tokens.create(name="siem", scopes=(READ, WRITE), actor="test")
    return made.token.id, made.secret


def form(client: tuple[str, str], **changes: str | None) -> dict[str, str]:
    whole = {"grant_type": "client_credentials", "client_id": client[0], "client_secret": client[1], **changes}
    return {name: value for name, value in whole.items() if value is not None}


def basic(client: tuple[str, str]) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(":".join(map(quote_plus, client)).encode()).decode()}


async def exchange(gateway: Any, data: dict[str, str], **more: Any) -> Any:
    return await gateway.ask("POST", "/v1/oauth/token", data=data, **more)


async def test_the_answer_has_the_published_shape_and_its_token_opens_the_feeds(gateway: Any, client: Any) -> None:
    answer = await exchange(gateway, form(client))

    token = answer.body["access_token"]
    assert (answer.status, answer.body) == (200, {"access_token": token, "token_type": "bearer", "expires_in": 3600})
    assert re.fullmatch("tw_access_[0-9a-f]{64}", token)
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")
    assert (await gateway.ask("GET", "/api/alerts", token=token)).status == 200
    assert (await gateway.ask("PUT", "/api/alerts/config", token=token, json={})).status == 403


async def test_the_client_may_come_as_http_basic(gateway: Any, client: Any) -> None:
    alone = await exchange(gateway, {"grant_type": "client_credentials"}, headers=basic(client))
    named = await exchange(gateway, {"grant_type": "client_credentials", "client_id": client[0]}, headers=basic(client))

    assert (alone.status, named.status) == (200, 200)


async def test_scope_narrows_and_is_told(gateway: Any, client: Any) -> None:
    answer = await exchange(gateway, form(client, scope="alerts:read"))

    assert answer.body["scope"] == "alerts:read"
    token = answer.body["access_token"]
    assert (await gateway.ask("GET", "/api/alerts", token=token)).status == 200
    assert (await gateway.ask("POST", "/api/alerts/dismiss", token=token, json={"id": "alert_1"})).status == 403


async def test_a_parameter_without_a_value_is_as_if_left_out(gateway: Any, client: Any) -> None:
    answer = await exchange(gateway, form(client, scope=""))

    assert (answer.status, "scope" in answer.body) == (200, False)


async def test_it_ends_with_its_api_token(gateway: Any) -> None:
    made = await gateway.services.access.tokens.create(
        name="short", scopes=(READ,), actor="test", expires_at=gateway.clock() + timedelta(minutes=10)
    )
    answer = await exchange(gateway, form((made.token.id, made.secret)))
    token = answer.body["access_token"]

    assert answer.body["expires_in"] == 600
    await gateway.services.access.tokens.revoke("short", actor="test")
    assert (await gateway.ask("GET", "/api/alerts", token=token)).status == 401
    assert (await exchange(gateway, form((made.token.id, made.secret)))).body["error"] == "invalid_client"


@pytest.mark.parametrize(
    ("changes", "status", "error", "words"),
    [
        ({"client_secret": "tw_wrong"}, 401, "invalid_client", "its secret is wrong"),
        ({"client_id": "siem"}, 401, "invalid_client", "unknown client"),
        ({"client_secret": None}, 401, "invalid_client", "HTTP Basic"),
        ({"client_id": None}, 401, "invalid_client", "HTTP Basic"),
        ({"grant_type": None}, 400, "invalid_request", "missing grant_type"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", "client_credentials"),
        ({"scope": "everything"}, 400, "invalid_scope", "'everything' is not a scope"),
        ({"scope": "config:write"}, 400, "invalid_scope", "lacks the scope config:write"),
        ({"scope": "alerts:read admin"}, 400, "invalid_scope", "lacks the scope admin"),
    ],
)
async def test_a_refusal_has_the_body_of_the_rfc(gateway: Any, client: Any, changes: Any, status: int, error: str, words: str) -> None:
    answer = await exchange(gateway, form(client, **changes))

    assert (answer.status, answer.body["error"]) == (status, error)
    assert words in answer.body["error_description"]
    assert answer.headers.get("WWW-Authenticate") == ('Basic realm="tollwatch"' if status == 401 else None)
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "header", ["Bearer tw_x", "Basic", "Basic !!!", "Basic " + base64.b64encode(b"no-colon").decode(), "Basic w6k6eA==", "basic Og=="]
)
async def test_an_odd_authorization_header_is_no_client(gateway: Any, client: Any, header: str) -> None:
    answer = await exchange(gateway, form(client, client_id=None, client_secret=None), headers={"Authorization": header})

    assert (answer.status, answer.body["error"]) == (401, "invalid_client")
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


@pytest.mark.parametrize("changes", [{}, {"client_secret": "tw_other"}, {"client_id": "other", "client_secret": None}])
async def test_a_client_proves_itself_in_one_way(gateway: Any, client: Any, changes: Any) -> None:
    answer = await exchange(gateway, form(client, **changes), headers=basic(client))

    assert (answer.status, answer.body["error"]) == (400, "invalid_request")


async def test_a_parameter_that_is_repeated_is_refused(gateway: Any, client: Any) -> None:
    body = urlencode([*form(client).items(), ("scope", "alerts:read"), ("scope", "admin")])

    answer = await gateway.ask("POST", "/v1/oauth/token", data=body, headers={"Content-Type": "application/x-www-form-urlencoded"})

    assert (answer.status, answer.body["error"]) == (400, "invalid_request")


async def test_nothing_is_read_from_the_url(gateway: Any, client: Any) -> None:
    answer = await gateway.ask("POST", f"/v1/oauth/token?{urlencode(form(client))}", data=form(client))

    assert (answer.status, answer.body["error"]) == (400, "invalid_request")
    assert client[1] not in answer.raw.decode()


async def test_json_is_refused(gateway: Any, client: Any) -> None:
    answer = await gateway.ask("POST", "/v1/oauth/token", json=form(client))

    assert answer.status == 415


async def test_wrong_secrets_wait_and_the_answer_says_how_long(gateway: Any, client: Any) -> None:
    for _ in range(5):
        await exchange(gateway, form(client, client_secret="tw_wrong"))

    answer = await exchange(gateway, form(client, client_secret="tw_wrong"))

    assert (answer.status, answer.body["error"]) == (429, "rate_limited")
    assert answer.headers["Retry-After"] == "300"
    assert (await exchange(gateway, form(client))).status == 200


async def test_there_is_no_get(gateway: Any) -> None:
    assert (await gateway.ask("GET", "/v1/oauth/token")).status == 405
