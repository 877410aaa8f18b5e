"""How upstream connections are made: other addresses from the config, the corporate proxy, never a loop."""

import base64
from collections.abc import Mapping
from urllib.parse import unquote

from mitmproxy import http
from mitmproxy.net.server_spec import ServerSpec
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from metering.providers.catalog import CANARY_HOST, PROBE_HOST, provider_of_host
from proxy.addresses import host_and_port, proxy_address
from proxy.targets import Targets, literal

_OWN_HOSTS = frozenset({CANARY_HOST, PROBE_HOST})


class Dialing:
    """Decides where a connection really goes."""

    def __init__(
        self, *, resolve: Mapping[str, str], intercept_hosts: tuple[str, ...], upstream_proxy: str | None, targets: Targets
    ) -> None:
        self._resolve = {host.lower(): host_and_port(value) for host, value in resolve.items()}
        self._intercept_hosts = intercept_hosts
        self._targets = targets
        self.via, self._proxy_authorization = _proxy(upstream_proxy)
        self._asked: dict[str, tuple[str, int]] = {}
        self.own_host_connections = 0
        """Connections that were tried to the canary's and the probe's hosts: each is a failure."""

    def connect(self, data: ServerConnectionHookData) -> None:
        """Send the connection to the address that the config gives its host; name and SNI stay."""
        server = data.server
        if server.address is None:
            return
        host, port = server.address[0], server.address[1]
        if host in _OWN_HOSTS:
            self.own_host_connections += 1
            server.error = f"{host} is answered by the gateway itself"
            return
        if server.via is not None:
            return
        if address := self._other(host):
            self._asked[server.id] = (host, port)
            server.address = address
        elif why := self._targets.forbidden(host, port):
            server.error = why

    def connected(self, data: ServerConnectionHookData) -> None:
        """Give a connection its asked-for address back once it is open.

        mitmproxy finds an open connection again by its address; with the other one each request would open a connection of its own.
        Its setter refuses to change an open connection, hence the way round it.
        """
        if asked := self._asked.pop(data.server.id, None):
            object.__setattr__(data.server, "address", asked)

    def failed(self, data: ServerConnectionHookData) -> None:
        """Forget a connection that did not open."""
        self._asked.pop(data.server.id, None)

    def _other(self, host: str) -> tuple[str, int] | None:
        if not self._resolve:
            return None
        if exact := self._resolve.get(host.lower()):
            return exact
        anywhere = self._resolve.get("*")
        return anywhere if anywhere and provider_of_host(host, self._intercept_hosts) else None

    def route_by_proxy(self, flow: http.HTTPFlow) -> None:
        """Send a base-URL call by the corporate proxy, unless its upstream is on this machine."""
        if self.via is None:
            return
        address = literal(flow.request.host)
        if flow.request.host != "localhost" and not (address and address.is_loopback):
            flow.server_conn.via = self.via

    def authorize(self, flow: http.HTTPFlow) -> None:
        """Add the corporate proxy's credentials to a CONNECT for it."""
        if self._proxy_authorization:
            flow.request.headers["Proxy-Authorization"] = self._proxy_authorization


def _proxy(url: str | None) -> tuple[ServerSpec | None, str | None]:
    if url is None:
        return None, None
    parts, port = proxy_address(url)
    spec: ServerSpec = ("https" if parts.scheme == "https" else "http", (parts.hostname or "", port))
    if parts.username is None:
        return spec, None
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return spec, "Basic " + base64.b64encode(credentials).decode()
