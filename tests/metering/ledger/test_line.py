"""Calls that do not fit wait for those that may give something back: first come, first served, and not for long."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from metering import ledger_line
from metering.ledger import Denied, Granted, Hold, TopUp
from metering.settings import BudgetSettings

SHORT = "0.05s"


@pytest.fixture
def settings() -> Sequence[BudgetSettings]:
    return [
        BudgetSettings(name="hard", limit="1000 tokens", wait="30s"),
        BudgetSettings(name="brisk", limit="1000 tokens", wait=SHORT),
        BudgetSettings(name="instant", limit="1000 tokens", wait="0s"),
        BudgetSettings(name="other", limit="1000 tokens", wait="30s"),
    ]


async def holding(bench: Any, amount: int, budget: str = "hard") -> Any:
    call = bench.call()
    assert isinstance(await bench.ledger.admit(bench.intent(bench.hold(amount, budget), call=call)), Granted)
    return call


async def in_line(bench: Any, count: int) -> None:
    for _ in range(100_000):
        if bench.ledger.waiting >= count:
            return
        await asyncio.sleep(0)
    pytest.fail(f"{bench.ledger.waiting} calls wait; expected {count}")


def give_back(bench: Any, call: Any, used: int = 0) -> None:
    bench.settle(call, 0, input_tokens=used, output_tokens=0)


async def test_a_call_that_does_not_fit_is_admitted_when_another_gives_its_hold_back(bench: Any) -> None:
    first = await holding(bench, 800)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        waits = tasks.create_task(bench.ledger.admit(bench.intent(bench.hold(500)), patient=True))
        await in_line(bench, 1)
        give_back(bench, first, used=100)

    assert isinstance(waits.result(), Granted)
    assert bench.ledger.waiting == 0
    assert await bench.spent_held() == (100, 500)


async def test_a_hold_that_can_never_fit_is_denied_at_once(bench: Any) -> None:
    first = await holding(bench, 700)
    give_back(bench, first, used=700)
    await bench.ledger.drain()

    answer = await bench.ledger.admit(bench.intent(bench.hold(301)), patient=True)

    assert isinstance(answer, Denied)
    assert answer.hopeless
    assert bench.ledger.stats.denied == 1


async def test_the_wait_ends(bench: Any) -> None:
    await holding(bench, 800, "brisk")

    async with asyncio.timeout(60):
        answer = await bench.ledger.admit(bench.intent(bench.hold(500, "brisk")), patient=True)

    assert isinstance(answer, Denied)
    assert (answer.hopeless, answer.state.held, bench.ledger.waiting) == (False, 800, 0)


async def test_at_its_end_a_stream_is_let_through_with_what_is_left(bench: Any) -> None:
    await holding(bench, 800, "brisk")
    hold = Hold(bench.budgets["brisk"], 500, flex=480)

    async with asyncio.timeout(60):
        answer = await bench.ledger.admit(bench.intent(hold, quantum=480), patient=True)

    assert isinstance(answer, Granted)
    assert (answer.tokens, answer.amounts) == (180, (200,))


async def test_a_stream_whose_whole_quantum_can_never_fit_is_let_through_with_less_at_once(bench: Any) -> None:
    first = await holding(bench, 800)
    give_back(bench, first, used=800)
    await bench.ledger.drain()

    answer = await bench.ledger.admit(bench.intent(Hold(bench.budgets["hard"], 500, flex=480), quantum=480), patient=True)

    assert isinstance(answer, Granted)
    assert answer.tokens == 180


@pytest.mark.parametrize("left", [20, 79])
async def test_with_less_than_an_eighth_of_it_a_stream_is_not_let_through(bench: Any, left: int) -> None:
    await holding(bench, 1_000 - left, "instant")

    answer = await bench.ledger.admit(bench.intent(Hold(bench.budgets["instant"], 500, flex=480), quantum=480), patient=True)

    assert isinstance(answer, Denied)


async def test_a_budget_may_have_nobody_wait(bench: Any) -> None:
    await holding(bench, 800, "instant")
    hold = Hold(bench.budgets["instant"], 500, flex=480)

    assert isinstance(await bench.ledger.admit(bench.intent(bench.hold(500, "instant")), patient=True), Denied)
    assert isinstance(await bench.ledger.admit(bench.intent(hold, quantum=480), patient=True), Granted)


async def test_nobody_overtakes(bench: Any) -> None:
    first = await holding(bench, 900)
    order: list[str] = []

    async def wait(name: str, amount: int) -> None:
        await bench.ledger.admit(bench.intent(bench.hold(amount)), patient=True)
        order.append(name)

    async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        tasks.create_task(wait("large", 800))
        await in_line(bench, 1)
        tasks.create_task(wait("small", 50))  # it would fit
        await in_line(bench, 2)
        impatient = await bench.ledger.admit(bench.intent(bench.hold(60)))
        elsewhere = await bench.ledger.admit(bench.intent(bench.hold(60, "other")))
        assert order == []
        give_back(bench, first)

    assert order == ["large", "small"]
    assert isinstance(impatient, Denied)
    assert isinstance(elsewhere, Granted)


async def test_who_leaves_makes_room_for_those_behind(bench: Any) -> None:
    await holding(bench, 900)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        leaves = tasks.create_task(bench.ledger.admit(bench.intent(bench.hold(800)), patient=True))
        await in_line(bench, 1)
        behind = tasks.create_task(bench.ledger.admit(bench.intent(bench.hold(50)), patient=True))
        await in_line(bench, 2)
        leaves.cancel()

    assert isinstance(behind.result(), Granted)
    assert await bench.spent_held() == (0, 950)
    assert await bench.database.read("SELECT count(*) FROM calls") == [(2,)]


async def test_a_client_that_left_is_denied_at_once(bench: Any) -> None:
    await holding(bench, 900)
    call = bench.call()
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        left = tasks.create_task(bench.ledger.admit(bench.intent(bench.hold(800), call=call), patient=True))
        await in_line(bench, 1)
        bench.ledger.leave(call.id)
        bench.ledger.leave("nobody")

    assert isinstance(left.result(), Denied)
    assert bench.ledger.waiting == 0


async def test_no_more_wait_than_may(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_line, "MOST_WAITING", 1)
    first = await holding(bench, 900)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        tasks.create_task(bench.ledger.admit(bench.intent(bench.hold(500)), patient=True))
        await in_line(bench, 1)
        too_many = await bench.ledger.admit(bench.intent(bench.hold(500)), patient=True)
        give_back(bench, first)

    assert isinstance(too_many, Denied)


async def test_running_calls_come_before_those_that_wait(bench: Any) -> None:
    running, other = await holding(bench, 500), await holding(bench, 500)
    answers: asyncio.Queue[Granted | Denied] = asyncio.Queue()
    bench.ledger.top_up(TopUp(running.id, {"hard": 200}, 100), answers.put_nowait)
    assert isinstance(await answers.get(), Denied)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        waits = tasks.create_task(bench.ledger.admit(bench.intent(bench.hold(300)), patient=True))
        await in_line(bench, 1)
        give_back(bench, other, used=200)
        assert isinstance(await answers.get(), Granted)
        assert not waits.done()
        give_back(bench, running, used=100)

    assert isinstance(waits.result(), Granted)


async def test_a_failing_store_fails_those_who_wait(bench: Any) -> None:
    first = await holding(bench, 900)
    async with asyncio.timeout(60):
        waits = asyncio.ensure_future(bench.ledger.admit(bench.intent(bench.hold(500)), patient=True))
        await in_line(bench, 1)
        await bench.database.close()
        give_back(bench, first)
        with pytest.raises(Exception, match="store is closed"):
            await waits
    assert bench.ledger.waiting == 0
