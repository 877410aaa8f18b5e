"""A call that must be blocked: sent through the forward door at start-up, before the gateway says ready."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

from metering.providers.catalog import CANARY_HOST
from proxy.ca import CERTIFICATE_FILE
from proxy.refusal import CALL_HEADER

_BODY = b'{"model":"tollwatch-canary","messages":[{"role":"user","content":"canary"}],"max_tokens":1}'
_SECONDS = 10


class CanaryFailed(Exception):  # noqa: N818  # it says what happened
    """The gateway did not block what it must block. The message says what came instead."""


async def probe_canary(forward: tuple[str, int], ca_dir: Path, *, tried_to_leave: Callable[[], bool]) -> str:
    """Return the id of the blocked canary call. Raises CanaryFailed when it was not blocked, or when a connection for it was tried."""
    try:
        async with asyncio.timeout(_SECONDS):
            status, headers = await _ask(forward, ca_dir)
    except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
        raise CanaryFailed(
            f"The start-up canary got no answer through the forward door ({type(error).__name__}: {error}); the gateway does not start"
        ) from error
    call_id = headers.get(CALL_HEADER.decode())
    if tried_to_leave():
        raise CanaryFailed("The start-up canary was not held: a connection to its host was tried; the gateway does not start")
    if status != 403 or call_id is None:
        raise CanaryFailed(f"The start-up canary was answered {status} instead of being refused with 403; the gateway does not start")
    return call_id


async def _ask(forward: tuple[str, int], ca_dir: Path) -> tuple[int, dict[str, str]]:
    reader, writer = await asyncio.open_connection(*forward)
    try:
        writer.write(f"CONNECT {CANARY_HOST}:443 HTTP/1.1\r\nHost: {CANARY_HOST}:443\r\n\r\n".encode())
        status, headers = await _head(reader)
        if status != 200:
            return status, headers
        context = ssl.create_default_context(cafile=str(ca_dir / CERTIFICATE_FILE))
        await writer.start_tls(context, server_hostname=CANARY_HOST)
        head = (
            "POST /v1/chat/completions HTTP/1.1",
            f"Host: {CANARY_HOST}",
            "Content-Type: application/json",
            f"Content-Length: {len(_BODY)}",
        )
        writer.write("\r\n".join((*head, "", "")).encode() + _BODY)
        return await _head(reader)
    finally:
        writer.close()


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, colon, value in (line.partition(":") for line in lines[1:]) if colon}
    return int(lines[0].split(" ", 2)[1]), headers
