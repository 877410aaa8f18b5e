"""What the gateway notices of its own clock and loop."""

import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from tollwatch.health import ClockWatch, PricesWatch


class Heard:
    """Remembers what was raised and ended."""

    def __init__(self) -> None:
        self.said: list[tuple[str, ...]] = []
        self.anything = asyncio.Event()

    def degraded(self, component: str, message: str) -> None:
        self.said.append((component, message))

    def recovered(self, component: str) -> None:
        self.said.append((component,))
        self.anything.set()


def watch(heard: Heard) -> ClockWatch:
    return ClockWatch(lambda: heard, now=lambda: datetime.now(UTC))


@pytest.mark.parametrize("jump", [3600, -3600])
def test_a_jump_of_the_clock_is_raised(jump: int) -> None:
    heard = Heard()

    watch(heard).measured(slept=1.0, passed=timedelta(seconds=1 + jump))

    ((component, message),) = heard.said
    assert component == "clock"
    assert f"{jump:+d} s" in message


def test_a_steady_clock_is_well() -> None:
    heard = Heard()

    watch(heard).measured(slept=1.0, passed=timedelta(seconds=1.2))

    assert heard.said == [("clock",)]


def test_a_pause_of_the_loop_is_logged() -> None:
    with capture_logs() as lines:
        watch(Heard()).measured(slept=2.0, passed=timedelta(seconds=2))

    assert lines == [{"event": "event_loop_lag", "log_level": "warning", "seconds": 1.0}]


async def test_it_watches_once_a_second() -> None:
    heard = Heard()

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        running = group.create_task(watch(heard).run())
        await heard.anything.wait()
        running.cancel()

    assert heard.said == [("clock",)]


@pytest.mark.parametrize(("days", "said"), [(60, ("prices",)), (61, ("prices", "61 days old"))])
async def test_prices_of_more_than_sixty_days_are_told(days: int, said: tuple[str, ...]) -> None:
    heard, as_of = Heard(), date(2026, 1, 1)
    today = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=days)

    await PricesWatch(lambda: heard, as_of=as_of, version="1.2", now=lambda: today).check()

    ((component, *message),) = heard.said
    assert component == said[0]
    assert all(part in message[0] for part in said[1:])
