"""Bytes that arrive are handled where they arrive, not one turn of the loop later.

mitmproxy reads each connection with `await reader.read()`: the transport stores the bytes, wakes a future, and the loop polls
once more before the task runs. When that task is idle, nothing else is being handled and no writer waits for its peer, the
bytes can be handled at once; in every other case they take mitmproxy's own way, back-pressure included. It saves one poll and
one task switch a read: about a tenth of a streamed chunk's processor time.
"""
# pyright: reportPrivateUsage=false
# (mitmproxy and asyncio have no public way in; tests/proxy/test_short_ways.py holds what is assumed here)
# ruff: noqa: SLF001

import asyncio
from typing import Any, cast

from mitmproxy.connection import Connection
from mitmproxy.proxy import events
from mitmproxy.proxy.server import ConnectionHandler

from proxy import giving_up, straight


def _can_write(handler: ConnectionHandler) -> bool:
    """Whether every writer of this client is open and has nothing waiting for its peer."""
    for io in handler.transports.values():
        writer = io.writer
        if isinstance(writer, asyncio.StreamWriter):
            transport = writer.transport
            if transport.is_closing() or transport.get_write_buffer_size():
                return False
    return True


def _feed_in_place(handler: ConnectionHandler, connection: Connection, reader: asyncio.StreamReader) -> None:
    store = reader.feed_data
    lock = cast("Any", handler._server_event_lock)
    inner = cast("Any", reader)

    def feed_data(data: bytes) -> None:
        waiter = inner._waiter  # a future while the reading task is idle
        if waiter is None or waiter.done() or lock.locked() or lock._waiters or not _can_write(handler):
            store(data)
            return
        try:
            if straight.passed_on(handler, connection, data):
                return
        except Exception as error:  # noqa: BLE001  # a part of the answer may be lost: what follows would be read as the whole
            giving_up.give_up(handler, error)
            return
        handling = handler.server_event(events.DataReceived(connection, data))
        try:
            handling.send(None)
        except StopIteration:
            return
        raise RuntimeError("mitmproxy's server_event waited although its lock was free")

    inner.feed_data = feed_data


def install() -> None:
    """Let every connection of this process handle its bytes in place."""
    read_until_closed = ConnectionHandler.handle_connection

    async def handle_connection(self: ConnectionHandler, connection: Connection) -> None:
        reader = self.transports[connection].reader
        if isinstance(reader, asyncio.StreamReader):
            _feed_in_place(self, connection, reader)
        await read_until_closed(self, connection)

    ConnectionHandler.handle_connection = handle_connection  # type: ignore[method-assign]  # replaced on purpose
