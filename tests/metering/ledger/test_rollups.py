"""The hourly sums are those of the rows, whatever became of the calls, and they outlive the rows."""

import asyncio
import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering.call import Call, Caller, Ending, Reply
from metering.ledger import Intent, Ledger, Settlement
from metering.pruning import prune
from metering.reading import Reading, Source
from metering.rollups import ALL_SUMS, HOUR_MICROS, KEYS, ROW_ANSWER_SUMS, ROW_KEYS, ROW_SUMS, roll_up
from metering.spend import SPEND_BY
from metering.usage import Usage
from storage.database import Row
from storage.ids import uuid7
from storage.sqlite import SqliteDatabase

_NOON = datetime(2026, 11, 2, 12, 30, tzinfo=UTC)
_LATER = _NOON + timedelta(days=3)
_OF_ROWS = (
    f"SELECT started_at - started_at % {HOUR_MICROS}, {', '.join(KEYS)}, {', '.join(f'SUM({name})' for name in ALL_SUMS)} "  # noqa: S608
    f"FROM (SELECT started_at, {ROW_KEYS}, {ROW_SUMS}, {ROW_ANSWER_SUMS} "
    f"FROM calls WHERE state <> 'intent') AS one GROUP BY 1, {', '.join(KEYS)}"
)
_OF_HOURS = f"SELECT hour, {', '.join(KEYS)}, {', '.join(ALL_SUMS)} FROM spend_hours"  # noqa: S608
_SENT_TO = (
    "SELECT DISTINCT started_at - started_at % 3600000000, host, endpoint FROM calls "
    "WHERE state NOT IN ('intent', 'refused') AND provider <> 'tollwatch'"
)
_ENDPOINTS = "SELECT hour, host, endpoint FROM endpoint_hours"

_READINGS = st.builds(
    Reading,
    source=st.sampled_from(Source),
    model=st.sampled_from([None, "m-1", "m-2"]),
    cost_nano=st.none() | st.integers(0, 1000),
    floor_nano=st.none() | st.integers(0, 500),
    ceiling_nano=st.none() | st.integers(1000, 2000),
    usage=st.builds(Usage, input_tokens=st.none() | st.integers(0, 99), output_tokens=st.none() | st.integers(0, 99)),
)
_CALLS = st.fixed_dictionaries(
    {
        "minutes": st.integers(0, 3000),
        "model": st.sampled_from([None, "m-1"]),
        "user": st.sampled_from([None, "ada"]),
        "department": st.sampled_from([None, "research"]),
        "hold": st.integers(0, 3000),
        "host": st.sampled_from(["api.openai.com", "api.example.com"]),
        "status": st.sampled_from([None, 101, 200, 399, 400, 503]),
        "ending": st.sampled_from([Ending.COMPLETED, Ending.CLIENT_ABORT, Ending.CUT, Ending.UPSTREAM_RESET, Ending.FAILED]),
        "seconds": st.integers(-1, 90),
        "end": st.sampled_from(["refused", "open"]) | _READINGS,
    }
)


async def _sums(database: SqliteDatabase, text: str) -> list[Row]:
    return sorted(await database.read(text), key=str)


def _call(make_call: Any, case: dict[str, Any]) -> Call:
    at = _NOON + timedelta(minutes=case["minutes"])
    caller = Caller(user=case["user"], department=case["department"])
    return make_call(id=str(uuid7(at)), started_at=at, model=case["model"], caller=caller, host=case["host"])


def _reply(make_reply: Any, call: Call, case: dict[str, Any]) -> Reply:
    return make_reply(ending=case["ending"], status=case["status"], ended_at=call.started_at + timedelta(seconds=case["seconds"]))


