"""The pure parts: JSON with one meaning, codings under caps, addresses, callers, error shapes."""

import asyncio
import gzip
import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import brotli
import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from alerting.finding import Refusal
from metering.call import Door
from metering.providers.catalog import provider_of_host
from metering.providers.provider import Dialect
from metering.settings import Scope, ServiceSettings, UserSettings
from proxy import canonical, decoding, refusal, strict_json, targets
from proxy.decoding import DecodingError, TooLargeError
from proxy.identity import Identity, provider_key, proxy_user
from proxy.raw import RawRequest, headers_of
from proxy.refusal import STATUSES
from proxy.settings import IdentitySource
from proxy.targets import Targets

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.from_regex(r"x_[a-z]{0,10}", fullmatch=True), JSON, max_size=8))
def test_what_is_written_once_is_read_as_it_is(body: dict[str, object]) -> None:
    assert strict_json.parse(orjson.dumps(body)) == body
    assert strict_json.parse(orjson.dumps(body, option=orjson.OPT_INDENT_2)) == body


@given(st.text(max_size=10), st.integers(1, 5))
def test_a_name_that_stands_twice_at_any_depth_is_refused(name: str, depth: int) -> None:
    twin = b"{%b:1,%b:2}" % (orjson.dumps(name), orjson.dumps(name))
    for _ in range(depth):
        twin = b'{"x":[%b]}' % twin

    with pytest.raises(strict_json.UnreadableError, match="stands twice"):
        strict_json.parse(twin)


def test_depth_and_size_have_their_limits() -> None:
    assert strict_json.parse(b'{"x":' + b"[" * 63 + b"]" * 63 + b"}")
    with pytest.raises(strict_json.UnreadableError, match="deeper than 64"):
        strict_json.parse(b'{"x":' + b"[" * 64 + b"]" * 64 + b"}")
    with pytest.raises(strict_json.UnreadableError, match="200,000 values"):
        strict_json.parse(b'{"x":[' + b"1," * 200_000 + b"1]}")
    assert strict_json.parse(b'{"x":"' + b"," * 300_000 + b'"}')


CODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("coding", CODERS)
@given(data=st.binary(max_size=3000), step=st.integers(1, 50))
def test_a_coding_is_undone_in_any_pieces(coding: str, data: bytes, step: int) -> None:
    coded = CODERS[coding](data)
    undo = decoding.decoder(coding, cap=10_000)
    assert undo is not None

    assert b"".join(undo.feed(coded[at : at + step]) for at in range(0, len(coded), step)) == data
    assert undo.done
    assert decoding.decode(coding, coded, cap=10_000) == data


@pytest.mark.parametrize("coding", CODERS)
@pytest.mark.untraced
def test_a_bomb_stops_at_its_cap(coding: str) -> None:
    bomb = CODERS[coding](b"\0" * (64 << 20))

    with pytest.raises(TooLargeError):
        decoding.decode(coding, bomb, cap=32 << 20)


