"""Streams hold a quantum at a time; answers are ended where a budget has nothing left; calls without a bound as the budget says."""

import asyncio
import threading
from typing import Any

import pytest

from alerting.finding import Action, AlertKind, Refusal, Taken, Verdict
from metering.call import Consumption, Ending
from metering.reading import ReplyFacts
from metering.usage import Usage

LEASED = {"name": "b", "limit": "1000 tokens", "quantum": 100}


class Cuts:
    """What the proxy was told to end."""

    def __init__(self, world: Any) -> None:
        self.told: list[tuple[str, Verdict]] = []
        world.gate.on_cut = lambda call_id, verdict: self.told.append((call_id, verdict))


async def held(world: Any, budget: str = "b") -> Any:
    """Return spent and held once all that was asked for is answered."""
    await world.ledger.drain()
    for _ in range(20):
        await asyncio.sleep(0)
    rows = await world.database.read("SELECT spent, held FROM budget_periods WHERE budget_id = ?", (budget,))
    return rows[0]


@pytest.fixture
def stream(a_call: Any) -> Any:
    """Return a maker of streams; the prompt has 8 tokens."""
    return lambda **changes: a_call(**{"streamed": True, "max_output_tokens": None, "text": "x" * 4, **changes})


async def start(world: Any, call: Any) -> int:
    """Admit a stream; return what it holds for its input."""
    assert not (await world.gate.admit(call)).blocked
    rows = await world.database.read("SELECT amount FROM budget_history WHERE call_id = ?", (call.id,))
    return int(rows[0][0]) - 100


async def test_a_stream_holds_its_input_and_a_quantum_and_more_ahead_of_need(worlds: Any, stream: Any) -> None:
    world, call = worlds(budgets=[LEASED]), stream()
    read = await start(world, call)

    world.gate.progress(call.id, output_tokens=49)
    assert await held(world) == (0, read + 100)
    world.gate.progress(call.id, output_tokens=50)
    assert await held(world) == (0, read + 200)
    world.gate.progress(call.id, output_tokens=149)
    assert await held(world) == (0, read + 200)
    world.gate.progress(call.id, output_tokens=420)  # many at once
    assert await held(world) == (0, read + 520)
    world.answer(call, input_tokens=8, output_tokens=430)
    assert await held(world) == (438, 0)


async def test_a_stream_never_holds_more_than_its_cap(worlds: Any, stream: Any) -> None:
    world, call = worlds(budgets=[LEASED]), stream(max_output_tokens=65, choices=2)
    read = await start(world, call)

    world.gate.progress(call.id, output_tokens=60)
    assert await held(world) == (0, read + 130)
    world.gate.progress(call.id, output_tokens=129)
    assert await held(world) == (0, read + 130)


@pytest.mark.parametrize(("reserve", "streamed", "output"), [("worst_case", True, 300), ("input_only", True, 0), ("lease", False, 300)])
async def test_the_other_ways_to_reserve_are_not_topped_up(worlds: Any, stream: Any, reserve: str, *, streamed: bool, output: int) -> None:
    world = worlds(budgets=[{**LEASED, "reserve": reserve}])
    call = stream(max_output_tokens=300, streamed=streamed)
    read = await start(world, call) + 100 - output
    world.gate.progress(call.id, output_tokens=250)

    assert await held(world) == (0, read + output)
    world.answer(call, input_tokens=read, output_tokens=290)
    assert await held(world) == (read + 290, 0)
    assert await world.database.read("SELECT overshoot FROM budget_periods") == [(max(0, 290 - output),)]


async def test_dollars_are_held_by_the_price_of_the_output(worlds: Any, stream: Any) -> None:
    world, call = worlds(budgets=[{"name": "usd", "limit": "1 USD", "quantum": 100}]), stream(max_output_tokens=150)
    await world.gate.admit(call)
    before = await held(world, "usd")

    world.gate.progress(call.id, output_tokens=90)
    after = await held(world, "usd")

    assert 500_000 <= after[1] - before[1] <= 500_001  # 50 tokens of gpt-4o at 10 USD a million


