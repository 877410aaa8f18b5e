"""HTTP/2 and WebSocket clients, and a corporate proxy in the way."""

import asyncio
import base64
import hashlib
import os
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import h2.config
import h2.connection
import h2.events
import orjson
import pytest
from hyperframe.frame import GoAwayFrame

from alerting.finding import Action, Verdict
from alerting.rule_settings import Match, RuleSettings
from tests.support import answers

CHAT = orjson.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What is the toll?"}]})


class Http2:
    """A small HTTP/2 client over TLS, through the forward door."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._h2.initiate_connection()
        self.answers: dict[int, tuple[dict[str, str], bytearray]] = {}
        self.ended: set[int] = set()
        self.reset: set[int] = set()

    @classmethod
    async def open(cls, house: Any, host: str) -> "Http2":
        reader, writer = await asyncio.open_connection(*house.proxy.forward_address)
        writer.write(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        trust: ssl.SSLContext = house.authority.client_context()
        trust.set_alpn_protocols(["h2"])
        await writer.start_tls(trust, server_hostname=host)
        return cls(reader, writer)

    def ask(self, host: str, body: bytes, *, authority: str | None = None) -> int:
        stream = self._h2.get_next_available_stream_id()
        head = [(":method", "POST"), (":authority", authority or host), (":scheme", "https"), (":path", "/v1/chat/completions")]
        self._h2.send_headers(stream, [*head, ("content-type", "application/json")])
        self._h2.send_data(stream, body, end_stream=True)
        self._writer.write(self._h2.data_to_send())
        return stream

    def leave(self, stream: int) -> None:
        self._h2.reset_stream(stream, 8)
        self._writer.write(self._h2.data_to_send())

    def go_away(self) -> None:
        frame = GoAwayFrame(last_stream_id=0, error_code=0)
        self._writer.write(frame.serialize())

    async def receive(self, enough: Callable[["Http2"], bool]) -> None:
        while not enough(self):
            data = await asyncio.wait_for(self._reader.read(65536), 30)
            if not data:
                raise ConnectionResetError
            for event in self._h2.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    self.answers[event.stream_id] = (dict(event.headers), bytearray())
                elif isinstance(event, h2.events.DataReceived):
                    self.answers[event.stream_id][1].extend(event.data)
                    self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                    self.ended.add(event.stream_id)
                    if isinstance(event, h2.events.StreamReset):
                        self.reset.add(event.stream_id)
            self._writer.write(self._h2.data_to_send())

    def close(self) -> None:
        self._writer.transport.abort()


@pytest.fixture
async def http2(house: Any) -> AsyncIterator[Http2]:
    client = await Http2.open(house, "api.openai.com")
    yield client
    client.close()


async def test_an_http2_call_passes_and_is_recorded(house: Any, http2: Http2) -> None:
    stream = http2.ask("api.openai.com", CHAT)
    await http2.receive(lambda client: stream in client.ended)

    headers, body = http2.answers[stream]
    assert headers[":status"] == "200"
    assert orjson.loads(bytes(body))["object"] == "chat.completion"
    assert (await house.row()).id == headers["x-tollwatch-call"]


async def test_an_authority_that_disagrees_is_refused_over_http2(house: Any, http2: Http2) -> None:
    stream = http2.ask("api.openai.com", CHAT, authority="api.anthropic.com")
    await http2.receive(lambda client: stream in client.ended)

    assert http2.answers[stream][0][":status"] == "400"
    assert house.provider.connections == 0


async def test_an_http2_stream_is_asked_for_its_usage_and_does_not_show_it(house: Any, http2: Http2) -> None:
    stream = http2.ask("api.openai.com", orjson.dumps(orjson.loads(CHAT) | {"stream": True}))
    await http2.receive(lambda client: stream in client.ended)

    _, body = http2.answers[stream]
    assert b"include_usage" in house.provider.seen[0].body
    assert b'"choices": []' not in body
    assert bytes(body).endswith(b"data: [DONE]\n\n")
    assert (await house.row()).source == "provider_reported"


async def test_many_http2_streams_go_to_an_http1_provider_at_once(house: Any, http2: Http2) -> None:
    house.provider.script = lambda _: answers.Answer(then="hang", after_chunks=0, chunks=[b"{}"], streamed=True)
    streams = [http2.ask("api.openai.com", CHAT) for _ in range(12)]

    await asyncio.to_thread(house.provider.wait_seen, 12)
    house.provider.release()

    assert len(streams) == len(house.provider.seen)


async def test_an_http2_client_that_resets_its_stream_has_left(house: Any, http2: Http2) -> None:
    body = orjson.dumps(orjson.loads(CHAT) | {"stream": True})
    house.provider.script = lambda seen: answers.chat(orjson.loads(seen.body), then="hang", after_chunks=3)
    stream = http2.ask("api.openai.com", body)
    await http2.receive(lambda client: stream in client.answers and client.answers[stream][1].count(b"data:") >= 3)
    http2.leave(stream)
    await asyncio.sleep(0)

    assert (await house.row(ending="client_abort")).source == "estimated"
    house.provider.release()


@pytest.mark.parametrize(("content_type", "whole"), [("text/event-stream", True), ("audio/mpeg", False)])
async def test_a_call_that_is_cut_over_http2_ends_its_stream_alone(house: Any, http2: Http2, content_type: str, whole: bool) -> None:  # noqa: FBT001  # a case
    house.gate.may_cut = lambda _call_id: True
    event = b'data: {"choices":[]}\n\n'
    headers = [("content-type", content_type)]
    house.provider.script = lambda _: answers.Answer(headers=headers, chunks=[event], streamed=True, then="hang")
    body = orjson.dumps(orjson.loads(CHAT) | {"stream": True})
    streams = [http2.ask("api.openai.com", body) for _ in range(2)]
    await http2.receive(lambda client: all(stream in client.answers and client.answers[stream][1] for stream in streams))

    house.gate.on_cut(http2.answers[streams[0]][0]["x-tollwatch-call"], Verdict(action=Action.BLOCK, message="Nothing is left"))
    await http2.receive(lambda client: streams[0] in client.ended)

    _, received = http2.answers[streams[0]]
    assert (b"Nothing is left" in received, streams[0] in http2.reset) == (whole, not whole)
    assert streams[1] not in http2.ended
    house.provider.release()
    await http2.receive(lambda client: streams[1] in client.ended)


async def test_an_http2_client_that_will_ask_no_more_gets_the_answers_it_waits_for(house: Any, http2: Http2) -> None:
    texts = ["a long answer "] * 2000
    house.provider.script = lambda seen: answers.chat(orjson.loads(seen.body), texts=texts)
    stream = http2.ask("api.openai.com", orjson.dumps(orjson.loads(CHAT) | {"stream": True}))
    http2.go_away()
    await http2.receive(lambda client: stream in client.ended)

    assert stream not in http2.reset
    assert http2.answers[stream][1].count(b"a long answer") == len(texts)


async def test_an_upstream_that_breaks_off_is_a_json_502_over_http2(house: Any, http2: Http2) -> None:
    house.provider.script = lambda _: answers.Answer(then="reset", after_chunks=-1)
    stream = http2.ask("api.openai.com", CHAT)
    await http2.receive(lambda client: stream in client.ended)

    headers, body = http2.answers[stream]
    assert (headers[":status"], headers["content-type"]) == ("502", "application/json")
    assert orjson.loads(bytes(body))["error"]["code"] == "tollwatch_upstream"


async def websocket_provider() -> tuple[asyncio.Server, int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        key = next(line.partition(":")[2].strip() for line in head.split("\r\n") if line.startswith("sec-websocket-key"))
        original = next(line for line in KEYS if line.lower() == key)
        digest = hashlib.sha1(f"{original}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()  # noqa: S324  # RFC 6455
        accept = base64.b64encode(digest).decode()
        lines = ("HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}", "", "")
        writer.write("\r\n".join(lines).encode())
        frame = await reader.readexactly(2 + 4 + 5)
        mask, coded = frame[2:6], frame[6:]
        writer.write(b"\x81\x05" + bytes(byte ^ mask[at % 4] for at, byte in enumerate(coded)))
        await writer.drain()
        await reader.read(100)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


KEYS: list[str] = []


async def upgrade(house: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
    key = base64.b64encode(os.urandom(16)).decode()
    KEYS.append(key)
    reader, writer = await asyncio.open_connection(*house.proxy.base_url_address)
    lines = (
        "GET /openai/v1/live HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
    )
    writer.write("\r\n".join((*lines, f"Sec-WebSocket-Key: {key}", "", "")).encode())
    return reader, writer, await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)


async def test_a_websocket_passes_and_is_recorded_as_unmetered(open_house: Any) -> None:
    server, port = await websocket_provider()
    house = await open_house(proxy={"upstreams": {"openai": f"http://127.0.0.1:{port}"}})
    reader, writer, head = await upgrade(house)
    writer.write(b"\x81\x85\x00\x00\x00\x00hello")
    echoed = await asyncio.wait_for(reader.readexactly(7), 30)
    writer.write(b"\x88\x82\x00\x00\x00\x00\x03\xe8")
    await asyncio.wait_for(reader.read(100), 30)
    writer.close()

    assert b" 101 " in head
    assert echoed == b"\x81\x05hello"
    row = await house.row(ending="completed")
    assert (row.status, row.operation, row.source, row.response_bytes) == (101, "realtime", "unmetered", 5)
    server.close()


def masked(message: bytes) -> bytes:
    """Return a text message as the frame of a client, under a mask of zeros."""
    return b"\x81" + bytes([0x80 | len(message)]) + b"\x00\x00\x00\x00" + message


SETUPS = {
    "a forbidden model": b'{"setup":{"model":"models/banned"}}',
    "a forbidden model, escaped": b'{"setup":{"m\\u006fdel":"banned"}}',
    "a model twice": b'{"setup":{"model":"fine","model":"banned"}}',
    "no JSON": b"{'setup':{'model':'banned'}}",
}


@pytest.mark.parametrize("name", SETUPS)
async def test_a_websocket_that_is_not_metered_closes_when_a_message_asks_for_a_forbidden_model(open_house: Any, name: str) -> None:
    server, port = await websocket_provider()
    rule = RuleSettings(id="NO", title="Banned", match=Match(model="*banned"), action=Action.BLOCK)
    house = await open_house(rules=[rule], proxy={"upstreams": {"openai": f"http://127.0.0.1:{port}"}})
    reader, writer, _ = await upgrade(house)

    writer.write(masked(SETUPS[name]))
    closed = await asyncio.wait_for(reader.readexactly(4), 30)
    writer.close()

    assert (closed[0], closed[2:4]) == (0x88, (1008).to_bytes(2))
    assert "refused" in {row.state for row in await house.rows()}
    server.close()


async def test_a_message_that_names_an_allowed_model_passes(open_house: Any) -> None:
    server, port = await websocket_provider()
    rule = RuleSettings(id="NO", title="Banned", match=Match(model="*banned"), action=Action.BLOCK)
    house = await open_house(rules=[rule], proxy={"upstreams": {"openai": f"http://127.0.0.1:{port}"}})
    reader, writer, _ = await upgrade(house)

    writer.write(masked(b'{"setup":{"model":"models/fine"}}'))
    writer.write(masked(b"hello"))
    echoed = await asyncio.wait_for(reader.readexactly(7), 30)
    writer.close()

    assert echoed == b'\x81\x05{"set'  # what the provider got of the first message
    assert "models/fine" in {row.request_model for row in await house.rows()}
    server.close()


async def test_a_websocket_that_policy_forbids_does_not_open(open_house: Any) -> None:
    server, port = await websocket_provider()
    rule = RuleSettings(id="NO-WS", title="No realtime", match=Match(operation="realtime"), action=Action.BLOCK)
    house = await open_house(rules=[rule], proxy={"upstreams": {"openai": f"http://127.0.0.1:{port}"}})

    _, writer, head = await upgrade(house)
    writer.close()

    assert b" 403 " in head
    server.close()


async def corporate_proxy(seen: list[str]) -> tuple[asyncio.Server, int]:
    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        seen.append(head)
        upstream_reader, upstream_writer = await asyncio.open_connection(*TARGET)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pump(reader, upstream_writer))
            tasks.create_task(pump(upstream_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


TARGET = ["127.0.0.1", 0]


@pytest.mark.parametrize("door", ["forward", "base_url", "tunnel"])
async def test_calls_go_by_the_corporate_proxy_with_its_credentials(open_house: Any, provider: Any, door: str) -> None:
    seen: list[str] = []
    TARGET[1] = provider.port
    server, port = await corporate_proxy(seen)
    house = await open_house(proxy={"resolve": {}, "upstreams": {}, "upstream_proxy": f"http://ada:pass@127.0.0.1:{port}"})
    status = await {"forward": by_forward, "base_url": by_base_url, "tunnel": by_tunnel}[door](house, provider)

    assert status == 200
    authorization = base64.b64encode(b"ada:pass").decode()
    assert [head.split(" ")[0] for head in seen] == ["CONNECT"]
    assert f"Basic {authorization}" in seen[0]
    server.close()


async def by_forward(house: Any, _: Any) -> int:
    return int((await house.post(CHAT)).status)


async def by_base_url(house: Any, _: Any) -> int:
    from tests.support.client import Connection  # noqa: PLC0415  # the only test here that needs it

    async with await Connection.to(house.base_url) as connection:
        return (await connection.request("POST", "/openai/v1/chat/completions", headers=[("host", "localhost")], pieces=[CHAT])).status


async def by_tunnel(house: Any, provider: Any) -> int:
    from tests.support.client import Connection  # noqa: PLC0415  # the same

    trust = ssl.create_default_context(cafile=str(provider.ca_file))
    async with await Connection.through(house.forward, "https://foreign.example", trust=trust) as connection:
        return (await connection.request("POST", "/v1/chat/completions", headers=[("host", "foreign.example")], pieces=[CHAT])).status
