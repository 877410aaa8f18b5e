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
from metering.ledger import Denied, Granted, Hold, Intent, Ledger, Settlement, TopUp
from metering.reading import Reading, Source
from metering.settings import BudgetSettings
from metering.usage import Usage
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
        self.budget = Budget(BudgetSettings(name="b", limit=f"{LIMIT} tokens", period="month", wait="5m"))
        self.soft = Budget(BudgetSettings(name="s", limit="0.0000001 USD", on_exceed="alert", period="hour"))
        self.open: dict[str, tuple[Call, dict[str, int]]] = {}
        """What each open call holds of each budget."""
        self.waiting: dict[str, tuple[Intent, asyncio.Task[Granted | Denied]]] = {}
        """The calls that wait, in the order they came."""
        self.asked: set[str] = set()
        """The running calls that wait for more."""
        self.charged = {"b": 0, "s": 0}
        self.overshoot = {"b": 0, "s": 0}
        self.database = self.run(lambda: SqliteDatabase.open(Path(self.folder.name) / "model.db"))
        self.start_ledger()

    def run[T](self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return self.runner.run(work())

    def start_ledger(self) -> None:
        self.ledger = Ledger(self.database, instance="m", now=lambda: self.at, on_settled=lambda _: None, budgets=(self.budget, self.soft))

    async def settle_down(self) -> None:
        """Let the ledger do all that is due, and take in which of those who wait have their answer."""
        for _ in range(5):
            await self.ledger.drain()
            await asyncio.sleep(0)
        for call_id, (intent, task) in list(self.waiting.items()):
            if not task.done():
                continue
            del self.waiting[call_id]
            if not task.cancelled():
                self.answered(intent, task.result())

    def answered(self, intent: Intent, answer: Granted | Denied) -> None:
        if isinstance(answer, Granted):
            held = {hold.budget.id: amount for hold, amount in zip(intent.holds, answer.amounts, strict=True)}
            assert all(hold.amount - hold.flex <= held[hold.budget.id] <= hold.amount for hold in intent.holds)
            self.open[intent.call.id] = intent.call, held
        elif answer.hopeless:
            assert self.charged["b"] + answer.needed > LIMIT
        else:
            assert answer.state.spent + answer.state.held + answer.needed > LIMIT or self.waiting or self.asked  # behind those before it

    def call(self) -> Call:
        at = START + timedelta(milliseconds=next(self.numbers))
        return Call(
            id=str(uuid7(at)), started_at=at, door=Door.FORWARD, provider="p", service="p", operation="chat", endpoint=Endpoint.CHAT,
            wire_format=None, consumption=Consumption.METERED, method="POST", host="h", path="/", model="m", streamed=False,
            caller=Caller(), request_bytes=1,
        )  # fmt: skip

    def intent(self, amount: int, which: int, flex: int) -> Intent:
        flex = min(flex, amount)
        holds = (Hold(self.budget, amount, flex=flex),) if which else ()
        holds += (Hold(self.soft, amount, hard=False),) if which != 1 else ()
        return Intent(call=self.call(), verdict="allow", holds=holds, quantum=flex)

    @rule(amounts=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 3), st.integers(0, 300)), min_size=1, max_size=6))
    def admit_together(self, amounts: list[tuple[int, int, int]]) -> None:
        intents = [self.intent(*each) for each in amounts]

        async def admit() -> list[Granted | Denied]:
            return await asyncio.gather(*map(self.ledger.admit, intents))

        for intent, answer in zip(intents, self.run(admit), strict=True):
            self.answered(intent, answer)

    @rule(amount=st.integers(1, 1_200), which=st.integers(1, 3), flex=st.integers(0, 300))
    def admit_patiently(self, amount: int, which: int, flex: int) -> None:
        intent = self.intent(amount, which, flex)

        async def wait() -> None:
            task = asyncio.ensure_future(self.ledger.admit(intent, patient=True))
            self.waiting[intent.call.id] = intent, task
            await asyncio.sleep(0)
            await self.settle_down()

        self.run(wait)

    @rule(position=st.integers(0, 5), by_client=st.booleans())
    def leave(self, position: int, *, by_client: bool) -> None:
        async def go() -> None:
            if position < len(self.waiting):
                call_id = list(self.waiting)[position]
                if by_client:
                    self.ledger.leave(call_id)
                    await asyncio.sleep(0)
                    _intent, task = self.waiting.pop(call_id)
                    assert isinstance(await task, Denied)
                else:
                    self.waiting[call_id][1].cancel()
                    await asyncio.sleep(0)
            await self.settle_down()

        self.run(go)

    @rule(position=st.integers(0, 5), amount=st.integers(1, 400), back=st.integers(0, 300), ends=st.booleans())
    def top_up(self, position: int, amount: int, back: int, *, ends: bool) -> None:
        """Ask for more for a running call, which may give something back beside, and end before it is answered."""
        running = [call_id for call_id, (_call, held) in self.open.items() if "b" in held and call_id not in self.asked]
        if position >= len(running):
            return
        call, held = self.open[running[position]]
        self.asked.add(call.id)

        def on_answer(answer: Granted | Denied) -> None:
            assert call.id in self.open, "of a call that has ended nothing is told"
            if isinstance(answer, Granted):
                held["b"] += answer.amounts[0]
                assert answer.amounts[0] == -(-amount * answer.tokens // 100) <= amount
                self.asked.discard(call.id)
            elif answer.hopeless:
                self.asked.discard(call.id)

        async def ask() -> None:
            if back:
                self.ledger.give_back(call.id, {"b": back})
                held["b"] = held["b"] if ends else max(0, held["b"] - back)
            self.ledger.top_up(TopUp(call.id, {"b": amount}, 100), on_answer)
            if ends:
                self.end(call.id, Reading(source=Source.PROVIDER_REPORTED, usage=Usage(input_tokens=3, output_tokens=4), cost_nano=7))
            await self.settle_down()

        self.run(ask)

    @rule(position=st.integers(0, 5), amount=st.integers(1, 400), ends=st.booleans())
    def give_back(self, position: int, amount: int, *, ends: bool) -> None:
        """Take from what a running call holds, which may end before that is written."""
        if position >= len(self.open):
            return
        call, held = list(self.open.values())[position]

        async def give() -> None:
            self.ledger.give_back(call.id, {"b": amount, "elsewhere": 5})
            if ends:
                self.end(call.id, Reading(source=Source.PROVIDER_REPORTED, usage=Usage(input_tokens=3, output_tokens=4), cost_nano=7))
            elif "b" in held:
                held["b"] = max(0, held["b"] - amount)
            await self.settle_down()

        self.run(give)

    def end(self, call_id: str, reading: Reading, *, repeat: bool = False) -> None:
        call, held = self.open.pop(call_id)
        self.asked.discard(call_id)
        for budget_id, amount in held.items():
            charged, _event = charge(self.budget if budget_id == "b" else self.soft, amount, reading)
            self.charged[budget_id] += charged
            self.overshoot[budget_id] += max(0, charged - amount)
        reply = Reply(ending=Ending.COMPLETED, status=200, first_byte_at=None, ended_at=self.at, response_bytes=0)
        for _ in range(1 + repeat):
            self.ledger.settle(Settlement(call, reply, reading))

    @rule(count=st.integers(1, 4), cost=st.one_of(st.none(), st.integers(0, 300)), source=st.sampled_from(Source), repeat=st.booleans())
    def settle_some(self, count: int, cost: int | None, source: Source, *, repeat: bool) -> None:
        usage = Usage() if cost is None else Usage(input_tokens=cost // 2, output_tokens=cost - cost // 2)

        async def settle() -> None:
            for call_id in list(self.open)[:count]:
                self.end(call_id, Reading(source=source, usage=usage, cost_nano=cost), repeat=repeat)
            await self.settle_down()

        self.run(settle)

    @rule()
    def refuse(self) -> None:
        self.run(lambda: self.ledger.refuse(self.call(), rule_id=None, status=403))

    @rule()
    def crash(self) -> None:
        async def end() -> None:
            for _intent, task in self.waiting.values():
                task.cancel()
            await asyncio.gather(*(task for _intent, task in self.waiting.values()), return_exceptions=True)
            self.waiting.clear()

        self.run(end)
        self.start_ledger()
        assert self.run(self.ledger.recover) == len(self.open)
        for _call, held in self.open.values():
            for budget_id, amount in held.items():
                self.charged[budget_id] += amount
        self.open.clear()
        self.asked.clear()

    @rule(minutes=st.integers(-90, 90))
    def clock_jumps(self, minutes: int) -> None:
        self.at += timedelta(minutes=minutes)

    @invariant()
    def the_sums_hold(self) -> None:
        held = {"b": 0, "s": 0}
        for _call, amounts in self.open.values():
            for budget_id, amount in amounts.items():
                held[budget_id] += amount

        async def look() -> list[Any]:
            return [
                await self.database.read("SELECT budget_id, SUM(spent), SUM(held), SUM(overshoot) FROM budget_periods GROUP BY 1"),
                await self.database.read("SELECT count(*) FROM budget_periods WHERE spent < 0 OR held < 0"),
                await self.database.read(
                    "SELECT count(*) FROM budget_history WHERE event IN ('hold', 'topup') AND spent + held > \"limit\""
                ),
                await self.database.read("SELECT count(*) FROM calls WHERE state = 'intent'"),
            ]

        sums, negative, overdrawn, open_rows = self.run(look)
        for budget_id, *found in sums:
            assert found == [self.charged[budget_id], held[budget_id], self.overshoot[budget_id]]
        assert negative == overdrawn == [(0,)]
        assert open_rows == [(len(self.open),)]

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        """Who is first in the line does not fit, unless a running call that needs more comes before it."""
        held = sum(amounts.get("b", 0) for _call, amounts in self.open.values())
        first = next(iter(self.waiting.values()), None)
        if first is not None and not self.asked:
            needed = next(hold.amount for hold in first[0].holds if hold.budget is self.budget)
            assert self.charged["b"] + held + needed > LIMIT
            assert held, "nothing could come back, so it should have been denied"

    def teardown(self) -> None:
        self.crash()
        self.run(self.database.close)
        self.runner.close()
        self.folder.cleanup()


Accounts.TestCase.settings = settings(max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
TestAccounts = Accounts.TestCase
