"""The gateway's watch over its own event loop and clock."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

import structlog

_log = structlog.get_logger(__name__)

LAG_SECONDS = 0.25
"""A pause of the event loop that callers feel."""
JUMP = timedelta(seconds=60)
_PERIOD = 1.0


class Alarm(Protocol):
    """Raises and ends `gateway_degraded`."""

    def degraded(self, component: str, message: str) -> None:
        """Say that a component does not do its work."""
        ...

    def recovered(self, component: str) -> None:
        """Say that a component is well."""
        ...


class ClockWatch:
    """Compares the wall clock and the loop with the monotonic time, once a second."""

    def __init__(self, alarm: Callable[[], Alarm], *, now: Callable[[], datetime], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._alarm = alarm
        self._now = now
        self._monotonic = monotonic

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            before, wall = self._monotonic(), self._now()
            await asyncio.sleep(_PERIOD)
            self.measured(slept=self._monotonic() - before, passed=self._now() - wall)

    def measured(self, *, slept: float, passed: timedelta) -> None:
        """Judge one pause: `slept` by the monotonic clock, `passed` by the wall clock."""
        if slept - _PERIOD > LAG_SECONDS:
            _log.warning("event_loop_lag", seconds=round(slept - _PERIOD, 3))
        jump = (passed - timedelta(seconds=slept)).total_seconds()
        if abs(jump) > JUMP.total_seconds():
            _log.error("clock_jump", seconds=round(jump))
            self._alarm().degraded(
                "clock", f"The clock jumped by {jump:+.0f} s; a call stays in the budget period that it was admitted in."
            )
            return
        self._alarm().recovered("clock")
