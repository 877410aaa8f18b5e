"""Chunks of a stream between two plain sockets: past the layers where they are whole, through them where they are not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from proxy import straight

BODY = orjson.dumps({"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "hello"}]})
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
USAGE = b'data: {"model":"gpt-4o-mini","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14}}\n\n'
DELTA = b'data: {"model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
END = b"0\r\n\r\n"


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.fixture
async def talk(open_house: Any) -> AsyncIterator[Any]:
    """Open the base-URL door before an upstream of one's own, send the call, and hand over both ends and the house."""
    servers: list[asyncio.Server] = []
    ends: list[asyncio.StreamWriter] = []

    async def start() -> tuple[Any, asyncio.StreamWriter, asyncio.StreamReader]:
        connected: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(len(BODY))
            connected.set_result(writer)
            await asyncio.Event().wait()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        servers.append(server)
        port = server.sockets[0].getsockname()[1]
        house = await open_house(proxy={"upstreams": {"openai": f"http://127.0.0.1:{port}"}})
        host, door = house.proxy.base_url_address
        reader, writer = await asyncio.open_connection(host, door, limit=1 << 16)
        ends.append(writer)
        lines = f"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: {host}:{door}\r\ncontent-length: {len(BODY)}\r\n\r\n"
        writer.write(lines.encode() + BODY)
        upstream = await asyncio.wait_for(connected, 30)
        ends.append(upstream)
        return house, upstream, reader

    yield start
    for end in ends:
        end.close()
    for server in servers:
        server.close()


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What the straight way said of each read that it was asked about."""
    said: list[bool] = []
    ask = straight.passed_on

    def passed_on(*arguments: Any) -> bool:
        said.append(ask(*arguments))
        return said[-1]

    monkeypatch.setattr("proxy.inplace.straight.passed_on", passed_on)
    return said


async def answered(reader: asyncio.StreamReader) -> None:
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    assert head.startswith(b"HTTP/1.1 200")


async def test_each_chunk_arrives_before_the_next_is_sent_and_whole_ones_pass_straight(talk: Any, passed: list[bool]) -> None:
    house, upstream, reader = await talk()
    upstream.write(HEAD)
    await answered(reader)

    for _ in range(5):
        upstream.write(framed(DELTA))
        assert await asyncio.wait_for(reader.readexactly(len(framed(DELTA))), 30) == framed(DELTA)
    upstream.write(framed(USAGE) + END)
    rest = await asyncio.wait_for(reader.readuntil(END), 30)

    assert rest.endswith(END)
    assert any(passed)
    row = await house.row(ending="completed")
    assert (row.input_tokens, row.output_tokens) == (9, 5)
    assert row.response_bytes == 5 * len(DELTA) + len(USAGE)


async def test_a_chunk_in_parts_takes_the_layers_way_and_nothing_is_lost(talk: Any) -> None:
    house, upstream, reader = await talk()
    upstream.write(HEAD)
    await answered(reader)
    sent = framed(DELTA) * 3 + framed(USAGE) + END

    received = b""
    for at in range(0, len(sent), 7):
        upstream.write(sent[at : at + 7])
        await upstream.drain()
    while not received.endswith(END):
        received += await asyncio.wait_for(reader.read(1 << 16), 30)

    assert received.replace(b"\r\n", b"").count(b"word ") == 3
    row = await house.row(ending="completed")
    assert (row.output_tokens, row.response_bytes) == (5, 3 * len(DELTA) + len(USAGE))


async def test_a_client_that_does_not_read_holds_the_upstream_back(talk: Any) -> None:
    house, upstream, reader = await talk()
    upstream.write(HEAD)
    await answered(reader)
    block, most = framed(b"data: " + b"x" * 65_000 + b"\n\n"), 1_000

    written = 0
    while written < most:
        upstream.write(block)
        written += 1
        try:
            await asyncio.wait_for(upstream.drain(), 0.5)
        except TimeoutError:
            break
    assert written < most, "64 MB went into a gateway whose client reads nothing"
    upstream.write(framed(USAGE) + END)
    received = bytearray()
    while not received.endswith(END):
        received += await asyncio.wait_for(reader.read(1 << 20), 20)

    assert received.count(b"data: x") == written
    assert (await house.row(ending="completed")).output_tokens == 5


async def test_an_upstream_that_breaks_off_between_chunks_ends_the_call_once(talk: Any) -> None:
    house, upstream, reader = await talk()
    upstream.write(HEAD + framed(DELTA))
    await answered(reader)
    assert await asyncio.wait_for(reader.readexactly(len(framed(DELTA))), 30) == framed(DELTA)

    upstream.transport.abort()

    assert END not in await asyncio.wait_for(reader.read(), 30)
    row = await house.row(ending="upstream_reset")
    assert row.source == "estimated"


async def test_what_is_no_chunk_ends_the_call(talk: Any) -> None:
    house, upstream, reader = await talk()
    upstream.write(HEAD + framed(DELTA))
    await answered(reader)

    upstream.write(b"no chunk at all\r\n")

    assert END not in await asyncio.wait_for(reader.read(), 30)
    assert (await house.row()).ending == "upstream_reset"
