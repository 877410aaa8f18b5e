"""Every call stands in the ledger before it is sent, and its outcome once."""

import asyncio
import sqlite3
from datetime import timedelta
from typing import Any

import pytest

from metering.call import Caller, Ending
from metering.ledger import Denied, Granted, Settlement
from metering.reading import Reading, Source
from metering.usage import Usage
from storage.database import ConstraintError, Sql, StoreError, Work

OVERDRAWN = "SELECT count(*) FROM budget_history WHERE event = 'hold' AND spent + held > \"limit\""


async def test_an_intent_is_durable_with_its_hold_when_admit_returns(bench: Any) -> None:
    call = bench.call(caller=Caller(user="ada", department="engineering"))

    answer = await bench.ledger.admit(bench.intent(bench.hold(300), call=call, estimated_input_tokens=7))

    assert isinstance(answer, Granted)
    assert [(state.budget.id, state.spent, state.held) for state in answer.states] == [("hard", 0, 300)]
    other = sqlite3.connect(bench.database.path)
    assert other.execute('SELECT state, "user", hold_nano, estimated_input_tokens, instance FROM calls').fetchall() == [
        ("intent", "ada", 300, 7, "here")
    ]
    other.close()
    assert await bench.history() == [("hold", 300, 0, 300)]


async def test_a_settlement_closes_the_row_and_moves_the_hold_to_what_was_spent(bench: Any) -> None:
    call = bench.call()
    await bench.ledger.admit(bench.intent(bench.hold(300), call=call))
    usage = Usage(input_tokens=10, output_tokens=4, cache_read_tokens=3, cache_write_tokens=2, cache_write_1h_tokens=1, reasoning_tokens=1)
    reading = Reading(
        source=Source.PROVIDER_REPORTED, usage=usage, model="gpt-4o-2024", cost_nano=120, price_source="genai-prices", price_version="7"
    )
    ended_at = call.started_at + timedelta(seconds=2)
    bench.ledger.settle(Settlement(call, bench.make_reply(ended_at=ended_at, response_bytes=55), reading))
    await bench.ledger.drain()

    row = await bench.ledger.row(call.id)
    assert row is not None
    assert (row.state, row.ending, row.status, row.ended_at, row.response_bytes) == ("settled", "completed", 200, ended_at, 55)
    assert (row.input_tokens, row.output_tokens, row.cache_read_tokens, row.cache_write_tokens) == (10, 4, 3, 2)
    assert (row.cache_write_1h_tokens, row.reasoning_tokens, row.cost_nano, row.source) == (1, 1, 120, "provider_reported")
    assert (row.response_model, row.price_source, row.price_version) == ("gpt-4o-2024", "genai-prices", "7")
    assert await bench.history() == [("hold", 300, 0, 300), ("settle", 120, 120, 0)]
    [move] = bench.settled[0].moves
    assert (move.spent_before, move.spent_after, move.state.held) == (0, 120, 0)


async def test_a_row_says_what_else_was_charged_and_for_which_result(bench: Any) -> None:
    calls = [bench.call() for _ in range(3)]
    for number, call in enumerate(calls):
        await bench.ledger.admit(bench.intent(call=call))
        usage = Usage(input_tokens=500, billed_input_tokens=5, seconds=7, web_searches=0)
        reading = Reading(source=Source.PROVIDER_REPORTED, usage=usage, cost_nano=1, job=f"resp_{number}" if number else None)
        bench.ledger.settle(Settlement(call, bench.make_reply(), reading))
    await bench.ledger.drain()

    row = await bench.ledger.row(calls[2].id)
    assert row is not None
    assert (row.as_json()["units"], row.job) == ({"billed_input_tokens": 5, "seconds": 7}, "resp_2")
    assert await bench.ledger.jobs(limit=9) == [("openai", "resp_1"), ("openai", "resp_2")]
    assert await bench.ledger.jobs(limit=1) == [("openai", "resp_2")]


async def test_settlements_ride_with_the_next_intent(bench: Any) -> None:
    call = bench.call()
    await bench.ledger.admit(bench.intent(call=call))
    bench.settle(call)
    await bench.ledger.admit(bench.intent())

    assert (await bench.ledger.row(call.id)).state == "settled"
    assert bench.ledger.stats.batches == 2


