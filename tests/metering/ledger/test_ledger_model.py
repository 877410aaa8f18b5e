"""Whatever the order of admissions, settlements, refusals and crashes: the sums of the budget hold."""

import asyncio
import itertools
import tempfile
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from metering.budgets import Budget
from metering.call import Call, Caller, Consumption, Door, Ending, Endpoint, Reply
from metering.charges import charge
from metering.ledger import Denied, Granted, Hold, Intent, Ledger, Settlement
from metering.reading import Reading, Source
from metering.settings import BudgetSettings
from storage.ids import uuid7
from storage.sqlite import SqliteDatabase

START = datetime(2026, 3, 29, tzinfo=UTC)
LIMIT = 1_000


class Accounts(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.at = START
        self.numbers = itertools.count()
        self.budget = Budget(BudgetSettings(name="b", limit=f"{LIMIT} tokens", period="hour"))
        self.soft = Budget(BudgetSettings(name="s", limit="0.0000001 USD", on_exceed="alert"))
        self.open: dict[str, tuple[Call, tuple[Hold, ...]]] = {}
        self.charged = {"b": 0, "s": 0}
        self.database = self.run(lambda: SqliteDatabase.open(Path(self.folder.name) / "model.db"))
        self.start_ledger()

    def run[T](self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return self.runner.run(work())

    def start_ledger(self) -> None:
        self.ledger = Ledger(self.database, instance="m", now=lambda: self.at, on_settled=lambda _: None, budgets=(self.budget, self.soft))

    def call(self) -> Call:
        at = START + timedelta(milliseconds=next(self.numbers))
        return Call(
            id=str(uuid7(at)), started_at=at, door=Door.FORWARD, provider="p", service="p", operation="chat", endpoint=Endpoint.CHAT,
            wire_format=None, consumption=Consumption.METERED, method="POST", host="h", path="/", model="m", streamed=False,
            caller=Caller(), request_bytes=1,
        )  # fmt: skip

    @rule(amounts=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 3)), min_size=1, max_size=6))
    def admit_together(self, amounts: list[tuple[int, int]]) -> None:
        intents = []
        for amount, which in amounts:
            holds = (Hold(self.budget, amount),) if which else ()
            holds += (Hold(self.soft, amount, hard=False),) if which != 1 else ()
            intents.append(Intent(call=self.call(), verdict="allow", holds=holds))

        async def admit() -> list[Granted | Denied]:
            return await asyncio.gather(*map(self.ledger.admit, intents))

        for intent, answer in zip(intents, self.run(admit), strict=True):
            if isinstance(answer, Granted):
                self.open[intent.call.id] = intent.call, intent.holds
            else:
                assert answer.state.spent + answer.state.held + answer.needed > LIMIT

    @rule(count=st.integers(1, 4), cost=st.one_of(st.none(), st.integers(0, 700)), source=st.sampled_from(Source), repeat=st.booleans())
    def settle_some(self, count: int, cost: int | None, source: Source, *, repeat: bool) -> None:
        reading = Reading(source=source, cost_nano=cost)
        reply = Reply(ending=Ending.COMPLETED, status=200, first_byte_at=None, ended_at=self.at, response_bytes=0)

        async def settle() -> None:
            for call_id in list(self.open)[:count]:
                call, holds = self.open.pop(call_id)
                for hold in holds:
                    self.charged[hold.budget.id] += charge(hold.budget, hold.amount, reading)[0]
                for _ in range(1 + repeat):
                    self.ledger.settle(Settlement(call, reply, reading))
            await self.ledger.drain()

        self.run(settle)

    @rule()
    def refuse(self) -> None:
        self.run(lambda: self.ledger.refuse(self.call(), rule_id=None, status=403))

    @rule()
    def crash(self) -> None:
        self.start_ledger()
        assert self.run(self.ledger.recover) == len(self.open)
        for _call, holds in self.open.values():
            for hold in holds:
                self.charged[hold.budget.id] += hold.amount
        self.open.clear()

    @rule(minutes=st.integers(-90, 90))
    def clock_jumps(self, minutes: int) -> None:
        self.at += timedelta(minutes=minutes)

    @invariant()
    def the_sums_hold(self) -> None:
        held = {"b": 0, "s": 0}
        for _call, holds in self.open.values():
            for hold in holds:
                held[hold.budget.id] += hold.amount

        async def look() -> list[Any]:
            return [
                await self.database.read("SELECT budget_id, SUM(spent), SUM(held) FROM budget_periods GROUP BY 1"),
                await self.database.read("SELECT count(*) FROM budget_periods WHERE spent < 0 OR held < 0"),
                await self.database.read("SELECT count(*) FROM budget_history WHERE event = 'hold' AND spent + held > \"limit\""),
                await self.database.read("SELECT count(*) FROM calls WHERE state = 'intent'"),
            ]

        sums, negative, overdrawn, open_rows = self.run(look)
        for budget_id, spent, still_held in sums:
            assert (spent, still_held) == (self.charged[budget_id], held[budget_id])
        assert negative == overdrawn == [(0,)]
        assert open_rows == [(len(self.open),)]

    def teardown(self) -> None:
        self.run(self.database.close)
        self.runner.close()
        self.folder.cleanup()


Accounts.TestCase.settings = settings(max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
TestAccounts = Accounts.TestCase
