"""A load client that costs next to nothing: prepared requests over keep-alive connections, answers only measured."""

import asyncio
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

_END = b"0\r\n\r\n"
_HEAD, _CHUNKED = -2, -1


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one call: to the first byte of the body, and to its end."""

    first: float
    total: float


class Wire(asyncio.Protocol):
    """One keep-alive connection; one call at a time."""

    @classmethod
    async def to(cls, address: tuple[str, int], tls: ssl.SSLContext | None = None) -> Self:
        """Connect, with TLS for `localhost` when told how to trust it."""
        loop = asyncio.get_running_loop()
        _, wire = await loop.create_connection(cls, *address, ssl=tls, server_hostname="localhost" if tls else None)
        return wire

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # a stream transport
        self._answer: asyncio.Future[Timing] | None = None

    async def call(self, request: bytes) -> Timing:
        """Send one request; return once its answer has ended. Raise when it is no 200."""
        self._answer = asyncio.get_running_loop().create_future()
        self._buffer, self._length, self._first = bytearray(), _HEAD, 0.0
        self._started = time.perf_counter()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Leave."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take in a piece of the answer."""
        self._buffer += data
        if self._answer is None or self._answer.done() or (self._length == _HEAD and not self._head()):
            return
        if not self._first and self._buffer:
            self._first = time.perf_counter()
        if self._buffer.endswith(_END) if self._length == _CHUNKED else len(self._buffer) >= self._length:
            self._answer.set_result(Timing(first=self._first - self._started, total=time.perf_counter() - self._started))
        elif self._length == _CHUNKED:
            del self._buffer[:-8]

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._answer is None:
            return False
        head = bytes(self._buffer[: end + 2]).lower()
        if not head.startswith(b"http/1.1 200"):
            self._answer.set_exception(RuntimeError(f"not a 200: {bytes(self._buffer)!r}"))
        del self._buffer[: end + 4]
        at = head.find(b"content-length: ")
        self._length = _CHUNKED if at < 0 else int(head[at + 16 : head.index(b"\r\n", at)])
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the call that was open."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError(f"the connection was lost: {exc}"))


async def flood(wires: Sequence[Wire], requests: Iterator[bytes]) -> list[Timing]:
    """Make all calls as fast as the connections allow."""
    timings: list[Timing] = []

    async def one(wire: Wire) -> None:
        for request in requests:
            timings.append(await wire.call(request))  # noqa: PERF401  # the list is shared

    async with asyncio.TaskGroup() as tasks:
        for wire in wires:
            tasks.create_task(one(wire))
    return timings


async def paced(wires: Sequence[Wire], requests: Iterator[bytes], *, per_second: float) -> list[Timing]:
    """Make calls at a fixed rate, each at its own moment whatever the others do."""
    idle = list(wires)
    timings: list[Timing] = []

    async def one(request: bytes) -> None:
        wire = idle.pop()
        timings.append(await wire.call(request))
        idle.append(wire)

    async with asyncio.TaskGroup() as tasks:
        for request in requests:
            tasks.create_task(one(request))
            await asyncio.sleep(1 / per_second)
    return timings
