"""CPU of the ledger per admitted and settled call: `python -m tests.bench.bench_ledger`, or by path with PYTHONPATH at the root."""

import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from metering.budgets import BudgetBook
from metering.call import Call, Caller, Consumption, Door, Ending, Endpoint, Reply
from metering.ledger import Granted, Hold, Intent, Ledger, Settled, Settlement
from metering.reading import Reading, Source
from metering.settings import BudgetSettings
from metering.usage import Usage
from storage.ids import uuid7
from storage.sqlite import SqliteDatabase

CALLS = 8_000


def now() -> datetime:
    return datetime.now(UTC)


def make_call() -> Call:
    at = now()
    return Call(
        id=str(uuid7(at)),
        started_at=at,
        door=Door.FORWARD,
        provider="openai",
        service="openai",
        operation="chat",
        endpoint=Endpoint.CHAT,
        wire_format="openai.chat",
        consumption=Consumption.METERED,
        method="POST",
        host="api.openai.com",
        path="/v1/chat/completions",
        model="gpt-4o-mini",
        streamed=False,
        caller=Caller(user="dev@example.com", department="engineering", key_id="0123456789abcdef"),
        request_bytes=2048,
    )


async def client(ledger: Ledger, calls: Sequence[Call], holds: tuple[Hold, ...]) -> None:
    reading = Reading(
        source=Source.PROVIDER_REPORTED,
        usage=Usage(input_tokens=500, output_tokens=100, cache_read_tokens=0),
        model="gpt-4o-mini-2024-07-18",
        cost_nano=135_000,
        price_source="genai-prices",
        price_version="2026-11",
    )
    for call in calls:
        answer = await ledger.admit(Intent(call=call, verdict="allow", holds=holds, hold_nano=5_000_000, estimated_input_tokens=700))
        assert isinstance(answer, Granted), answer
        ledger.settle(
            Settlement(call, Reply(ending=Ending.COMPLETED, status=200, first_byte_at=now(), ended_at=now(), response_bytes=900), reading)
        )


async def measure(concurrency: int, *, budgets: int, durability: str) -> None:
    book = BudgetBook([BudgetSettings(name=f"b{n}", limit="1000000 USD") for n in range(budgets)])
    holds = tuple(Hold(budget, 5_000_000) for budget in book.all)
    with tempfile.TemporaryDirectory() as folder:
        database = await SqliteDatabase.open(Path(folder) / "bench.db", durability="full" if durability == "full" else "normal")
        counted: list[int] = []

        def on_settled(batch: Sequence[Settled]) -> None:
            counted.append(len(batch))

        ledger = Ledger(database, instance="bench", now=now, on_settled=on_settled, budgets=book.all)
        work = [[make_call() for _ in range(CALLS // concurrency)] for _ in range(concurrency)]
        total = sum(map(len, work))
        gc.collect()
        gc.freeze()
        wall, cpu = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as tasks:
            for calls in work:
                tasks.create_task(client(ledger, calls, holds))
        await ledger.drain()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        assert sum(counted) == total
        print(
            f"{durability:6} {budgets} budgets {concurrency:4} concurrent: {cpu / total * 1e6:7.1f} us CPU a call, "
            f"{wall / total * 1e6:7.1f} us wall, {total / ledger.stats.batches:6.1f} calls a batch"
        )
        await database.close()


def main() -> None:
    for durability in sys.argv[1:] or ["normal", "full"]:
        for budgets in (0, 1, 3):
            for concurrency in (1, 20, 200):
                asyncio.run(measure(concurrency, budgets=budgets, durability=durability))


if __name__ == "__main__":
    main()
