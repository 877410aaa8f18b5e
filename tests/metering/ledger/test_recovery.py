"""What a crash left open is charged at its hold, and shown apart; periods never go back."""

from datetime import timedelta
from typing import Any

from metering.budgets import Budget
from metering.ledger import Granted
from metering.settings import BudgetSettings


async def test_open_intents_become_unknown_and_are_charged_at_their_holds(bench: Any) -> None:
    left, held_by_none, done = bench.call(), bench.call(), bench.call()
    await bench.ledger.admit(bench.intent(bench.hold(300), bench.hold(9, "tokens"), call=left))
    await bench.ledger.admit(bench.intent(call=held_by_none))
    await bench.ledger.admit(bench.intent(bench.hold(50), call=done))
    bench.settle(done, 20)
    await bench.ledger.drain()
    after_crash = bench.another_ledger()

    assert await after_crash.recover() == 2
    assert await after_crash.recover() == 0

    row = await after_crash.row(left.id)
    assert (row.state, row.ending, row.source, row.cost_nano, row.hold_nano) == ("unknown", "unknown", "billed_unseen", None, 309)
    assert (await after_crash.row(done.id)).state == "settled"
    assert await bench.spent_held() == (320, 0)
    assert await bench.spent_held("tokens") == (9, 0)
    assert (await bench.history('event, amount, spent, held, "limit"'))[-2:] == [
        ("charge_unknown", 300, 320, 0, 1_000),
        ("charge_unknown", 9, 9, 0, 1_000),
    ]


async def test_a_late_settlement_of_a_recovered_call_counts_nothing(bench: Any) -> None:
    call = bench.call()
    await bench.ledger.admit(bench.intent(bench.hold(300), call=call))
    after_crash = bench.another_ledger()
    await after_crash.recover()
    bench.ledger, before = after_crash, await bench.spent_held()
    bench.settle(call, 5)
    await after_crash.drain()

    assert await bench.spent_held() == before == (300, 0)


async def test_calls_in_flight_are_not_recovered(bench: Any) -> None:
    call = bench.call()
    await bench.ledger.admit(bench.intent(bench.hold(300), call=call))

    assert await bench.ledger.recover() == 0
    assert (await bench.ledger.row(call.id)).state == "intent"


async def test_a_hold_is_settled_in_the_period_it_was_made_in(bench: Any) -> None:
    call = bench.call()
    await bench.ledger.admit(bench.intent(bench.hold(300), call=call))
    bench.clock.at += timedelta(days=1)
    await bench.ledger.admit(bench.intent(bench.hold(1_000)))
    bench.settle(call, 120)
    await bench.ledger.drain()

    periods = await bench.database.read("SELECT spent, held FROM budget_periods ORDER BY starts_at")
    assert periods == [(120, 0), (0, 1_000)]


async def test_a_clock_set_back_does_not_open_an_earlier_period_again(bench: Any) -> None:
    await bench.ledger.admit(bench.intent(bench.hold(900)))
    bench.clock.at -= timedelta(days=2)

    assert not isinstance(await bench.ledger.admit(bench.intent(bench.hold(900))), Granted)
    assert len(await bench.database.read("SELECT * FROM budget_periods")) == 1


async def test_nor_does_a_restart_with_a_clock_set_back(bench: Any) -> None:
    await bench.ledger.admit(bench.intent(bench.hold(900)))
    bench.clock.at -= timedelta(days=2)
    after = bench.another_ledger()
    await after.recover()

    assert not isinstance(await after.admit(bench.intent(bench.hold(900))), Granted)
    assert [state.spent for state in await after.budgets()] == [900, 0, 0]


async def test_a_budget_given_another_period_starts_with_its_own_calendar(bench: Any) -> None:
    bench.clock.at = bench.clock.at.replace(day=1)
    await bench.ledger.admit(bench.intent(bench.hold(400)))
    bench.clock.at = bench.clock.at.replace(day=9)
    await bench.ledger.admit(bench.intent(bench.hold(900)))
    monthly = Budget(BudgetSettings(name="hard", limit="0.000001 USD", period="month"))
    after = bench.another_ledger(monthly)
    await after.recover()
    bench.budgets["hard"] = monthly

    answer = await after.admit(bench.intent(bench.hold(100)))

    # The day of the first began with the month: what it spent counts for the month too.
    assert isinstance(answer, Granted)
    assert [(state.spent, state.held) for state in answer.states] == [(400, 100)]
    ends = await bench.database.read("SELECT ends_at - starts_at FROM budget_periods ORDER BY starts_at LIMIT 1")
    assert ends == [(30 * 86_400_000_000,)]