async def test_the_smallest_quantum_counts_and_every_leased_budget_is_topped_up(worlds: Any, stream: Any) -> None:
    budgets = [
        LEASED,
        {"name": "wide", "limit": "9000 tokens", "quantum": 5_000},
        {"name": "soft", "limit": "9 tokens", "on_exceed": "alert"},
    ]
    world, call = worlds(budgets=[*budgets, {"name": "whole", "limit": "90000 tokens", "reserve": "worst_case"}]), stream()
    read = await start(world, call)
    world.gate.progress(call.id, output_tokens=60)

    assert [await held(world, name) for name in ("b", "wide", "soft")] == [(0, read + 200)] * 3
    assert await held(world, "whole") == (0, read + 8_192)


async def test_an_answer_is_ended_when_the_budget_is_used_up_and_not_before(worlds: Any, stream: Any) -> None:
    world, call = worlds(budgets=[{**LEASED, "limit": "250 tokens"}]), stream()
    cuts = Cuts(world)
    await start(world, call)
    for passed in range(0, 240, 10):
        world.gate.progress(call.id, output_tokens=passed)
        await held(world)

    assert cuts.told == []
    read = 8  # counted when the budget ran short
    world.gate.progress(call.id, output_tokens=250 - read)
    assert cuts.told == [], "it may have come to its end"
    world.gate.progress(call.id, output_tokens=260 - read)
    [(call_id, verdict)] = cuts.told
    assert (call_id, verdict.action, verdict.refusal, verdict.rule_id) == (call.id, Action.BLOCK, Refusal.BUDGET, "b")
    for part in ("'b'", "250 tokens per day", "it ends here", f"{260 - read} tokens", "2026-03-11T00:00:00Z", "raise the budget"):
        assert part in verdict.message
    [alert] = await world.alerts(AlertKind.BUDGET_EXCEEDED)
    assert alert.action is Taken.BLOCKED
    world.gate.settle(call, world.reply(ending=Ending.CUT), ReplyFacts(usage=Usage(input_tokens=read, output_tokens=250 - read)))
    await world.settled()
    assert await world.database.read("SELECT ending, state, source FROM calls") == [("cut", "settled", "estimated")]
    grants = await world.database.read("SELECT spent + held FROM budget_history WHERE event IN ('hold', 'topup')")
    assert max(total for (total,) in grants) == 250


async def test_an_answer_goes_on_when_another_gives_back_in_time(worlds: Any, stream: Any) -> None:
    world = worlds(budgets=[{**LEASED, "limit": "230 tokens", "wait": "0s"}])
    cuts = Cuts(world)
    first, second = stream(), stream()
    await start(world, first)
    assert not (await world.gate.admit(second)).blocked
    world.gate.progress(first.id, output_tokens=90)
    await held(world)
    world.answer(second, input_tokens=1, output_tokens=1)
    await held(world)

    world.gate.progress(first.id, output_tokens=100)
    world.gate.progress(first.id, output_tokens=110)

    assert cuts.told == []


async def test_a_burst_before_the_denial_ends_the_answer_though_the_provider_falls_silent(worlds: Any, stream: Any) -> None:
    world, call = worlds(budgets=[{**LEASED, "limit": "150 tokens"}]), stream()
    cuts = Cuts(world)
    await start(world, call)
    world.gate.progress(call.id, output_tokens=90)  # asks; the answer is under way
    world.gate.progress(call.id, output_tokens=400)

    assert cuts.told == []
    await held(world)
    [(call_id, verdict)] = cuts.told
    assert (call_id, verdict.refusal) == (call.id, Refusal.BUDGET)
    assert "400 tokens" in verdict.message


async def test_a_burst_before_the_grant_is_held_though_the_provider_falls_silent(worlds: Any, stream: Any) -> None:
    world, call = worlds(budgets=[LEASED]), stream()
    read = await start(world, call)
    world.gate.progress(call.id, output_tokens=60)
    world.gate.progress(call.id, output_tokens=420)

    await held(world)
    assert await held(world) == (0, read + 520)


async def test_an_answer_that_ended_before_its_grant_asks_for_no_more(worlds: Any, stream: Any) -> None:
    world, call = worlds(budgets=[LEASED]), stream()
    await start(world, call)
    world.gate.progress(call.id, output_tokens=60)
    world.gate.progress(call.id, output_tokens=420)
    world.answer(call, input_tokens=8, output_tokens=430)

    assert await held(world) == (438, 0)


