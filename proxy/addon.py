"""The hooks: bytes in, verdict out, each inside the fence."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# mitmproxy is typed in part only

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Any

from mitmproxy import http, tls
from mitmproxy.connection import Client
from mitmproxy.proxy import layer, mode_specs, server_hooks

from alerting.finding import Refusal
from metering.call import Door, Ending
from metering.providers.catalog import PROBE_HOST
from proxy import broken, canonical, cutting, flows, plain_errors, probe, refusal
from proxy.ask_for_usage import Stream, UsageAsking, asking, through
from proxy.base_url_door import BaseUrlDoor
from proxy.calls import Calls, too_large
from proxy.cutting import Cutting
from proxy.dialing import Dialing
from proxy.failing import Failing, degraded
from proxy.fence import fenced
from proxy.flows import LiveCall, Passage
from proxy.forward_door import ForwardDoor
from proxy.gateway import Telemetry
from proxy.hide_usage import UsageHider
from proxy.identity import PROXY_AUTHORIZATION, Identity, proxy_user
from proxy.peers import Peers
from proxy.raw import RawRequest
from proxy.refusal import CALL_HEADER, Answer, Problem
from proxy.settings import ProxySettings
from proxy.websockets import WebSockets

_CALL_HEADER = CALL_HEADER.decode()


class TollwatchAddon:
    """mitmproxy calls these by their names; each is a sentence about one moment of a flow."""

    name = "tollwatch"

    def __init__(  # noqa: PLR0913  # the wiring passes each part once, by name
        self,
        *,
        settings: ProxySettings,
        identity: Identity,
        calls: Calls,
        forward: ForwardDoor,
        base_url: BaseUrlDoor,
        dialing: Dialing,
        usage: UsageAsking,
        websockets: WebSockets,
        ends: Cutting,
        telemetry: Telemetry,
        peers: Peers,
    ) -> None:
        self._identity = identity
        self._calls = calls
        self._forward = forward
        self._base_url = base_url
        self._dialing = dialing
        self._usage = usage
        self._websockets = websockets
        self._ends = ends
        self._peers = peers
        self._failing = Failing(calls=calls, forward=forward, telemetry=telemetry, closed=settings.on_error == "closed")
        self._limits = settings.body_limits
        self.stopping = False
        """Set while the server drains: no new call begins."""

    @fenced
    def http_connect(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Open the tunnel that a client asks for, or refuse it."""
        return self._forward.connect(flow)

    @fenced
    def http_connect_upstream(self, flow: http.HTTPFlow) -> None:
        """Show our credentials to the corporate proxy."""
        self._dialing.authorize(flow)

    @fenced
    def tls_clienthello(self, data: tls.ClientHelloData) -> None:
        """Decrypt or tunnel, by the name in the TLS handshake."""
        self._forward.hello(data)

    @fenced
    def tls_established_client(self, data: tls.TlsData) -> None:
        """Note the certificate that a client showed."""
        self._peers.established(data.context.client)

    @fenced
    def next_layer(self, next_layer: layer.NextLayer) -> None:
        """Choose how the first bytes of a tunnel are read."""
        self._forward.next_layer(next_layer)

    @fenced
    def requestheaders(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Find out who asks, and where a request goes; its body is still to come."""
        if self._peers.active and (pending := self._peers.find(flow.client_conn)) is not None:
            return self._found(flow, pending)
        return self._route(flow)

    async def _found(self, flow: http.HTTPFlow, pending: Awaitable[None]) -> None:
        await pending
        if (more := self._route(flow)) is not None:
            await more

    def _route(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        if isinstance(flow.client_conn.proxy_mode, mode_specs.ReverseMode):
            self._enter_base_url(flow)
            return None
        return self._enter_forward(flow)

    @fenced
    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Judge a whole request; nothing is sent before the verdict."""
        passage = flows.passage_of(flow)
        if passage is None or flow.response is not None or passage.live is not None:
            return None
        return self._judge(flow, passage)

    @fenced
    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Tap the answer that begins."""
        passage = flows.passage_of(flow)
        live = None if passage is None else passage.live
        if passage is None or live is None:
            if flow.response is not None and passage is None:
                flow.response.stream = True
            return
        response = flow.response
        if live.ended or response is None or response.status_code == 101 or cutting.ENDED in flow.metadata:
            return
        headers = response.headers
        tap = self._calls.tap(live, status=response.status_code, headers=headers)
        if tap.decodes and tap.valve is not None:
            flows.pass_decoded(flow)
            tap.valve.give_up = partial(self._ends.break_off, live)
        self._ends.again(live)
        way = self._hidden_usage(flow, response) if passage.hides_usage else None
        response.stream = tap if way is None else through(tap, way)
        if _CALL_HEADER not in headers:
            headers.fields = (*headers.fields, (CALL_HEADER, live.call.id.encode()))

    @fenced
    def response(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Settle a call whose answer came to its end."""
        live = flows.live_of(flow)
        if live is None or live.ended or flow.websocket is not None or flow.response is None:
            return None
        if live.tap is not None and live.call.host == PROBE_HOST:
            live.tap(flow.response.raw_content or b"")
        if live.tap is not None and live.tap.slow_to_finish:
            return self._calls.end_slowly(live, broken.end_of_answer(flow, live), status=flow.response.status_code)
        self._calls.end(live, broken.end_of_answer(flow, live), status=flow.response.status_code)
        return None

    @fenced
    def error(self, flow: http.HTTPFlow) -> None:
        """Settle a call that one side broke off."""
        passage = flows.passage_of(flow)
        if passage is None:
            return
        status = flow.response.status_code if flow.response else None
        sent = flow.server_conn.timestamp_start is not None
        ending = broken.ending_of(flow, sent=sent, stopping=self.stopping)
        if ending not in {Ending.CLIENT_ABORT, Ending.REFUSED} and flow.response is None:
            flow.metadata[plain_errors.ANSWER] = flows.response(broken.unreachable(passage, flow))
        if cutting.ENDED in flow.metadata:
            ending, sent = flow.metadata[cutting.ENDED], True
        if passage.live is not None:
            self._calls.end(passage.live, ending, status=status, sent=sent)

    @fenced
    def websocket_message(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Judge and count a WebSocket message, and forget it; mitmproxy would keep them all."""
        passage = flows.passage_of(flow)
        if passage is not None:
            return self._websockets.message(flow, passage)
        if flow.websocket is not None:
            del flow.websocket.messages[:-1]
        return None

    @fenced
    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """Settle a WebSocket that closed, and what it left open."""
        self._websockets.end(flow)
        if (live := flows.live_of(flow)) is not None:
            self._calls.end(live, Ending.COMPLETED, status=101)

    @fenced
    def client_disconnected(self, client: Client) -> None:
        """Settle whatever a client that is gone, or whose connection was given up, left open."""
        ending = Ending.UPSTREAM_RESET if client.error else Ending.CLIENT_ABORT
        self._forward.tunnels.pop(client.id, None)
        self._peers.forget(client)
        for live in [live for live in self._calls.open.values() if live.connection_id == client.id]:
            self._calls.end(live, ending, status=None)

    @fenced
    def client_left(self, connection_id: str) -> None:
        """Hear that a client closed its connection, while its requests may still be judged. No hook of mitmproxy's: a patch calls it."""
        self._calls.leave(connection_id)

    @fenced
    def server_connect(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Send an upstream connection where it belongs."""
        if data.server.error is None:
            self._dialing.connect(data)

    @fenced
    def server_connected(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Note that an upstream connection is open."""
        self._dialing.connected(data)

    @fenced
    def server_connect_error(self, data: server_hooks.ServerConnectionHookData) -> None:
        """Note that an upstream connection did not open."""
        self._dialing.failed(data)

    def hook_failed(self, hook: str, data: Any, error: BaseException) -> None:  # noqa: ANN401  # each hook has its own data
        """Deal with a failure of a hook by the configured mode."""
        self._failing.hook_failed(hook, data, error)

    def _enter_base_url(self, flow: http.HTTPFlow) -> None:
        headers, repeated = flows.read_headers(flow)
        found = self._base_url.answer(flow.request.method, flow.request.path, headers)
        if isinstance(found, Answer):
            flows.answer_now(flow, found)
            return
        request = flow.request
        request.data.host, request.data.port, request.data.scheme = found.host, found.port, found.scheme.encode()
        request.data.path = found.path.encode("utf-8", "surrogateescape")
        request.host_header = found.authority
        self._dialing.route_by_proxy(flow)
        passage = Passage(
            door=Door.BASE_URL, provider=found.target.provider, headers=headers, repeated=repeated, names=(), proxy_user=None, limit=0
        )
        self._enter(flow, passage)

    def _enter_forward(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        provider = self._forward.provider(flow.request.host)
        if provider is None:
            return self._forward.plain(flow)
        headers, repeated = flows.read_headers(flow)
        tunnel = self._forward.tunnels.get(flow.client_conn.id)
        user = tunnel.user if tunnel else proxy_user(headers.get(PROXY_AUTHORIZATION, b""))
        passage = Passage(
            door=Door.FORWARD,
            provider=provider,
            headers=headers,
            repeated=repeated,
            names=self._forward.names(flow, headers),
            proxy_user=user,
            limit=0,
        )
        if tunnel is not None and tunnel.broken:
            flows.answer_now(flow, refusal.answer(provider.dialect, degraded(None)))
            return None
        self._enter(flow, passage)
        return None

    def _enter(self, flow: http.HTTPFlow, passage: Passage) -> None:
        """Strip what is for the gateway only, and bound the body."""
        flows.set_passage(flow, passage)
        passage.peer = self._peers.of(flow.client_conn)
        if self.stopping:
            problem = Problem(
                status=503, code="tollwatch_stopping", message="The gateway is stopping; try again in a moment", may_retry=True
            )
            flows.answer_now(flow, refusal.answer(passage.dialect, problem))
            return
        fields = flows.request_fields(flow)
        if (kept := self._identity.without_private(fields, passage.headers)) is not fields:
            flow.request.headers.fields = kept
        path = flow.request.path
        route = canonical.route_of(passage.provider, flow.request.method, path, passage.headers)
        passage.wire_format = route.wire_format
        passage.as_events = "alt=sse" in path and "alt=sse" in path.partition("?")[2].split("&")
        passage.limit = self._limits.json_ if canonical.takes_json(route) else self._limits.upload
        flow.metadata[flows.LIMIT] = passage.limit
        if flows.length(passage.headers) > passage.limit:
            flow.metadata[flows.OVER_LIMIT] = True

    async def _judge(self, flow: http.HTTPFlow, passage: Passage) -> None:
        body = flow.request.raw_content or b""
        raw = RawRequest(
            door=passage.door,
            provider=passage.provider,
            method=flow.request.method,
            host=flow.request.host,
            path=flow.request.path,
            names=passage.names,
            headers=passage.headers,
            repeated=passage.repeated,
            body=body,
            proxy_user=passage.proxy_user,
            peer=passage.peer,
        )
        if over := flows.OVER_LIMIT in flow.metadata:
            route = canonical.route_of(raw.provider, raw.method, raw.path, raw.headers)
            rejected = too_large(passage.limit, uploads=not canonical.takes_json(route))
            meaning = canonical.Canonical(route=route, facts=None, rejected=rejected)
        else:
            meaning = await self._calls.meaning(raw, cap=self._limits.json_)
        call = self._calls.call(raw, meaning, request_bytes=flows.length(passage.headers) or len(body))
        passage.live = live = LiveCall(call=call, connection_id=flow.client_conn.id)
        verdict = await self._calls.judge(live, rejected=self._peers.unwelcome(passage.peer, call.host) or meaning.rejected)
        if verdict.blocked:
            flows.respond(flow, refusal.answer(passage.dialect, refusal.refused(call, verdict)))
        elif flow.client_conn.error:  # its connection was given up meanwhile: nobody hears of it any more
            self._calls.end(live, Ending.FAILED, status=None, sent=False)
        elif over:
            self._refuse_unread(flow, passage, live, meaning)
        elif call.host == PROBE_HOST:
            flows.respond(flow, probe.answer(call))
        else:
            await self._make_ready(flow, passage, meaning)

    async def _make_ready(self, flow: http.HTTPFlow, passage: Passage, meaning: canonical.Canonical) -> None:
        """Let a request go on, with what it needs to be asked of its usage, and to be understood upstream."""
        body = flow.request.raw_content or b""
        if meaning.rejected is None and self._usage.may_ask(
            passage.provider, flow.request.host, meaning.route, meaning.facts, passage.headers
        ):
            changed = asking(body) if len(body) < canonical.IN_THREAD_FROM else await asyncio.to_thread(asking, body)
            if changed is not None:
                passage.hides_usage = True
                flows.replace_body(flow, body := changed)
        if body and b"content-length" not in passage.headers and b"transfer-encoding" not in passage.headers:
            # HTTP/2 needs none; without it an HTTP/1 upstream takes the body for a request.
            flow.request.headers["content-length"] = str(len(body))

    def _refuse_unread(self, flow: http.HTTPFlow, passage: Passage, live: LiveCall, meaning: canonical.Canonical) -> None:
        """Refuse a body beyond its limit in monitor mode too: there is no longer anything to send."""
        message = meaning.rejected.message if meaning.rejected else ""
        problem = refusal.problem_of(Refusal.TOO_LARGE, message, call_id=live.call.id)
        flows.respond(flow, refusal.answer(passage.dialect, problem))
        self._calls.end(live, Ending.REFUSED, status=413, sent=False)

    def _hidden_usage(self, flow: http.HTTPFlow, response: http.Response) -> Stream | None:
        """Return what keeps the usage chunk from a client that did not ask for it, or None."""
        way = self._usage.watch(flow.request.host, response.status_code, response.headers)
        if isinstance(way, UsageHider):
            flows.leave_length_open(flow)
        return way
