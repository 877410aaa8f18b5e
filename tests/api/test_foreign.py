"""No other host name and no other page reaches any route of the table, with a good token or without one."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from api.app import create_app
from api.listener import ApiServer
from api.scopes import Scope
from api.services import Services
from tests.support.routes import REACHED, asked, doors

HOSTS = (
    "localhost",
    "localhost:80",
    "localhost:1",
    "localhost.:{port}",
    "127.1:{port}",
    "127.0.0.2:{port}",
    "0x7f.1:{port}",
    "2130706433:{port}",
    "0177.0.0.1:{port}",
    "0.0.0.0:{port}",
    "[::ffff:127.0.0.1]:{port}",
    "evil.com",
    "evil.com:{port}",
    "localhost.evil.com:{port}",
    "127.0.0.1.nip.io:{port}",
    "user@localhost:{port}",
    "localhost:{port}@evil.com",
    "localhost:{port},evil.com",
    "localhost:{port}/",
    "tollwatch.corp:1",
)
ORIGINS = (
    "null",
    "http://evil.com",
    "https://evil.com:{port}",
    "http://localhost:5173",
    "http://localhost",
    "http://127.0.0.1.nip.io:{port}",
    "http://localhost:{port}.evil.com",
    "file://",
    "chrome-extension://abc",
)
OURS = ("http://localhost:{port}", "https://127.0.0.1:{port}", "http://tollwatch.corp")


@pytest.fixture
async def server(services: Services) -> AsyncIterator[ApiServer]:
    server = ApiServer(create_app(services, routes=doors()))
    await server.start("127.0.0.1", 0, None)
    yield server
    await server.stop()


@pytest.fixture
async def token(services: Services) -> str:
    return (await services.access.tokens.create(name="leaked", scopes=(Scope.ADMIN,), actor="test")).secret


async def statuses(server: ApiServer, name: str, values: tuple[str, ...], token: str | None, **more: str) -> dict[str, set[int]]:
    """Return which statuses came for each value of a header, over every route."""
    port = server.address[1]
    base = {"Authorization": f"Bearer {token}"} if token else {}
    found: dict[str, set[int]] = {}
    async with aiohttp.ClientSession(headers={**base, **more}) as client:
        for value in values:
            header = {name: value.format(port=port)}
            found[value] = {
                (await client.request(method, f"http://127.0.0.1:{port}{path}", headers=header)).status
                for method, path, _ in asked(heads=value == values[0])
            }
    return found


async def test_every_route_refuses_every_foreign_host(server: ApiServer, token: str) -> None:
    assert await statuses(server, "Host", HOSTS, token) == {host: {421} for host in HOSTS}


async def test_every_route_refuses_every_foreign_origin(server: ApiServer, token: str) -> None:
    assert await statuses(server, "Origin", ORIGINS, token) == {origin: {403} for origin in ORIGINS}


async def test_every_route_refuses_what_a_browser_calls_cross_site(server: ApiServer, token: str) -> None:
    sites = ("cross-site", "same-site", "same-origin", "none")

    found = await statuses(server, "Sec-Fetch-Site", sites, token)

    assert found == {"cross-site": {403}, "same-site": {REACHED}, "same-origin": {REACHED}, "none": {REACHED}}


async def test_every_route_serves_our_own_pages(server: ApiServer, token: str) -> None:
    assert await statuses(server, "Origin", OURS, token) == {origin: {REACHED} for origin in OURS}


@pytest.mark.parametrize("media", ["text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", ""])
async def test_every_write_refuses_what_a_page_may_send_unasked(gateway: Any, media: str) -> None:
    token = await gateway.token(Scope.ADMIN)
    wrong: dict[str, int] = {}

    for method, path, route in asked(heads=False):
        if method in {"GET", "HEAD"} or route.media == media:
            continue
        headers = {"Content-Type": media, "Authorization": f"Bearer {token}"}
        async with gateway.client.request(method, gateway.url + path, headers=headers, data=b'{"a": 1}') as answer:
            if answer.status != 415:
                wrong[f"{method} {path}"] = answer.status

    assert wrong == {}


async def test_no_route_answers_a_preflight_or_allows_an_origin(server: ApiServer, token: str) -> None:
    port = server.address[1]
    preflight = {"Origin": f"http://localhost:{port}", "Access-Control-Request-Method": "POST"}
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as client:
        for path in {path for _, path, _ in asked()}:
            answer = await client.options(f"http://127.0.0.1:{port}{path}", headers=preflight)
            assert answer.status == 405
            read = await client.get(f"http://127.0.0.1:{port}{path}", headers={"Origin": f"http://localhost:{port}"})
            assert not [name for name in (*answer.headers, *read.headers) if name.lower().startswith("access-control")]
