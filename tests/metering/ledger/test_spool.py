"""The spool over a real store: bounded, kept while the disk fails, written into the ledger once."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from metering.holds import Granted, Settled, Settlement
from metering.quote import Rates, quoted
from metering.reading import Reading, Source
from metering.spool import SPOOL_FILE, UNREADABLE_FILE, Spool
from storage.database import StoreError


class Spooled:
    """A spool with what it told."""

    def __init__(self, bench: Any, folder: Path, **more: Any) -> None:
        self.told: list[int] = []
        self.settled: list[Settled] = []
        self.file = folder / SPOOL_FILE
        self.bench = bench
        self.spool = Spool(
            folder,
            bench.database,
            bench.ledger,
            instance="here",
            now=bench.clock,
            on_settled=self._hear,
            on_change=self.told.append,
            **more,
        )

    def _hear(self, settled: Sequence[Settled]) -> None:
        self.settled.extend(settled)

    async def admit(self, *, amount: int = 300, call: Any = None) -> Any:
        intent = self.bench.intent(self.bench.hold(amount, hard=False), call=call)
        assert isinstance(await self.spool.admit(intent), Granted)
        return intent.call

    def settle(self, call: Any, cost: int) -> bool:
        reading = Reading(source=Source.PROVIDER_REPORTED, cost_nano=cost)
        return self.spool.settle(Settlement(call, self.bench.make_reply(), reading))


@pytest.fixture
def spooled(bench: Any, tmp_path: Path) -> Spooled:
    return Spooled(bench, tmp_path)


async def test_what_is_replayed_is_charged_once_and_told_as_settlements_are(bench: Any, spooled: Spooled) -> None:
    calls = [await spooled.admit() for _ in range(230)]  # more than are written at once
    for number, call in enumerate(calls):
        assert spooled.settle(call, 10 if number else 320)

    assert await spooled.spool.replay() == 230
    assert await spooled.spool.replay() == 0

    assert await bench.spent_held() == (320 + 229 * 10, 0)
    assert spooled.told == [1, 0]
    first, *_, last = [one.moves[0] for one in spooled.settled]
    assert (first.spent_before, first.spent_after, first.overshoot) == (0, 320, 20)
    assert (last.spent_before, last.spent_after, last.overshoot) == (2_600, 2_610, 0)
    assert (await bench.ledger.row(calls[0].id)).overshoot_nano == 20
    assert not spooled.file.exists()
    await spooled.spool.close()


async def test_a_settlement_of_another_call_is_not_taken(bench: Any, spooled: Spooled) -> None:
    assert not spooled.settle(bench.call(), 1)
    assert not spooled.file.exists()


async def test_a_full_spool_refuses_new_calls_and_settles_those_under_way(bench: Any, tmp_path: Path) -> None:
    spooled = Spooled(bench, tmp_path, most_bytes=1)
    call = await spooled.admit()

    with pytest.raises(StoreError, match=r"spool .* is full .*1 calls.* Make the store writable"):
        await spooled.admit()

    assert spooled.settle(call, 7)
    assert await spooled.spool.replay() == 1
    assert await bench.spent_held() == (7, 0)
    await spooled.spool.close()


async def test_a_full_disk_leaves_the_spool_until_there_is_room(bench: Any, spooled: Spooled) -> None:
    await bench.pragma("max_page_count = 1")
    calls = [await spooled.admit(call=bench.call(path="/v1/" + "x" * 3_000)) for _ in range(40)]

    assert await spooled.spool.replay() == 0
    assert await spooled.spool.replay() == 0
    assert spooled.spool.active
    assert spooled.told == [1, 40]
    await bench.pragma("max_page_count = 1073741823")
    assert await spooled.spool.replay() == 40

    for call in calls:
        assert not spooled.settle(call, 1)
        bench.settle(call, 1)
    await bench.ledger.drain()
    assert await bench.spent_held() == (40, 0)
    await spooled.spool.close()


async def test_a_settlement_that_the_disk_does_not_take_is_kept_until_it_does(bench: Any, spooled: Spooled) -> None:
    call = await spooled.admit()
    content = spooled.file.read_bytes()
    spooled.file.unlink()
    spooled.file.mkdir()

    assert spooled.settle(call, 7)
    assert await spooled.spool.replay() == 0
    with pytest.raises(StoreError, match=r"Cannot write to .*spool\.jsonl"):
        await spooled.admit()
    spooled.file.rmdir()
    spooled.file.write_bytes(content)

    assert await spooled.spool.replay() == 1
    assert await bench.spent_held() == (7, 0)
    await spooled.spool.close()


async def test_a_call_whose_client_leaves_while_it_is_written_costs_nothing(bench: Any, spooled: Spooled) -> None:
    call = bench.call()
    admission = asyncio.ensure_future(spooled.admit(call=call))
    await asyncio.sleep(0)
    admission.cancel()
    with pytest.raises(asyncio.CancelledError):
        await admission

    assert await spooled.spool.replay() == 1
    row = await bench.ledger.row(call.id)
    assert (row.state, row.ending, row.cost_nano) == ("settled", "client_abort", None)
    assert await bench.spent_held() == (0, 0)
    await spooled.spool.close()


async def test_the_next_start_takes_what_was_left_and_keeps_what_it_cannot_read(bench: Any, spooled: Spooled, tmp_path: Path) -> None:
    done, left = await spooled.admit(), await spooled.admit()
    spooled.settle(done, 20)
    await spooled.admit()  # when it is on the disk, so is what came before it
    first, rest = spooled.file.read_bytes().split(b"\n", 1)
    spooled.file.write_bytes(first + b'\n{"inte\n[1]\n' + rest + b'{"settled": [1')

    after = Spooled(bench, tmp_path)
    assert await after.spool.recover() > 0
    assert await after.spool.recover() == 0
    assert await bench.another_ledger().recover() == 2

    assert (await bench.ledger.row(done.id)).cost_nano == 20
    assert (await bench.ledger.row(left.id)).state == "unknown"
    assert await bench.spent_held() == (620, 0)
    assert not spooled.file.exists()
    assert (tmp_path / UNREADABLE_FILE).exists()
    assert after.settled == []


async def test_a_crash_before_the_file_is_removed_charges_nothing_twice(bench: Any, spooled: Spooled, tmp_path: Path) -> None:
    done = await spooled.admit()
    spooled.settle(done, 20)
    await spooled.admit()
    content = spooled.file.read_bytes()
    for _ in range(3):
        spooled.file.write_bytes(content)
        await Spooled(bench, tmp_path).spool.recover()
    spooled.file.write_bytes(content)
    await bench.another_ledger().recover()
    await Spooled(bench, tmp_path).spool.recover()

    assert await bench.spent_held() == (320, 0)
    assert [event for (event,) in await bench.history("event")] == ["hold_untested", "settle", "hold_untested", "charge_unknown"]


async def test_what_is_replayed_has_its_place_in_the_order_and_was_not_judged(bench: Any, spooled: Spooled) -> None:
    before = bench.call()
    await bench.ledger.admit(bench.intent(call=before))
    call = bench.call()
    quote = quoted(Rates(5, 6), input_tokens=1, output_tokens=2, priced=True)
    await spooled.spool.admit(bench.intent(bench.hold(300, hard=False), call=call, quote=quote))
    spooled.settle(call, 10)
    await spooled.spool.replay()
    bench.settle(before)
    await bench.ledger.drain()

    rows = {one.row.id: one for one in await bench.ledger.recorded()}

    found = rows[call.id]
    assert (found.terms.quote, found.terms.judged) == (quote, False)
    assert rows[before.id].admitted < found.admitted < found.settled < rows[before.id].settled
