"""Running calls take more of their budgets as they need it, and give back what they did not use."""

import asyncio
from typing import Any

from metering.ledger import Denied, Granted, Hold, TopUp
from metering.reading import Source

GRANTS = "SELECT count(*) FROM budget_history WHERE event IN ('hold', 'topup') AND spent + held > \"limit\""


def top_up(bench: Any, call: Any, amount: int, *, tokens: int = 100, budget: str = "hard") -> "asyncio.Queue[Granted | Denied]":
    answers: asyncio.Queue[Granted | Denied] = asyncio.Queue()
    bench.ledger.top_up(TopUp(call.id, {budget: amount}, tokens), answers.put_nowait)
    return answers


async def admitted(bench: Any, amount: int, *, flex: int = 0, quantum: int = 0, budget: str = "hard") -> Any:
    call = bench.call()
    hold = Hold(bench.budgets[budget], amount, flex=flex)
    assert isinstance(await bench.ledger.admit(bench.intent(hold, call=call, quantum=quantum)), Granted)
    return call


async def test_a_top_up_is_held_and_settled_with_the_rest(bench: Any) -> None:
    call = await admitted(bench, 300)

    answer = await top_up(bench, call, 200).get()
    bench.settle(call, 450)
    await bench.ledger.drain()

    assert isinstance(answer, Granted)
    assert (answer.tokens, answer.amounts) == (100, (200,))
    assert await bench.history() == [("hold", 300, 0, 300), ("topup", 200, 0, 500), ("settle", 450, 450, 0)]
    assert await bench.history("overshoot") == [(0,), (0,), (0,)]
    assert bench.ledger.stats.topped_up == 1


async def test_what_a_call_takes_beyond_its_hold_stands_apart(bench: Any) -> None:
    call = await admitted(bench, 300)
    bench.settle(call, 450)
    await bench.ledger.drain()

    assert (await bench.ledger.row(call.id)).overshoot_nano == 150
    assert (await bench.ledger.row(call.id)).as_json()["overshoot_usd"] == "0.00000015"
    assert await bench.database.read("SELECT spent, held, overshoot FROM budget_periods") == [(450, 0, 150)]
    assert await bench.history("event, overshoot") == [("hold", 0), ("settle", 150)]
    assert bench.settled[0].moves[0].overshoot == 150


async def test_what_no_budget_in_dollars_held_has_no_overshoot(bench: Any) -> None:
    free, counted = bench.call(), await admitted(bench, 10, budget="tokens")
    await bench.ledger.admit(bench.intent(call=free))
    bench.settle(free, 5)
    bench.settle(counted, 5, input_tokens=30, output_tokens=1)
    await bench.ledger.drain()

    assert [(await bench.ledger.row(call.id)).overshoot_nano for call in (free, counted)] == [None, None]
    assert await bench.database.read("SELECT overshoot FROM budget_periods WHERE budget_id = 'tokens'") == [(21,)]


async def test_the_last_quantum_shrinks_to_what_is_left(bench: Any) -> None:
    call = await admitted(bench, 850)

    answer = await top_up(bench, call, 200).get()

    assert isinstance(answer, Granted)
    assert (answer.tokens, answer.amounts) == (75, (150,))
    assert await bench.spent_held() == (0, 1_000)


async def test_a_top_up_that_nothing_is_left_for_is_denied_for_good_when_nothing_can_come_back(bench: Any) -> None:
    call = await admitted(bench, 999)  # less than a token costs is left
    answers = top_up(bench, call, 200)

    answer = await answers.get()

    assert isinstance(answer, Denied)
    assert (answer.budget.id, answer.needed, answer.hopeless) == ("hard", 200, False)
    bench.settle(call, 999)
    await bench.ledger.drain()
    late = await admitted(bench, 1)
    assert (await top_up(bench, late, 200).get()).hopeless


