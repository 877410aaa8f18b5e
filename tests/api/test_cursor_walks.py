"""Whoever walks through alerts page by page sees each once, whatever is raised and resolved meanwhile."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerting.finding import Action, AlertKind, Finding, Occurrence, Severity, Subject, Taken
from api.services import Services
from tests.support.house import House

START = datetime(2026, 3, 10, 12, tzinfo=UTC)
STEPS = st.lists(st.one_of(st.just("page"), st.integers(1, 3), st.tuples(st.just("resolve"), st.integers(0, 30))), max_size=12)

type Walk = Callable[[House, Any, int, bool], Awaitable[tuple[list[int], Any]]]
"""Return the numbers of one page, and where the next begins (None: that was the last)."""


async def by_number(house: House, at: Any, size: int, is_open: bool) -> tuple[list[int], Any]:  # noqa: FBT001  # the same for each
    page = await house.services.alerts.list(dismissed=False if is_open else None, limit=size, after=at)
    return [alert.seq for alert in page], page[-1].seq if len(page) == size else None


async def by_cursor(house: House, at: Any, size: int, is_open: bool) -> tuple[list[int], Any]:  # noqa: FBT001  # the same
    query = {"limit": str(size), **({"status": "open"} if is_open else {}), **({"cursor": at} if at else {})}
    status, page = await house.ask("GET", "/v1/alerts", params=query)
    assert status == 200, page
    assert page["has_more"] == (page["next_cursor"] is not None)
    return [one["metadata"]["tokens"] for one in page["items"]], page["next_cursor"]


def occurrence(number: int, at: datetime) -> Occurrence:
    finding = Finding(
        kind=AlertKind.PROMPT_SIZE,
        action=Action.ALERT,
        severity=Severity.MEDIUM,
        title="t",
        message="m",
        episode=(str(number),),
        subject=Subject(user="ann"),
        evidence={"tokens": number},
    )
    return Occurrence(finding=finding, taken=Taken.ALERTED, at=at)


class Walker:
    """Raises, resolves and walks."""

    def __init__(self, house: House, walk: Walk, *, size: int, is_open: bool) -> None:
        self.house, self.walk, self.size, self.is_open = house, walk, size, is_open
        self.time, self.number = START, 0
        self.resolved: set[int] = set()
        self.seen: list[int] = []
        self.position: Any = None

    async def raise_some(self, count: int) -> None:
        for _ in range(count):
            self.number += 1
            self.time += timedelta(microseconds=self.number % 3)  # some of one moment
            await self.house.services.alerts.record([occurrence(self.number, self.time)])

    async def resolve(self, number: int) -> None:
        await self.house.services.alerts.resolve(number, actor="x", feed=None)
        self.resolved.add(number)

    async def page(self) -> bool:
        numbers, self.position = await self.walk(self.house, self.position, self.size, self.is_open)
        self.seen += numbers
        return self.position is not None


@pytest.mark.parametrize("walk", [by_number, by_cursor])
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, first=st.integers(0, 9), size=st.integers(1, 4), is_open=st.booleans())
def test_each_is_seen_once(services: Services, walk: Walk, steps: list[Any], first: int, size: int, is_open: bool) -> None:  # noqa: FBT001
    async def walked(folder: Path) -> None:
        house = await House.open(folder, template=services, now=lambda: START)
        try:
            walker = Walker(house, walk, size=size, is_open=is_open)
            await walker.raise_some(first)
            more = await walker.page()
            for step in steps:
                if step == "page" and more:
                    more = await walker.page()
                elif isinstance(step, int):
                    await walker.raise_some(step)
                elif isinstance(step, tuple) and walker.number:
                    await walker.resolve(1 + step[1] % walker.number)
            while more:
                more = await walker.page()
        finally:
            await house.close()

        assert walker.seen == sorted(set(walker.seen), reverse=True)
        assert max(walker.seen, default=0) <= first
        expected = set(range(1, first + 1)) - (walker.resolved if is_open else set())
        assert expected <= set(walker.seen)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(walked(Path(folder)))
