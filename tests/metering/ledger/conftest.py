"""A real ledger over a real SQLite file, with a clock that the test moves."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from metering.budgets import Budget, BudgetBook
from metering.call import Call
from metering.ledger import Hold, Intent, Ledger, Settled, Settlement
from metering.reading import Reading, Source
from metering.settings import BudgetSettings
from metering.usage import Usage
from storage.database import Row, Sql, StoreError, Work
from storage.ids import uuid7
from storage.sqlite import SqliteDatabase

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)


@dataclass
class Clock:
    at: datetime = NOON

    def __call__(self) -> datetime:
        return self.at


@dataclass
class Bench:
    """What a test of the ledger needs at hand."""

    ledger: Ledger
    database: SqliteDatabase
    clock: Clock
    budgets: dict[str, Budget]
    make_call: Callable[..., Call]
    make_reply: Callable[..., Any]
    settled: list[Settled] = field(default_factory=list)
    written: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with each batch of settlements."""
    health: list[StoreError | None] = field(default_factory=list)
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def call(self, **changes: Any) -> Call:
        at = self.clock() + timedelta(milliseconds=next(self.numbers))
        return self.make_call(**{"id": str(uuid7(at)), "started_at": at, **changes})

    def hold(self, amount: int, budget: str = "hard", *, hard: bool = True) -> Hold:
        return Hold(self.budgets[budget], amount, hard)

    def intent(self, *holds: Hold, call: Call | None = None, **changes: Any) -> Intent:
        return Intent(call=call or self.call(), verdict="allow", holds=holds, hold_nano=sum(hold.amount for hold in holds), **changes)

    def settle(self, call: Call, cost: int | None = 0, *, source: Source = Source.PROVIDER_REPORTED, **usage: int) -> None:
        self.ledger.settle(Settlement(call, self.make_reply(), Reading(source=source, usage=Usage(**usage), cost_nano=cost)))

    async def history(self, columns: str = "event, amount, spent, held") -> list[Row]:
        return await self.database.read(f"SELECT {columns} FROM budget_history ORDER BY seq")  # noqa: S608 - columns of the test itself

    async def spent_held(self, budget: str = "hard") -> tuple[object, ...]:
        rows = await self.database.read("SELECT SUM(spent), SUM(held) FROM budget_periods WHERE budget_id = ?", (budget,))
        return rows[0]

    async def pragma(self, text: str) -> None:
        def work() -> Work[None]:
            yield Sql(f"PRAGMA {text}")

        await self.database.write(work)

    def another_ledger(self, *budgets: Budget) -> Ledger:
        """The ledger of the next start, on the same store."""
        known = budgets or tuple(self.budgets.values())
        return Ledger(self.database, instance="next", now=self.clock, on_settled=self.settled.extend, budgets=known)


@pytest.fixture
def settings() -> Sequence[BudgetSettings]:
    return [
        BudgetSettings(name="hard", limit="0.000001 USD"),  # 1,000 nano-dollars
        BudgetSettings(name="second", limit="0.0000005 USD", period="hour"),
        BudgetSettings(name="tokens", limit="1000 tokens"),
    ]


@pytest.fixture
async def bench(tmp_path: Path, settings: Sequence[BudgetSettings], make_call: Any, make_reply: Any) -> AsyncIterator[Bench]:
    database = await SqliteDatabase.open(tmp_path / "ledger.db")
    clock = Clock()
    book = BudgetBook(settings)
    settled: list[Settled] = []
    health: list[StoreError | None] = []
    written = asyncio.Event()

    def on_settled(batch: Sequence[Settled]) -> None:
        settled.extend(batch)
        written.set()

    ledger = Ledger(database, instance="here", now=clock, on_settled=on_settled, budgets=book.all, on_health=health.append)
    yield Bench(ledger, database, clock, {budget.id: budget for budget in book.all}, make_call, make_reply, settled, written, health)
    await database.close()