async def test_a_denied_top_up_is_granted_when_another_call_gives_its_hold_back(bench: Any) -> None:
    running, other = await admitted(bench, 500), await admitted(bench, 500)
    answers = top_up(bench, running, 200)

    assert isinstance(await answers.get(), Denied)
    bench.settle(other, 100)
    answer = await answers.get()

    assert isinstance(answer, Granted)
    assert await bench.spent_held() == (100, 700)


async def test_a_top_up_of_several_budgets_is_for_all_or_none(bench: Any) -> None:
    call = bench.call()
    await bench.ledger.admit(bench.intent(bench.hold(100, "second"), bench.hold(100), call=call))
    await admitted(bench, 400, budget="second")
    answers: asyncio.Queue[Any] = asyncio.Queue()

    bench.ledger.top_up(TopUp(call.id, {"hard": 200, "second": 200}, 100), answers.put_nowait)
    denied = await answers.get()

    assert (denied.budget.id, await bench.spent_held()) == ("second", (0, 100))


async def test_a_call_that_ended_before_its_top_up_is_written_holds_nothing_of_it(bench: Any) -> None:
    call = await admitted(bench, 300)
    answers = top_up(bench, call, 200)
    bench.settle(call, 250)
    await bench.ledger.drain()

    assert answers.empty()
    assert await bench.spent_held() == (250, 0)
    assert "topup" not in {event for (event,) in await bench.history("event")}
    top_up(bench, call, 200)
    await bench.ledger.drain()
    assert await bench.spent_held() == (250, 0)


async def test_a_drain_does_not_wait_for_what_nobody_wants_any_more(bench: Any) -> None:
    call = await admitted(bench, 300)
    bench.settle(call, 250)
    await bench.ledger.drain()
    running = await admitted(bench, 100)
    top_up(bench, running, 200)
    bench.settle(running, 50)
    cancelled = asyncio.ensure_future(bench.ledger.admit(bench.intent(bench.hold(5))))
    await asyncio.sleep(0)
    cancelled.cancel()

    async with asyncio.timeout(60):
        await bench.ledger.drain()

    assert await bench.spent_held() == (300, 0)


async def test_a_call_that_ends_while_its_top_up_is_written_gives_it_back(bench: Any) -> None:
    call = await admitted(bench, 300)
    answers = top_up(bench, call, 200)
    await asyncio.sleep(0)  # the batch with the top-up is made
    bench.settle(call, None, source=Source.UNPRICED)
    await bench.ledger.drain()

    assert await bench.spent_held() in {(500, 0), (300, 0)}
    events = await bench.history("event, amount")
    assert (events[-1] == ("charge_unknown", 500)) == (("topup", 200) in events)
    assert answers.empty()


async def test_top_ups_survive_a_crash_and_are_charged(bench: Any) -> None:
    call = await admitted(bench, 300)
    await top_up(bench, call, 200).get()
    after = bench.another_ledger()

    assert await after.recover() == 1

    row = await after.row(call.id)
    assert (row.hold_nano, row.ceiling_nano, row.state) == (500, 500, "unknown")
    assert await bench.spent_held() == (500, 0)
    assert (await bench.history())[-1] == ("charge_unknown", 500, 500, 0)


async def test_a_soft_hold_is_topped_up_beyond_the_limit(bench: Any) -> None:
    call = bench.call()
    await bench.ledger.admit(bench.intent(bench.hold(900, hard=False), call=call))

    assert isinstance(await top_up(bench, call, 200).get(), Granted)
    assert (await bench.history())[-1] == ("topup_untested", 200, 0, 1_100)


async def test_a_store_that_fails_does_not_lose_a_top_up(bench: Any) -> None:
    call = await admitted(bench, 300)
    (pages,) = (await bench.database.read("PRAGMA page_count"))[0]
    await bench.pragma(f"max_page_count = {pages}")
    fillers = [bench.intent() for _ in range(400)]
    await asyncio.gather(*map(bench.ledger.admit, fillers), return_exceptions=True)
    answers = top_up(bench, call, 200)
    await bench.pragma("max_page_count = 1000000")
    async with asyncio.timeout(60):
        assert isinstance(await answers.get(), Granted)
    assert await bench.spent_held() == (0, 500)


