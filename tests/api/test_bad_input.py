"""Whatever is wrong with a parameter or a body of any route: the refusal is its feed's, it names the culprit, and nothing has changed."""

import io
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import TypeAdapter

from alerting.finding import AlertKind, Subject
from api.app import ROUTES
from api.error_answers import ERROR_MODELS
from api.errors import feed_of, in_texts
from api.params import Query
from api.route import FORM, JSON, Route
from api.settings import ApiSettings
from storage.sqlite import SqliteDatabase
from tests.support.bad_input import Flaw, body_flaws, query_flaws

QUERIES = [route for route in ROUTES if route.query]
BODIES = [route for route in ROUTES if route.body and not route.proof and not issubclass(route.body, Query)]
FORMS = [route for route in ROUTES if route.body and issubclass(route.body, Query)]
IDS = [route for route in ROUTES if "{" in route.path and not route.proof]
ODD_IDS = (
    "x" * 201,
    "a%00b",
    "%1b",
    "%ff",
    "%F0%9F%98%80",
    "..%2f..",
    "'%20OR%201=1",
    "-1",
    "9" * 40,
    "%E2%80%AEid",
    "alert-" + "9" * 40,
    "alert_0",
)
CHANGING = {"api_tokens": "last_used_at"}
"""What any request changes: when its token was used last."""


@pytest.fixture
def settings() -> ApiSettings:
    return ApiSettings(requests_per_minute=1_000_000)


@pytest.fixture
async def unchanged(database: SqliteDatabase, book: Any, occur: Any, gateway: Any) -> AsyncIterator[str]:
    """A token; when the test has ended, all tables must be as they were."""
    subject = Subject(service="openai", rule_id="SEC-003", user="ada")
    await book.record([occur(kind, episode=(kind,), subject=subject) for kind in AlertKind])
    token = await gateway.token()
    await gateway.services.entries.follow()  # what any request for entries catches up with
    before = await contents(database)
    yield token
    assert len(before) > 30
    after = await contents(database)
    assert {name: [row for row in rows if row not in before[name]] for name, rows in after.items() if rows != before[name]} == {}


async def contents(database: SqliteDatabase) -> dict[str, list[Any]]:
    tables = [str(name) for (name,) in await database.read("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {}
    for table in tables:
        columns = [str(row[1]) for row in await database.read(f"PRAGMA table_info({table})")]
        kept = ", ".join(f'"{column}"' for column in columns if column != CHANGING.get(table))
        found[table] = await database.read(f"SELECT {kept} FROM {table}")  # noqa: S608  # names from the schema
    return found


def path_of(route: Route, odd: str = "alert-1") -> str:
    parts = route.path.replace("{", "\0{").replace("}", "}\0").split("\0")
    return "".join(odd if part.startswith("{") else part for part in parts)


def wrong(route: Route, answer: Any, flaw: Flaw, *, statuses: set[int]) -> list[str]:
    """Return what is wrong with a refusal."""
    found = []
    if answer.status not in statuses:
        found.append(f"answers {answer.status}")
    if not in_texts(route.path):
        try:
            TypeAdapter(ERROR_MODELS[feed_of(route.path) or "local"]).validate_json(answer.raw, strict=True)
        except ValueError:
            found.append("is not in the words of its feed")
    if answer.headers.get("X-Alert-Feed") != feed_of(route.path):
        found.append("names no feed")
    if flaw.names and flaw.names not in answer.raw.decode():
        found.append(f"does not name {flaw.names}")
    return [f"{route.method} {route.path}: {flaw.what}: {one}: {answer.raw[:200]!r}" for one in found]


def refused(route: Route) -> set[int]:
    return {422} if feed_of(route.path) == "rules" else {400}


async def tried(gateway: Any, token: str, routes: list[Route], flaws: Callable[[Route], Any]) -> tuple[int, list[str]]:
    count, found = 0, []
    for route in routes:
        for flaw in flaws(route):
            more: dict[str, Any] = {} if flaw.body is None else {"data": flaw.body, "headers": {"Content-Type": JSON}}
            answer = await gateway.ask(route.method, path_of(route) + (f"?{flaw.query}" if flaw.query else ""), token=token, **more)
            found += wrong(route, answer, flaw, statuses=refused(route))
            count += 1
    return count, found


@pytest.mark.untraced
async def test_no_wrong_parameter_is_taken(gateway: Any, unchanged: str) -> None:
    count, found = await tried(gateway, unchanged, QUERIES, query_flaws)

    assert found == []
    assert count >= 500


@pytest.mark.untraced
async def test_no_wrong_body_is_taken(gateway: Any, unchanged: str) -> None:
    count, found = await tried(gateway, unchanged, BODIES, body_flaws)

    assert found == []
    assert count >= 500


@pytest.mark.parametrize("route", FORMS, ids=lambda route: route.path)
@pytest.mark.usefixtures("unchanged")
async def test_no_wrong_form_is_taken(gateway: Any, route: Route) -> None:
    found = []
    for what, body in (("a NUL", b"grant_type=a%00"), ("twice", b"grant_type=a&grant_type=a"), ("long", b"grant_type=" + b"x" * 5000)):
        answer = await gateway.ask(route.method, route.path, data=body, headers={"Content-Type": FORM})
        found += wrong(route, answer, Flaw(what=what, names="grant_type"), statuses=refused(route))

    assert found == []


async def test_no_odd_id_is_found(gateway: Any, unchanged: str) -> None:
    found = []
    for route in IDS:
        for odd in ODD_IDS:
            more: dict[str, Any] = {"json": {}} if route.body else {}
            answer = await gateway.ask(route.method, path_of(route, odd), token=unchanged, **more)
            found += wrong(route, answer, Flaw(what=f"the id {odd[:20]}"), statuses={404, *(refused(route) if route.body else ())})

    assert found == []


async def test_every_write_wants_its_media_type(gateway: Any, unchanged: str) -> None:
    found = []
    for route in ROUTES:
        if route.method != "GET":
            answer = await gateway.ask(route.method, path_of(route), token=unchanged, data=b"x", headers={"Content-Type": "text/plain"})
            found += wrong(route, answer, Flaw(what="text"), statuses={415})

    assert found == []


async def test_no_body_is_read_beyond_its_limit(gateway: Any, unchanged: str) -> None:
    found = []
    for route in BODIES[:: max(1, len(BODIES) // 5)]:
        body = b'{"x": "' + b"x" * (1 << 20) + b'"}'
        answer = await gateway.ask(route.method, path_of(route), token=unchanged, data=io.BytesIO(body), headers={"Content-Type": JSON})
        found += wrong(route, answer, Flaw(what="too large"), statuses={413})

    assert found == []
