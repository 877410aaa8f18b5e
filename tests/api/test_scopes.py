"""Who may ask what: every route of the table with every kind of token, and the words in which its feed refuses."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from api.app import ROUTES, create_app
from api.errors import feed_of
from api.listener import ApiServer
from api.route import Route
from api.scopes import ALL_SCOPES, Scope
from api.services import Services
from tests.support.routes import REACHED, asked, doors, name_of

PUBLIC = {
    "GET /": "says where things are, nothing of what is",
    "GET /healthz": "a supervisor asks whether the process answers, and has no token",
    "GET /readyz": "a load balancer asks whether calls may be sent, and has no token",
    "GET /openapi.json": "describes the routes, which are published",
    "GET /docs": "the same, for people",
    "GET /docs.css": "how that page looks",
    "GET /api/auth/status": "whoever has no token yet must learn how to get one",
    "POST /api/auth/setup": "proves itself by the one-time setup code",
    "POST /api/auth/login": "proves itself by the password",
    "POST /v1/oauth/token": "proves itself by a client id and secret",
}
"""The only routes that ask for no token, and why each may."""

NOBODY = frozenset[Scope]()


def may(scopes: frozenset[Scope], route: Route) -> bool:
    return route.scope in scopes or Scope.ADMIN in scopes


async def _none(_services: Services, _clock: Any) -> None:
    return None


async def _garbage(_services: Services, _clock: Any) -> str:
    return "Basic dXNlcjpwYXNz"


async def _unknown(_services: Services, _clock: Any) -> str:
    return "Bearer tw_" + "0" * 64


async def _expired(services: Services, clock: Any) -> str:
    made = await services.access.tokens.create(name="old", scopes=ALL_SCOPES, actor="test", expires_at=clock() + timedelta(seconds=1))
    clock.advance(seconds=1)
    return f"Bearer {made.secret}"


async def _revoked(services: Services, _clock: Any) -> str:
    made = await services.access.tokens.create(name="gone", scopes=ALL_SCOPES, actor="test")
    await services.access.tokens.revoke("gone", actor="test")
    return f"Bearer {made.secret}"


async def _session(services: Services, _clock: Any) -> str:
    return f"Bearer {(await services.access.sessions.begin()).token}"


async def _expired_session(services: Services, clock: Any) -> str:
    token = (await services.access.sessions.begin()).token
    clock.advance(hours=4)
    return f"Bearer {token}"


def _api_token(*scopes: Scope) -> Callable[..., Any]:
    async def make(services: Services, _clock: Any) -> str:
        return f"Bearer {(await services.access.tokens.create(name='one', scopes=scopes, actor='test')).secret}"

    return make


def _access_token(*scopes: Scope, wait: float = 0, revoke: bool = False) -> Callable[..., Any]:
    async def make(services: Services, clock: Any) -> str:
        made = await services.access.tokens.create(name="client", scopes=ALL_SCOPES, actor="test")
        grant = await services.access.grant(client_id=made.token.id, secret=made.secret, scopes=frozenset(scopes), source="test")
        clock.advance(seconds=wait)
        if revoke:
            await services.access.tokens.revoke("client", actor="test")
        return f"Bearer {grant.access_token}"

    return make


KINDS: dict[str, tuple[Callable[..., Any], frozenset[Scope]]] = {
    "no token": (_none, NOBODY),
    "garbage": (_garbage, NOBODY),
    "unknown": (_unknown, NOBODY),
    "expired": (_expired, NOBODY),
    "revoked": (_revoked, NOBODY),
    "session": (_session, ALL_SCOPES),
    "expired session": (_expired_session, NOBODY),
    **{f"token {scope}": (_api_token(scope), frozenset({scope})) for scope in Scope},
    **{f"access token {scope}": (_access_token(scope), frozenset({scope})) for scope in Scope},
    "access token, expired": (_access_token(*Scope, wait=3600), NOBODY),
    "access token of a revoked one": (_access_token(*Scope, revoke=True), NOBODY),
}


@pytest.fixture
async def server(services: Services) -> AsyncIterator[str]:
    server = ApiServer(create_app(services, routes=doors()))
    await server.start("127.0.0.1", 0, None)
    yield f"http://127.0.0.1:{server.address[1]}"
    await server.stop()


@pytest.mark.parametrize("kind", KINDS)
async def test_every_route_is_open_to_its_scope_alone(server: str, services: Services, clock: Any, kind: str) -> None:
    make, scopes = KINDS[kind]
    header = await make(services, clock)
    headers = {"Authorization": header} if header else {}
    wrong: dict[str, object] = {}

    async with aiohttp.ClientSession(headers=headers) as client:
        for method, path, route in asked(heads=kind in {"no token", "session"}):
            async with client.request(method, server + path) as answer:
                body = await answer.json() if answer.content_type == "application/json" and method != "HEAD" else None
                expected = _expected(route, scopes, good=scopes is not NOBODY)
                if answer.status != expected or (method != "HEAD" and not _worded(body, answer.status, path)):
                    wrong[f"{method} {path}"] = (expected, answer.status, body)

    assert wrong == {}


def _expected(route: Route, scopes: frozenset[Scope], *, good: bool) -> int:
    if route.scope is None or route.public_on_loopback or may(scopes, route):
        return REACHED
    return 403 if good else 401


def _worded(body: Any, status: int, path: str) -> bool:
    """Whether a refusal has the shape and the code of its feed."""
    if status == REACHED:
        return True
    if path.startswith("/alertmanager/"):
        return isinstance(body, str) and bool(body)
    code = {401: "unauthorized", 403: "forbidden"}[status]
    match feed_of(path):
        case "org":
            return body.keys() == {"error", "message"} and body["error"] == code
        case "account":
            inner, kind = body["error"], {401: "authentication_error", 403: "permission_error"}[status]
            return inner.keys() == {"type", "code", "message", "param"} and inner["type"] == kind
        case "rules":
            return body.keys() == {"detail", "error"} and body["error"] == {"code": code.upper(), "message": body["detail"]}
        case _:
            return body.keys() == {"error"} and isinstance(body["error"], str)


async def test_with_their_own_handlers_a_session_opens_every_route_and_none_fails(gateway: Any) -> None:
    wrong: dict[str, int] = {}

    for method, path, route in asked(heads=False):
        gateway.clock.advance(seconds=1)
        token = (await gateway.services.access.sessions.begin()).token
        headers = {"Authorization": f"Bearer {token}", "Content-Type": route.media}
        body = {"data": b"{}"} if method in {"POST", "PUT", "PATCH"} else {}
        async with gateway.client.request(method, gateway.url + path, headers=headers, **body) as answer:
            if answer.status >= 500 or (route.scope is not None and answer.status in {401, 403}):
                wrong[f"{method} {path}"] = answer.status

    assert wrong == {}


def test_a_route_asks_for_a_scope_or_is_known_to_be_public() -> None:
    public = {name_of(route) for route in ROUTES if route.scope is None and route.proof is None}

    assert public <= PUBLIC.keys()


def test_what_reads_takes_no_more_than_the_scope_to_read_and_what_writes_takes_more() -> None:
    reads = {route.scope for route in ROUTES if route.method == "GET"}
    writes = {name_of(route) for route in ROUTES if route.method != "GET" and route.scope is Scope.ALERTS_READ}

    assert reads <= {None, Scope.ALERTS_READ, Scope.ADMIN}
    assert writes <= {"POST /api/auth/logout"}


def test_the_secret_things_are_for_admins() -> None:
    assert {name_of(route) for route in ROUTES if route.method == "GET" and route.scope is Scope.ADMIN} == {"GET /api/audit"}


async def test_a_scope_on_loopback_counts_from_elsewhere(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.authorize.source_of", lambda _request: "192.0.2.7")
    server = ApiServer(create_app(services, routes=doors()))
    await server.start("127.0.0.1", 0, None)

    async with aiohttp.ClientSession() as client:
        found = {
            route.path: (await client.get(f"http://127.0.0.1:{server.address[1]}{route.path}")).status
            for route in ROUTES
            if route.public_on_loopback
        }
    await server.stop()

    assert set(found.values()) == {401}
