"""Bodies that are not what they should be get a clear answer."""

import asyncio
import gzip
import io
from typing import Any

import pytest

from api import bodies


async def login(gateway: Any, data: Any, **headers: str) -> Any:
    return await gateway.ask("POST", "/api/auth/login", data=data, headers={"Content-Type": "application/json", **headers})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b'{"password": "x",}', "the body is not JSON"),
        (b"\xef\xbb\xbf{}", "the body is not JSON"),
        (b'{"password": "\xff"}', "the body is not JSON"),
        (b"NaN", "the body is not JSON"),
        (b"[" * 5000, "the body is not JSON"),
        (b"null", "the body must be a JSON object"),
        (b"[]", "the body must be a JSON object"),
        (b'"x"', "the body must be a JSON object"),
        (b"{}", "missing password"),
        (b'{"password": 1}', "password: input should be a valid string"),
        (b'{"password": null}', "password: input should be a valid string"),
        (b'{"password": ["x"]}', "password: input should be a valid string"),
        (b'{"password": "x", "admin": true}', "unknown key admin"),
    ],
)
async def test_a_body_that_will_not_do_is_400_and_says_why(gateway: Any, data: Any, message: str) -> None:
    answer = await login(gateway, data)

    assert answer.status == 400
    assert answer.body["error"].startswith(message)


async def test_an_answer_never_repeats_the_value(gateway: Any) -> None:
    answer = await login(gateway, b'{"password": {"hunter2": "hunter2"}}')

    assert b"hunter2" not in answer.raw


async def test_a_body_above_the_limit_is_413(gateway: Any) -> None:
    answer = await login(gateway, io.BytesIO(b'{"password": "' + b"x" * bodies.MAX_BYTES + b'"}'))

    assert answer.status == 413
    assert "too large" in answer.body["error"]


async def test_a_compressed_body_above_the_limit_is_413(gateway: Any) -> None:
    answer = await login(gateway, gzip.compress(b" " * (20 << 20)), **{"Content-Encoding": "gzip"})

    assert answer.status == 413


async def test_a_body_that_is_not_compressed_as_declared_is_400(gateway: Any) -> None:
    answer = await login(gateway, b'{"password":"x"}', **{"Content-Encoding": "gzip"})

    assert answer.status == 400


async def test_a_body_that_does_not_come_is_408(gateway: Any, raw_exchange: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "DEADLINE_SECONDS", 0.2)
    head = (
        f"POST /api/auth/login HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    )

    answer = await raw_exchange(head.encode() + b"{")

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"did not arrive within 0.2 seconds" in answer


async def test_a_client_that_leaves_in_its_body_harms_nobody(gateway: Any) -> None:
    head = (
        f"POST /api/auth/login HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    )
    _reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(head.encode() + b"{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()

    assert (await gateway.ask("GET", "/healthz")).status == 200


async def test_a_client_that_waits_for_100_continue_is_asked_for_its_body(gateway: Any) -> None:
    answer = await gateway.ask("POST", "/api/auth/login", json={"password": "x"}, expect100=True)

    assert answer.status == 401
