"""The same tricks over HTTP/2, one stream each: the framing is another, the meaning must not be."""

import asyncio
import ssl
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest

from tests.support.provider import Provider
from tollwatch.tricks import FORBIDDEN, Trick, tricks

LARGEST = 60_000
"""Bytes of body that fit in the first window of a stream."""
CHOSEN = [
    trick
    for trick in tricks()
    if trick.door == "forward"
    and trick.connect == trick.sni == trick.authority
    and len(trick.body) < LARGEST
    and not {"transfer-encoding", "host"} & {name for name, _ in trick.headers}
]


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    with Provider(tmp_path, hosts=sorted({trick.host for trick in CHOSEN})) as provider:
        yield provider


class Http2:
    """One connection; each request is answered before the next one is sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        config = h2.config.H2Configuration(header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False)
        self._h2 = h2.connection.H2Connection(config)
        self._h2.initiate_connection()

    @classmethod
    async def open(cls, house: Any, host: str) -> "Http2":
        reader, writer = await asyncio.open_connection(*house.proxy.forward_address)
        writer.write(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1] == b"200"
        trust: ssl.SSLContext = house.authority.client_context()
        trust.set_alpn_protocols(["h2"])
        await writer.start_tls(trust, server_hostname=host)
        return cls(reader, writer)

    async def status(self, trick: Trick, *, authority: str | None = None, host: str | None = None) -> int:
        """Return the status of the answer; 0 when the stream was reset instead."""
        stream = self._h2.get_next_available_stream_id()
        head = [(":method", trick.method), (":authority", authority or trick.host), (":scheme", "https"), (":path", trick.path)]
        more = [("host", host)] if host else []
        self._h2.send_headers(stream, [*head, *more, *trick.headers], end_stream=not trick.body)
        for begin in range(0, len(trick.body), 16_384):
            self._h2.send_data(stream, trick.body[begin : begin + 16_384], end_stream=begin + 16_384 >= len(trick.body))
        self._writer.write(self._h2.data_to_send())
        status = 0
        while True:
            data = await asyncio.wait_for(self._reader.read(65536), 20)
            if not data:
                raise ConnectionResetError
            for event in self._h2.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    status = int(dict(event.headers)[":status"])
                elif isinstance(event, h2.events.DataReceived):
                    self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                    self._writer.write(self._h2.data_to_send())
                    return status
                elif isinstance(event, h2.events.ConnectionTerminated):
                    raise ConnectionResetError
            self._writer.write(self._h2.data_to_send())

    def close(self) -> None:
        self._writer.transport.abort()


async def send_all(house: Any, chosen: Sequence[Trick]) -> dict[str, int]:
    by_host: dict[str, list[Trick]] = defaultdict(list)
    for trick in chosen:
        by_host[trick.host].append(trick)
    found: dict[str, int] = {}
    for host, each in by_host.items():
        client = await Http2.open(house, host)
        for trick in each:
            try:
                found[trick.id] = await client.status(trick)
            except ConnectionResetError:  # what is no HTTP/2 at all ends the connection
                found[trick.id] = 0
                client.close()
                client = await Http2.open(house, host)
        client.close()
    return found


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.soak)])
async def test_no_trick_reaches_the_provider_over_http2(open_house: Any, every: int) -> None:
    house = await open_house(rules=FORBIDDEN, unknown_formats="refuse")

    statuses = await send_all(house, CHOSEN[::every])

    assert len(CHOSEN) > 600
    assert [(seen.method, seen.target, seen.body[:200]) for seen in house.provider.seen] == []
    assert house.provider.connections == 0
    odd = {name: status for name, status in statuses.items() if not 400 <= status < 500}
    assert {name.rpartition("-")[0] for name in odd} <= {"paths"}, odd


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("api.anthropic.com", None),
        ("foreign.example", None),
        ("api.openai.com", "api.anthropic.com"),
        ("api.openai.com", "foreign.example"),
        ("foreign.example", "api.openai.com"),
        ("api.anthropic.com", "api.openai.com"),
    ],
)
async def test_each_name_of_an_http2_request_must_agree(open_house: Any, authority: str, host: str | None) -> None:
    house = await open_house()
    client = await Http2.open(house, "api.openai.com")

    trick = next(trick for trick in CHOSEN if trick.id == "plain-001")
    try:
        status = await client.status(trick, authority=authority, host=host)
    except ConnectionResetError:
        status = 0
    client.close()

    assert status in {0, 400, 403}
    assert house.provider.connections == 0