async def test_a_settlement_alone_is_written_within_its_time(bench: Any) -> None:
    call = bench.call()
    await bench.ledger.admit(bench.intent(call=call))
    bench.settle(call)
    async with asyncio.timeout(60):
        await bench.written.wait()

    assert (await bench.ledger.row(call.id)).state == "settled"


async def test_the_intents_of_one_turn_are_one_batch(bench: Any) -> None:
    await asyncio.gather(*(bench.ledger.admit(bench.intent(bench.hold(10))) for _ in range(20)))

    assert bench.ledger.stats.batches == 1
    assert [held for _event, _amount, _spent, held in await bench.history()] == list(range(10, 210, 10))


async def test_what_the_next_turn_brings_shares_the_batch_and_an_endless_row_of_turns_does_not_hold_it_up(bench: Any) -> None:
    loop, asked = asyncio.get_running_loop(), []
    async with asyncio.TaskGroup() as tasks:

        def ask() -> None:
            asked.append(tasks.create_task(bench.ledger.admit(bench.intent(bench.hold(10)))))
            if not bench.ledger.stats.batches:
                loop.call_soon(ask)

        ask()

    assert bench.ledger.stats.granted == len(asked)
    assert 2 <= len(asked) <= 20
    assert bench.ledger.stats.batches <= 2 + len(asked) // 2


async def test_a_hold_that_does_not_fit_is_denied_and_leaves_nothing(bench: Any) -> None:
    await bench.ledger.admit(bench.intent(bench.hold(800)))
    intent = bench.intent(bench.hold(201))

    answer = await bench.ledger.admit(intent)

    assert isinstance(answer, Denied)
    assert (answer.budget.id, answer.state.spent, answer.state.held, answer.needed) == ("hard", 0, 800, 201)
    assert await bench.ledger.row(intent.call.id) is None
    assert await bench.spent_held() == (0, 800)
    assert isinstance(await bench.ledger.admit(bench.intent(bench.hold(200))), Granted)


async def test_when_the_second_budget_denies_the_first_gets_its_hold_back(bench: Any) -> None:
    both = [bench.intent(bench.hold(200), bench.hold(300, "second")) for _ in range(2)]
    answers = await asyncio.gather(*map(bench.ledger.admit, both))

    assert [type(answer) for answer in answers] == [Granted, Denied]
    assert answers[1].budget.id == "second"
    assert await bench.spent_held() == (0, 200)
    assert await bench.spent_held("second") == (0, 300)
    assert len(await bench.history()) == 2


async def test_of_a_batch_that_does_not_fit_as_many_are_granted_as_fit(bench: Any) -> None:
    answers = await asyncio.gather(*(bench.ledger.admit(bench.intent(bench.hold(150))) for _ in range(10)))

    assert [isinstance(answer, Granted) for answer in answers] == [True] * 6 + [False] * 4
    assert await bench.database.read(OVERDRAWN) == [(0,)]
    assert (bench.ledger.stats.granted, bench.ledger.stats.denied) == (6, 4)


async def test_a_soft_hold_is_recorded_beyond_the_limit_and_does_not_count_as_tested(bench: Any) -> None:
    answer = await bench.ledger.admit(bench.intent(bench.hold(5_000, hard=False)))

    assert isinstance(answer, Granted)
    assert await bench.history() == [("hold_untested", 5_000, 0, 5_000)]


async def test_a_truthful_settlement_may_exceed_its_hold_and_then_nothing_more_fits(bench: Any) -> None:
    call = bench.call()
    await bench.ledger.admit(bench.intent(bench.hold(10), call=call))
    bench.settle(call, 1_500)
    await bench.ledger.drain()

    assert isinstance(await bench.ledger.admit(bench.intent(bench.hold(1))), Denied)
    assert await bench.spent_held() == (1_500, 0)


async def test_a_second_settlement_counts_nothing(bench: Any) -> None:
    call = bench.call()
    await bench.ledger.admit(bench.intent(bench.hold(10), call=call))
    for _ in range(3):
        bench.settle(call, 7)
    await bench.ledger.drain()
    bench.settle(call, 7)
    bench.settle(bench.call(), 7)
    await bench.ledger.drain()

    assert await bench.spent_held() == (7, 0)
    assert bench.ledger.stats.ignored_settlements == 4
    assert len(bench.settled) == 1


