"""How budgets stand: from the ledger's own history, rolled up or not, and after a reset."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from metering.budget_hours import charged, roll_up_budgets
from metering.budget_reset import reset
from metering.budget_view import BudgetView, budget_views
from metering.reading import Source
from metering.settings import BudgetSettings
from storage.database import Sql


@pytest.fixture
def settings() -> Sequence[BudgetSettings]:
    return [
        BudgetSettings(name="hard", limit="0.000001 USD", warn_at=(0.5, 0.8)),  # 1,000 nano-dollars
        BudgetSettings(name="tokens", limit="1000 tokens", scope={"user": "ada"}, on_exceed="alert", timezone="Asia/Tokyo"),
    ]


async def spend(bench: Any, amount: int | None, budget: str = "hard", *, hold: int = 10) -> None:
    call = bench.call()
    await bench.ledger.admit(bench.intent(bench.hold(hold, budget), call=call))
    bench.settle(call, amount, source=Source.PROVIDER_REPORTED if amount is not None else Source.UNPRICED, input_tokens=amount or 0)
    await bench.ledger.drain()


async def view(bench: Any, budget: str = "hard") -> BudgetView:
    views = await budget_views(bench.database, await bench.ledger.budgets(), now=bench.clock())
    return next(view for view in views if view.budget.id == budget)


async def test_a_budget_shows_what_is_spent_held_and_left(bench: Any) -> None:
    await spend(bench, 550)
    await bench.ledger.admit(bench.intent(bench.hold(100)))

    shown = (await view(bench)).as_json()

    assert shown == {
        "name": "hard",
        "scope": {},
        "unit": "usd",
        "limit": "0.000001",
        "period": "day",
        "timezone": "UTC",
        "period_start": "2026-11-02T00:00:00Z",
        "period_end": "2026-11-03T00:00:00Z",
        "spent": "0.00000055",
        "held": "0.0000001",
        "overshoot": "0.00000054",
        "left": "0.00000035",
        "used": 0.55,
        "status": "warning",
        "on_exceed": "block",
        "thresholds": [
            {"share": 0.5, "amount": "0.0000005", "reached": True},
            {"share": 0.8, "amount": "0.0000008", "reached": False},
            {"share": 1.0, "amount": "0.000001", "reached": False},
        ],
        "forecast": None,
        "resets": [],
    }


async def test_a_budget_of_tokens_counts_in_tokens_on_its_own_calendar(bench: Any) -> None:
    await spend(bench, 1_200, "tokens")

    shown = (await view(bench, "tokens")).as_json()

    assert (shown["scope"], shown["limit"], shown["spent"], shown["left"], shown["status"]) == ({"user": "ada"}, 1000, 1200, 0, "exceeded")
    assert (shown["period_start"], shown["period_end"]) == ("2026-11-01T15:00:00Z", "2026-11-02T15:00:00Z")


async def test_a_budget_that_nothing_was_spent_of_is_whole(bench: Any) -> None:
    found = await view(bench)

    assert (found.spent, found.held, found.left, found.status, found.forecast) == (0, 0, 1000, "ok", None)


async def test_the_hours_are_the_same_rolled_up_or_not(bench: Any) -> None:
    for amount in (10, 20, None, 30):
        await spend(bench, amount)
        bench.clock.at += timedelta(minutes=40)
    since = bench.clock() - timedelta(days=1)

    fresh = await charged(bench.database, "hard", since=since)
    assert await roll_up_budgets(bench.database) == 8
    rolled = await charged(bench.database, "hard", since=since)
    await spend(bench, 5)
    partly = await charged(bench.database, "hard", since=since)
    await roll_up_budgets(bench.database)
    assert await roll_up_budgets(bench.database) == 0

    assert [(one.amount, one.calls) for one in fresh] == [(30, 2), (10, 1), (30, 1)]  # one of unknown cost is charged at its hold
    assert rolled == fresh
    assert [(one.amount, one.calls) for one in partly] == [(30, 2), (10, 1), (35, 2)]
    assert await charged(bench.database, "hard", since=since) == partly
    assert await charged(bench.database, "tokens", since=since) == []


async def test_the_hours_outlive_the_history(bench: Any) -> None:
    for _ in range(25):
        await spend(bench, 2)
        bench.clock.at += timedelta(minutes=20)
    await roll_up_budgets(bench.database)

    def forget() -> Any:
        yield Sql("DELETE FROM budget_history")

    await bench.database.write(forget)
    found = (await view(bench)).as_json()["forecast"]

    whole = "0.000000072"  # fifty are spent, and six an hour for 3 h 40 min
    assert found == {"method": "linear", "expected": whole, "low": whole, "high": whole, "exceeds_at": None, "observed_hours": 7}


async def test_a_reset_is_one_more_entry_of_the_history_with_its_author(bench: Any) -> None:
    await spend(bench, 600)
    held = bench.call()
    await bench.ledger.admit(bench.intent(bench.hold(300), call=held))
    [state, _tokens] = await bench.ledger.budgets()

    assert await reset(bench.database, state, at=bench.clock(), actor="cli:ann") == 600

    assert (await bench.history())[-1] == ("reset", -600, 0, 300)
    found = await view(bench)
    assert (found.spent, found.held, found.left) == (0, 300, 700)
    assert [(one.actor, one.amount, one.at) for one in found.resets] == [("cli:ann", 600, bench.clock())]
    [(actor, action, subject, detail)] = await bench.database.read("SELECT actor, action, subject, detail FROM audit")
    assert (actor, action, subject, json.loads(detail)["amount"]) == ("cli:ann", "budget.reset", "hard", 600)
    bench.settle(held, 250)
    await bench.ledger.drain()
    assert await bench.spent_held() == (250, 0)


async def test_a_reset_of_nothing_leaves_no_trace(bench: Any) -> None:
    [state, _tokens] = await bench.ledger.budgets()

    assert await reset(bench.database, state, at=bench.clock(), actor="cli:ann") == 0
    await bench.ledger.admit(bench.intent(bench.hold(10)))
    assert await reset(bench.database, state, at=bench.clock(), actor="cli:ann") == 0

    assert await bench.database.read("SELECT COUNT(*) FROM audit") == [(0,)]
    assert [row[0] for row in await bench.history()] == ["hold"]


async def test_after_a_reset_the_forecast_still_knows_the_pace(bench: Any) -> None:
    for _ in range(25):
        await spend(bench, 2)
        bench.clock.at += timedelta(minutes=20)
    [state, _tokens] = await bench.ledger.budgets()
    await reset(bench.database, state, at=bench.clock(), actor="cli:ann")

    found = (await view(bench)).forecast

    assert found is not None
    assert found.expected == 22