@pytest.mark.parametrize("coding", CODERS)
@pytest.mark.parametrize(
    "spoil", [lambda coded: coded[:-3], lambda coded: coded + b"more", lambda _: b"plain text"], ids=["short", "long", "plain"]
)
def test_a_coded_body_that_is_not_whole_is_none(coding: str, spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(DecodingError):
        decoding.decode(coding, spoil(CODERS[coding](b"hello" * 100)), cap=10_000)


def test_a_coding_that_is_not_known_is_not_read() -> None:
    with pytest.raises(DecodingError, match="rot13"):
        decoding.decode("rot13", b"", cap=1)


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("127.1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("[2002:7f00:1::]", "127.0.0.1"),
        ("::7f00:1", "127.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_an_address_is_known_in_each_way_to_write_it(written: str, address: str) -> None:
    assert str(targets.literal(written)) == address


@pytest.mark.parametrize("name", ["example.com", "1.example.com", "", "\u2460.example", "1\u00e9"])
def test_a_name_is_no_address(name: str) -> None:
    assert targets.literal(name) is None


async def test_a_name_is_judged_by_what_it_resolves_to(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Targets(lambda: {3100})

    assert await judge.forbidden_name("localhost", 3100) == "localhost:3100 is this gateway"
    assert await judge.forbidden_name("127.0.0.1", 80) is None
    assert await judge.forbidden_name("no-such-name.invalid", 443) is None
    assert await judge.forbidden_name("localhost", 80) is None

    async def lie(*_: object, **__: object) -> Any:
        return [(2, 1, 6, "", ("127.0.0.1", 3100))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lie)
    assert "leads there" in (await judge.forbidden_name("innocent.example", 3100) or "")


def raw(body: bytes = b"{}", *, path: str = "/v1/chat/completions", proxy_user: str | None = None, **fields: str) -> RawRequest:
    headers, repeated = headers_of(tuple((name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()))
    provider = provider_of_host("api.openai.com")
    assert provider is not None
    return RawRequest(
        door=Door.FORWARD,
        provider=provider,
        method="POST",
        host="api.openai.com",
        path=path,
        names=(),
        headers=headers,
        repeated=repeated,
        body=body,
        proxy_user=proxy_user,
    )


def test_an_identity_coding_is_no_coding() -> None:
    body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"x"}]}'

    assert canonical.canonicalise(raw(body, content_encoding="identity"), cap=1000).model == "gpt-4o"


def test_a_model_that_is_not_latin_is_a_model() -> None:
    body = '{"model":"\u667a\u8c31","messages":[{"role":"user","content":"x"}]}'.encode()

    assert canonical.canonicalise(raw(body), cap=1000).rejected is None


KEYS = {
    "bearer": raw(authorization="Bearer sk-1"),
    "bare": raw(authorization="sk-1"),
    "x-api-key": raw(x_api_key="sk-1"),
    "api-key": raw(api_key="sk-1"),
    "google": raw(x_goog_api_key="sk-1"),
    "query": raw(path="/v1beta/models?alt=sse&key=sk-1"),
    "signature": raw(
        authorization="AWS4-HMAC-SHA256 Credential=sk-1/20260101/eu-west-1/bedrock/aws4_request, SignedHeaders=host, Signature=00"
    ),
}


@pytest.mark.parametrize("way", KEYS)
def test_a_key_is_the_same_whichever_way_it_is_sent(way: str) -> None:
    assert provider_key(KEYS[way].headers, KEYS[way].path) == b"sk-1"


def test_no_key_is_no_key() -> None:
    assert provider_key({}, "/v1/chat/completions") is None


def identity(*sources: IdentitySource, services: tuple[ServiceSettings, ...] = ()) -> Identity:
    users = [UserSettings(name="ada", department="engines")]
    return Identity(sources, users=users, services=services, key_hasher=lambda key: key.decode()[::-1])


def test_the_first_source_that_knows_wins_and_the_department_follows_from_the_user() -> None:
    who = identity(IdentitySource(proxy_auth=True), IdentitySource(header="x-user"), IdentitySource(key_fingerprints={"1-ks": "ada"}))

    assert who.caller(raw(x_user="bob", x_api_key="sk-1")).user == "bob"
    caller = who.caller(raw(x_api_key="sk-1"))
    assert (caller.user, caller.department, caller.key_id) == ("ada", "engines", "1-ks")
    assert who.caller(raw(proxy_user="eve", x_user="bob")).user == "eve"
    assert who.caller(raw()) == type(caller)()


@pytest.mark.parametrize("value", ["\x07", " ", "x" * 300])
def test_a_name_that_is_none_is_unknown(value: str) -> None:
    assert identity(IdentitySource(header="x-user")).caller(raw(x_user=value)).user is None


@pytest.mark.parametrize(
    ("value", "user"), [(b"Basic YWRhOnB3", "ada"), (b"basic YWRh", "ada"), (b"Bearer x", None), (b"Basic %%%", None), (b"", None)]
)
def test_proxy_authorization_names_a_user(value: bytes, user: str | None) -> None:
    assert proxy_user(value) == user


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("reason", Refusal)
def test_each_refusal_has_a_shape_in_each_dialect(dialect: Dialect, reason: Refusal) -> None:
    problem = refusal.problem_of(reason, "Too much", call_id="id-1", rule_id="R-1", retry_after=timedelta(seconds=1.2))

    answer = refusal.answer(dialect, problem)

    headers = dict(answer.headers)
    assert answer.status == STATUSES[reason]
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"content-length"] == b"%d" % len(answer.body)
    assert (headers[b"retry-after"], headers[b"x-tollwatch-call"]) == (b"2", b"id-1")
    assert (b"x-should-retry" in headers) is (reason is not Refusal.RATE_LIMIT)
    for part in (b"Too much", b"id-1", b"R-1"):
        assert part in answer.body


async def test_a_configured_service_names_the_calls_it_means(open_house: Any) -> None:
    services = [ServiceSettings(name="search", match=Scope(model="gpt-4o*"))]
    house = await open_house(services=services)

    await house.post(b'{"model":"gpt-4o-mini","messages":[{"role":"user","content":"x"}]}')

    assert (await house.row()).service == "search"


def test_an_identity_source_is_one_thing() -> None:
    with pytest.raises(ValueError, match="one of"):
        IdentitySource(proxy_auth=True, header="x")


async def test_a_model_name_beyond_any_is_refused_and_kept_short(house: Any) -> None:
    response = await house.post(orjson.dumps({"model": "m" * 257, "messages": [{"role": "user", "content": "hi"}]}))

    assert response.status == 400
    assert b"257 characters" in response.body
    assert (await house.row()).request_model == "m" * 256