async def test_a_batch_of_settlements_tells_where_each_stood(bench: Any) -> None:
    calls = [bench.call() for _ in range(3)]
    await asyncio.gather(*(bench.ledger.admit(bench.intent(bench.hold(100), call=call)) for call in calls))
    for call in calls:
        bench.settle(call, 40)
    await bench.ledger.drain()

    assert [(one.moves[0].spent_before, one.moves[0].spent_after, one.moves[0].state.held) for one in bench.settled] == [
        (0, 40, 200),
        (40, 80, 100),
        (80, 120, 0),
    ]


async def test_a_refused_call_and_its_alert_are_one_transaction(bench: Any) -> None:
    def alert() -> Work[None]:
        yield Sql("INSERT INTO meta (name, value) VALUES ('alert', '1')")

    def broken() -> Work[None]:
        yield Sql("INSERT INTO meta (name, value) VALUES ('alert', '1')")

    refused, lost, plain = bench.call(), bench.call(), bench.call()
    await bench.ledger.refuse(refused, rule_id="SEC-003", status=403, more=alert)
    with pytest.raises(ConstraintError):
        await bench.ledger.refuse(lost, rule_id="SEC-003", status=403, more=broken)
    await bench.ledger.refuse(plain, rule_id=None, status=400)

    row = await bench.ledger.row(refused.id)
    assert (row.state, row.verdict, row.rule_id, row.status, row.ending, row.source, row.cost_nano) == (
        "refused", "block", "SEC-003", 403, "refused", "none", 0,
    )  # fmt: skip
    assert await bench.ledger.row(lost.id) is None
    assert (await bench.ledger.row(plain.id)).rule_id is None


async def test_a_cancelled_admission_holds_nothing(bench: Any) -> None:
    intent = bench.intent(bench.hold(500))
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(bench.ledger.admit(intent))
        while bench.ledger._in_flight is None:  # noqa: SLF001, ASYNC110 - nothing public tells that the batch is with the store
            await asyncio.sleep(0)
        waiting.cancel()
    await bench.ledger.drain()

    row = await bench.ledger.row(intent.call.id)
    assert (row.state, row.ending, row.source, row.status) == ("settled", Ending.CLIENT_ABORT, "none", None)
    assert await bench.history() == [("hold", 500, 0, 500), ("release", 0, 0, 0)]


async def test_an_admission_cancelled_before_its_turn_is_not_written(bench: Any) -> None:
    intent = bench.intent(bench.hold(500))
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(bench.ledger.admit(intent))
        asyncio.get_running_loop().call_soon(waiting.cancel)
        await asyncio.sleep(0)
    await bench.ledger.drain()

    assert await bench.ledger.row(intent.call.id) is None or await bench.spent_held() == (0, 0)


async def test_an_id_used_twice_fails_alone(bench: Any) -> None:
    first = bench.call()
    await bench.ledger.admit(bench.intent(call=first))
    bench.settle(first)
    good, twice, also_good = bench.intent(bench.hold(10)), bench.intent(bench.hold(10), call=first), bench.intent(bench.hold(10))

    answers = await asyncio.gather(*map(bench.ledger.admit, (good, twice, also_good)), return_exceptions=True)
    await bench.ledger.drain()

    assert [type(answer) for answer in answers] == [Granted, ConstraintError, Granted]
    assert (await bench.ledger.row(first.id)).state == "settled"
    assert await bench.spent_held() == (0, 20)
    assert bench.ledger.healthy


