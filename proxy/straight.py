"""Whole chunks of a streamed answer go from one plain socket to the other, past every layer.

An event stream is thousands of small chunks, and what mitmproxy does for each costs more than all that is done with it. Once the
layers have passed the first chunk of an answer (`proxy.shortcut`), nothing but its end can change what they do with the next ones:
a read that is exactly one chunk or several is shown to the tap and written on as it came. A read that is anything else (a part of a
chunk, the end, trailers) takes the layers' way, which finds itself where it would have been.
"""
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the readers of mitmproxy and h11 have no typed way in; tests/proxy/test_straight.py and test_short_ways.py hold what is assumed)
# ruff: noqa: SLF001

from dataclasses import dataclass
from typing import Any, cast

import h11._readers
from mitmproxy.connection import Connection
from mitmproxy.proxy import commands
from mitmproxy.proxy.layer import CommandGenerator, Layer
from mitmproxy.proxy.layers.http import HttpStream
from mitmproxy.proxy.layers.http._http1 import Http1Client, Http1Server
from mitmproxy.proxy.server import ConnectionHandler

_STREAMING = HttpStream.state_stream_response_body
_STRAIGHT = "tollwatch_straight"
_LONGEST_SIZE = 8


@dataclass(frozen=True, slots=True)
class Way:
    """From one upstream connection to the client, for one answer."""

    stream: HttpStream
    client: Http1Server
    chunked: bool

    @property
    def open(self) -> bool:
        """Whether the answer is being streamed and no layer waits: one that does must not be overtaken."""
        stream = self.stream
        return stream._paused is None and self.client._paused is None and getattr(stream.server_state, "__func__", None) is _STREAMING

    def send(self, data: bytes) -> CommandGenerator[None]:
        """Yield what HttpStream and Http1Server would send for `data`."""
        response = self.stream.flow.response
        if response is None:
            raise RuntimeError("a streamed answer has lost its head")
        chunks = response.stream(data) if callable(response.stream) else data
        for chunk in (chunks,) if isinstance(chunks, bytes) else chunks:
            if chunk:
                yield commands.SendData(self.client.conn, b"%x\r\n%b\r\n" % (len(chunk), chunk) if self.chunked else chunk)


@dataclass(frozen=True, slots=True)
class Straight:
    """The state in which an upstream connection's next chunks need no layer."""

    upstream: Http1Client
    way: Way
    layers: tuple[Layer, ...]

    @property
    def open(self) -> bool:
        """Whether the layers stand between two chunks of the same answer, and none of them waits."""
        upstream: Any = self.upstream
        reader = upstream.body_reader
        return (
            upstream.stream_id == self.way.stream.stream_id
            and self.way.client.response is not None
            and isinstance(reader, h11._readers.ChunkedReader)
            and not (upstream.buf or reader._bytes_in_chunk or reader._bytes_to_discard or reader._reading_trailer)
            and self.way.open
            and all(layer._paused is None for layer in self.layers)
        )


def learn(upstream: Http1Client, way: Way) -> None:
    """Remember that the answer on this connection is passing; TLS on either side stays with the layers."""
    if way.chunked and not upstream.conn.tls and not way.client.conn.tls:
        vars(upstream.conn)[_STRAIGHT] = Straight(upstream, way, (upstream, *upstream.context.layers))


def forget(upstream: Http1Client) -> None:
    """Take the layers' way again: the answer is over."""
    vars(upstream.conn).pop(_STRAIGHT, None)


def passed_on(handler: ConnectionHandler, connection: Connection, data: bytes) -> bool:
    """Pass on `data` when it is whole chunks of an answer that is under way; return whether it was."""
    straight: Straight | None = vars(connection).get(_STRAIGHT)
    if straight is None or not straight.open:
        return False
    way = straight.way
    io, response = handler.transports.get(way.client.conn), way.stream.flow.response
    if io is None or io.writer is None or response is None or not callable(response.stream) or (payload := payload_of(data)) is None:
        return False
    cast("Any", handler.timeout_watchdog).register_activity()
    out = response.stream(payload)
    if out is payload:
        io.writer.write(data)
        return True
    for chunk in (out,) if isinstance(out, bytes) else out:
        if chunk:
            io.writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
    return True


def payload_of(data: bytes) -> bytes | None:
    """Return what whole HTTP chunks carry; None when `data` is anything else, the last chunk and chunk extensions included."""
    parts: list[bytes] = []
    at, length = 0, len(data)
    while at < length:
        line_end = data.find(b"\r\n", at, at + _LONGEST_SIZE + 2)
        digits = data[at:line_end] if line_end > at else b""
        if not digits.isalnum():
            return None
        try:
            size = int(digits, 16)
        except ValueError:
            return None
        end = line_end + 2 + size
        if size == 0 or data[end : end + 2] != b"\r\n":
            return None
        parts.append(data[line_end + 2 : end])
        at = end + 2
    if len(parts) == 1:
        return parts[0]
    return b"".join(parts) if parts else None
