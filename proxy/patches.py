"""The changes to mitmproxy that tollwatch needs, each with its reason; `install` applies them once."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportPrivateUsage=false, reportPrivateImportUsage=false
# mitmproxy is typed in part only, and what is patched is its own

import asyncio
import collections
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import fields
from functools import lru_cache
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

from mitmproxy import connection, ctx, exceptions, flow, hooks, http
from mitmproxy.addonmanager import AddonManager, traverse
from mitmproxy.net import tls as net_tls
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.commands import SendData, StartHook
from mitmproxy.proxy.layers.http import HttpLayer, HttpStream
from mitmproxy.proxy.layers.http._events import (
    RequestData,
)
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler
from OpenSSL import SSL

from proxy import (
    driving,
    flows,
    giving_up,
    goaway,
    heads,
    hints,
    inplace,
    letting_go,
    lookups,
    plain_errors,
    shortcut,
    to_stream,
    trailers,
    websocket_layer,
)

UPSTREAM_CONNECTIONS = 1000
"""Upstream connections to one address that one client connection may hold (mitmproxy: 5)."""

_JOIN_BELOW = 32 << 10
"""Bytes up to which what follows is sent in the same write: beyond, copying costs more than a system call."""

type _Listener = Callable[[Any], Any]

_log = logging.getLogger(__name__)
_installed: list[bool] = []


def install() -> None:
    """Apply every patch to the imported mitmproxy; a second call does nothing."""
    if _installed:
        return
    _installed.append(True)
    _check_messages_no_more()
    _dispatch_hooks_directly()
    plain_errors.install()
    _limit_bodies()
    _number_flows()
    _make_hooks_plainly()
    _resume_sessions_with_certificates()
    lookups.install()
    heads.install()
    trailers.install()
    hints.install()
    inplace.install()
    shortcut.install()
    letting_go.install()
    to_stream.install()
    driving.install(lambda hook: _run(_addons(), hook))
    goaway.install()
    websocket_layer.install(flows.LIMIT)


def _check_messages_no_more() -> None:
    """`MessageData.__post_init__` checks the type of every field at run time: 10 % of the CPU of a call."""
    if "__post_init__" in vars(http.MessageData):
        http.MessageData.__post_init__ = lambda _self: None  # type: ignore[method-assign]  # taken out on purpose


def _dispatch_hooks_directly() -> None:
    """Mitmproxy looks for each event in each addon, follows each with an `update` event, and runs each in a task of its own.

    Listeners are looked up once; a hook that answers at once is run in place, and its layer goes on in the same step.
    The same place lifts the limit of 5 upstream connections per client connection, which halves parallel HTTP/2 clients.
    """
    AddonManager.handle_lifecycle = _handle_lifecycle  # type: ignore[method-assign]  # replaced on purpose
    original = ProxyConnectionHandler.handle_client

    async def handle_client(self: ProxyConnectionHandler) -> None:
        self.layer = _InPlace(self)  # type: ignore[assignment]  # all that is used of a top layer is handle_event
        self.max_conns = collections.defaultdict(lambda: asyncio.Semaphore(UPSTREAM_CONNECTIONS))
        await original(self)

    ProxyConnectionHandler.handle_client = handle_client  # type: ignore[method-assign, assignment]  # replaced on purpose


class _InPlace:
    """Stands before the top layer of a connection: runs its hooks, and sends together what is sent in one step."""

    __slots__ = ("_addons", "_handler", "_layer", "_tasks", "context")

    def __init__(self, handler: ProxyConnectionHandler) -> None:
        self._handler = handler
        self._layer = handler.layer
        self._addons = handler.master.addons
        self._tasks: set[asyncio.Task[None]] = set()
        self.context = handler.layer.context

    def handle_event(self, event: events.Event) -> Iterator[commands.Command]:  # noqa: C901, PLR0912  # each chunk passes here: no call more
        if type(event) is events.ConnectionClosed:
            self._closed(event.connection)
        waiting = collections.deque([event])
        held: SendData | None = None  # a head and its body are two commands: one write is one system call, and wakes the peer once
        layer = self._layer
        if type(layer) is not HttpLayer:
            layer = self._layer = driving.bottom(layer)
        command: Any  # of any kind
        try:
            while waiting:
                for command in layer.handle_event(waiting.popleft()):
                    kind = type(command)
                    if kind is SendData:
                        if held is not None:
                            if held.connection is command.connection and len(held.data) + len(command.data) < _JOIN_BELOW:
                                held.data += command.data
                                continue
                            self._send(held)
                        held = command
                    elif isinstance(command, StartHook):
                        if self._answered(command) and command.blocking:
                            waiting.append(events.HookCompleted(command))
                    elif kind is not commands.Log or command.level > logging.INFO:  # that an answer is streamed is said of every call
                        if held is not None:
                            self._send(held)
                            held = None
                        yield command
        except Exception as error:  # noqa: BLE001  # whatever it is, nobody knows what the layers would do next
            giving_up.give_up(self._handler, error)
        if held is not None:
            self._send(held)

    def _send(self, command: SendData) -> None:
        """Do what mitmproxy's `server_event` does with it."""
        io = self._handler.transports.get(command.connection)
        if io is not None and io.writer is not None and not io.writer.is_closing():
            io.writer.write(command.data)

    def _closed(self, end: connection.Connection) -> None:
        """Tell that the client closed its connection; the layers do not look before the hook that they wait for has ended."""
        addon = self._addons.lookup.get("tollwatch")
        if addon is not None and end is self._handler.client:
            addon.client_left(end.id)

    def _answered(self, hook: StartHook) -> bool:
        """Run a hook; return whether it has been answered. One that waits gets a task, and its layer goes on when that ends."""
        pending: Awaitable[None] | None = vars(hook).pop(driving.PENDING, None)
        if pending is None and (pending := _run(self._addons, hook)) is None:
            return True
        waits = _Waits(self._handler, hook, pending)
        task = asyncio.Task(waits.run(), loop=asyncio.get_running_loop(), eager_start=True)
        waits.late = True
        if task.done():
            return True
        self._tasks.add(task)
        waits.forget = self._tasks.discard
        return False


