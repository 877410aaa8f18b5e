"""A page of another origin, in a real browser: whatever it tries on the API, it reads nothing and changes nothing."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from alerting.book import AlertBook
from api.app import ROUTES, create_app
from api.listener import ApiServer
from api.scopes import Scope
from api.services import Services
from storage.sqlite import SqliteDatabase
from tests.support.routes import asked

PAGES = Path(__file__).parent / "pages"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # it is root on CI, and opens nothing but the pages below
    "--no-first-run",
    "--no-proxy-server",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--host-resolver-rules=MAP rebind.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
)
SECONDS = 60
HARMLESS = {"refused", "opaque", "unreadable", "sent"}
"""What may come of an attempt: nothing that the page can read."""

READING = ("cors", "cors with a token", "no-cors")
LOADING = ("cors with a key", "no-cors with a token", "events", "socket", "img", "script", "style", "frame")
WRITING = ("cors json", "no-cors text", "no-cors form", "form text", "form", "beacon")
LOADED = ("/", "/healthz", "/docs.css", "/openapi.json", "/metrics", "/api/alerts", "/api/stream", "/api/v1/alerts")

WRITTEN = (
    ("POST", "/api/auth/setup"),
    ("POST", "/api/auth/login"),
    ("POST", "/v1/oauth/token"),
    ("POST", "/api/alerts/dismiss"),
    ("PUT", "/api/alerts/config"),
)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: `make chromium` installs it, or says why it cannot")


class OtherSite:
    """The page's own server, and one that lets every page do what it likes, to show that the page's attempts are real."""

    def __init__(self) -> None:
        self.plan: dict[str, Any] = {}
        self.results: asyncio.Future[list[dict[str, str]]] = asyncio.get_running_loop().create_future()
        self.received: list[tuple[str, str]] = []

    def page(self) -> web.Application:
        app = web.Application()
        app.router.add_static("/pages", PAGES)
        app.router.add_get("/plan", self._plan)
        app.router.add_post("/done", self._done)
        return app

    def permissive(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/{what:.*}", self._anything)
        return app

    async def _plan(self, _request: web.Request) -> web.Response:
        return web.json_response(self.plan)

    async def _done(self, request: web.Request) -> web.Response:
        self.results.set_result(json.loads(await request.text()))
        return web.Response()

    async def _anything(self, request: web.Request) -> web.StreamResponse:
        self.received.append((request.method, await request.text()))
        what, origin = request.match_info["what"], request.headers.get("Origin", "*")
        if what == "socket":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            return socket
        kinds = {
            "img": "image/svg+xml",
            "script": "text/javascript",
            "style": "text/css",
            "events": "text/event-stream",
            "frame": "text/html",
        }
        texts = {
            "img": '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>',
            "events": "event: ready\ndata: 1\n\n",
            "style": "a{}",
        }
        allow = {"Origin": origin, "Headers": "authorization, content-type, x-api-key", "Methods": "GET, POST, PUT, PATCH, DELETE"}
        headers = {f"Access-Control-Allow-{name}": value for name, value in allow.items()}
        return web.Response(text=texts.get(what, ""), content_type=kinds.get(what, "application/json"), headers=headers)


@contextlib.asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[int]:
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def browser(url: str, profile: Path) -> AsyncIterator[None]:
    assert CHROMIUM is not None
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        CHROMIUM, *FLAGS, f"--user-data-dir={profile}", url, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
    )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with all the processes that it made, and without saving anything
        await process.wait()


async def everything(database: SqliteDatabase) -> dict[str, list[Any]]:
    """Return all that the store keeps."""
    tables = await database.read("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    return {str(name): await database.read(f'SELECT * FROM "{name}"') for (name,) in tables}  # noqa: S608  # names of the store's own


async def results_of(site: OtherSite, tmp_path: Path) -> list[dict[str, str]]:
    async with (
        served(site.page()) as port,
        browser(f"http://localhost:{port}/pages/foreign.html", tmp_path / "profile"),
        asyncio.timeout(SECONDS),
    ):
        return await site.results


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.soak)], ids=["some", "every route"])
async def test_a_foreign_page_reads_nothing_and_changes_nothing(  # what the test stands on
    services: Services, database: SqliteDatabase, book: AlertBook, occur: Any, tmp_path: Path, *, whole: bool
) -> None:
    client = await services.access.tokens.create(name="leaked", scopes=(Scope.ADMIN,), actor="test")
    await book.record([occur(message="SECRET")])
    app, answered = create_app(services), set[tuple[str, str, int, bool]]()

    async def note(request: web.Request, response: web.StreamResponse) -> None:
        answered.add((request.method, request.path, response.status, "Authorization" in request.headers))

    app.on_response_prepare.append(note)
    server = ApiServer(app)
    await server.start("localhost", 0, None)
    site, before = OtherSite(), await everything(database)
    hosts = ("localhost", "127.0.0.1", "rebind.test")[: 3 if whole else 1]
    reads = sorted({path for method, path, _ in asked() if method == "GET"}) if whole else LOADED
    targets = [(method, path) for method, path, _ in asked() if method not in {"GET", "HEAD"}] if whole else WRITTEN
    site.plan = {
        "bases": [f"http://{host}:{server.address[1]}" for host in hosts],
        "reads": [*((what, path) for what in READING for path in reads), *((what, path) for what in LOADING for path in LOADED)],
        "writes": [(what, method, path) for what in WRITING for method, path in targets],
        "token": client.secret,
        "json": json.dumps({"password": "chosen by a page", "confirm": "chosen by a page", "code": "setup-1234-code", "id": "alert_1"}),
        "form": {"grant_type": "client_credentials", "client_id": client.token.id, "client_secret": client.secret},
    }

    try:
        results = await results_of(site, tmp_path)
    finally:
        await server.stop()

    assert len(results) == len(hosts) * (len(site.plan["reads"]) + len(site.plan["writes"]))
    assert [one for one in results if one["outcome"] not in HARMLESS] == []
    public = {route.path for route in ROUTES if route.scope is None or route.public_on_loopback}
    assert {(method, path, status) for method, path, status, _ in answered if status < 400 and path not in public} == set()
    assert {method for method, *_ in answered} >= {"GET", "POST", "OPTIONS"}
    assert {status for method, _, status, _ in answered if method not in {"GET", "HEAD"}} <= {403, 405, 421}
    assert not [one for one in answered if one[3]], "a token got through to the API"
    assert await everything(database) == before


async def test_the_same_page_does_all_of_it_to_a_server_that_lets_it(tmp_path: Path) -> None:
    site = OtherSite()
    async with served(site.permissive()) as port:
        site.plan = {
            "bases": [f"http://localhost:{port}"],
            "reads": [(what, f"/{what.replace(' ', '-')}") for what in (*READING, *LOADING)],
            "writes": [(what, "POST", f"/{what.replace(' ', '-')}") for what in WRITING],
            "token": "t",
            "json": '{"a": 1}',
            "form": {"b": "2"},
        }
        results = await results_of(site, tmp_path)

    outcomes = {one["what"]: one["outcome"] for one in results}
    can_read = {"cors", "cors with a token", "cors with a key", "cors json"}
    assert {what for what, outcome in outcomes.items() if outcome.startswith("read 200")} == can_read
    assert {what for what, outcome in outcomes.items() if outcome == "read"} == {"events", "socket", "img", "script", "style"}
    assert {what for what, outcome in outcomes.items() if outcome == "opaque"} == {
        "no-cors",
        "no-cors with a token",
        "no-cors text",
        "no-cors form",
    }
    bodies = [body.strip() for method, body in site.received if method == "POST"]
    assert sorted(bodies) == sorted(['{"a": 1}', '{"a": 1}', '{"a": 1}', "b=2", "b=2", '{"a": 1,"x":"="}'])
