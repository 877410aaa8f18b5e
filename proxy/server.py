"""The proxy's life: both doors open, calls pass, both doors close, and no call is left without an end."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# mitmproxy is typed in part only

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Generator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import certifi
from mitmproxy import http, master, options
from mitmproxy.addons import core, next_layer, proxyserver, tlsconfig
from mitmproxy.connection import Connection

from metering.call import Ending
from metering.settings import MeteringSettings, ServiceSettings, UserSettings
from proxy import patches, processes, secret_files
from proxy.addon import TollwatchAddon
from proxy.addresses import door_address
from proxy.ask_for_usage import UsageAsking
from proxy.base_url_door import BaseUrlDoor
from proxy.calls import Calls
from proxy.canary import CanaryFailed, probe_canary
from proxy.chain_hosts import ChainHosts
from proxy.cutting import Cutting
from proxy.dialing import Dialing
from proxy.flows import LiveCall
from proxy.forward_door import ForwardDoor
from proxy.gateway import Clock, Gate, Record, Telemetry
from proxy.holding_up import HoldingUp
from proxy.identity import Identity, KeyHasher
from proxy.peers import ClientCertificates, FindOwner, Peers
from proxy.settings import IdentitySource, ProxySettings
from proxy.targets import Targets
from proxy.to_stream import ToStream
from proxy.websockets import WebSockets

BASE_URL_TARGET = "http://gw.tollwatch.invalid"
"""Never connected to. http: https would open a UDP listener too. Below tollwatch.invalid: its certificates are within the CA."""

IDLE_TIMEOUT = timedelta(hours=1)
"""Without a byte either way. mitmproxy's 10 minutes end long answers that are not streamed."""

_END_OF_CONNECTIONS = timedelta(seconds=5)

type Listen = tuple[str, int]


class ListenError(OSError):
    """A door cannot open. The message names its config key, the address and the remedy."""


