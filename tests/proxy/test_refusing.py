"""Calls that are refused: nothing reaches the provider, the SDK gets its own error, the refusal is recorded."""

import gzip
from typing import Any

import orjson
import pytest

from alerting.finding import Action
from alerting.rule_settings import Match, RuleSettings
from alerting.settings import DetectorSettings, RateLimitSettings
from tests.support.client import Connection

CHAT = orjson.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What is the toll?"}]})
NO_MINI = RuleSettings(id="SEC-1", title="No small models", match=Match(model="*-mini*"), action=Action.BLOCK)


async def test_a_blocked_call_never_leaves_and_is_told_in_the_providers_shape(open_house: Any) -> None:
    house = await open_house(rules=[NO_MINI])

    response = await house.post(CHAT)

    assert (response.status, response.headers["x-should-retry"], response.headers["content-type"]) == (403, "false", "application/json")
    error = orjson.loads(response.body)["error"]
    assert (error["code"], error["tollwatch"]["rule_id"], error["tollwatch"]["call_id"]) == ("tollwatch_policy", "SEC-1", response.call_id)
    assert house.provider.connections == 0
    row = await house.row()
    assert (row.id, row.state, row.status, row.rule_id) == (response.call_id, "refused", 403, "SEC-1")


@pytest.mark.parametrize(("query", "array"), [("?alt=sse", False), ("?key=k&alt=sse", False), ("", True), ("?alt=json", True)])
async def test_a_stream_of_gemini_is_refused_in_the_framing_that_was_asked_for(open_house: Any, query: str, array: bool) -> None:  # noqa: FBT001  # a parameter
    house = await open_house(rules=[RuleSettings(id="SEC-1", title="No Gemini", match=Match(model="gemini*"), action=Action.BLOCK)])
    body = orjson.dumps({"contents": [{"parts": [{"text": "hi"}]}]})

    path = f"/v1beta/models/gemini-2.5-pro:streamGenerateContent{query}"
    response = await house.post(body, path=path, host="generativelanguage.googleapis.com")

    said = orjson.loads(response.body)
    assert response.status == 403
    assert isinstance(said, list) is array
    assert (said[0] if array else said)["error"]["status"] == "PERMISSION_DENIED"


async def test_in_monitor_mode_the_same_call_passes(open_house: Any) -> None:
    house = await open_house(rules=[NO_MINI], mode="monitor")

    assert (await house.post(CHAT)).status == 200
    assert len(house.provider.seen) == 1


async def test_a_connection_goes_on_after_a_block(open_house: Any) -> None:
    house = await open_house(rules=[NO_MINI])
    async with await house.through() as connection:
        blocked = await connection.request("POST", "/v1/chat/completions", headers=[("host", "api.openai.com")], pieces=[CHAT])
        assert connection.reusable
        passed = await connection.request(
            "POST", "/v1/chat/completions", headers=[("host", "api.openai.com")], pieces=[CHAT.replace(b"gpt-4o-mini", b"gpt-4o")]
        )

    assert (blocked.status, passed.status) == (403, 200)
    assert [orjson.loads(seen.body)["model"] for seen in house.provider.seen] == ["gpt-4o"]


async def test_a_rate_limit_says_when_to_try_again_and_that_one_may(open_house: Any) -> None:
    house = await open_house(detectors=DetectorSettings(rate_limits=(RateLimitSettings(per="minute", requests=1),)))
    await house.post(CHAT)

    response = await house.post(CHAT)

    assert (response.status, "x-should-retry" in response.headers) == (429, False)
    assert 1 <= int(response.headers["retry-after"]) <= 60
    assert len(house.provider.seen) == 1


LARGE = orjson.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x" * 5000}]})


@pytest.mark.parametrize("mode", ["enforce", "monitor"])
async def test_a_body_beyond_its_limit_is_refused_and_the_client_can_read_it(open_house: Any, mode: str) -> None:
    house = await open_house(mode=mode, proxy={"body_limits": {"json": 4096, "upload": 1 << 20}})

    response = await house.post(LARGE)

    assert (response.status, orjson.loads(response.body)["error"]["code"]) == (413, "tollwatch_too_large")
    assert "4,096" in orjson.loads(response.body)["error"]["message"]
    assert house.provider.connections == 0
    row = await house.row()
    assert (row.id, row.request_bytes) == (response.call_id, len(LARGE))


