"""Events of HTTP go from layer to layer in one loop, not through generators within generators.

In mitmproxy a small call is some twenty events. Each passes six generators, and each hook climbs to the top of the connection and
back, before the state machine that it is meant for sees it. Here one loop keeps what runs on a stack and hands events on; a hook that
answers at once is run in place. The state machines, and whatever is not plain HTTP/1, stay mitmproxy's own.
"""
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (mitmproxy's layers have no public, typed way in; tests/proxy/test_driving.py holds what is assumed here)
# ruff: noqa: SLF001

from collections.abc import Awaitable, Callable
from types import MethodType
from typing import Any, cast

from mitmproxy import connection
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator, Layer, Paused
from mitmproxy.proxy.layers.http import (
    DropStream,
    GetHttpConnection,
    HttpClient,
    HttpLayer,
    HttpStream,
    RegisterHttpConnection,
    SendHttp,
)
from mitmproxy.proxy.layers.http._base import HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
)
from mitmproxy.proxy.layers.http._http1 import Http1Client, Http1Server

type RunHook = Callable[[commands.StartHook], Awaitable[None] | None]
"""Runs a hook; returns what is left to await, if anything is."""

PENDING = "tollwatch_pending"
"""Attribute of a hook that has begun: what is left to await."""

_ONE_CALL = 1
"""What may be below a stream whose hook is run in place: the connection that woke it. Where there is more, a client has sent its next
request before the answer came, and that one must not get ahead of the connection that has still to note the end of the answer."""

_TO_CLIENT_STATE = frozenset({RequestHeaders, RequestData, RequestEndOfMessage})
_TO_SERVER_STATE = frozenset({ResponseHeaders, ResponseData, ResponseEndOfMessage})


ORIGINAL_EVENT_TO_CHILD = HttpLayer.event_to_child
"""What the loop stands for; the tests hold one against the other."""

type Handle = Callable[[HttpLayer, events.Event], CommandGenerator[None]]
type HandOn = Callable[[HttpLayer, Layer, events.Event], CommandGenerator[None]]


def install(run: RunHook) -> None:
    """Let the HTTP layers of this process hand on their events in one loop, and run their hooks with `run`."""
    HttpLayer.handle_event, HttpLayer.event_to_child = methods(run)  # type: ignore[method-assign, assignment]  # replaced on purpose


def methods(run: RunHook) -> tuple[Handle, HandOn]:
    """Return what stands for HttpLayer's `handle_event` and `event_to_child`."""
    original: Handle = HttpLayer._handle_event

    def handle_event(self: HttpLayer, event: events.Event) -> CommandGenerator[None]:
        """Do without mitmproxy's `handle_event`, which lets a layer wait: this one never does."""
        if type(event) is events.DataReceived and (child := self.connections.get(event.connection)) is not None:
            return _drive(self, child, event, run)
        if isinstance(event, events.CommandCompleted):
            return _drive(self, self.command_sources.pop(event.command), event, run)
        return original(self, event)

    def event_to_child(self: HttpLayer, child: Layer, event: events.Event) -> CommandGenerator[None]:
        return _drive(self, child, event, run)

    return handle_event, event_to_child


def bottom(layer: Layer) -> Layer:
    """Return the layer below that is handed all events by those above: they wait for nothing, and have nothing of their own to do."""
    while layer._paused is None:
        handing_on = vars(layer).get("_handle_event")
        if not isinstance(handing_on, MethodType) or handing_on.__name__ != "handle_event":
            break
        layer = cast("Layer", handing_on.__self__)
    return layer