class ProxyServer:
    """One embedded mitmproxy with two listeners; one per process, since mitmproxy keeps its context in globals."""

    def __init__(  # noqa: PLR0913  # the wiring passes each part once, by name
        self,
        *,
        settings: ProxySettings,
        identity: Sequence[IdentitySource],
        users: Sequence[UserSettings],
        services: Sequence[ServiceSettings],
        gate: Gate,
        ca_dir: Path,
        key_hasher: KeyHasher,
        now: Clock,
        telemetry: Telemetry,
        own_ports: Callable[[], set[int]] = set,
        record: Record | None = None,
        metering: MeteringSettings | None = None,
        certificates: ClientCertificates | None = None,
    ) -> None:
        self._settings = settings
        self._ca_dir = ca_dir
        self._other_ports = own_ports
        targets = Targets(self._own_ports)
        who = Identity(identity, users=users, services=services, key_hasher=key_hasher)
        self._identity = who
        self._asks_for_certificates = certificates is not None
        self.calls = Calls(gate=gate, identity=who, now=now, telemetry=telemetry, record=record)
        holding_up = HoldingUp(calls=self.calls, post=self._post, read=self._read, give_up=gate.give_up)
        self._cutting = Cutting(calls=self.calls, post=self._post, finish=holding_up.finish)
        gate.on_cut, gate.on_hold_up, gate.on_go_on = self._cutting.cut, holding_up.hold_up, holding_up.go_on
        self._events: set[asyncio.Task[None]] = set()
        self._dialing = Dialing(
            resolve=settings.resolve, intercept_hosts=settings.decrypted_hosts, upstream_proxy=settings.upstream_proxy, targets=targets
        )
        self.addon = TollwatchAddon(
            settings=settings,
            identity=who,
            calls=self.calls,
            forward=ForwardDoor(settings, targets),
            base_url=BaseUrlDoor(upstreams=settings.upstreams, hosts=(), chains=ChainHosts(settings.chain_hosts)),
            dialing=self._dialing,
            usage=UsageAsking(metering or MeteringSettings()),
            ends=self._cutting,
            websockets=WebSockets(calls=self.calls, inject=self._inject),
            telemetry=telemetry,
            peers=Peers(certificates=certificates, find_owner=_owner_finder(identity)),
        )
        self._proxyserver = proxyserver.Proxyserver()  # type: ignore[no-untyped-call]  # mitmproxy is typed in part
        self._master: master.Master | None = None
        self._scope = contextlib.ExitStack()
        self.forward_address: Listen = ("127.0.0.1", 0)
        self.base_url_address: Listen = ("127.0.0.1", 0)

    async def start(self) -> None:
        """Open both doors. Raises ListenError (port in use), or ValueError for settings that mean nothing."""
        patches.install()
        forward, base_url = _free_ports(door_address(self._settings.listen), door_address(self._settings.base_url_listen))
        if forward == base_url:
            raise ListenError(
                errno.EADDRINUSE, f"proxy.listen and proxy.base_url_listen are both {self._settings.listen}; give one of them another port"
            )
        try:
            await self._start(forward, base_url)
        except BaseException:
            await self._close()
            raise

    async def _start(self, forward: Listen, base_url: Listen) -> None:
        modes = [f"{self._forward_mode()}@{_text(forward)}", f"reverse:{BASE_URL_TARGET}@{_text(base_url)}"]
        self._scope.enter_context(_eager_tasks())
        for name, level in (("mitmproxy", logging.ERROR), ("mitmproxy.addons.proxyserver", logging.CRITICAL)):
            logging.getLogger(name).setLevel(level)
        running = master.Master(options.Options(confdir=str(self._ca_dir), mode=modes))
        self._master = running
        addons: Any = running.addons
        addons.add(core.Core(), self._proxyserver, next_layer.NextLayer(), tlsconfig.TlsConfig(), self.addon)
        settings: Any = running.options
        settings.update(
            connection_strategy="lazy",
            keep_host_header=True,
            rawtcp=False,
            request_client_cert=self._asks_for_certificates,
            tcp_timeout=int(IDLE_TIMEOUT.total_seconds()),
            ssl_verify_upstream_trusted_ca=str(self._upstream_bundle()),
        )
        self.forward_address, self.base_url_address = forward, base_url
        await self._proxyserver.setup_servers()
        for key, instance in zip(("proxy.listen", "proxy.base_url_listen"), self._proxyserver.servers, strict=True):
            if instance.last_exception is not None:
                address = forward if key == "proxy.listen" else base_url
                raise listen_error(key, address, instance.last_exception)
        await running.running()

    def _forward_mode(self) -> str:
        if self._dialing.via is None:
            return "regular"
        scheme, (host, port) = self._dialing.via[0], self._dialing.via[1][:2]
        return f"upstream:{scheme}://{_text((host, port))}"

    def _upstream_bundle(self) -> Path:
        """Return the roots for upstream TLS: certifi's, and the extra file of the config."""
        extra = self._settings.upstream_ca
        if extra is None:
            return Path(certifi.where())
        try:
            more = extra.expanduser().read_bytes()
        except OSError as error:
            raise ValueError(f"proxy.upstream_ca: cannot read {extra} ({error.strerror}); give the path of a PEM file, or null") from error
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=more.decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            raise ValueError(
                f"proxy.upstream_ca: {extra} holds no certificate in PEM form; give the path of one that does, or null"
            ) from error
        bundle = self._ca_dir / "upstream-bundle.pem"
        secret_files.write(bundle, Path(certifi.where()).read_bytes() + b"\n" + more)
        return bundle

    async def stop(self, *, grace: timedelta) -> None:
        """Close both doors; calls in flight get `grace` to finish and are settled with what passed when they do not."""
        self.addon.stopping = True
        if self._master is None:
            return
        await self._proxyserver.servers.update([])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace.total_seconds()):
                await self.calls.idle.wait()
        await self._close()

    async def _close(self) -> None:
        running, self._master = self._master, None
        if running is None:
            return
        await self._proxyserver.servers.update([])
        handlers = [handler for each in self._proxyserver.connections.values() if (handler := _handler(each)) is not None]
        for handler in handlers:
            handler.cancel("the gateway stops")
        await self._connections_gone()
        for live in list(self.calls.open.values()):
            self.calls.end(live, Ending.CLIENT_ABORT, status=None)
        await running.done()
        self._scope.close()

    async def _connections_gone(self) -> None:
        """Wait until mitmproxy has told the ends of all its connections; it offers no event for it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_OF_CONNECTIONS.total_seconds()):
                while self._proxyserver.connections:  # noqa: ASYNC110  # there is no event to wait for
                    await asyncio.sleep(0.005)

    def follow(self, users: Sequence[UserSettings]) -> None:
        """Take over the departments of these users."""
        self._identity.follow(users)

    async def canary(self) -> None:
        """Send a call that must be blocked through the forward door. Raises CanaryFailed when it is not, or when it tried to leave."""
        before = self._dialing.own_host_connections
        await probe_canary(self.forward_address, self._ca_dir, tried_to_leave=lambda: self._dialing.own_host_connections > before)

    def _inject(self, flow: http.HTTPFlow, content: bytes) -> None:
        """Send a text message to the client of a WebSocket."""
        self._proxyserver.inject_websocket(flow, to_client=True, message=content)

    def _read(self, live: LiveCall, upstream: Connection, on: bool) -> None:  # noqa: FBT001  # passed as a callable
        """Go on reading an upstream connection of a call's client, or stop."""
        handler = self._proxyserver.connections.get(live.connection_id)
        io = None if handler is None else handler.transports.get(upstream)
        if io is not None and isinstance(io.writer, asyncio.StreamWriter):
            transport = cast("asyncio.Transport", io.writer.transport)
            (transport.resume_reading if on else transport.pause_reading)()

    def _post(self, live: LiveCall, event: ToStream) -> None:
        """Hand an event to the layers of a call's client."""
        handler = self._proxyserver.connections.get(live.connection_id)
        if handler is None:
            return
        task = asyncio.Task(handler.server_event(event), loop=asyncio.get_running_loop(), eager_start=True)
        if not task.done():
            self._events.add(task)
            task.add_done_callback(self._events.discard)

    def _own_ports(self) -> set[int]:
        return {self.forward_address[1], self.base_url_address[1]} | self._other_ports()


