"""What the rows keep for back-tests: the order of all steps, the terms of each call, what streams were granted."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from metering.call import Consumption
from metering.event_order import EventOrder
from metering.ledger import Granted, Hold, Settlement, TopUp
from metering.quote import Rates, quoted
from metering.reading import Reading, Source
from metering.usage import Usage

RATES = Rates(2_500_000_000_000, 10_000_000_000_000, 7, flat=True)
QUOTE = quoted(RATES, input_tokens=40, output_tokens=60, priced=True)


async def recorded(bench: Any) -> dict[str, Any]:
    return {one.row.id: one for one in await bench.ledger.recorded(limit=1_000)}


async def top_up(bench: Any, call: Any, amount: int, *, tokens: int) -> Any:
    answers: asyncio.Queue[Any] = asyncio.Queue()
    bench.ledger.top_up(TopUp(call.id, {"hard": amount}, tokens), answers.put_nowait)
    return await answers.get()


async def test_every_step_has_a_number_in_the_order_in_which_the_ledger_took_them(bench: Any) -> None:
    first, second, third = (bench.call() for _ in range(3))
    await asyncio.gather(*(bench.ledger.admit(bench.intent(bench.hold(10), call=call)) for call in (first, second)))
    bench.settle(second, 5)
    bench.settle(first, 5)
    await bench.ledger.admit(bench.intent(bench.hold(10), call=third))

    rows = await recorded(bench)

    steps = [rows[first.id].admitted, rows[second.id].admitted, rows[second.id].settled, rows[first.id].settled, rows[third.id].admitted]
    assert steps == sorted(set(steps))
    assert rows[third.id].settled is None


async def test_the_terms_of_a_call_are_kept(bench: Any) -> None:
    call = bench.call(max_output_tokens=30, choices=2, started_at=bench.clock() - timedelta(microseconds=750))
    unread = bench.call(consumption=Consumption.UNREAD, max_output_tokens=None)
    free = bench.call(consumption=Consumption.FREE)
    unpriced = quoted(Rates(5, 6), input_tokens=1, output_tokens=2, priced=False)
    await bench.ledger.admit(bench.intent(Hold(bench.budgets["hard"], 900, flex=800), call=call, quantum=60, quote=QUOTE))
    await bench.ledger.admit(bench.intent(call=unread, quote=unpriced))
    await bench.ledger.admit(bench.intent(call=free, quote=QUOTE))

    rows = await recorded(bench)

    terms = rows[call.id].terms
    assert (terms.quote, terms.quote.rates.flat, terms.cap, terms.quantum, terms.granted) == (QUOTE, True, 60, 60, 60)
    assert (terms.placed_at, terms.unread, terms.judged) == (bench.clock(), False, True)
    assert (terms.applied(call).max_output_tokens, terms.applied(call).choices) == (60, 1)
    other = rows[unread.id].terms
    assert (other.quote, other.quote.rates.flat, other.cap, other.unread) == (unpriced, False, None, True)
    assert other.applied(call).consumption is Consumption.UNREAD
    assert rows[free.id].terms is None


async def test_what_a_stream_was_granted_is_kept_with_its_place_in_the_order(bench: Any) -> None:
    call, other = bench.call(), bench.call()
    await bench.ledger.admit(bench.intent(bench.hold(600), call=call))
    await top_up(bench, call, 100, tokens=50)
    await bench.ledger.admit(bench.intent(bench.hold(200), call=other))
    await top_up(bench, call, 200, tokens=100)  # half of it is left
    open_row = (await recorded(bench))[call.id]
    bench.settle(call, 650)
    await bench.ledger.drain()

    rows = await recorded(bench)

    steps = rows[call.id].top_ups
    assert [(step.asked, step.granted) for step in steps] == [(50, 50), (100, 50)]
    assert rows[call.id].admitted < steps[0].number < rows[other.id].admitted < steps[1].number < rows[call.id].settled
    assert open_row.top_ups == steps
    assert all(step.heard for step in steps)


async def test_a_top_up_that_its_call_did_not_live_to_hear_of_is_marked(bench: Any) -> None:
    call = bench.call()
    await bench.ledger.admit(bench.intent(bench.hold(600), call=call))
    bench.ledger.top_up(TopUp(call.id, {"hard": 100}, 50), lambda _answer: pytest.fail("it has ended"))
    bench.ledger._flush()  # noqa: SLF001 - the batch is with the store when the call ends
    bench.settle(call, 650)
    await bench.ledger.drain()

    found = (await recorded(bench))[call.id]

    assert [(step.granted, step.heard) for step in found.top_ups] == [(50, False)]


async def test_what_a_prompt_was_counted_to_and_what_counts_do_not_tell_is_kept(bench: Any) -> None:
    call, plain = bench.call(), bench.call()
    for each in (call, plain):
        await bench.ledger.admit(bench.intent(call=each, quote=QUOTE))
    counted = quoted(Rates(1, 2, 3), input_tokens=31, output_tokens=60, priced=True)
    usage = Usage(input_tokens=20, output_tokens=4, other_models=(("other", Usage(input_tokens=6, output_tokens=1)),))
    reading = Reading(source=Source.PROVIDER_REPORTED, usage=usage, cost_nano=9)
    bench.ledger.settle(Settlement(call, bench.make_reply(), reading, counted))
    bench.settle(plain, 9, input_tokens=20, output_tokens=4)
    await bench.ledger.drain()

    rows = await recorded(bench)

    assert (rows[call.id].counted, rows[call.id].charged_tokens) == (counted, 31)
    assert (rows[plain.id].counted, rows[plain.id].charged_tokens) == (None, None)


async def test_numbers_go_on_after_a_crash_though_the_clock_was_set_back(bench: Any) -> None:
    left = bench.call()
    await bench.ledger.admit(bench.intent(bench.hold(300), call=left))
    bench.clock.at -= timedelta(hours=1)
    bench.ledger = bench.another_ledger()
    await bench.ledger.recover()
    later = bench.call()
    assert isinstance(await bench.ledger.admit(bench.intent(bench.hold(3), call=later)), Granted)

    rows = await recorded(bench)

    assert rows[left.id].admitted < rows[left.id].settled < rows[later.id].admitted


async def test_of_a_batch_that_the_store_refuses_each_part_keeps_its_number(bench: Any) -> None:
    calls = [bench.call() for _ in range(3)]
    calls.insert(1, calls[0])  # its id is used twice
    answers = await asyncio.gather(*(bench.ledger.admit(bench.intent(bench.hold(10), call=call)) for call in calls), return_exceptions=True)

    rows = await recorded(bench)

    numbers = [rows[call.id].admitted for call in (calls[0], *calls[2:])]
    assert sum(isinstance(answer, Granted) for answer in answers) == 3
    assert [number - numbers[0] for number in numbers] == [0, 2, 3]


def test_numbers_follow_the_clock_and_never_go_back() -> None:
    order = EventOrder()

    assert [order.take(3, at=1_000), order.take(1, at=1_001), order.take(2, at=5_000), order.take(1, at=10)] == [1_000, 1_003, 5_000, 5_002]
    order.follow(9_000)
    order.follow(8_000)
    assert order.take(1, at=6_000) == 9_001
