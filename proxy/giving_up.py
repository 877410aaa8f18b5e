"""A connection in whose layers an error was raised is closed: what they would do next, nobody can tell.

mitmproxy writes such an error down and goes on, with the client waiting for an answer that never comes, or reading one with a hole.
"""
# pyright: reportUnknownMemberType=false
# (mitmproxy is typed in part only)

import logging
import traceback
from collections.abc import Iterator

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.server import ConnectionHandler

_log = logging.getLogger(__name__)


class _Closed:
    """Stands where the layers stood: nothing is handed to them any more."""

    def handle_event(self, _event: events.Event) -> Iterator[commands.Command]:
        return iter(())


def give_up(handler: ConnectionHandler, error: Exception) -> None:
    """Close a client's connection, and with it those that were opened for it; its calls end as answers that broke off."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "?"
    _log.error("connection_given_up error=%s at=%s", type(error).__name__, place)  # its words may hold what was sent
    handler.layer = _Closed()  # type: ignore[assignment]  # all that is used of a top layer is handle_event
    handler.client.error = "the gateway failed on it"
    io = handler.transports.get(handler.client)
    if io is None:
        return
    if io.handler is not None:
        io.handler.cancel("given up")
    elif io.writer is not None:
        io.writer.close()
