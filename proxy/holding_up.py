"""Holds a running answer up between its upstream and its client, and lets it go on.

Its upstream is not read meanwhile where the connection is its own (HTTP/1): TCP then slows the provider down as soon as the buffers
between are full. On a connection that others share (HTTP/2) what comes is kept, some of it.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportPrivateUsage=false
# mitmproxy is typed in part only, and offers no public way to hold an answer up

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from mitmproxy.connection import Connection
from mitmproxy.proxy import layer
from mitmproxy.proxy.layers.http import HttpLayer, HttpStream
from mitmproxy.proxy.layers.http._events import HttpEvent, ResponseData

from proxy.calls import Calls
from proxy.flows import LiveCall, Passage
from proxy.to_stream import Post, ToStream
from proxy.valve import Valve

MOST_KEPT = 1 << 20
"""Bytes of one answer that are kept while it is held up; one that brings more is ended."""

SHARED = frozenset({b"h2", b"h3"})
"""What is spoken on connections that carry several answers at once."""

_STREAMING = HttpStream.state_stream_response_body

type Read = Callable[[LiveCall, Connection, bool], None]
"""Goes on reading an upstream connection (True), or stops."""


class Kept:
    """The state of a stream that is held up: what its upstream sends is kept in its order, its end too."""

    __slots__ = ("_events", "_size", "_too_much", "upstream")

    def __init__(self, upstream: Connection | None, *, too_much: Callable[[], None]) -> None:
        self.upstream = upstream
        """Set where it is not read meanwhile."""
        self._events: deque[HttpEvent] = deque()
        self._size = 0
        self._too_much = too_much

    def __bool__(self) -> bool:
        """Whether anything is kept."""
        return bool(self._events)

    def __call__(self, event: HttpEvent) -> layer.CommandGenerator[None]:
        """Keep an event."""
        self._events.append(event)
        self._size += _size(event)
        if self._size > MOST_KEPT:
            self._too_much()
        yield from ()

    def take(self) -> HttpEvent:
        """Return the first event that is kept."""
        event = self._events.popleft()
        self._size -= _size(event)
        return event


def _size(event: HttpEvent) -> int:
    return len(event.data) if isinstance(event, ResponseData) else 0


class HoldingUp:
    """Hears which answers to hold up, and which to let go on."""

    def __init__(self, *, calls: Calls, post: Post, read: Read, give_up: Callable[[str], None]) -> None:
        self._calls = calls
        self._post = post
        self._read = read
        self._give_up = give_up

    def hold_up(self, call_id: str) -> bool:
        """Hold an answer up, from the next turn of the loop on; return whether it is one that can be."""
        live = self._calls.open.get(call_id)
        if live is None or live.ended or live.cut is not None or live.tap is None or live.tap.valve is None:
            return False
        live.held_up = True
        event = _HoldUp(live, self._read, partial(self._give_up, call_id))
        asyncio.get_running_loop().call_soon(self._post, live, event)
        return True

    def go_on(self, call_id: str) -> None:
        """Let an answer go on."""
        live = self._calls.open.get(call_id)
        if live is not None and live.held_up:
            live.held_up = False
            asyncio.get_running_loop().call_soon(self._post, live, _GoOn(live, self._read))

    def finish(self, live: LiveCall, valve: Valve) -> None:
        """Let an answer, held up or not, come to the end of the event that is under way, and to nothing behind that."""
        live.held_up = False
        asyncio.get_running_loop().call_soon(self._post, live, _Finish(live, self._read, valve))


@dataclass
class _HoldUp(ToStream):
    read: Read
    too_much: Callable[[], None]

    def apply(self, _http: HttpLayer, stream: HttpStream, _passage: Passage, /) -> layer.CommandGenerator[None]:
        if self.live.held_up and _streams(stream):
            upstream = stream.context.server
            own = None if upstream.alpn in SHARED else upstream
            stream.server_state = Kept(own, too_much=self.too_much)
            if own is not None:
                self.read(self.live, own, False)  # a callable's arguments have no names
        yield from ()


@dataclass
class _GoOn(ToStream):
    read: Read

    def apply(self, http: HttpLayer, stream: HttpStream, _passage: Passage, /) -> layer.CommandGenerator[None]:
        kept = stream.server_state
        if not isinstance(kept, Kept):
            return
        stream.server_state = stream.state_stream_response_body
        while kept and not self.live.held_up:
            yield from http.event_to_child(stream, kept.take())
        if self.live.held_up and kept:  # it was used up again by what was kept
            stream.server_state = kept
        elif kept.upstream is not None:
            self.read(self.live, kept.upstream, True)  # as above


class _Finishing:
    """The state of a stream that is to be ended behind the event that is under way: what comes after that, the end too, is void."""

    __slots__ = ("_stream", "_valve")

    def __init__(self, stream: HttpStream, valve: Valve) -> None:
        self._stream = stream
        self._valve = valve

    def __call__(self, event: HttpEvent) -> layer.CommandGenerator[None]:
        if not self._valve.shut:
            yield from self._stream.state_stream_response_body(event)


@dataclass
class _Finish(ToStream):
    read: Read
    valve: Valve

    def apply(self, http: HttpLayer, stream: HttpStream, _passage: Passage, /) -> layer.CommandGenerator[None]:
        kept = stream.server_state
        if isinstance(kept, Kept) or _streams(stream):
            stream.server_state = _Finishing(stream, self.valve)
        if isinstance(kept, Kept):
            while kept and not self.valve.shut:
                yield from http.event_to_child(stream, kept.take())
            if kept.upstream is not None:
                self.read(self.live, kept.upstream, True)  # as above


def _streams(stream: HttpStream) -> bool:
    """Whether an answer is passing, and no hook is waited for."""
    return getattr(stream.server_state, "__func__", None) is _STREAMING and stream._paused is None  # noqa: SLF001


def restore(stream: HttpStream) -> None:
    """Give a stream that is held up, or finishes its event, the state it had; what was kept of it is void."""
    if isinstance(stream.server_state, Kept | _Finishing):
        stream.server_state = stream.state_stream_response_body
