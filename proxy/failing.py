"""What becomes of a flow when a hook failed on it: closed mode refuses what is not sent yet, open mode lets it pass."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# mitmproxy is typed in part only

import logging
from contextlib import suppress
from typing import Any

from mitmproxy import http
from mitmproxy.proxy import server_hooks

from alerting.finding import Refusal
from metering.call import Ending
from metering.providers.provider import Dialect
from proxy import flows, refusal, websocket_layer
from proxy.calls import Calls
from proxy.flows import LiveCall
from proxy.forward_door import ForwardDoor
from proxy.gateway import Telemetry
from proxy.refusal import Problem

_log = logging.getLogger(__name__)

_BEFORE_SENDING = frozenset({"http_connect", "requestheaders", "request"})
_AFTER_SENDING = frozenset({"response", "error", "websocket_end"})


class Failing:
    """Deals with the failures that the fence caught; nothing of the request is logged."""

    def __init__(self, *, calls: Calls, forward: ForwardDoor, telemetry: Telemetry, closed: bool) -> None:
        self._calls = calls
        self._forward = forward
        self._telemetry = telemetry
        self._closed = closed

    def hook_failed(self, hook: str, data: Any, error: BaseException) -> None:  # noqa: ANN401  # each hook has its own data
        """Refuse what is not sent yet (closed), or let it pass (open); count it either way."""
        if isinstance(data, http.HTTPFlow) and hook in _AFTER_SENDING:
            self._end(hook, data)
        elif self._closed:
            self._refuse(hook, data)
        self._telemetry.hook_failure(hook)
        _log.error("hook_failed hook=%s error=%s mode=%s", hook, type(error).__name__, "closed" if self._closed else "open")

    def _refuse(self, hook: str, data: Any) -> None:  # noqa: ANN401  # each hook has its own data
        if isinstance(data, server_hooks.ServerConnectionHookData):
            data.server.error = "the gateway failed and is set to refuse (proxy.on_error: closed)"
        elif isinstance(data, http.HTTPFlow):
            passage = flows.passage_of(data)
            live = None if passage is None else passage.live
            if hook in _BEFORE_SENDING:
                data.request.stream = False
                flows.respond(data, refusal.answer(Dialect.OPENAI if passage is None else passage.dialect, degraded(live)))
                self._end_quietly(live, Ending.FAILED, status=None, sent=False)
            elif hook == "websocket_message":
                websocket_layer.refuse(data, "the gateway failed and is set to refuse (proxy.on_error: closed)")
        elif (context := getattr(data, "context", None)) and (tunnel := self._forward.tunnels.get(context.client.id)):
            tunnel.broken = True

    def _end(self, hook: str, flow: http.HTTPFlow) -> None:
        """End a call whose bytes came and go on to the client; what they cost is what was held for them."""
        passage = flows.passage_of(flow)
        status = flow.response.status_code if flow.response else None
        ending = Ending.UPSTREAM_RESET if hook == "error" else Ending.COMPLETED
        live = None if passage is None else passage.live
        self._end_quietly(live, ending, status=status, sent=flow.server_conn.timestamp_start is not None)

    def _end_quietly(self, live: LiveCall | None, ending: Ending, *, status: int | None, sent: bool) -> None:
        if live is not None:
            with suppress(BaseException):  # the failure that led here is told; another one must not keep the client from its answer
                self._calls.end_with(live, ending, None, status=status, sent=sent)


def degraded(live: LiveCall | None) -> Problem:
    """Return what a client is told whose request the gateway failed on."""
    return refusal.problem_of(
        Refusal.DEGRADED,
        "The gateway failed while it handled this request and is set to refuse what it cannot judge (proxy.on_error: closed); see its log",
        call_id=live.call.id if live else None,
    )