async def test_a_chunked_body_beyond_its_limit_is_refused_too(open_house: Any) -> None:
    house = await open_house(proxy={"body_limits": {"json": 4096, "upload": 1 << 20}})
    async with await Connection.to(house.base_url) as connection:
        writer = connection._writer  # noqa: SLF001  # the client always sends a length; this request must not
        writer.write(f"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: {house.base_url}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        for begin in range(0, len(LARGE), 1000):
            piece = LARGE[begin : begin + 1000]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        writer.write(b"0\r\n\r\n")
        head = await connection._reader.readuntil(b"\r\n\r\n")  # noqa: SLF001  # the same

    assert head.startswith(b"HTTP/1.1 413 ")
    assert house.provider.connections == 0
    assert (await house.row()).status == 413


async def test_an_upload_has_a_limit_of_its_own(open_house: Any) -> None:
    house = await open_house(proxy={"body_limits": {"json": 4096, "upload": 1 << 20}})
    house.provider.script = None
    house.provider.forget()

    response = await house.post(LARGE, path="/v1/files", content_type="multipart/form-data; boundary=x")

    assert response.status == 404
    assert house.provider.seen[0].body == LARGE


UNREADABLE = {
    "a name twice": b'{"model":"gpt-4o","model":"gpt-4o-mini","messages":[]}',
    "a name twice, escaped": b'{"model":"gpt-4o","mode\\u006c":"gpt-4o-mini","messages":[]}',
    "a name in another case": b'{"Model":"gpt-4o-mini","model":"gpt-4o","messages":[]}',
    "no JSON": b'{"model":',
    "no object": b"[]",
    "a byte order mark": b"\xef\xbb\xbf" + CHAT,
    "UTF-16": CHAT.decode().encode("utf-16"),
    "NaN": b'{"model":"gpt-4o","messages":[],"temperature":NaN}',
    "too deep": b'{"model":"gpt-4o","messages":' + b"[" * 70 + b"]" * 70 + b"}",
    "a zero-width space": '{"model":"gpt-4o\u200b-mini","messages":[]}'.encode(),
    "fullwidth letters": '{"model":"\uff47pt-4o","messages":[]}'.encode(),
    "a control character": b'{"model":"gpt-4o\\u0007","messages":[]}',
    "nothing": b"",
}


@pytest.mark.parametrize("name", UNREADABLE)
async def test_a_body_that_can_be_read_in_two_ways_is_refused(house: Any, name: str) -> None:
    response = await house.post(UNREADABLE[name])

    assert (response.status, orjson.loads(response.body)["error"]["code"]) == (400, "tollwatch_unreadable")
    assert house.provider.connections == 0
    assert (await house.row()).state == "refused"


@pytest.mark.parametrize("coding", ["rot13", "utf8", "hex", "gzip, gzip", "x-gzip", "compress", "aws-chunked"])
async def test_a_coding_that_is_not_read_is_refused(house: Any, coding: str) -> None:
    response = await house.post(CHAT, content_encoding=coding)

    assert (response.status, house.provider.connections) == (415, 0)


@pytest.mark.parametrize(
    ("body", "status"),
    [(CHAT, 400), (gzip.compress(CHAT) + b"more", 400), (gzip.compress(CHAT)[:-9], 400), (gzip.compress(b" " * (40 << 20)), 413)],
    ids=["plain", "trailing", "cut off", "bomb"],
)
async def test_a_body_that_is_not_what_its_coding_says_is_refused(house: Any, body: bytes, status: int) -> None:
    response = await house.post(body, content_encoding="gzip")

    assert (response.status, house.provider.connections) == (status, 0)


ODD_PATHS = [
    "/v1/../v1/chat/completions",
    "/v1//chat/completions",
    "/v1/%63hat/completions",
    "/v1/chat/completions;x=1",
    "/v1/chat%252fcompletions",
]


@pytest.mark.parametrize("path", ODD_PATHS)
async def test_a_path_that_can_be_read_in_two_ways_is_refused(house: Any, path: str) -> None:
    response = await house.post(CHAT, path=path)

    assert (response.status, house.provider.connections) == (400, 0)


async def test_the_endpoint_decides_what_is_read_not_the_content_type(open_house: Any) -> None:
    house = await open_house(rules=[NO_MINI])

    for content_type in ("text/plain", "application/octet-stream", "multipart/form-data", ""):
        assert (await house.post(CHAT, content_type=content_type)).status == 403


SMUGGLED = {
    "two lengths": b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("name", SMUGGLED)
async def test_a_request_with_two_ends_gets_a_json_error(house: Any, name: str) -> None:
    async with await Connection.to(house.base_url) as connection:
        connection._writer.write(b"POST /openai/v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n" + SMUGGLED[name])  # noqa: SLF001  # no client sends this
        response = await connection._reader.read(65536)  # noqa: SLF001  # the same

    assert response.startswith(b"HTTP/1.1 400 ")
    assert b"application/json" in response
    assert b"<html>" not in response
    assert house.provider.connections == 0
