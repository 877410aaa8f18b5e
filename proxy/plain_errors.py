"""Errors that mitmproxy words itself (upstream down, malformed requests) are JSON, not the HTML pages that no SDK can read."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportPrivateUsage=false, reportPrivateImportUsage=false
# mitmproxy is typed in part only, and what is patched is its own

from typing import Any

import orjson
from mitmproxy import http
from mitmproxy.net.http.http1 import assemble_response
from mitmproxy.proxy import layer
from mitmproxy.proxy.commands import SendData
from mitmproxy.proxy.layers.http import HttpStream, SendHttp, _http1, _http2
from mitmproxy.proxy.layers.http._events import (
    HttpEvent,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)

BY_CLIENT = "tollwatch.by_client"
"""Flow metadata: whether the client (True) or the upstream (False) broke the flow off; the error's text does not tell."""
ANSWER = "tollwatch.answer"
"""Flow metadata: the response that stands in for mitmproxy's own error page."""


def install() -> None:
    """Answer the errors of this process in JSON.

    An error of a call is answered with what the addon's `error` hook left in the flow (ANSWER), in the provider's own shape; what
    belongs to no call gets a plain JSON object.
    """
    _http1.make_error_response = _make_error_response
    original_h2 = _http2.Http2Connection._handle_event  # noqa: SLF001  # mitmproxy offers no other place
    original_error = HttpStream.handle_protocol_error

    def handle_event(self: Any, event: Any) -> layer.CommandGenerator[None]:  # noqa: ANN401  # an Http2Connection and any event
        status = event.code.http_status_code() if isinstance(event, ResponseProtocolError) else None
        if status is None or not _may_answer(self, event):
            yield from original_h2(self, event)
            return
        fields = [(b":status", b"%d" % status), (b"content-type", b"application/json"), (b"x-should-retry", b"false")]
        self.h2_conn.send_headers(event.stream_id, fields)
        self.h2_conn.send_data(event.stream_id, _error_body(status, event.message), end_stream=True)
        yield SendData(self.conn, self.h2_conn.data_to_send())

    def handle_protocol_error(self: HttpStream, event: Any) -> layer.CommandGenerator[None]:  # noqa: ANN401  # Request- or ResponseProtocolError
        self.flow.metadata[BY_CLIENT] = isinstance(event, RequestProtocolError)
        for command in original_error(self, event):
            answer: http.Response | None = self.flow.metadata.get(ANSWER)
            if (
                not (isinstance(command, SendHttp) and command.event is event and isinstance(event, ResponseProtocolError))
                or answer is None
                or self.flow.response is not None
            ):
                yield command
            else:
                yield SendHttp(ResponseHeaders(self.stream_id, answer, end_stream=False), self.context.client)
                yield SendHttp(ResponseData(self.stream_id, answer.raw_content or b""), self.context.client)
                yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)

    _http2.Http2Connection._handle_event = handle_event  # type: ignore[method-assign]  # noqa: SLF001  # replaced on purpose
    HttpStream.handle_protocol_error = handle_protocol_error  # type: ignore[method-assign]  # replaced on purpose


def _may_answer(connection: Any, event: HttpEvent) -> bool:  # noqa: ANN401  # an Http2Connection
    """Say whether an error can still be a response: the stream is open and no headers went out (mitmproxy's own conditions)."""
    if connection.is_closed(event.stream_id) or not connection.is_open_for_us(event.stream_id):
        return False
    return not connection.h2_conn.streams[event.stream_id].state_machine.headers_sent


def _make_error_response(status_code: int, message: str = "") -> bytes:
    headers = http.Headers(Connection="close", Content_Type="application/json", x_should_retry="false")
    response = http.Response.make(status_code, _error_body(status_code, message), headers)
    return assemble_response(response)  # type: ignore[no-untyped-call, no-any-return]  # mitmproxy is typed in part


def _error_body(status: int, message: str) -> bytes:
    """Return an error that belongs to no call, with the members in which any provider's client looks for its words."""
    kind, remedy = (
        ("api_error", "try again, and see the gateway's log") if status >= 500 else ("invalid_request_error", "correct the request")
    )
    said = f"tollwatch: {message}; {remedy}"
    return orjson.dumps({"type": "error", "error": {"type": kind, "code": f"tollwatch_{status}", "message": said}, "message": said})
