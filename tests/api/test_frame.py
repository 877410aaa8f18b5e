"""What every route has from the frame: parameters and bodies are checked before it runs, and errors are in the words of its feed."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any, Literal

import aiohttp
import pytest
from aiohttp import web
from multidict import MultiDict
from pydantic import Field, field_validator, model_validator

from api import bodies
from api.app import ROUTES, create_app
from api.bodies import Body, parse_body
from api.errors import ApiError, InvalidError, feed_of, json_response
from api.listener import ApiServer
from api.params import Query, read_query
from api.route import FORM, JSON, Ask, Route
from api.scopes import Scope
from api.services import Services


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Things(Query):
    name: str | None = None
    colour: Colour | None = None
    size: Literal["s", "m"] = "s"
    one: Literal["only"] | None = None
    open: bool | None = None
    limit: int = Field(default=10, ge=1, le=100)
    share: float | None = Field(default=None, ge=0)
    since: datetime | None = None
    short: str | None = Field(default=None, max_length=3, pattern="^[a-z]+$")
    filter: tuple[str, ...] = ()
    needed: str = "x"

    @field_validator("name")
    @classmethod
    def _no_dots(cls, value: str | None) -> str | None:
        if value == ".":
            raise ValueError("a name is not a dot")
        return value

    @model_validator(mode="after")
    def _fits(self) -> "Things":
        if self.limit == 7 and self.open:
            raise ValueError("limit 7 is for closed ones")
        return self


class Note(Body):
    text: str | None = Field(default=None, max_length=10)
    at: datetime | None = None
    colour: Colour | None = None
    tags: tuple[str, ...] = ()

    @field_validator("text")
    @classmethod
    def _no_dots(cls, value: str | None) -> str | None:
        if value == ".":
            raise ValueError("A text is not a dot")
        return value


class Sized(Body):
    size: int
    share: float | None = None


class Client(Query):
    grant: str
    scope: str | None = None


def read(query: str) -> Things:
    return read_query(MultiDict([tuple(pair.split("=", 1)) for pair in query.split("&") if pair]), Things)


def test_parameters_become_the_types_of_the_model() -> None:
    things = read("colour=red&size=m&open=true&limit=100&share=0.5&since=2025-01-15&filter=a&filter=b&unknown=1")

    assert things == Things(
        colour=Colour.RED, size="m", open=True, limit=100, share=0.5, since=datetime(2025, 1, 15, tzinfo=UTC), filter=("a", "b")
    )


@pytest.mark.parametrize("text", ["2025-01-15T10:30:00Z", "2025-01-15T12:30:00+02:00", "2025-01-15T12:30:00 02:00", "1736937000"])
def test_a_moment_is_read_in_many_ways(text: str) -> None:
    assert read(f"since={text}").since == datetime(2025, 1, 15, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=1&limit=2", "invalid limit: it is given 2 times"),
        ("limit=", "invalid limit: it has 1 to 200 characters"),
        ("limit=0", "invalid limit: use a whole number from 1 to 100"),
        ("limit=101", "invalid limit: use a whole number from 1 to 100"),
        ("limit=1.0", "invalid limit: use a whole number from 1 to 100"),
        ("limit= 1", "invalid limit: use a whole number from 1 to 100"),
        ("limit=+1", "invalid limit: use a whole number from 1 to 100"),
        ("limit=1_0", "invalid limit: use a whole number from 1 to 100"),
        ("limit=٣", "invalid limit: use a whole number from 1 to 100"),
        ("limit=" + "9" * 30, "invalid limit: use a whole number from 1 to 100"),
        ("share=-1", "invalid share: use a number from 0"),
        ("share=nan", "invalid share: use a number from 0"),
        ("share=1e3", "invalid share: use a number from 0"),
        ("open=1", "invalid open: use one of true, false"),
        ("open=True", "invalid open: use one of true, false"),
        ("colour=green", "invalid colour: use one of red, blue"),
        ("size=l", "invalid size: use one of s, m"),
        ("one=two", "invalid one: use one of only"),
        ("since=yesterday", "invalid since: use RFC 3339, for example 2025-01-15T10:30:00Z, a date or unix seconds"),
        ("since=" + "1" * 41, "invalid since: it has 1 to 40 characters"),
        ("name=" + "x" * 201, "invalid name: it has 1 to 200 characters"),
        ("name=a\0b", "invalid name: it has control characters or is not UTF-8"),
        ("name=a\udcffb", "invalid name: it has control characters or is not UTF-8"),
        ("name=.", "invalid name: a name is not a dot"),
        ("short=abcd", "invalid short: it has 1 to 3 characters"),
        ("short=AB", "invalid short: it must match ^[a-z]+$"),
        ("filter=a&filter=", "invalid filter: it has 1 to 200 characters"),
        ("&".join(["filter=a"] * 51), "invalid filter: it is given 51 times"),
        ("limit=7&open=true", "limit 7 is for closed ones"),
    ],
)
def test_a_parameter_that_will_not_do_is_named_with_what_would(query: str, message: str) -> None:
    with pytest.raises(InvalidError) as refused:
        read(query)

    assert refused.value.message == message
    assert refused.value.param == (None if message.startswith("limit 7") else query.split("=", maxsplit=1)[0])


def test_a_parameter_that_is_needed_is_missed() -> None:
    with pytest.raises(InvalidError, match="missing grant") as refused:
        read_query(MultiDict(), Client)

    assert refused.value.param == "grant"


def test_a_parameter_of_several_types_cannot_be_read() -> None:
    class Unclear(Query):
        x: int | str | None = None

    with pytest.raises(TypeError, match="several types"):
        read_query(MultiDict(x="1"), Unclear)


def test_a_body_may_have_what_json_has_no_type_for() -> None:
    note = parse_body(b'{"at": "2025-01-15T10:30:00Z", "colour": "red", "tags": ["a"]}', Note)

    assert note == Note(at=datetime(2025, 1, 15, 10, 30, tzinfo=UTC), colour=Colour.RED, tags=("a",))


@pytest.mark.parametrize(
    ("raw", "message", "param"),
    [
        (rb'{"text": "a\u0000"}', "the body has a NUL character, which no text here may have", None),
        (rb'{"tags": ["a\u0000"]}', "the body has a NUL character, which no text here may have", None),
        (rb'{"\u0000": 1}', "the body has a NUL character, which no text here may have", None),
        (b'{"text": "."}', "text: a text is not a dot", "text"),
        (b'{"text": 1}', "text: input should be a valid string", "text"),
        (b'{"tags": ["a", 1]}', "tags.1: input should be a valid string", "tags.1"),
        (b'{"colour": "green"}', "colour: input should be 'red' or 'blue'", "colour"),
        (b'{"more": 1}', "unknown key more", "more"),
    ],
)
def test_a_body_that_will_not_do_names_the_key(raw: bytes, message: str, param: str | None) -> None:
    with pytest.raises(InvalidError) as refused:
        parse_body(raw, Note)

    assert (refused.value.message, refused.value.param) == (message, param)


@pytest.mark.parametrize("raw", [b'{"size": 5.0}', b'{"size": 5e0}', b'{"size": 0.5e1}', b'{"size": 5, "share": 1e-3}'])
def test_a_whole_number_may_be_written_as_a_fraction(raw: bytes) -> None:
    assert parse_body(raw, Sized).size == 5


@pytest.mark.parametrize("raw", [b'{"size": 5.5}', b'{"size": 1e300}', b'{"size": "5"}', b'{"size": true}'])
def test_what_is_no_whole_number_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidError) as refused:
        parse_body(raw, Sized)

    assert refused.value.param == "size"


def test_a_body_that_is_nested_too_deep_is_refused() -> None:
    with pytest.raises(InvalidError, match="deeper than 64"):
        parse_body(b'{"tags": ' + b"[" * 900 + b"1.0" + b"]" * 900 + b"}", Note)
    with pytest.raises(InvalidError):
        parse_body(b'{"tags": ' + b"[" * 900 + b"1" + b"]" * 900 + b"}", Note)


def test_a_backslash_before_u0000_is_no_nul() -> None:
    assert parse_body(rb'{"text": "\\u0000"}', Note).text == r"\u0000"


@pytest.mark.parametrize(
    ("path", "feed"),
    [
        ("/v1/alerts", "org"),
        ("/v1", "org"),
        ("/v10/alerts", None),
        ("/api/alerts", "local"),
        ("/api", "local"),
        ("/apis", None),
        ("/api/v1/alerts", "rules"),
        ("/api/v1/alerts/alert-001", "rules"),
        ("/api/v1/alerts/entriesx", "rules"),
        ("/api/v1/alerts/entries", "entries"),
        ("/api/v1/alerts/entries/x/view", "entries"),
        ("/api/v1/alerts/configs", "entries"),
        ("/api/v1/detections", "entries"),
        ("/api/account/alerts", "account"),
        ("/api/accounts", "local"),
        ("/healthz", None),
        ("/", None),
    ],
)
def test_a_path_belongs_to_the_feed_with_the_longest_prefix(path: str, feed: str | None) -> None:
    assert feed_of(path) == feed


def test_every_route_is_in_the_feed_of_its_path_and_says_what_it_does() -> None:
    assert [route.path for route in ROUTES if route.feed and feed_of(route.path) != route.feed] == []
    assert [route.path for route in ROUTES if not route.summary or route.summary.endswith(".")] == []


async def things(ask: Ask) -> web.Response:
    return json_response({"limit": ask.query_as(Things).limit})


async def note(ask: Ask) -> web.Response:
    return json_response({"text": ask.body_as(Note).text})


async def token(ask: Ask) -> web.Response:
    return json_response({"grant": ask.body_as(Client).grant})


async def gone(_ask: Ask) -> web.Response:
    raise ApiError(404, "Alert 9 not found", code="alert_not_found", fields={"hint": "look"})


async def broken(_ask: Ask) -> web.Response:
    raise ZeroDivisionError


async def mistyped(ask: Ask) -> web.Response:
    ask.query_as(Client)
    raise AssertionError


HOMES = {
    "org": "/v1/x",
    "local": "/api/x",
    "entries": "/api/v1/alerts/entries/x",
    "account": "/api/account/x",
    "rules": "/api/v1/x",
}


def table() -> list[Route]:
    made = []
    for feed, home in HOMES.items():
        common: dict[str, Any] = {"scope": Scope.ALERTS_READ, "feed": feed, "summary": "x"}
        made += [
            Route(method="GET", path=home, handler=things, query=Things, **common),
            Route(method="POST", path=home, handler=note, body=Note, **common),
            Route(method="POST", path=f"{home}/optional", handler=note, body=Note, body_optional=True, **common),
            Route(method="GET", path=f"{home}/gone", handler=gone, **common),
            Route(method="GET", path=f"{home}/broken", handler=broken, **common),
            Route(method="GET", path=f"{home}/mistyped", handler=mistyped, query=Things, **common),
            Route(method="GET", path=f"{home}/of/{{id}}", handler=gone, **common),
        ]
    return [*made, Route(method="POST", path="/v1/token", handler=token, scope=None, body=Client, media=FORM, summary="x")]


type Asker = Callable[..., Any]


@pytest.fixture
async def ask(services: Services) -> AsyncIterator[Asker]:
    async with _served(services) as asker:
        yield asker


@asynccontextmanager
async def _served(services: Services) -> AsyncIterator[Asker]:
    server = ApiServer(create_app(services, routes=table()))
    await server.start("127.0.0.1", 0, None)
    made = await services.access.tokens.create(name="frame", scopes=[Scope.ALERTS_READ], actor="test")

    async def asking(
        method: str, path: str, *, headers: dict[str, str] | None = None, json_type: bool = False, **more: Any
    ) -> tuple[int, Any, Any]:
        headers = {"Authorization": f"Bearer {made.secret}"} if headers is None else headers
        headers |= {"Content-Type": JSON} if json_type else {}
        url = f"http://127.0.0.1:{server.address[1]}{path}"
        async with client.request(method, url, headers=headers, **more) as response:
            return response.status, await response.json(), response.headers

    try:
        async with aiohttp.ClientSession() as client:
            yield asking
    finally:
        await server.stop()


def worded(feed: str, status: int, code: str, message: str, param: str | None = None) -> object:
    match feed:
        case "org":
            return {"error": code, "message": message}
        case "account":
            return {"error": {"type": _account_type(status), "code": code, "message": message, "param": param}}
        case "rules":
            return {"detail": message, "error": {"code": code.upper(), "message": message}}
        case _:
            return {"error": message}


def _account_type(status: int) -> str:
    types = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 500: "api_error"}
    return types.get(status, "invalid_request_error")


@pytest.mark.parametrize("feed", HOMES)
async def test_errors_are_in_the_words_of_the_feed(ask: Asker, feed: str, capsys: pytest.CaptureFixture[str]) -> None:
    home, word = HOMES[feed], partial(worded, feed)
    invalid = 422 if feed == "rules" else 400
    wrong = "invalid_parameter" if feed == "account" else "invalid_request"

    seen = [
        await ask("GET", f"{home}?limit=0"),
        await ask("POST", home, json={"text": 1}),
        await ask("POST", home, data=b"{}", headers=None, skip_auto_headers=["Content-Type"]),
        await ask("GET", f"{home}/nothing"),
        await ask("DELETE", home),
        await ask("GET", f"{home}/broken"),
    ]

    assert [(status, body) for status, body, _ in seen] == [
        (invalid, word(invalid, wrong, "invalid limit: use a whole number from 1 to 100", "limit")),
        (invalid, word(invalid, wrong, "text: input should be a valid string", "text")),
        (
            415,
            word(415, "unsupported_media_type", "send the body as JSON, with the header Content-Type: application/json"),
        ),
        (404, word(404, "not_found", "not found")),
        (405, word(405, "method_not_allowed", _text(seen[4][1]))),
        (500, word(500, "internal_error", "internal error")),
    ]
    assert {headers["X-Alert-Feed"] for _, _, headers in seen} == {feed}
    assert sorted(seen[4][2]["Allow"].split(",")) == ["GET", "HEAD", "POST"]
    assert "api_failed" in "".join(capsys.readouterr())


@pytest.mark.parametrize("feed", HOMES)
async def test_what_is_refused_before_the_token_is_in_the_words_of_the_feed(ask: Asker, feed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    home, word, never = HOMES[feed], partial(worded, feed), asyncio.Event()

    async def stops() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    foreign = await ask("GET", home, headers={"Host": "evil.com"})
    other = await ask("GET", home, headers={"Origin": "https://evil.com"})
    large = await ask("POST", home, data=io.BytesIO(b'{"text": "' + b"x" * bodies.MAX_BYTES), headers=None, json_type=True)
    monkeypatch.setattr(bodies, "DEADLINE_SECONDS", 0.05)
    slow = await ask("POST", home, data=stops(), headers=None, json_type=True)

    assert [(status, body) for status, body, _ in (foreign, other, large, slow)] == [
        (421, word(421, "misdirected_request", _text(foreign[1]))),
        (403, word(403, "forbidden", _text(other[1]))),
        (413, word(413, "payload_too_large", "the body is too large")),
        (408, word(408, "request_timeout", "the body did not arrive within 0.05 seconds")),
    ]


def _text(body: Any) -> str:
    error = body["error"]
    return error["message"] if isinstance(error, dict) else body.get("message", error)


@pytest.mark.parametrize("feed", HOMES)
async def test_a_code_of_its_own_and_more_keys_reach_the_client(ask: Asker, feed: str) -> None:
    status, body, _ = await ask("GET", f"{HOMES[feed]}/gone")

    assert (status, body) == (404, {**worded(feed, 404, "alert_not_found", "Alert 9 not found"), "hint": "look"})


@pytest.mark.parametrize(
    ("headers", "why"),
    [({}, "missing"), ({"Authorization": "Bearer tw_0"}, "invalid"), ({"Authorization": "Bearer EXPIRED"}, "expired")],
)
@pytest.mark.parametrize("feed", HOMES)
async def test_a_token_is_missing_invalid_or_expired(services: Services, clock: Any, feed: str, headers: dict[str, str], why: str) -> None:
    made = await services.access.tokens.create(name="old", scopes=[Scope.ADMIN], expires_at=clock() + timedelta(hours=1), actor="test")
    clock.advance(hours=1)
    headers = {name: value.replace("EXPIRED", made.secret) for name, value in headers.items()}

    async with _served(services) as ask:
        status, body, answered = await ask("GET", HOMES[feed], headers=headers)

    general = {
        "missing": "missing or invalid authorization header",
        "invalid": "invalid or expired token",
        "expired": "the token has expired",
    }
    expected = {
        "org": {"error": "unauthorized", "message": general[why]},
        "local": {"error": general["missing"] if why == "missing" else "invalid or expired session token"},
        "entries": {"error": general[why]},
        "rules": {"detail": general[why], "error": {"code": "UNAUTHORIZED", "message": general[why]}},
    }
    assert (status, answered["WWW-Authenticate"]) == (401, "Bearer")
    if feed == "account":
        assert (body["error"]["type"], body["error"]["code"]) == ("authentication_error", f"{why}_api_key")
    else:
        assert body == expected[feed]


@pytest.mark.parametrize("feed", HOMES)
async def test_a_scope_that_is_missing_is_named(services: Services, feed: str) -> None:
    made = await services.access.tokens.create(name="weak", scopes=[Scope.CONFIG_WRITE], actor="test")

    async with _served(services) as ask:
        status, body, _ = await ask("GET", HOMES[feed], headers={"Authorization": f"Bearer {made.secret}"})

    code = "insufficient_scope" if feed == "account" else "forbidden"
    assert (status, body) == (403, worded(feed, 403, code, "the token 'weak' lacks the scope alerts:read"))


@pytest.mark.parametrize("feed", HOMES)
async def test_only_the_rules_feed_takes_a_key_header(services: Services, feed: str) -> None:
    made = await services.access.tokens.create(name="key", scopes=[Scope.ALERTS_READ], actor="test")

    async with _served(services) as ask:
        status, _, _ = await ask("GET", HOMES[feed], headers={"X-API-Key": made.secret})
        both, _, _ = await ask("GET", HOMES[feed], headers={"X-API-Key": made.secret, "Authorization": "Bearer tw_0"})

    assert (status, both) == (200 if feed == "rules" else 401, 401)


async def test_what_is_checked_reaches_the_handler(ask: Asker) -> None:
    assert (await ask("GET", "/v1/x?limit=5"))[1] == {"limit": 5}
    assert (await ask("POST", "/v1/x", json={"text": "a"}))[1] == {"text": "a"}


async def test_a_body_may_be_left_out_where_the_route_says_so(ask: Asker) -> None:
    assert (await ask("POST", "/v1/x/optional"))[:2] == (200, {"text": None})
    assert (await ask("POST", "/v1/x/optional", json={"text": "a"}))[1] == {"text": "a"}
    assert (await ask("POST", "/v1/x"))[0] == 400


async def test_a_form_is_read_where_the_route_says_so(ask: Asker) -> None:
    assert (await ask("POST", "/v1/token", data={"grant": "a b", "other": "c"}))[:2] == (200, {"grant": "a b"})
    assert (await ask("POST", "/v1/token", data={"scope": "x"}))[1] == {"error": "invalid_request", "message": "missing grant"}
    assert (await ask("POST", "/v1/token", json={"grant": "a"}))[0] == 415
    form = {"Content-Type": FORM}
    assert (await ask("POST", "/v1/token", data=b"grant=\xff", headers=form))[0] == 400
    assert (await ask("POST", "/v1/token", data=b"&".join([b"a=b"] * 101), headers=form))[0] == 400


async def test_the_token_comes_before_the_parameters(ask: Asker) -> None:
    assert (await ask("GET", "/v1/x?limit=0", headers={}))[0] == 401


@pytest.mark.parametrize("name", ["a%00b", "x" * 201, "%7f"])
async def test_what_can_be_no_id_is_not_found(ask: Asker, name: str) -> None:
    assert (await ask("GET", f"/v1/x/of/{name}"))[:2] == (404, {"error": "not_found", "message": "not found"})


async def test_a_handler_that_reads_another_model_fails_loudly(ask: Asker, capsys: pytest.CaptureFixture[str]) -> None:
    assert (await ask("GET", "/v1/x/mistyped"))[0] == 500
    assert "Cannot read a Things as Client" in "".join(capsys.readouterr())


def test_a_form_has_a_query_for_its_model() -> None:
    with pytest.raises(TypeError, match="the model of a form is a Query"):
        Route(method="POST", path="/x", handler=token, scope=None, body=Note, media=FORM, summary="x")


@pytest.mark.parametrize("feed", HOMES)
async def test_a_feed_that_is_switched_off_is_404_in_its_own_words(services: Services, settings: Any, feed: str) -> None:
    others = tuple(name for name in HOMES if name != feed)
    off = replace(services, settings=settings.model_copy(update={"feeds": others}))

    async with _served(off) as ask:
        status, body, _ = await ask("GET", HOMES[feed])
        on = [(await ask("GET", HOMES[other]))[0] for other in others]

    assert (status, body) == (404, worded(feed, 404, "not_found", "not found"))
    assert on == [200] * 4
