"""A receiver of webhooks on loopback: a real server that keeps what it gets and answers as a test says."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class Got:
    """One request, as it came."""

    headers: dict[str, str]
    body: bytes
    path: str


@dataclass
class Receiver:
    """Answers 204, or what the test put into `answers`: a status, or a status with headers."""

    url: str = ""
    got: list[Got] = field(default_factory=list)
    answers: list[int | tuple[int, dict[str, str]]] = field(default_factory=list)
    arrived: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    hangs: bool = False

    async def handle(self, request: web.Request) -> web.Response:
        self.got.append(Got(dict(request.headers), await request.read(), request.path_qs))
        self.arrived.release()
        if self.hangs:
            await asyncio.sleep(30)
        status, headers = 204, {}
        if self.answers:
            answer = self.answers.pop(0)
            status, headers = answer if isinstance(answer, tuple) else (answer, {})
        return web.Response(status=status, headers=headers)

    async def gets(self, number: int) -> list[Got]:
        """Wait for so many requests."""
        async with asyncio.timeout(10):
            for _ in range(number):
                await self.arrived.acquire()
        return self.got


@asynccontextmanager
async def receiving(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    receiver.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()