class _Waits:
    """A hook that does not answer at once (mitmproxy: `hook_task`, `handle_hook` and the names of their tasks)."""

    __slots__ = ("_handler", "_hook", "_pending", "forget", "late")

    def __init__(self, handler: ProxyConnectionHandler, hook: StartHook, pending: Awaitable[None]) -> None:
        self._handler, self._hook, self._pending = handler, hook, pending
        self.late = False
        """Set once the layers no longer wait in place."""
        self.forget: Callable[[Any], None] | None = None

    async def run(self) -> None:
        with cast("Any", self._handler.timeout_watchdog).disarm():
            await self._pending
        if self.late and self._hook.blocking:
            await self._handler.server_event(events.HookCompleted(self._hook))
        if self.forget is not None:
            self.forget(asyncio.current_task())


async def _handle_lifecycle(self: AddonManager, event: hooks.Hook) -> None:
    if (pending := _run(self, event)) is not None:
        await pending


def _run(addons: AddonManager, event: hooks.Hook) -> Awaitable[None] | None:
    """Run the listeners of an event; return what is left to await, if anything is."""
    field, listeners = _listeners(addons, type(event))
    data = getattr(event, field)
    for index, listener in enumerate(listeners):
        try:
            result = listener(data)
        except exceptions.AddonHalt:
            return None
        except Exception:  # noqa: BLE001  # as mitmproxy does it for addons of its own; ours stands in its fence
            _log.exception("addon_failed hook=%s", event.name)
            continue
        if result is not None and inspect.isawaitable(result):
            return _finish(result, listeners[index + 1 :], data)
    return None


def _addons() -> AddonManager:
    """Return the addons of the one master that this process runs."""
    return cast("AddonManager", cast("Any", ctx).master.addons)


async def _finish(first: Awaitable[None], rest: tuple[_Listener, ...], data: object) -> None:
    await first
    for listener in rest:
        result = listener(data)
        if result is not None:
            await result


def _listeners(addons: AddonManager, event: type[hooks.Hook]) -> tuple[str, tuple[_Listener, ...]]:
    cache: dict[type[hooks.Hook], tuple[str, tuple[_Listener, ...]]] = addons.__dict__.setdefault("tollwatch_listeners", {})
    found = cache.get(event)
    if found is None:
        field = fields(event)[0].name  # type: ignore[arg-type]  # every hook is a dataclass; its base class says nothing of it
        functions = (getattr(addon, event.name, None) for addon in cast("Any", traverse)(addons.chain))
        found = cache[event] = (field, tuple(function for function in functions if callable(function)))
    return found


def _make_hooks_plainly() -> None:
    """Mitmproxy asks of each hook that is made whether its class is one that may be; none of its own ever is another."""
    make = object.__new__
    commands.StartHook.__new__ = lambda cls, *_arguments, **_named: make(cls)  # type: ignore[method-assign]  # replaced on purpose


def _limit_bodies() -> None:
    """Mitmproxy's `body_size_limit` answers in HTML and skips the `request` hook, so that nothing would be recorded.

    A flow with `flows.LIMIT` keeps no more than that of its body; the rest is dropped, and the `request` hook sees `flows.OVER_LIMIT`.
    """
    original = HttpStream.state_consume_request_body

    def state_consume_request_body(self: HttpStream, event: events.Event) -> layer.CommandGenerator[None]:
        limit = self.flow.metadata.get(flows.LIMIT)
        if limit is not None and isinstance(event, RequestData):
            if flows.OVER_LIMIT in self.flow.metadata:
                return
            if len(self.request_body_buf) + len(event.data) > limit:
                self.flow.metadata[flows.OVER_LIMIT] = True
                cast("Any", self.request_body_buf).clear()
                return
        yield from original(self, event)

    HttpStream.state_consume_request_body = state_consume_request_body  # type: ignore[method-assign]  # replaced on purpose


def _resume_sessions_with_certificates() -> None:
    """Where certificates are asked for, OpenSSL ends the handshake of a client that resumes a session unless sessions have a name."""
    original = net_tls.create_client_proxy_context.__wrapped__

    @lru_cache(256)
    def create_client_proxy_context(**given: Any) -> SSL.Context:  # noqa: ANN401  # as mitmproxy's own
        context = original(**given)
        if given["request_client_cert"]:
            context.set_session_id(b"tollwatch")
        return context

    cast("Any", net_tls).create_client_proxy_context = create_client_proxy_context


def _number_flows() -> None:
    """Mitmproxy reads 16 bytes of randomness for each flow and connection; their ids only tell them apart within this process."""
    numbers = SimpleNamespace(uuid4=count(1).__next__)
    cast("Any", connection).uuid = numbers
    cast("Any", flow).uuid = numbers
