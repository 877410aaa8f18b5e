"""An error in the layers of one connection closes it, ends its calls once, and touches no other."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from mitmproxy.proxy.layers.http import HttpLayer, HttpStream

from proxy.tap import Tap
from tests.support.between import STREAM, Between, post, request_of

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
DELTA = b'data: {"model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK = b"%x\r\n%b\r\n" % (len(DELTA), DELTA)
SECRET = "what was sent"


def fails(*_: object, **__: object) -> Any:
    raise AssertionError(SECRET)


def break_answers(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(HttpStream, "start_response_stream", fails)


def break_reading(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("mitmproxy.net.http.http1.read_response_head", fails)


def break_ends(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(HttpStream, "send_response", fails)


@pytest.mark.parametrize("breaking", [break_answers, break_reading, break_ends])
async def test_an_error_in_the_layers_closes_the_connection_and_ends_the_call_once(
    between: Between, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, breaking: Callable[[pytest.MonkeyPatch], None]
) -> None:
    other = await asyncio.open_connection(*between.house.proxy.base_url_address)
    other[1].write(post())
    other_reader, other_writer = await between.upstream()
    await request_of(other_reader)
    between.writer.write(post())
    reader, writer = await between.upstream()
    await request_of(reader)

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        breaking(patch)
        writer.write(ANSWER)
        await between.rest()  # it closes
        upstream_closed = await asyncio.wait_for(reader.read(), 30)
    other_writer.write(ANSWER)
    answered = await asyncio.wait_for(other[0].readuntil(b"{}"), 30)
    other[1].close()

    assert upstream_closed == b""
    assert answered.startswith(b"HTTP/1.1 200")
    assert sorted(row.ending for row in await between.house.rows()) == ["completed", "upstream_reset"]
    assert "connection_given_up error=AssertionError" in caplog.text
    assert SECRET not in caplog.text


async def test_an_error_over_a_request_closes_the_connection_and_nothing_is_sent(between: Between, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HttpStream, "state_consume_request_body", fails)

    between.writer.write(post())
    got = await between.rest()

    assert got == b""
    assert between.accepted.empty()
    assert await between.house.rows() == []


async def test_a_call_that_is_judged_while_its_connection_is_given_up_holds_nothing(
    between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    admit, judged, go_on = between.house.gate.admit, asyncio.Event(), asyncio.Event()

    async def admit_late(call: Any) -> Any:
        judged.set()
        await go_on.wait()
        return await admit(call)

    monkeypatch.setattr(between.house.gate, "admit", admit_late)
    between.writer.write(post())
    await asyncio.wait_for(judged.wait(), 30)
    with monkeypatch.context() as patch:
        patch.setattr(HttpLayer, "handle_event", fails)
        between.writer.write(b"more")
        await between.rest()
    go_on.set()

    row = await between.house.row(ending="failed")
    assert (row.source, between.accepted.empty()) == ("none", True)


@pytest.mark.parametrize("straight", [True, False])
async def test_a_stream_whose_callable_fails_ends_there_and_has_no_hole(
    between: Between, monkeypatch: pytest.MonkeyPatch, *, straight: bool
) -> None:
    between.writer.write(post(STREAM))
    reader, writer = await between.upstream()
    await request_of(reader)
    writer.write(HEAD + CHUNK)
    await between.until(CHUNK)

    monkeypatch.setattr(Tap, "__call__", fails)
    writer.write(CHUNK if straight else CHUNK[:-3])
    rest = await between.rest()
    writer.write(CHUNK + b"0\r\n\r\n")

    assert rest == b""
    row = await between.house.row(ending="upstream_reset")
    assert row.output_tokens >= 1


async def test_a_request_behind_an_answer_that_was_sent_leaves_the_answer_whole(between: Between, monkeypatch: pytest.MonkeyPatch) -> None:
    between.writer.write(post())
    reader, writer = await between.upstream()
    await request_of(reader)
    between.writer.write(post())  # waits until the first has its answer

    monkeypatch.setattr(HttpStream, "state_wait_for_request_headers", fails)
    writer.write(ANSWER)
    got = await between.rest()

    assert got.endswith(b"\r\n\r\n{}")
    assert (await between.house.row()).ending == "completed"


async def test_a_broken_chunk_closes_the_connection_without_an_error_in_the_layers(
    between: Between, caplog: pytest.LogCaptureFixture
) -> None:
    between.writer.write(post(STREAM))
    reader, writer = await between.upstream()
    await request_of(reader)

    with caplog.at_level(logging.ERROR):
        writer.write(HEAD + CHUNK + b"zz\r\n")
        got = await between.rest()
        row = await between.house.row(ending="upstream_reset")
        await asyncio.wait_for(reader.read(), 30)

    assert got.endswith(CHUNK)
    assert row.status == 200
    assert caplog.text == ""


async def test_a_stream_that_was_waited_for_with_100_continue_keeps_its_chunks(between: Between) -> None:
    between.writer.write(post(STREAM, "expect: 100-continue"))
    reader, writer = await between.upstream()
    await request_of(reader)

    writer.write(HEAD + CHUNK + CHUNK[:20])
    first = await between.until(CHUNK)
    writer.write(CHUNK[20:] + b"0\r\n\r\n")
    rest = await between.until(b"0\r\n\r\n")

    assert first.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
    assert b"".join(payloads(rest)) == DELTA


def payloads(data: bytes) -> list[bytes]:
    found: list[bytes] = []
    while data and not data.startswith(b"0\r\n"):
        size, _, data = data.partition(b"\r\n")
        found.append(data[: int(size, 16)])
        data = data[int(size, 16) + 2 :]
    return found
