"""Bytes that are no HTTP get an answer, and none of them into the log."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from api.listener import ApiServer
from api.protocol import LONGEST_LINE

SECRET = "tw_" + "5ec7e7" * 10


def answered(raw: bytes) -> tuple[int, dict[str, str], Any]:
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, json.loads(body)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (f"GET /v1/alerts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\0\r\n\r\n", "the request is no HTTP that can be read"),
        (f"GET /v1/alerts HTTP/1.1\r\nHost: x\r\nAuthorization: {SECRET * 200}\r\n\r\n", "a line of the request is too long"),
        (f"GET /v1/{'x' * LONGEST_LINE} HTTP/1.1\r\nHost: x\r\n\r\n", "a line of the request is too long"),
        (f"{SECRET}\r\n\r\n", "the request is no HTTP that can be read"),
    ],
    ids=["a NUL in a header", "a long header", "a long path", "no HTTP"],
)
async def test_the_answer_is_json_and_the_log_has_none_of_the_bytes(
    raw_exchange: Callable[[bytes], Any], request_: str, message: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        status, headers, body = answered(await raw_exchange(request_.encode()))

    assert (status, body) == (400, {"error": message})
    assert headers["X-Content-Type-Options"] == "nosniff"
    logged = "".join(capsys.readouterr()) + caplog.text
    assert logged.count("api_no_http") == 1
    assert SECRET[:20] not in logged


async def test_a_long_query_is_read(gateway: Any) -> None:
    assert (await gateway.ask("GET", f"/healthz?x={'y' * 250_000}")).status == 200


async def test_an_answer_that_has_begun_is_broken_off(capsys: pytest.CaptureFixture[str]) -> None:
    async def breaks(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun")
        raise ZeroDivisionError(SECRET)

    app = web.Application()
    app.router.add_get("/", breaks)
    server = ApiServer(app)
    await server.start("127.0.0.1", 0, None)
    try:
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    finally:
        await server.stop()

    assert answer.endswith(b"\r\nbegun\r\n")
    assert SECRET not in "".join(capsys.readouterr())