async def test_nobody_needs_to_listen_for_cuts(worlds: Any, stream: Any) -> None:
    world, call = worlds(budgets=[{**LEASED, "limit": "150 tokens"}]), stream()
    await start(world, call)
    for passed in (90, 150, 160):
        world.gate.progress(call.id, output_tokens=passed)
        await held(world)
    world.gate.progress("nobody", output_tokens=5)

    assert (await world.alerts(AlertKind.BUDGET_EXCEEDED))[0].action is Taken.BLOCKED


async def test_monitor_ends_nothing_and_says_once_what_enforce_would_have_done(worlds: Any, stream: Any) -> None:
    world, call = worlds(mode="monitor", budgets=[{**LEASED, "limit": "150 tokens"}]), stream()
    cuts = Cuts(world)
    await start(world, call)
    for passed in (90, 180, 290, 400):
        world.gate.progress(call.id, output_tokens=passed)
        await held(world)

    assert cuts.told == []
    [alert] = await world.alerts(AlertKind.BUDGET_EXCEEDED)
    assert (alert.action, alert.occurrence_count) == (Taken.OBSERVED, 1)
    assert "It goes on after about 90 tokens" in alert.message
    assert "In enforce mode it would have been ended there" in alert.message


async def test_a_call_waits_for_what_others_hold(worlds: Any, a_call: Any) -> None:
    world = worlds(budgets=[{"name": "b", "limit": "300 tokens", "wait": "30s"}])
    first = a_call(max_output_tokens=200)
    await world.gate.admit(first)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        waits = tasks.create_task(world.gate.admit(a_call(max_output_tokens=200)))
        while not world.ledger.waiting:  # noqa: ASYNC110 - the ledger tells nobody that a call waits
            await asyncio.sleep(0)
        world.answer(first, input_tokens=5, output_tokens=5)

    assert waits.result().action is Action.ALLOW


async def test_a_refusal_after_waiting_says_so_and_names_the_narrowest_budget(worlds: Any, a_call: Any) -> None:
    user = {"name": "ada", "limit": "300 tokens", "scope": {"user": "ada"}, "wait": "0.02s"}
    world = worlds(budgets=[{"name": "all", "limit": "300 tokens", "wait": "0.02s"}, user])
    ada = {"caller": {"user": "ada"}, "max_output_tokens": 200}
    await world.gate.admit(a_call(**ada))

    verdict = await world.gate.admit(a_call(**ada))

    assert verdict.rule_id == "ada"
    assert "did not come back within 0.02 s" in verdict.message


async def test_monitor_does_not_wait_and_says_how_long_enforce_would(worlds: Any, a_call: Any) -> None:
    world = worlds(mode="monitor", budgets=[{"name": "b", "limit": "300 tokens", "wait": "30s"}])
    await world.gate.admit(a_call(max_output_tokens=200))

    async with asyncio.timeout(60):
        verdict = await world.gate.admit(a_call(max_output_tokens=200))

    assert verdict.action is Action.ALERT
    assert "It would have waited 30 s for what open calls hold" in verdict.message


async def test_a_client_that_left_waits_no_longer(worlds: Any, a_call: Any) -> None:
    world = worlds(budgets=[{"name": "b", "limit": "300 tokens", "wait": "30s"}])
    await world.gate.admit(a_call(max_output_tokens=200))
    call = a_call(max_output_tokens=200)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        waits = tasks.create_task(world.gate.admit(call))
        while not world.ledger.waiting:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        world.gate.leave(call.id)

    assert waits.result().blocked


@pytest.mark.parametrize(
    ("limit", "call", "refused"),
    [
        ("9 USD", {"model": "gpt-nobody-knows"}, True),
        ("9000 tokens", {"model": "gpt-nobody-knows"}, False),
        ("9 USD", {"consumption": Consumption.UNREAD, "wire_format": None}, True),
        ("9000 tokens", {"consumption": Consumption.UNREAD, "wire_format": None}, True),
        ("9 USD", {}, False),
        ("9 USD", {"consumption": Consumption.FREE}, False),
    ],
)
async def test_a_budget_may_refuse_what_nothing_bounds(
    worlds: Any, a_call: Any, limit: str, call: dict[str, Any], *, refused: bool
) -> None:
    budget = {"name": "b", "limit": limit, "unpriced": "refuse"}

    verdict = await worlds(budgets=[budget]).gate.admit(a_call(**call))
    observed = await worlds(mode="monitor", budgets=[budget]).gate.admit(a_call(**call))

    assert (verdict.blocked, verdict.refusal) == ((True, Refusal.BUDGET) if refused else (False, None))
    assert verdict.rule_id == ("b" if refused else None)
    assert not refused or "unpriced" in verdict.message
    assert not observed.blocked
    assert ("would have been refused" in observed.message) is refused