async def test_every_grant_was_tested(bench: Any) -> None:
    calls = [await admitted(bench, 100, flex=50, quantum=64) for _ in range(5)]
    answers = [top_up(bench, call, 150) for call in calls]
    [await each.get() for each in answers]

    assert await bench.database.read(GRANTS) == [(0,)]


async def test_what_is_given_back_is_noted_and_kept_with_the_row(bench: Any) -> None:
    call = bench.call()
    await bench.ledger.admit(bench.intent(bench.hold(100, "second"), bench.hold(300), call=call))

    bench.ledger.give_back(call.id, {"hard": 120})
    bench.ledger.give_back("nobody", {"hard": 5})
    await bench.ledger.drain()

    assert await bench.spent_held() == (0, 180)
    assert await bench.history("event, budget_id, amount, held") == [
        ("hold", "second", 100, 100),
        ("hold", "hard", 300, 300),
        ("trim", "hard", 120, 180),
    ]
    assert await bench.another_ledger().recover() == 1
    assert await bench.history("event, budget_id, amount") == [
        ("hold", "second", 100),
        ("hold", "hard", 300),
        ("trim", "hard", 120),
        ("charge_unknown", "second", 100),
        ("charge_unknown", "hard", 180),
    ]


async def test_a_batch_with_a_contradiction_gives_back_all_the_same(bench: Any) -> None:
    call, twice = await admitted(bench, 300), bench.call()

    bench.ledger.give_back(call.id, {"hard": 120})
    admissions = [bench.ledger.admit(bench.intent(bench.hold(10), call=twice)) for _ in range(2)]
    answers = await asyncio.gather(*admissions, top_up(bench, call, 50).get(), return_exceptions=True)
    bench.settle(call, 200)
    await bench.ledger.drain()

    assert sum(isinstance(answer, Granted) for answer in answers) == 2
    assert ("trim", 120) in await bench.history("event, amount")
    assert await bench.spent_held() == (200, 10)
    assert await bench.database.read("SELECT overshoot FROM budget_periods WHERE budget_id = 'hard'") == [(0,)]


async def test_it_is_said_when_somebody_waits_and_nothing_that_could_help_is_on_its_way(bench: Any) -> None:
    told: list[bool] = []
    bench.ledger.on_short = lambda: told.append(bench.ledger.busy)
    running, other = await admitted(bench, 500), await admitted(bench, 500)
    assert (told, bench.ledger.short) == ([], frozenset())

    answers = top_up(bench, running, 200)
    assert isinstance(await answers.get(), Denied)
    for _ in range(5):
        await asyncio.sleep(0)
    assert (told, bench.ledger.short) == ([False], {"hard"})
    assert bench.ledger.is_short_of([bench.budgets["hard"]])
    assert not bench.ledger.is_short_of([bench.budgets["second"]])
    bench.settle(other, 100)
    assert isinstance(await answers.get(), Granted)

    assert told == [False]
    assert not bench.ledger.is_short_of([bench.budgets["hard"]])


async def test_who_ends_while_it_is_held_up_leaves_nothing_behind(bench: Any) -> None:
    call = await admitted(bench, 500)
    denied = Denied(bench.budgets["hard"], (await bench.ledger.budgets())[0], 10)
    bench.ledger.pause(call.id, denied, lambda: None)
    opened = bench.ledger.open_calls[call.id]
    assert opened.paused is not None
    bench.ledger.go_on(call.id)
    assert opened.paused is None

    bench.settle(call, 5)
    bench.ledger.pause(call.id, denied, lambda: None)
    bench.ledger.go_on(call.id)

    assert call.id not in bench.ledger.open_calls
