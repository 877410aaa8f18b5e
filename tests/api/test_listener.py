"""One port for plain HTTP and TLS."""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from api import listener
from api.app import create_app
from api.listener import ApiServer, ListenError
from api.services import Services


@contextlib.asynccontextmanager
async def serving(
    services: Services, host: str = "127.0.0.1", context: ssl.SSLContext | None = None, **more: Any
) -> AsyncIterator[ApiServer]:
    server = ApiServer(create_app(services), **more)
    await server.start(host, 0, context)
    try:
        yield server
    finally:
        await server.stop()


async def status_of(url: str, tls: ssl.SSLContext | bool = True, **more: Any) -> int:  # noqa: FBT001, FBT002 - aiohttp's own `ssl`
    async with aiohttp.ClientSession() as client, client.get(url, ssl=tls, **more) as response:
        return response.status


async def end_of(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(60):
        return await reader.read()


async def test_plain_and_tls_are_answered_on_one_port(gateway: Any, client_tls: ssl.SSLContext) -> None:
    for name in ("localhost", "127.0.0.1"):
        assert await status_of(f"http://{name}:{gateway.port}/healthz") == 200
        assert await status_of(f"https://{name}:{gateway.port}/healthz", client_tls) == 200


async def test_many_of_both_kinds_at_once(gateway: Any, client_tls: ssl.SSLContext) -> None:
    urls = [f"http{'s' * (n % 2)}://127.0.0.1:{gateway.port}/healthz" for n in range(40)]

    statuses = await asyncio.gather(*(status_of(url, client_tls) for url in urls))

    assert statuses == [200] * 40


async def test_the_guards_stand_behind_tls_too(gateway: Any, client_tls: ssl.SSLContext) -> None:
    url = f"https://127.0.0.1:{gateway.port}/healthz"

    assert await status_of(url, client_tls, headers={"Host": "evil.com"}) == 421


async def test_localhost_is_served_on_ipv6_as_well(services: Services) -> None:
    async with serving(services, "localhost") as server:
        port = server.address[1]
        assert await status_of(f"http://127.0.0.1:{port}/healthz") == 200
        try:
            socket.create_connection(("::1", port), timeout=5).close()
        except OSError:
            pytest.skip("this machine has no IPv6")
        assert await status_of(f"http://[::1]:{port}/healthz") == 200


async def test_a_machine_without_ipv6_serves_localhost_on_ipv4(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    bind = listener._bind  # noqa: SLF001 - the one place where a machine without IPv6 shows

    def no_ipv6(host: str, port: int) -> socket.socket:
        if host == "::1":
            error = ListenError("none")
            error.__cause__ = OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
            raise error
        return bind(host, port)

    monkeypatch.setattr(listener, "_bind", no_ipv6)
    async with serving(services, "localhost") as server:
        assert await status_of(f"http://127.0.0.1:{server.address[1]}/healthz") == 200


async def test_a_port_in_use_is_named_with_its_setting(services: Services) -> None:
    async with serving(services) as server:
        port = server.address[1]
        with pytest.raises(ListenError, match=rf"127.0.0.1:{port} \(api\.listen\): the port is in use"):
            await ApiServer(create_app(services)).start("127.0.0.1", port, None)


async def test_a_port_in_use_on_ipv6_alone_is_named_too(services: Services) -> None:
    with socket.socket(socket.AF_INET6) as taken:
        try:
            taken.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        taken.listen()
        with pytest.raises(ListenError, match="the port is in use"):
            await ApiServer(create_app(services)).start("localhost", taken.getsockname()[1], None)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(errno.EACCES, "Permission denied"), "Set api.listen to a higher port"),
        (OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address"), "Set api.listen to an address of this machine"),
    ],
)
def test_other_reasons_not_to_listen_have_their_remedy(error: Any, remedy: str) -> None:
    assert remedy in listener._why("127.0.0.1", 80, error)  # noqa: SLF001 - no test may count on a privileged port being closed


async def test_a_foreign_address_cannot_be_listened_on(services: Services, server_tls: ssl.SSLContext) -> None:
    with pytest.raises(ListenError, match=r"Set api\.listen to an address of this machine"):
        await ApiServer(create_app(services)).start("192.0.2.1", 0, server_tls)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.com"])  # noqa: S104 - it is refused
