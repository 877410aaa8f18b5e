"""What 1, 100 and 1,000 policy rules add to a call, counting and writing the counts included.

Part of `python -m tests.bench`; by itself `python -m tests.bench.bench_rules`.
"""

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from alerting.policy import Policy
from alerting.rule_counts import RuleCounts
from alerting.rule_settings import RuleSettings
from metering.call import Call, Caller, Consumption, Door, Endpoint, Prompt
from storage.sqlite import SqliteDatabase

CALLS: Final = 20_000
ROUNDS: Final = 5
TARGETS: Final = {1: 3.0, 100: 5.0, 1000: 10.0}
"""Microseconds that so many rules may add to a call whose names were seen before."""
MODELS: Final = ("gpt-4o", "gpt-4o-mini", "o3", "claude-sonnet-4-5", "gemini-2.5-pro", "text-embedding-3-small")
DEPARTMENTS: Final = ("engineering", "marketing", "sales", None)


def rules(number: int, *, text: bool = False) -> list[RuleSettings]:
    """Return rules as an organisation has them: models by department, people, hours, sizes; few of them about a given call."""
    made: list[dict[str, Any]] = []
    for index in range(number):
        match: dict[str, Any] = (
            {"model": f"{MODELS[index % 6]}-{index:03}*", "department": {"not": [DEPARTMENTS[index % 3]]}},
            {"user": f"user-{index}@*", "model": "gpt-4*"},
            {"provider": "openai", "agent": [f"agent-{index}", f"bot-{index}*"], "hours": "22:00-06:00"},
            {"service": f"service-{index}", "min_input_tokens": 100_000},
            {"department": DEPARTMENTS[index % 3], "tools": [f"tool-{index}*"]},
        )[index % 5]
        made.append({"match": match, "action": ("block", "alert", "allow")[index % 3], "priority": index % 7})
    if text:
        made[-1] = {"match": {"secrets": "any"}, "action": "block", "priority": -1}
    return [RuleSettings.model_validate({"id": f"R-{index}", "title": "A rule", **one}) for index, one in enumerate(made)]


def calls(number: int) -> list[Call]:
    """Return calls of fifty people with six models."""
    chosen = random.Random(1)
    text = "A cart with two oxen and a sleeping driver wants to cross before sunset. " * 27
    first = Call(
        id="1",
        started_at=datetime.now(UTC),
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
        model="gpt-4o",
        streamed=False,
        caller=Caller(),
        request_bytes=2_000,
        prompt=Prompt(texts=(text,)),
    )
    people = [Caller(user=f"user-{index}@acme.com", department=DEPARTMENTS[index % 4]) for index in range(50)]
    return [replace(first, model=chosen.choice(MODELS), caller=chosen.choice(people)) for _ in range(number)]


async def cost(policy: Policy, asked: Sequence[Call], counts: RuleCounts) -> float:
    """Return the CPU seconds a call of deciding, counting and writing the counts once at the end."""
    begun = time.process_time()
    for call in asked:
        decision = policy.decide(call, tokens=500)
        if decision.unknown is not None and policy.scanner is not None:
            decision = policy.decide(call, tokens=500, exact=True, scan=policy.scanner.scan(call.prompt))
        if decision.tally is not None:
            counts.add(decision.tally, decision.position, call.started_at)
    await counts.flush()
    return (time.process_time() - begun) / len(asked)


async def main() -> bool:
    """Print the table; return whether every target is met."""
    asked, met = calls(CALLS), True
    fresh = [replace(call, model=f"{call.model}-{index}") for index, call in enumerate(asked[:1000])]
    print(f"\npolicy rules: what they add to a call, of {CALLS:,} calls, one write of the counts included")
    print(f"{'rules':>6} {'seen before':>12} {'target':>8} {'new names':>10} {'2 KB looked through':>20} {'a change':>9}")
    with tempfile.TemporaryDirectory() as folder:
        database = await SqliteDatabase.open(Path(folder) / "bench.db")
        counts = RuleCounts(database)
        for number, target in TARGETS.items():
            begun = time.process_time()
            policy = Policy(rules(number))
            change = time.process_time() - begun
            await cost(policy, asked[:1000], counts)
            seen = min([await cost(policy, asked, counts) for _ in range(ROUNDS)])
            unseen = await cost(policy, fresh, counts)
            looked = await cost(Policy(rules(number, text=True)), asked[:5000], counts)
            good = seen * 1e6 <= target
            met = met and good
            print(
                f"{number:6,} {seen * 1e6:9.2f} µs {target:5.0f} µs {unseen * 1e6:7.1f} µs {looked * 1e6:17.1f} µs {change * 1e3:6.1f} ms"
                f"{'' if good else '  ABOVE TARGET'}"
            )
        await database.close()
    return met


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(main()) else 1)