async def test_more_than_a_batch_takes_is_all_answered(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metering.ledger_queue._MOST_IN_A_BATCH", 7)
    calls = [bench.call() for _ in range(40)]

    answers = await asyncio.gather(*(bench.ledger.admit(bench.intent(bench.hold(1), call=call)) for call in calls))
    for call in calls:
        bench.settle(call, 2)
    await bench.ledger.drain()

    assert all(isinstance(answer, Granted) for answer in answers)
    assert await bench.spent_held() == (80, 0)


async def test_fifty_clients_never_exceed_a_hard_budget_at_any_step(bench: Any) -> None:
    async def client(number: int) -> int:
        granted = 0
        for turn in range(8):
            call = bench.call()
            amount = 20 + (number * 7 + turn * 13) % 40
            holds = (bench.hold(amount), bench.hold(amount, "second")) if number % 3 else (bench.hold(amount),)
            if isinstance(await bench.ledger.admit(bench.intent(*holds, call=call)), Granted):
                granted += 1
                await asyncio.sleep(0)
                bench.settle(call, amount if turn % 4 else amount // 3)
        return granted

    async with asyncio.TaskGroup() as tasks:
        clients = [tasks.create_task(client(number)) for number in range(50)]
    await bench.ledger.drain()

    granted = sum(one.result() for one in clients)
    assert 0 < granted < 400
    assert await bench.database.read(OVERDRAWN) == [(0,)]
    charged = await bench.database.read("SELECT budget_id, SUM(amount) FROM budget_history WHERE event = 'settle' GROUP BY 1 ORDER BY 1")
    assert charged == [(name, (await bench.spent_held(name))[0]) for name in ("hard", "second")]
    assert (await bench.spent_held())[1] == 0
    assert await bench.database.read("SELECT count(*) FROM calls WHERE state = 'settled'") == [(granted,)]


async def test_budgets_tell_what_is_spent_and_held_now(bench: Any) -> None:
    call = bench.call()
    await bench.ledger.admit(bench.intent(bench.hold(100), call=call))
    bench.settle(call, 60)
    await bench.ledger.admit(bench.intent(bench.hold(5), bench.hold(5, "tokens")))

    states = {state.budget.id: (state.spent, state.held) for state in await bench.ledger.budgets()}

    assert states == {"hard": (60, 5), "second": (0, 0), "tokens": (0, 5)}


async def test_a_failing_store_refuses_intents_and_keeps_settlements_until_it_is_well(bench: Any) -> None:
    await bench.pragma("busy_timeout = 20")
    call = bench.call()
    await bench.ledger.admit(bench.intent(bench.hold(100), call=call))
    other = sqlite3.connect(bench.database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    bench.settle(call, 60)

    with pytest.raises(StoreError, match="locked"):
        await bench.ledger.admit(bench.intent(bench.hold(1)))
    with pytest.raises(StoreError, match="locked"):
        await bench.ledger.drain()
    assert not bench.ledger.healthy
    assert bench.ledger.pending == 1
    assert bench.settled == []
    other.execute("ROLLBACK")
    other.close()
    async with asyncio.timeout(60):
        await bench.written.wait()  # tried again by itself

    assert bench.ledger.healthy
    assert [failure is None for failure in bench.health] == [False, True]
    assert await bench.spent_held() == (60, 0)
    assert bench.ledger.stats.store_failures >= 2


async def test_what_arrives_while_the_store_fails_is_answered_too(bench: Any) -> None:
    await bench.pragma("busy_timeout = 50")
    other = sqlite3.connect(bench.database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def second() -> object:
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # the first is with the store
        return await bench.ledger.admit(bench.intent())

    results = await asyncio.gather(bench.ledger.admit(bench.intent()), second(), return_exceptions=True)
    other.execute("ROLLBACK")
    other.close()

    assert [type(result) for result in results] == [StoreError, StoreError]


async def test_more_settlements_than_are_kept_leave_open_intents_for_the_next_start(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metering.ledger_queue._MOST_PENDING", 1)
    calls = [bench.call() for _ in range(3)]
    for call in calls:
        await bench.ledger.admit(bench.intent(bench.hold(10), call=call))
    for call in calls:
        bench.settle(call, 1)
    await bench.ledger.drain()

    assert bench.ledger.stats.lost_settlements == 2
    assert await bench.another_ledger().recover() == 2
    assert await bench.spent_held() == (21, 0)


async def test_a_settlement_that_the_store_contradicts_is_counted_as_lost(bench: Any) -> None:
    call = bench.call()
    await bench.ledger.admit(bench.intent(call=call))
    bench.settle(call, 2**70)  # no integer of the store
    await bench.ledger.drain()

    assert bench.ledger.stats.lost_settlements == 1
    assert (await bench.ledger.row(call.id)).state == "intent"


async def test_a_closed_store_refuses_intents(bench: Any) -> None:
    await bench.database.close()

    with pytest.raises(StoreError, match="closed"):
        await bench.ledger.admit(bench.intent())
    with pytest.raises(StoreError, match="closed"):
        await bench.ledger.refuse(bench.call(), rule_id=None, status=403)