async def test_beyond_loopback_there_is_no_plain_http(services: Services, host: str) -> None:
    with pytest.raises(ListenError, match=r"without TLS: set api\.tls to auto"):
        await ApiServer(create_app(services)).start(host, 0, None)


async def test_a_plain_client_from_beyond_this_machine_is_told_to_use_https(
    services: Services, server_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback = listener._is_loopback  # noqa: SLF001 - loopback is all that a test may use, so one of its addresses plays the other
    monkeypatch.setattr(listener, "_is_loopback", lambda host: host != "127.0.0.1" and loopback(host))
    async with serving(services, "localhost", server_tls) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.address[1])
        writer.write(b"GET /healthz HTTP/1.1\r\n\r\n")
        answer = await end_of(reader)
        writer.close()

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 426 ")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"only https" in body


async def test_a_silent_client_is_closed(services: Services) -> None:
    async with serving(services, first_byte_seconds=0.1) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.address[1])
        assert await end_of(reader) == b""
        writer.close()


async def test_a_client_that_leaves_without_a_word_harms_nobody(gateway: Any) -> None:
    for _ in range(20):
        _reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.close()
        await writer.wait_closed()

    assert await status_of(f"http://127.0.0.1:{gateway.port}/healthz") == 200


async def test_a_client_that_leaves_in_the_handshake_harms_nobody(gateway: Any, client_tls: ssl.SSLContext) -> None:
    for data in (b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x16" * 100):
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(data)
        writer.write_eof()
        await end_of(reader)
        writer.close()

    assert await status_of(f"https://127.0.0.1:{gateway.port}/healthz", client_tls) == 200


async def test_a_client_that_does_not_trust_us_harms_nobody(gateway: Any, client_tls: ssl.SSLContext) -> None:
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await status_of(f"https://127.0.0.1:{gateway.port}/healthz", ssl.create_default_context())

    assert await status_of(f"https://127.0.0.1:{gateway.port}/healthz", client_tls) == 200


async def test_without_a_context_tls_is_refused_and_plain_answered(services: Services) -> None:
    async with serving(services) as server:
        url = f"127.0.0.1:{server.address[1]}/healthz"
        with pytest.raises(aiohttp.ClientConnectorError):
            await status_of(f"https://{url}", False)
        assert await status_of(f"http://{url}") == 200


async def test_connections_beyond_the_cap_are_closed(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "MOST_CONNECTIONS", 4)
    async with serving(services) as server:
        opened = [await asyncio.open_connection("127.0.0.1", server.address[1]) for _ in range(8)]
        closed = await end_of(opened[-1][0])
        for _reader, writer in opened:
            writer.close()

    assert closed == b""


async def test_stopping_closes_waiting_and_idle_connections(services: Services) -> None:
    async with serving(services) as server:
        waiting, _ = first = await asyncio.open_connection("127.0.0.1", server.address[1])
        idle, writer = second = await asyncio.open_connection("127.0.0.1", server.address[1])
        writer.write(f"GET /healthz HTTP/1.1\r\nHost: localhost:{server.address[1]}\r\n\r\n".encode())
        assert (await idle.readuntil(b"ok"))[:15] == b"HTTP/1.1 200 OK"

    assert await end_of(waiting) == b""
    assert b"HTTP" not in await end_of(idle)
    for _reader, writer in (first, second):
        writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", server.address[1])


async def test_a_server_that_never_started_stops(services: Services) -> None:
    await ApiServer(create_app(services)).stop()


async def test_a_failed_accept_does_not_end_the_server(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    accept, failures = loop.sock_accept, [OSError(errno.EMFILE, "Too many open files")]

    async def sometimes(listening: socket.socket) -> tuple[socket.socket, Any]:
        if failures:
            raise failures.pop()
        return await accept(listening)

    monkeypatch.setattr(loop, "sock_accept", sometimes)
    async with serving(services) as server:
        assert await status_of(f"http://127.0.0.1:{server.address[1]}/healthz") == 200
    assert not failures
