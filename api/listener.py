"""Plain HTTP and TLS on one port: the first byte of a connection tells them apart."""

import asyncio
import errno
import ipaddress
import socket
import ssl
from collections.abc import Coroutine

import structlog
from aiohttp import web

from api.protocol import LONGEST_LINE, Protocol

FIRST_BYTE_SECONDS = 10.0
HANDSHAKE_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 15.0
MOST_CONNECTIONS = 256
_TLS_HANDSHAKE = b"\x16"
_PAUSE_SECONDS = 0.25
_BACKLOG = 128
_MOST_UNREAD = 1 << 16
_NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})
_PLAIN_REFUSED = (
    b"HTTP/1.1 426 Upgrade Required\r\nConnection: close\r\nUpgrade: TLS/1.2\r\nContent-Type: application/json\r\n"
    b"Content-Length: 54\r\n\r\n"
    b'{"error":"beyond this machine only https is answered"}'
)

_log = structlog.get_logger(__name__)


class ListenError(OSError):
    """The API cannot listen where `api.listen` says; the message names the remedy."""


class ApiServer:
    """Serves an application until it is stopped. `address` is where it listens."""

    def __init__(self, app: web.Application, *, first_byte_seconds: float = FIRST_BYTE_SECONDS) -> None:
        self._runner = web.AppRunner(app, shutdown_timeout=5.0)
        self._first_byte_seconds = first_byte_seconds
        self._sockets: list[socket.socket] = []
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self._context: ssl.SSLContext | None = None
        self.address: tuple[str, int] | None = None

    async def start(self, host: str, port: int, ssl_context: ssl.SSLContext | None) -> None:
        """Listen on `host`:`port` (0: any free port), by plain HTTP alone when there is no context. Raises ListenError."""
        if ssl_context is None and not _is_loopback(host):
            raise ListenError(f"Cannot listen on {host}:{port} (api.listen) without TLS: set api.tls to auto, or listen on 127.0.0.1")
        self._context = ssl_context
        self._sockets = _listen(host, port)
        self.address = (host, int(self._sockets[0].getsockname()[1]))
        await self._runner.setup()
        await self._tasks.__aenter__()
        for listening in self._sockets:
            self._spawn(self._accept(listening))

    async def stop(self) -> None:
        """Accept no more, let running requests end (5 s at most), close every connection."""
        for task in tuple(self._running):
            task.cancel()
        if self._sockets:
            await self._tasks.__aexit__(None, None, None)
        for listening in self._sockets:
            listening.close()
        self._sockets = []
        await self._runner.cleanup()

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _peer = await loop.sock_accept(listening)
            except OSError as error:  # out of descriptors, or the client was gone already: neither ends the API
                _log.warning("api_accept_failed", error=str(error))
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if len(self._running) + len(self._server.connections) >= MOST_CONNECTIONS:
                connection.close()
                continue
            self._spawn(self._welcome(connection))

    async def _welcome(self, connection: socket.socket) -> None:
        """Look at the first byte of a connection and hand it to the server; close it when none comes in time."""
        handed_over = False
        try:
            connection.setblocking(False)
            async with asyncio.timeout(self._first_byte_seconds):
                await _readable(connection)
            first = connection.recv(1, socket.MSG_PEEK)
            if first == _TLS_HANDSHAKE and self._context:
                handed_over = True
                await self._serve(connection, self._context)
            elif first and _is_loopback(connection.getpeername()[0]):
                handed_over = True
                await self._serve(connection, None)
            elif first:
                connection.recv(_MOST_UNREAD)  # what is left unread would turn the close into a reset, and the answer would be lost
                connection.send(_PLAIN_REFUSED)
        except (OSError, TimeoutError) as error:  # the client went away, was silent, or does not speak TLS as we do
            _log.debug("api_connection_failed", error=str(error))
        finally:
            if not handed_over:
                connection.close()

    async def _serve(self, connection: socket.socket, context: ssl.SSLContext | None) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(
            self._protocol, connection, ssl=context, ssl_handshake_timeout=HANDSHAKE_SECONDS if context else None
        )

    def _protocol(self) -> Protocol:
        return Protocol(
            self._server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # no access log, which aiohttp's annotation forgot
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            lingering_time=2.0,
            max_line_size=LONGEST_LINE,
        )

    @property
    def _server(self) -> web.Server:
        server = self._runner.server
        if server is None:
            raise ListenError("the API has not been started")
        return server


async def _readable(connection: socket.socket) -> None:
    """Return when there is something to read, without reading it."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def _now() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(connection, _now)
    try:
        await ready
    finally:
        loop.remove_reader(connection)


def _listen(host: str, port: int) -> list[socket.socket]:
    """Return the listening sockets: one, and one more on ::1 where the host is `localhost` and this machine has IPv6."""
    if host != "localhost":
        return [_bind(host, port)]
    first = _bind("127.0.0.1", port)
    try:
        return [first, _bind("::1", int(first.getsockname()[1]))]
    except ListenError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _NO_IPV6:
            return [first]
        first.close()
        raise


def _bind(host: str, port: int) -> socket.socket:
    host = host.strip("[]")
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listening.family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.setblocking(False)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise ListenError(_why(host, port, error)) from error
    return listening


def _why(host: str, port: int, error: OSError) -> str:
    where = f"Cannot listen on {host}:{port} (api.listen)"
    if error.errno == errno.EADDRINUSE:
        return f"{where}: the port is in use. End the process that holds it, or set api.listen to a free port"
    if error.errno == errno.EACCES:
        return f"{where}: ports below 1024 need privileges. Set api.listen to a higher port"
    return f"{where}: {error.strerror or error}. Set api.listen to an address of this machine, for example 127.0.0.1:3100"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
