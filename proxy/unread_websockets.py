"""WebSockets that are not metered: a message that names a model is judged, so that no rule about models is dodged by them."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# mitmproxy is typed in part only

from typing import Final

from mitmproxy import http
from mitmproxy.websocket import WebSocketMessage

from metering.call import Consumption, Ending, Endpoint
from metering.providers.routes import Route
from proxy import bodies, canonical, websocket_layer
from proxy.calls import Calls
from proxy.flows import LiveCall, Passage
from proxy.raw import RawRequest

_ROUTE: Final = Route(operation="realtime", endpoint=Endpoint.OTHER, wire_format=None, consumption=Consumption.FREE)


def may_name_a_model(content: bytes) -> bool:
    """Say whether a message has to be looked at (most are sounds and short texts)."""
    return content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"["} and (b"odel" in content or b"MODEL" in content or b"\\u00" in content)


async def judge(calls: Calls, flow: http.HTTPFlow, passage: Passage, message: WebSocketMessage) -> None:
    """Let a message go on, or close the WebSocket (1008) when a rule forbids the model that it names."""
    raw = RawRequest(
        door=passage.door,
        provider=passage.provider,
        method=flow.request.method,
        host=flow.request.host,
        path=flow.request.path.partition("?")[0],
        names=passage.names,
        headers={name: value for name, value in passage.headers.items() if not name.startswith(b"content-") and name != b"upgrade"},
        repeated=passage.repeated,
        body=message.content,
        proxy_user=passage.proxy_user,
        peer=passage.peer,
    )
    meaning = canonical.meaning_of(raw, _ROUTE, bodies.read_unread(raw, _ROUTE, cap=len(message.content)))
    if meaning.rejected is None and meaning.model is None and not meaning.parts:
        return
    call = calls.call(raw, meaning, request_bytes=len(message.content))
    live = LiveCall(call=call, connection_id=flow.client_conn.id)
    verdict = await calls.judge(live, rejected=meaning.rejected)
    if verdict.blocked:
        websocket_layer.refuse(flow, verdict.message)
    else:
        calls.end_with(live, Ending.COMPLETED, None, status=101, sent=True)
