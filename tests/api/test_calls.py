"""The ledger, the sums and the state over HTTP."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from metering.budgets import Budget
from metering.call import Call, Caller, Consumption, Door, Ending, Endpoint, Reply
from metering.ledger import Hold, Intent, Ledger, Settlement
from metering.reading import Reading, Source
from metering.settings import BudgetSettings
from metering.units import NANO
from metering.usage import Usage
from storage.ids import uuid7
from storage.sqlite import SqliteDatabase


@pytest.fixture
def budgets() -> tuple[Budget, ...]:
    return (
        Budget(BudgetSettings(name="daily", limit="50 USD")),
        Budget(BudgetSettings(name="tokens", limit="1000000 tokens", on_exceed="alert")),
    )


@pytest.fixture
async def ledger(database: SqliteDatabase, clock: Any, budgets: tuple[Budget, ...]) -> AsyncIterator[Ledger]:
    ledger = Ledger(database, instance="test", now=clock, on_settled=lambda _settled: None, budgets=budgets)
    yield ledger
    await ledger.drain()


@pytest.fixture
def made(ledger: Ledger, clock: Any, budgets: tuple[Budget, ...]) -> Callable[..., Awaitable[Call]]:
    async def make(*, cost_nano: int | None = NANO, provider: str = "openai", model: str = "gpt-4o", user: str | None = "ann") -> Call:
        call = Call(
            id=str(uuid7(clock())),
            started_at=clock(),
            door=Door.FORWARD,
            provider=provider,
            service=provider,
            operation="chat",
            endpoint=Endpoint.CHAT,
            wire_format="openai.chat",
            consumption=Consumption.METERED,
            method="POST",
            host="api.openai.com",
            path="/v1/chat/completions",
            model=model,
            streamed=False,
            caller=Caller(user=user),
            request_bytes=100,
        )
        holds = (Hold(budgets[0], 2 * NANO), Hold(budgets[1], 30))
        await ledger.admit(Intent(call=call, verdict="allow", holds=holds, hold_nano=2 * NANO))
        reply = Reply(ending=Ending.COMPLETED, status=200, first_byte_at=clock(), ended_at=clock(), response_bytes=10)
        source = Source.UNPRICED if cost_nano is None else Source.PROVIDER_REPORTED
        ledger.settle(Settlement(call, reply, Reading(source=source, usage=Usage(input_tokens=10, output_tokens=5), cost_nano=cost_nano)))
        await ledger.drain()
        clock.advance(seconds=1)
        return call

    return make


@pytest.fixture
async def token(gateway: Any) -> str:
    return await gateway.token()


async def get(gateway: Any, token: str, path: str) -> Any:
    return await gateway.ask("GET", path, token=token)


async def test_a_call_is_served_as_the_ledger_writes_it(gateway: Any, token: str, made: Any, ledger: Ledger) -> None:
    call = await made()

    listed = (await get(gateway, token, "/api/calls")).body
    single = (await get(gateway, token, f"/api/calls/{call.id}")).body

    row = await ledger.row(call.id)
    assert listed == {"calls": [row.as_json()], "next_after": None}
    assert single == row.as_json()
    assert single["cost_usd"] == "1"


@pytest.mark.parametrize("order", ["oldest", "newest"])
async def test_pages_hold_every_call_once_in_order(gateway: Any, token: str, made: Any, order: str) -> None:
    ids = [(await made()).id for _ in range(7)]

    seen, path = [], f"/api/calls?limit=3&order={order}"
    after = ""
    while True:
        page = (await get(gateway, token, path + after)).body
        seen += [call["id"] for call in page["calls"]]
        if page["next_after"] is None:
            break
        after = f"&after={page['next_after']}"

    assert seen == (ids if order == "oldest" else ids[::-1])


async def test_the_last_page_is_known_to_be_the_last(gateway: Any, token: str, made: Any) -> None:
    ids = [(await made()).id for _ in range(3)]

    assert (await get(gateway, token, "/api/calls?limit=3")).body["next_after"] is None
    assert (await get(gateway, token, f"/api/calls?after={ids[-1]}")).body == {"calls": [], "next_after": None}


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("provider=anthropic", 1),
        ("model=gpt-4o", 1),
        ("user=bob", 1),
        ("verdict=allow", 2),
        ("verdict=block", 0),
        ("user=' OR 1=1 --", 0),
        ("since=2025-01-15T10:30:01Z", 1),
        ("since=2025-01-15T11:30:01%2B01:00", 1),
        ("since=2025-01-15T11:30:01+01:00", 1),
        ("since=1736937001", 1),
        ("since=2025-01-15", 2),
        ("since=2025-01-15T10:30:01", 1),
        ("since=2025-01-16", 0),
    ],
)
async def test_calls_are_filtered(gateway: Any, token: str, made: Any, query: str, count: int) -> None:
    await made()
    await made(provider="anthropic", model="claude", user="bob")

    assert len((await get(gateway, token, f"/api/calls?{query}")).body["calls"]) == count


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("since=yesterday", "since"),
        ("since=0001-01-01T00:00:00%2B14:00", "since"),
        ("since=99999999999", "since"),
        ("after=nothing", "after"),
        ("after=", "after"),
        ("order=cost", "order"),
        ("provider=" + "x" * 201, "provider"),
    ],
)
async def test_a_parameter_that_will_not_do_is_named(gateway: Any, token: str, query: str, name: str) -> None:
    answer = await get(gateway, token, f"/api/calls?{query}")

    if query == "since=99999999999":  # the year 5138 is a moment too
        assert answer.status == 200
        return
    assert answer.status == 400
    assert answer.body["error"].startswith(f"invalid {name}: ")


async def test_a_call_that_is_not_there_is_404(gateway: Any, token: str) -> None:
    answer = await get(gateway, token, "/api/calls/0194-none")

    assert (answer.status, answer.body) == (404, {"error": "call not found"})


async def test_spend_adds_what_is_known_and_counts_what_is_not(gateway: Any, token: str, made: Any, clock: Any) -> None:
    await made(cost_nano=NANO)
    clock.advance(days=1)
    await made(cost_nano=NANO // 2, provider="anthropic", model="claude", user=None)
    await made(cost_nano=None)

    answer = await get(gateway, token, "/api/spend?days=2")

    body = answer.body
    assert (body["days"], body["since"]) == (2, "2025-01-15T00:00:00Z")
    assert body["total"] == {
        "calls": 3,
        "refused_calls": 0,
        "cost_usd": "1.5",
        "cost_floor_usd": "1.5",
        "cost_ceiling_usd": "3.5",
        "unknown_cost": {"calls": 1, "at_most_usd": "2"},
        "tokens": {"input": 30, "output": 15, "cache_read": 0, "cache_write": 0},
    }
    assert [(row["key"], row["cost_usd"], row["calls"]) for row in body["by_day"]] == [("2025-01-15", "1", 1), ("2025-01-16", "0.5", 2)]
    assert [row["key"] for row in body["by_provider"]] == ["openai", "anthropic"]
    assert {row["key"] for row in body["by_user"]} == {"ann", None}
    assert (await get(gateway, token, "/api/spend?days=1")).body["total"]["calls"] == 2


async def test_spend_is_asked_for_a_span_and_an_axis(gateway: Any, token: str, made: Any, clock: Any) -> None:
    await made(model="=cmd()")
    clock.advance(days=1)
    await made()

    body = (await get(gateway, token, "/api/spend?since=2025-01-15&until=2025-01-16&by=source")).body
    table = await get(gateway, token, "/api/spend?days=2&by=model&format=csv")

    assert [name for name in body if name.startswith("by_")] == ["by_source"]
    assert (body["until"], body["total"]["calls"]) == ("2025-01-16T00:00:00Z", 1)
    assert [(row["key"], row["cost_floor_usd"], row["cost_ceiling_usd"]) for row in body["by_source"]] == [("provider_reported", "1", "1")]
    assert table.headers["Content-Type"].startswith("text/csv")
    head, *lines = table.raw.decode().splitlines()
    assert head.startswith("model,calls,refused_calls,cost_usd,cost_floor_usd,cost_ceiling_usd,")
    assert {line.split(",")[0] for line in lines} == {"'=cmd()", "gpt-4o"}
    assert (await get(gateway, token, "/api/spend?since=2025-01-16&until=2025-01-15")).status == 400
    assert (await get(gateway, token, "/api/spend?by=colour")).status == 400


@pytest.mark.parametrize("days", ["0", "367", "-1", "all"])
async def test_days_have_limits(gateway: Any, token: str, days: str) -> None:
    answer = await get(gateway, token, f"/api/spend?days={days}")

    assert (answer.status, answer.body) == (400, {"error": "invalid days: use a whole number from 1 to 366"})


async def test_status_tells_the_state_and_the_budgets(gateway: Any, token: str, made: Any, clock: Any) -> None:
    await made()
    clock.moment = datetime.fromisoformat("2025-01-15T10:31:00Z")

    body = (await get(gateway, token, "/api/status")).body

    day = 1736899200
    assert body == {
        "status": "ready",
        "reasons": [],
        "version": "0.1.0",
        "mode": "enforce",
        "instance": "test",
        "started_at": 1736937000,
        "uptime_seconds": 60,
        "doors": {"forward": "127.0.0.1:8080", "base_url": "127.0.0.1:8081"},
        "budgets": [
            {
                "name": "daily",
                "unit": "usd",
                "limit": "50",
                "spent": "1",
                "held": "0",
                "on_exceed": "block",
                "period": "day",
                "period_start": day,
                "period_end": day + int(timedelta(days=1).total_seconds()),
            },
            {
                "name": "tokens",
                "unit": "tokens",
                "limit": 1000000,
                "spent": 15,
                "held": 0,
                "on_exceed": "alert",
                "period": "day",
                "period_start": day,
                "period_end": day + 86400,
            },
        ],
    }


async def test_status_says_when_the_gateway_is_degraded(gateway: Any, token: str) -> None:
    gateway.board.set(store_writable=False)

    body = (await get(gateway, token, "/api/status")).body

    assert (body["status"], body["reasons"]) == ("degraded", ["the store cannot be written"])


async def test_budgets_stand_as_the_command_tells_them(gateway: Any, token: str, made: Any) -> None:
    await made(cost_nano=20 * NANO)

    answer = await get(gateway, token, "/api/budgets")

    daily, tokens = answer.body["budgets"]
    assert (daily["name"], daily["limit"], daily["spent"], daily["left"], daily["status"]) == ("daily", "50", "20", "30", "ok")
    assert daily["thresholds"] == [{"share": 0.8, "amount": "40", "reached": False}, {"share": 1.0, "amount": "50", "reached": False}]
    assert (tokens["unit"], tokens["spent"], tokens["forecast"], tokens["resets"]) == ("tokens", 15, None, [])