@pytest.mark.parametrize("call", [{"model": "gpt-nobody-knows"}, {"consumption": Consumption.UNREAD, "wire_format": None}])
async def test_what_nothing_bounds_is_held_at_the_dearest_price_and_charged_so(worlds: Any, a_call: Any, call: dict[str, Any]) -> None:
    world = worlds(budgets=[{"name": "b", "limit": "90 USD"}])
    unbounded = a_call(**call)
    await world.gate.admit(unbounded)
    _, before = await held(world)
    world.gate.settle(unbounded, world.reply(), None)

    assert before > 50_000_000
    assert await held(world) == (before, 0)


# --- prompts that are held by a bound ----------------------------------------------------------------------------------------

WORDY = "the toll of the road " * 60
"""1,260 bytes, and some 300 tokens."""


async def history(world: Any, columns: str = "event, amount, spent, held") -> Any:
    await world.ledger.drain()
    return await world.database.read(f"SELECT {columns} FROM budget_history ORDER BY seq")  # noqa: S608 - columns of the test itself


async def test_a_stream_that_runs_short_gives_back_what_its_prompt_does_not_have(worlds: Any, stream: Any) -> None:
    world, call = worlds(budgets=[{**LEASED, "limit": "1450 tokens"}]), stream(text=WORDY)
    cuts = Cuts(world)
    await start(world, call)
    (before,) = await history(world)

    for passed in range(20, 420, 20):
        world.gate.progress(call.id, output_tokens=passed)
        await held(world)

    assert cuts.told == []
    trims = [step for step in await history(world) if step[0] == "trim"]
    counted = await world.gate._counter.count(call.prompt, model=call.model, provider=call.provider)  # noqa: SLF001 - the gate's own
    assert [amount for _event, amount, _spent, _held in trims] == [before[1] - 100 - counted]
    world.answer(call, input_tokens=counted, output_tokens=420)
    await held(world)
    assert (await history(world))[-1] == ("settle", counted + 420, counted + 420, 0)
    assert await world.database.read("SELECT SUM(overshoot) FROM budget_history") == [(0,)]


async def test_prompts_of_others_are_counted_when_a_stream_runs_short(worlds: Any, stream: Any, a_call: Any) -> None:
    world = worlds(budgets=[{**LEASED, "limit": "1600 tokens", "wait": "0s"}])
    cuts = Cuts(world)
    other, call = a_call(text=WORDY, max_output_tokens=50), stream()
    assert not (await world.gate.admit(other)).blocked
    await start(world, call)

    for passed in range(60, 480, 20):
        world.gate.progress(call.id, output_tokens=passed)
        await held(world)

    assert cuts.told == []
    assert {call_id for event, call_id in await history(world, "event, call_id") if event == "trim"} == {other.id, call.id}


@pytest.mark.parametrize("wait", ["0s", "30s"])
async def test_prompts_of_others_are_counted_before_a_call_is_refused(worlds: Any, a_call: Any, wait: str) -> None:
    world = worlds(budgets=[{"name": "b", "limit": "1500 tokens", "wait": wait}])
    first, second = a_call(text=WORDY), a_call(text=WORDY)
    assert not (await world.gate.admit(first)).blocked

    async with asyncio.timeout(60):
        verdict = await world.gate.admit(second)

    assert not verdict.blocked
    assert [event for (event,) in await history(world, "event")] == ["hold", "trim", "hold"]
    assert await world.database.read('SELECT count(*) FROM budget_history WHERE spent + held > "limit"') == [(0,)]


