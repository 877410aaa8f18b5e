"""The gateway's watch over its own event loop, its clock and the age of its prices."""

import asyncio
import time
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Protocol

import structlog

_log = structlog.get_logger(__name__)

LAG_SECONDS = 0.25
"""A pause of the event loop that callers feel."""
JUMP = timedelta(seconds=60)
OLDEST_PRICES = timedelta(days=60)
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


class PricesWatch:
    """Says when the price tables have grown old: a model that came since has no price, and a price may have changed."""

    def __init__(self, alarm: Callable[[], Alarm], *, as_of: date, version: str, now: Callable[[], datetime]) -> None:
        self._alarm = alarm
        self._as_of = as_of
        self._version = version
        self._now = now

    async def check(self) -> None:
        """Judge the age of the tables."""
        age = self._now().date() - self._as_of
        if age <= OLDEST_PRICES:
            self._alarm().recovered("prices")
            return
        _log.warning("prices_old", version=self._version, as_of=self._as_of.isoformat(), days=age.days)
        self._alarm().degraded(
            "prices",
            f"The price tables (genai-prices {self._version}) are of {self._as_of}, {age.days} days old; costs may be wrong and new models "
            "unpriced. Install a newer tollwatch, or write prices under pricing.overrides.",
        )
