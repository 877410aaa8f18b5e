"""Both ends of a gateway in a test's own hands: a client's socket, and the upstream's, byte for byte."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Self

import orjson

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
STREAM = CHAT | {"stream": True}


def post(content: dict[str, Any] = CHAT, *fields: str, to: str = "localhost") -> bytes:
    """Return a call at the base-URL door."""
    body = orjson.dumps(content)
    lines = ("POST /openai/v1/chat/completions HTTP/1.1", f"host: {to}", *fields, f"content-length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode() + body


@dataclass
class Between:
    """The gateway's client, and its upstream, which takes connections as they come."""

    house: Any
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
    server: asyncio.Server
    _ends: list[asyncio.StreamWriter] = field(default_factory=list[asyncio.StreamWriter])

    @classmethod
    async def open(cls, open_house: Any) -> Self:
        """Start an upstream and a gateway before it, and connect to its base-URL door."""
        accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        server = await asyncio.start_server(lambda reader, writer: accepted.put_nowait((reader, writer)), "127.0.0.1", 0)
        house = await open_house(proxy={"upstreams": {"openai": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}})
        reader, writer = await asyncio.open_connection(*house.proxy.base_url_address)
        return cls(house, reader, writer, accepted, server)

    async def upstream(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return the next connection that the gateway made."""
        reader, writer = await asyncio.wait_for(self.accepted.get(), 30)
        self._ends.append(writer)
        return reader, writer

    async def until(self, mark: bytes) -> bytes:
        """Return what the client gets up to a mark."""
        return await asyncio.wait_for(self.reader.readuntil(mark), 30)

    async def rest(self) -> bytes:
        """Return what the client gets until its connection closes."""
        return await asyncio.wait_for(self.reader.read(), 30)

    def close(self) -> None:
        """Leave, and listen no more."""
        for end in (self.writer, *self._ends):
            end.close()
        self.server.close()


async def request_of(reader: asyncio.StreamReader) -> bytes:
    """Return the next request with a Content-Length that an upstream reads."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return head + await asyncio.wait_for(reader.readexactly(length), 30)