async def test_a_long_prompt_is_counted_beside_the_loop(worlds: Any, a_call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world = worlds(budgets=[{"name": "b", "limit": "80000 tokens", "wait": "30s"}])
    first = a_call(text=WORDY * 60)
    assert not (await world.gate.admit(first)).blocked

    counter, all_wait = world.gate._counter, threading.Event()  # noqa: SLF001 - the gate's own
    count_now = counter.count_now

    def count_slowly(prompt: Any, **more: Any) -> int:
        assert all_wait.wait(60)
        return int(count_now(prompt, **more))

    monkeypatch.setattr(counter, "count_now", count_slowly)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        admitted = []
        for number in range(3):
            admitted.append(tasks.create_task(world.gate.admit(a_call(max_output_tokens=15_000))))
            while world.ledger.waiting <= number:  # noqa: ASYNC110 - the ledger tells nobody that a call waits
                await asyncio.sleep(0)
        all_wait.set()

    assert not any(each.result().blocked for each in admitted)
    assert [event for (event,) in await history(world, "event")] == ["hold", "trim", *["hold"] * 3]


async def test_a_call_that_ends_before_it_is_counted_is_left_alone(worlds: Any, a_call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world = worlds(budgets=[{"name": "b", "limit": "3000 tokens", "wait": "30s"}])
    short, long = a_call(text=WORDY), a_call(text=WORDY + "and back")
    await world.gate.admit(short)
    await world.gate.admit(long)
    counter = world.gate._counter  # noqa: SLF001 - the gate's own
    count_now = counter.count_now

    def count_and_end_the_other(prompt: Any, **more: Any) -> int:
        world.answer(short, input_tokens=200, output_tokens=2)
        return int(count_now(prompt, **more))

    monkeypatch.setattr(counter, "count_now", count_and_end_the_other)
    async with asyncio.timeout(60):
        assert not (await world.gate.admit(a_call(max_output_tokens=2_000))).blocked

    assert [call_id for event, call_id in await history(world, "event, call_id") if event == "trim"] == [long.id]


async def test_as_many_prompts_are_counted_as_a_call_that_does_not_wait_needs(worlds: Any, a_call: Any) -> None:
    world = worlds(budgets=[{"name": "b", "limit": "4500 tokens", "wait": "0s"}])
    first = [a_call(text=WORDY) for _ in range(3)]
    for call in first:
        assert not (await world.gate.admit(call)).blocked

    verdicts = await asyncio.gather(*(world.gate.admit(a_call(max_output_tokens=1_500)) for _ in range(2)))
    refused = await world.gate.admit(a_call(max_output_tokens=4_000))

    assert not any(verdict.blocked for verdict in verdicts)
    assert refused.blocked
    trims = [call_id for event, call_id in await history(world, "event, call_id") if event == "trim"]
    assert len(trims) == len(set(trims)) >= 2


async def test_nothing_is_counted_while_nobody_waits(worlds: Any, stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world = worlds(budgets=[LEASED])
    monkeypatch.setattr(world.gate._counter, "count_now", None)  # noqa: SLF001 - the gate's own
    monkeypatch.setattr(world.gate._counter, "count", None)  # noqa: SLF001 - as above
    call = stream()
    await start(world, call)
    world.gate.progress(call.id, output_tokens=60)
    world.answer(call, input_tokens=8, output_tokens=70)

    assert await held(world) == (78, 0)


async def test_a_prompt_is_counted_at_once_for_a_budget_that_others_wait_for(worlds: Any, a_call: Any) -> None:
    world = worlds(budgets=[{"name": "b", "limit": "1500 tokens", "wait": "30s"}])
    first = a_call(max_output_tokens=1_400)
    await world.gate.admit(first)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(60):
        waits = [tasks.create_task(world.gate.admit(a_call(text=WORDY))) for _ in range(2)]
        while world.ledger.waiting < 2:  # noqa: ASYNC110 - the ledger tells nobody that a call waits
            await asyncio.sleep(0)
        world.answer(first, input_tokens=5, output_tokens=5)

    assert [each.result().action for each in waits] == [Action.ALLOW] * 2
    rows = await world.database.read("SELECT count(*) FROM calls WHERE input_tokens_bound IS NULL AND state = 'intent'")
    assert rows == [(2,)]


async def test_what_a_crash_charges_is_what_was_left_of_the_holds(worlds: Any, a_call: Any) -> None:
    world = worlds(budgets=[{"name": "b", "limit": "1500 tokens", "wait": "30s"}])
    first = a_call(text=WORDY)
    await world.gate.admit(first)
    await world.gate.admit(a_call(text=WORDY))
    await world.ledger.drain()
    [(_spent, before)] = await world.database.read("SELECT spent, held FROM budget_periods")

    await worlds(budgets=[{"name": "b", "limit": "1500 tokens"}]).ledger.recover()

    assert await world.database.read("SELECT spent, held FROM budget_periods") == [(before, 0)]