def _drive(http: HttpLayer, child: Layer, event: events.Event, run: RunHook) -> CommandGenerator[None]:  # noqa: C901, PLR0912, PLR0915  # one loop on purpose
    below: list[tuple[Layer, CommandGenerator[None], bool]] = []
    generator, reply, resumed = _start(child, event)
    command: Any  # of any kind; what it is is asked of its type, once
    while True:
        try:
            command = generator.send(reply)
        except StopIteration:
            reply = None
            if resumed and child._paused is None and child._paused_event_queue:
                generator = _handling(child, child._paused_event_queue.popleft())
            elif below:
                child, generator, resumed = below.pop()
            else:
                return
            continue
        reply = None
        kind = type(command)
        if kind is ReceiveHttp:
            number = command.event.stream_id
            if type(command.event) is RequestHeaders:
                _make_stream(http, number)
            if (to := http.streams.get(number)) is not None:  # nobody hears what comes for one that is over
                below.append((child, generator, resumed))
                child = to
                generator, reply, resumed = _start(child, command.event)
            continue
        if kind is SendHttp:
            below.append((child, generator, resumed))
            child = http.connections[command.connection]
            generator, reply, resumed = _start(child, command.event)
            continue
        if kind is DropStream:
            http.streams.pop(command.stream_id, None)
            continue
        if not command.blocking:
            if kind is RegisterHttpConnection:
                yield from http.register_connection(command)
                continue
            if kind is commands.RequestWakeup:
                http.command_sources[command] = child
            yield command
            continue
        waits = command.blocking is True  # else the layer that waits has marked it itself
        if waits:
            if kind is GetHttpConnection and (reply := _reused(http, command)) is not None:
                continue
            is_hook = isinstance(command, commands.StartHook)
            if is_hook and len(below) <= _ONE_CALL:
                if (pending := run(command)) is None:
                    continue
                setattr(command, PENDING, pending)
            command.blocking = child
            child._paused = Paused(command, generator)
        http.command_sources[command] = child
        if kind is GetHttpConnection:
            yield from http.get_connection(command)
        else:
            if kind is commands.OpenConnection:
                http.connections[command.connection] = child
            yield command
        if waits:
            generator, resumed = _NOTHING, False


def _start(child: Layer, event: events.Event) -> tuple[CommandGenerator[None], Any, bool]:
    """Return what is to run, what it is to be sent first, and whether it had waited: then it hears what came meanwhile when it ends."""
    paused = child._paused
    if paused is None:
        return _handling(child, event), None, False
    if isinstance(event, events.CommandCompleted) and event.command is paused.command:
        child._paused = None
        return paused.generator, event.reply, True
    child._paused_event_queue.append(event)
    return _NOTHING, None, False


def _handling(child: Layer, event: events.Event) -> CommandGenerator[None]:
    """Return what handles an event in a layer that does not wait, without the steps that only lead there."""
    kind: type[Layer] = type(child)
    if kind is HttpClient and type(inner := vars(child).get("child_layer")) is Http1Client and inner._paused is None:
        child, kind = inner, Http1Client  # all that it does since its connection is open is to ask this one
    to: Any = child
    steps: CommandGenerator[None]
    if kind is HttpStream:
        if "_handle_event" in vars(child):  # it has become another protocol, or is over
            return child._handle_event(event)
        if type(event) in _TO_CLIENT_STATE:
            steps = to.client_state(event)
            return steps
        if type(event) in _TO_SERVER_STATE:
            steps = to.server_state(event)
            return steps
    elif kind is Http1Server or kind is Http1Client:
        if isinstance(event, HttpEvent):
            steps = to.send(event)
            return steps
        if type(event) is events.DataReceived and to.state != to.passthrough:
            to.buf += event.data
            steps = to.state(event)
            return steps
    return child._handle_event(event)


def _make_stream(http: HttpLayer, number: int) -> None:
    """Do what HttpLayer.make_stream does, and what its stream does on hearing that it begins."""
    stream = http.streams[number] = HttpStream(_fork(http.context), number)
    stream.client_state = stream.state_wait_for_request_headers


def _fork(context: Context) -> Context:
    """Do what Context.fork does, without the Server that it makes only to throw it away."""
    forked = Context.__new__(Context)
    forked.client, forked.options, forked.server = context.client, context.options, context.server
    forked.layers = context.layers.copy()
    return forked


def _reused(http: HttpLayer, wanted: GetHttpConnection) -> tuple[connection.Connection, None] | None:
    """Return the reply that HttpLayer.get_connection would give at once: an open connection; None where it has more to do."""
    for open_one in http.connections:
        if wanted.connection_spec_matches(open_one):
            if open_one in http.waiting_for_establishment or open_one.error:
                return None
            if open_one.connected and not (http.context.client.alpn == b"h2" and open_one.alpn != b"h2"):
                return open_one, None
    return None


def _nothing() -> CommandGenerator[None]:
    yield from ()


_NOTHING = _nothing()
"""Ends at once, whenever it is asked."""
next(_NOTHING, None)