async def _live(make_call: Any, make_reply: Any, cases: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = await SqliteDatabase.open(Path(folder) / "ledger.db")
        try:
            await _live_over(database, make_call, make_reply, cases)
        finally:
            await database.close()


async def _live_over(database: SqliteDatabase, make_call: Any, make_reply: Any, cases: list[dict[str, Any]]) -> None:
    ledger = Ledger(database, instance="here", now=lambda: _LATER, on_settled=lambda _settled: None)
    for case in cases:
        call = _call(make_call, case)
        if case["end"] == "refused":
            await ledger.refuse(call, rule_id=None, status=403)
            continue
        await ledger.admit(Intent(call=call, verdict="allow", hold_nano=case["hold"]))
        if isinstance(case["end"], Reading):
            ledger.settle(Settlement(call, _reply(make_reply, call, case), case["end"]))
        if case["minutes"] % 3 == 0:
            await roll_up(database, now=_NOON + timedelta(minutes=case["minutes"]))
    await ledger.drain()
    before = {by: await ledger.spend(since=_NOON - timedelta(days=1), by=by) for by in SPEND_BY}
    await roll_up(database, now=_LATER)
    assert not await roll_up(database, now=_LATER)
    assert await _sums(database, _OF_HOURS) == await _sums(database, _OF_ROWS)
    assert await _sums(database, _ENDPOINTS) == await _sums(database, _SENT_TO)
    assert {by: await ledger.spend(since=_NOON - timedelta(days=1), by=by) for by in SPEND_BY} == before

    following = Ledger(database, instance="next", now=lambda: _NOON, on_settled=lambda _settled: None)
    await following.recover()
    assert await following.recover() == 0
    assert await _sums(database, _OF_HOURS) == await _sums(database, _OF_ROWS)
    assert await _sums(database, _ENDPOINTS) == await _sums(database, _SENT_TO)

    spent = {by: await following.spend(since=_NOON - timedelta(days=1), by=by) for by in SPEND_BY}
    sums = await _sums(database, _OF_HOURS)
    await prune(database, before=_NOON + timedelta(minutes=1500))
    assert await _sums(database, _OF_HOURS) == sums
    assert {by: await following.spend(since=_NOON - timedelta(days=1), by=by) for by in SPEND_BY} == spent
    for rows in spent.values():
        assert sum(row.calls + row.refused_calls for row in rows) == len(cases)


@settings(
    max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)  # the fixtures only make values
@given(cases=st.lists(_CALLS, max_size=25))
def test_the_hours_hold_what_the_rows_hold_and_outlive_them(make_call: Any, make_reply: Any, cases: list[dict[str, Any]]) -> None:
    asyncio.run(_live(make_call, make_reply, cases))


async def test_a_span_inside_hours_is_summed_to_the_call(bench: Any) -> None:
    chance, moments = random.Random(7), []
    for _ in range(60):
        at = _NOON + timedelta(seconds=chance.randrange(4 * 3600))
        call = bench.call(id=str(uuid7(at)), started_at=at)
        moments.append(at)
        await bench.ledger.admit(bench.intent(call=call))
        if chance.random() < 0.8:
            bench.settle(call, 1)
    await bench.ledger.drain()
    await roll_up(bench.database, now=_NOON + timedelta(hours=2))

    for minutes in range(0, 240, 7):
        since = _NOON + timedelta(minutes=minutes)
        for until in (since + timedelta(minutes=5), since + timedelta(minutes=100), None):
            found = await bench.ledger.spend(since=since, until=until, by="provider")
            wanted = sum(since <= at and (until is None or at < until) for at in moments)
            assert sum(row.calls for row in found) == wanted, (since, until)


async def test_days_are_the_sums_of_their_hours(bench: Any) -> None:
    for hours in (0, 1, 12):
        at = _NOON + timedelta(hours=hours)
        call = bench.call(id=str(uuid7(at)), started_at=at)
        await bench.ledger.admit(bench.intent(call=call))
        bench.settle(call, 10)
    await bench.ledger.drain()
    await roll_up(bench.database, now=_LATER)

    assert await bench.database.read("SELECT calls, cost_nano FROM spend_days ORDER BY day") == [(2, 20), (1, 10)]


async def test_a_days_spread_lives_on_after_a_restart(bench: Any) -> None:
    first, second, third = bench.call(), bench.call(), bench.call(provider="anthropic")
    for call in (first, second, third):
        await bench.ledger.admit(Intent(call=call, verdict="allow", hold_nano=300))
    bench.settle(first, 100)
    bench.settle(second, None, source=Source.BILLED_UNSEEN)
    await bench.ledger.drain()
    day = first.started_at.date()

    before = bench.ledger.spread("openai", day)
    following = bench.another_ledger()
    await following.recover()

    assert (before.floor_nano, before.ceiling_nano, before.share) == (100, 400, 0.75)
    assert following.spread("openai", day) == before
    assert following.spread("anthropic", day).share == 1
    assert following.spread("openai", day + timedelta(days=1)).share == 0


async def test_pruning_leaves_open_calls_and_what_is_younger(bench: Any) -> None:
    old = [bench.call() for _ in range(3)]
    for call in old:
        await bench.ledger.admit(bench.intent(bench.hold(1, hard=False), call=call))
    for call in old[:2]:
        bench.settle(call, 1)
    bench.clock.at += timedelta(days=2)
    young = bench.call()
    await bench.ledger.admit(bench.intent(call=young))
    await bench.ledger.drain()

    assert await prune(bench.database, before=bench.clock.at - timedelta(days=1)) == 3  # no row goes before its hour is rolled up
    await roll_up(bench.database, now=bench.clock.at)
    deleted = await prune(bench.database, before=bench.clock.at - timedelta(days=1))

    assert [row.id for row in await bench.ledger.rows()] == [old[2].id, young.id]
    assert deleted == 2
    assert await prune(bench.database, before=bench.clock.at - timedelta(days=1)) == 0
