"""Rows page by page, and sums with the unknown apart."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from metering.call import Caller
from metering.ledger_rows import usd
from metering.reading import Source
from metering.spend import SpendBy


@pytest.fixture
async def filled(bench: Any) -> Any:
    """Six calls on two days: known, unpriced, free, refused, open, unknown to whom."""
    people = [Caller(user="ada", department="research"), Caller(user="bob", department="sales"), Caller()]
    calls = [
        bench.call(provider=provider, service=provider, model=model, caller=caller, streamed=model == "claude-x")
        for provider, model, caller in [
            ("openai", "gpt-4o", people[0]),
            ("anthropic", "claude-x", people[0]),
            ("openai", None, people[1]),
            ("openai", "gpt-4o", people[1]),
            ("openai", "gpt-5", people[2]),
        ]
    ]
    bench.clock.at += timedelta(days=1)
    calls.append(bench.call(model="gpt-4o", caller=people[0]))
    for call in calls:
        if call is calls[3]:
            await bench.ledger.refuse(call, rule_id="R1", status=403)
        else:
            await bench.ledger.admit(bench.intent(bench.hold(100, hard=False), call=call))
    bench.settle(calls[0], 30, input_tokens=10, output_tokens=5, cache_read_tokens=2)
    bench.settle(calls[1], None, source=Source.UNPRICED, input_tokens=7, output_tokens=1)
    bench.settle(calls[2], None, source=Source.NONE)
    bench.settle(calls[5], 70, input_tokens=20, output_tokens=6, cache_write_tokens=4)
    await bench.ledger.drain()
    return bench, calls


async def test_pages_follow_each_other_in_the_order_of_time(filled: Any) -> None:
    bench, calls = filled
    ids = [call.id for call in calls]

    first = await bench.ledger.rows(limit=4)
    second = await bench.ledger.rows(limit=4, after=first[-1].id)
    newest = await bench.ledger.rows(limit=2, newest_first=True)
    before_those = await bench.ledger.rows(limit=2, newest_first=True, after=newest[-1].id)

    assert [row.id for row in [*first, *second]] == ids
    assert [row.id for row in [*newest, *before_those]] == ids[:1:-1]
    assert [row.id for row in await bench.ledger.rows(since=calls[5].started_at)] == [ids[5]]
    assert await bench.ledger.row("none") is None


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"provider": "anthropic"}, [1]),
        ({"model": "gpt-4o"}, [0, 3, 5]),
        ({"user": "ada", "provider": "openai"}, [0, 5]),
        ({"verdict": "block"}, [3]),
        ({"state": "intent"}, [4]),
        ({"service": "openai", "state": "settled"}, [0, 2, 5]),
        ({"user": "'; DROP TABLE calls; --"}, []),
    ],
)
async def test_rows_are_filtered_by_their_columns(filled: Any, filters: dict[str, str], found: list[int]) -> None:
    bench, calls = filled

    assert [row.id for row in await bench.ledger.rows(**filters)] == [calls[number].id for number in found]


async def test_spending_is_known_cost_with_the_unknown_apart(filled: Any) -> None:
    bench, calls = filled
    since = calls[0].started_at

    days = await bench.ledger.spend(since=since, by="day")
    providers = await bench.ledger.spend(since=since, by="provider")

    assert [(row.key, row.calls, row.refused_calls, row.cost_nano, row.unknown_calls, row.unknown_hold_nano) for row in days] == [
        ("2026-11-02", 4, 1, 30, 2, 200),
        ("2026-11-03", 1, 0, 70, 0, 0),
    ]
    assert [(row.key, row.cost_nano, row.input_tokens, row.output_tokens) for row in providers] == [
        ("openai", 100, 30, 11),
        ("anthropic", 0, 7, 1),
    ]
    assert providers[0].as_json() == {
        "key": "openai",
        "calls": 4,
        "refused_calls": 1,
        "cost_usd": "0.0000001",
        "cost_floor_usd": "0.0000001",
        "cost_ceiling_usd": "0.0000002",
        "unknown_cost": {"calls": 1, "at_most_usd": "0.0000001"},
        "tokens": {"input": 30, "output": 11, "cache_read": 2, "cache_write": 4},
    }


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("user", {"ada", "bob", None}),
        ("department", {"research", "sales", None}),
        ("model", {"gpt-4o", "claude-x", "gpt-5", None}),
        ("service", {"openai", "anthropic"}),
    ],
)
async def test_spending_is_grouped_by_name(filled: Any, by: SpendBy, keys: set[str | None]) -> None:
    bench, calls = filled

    assert {row.key for row in await bench.ledger.spend(since=calls[0].started_at, by=by)} == keys


async def test_spending_ends_before_its_end(filled: Any) -> None:
    bench, calls = filled
    until = datetime(2026, 11, 3, tzinfo=UTC)

    assert [row.key for row in await bench.ledger.spend(since=calls[0].started_at, until=until, by="day")] == ["2026-11-02"]
    assert await bench.ledger.spend(since=until + timedelta(days=9), by="user") == []


async def test_a_row_has_one_shape_for_programs(filled: Any) -> None:
    bench, calls = filled
    row = (await bench.ledger.row(calls[0].id)).as_json()

    assert row["started_at"] == "2026-11-02T12:00:00.000000Z"
    assert row["model"] == {"request": "gpt-4o", "response": None}
    assert row["tokens"]["input"] == 10
    assert row["cost_usd"] == "0.00000003"
    assert row["caller"]["user"] == "ada"
    assert row["streamed"] is False
    opened = (await bench.ledger.row(calls[4].id)).as_json()
    assert (opened["cost_usd"], opened["ended_at"], opened["hold_usd"]) == (None, None, "0.0000001")


@pytest.mark.parametrize(("nano", "text"), [(None, None), (0, "0"), (1, "0.000000001"), (1_500_000_000, "1.5"), (20_000_000_000, "20")])
def test_money_is_an_exact_decimal_string(nano: int | None, text: str | None) -> None:
    assert usd(nano) == text


async def test_calls_of_the_gateway_itself_are_no_spending_unless_they_are_asked_for(filled: Any) -> None:
    bench, calls = filled
    canary = bench.call(provider="tollwatch", service="tollwatch", model=None)
    await bench.ledger.admit(bench.intent(call=canary))
    bench.settle(canary, None, source=Source.NONE)
    await bench.ledger.drain()

    everything = await bench.ledger.spend(since=calls[0].started_at, by="provider")
    asked = await bench.ledger.spend_by(since=calls[0].started_at, by=("provider",), provider="tollwatch")

    assert {row.key for row in everything} == {"openai", "anthropic"}
    assert [(keys, row.calls) for keys, row in asked] == [(("tollwatch",), 1)]