def _owner_finder(identity: Sequence[IdentitySource]) -> FindOwner | None:
    """Return what finds the owner of a connection where the config asks for it. Raises ValueError where this system cannot tell."""
    program = any(source.process for source in identity)
    if not program and not any(source.os_user for source in identity):
        return None
    if not processes.is_supported():
        raise ValueError("identity: `os_user` and `process` read /proc/net/tcp, which only Linux has; take these sources out")
    return partial(processes.owner_of, program=program)


def listen_error(key: str, address: Listen, error: Exception) -> ListenError:
    """Return the sentence for a door that cannot open."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        remedy = f"another program has this port: stop it (is a gateway running already?), or set {key} to a free one"
    elif number == errno.EACCES:
        remedy = f"ports below 1024 belong to root: set {key} to a higher one"
    elif number == errno.EADDRNOTAVAIL:
        remedy = f"this machine has no such address: set {key} to 127.0.0.1 with a port"
    else:
        remedy = f"{error}; check {key}"
    return ListenError(number or errno.EINVAL, f"Cannot listen on {_text(address)} ({key}): {remedy}")


def _free_ports(*addresses: Listen) -> list[Listen]:
    """Return the addresses with the ports 0 replaced by free ones, all different."""
    with contextlib.ExitStack() as held:
        found: list[Listen] = []
        for host, port in addresses:
            if port == 0:
                probe = held.enter_context(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET))
                probe.bind((host, 0))
                found.append((host, probe.getsockname()[1]))
            else:
                found.append((host, port))
        return found


def _text(address: Listen) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@contextlib.contextmanager
def _eager_tasks() -> Generator[None]:
    """Start tasks at once, as mitmproxy's own main loop does: it saves a turn of the loop for each hook that waits."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(asyncio.eager_task_factory)
    try:
        yield
    finally:
        loop.set_task_factory(before)


def _handler(connection: object) -> "asyncio.Task[None] | None":
    transports = getattr(connection, "transports", {})
    client = getattr(connection, "client", None)
    return transports[client].handler if client in transports else None


__all__ = ["CanaryFailed", "ListenError", "ProxyServer", "listen_error"]
