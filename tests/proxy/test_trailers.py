"""What comes with trailers arrives without them, and the connection stays of use."""

import asyncio
import ssl
from typing import Any

import h2.config
import h2.connection
import h2.events
import orjson
import pytest

from tests.support.between import CHAT, STREAM, Between, post, request_of

DELTA = b'data: {"model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CHUNK = b"%x\r\n%b\r\n" % (len(DELTA), DELTA)


@pytest.mark.parametrize("at_once", [True, False])
async def test_an_answer_with_trailers_comes_to_its_end(between: Between, *, at_once: bool) -> None:
    between.writer.write(post(STREAM))
    reader, writer = await between.upstream()
    await request_of(reader)

    if at_once:
        writer.write(HEAD + CHUNK + b"0\r\nx-checked: yes\r\n\r\n")
        got = await between.until(CHUNK + b"0\r\n\r\n")  # the head may end with the 0 of a call's id
    else:
        writer.write(HEAD + CHUNK)
        got = await between.until(CHUNK)
        writer.write(b"0\r\nx-checked: yes\r\n\r\n")
        got += await between.until(b"0\r\n\r\n")
    between.writer.write(post())
    again = await request_of(reader)

    assert got.endswith(CHUNK + b"0\r\n\r\n")
    assert b"x-checked" not in got
    assert again.startswith(b"POST /v1/chat/completions ")
    assert "completed" in {row.ending for row in await between.house.rows()}


async def test_a_request_with_trailers_is_judged_and_sent(between: Between) -> None:
    body = orjson.dumps(CHAT)
    head = b"POST /openai/v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    between.writer.write(head + b"%x\r\n%b\r\n0\r\nx-digest: abc\r\n\r\n" % (len(body), body))
    reader, writer = await between.upstream()
    sent = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 30)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
    await between.until(b"{}")

    assert body in sent
    assert b"x-digest" not in sent
    assert (await between.house.row(ending="completed")).status == 200


async def test_trailers_of_http_2_stop_before_an_upstream_of_http_1(house: Any) -> None:
    trust: ssl.SSLContext = house.authority.client_context()
    trust.set_alpn_protocols(["h2"])
    host, port = house.proxy.base_url_address
    reader, writer = await asyncio.open_connection(host, port, ssl=trust, server_hostname="localhost")
    http = h2.connection.H2Connection(h2.config.H2Configuration())
    http.initiate_connection()
    names = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/openai/v1/chat/completions")]
    http.send_headers(1, names)
    http.send_data(1, orjson.dumps(CHAT))
    http.send_headers(1, [("x-digest", "abc")], end_stream=True)
    writer.write(http.data_to_send())

    status, ended = b"", False
    while not ended:
        for event in http.receive_data(await asyncio.wait_for(reader.read(65536), 30)):
            if isinstance(event, h2.events.ResponseReceived):
                status = dict(event.headers)[b":status"]
            ended = ended or isinstance(event, h2.events.StreamEnded | h2.events.StreamReset)
    writer.close()

    assert status == b"200"
    assert [seen.body for seen in house.provider.seen] == [orjson.dumps(CHAT)]
