"""The forward door: provider hosts are decrypted, all others are tunnelled untouched, and nothing leads to where secrets are."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# mitmproxy is typed in part only

from collections.abc import Awaitable
from dataclasses import dataclass

from mitmproxy import http, tls
from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy import layer, layers
from mitmproxy.proxy.layers.http import HTTPMode

from metering.providers.catalog import provider_of_host
from metering.providers.provider import Dialect, Provider
from proxy import identity, refusal
from proxy.chain_hosts import ChainHosts
from proxy.flows import respond
from proxy.hosts import same_host
from proxy.refusal import Problem
from proxy.settings import ProxySettings
from proxy.targets import Targets, literal


@dataclass(slots=True, kw_only=True)
class Tunnel:
    """What a CONNECT asked for; it holds for its client connection."""

    host: str
    port: int
    user: str | None
    broken: bool = False
    """A hook failed while the tunnel was set up: in closed mode nothing may pass through it."""


class ForwardDoor:
    """Decides what a connection through the forward door is."""

    def __init__(self, settings: ProxySettings, targets: Targets) -> None:
        self._chains = ChainHosts(settings.chain_hosts)
        self._intercept_hosts = settings.decrypted_hosts
        self._refuses_unknown = settings.unknown_hosts == "refuse"
        self._resolves_itself = settings.upstream_proxy is None
        self._targets = targets
        self.tunnels: dict[str, Tunnel] = {}
        """By the id of the client connection."""

    def provider(self, host: str) -> Provider | None:
        """Return whose host this is, or None for a foreign one."""
        name = host if host.isascii() else same_host(host)
        return self._chains.provider(name) or provider_of_host(name, self._intercept_hosts)

    def connect(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Open a tunnel, or answer 403."""
        host, port = flow.request.host, flow.request.port
        value = flow.request.headers.pop("proxy-authorization", None)
        user = identity.proxy_user(value.encode("latin-1", "replace")) if value else None
        self.tunnels[flow.client_conn.id] = Tunnel(host=host, port=port, user=user)
        return None if self.provider(host) else self._judge_foreign(flow)

    def plain(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """Let a plain request to a foreign host pass untouched and streamed, or answer it."""
        if flow.client_conn.id in self.tunnels:
            _refuse(flow, f"CONNECT named {flow.request.host}, which is no AI provider, while the TLS handshake named one; they must agree")
            return None
        flow.request.headers.pop("proxy-authorization", None)
        pending = self._judge_foreign(flow)
        if pending is None:
            _stream(flow)
            return None
        return self._judged_then_streamed(flow, pending)

    async def _judged_then_streamed(self, flow: http.HTTPFlow, pending: Awaitable[None]) -> None:
        await pending
        _stream(flow)

    def _judge_foreign(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        host, port = flow.request.host, flow.request.port
        if self._refuses_unknown:
            _refuse(
                flow,
                f"{host} is no AI provider and proxy.unknown_hosts is 'refuse': add it under proxy.intercept_hosts, or go there directly",
            )
            return None
        if why := self._targets.forbidden(host, port):
            _refuse(flow, f"The gateway does not connect there: {why}")
            return None
        if literal(host) is None and self._resolves_itself:
            return self._judge_name(flow, host, port)
        return None

    async def _judge_name(self, flow: http.HTTPFlow, host: str, port: int) -> None:
        if why := await self._targets.forbidden_name(host, port):
            _refuse(flow, f"The gateway does not connect there: {why}")

    def hello(self, data: tls.ClientHelloData) -> None:
        """Decrypt, or tunnel when CONNECT and SNI are both foreign; by SNI alone, a foreign name would lead to a provider unread."""
        tunnel = self.tunnels.get(data.context.client.id)
        if tunnel is None or self.provider(tunnel.host):
            return
        sni = data.client_hello.sni
        if sni is None or not self.provider(sni):
            data.ignore_connection = True

    def next_layer(self, next_layer: layer.NextLayer) -> None:
        """Tunnel the bytes of a foreign CONNECT whatever they are; read those to a provider as HTTP whatever they look like."""
        context = next_layer.context
        tunnel = self.tunnels.get(context.client.id)
        data: bytes = next_layer.data_client()  # type: ignore[no-untyped-call]  # mitmproxy says nothing of it
        if tunnel is None or not data:
            return
        if not context.client.tls_established and data[0] == 0x16:
            if len(data) > 2 and not starts_like_tls_record(data) and not self.provider(tunnel.host):
                next_layer.layer = layers.TCPLayer(context, ignore=True)
            return
        if self.provider(tunnel.host) or context.client.tls_established:
            next_layer.layer = layers.HttpLayer(context, HTTPMode.transparent)
        else:
            next_layer.layer = layers.TCPLayer(context, ignore=True)

    def names(self, flow: http.HTTPFlow, headers: dict[bytes, bytes]) -> tuple[str, ...]:
        """Return the other names that a request to a provider goes by."""
        names: list[str] = []
        if tunnel := self.tunnels.get(flow.client_conn.id):
            names.append(tunnel.host)
            if flow.client_conn.sni:
                names.append(flow.client_conn.sni)
        if host := headers.get(b"host"):
            names.append(authority_host(host))
        if authority := flow.request.data.authority:
            names.append(authority_host(authority))
        return tuple(dict.fromkeys(map(same_host, names)))


def authority_host(value: bytes) -> str:
    """Return the host of a Host header, without its port."""
    text = value.decode("utf-8", "replace")
    if text.startswith("["):
        return text.partition("]")[0][1:]
    host, colon, port = text.rpartition(":")
    return host if colon and port.isdecimal() else text


def _stream(flow: http.HTTPFlow) -> None:
    if flow.response is None:
        flow.request.stream = True


def _refuse(flow: http.HTTPFlow, message: str) -> None:
    respond(flow, refusal.answer(Dialect.OPENAI, Problem(status=403, code="tollwatch_destination", message=message)))
