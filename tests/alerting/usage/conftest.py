"""Usage alerts over a real ledger, store and book, on a clock that the test moves."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from alerting.book import AlertBook
from alerting.settings import AlertingSettings
from alerting.usage_alert import UsageAlert
from alerting.usage_alerts import UsageAlerts
from alerting.usage_settings import UsageAlertSettings
from alerting.usage_watch import Firing, UsageWatch
from metering.budgets import Budget, BudgetBook
from metering.call import Call, Caller, Consumption, Door, Ending, Endpoint, Reply
from metering.ledger import Hold, Intent, Ledger, Settled, Settlement
from metering.reading import Reading, Source
from metering.rollups import roll_up
from metering.settings import BudgetSettings
from metering.units import NANO
from storage.ids import uuid7
from storage.sqlite import SqliteDatabase

NOON = datetime(2026, 3, 11, 12, 0, tzinfo=UTC)
"""A Wednesday."""


@dataclass
class Clock:
    """Tells the time that the test gives it."""

    time: datetime = NOON

    def __call__(self) -> datetime:
        return self.time


@dataclass
class Desk:
    """All that fires usage alerts. What is made here is settled at once, at the clock's time."""

    database: SqliteDatabase
    clock: Clock
    budgets: tuple[Budget, ...] = ()
    alerting: AlertingSettings = field(default_factory=AlertingSettings)

    def __post_init__(self) -> None:
        self.start()

    def start(self, *file: UsageAlertSettings) -> None:
        """Begin anew on the same store, as after a restart."""
        self.book = AlertBook(self.database, org_id="org", settings=self.alerting, now=self.clock)
        self.alerts = UsageAlerts(self.database, file=file, where="its `usage_alerts` section", now=self.clock)
        self.watch = UsageWatch(
            self.database, self.book, self.alerts, budgets=self.budgets, expire_after=timedelta(hours=24), now=self.clock
        )
        self.ledger = Ledger(self.database, instance="here", now=self.clock, on_settled=self._settled, budgets=self.budgets)

    def _settled(self, settled: Sequence[Settled]) -> None:
        self.watch.settled(settled)

    def budget(self, *budgets: Budget) -> None:
        """Have other budgets from now on."""
        self.budgets = budgets
        self.watch.follow(budgets)

    async def alert(self, kind: str, threshold: float | None = None, period: str = "day", **more: Any) -> UsageAlert:
        settings = UsageAlertSettings.model_validate({"name": f"my {kind}", "type": kind, "threshold": threshold, "period": period, **more})
        return await self.alerts.create(settings, actor="test")

    async def begin(self, *, at: datetime | None = None, hold: int = 0, **changes: Any) -> Call:
        """Admit a call that stays open."""
        moment = at or self.clock()
        values: dict[str, Any] = {
            "id": str(uuid7(moment)),
            "started_at": moment,
            "door": Door.FORWARD,
            "provider": "openai",
            "service": "openai",
            "operation": "chat",
            "endpoint": Endpoint.CHAT,
            "wire_format": "openai.chat",
            "consumption": Consumption.METERED,
            "method": "POST",
            "host": "api.openai.com",
            "path": "/v1/chat/completions",
            "model": "gpt-4o",
            "streamed": False,
            "caller": Caller(),
            "request_bytes": 100,
        }
        call = Call(**{**values, **changes})
        holds = tuple(Hold(budget, hold, hard=False) for budget in self.budgets)
        await self.ledger.admit(Intent(call=call, verdict="allow", holds=holds, hold_nano=hold))
        return call

    async def end(
        self,
        call: Call,
        *,
        usd: float | None = 0.0,
        status: int | None = 200,
        ending: Ending = Ending.COMPLETED,
        took: timedelta = timedelta(seconds=1),
    ) -> None:
        reply = Reply(ending=ending, status=status, first_byte_at=None, ended_at=call.started_at + took, response_bytes=1)
        cost = None if usd is None else round(usd * NANO)
        source = Source.PROVIDER_REPORTED if usd is not None else Source.UNPRICED
        self.ledger.settle(Settlement(call, reply, Reading(source=source, cost_nano=cost)))
        await self.ledger.drain()

    async def call(
        self, *, number: int = 1, at: datetime | None = None, hold: int = 0, request: dict[str, Any] | None = None, **more: Any
    ) -> None:
        """Make calls that are settled at once."""
        for _ in range(number):
            await self.end(await self.begin(at=at, hold=hold, **(request or {})), **more)

    async def look(self, **later: float) -> list[Firing]:
        """Look at the usage alerts, after a while."""
        self.clock.time += timedelta(**later)
        return await self.watch.evaluate()

    async def roll_up(self) -> None:
        await roll_up(self.database, now=self.clock())


type OpenDesk = Callable[..., Any]


@asynccontextmanager
async def open_desk(folder: Path, **more: Any) -> AsyncIterator[Desk]:
    database = await SqliteDatabase.open(folder / "tollwatch.db")
    desk = Desk(database, Clock(), **more)
    try:
        yield desk
        await desk.ledger.drain()
    finally:
        await database.close()


@pytest.fixture
def desk_of() -> OpenDesk:
    return open_desk


@pytest.fixture
def budgets() -> tuple[Budget, ...]:
    return ()


@pytest.fixture
async def desk(tmp_path: Path, budgets: tuple[Budget, ...]) -> AsyncIterator[Desk]:
    async with open_desk(tmp_path, budgets=budgets) as opened:
        yield opened


@pytest.fixture
def budgets_of() -> Callable[..., tuple[Budget, ...]]:
    def make(*settings: dict[str, Any]) -> tuple[Budget, ...]:
        return BudgetBook([BudgetSettings.model_validate(one) for one in settings]).all

    return make
