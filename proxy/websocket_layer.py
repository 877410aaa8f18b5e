"""What mitmproxy's WebSocket layer lacks: messages of bounded size, and a close that the gateway asks for."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportPrivateUsage=false
# mitmproxy and wsproto are typed in part only, and what is patched is their own

import zlib
from collections.abc import Generator
from typing import Any, cast

import wsproto
import wsproto.events
from mitmproxy import http
from mitmproxy.proxy import events, layer
from mitmproxy.proxy.commands import StartHook
from mitmproxy.proxy.layers.websocket import WebsocketConnection, WebsocketLayer
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason

_LAYER = "tollwatch.websocket"
_LONGEST_REASON = 120
"""Bytes of a close frame's reason: the protocol has room for 123."""
_MOST_INFLATED = 16 << 20
"""Bytes that one read of a compressed message may become; a frame of zeros is a thousand times its size."""


def install(limit_key: str) -> None:
    """Patch mitmproxy's layer and wsproto's compression; called once. `limit_key` is where a flow's metadata bounds its messages."""
    _know_flows(limit_key)
    _bound_messages()
    _bound_compression()


def refuse(flow: http.HTTPFlow, reason: str) -> None:
    """Drop the message that a `websocket_message` hook is about, and close the WebSocket on both sides (1008, policy violation)."""
    found = _layer_of(flow)
    if flow.websocket is None or found is None:
        return
    message = flow.websocket.messages[-1]
    message.drop()  # type: ignore[no-untyped-call]  # mitmproxy is typed in part
    source = found.client_ws if message.from_client else found.server_ws
    cast("Any", source).closing = wsproto.events.CloseConnection(code=CloseReason.POLICY_VIOLATION, reason=_short(reason))


def _short(reason: str) -> str:
    return reason.encode()[:_LONGEST_REASON].decode(errors="ignore")


def _layer_of(flow: http.HTTPFlow) -> WebsocketLayer | None:
    return cast("WebsocketLayer | None", flow.metadata.get(_LAYER))


def _know_flows(limit_key: str) -> None:
    """Hooks see a flow only: the layer of its WebSocket is remembered with it. The connections learn the flow's limit."""
    original = WebsocketLayer.start

    def start(self: WebsocketLayer, event: events.Event) -> layer.CommandGenerator[None]:
        for command in original(self, event):
            if isinstance(command, StartHook):
                self.flow.metadata[_LAYER] = self
                for connection in (self.client_ws, self.server_ws):
                    cast("Any", connection).most = self.flow.metadata.get(limit_key)
            yield command

    WebsocketLayer.start = WebsocketLayer._handle_event = start  # type: ignore[method-assign]  # noqa: SLF001  # replaced on purpose


def _bound_messages() -> None:
    """Mitmproxy gathers the fragments of a message without an end."""
    original = WebsocketConnection.events

    def bounded(self: WebsocketConnection) -> Generator[wsproto.events.Event, None, None]:
        mine = self.__dict__
        for event in original(self):
            if isinstance(event, wsproto.events.Message):
                mine["came"] = mine.get("came", 0) + len(event.data)
                most = mine.get("most")
                if most is not None and mine["came"] > most:
                    yield wsproto.events.CloseConnection(code=CloseReason.MESSAGE_TOO_BIG, reason=f"messages end at {most:,} bytes")
                    return
                if event.message_finished:
                    mine["came"] = 0
            yield event
            if (closing := mine.get("closing")) is not None:
                yield closing
                return

    WebsocketConnection.events = bounded  # replaced on purpose


def _bound_compression() -> None:
    """Wsproto inflates whatever comes, in one piece."""
    original = PerMessageDeflate.frame_inbound_payload_data

    def frame_inbound_payload_data(self: PerMessageDeflate, proto: Any, data: bytes) -> bytes | CloseReason:  # noqa: ANN401  # wsproto's own
        inner = cast("Any", self)
        if not inner._inbound_compressed or not inner._inbound_is_compressible:  # noqa: SLF001  # wsproto offers no other place
            return original(self, proto, data)
        try:
            inflated: bytes = inner._decompressor.decompress(bytes(data), _MOST_INFLATED)  # noqa: SLF001  # the same
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        return CloseReason.MESSAGE_TOO_BIG if inner._decompressor.unconsumed_tail else inflated  # noqa: SLF001  # the same

    PerMessageDeflate.frame_inbound_payload_data = frame_inbound_payload_data  # type: ignore[method-assign]  # replaced on purpose
