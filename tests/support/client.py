"""A client that hides nothing: it sends what it is told and returns the bytes of the answer as they came off the wire."""

import asyncio
import contextlib
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import h11


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer; the body is still in its content encoding. `whole` is False when the connection ended before the answer did."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    whole: bool

    @property
    def call_id(self) -> str | None:
        """The id of the ledger row."""
        return self.headers.get("x-tollwatch-call")


class ConnectRefusedError(Exception):
    """The proxy would not open a tunnel; `args` are the status and the body."""


def _holds(body: bytearray, events: int | None) -> bool:
    return events is not None and body.count(b"\n\n") >= events


class Connection:
    """One keep-alive connection to the gateway (or to anything that speaks HTTP/1.1)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, absolute: str = "") -> None:
        self._reader, self._writer = reader, writer
        self._absolute = absolute
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        self._begun: h11.Response | None = None

    @classmethod
    async def to(cls, address: str) -> Self:
        """Connect straight to `host:port`, in plain HTTP."""
        host, _, port = address.rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    @classmethod
    async def through(cls, proxy: str, url: str, *, trust: ssl.SSLContext, headers: Mapping[str, str] | None = None) -> Self:
        """Connect to the origin of `url` through a forward proxy: CONNECT and TLS for https, absolute requests for http."""
        host, _, port = proxy.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        parts = urlsplit(url)
        if parts.scheme == "http":
            return cls(reader, writer, absolute=f"http://{parts.netloc}")
        authority = f"{parts.hostname}:{parts.port or 443}"
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        writer.write(f"CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n{more}\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.split(b" ", 2)[1].startswith(b"2"):
            writer.close()
            raise ConnectRefusedError(int(head.split(b" ", 2)[1]), head)
        await writer.start_tls(trust, server_hostname=parts.hostname)
        return cls(reader, writer)

    async def send(self, method: str, target: str, *, headers: Iterable[tuple[str, str]], pieces: Sequence[bytes] = ()) -> None:
        """Send one request, its body piece by piece."""
        head = [*headers, ("content-length", str(sum(map(len, pieces))))]
        request = h11.Request(method=method, target=self._absolute + target, headers=head)
        self._writer.write(self._http.send(request) or b"")
        for piece in pieces:
            self._writer.write(self._http.send(h11.Data(data=piece)) or b"")
            await self._writer.drain()
        self._writer.write(self._http.send(h11.EndOfMessage()) or b"")
        await self._writer.drain()

    async def receive(self, *, chunks: int | None = None, events: int | None = None) -> Response:
        """Return the answer, or what there is of it once so many pieces of its body, or server-sent events, have come.

        Called again it returns what follows these. Events that come at once may come in one piece.
        """
        response = self._begun
        body, whole, came = bytearray(), False, 0
        while True:
            try:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    self._http.receive_data(await self._reader.read(1 << 16))
                    continue
            except (h11.RemoteProtocolError, OSError):
                break
            if isinstance(event, h11.Response):
                response = self._begun = event
            elif isinstance(event, h11.Data):
                body += event.data
                came += 1
            elif isinstance(event, h11.EndOfMessage):
                whole = True
            if whole or isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED or came == chunks or _holds(body, events):
                break
        if whole:
            self._begun = None
        if response is None:
            msg = "the connection ended before an answer began"
            raise ConnectionResetError(msg)
        headers = {name.decode(): value.decode("latin-1") for name, value in response.headers}
        return Response(status=response.status_code, headers=headers, body=bytes(body), whole=whole)

    async def request(self, method: str, target: str, *, headers: Iterable[tuple[str, str]] = (), pieces: Sequence[bytes] = ()) -> Response:
        """Send one request and return its answer."""
        await self.send(method, target, headers=headers, pieces=pieces)
        return await self.receive()

    @property
    def reusable(self) -> bool:
        """Whether another request may follow; makes ready for it when so."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            return True
        return False

    def abort(self) -> None:
        """Leave without a word."""
        self._writer.transport.abort()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
