"""A stream that is over is freed at once, with its bodies, and not when the garbage collector comes by.

mitmproxy's streams hold themselves: by their place among the layers of their own context, and by the methods that are their states.
So every call leaves some fifty objects, and its bodies, to the cyclic collector, whose rounds cost 4 % of a small call's processor time.
"""
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (mitmproxy's layers have no public, typed way in; tests/proxy/test_letting_go.py holds what is assumed here)

from typing import Any, cast

from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import DropStream, HttpStream
from mitmproxy.proxy.layers.http._events import RequestProtocolError, ResponseProtocolError


def _over(_event: object) -> CommandGenerator[None]:
    """Handle any event of a stream that has let go: what comes after its end changes nothing."""
    yield from ()


def _let_go(stream: HttpStream) -> None:
    inner = cast("Any", stream)
    inner._handle_event = inner.client_state = inner.server_state = _over  # noqa: SLF001  # see the top
    layers = stream.context.layers
    if layers[-1] is stream:
        layers.pop()


def install() -> None:
    """Let every HTTP stream of this process go when it is over; those that become another protocol stay as they are."""
    flow_done = HttpStream.flow_done
    handle_protocol_error = HttpStream.handle_protocol_error

    def done(self: HttpStream) -> CommandGenerator[None]:
        yield from flow_done(self)
        if self.child_layer is None:
            _let_go(self)

    def failed(self: HttpStream, event: RequestProtocolError | ResponseProtocolError) -> CommandGenerator[None]:
        over = False
        for command in handle_protocol_error(self, event):
            over = over or type(command) is DropStream
            yield command
        if over:
            _let_go(self)

    HttpStream.flow_done = done  # type: ignore[method-assign]  # replaced on purpose
    HttpStream.handle_protocol_error = failed  # type: ignore[method-assign]  # replaced on purpose
