"""A chunk of a streamed answer goes from the upstream connection to the client's without a round through every layer.

In mitmproxy a chunk of an HTTP/1 answer becomes an event, passes six generators, becomes a command and passes them again. While
the answer is being streamed, nothing between waits, and the client speaks HTTP/1 too, that round changes nothing: here the body
reader hands what one read brought (its HTTP chunks joined) to the flow's stream callable and then to the client. Ends, errors,
trailers, HTTP/2 and everything else take mitmproxy's own way.
"""
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (mitmproxy's layers have no public, typed way in; tests/proxy/test_short_ways.py holds what is assumed here)

from collections.abc import Callable
from typing import Any, cast

import h11
from h11._readers import ContentLengthReader
from mitmproxy.proxy import events
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import HttpLayer
from mitmproxy.proxy.layers.http._http1 import Http1Client, Http1Server

from proxy import straight
from proxy.straight import Way


def _find_way(upstream: Http1Client) -> Way | None:
    http = next((layer for layer in upstream.context.layers if isinstance(layer, HttpLayer)), None)
    if http is None or upstream.stream_id is None:
        return None
    stream = http.streams.get(upstream.stream_id)
    client = http.connections.get(upstream.context.client)
    if stream is None or not isinstance(client, Http1Server) or client.response is None or client.response is not stream.flow.response:
        return None  # the last: what the client got so far may be a 100 Continue
    return Way(stream, client, "chunked" in client.response.headers.get("transfer-encoding", "").lower())


def _again(outcome: object) -> Callable[[object], object]:
    """Return a body reader that says once more what the real one has said."""

    def read(_buffer: object) -> object:
        if isinstance(outcome, h11.ProtocolError):
            raise outcome
        return outcome

    return read


def _take_data(upstream: Http1Client) -> tuple[bytes, object]:
    """Return the data that is buffered, and what came after it: None (more is to come), the end of the message, or an error."""
    parts: list[bytes] = []
    reader, buffer = cast("Callable[[object], object]", upstream.body_reader), upstream.buf
    try:
        while type(part := reader(buffer)) is h11.Data:
            parts.append(part.data)
    except h11.ProtocolError as error:
        return b"".join(parts), error
    return b"".join(parts), part


def install() -> None:
    """Let every streamed HTTP/1 answer of this process take the short way."""
    read_body = Http1Client.read_body

    def read_body_straight(self: Http1Client, event: events.Event) -> CommandGenerator[None]:
        inner = cast("Any", self)
        reader = inner.body_reader
        if type(reader) is ContentLengthReader and reader._remaining <= len(inner.buf):  # noqa: SLF001  # the rest is here: it is one step
            yield from read_body(self, event)
            return
        way: Way | None = inner.__dict__.get("tollwatch_way")
        if way is None or way.client.response is None or way.stream.stream_id != self.stream_id:
            way = inner.tollwatch_way = _find_way(self)
        if way is None or not way.open or not isinstance(event, events.DataReceived):
            yield from read_body(self, event)
            return
        data, outcome = _take_data(self)
        if data:
            yield from way.send(data)
        if outcome is None:
            straight.learn(self, way)
        else:
            straight.forget(self)
            inner.tollwatch_way = None
            inner.body_reader = _again(outcome)
            yield from read_body(self, event)
            if isinstance(outcome, h11.ProtocolError):
                inner.body_reader = reader  # it is asked once more when the connection closes

    Http1Client.read_body = read_body_straight  # type: ignore[assignment]  # mypy: the method of a base class is not assignable
