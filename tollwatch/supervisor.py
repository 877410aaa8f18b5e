"""Long-lived services in one TaskGroup: one that fails is logged and begun again, its siblings go on."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Self

import structlog

_log = structlog.get_logger(__name__)
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 60.0


class Supervisor:
    """A context manager; leaving it ends every service."""

    def __init__(self, *, first_pause: float = _FIRST_PAUSE) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []
        self._first_pause = first_pause

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(kind, error, trace)

    def run(self, name: str, service: Callable[[], Coroutine[object, object, None]]) -> None:
        """Begin a service that runs until the end; begin it again whenever it fails or returns."""
        self._tasks.append(self._group.create_task(self._keep(name, service), name=name))

    def every(self, name: str, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
        """Do `work` now and then every so many seconds."""

        async def service() -> None:
            while True:
                await work()
                await asyncio.sleep(seconds)

        self.run(name, service)

    async def _keep(self, name: str, service: Callable[[], Coroutine[object, object, None]]) -> None:
        pause = self._first_pause
        while True:
            try:
                await service()
            except Exception:  # noqa: BLE001  # whatever a service raises ends that service alone, and is logged with its trace
                _log.exception("service_failed", service=name, again_in_seconds=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
