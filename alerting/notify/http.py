"""Sending a body to a URL: no redirects, no proxies of the environment, no address that was not looked at."""

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import cast
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from alerting.notify.addresses import AddressGuard, ForbiddenAddressError, UrlError
from alerting.notify.channel import Result
from metering.retry_after import retry_after

_CONNECTIONS = 32
_LOOK_SECONDS = 3.0


class _GuardedResolver(AbstractResolver):
    """Resolves a name for the connection that is made next, and refuses it when any of its addresses is forbidden."""

    def __init__(self, guard: AddressGuard, *, scheme: str) -> None:
        self._guard = guard
        self._scheme = scheme

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """Return the addresses, which are connected to as they are here. Raises ForbiddenAddressError, OSError."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        addresses = [cast("tuple[str, int]", address[:2]) for *_, address in found]
        for address, _port in addresses:
            self._guard.check(address, scheme=self._scheme)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address, port in addresses
        ]

    async def close(self) -> None:
        """Hold nothing."""


class Poster:
    """Posts JSON bodies. `aclose` ends its connections."""

    def __init__(self, guard: AddressGuard, *, timeout: timedelta, tls: ssl.SSLContext | None = None) -> None:
        self._guard = guard
        self._timeout = timeout
        self._tls = tls
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Result:
        """Send once. Only an answer of 2xx is a success; whatever else happens is a result with its reason."""
        try:
            self._guard.check_url(url)
            session = self._session(urlsplit(url).scheme)
            sent = {"Content-Type": "application/json", **headers}
            async with session.post(url, data=body, headers=sent, allow_redirects=False) as response:
                return _result(response)
        except (UrlError, ForbiddenAddressError) as error:
            return Result(error=str(error))
        except TimeoutError:
            return Result(error=f"no answer within {self._timeout.total_seconds():g} seconds")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Result(error=_told(error))

    async def look(self, url: str) -> None:
        """Pass a URL that may be posted to as far as is known now. Raises UrlError, ForbiddenAddressError.

        A name that cannot be resolved passes: where it leads is looked at again whenever something is sent.
        """
        self._guard.check_url(url)
        parts = urlsplit(url)
        with suppress(OSError, UnicodeError):  # a timeout is an OSError, too
            async with asyncio.timeout(_LOOK_SECONDS):
                resolver = _GuardedResolver(self._guard, scheme=parts.scheme)
                await resolver.resolve(parts.hostname or "", parts.port or 0, socket.AF_UNSPEC)

    async def aclose(self) -> None:
        """End all connections."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    def _session(self, scheme: str) -> aiohttp.ClientSession:
        if scheme not in self._sessions:
            connector = aiohttp.TCPConnector(
                resolver=_GuardedResolver(self._guard, scheme=scheme),
                use_dns_cache=False,  # each message goes where its name leads now
                force_close=True,  # a connection that the receiver closed meanwhile would fail the next message
                limit=_CONNECTIONS,
                ssl=self._tls or ssl.create_default_context(),
            )
            self._sessions[scheme] = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=self._timeout.total_seconds()),
                headers={"User-Agent": "tollwatch-webhooks"},
                auto_decompress=False,
                trust_env=False,  # a proxy of the environment may be this very gateway
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._sessions[scheme]


def _result(response: aiohttp.ClientResponse) -> Result:
    status = response.status
    if 200 <= status < 300:
        return Result(status=status)
    asked = retry_after(response.headers, at=datetime.now(UTC))
    if status == 410:
        return Result(error="the receiver answered 410: it wants no more", status=status, final=True)
    if 300 <= status < 400:
        return Result(error=f"the receiver answered {status}: redirects are not followed, set the final URL", status=status)
    return Result(error=f"the receiver answered {status}", status=status, retry_after=asked)


def _told(error: BaseException) -> str:
    """Say what went wrong; a refused address is somewhere in the chain of causes."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ForbiddenAddressError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the receiver's certificate is not good: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return "no TLS with the receiver: it may speak plain http, or a version of TLS that is too old"
    if isinstance(error, aiohttp.ClientConnectorError):
        fault = error.os_error
        return f"no connection: {os.strerror(fault.errno) if fault.errno and fault.errno > 0 else fault.strerror or type(fault).__name__}"
    return f"the exchange broke off: {type(error).__name__}"
