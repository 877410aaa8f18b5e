"""Fifty clients at once on a budget of one dollar."""

import asyncio
import json
import random
from pathlib import Path
from typing import Any

from tests.support.answers import Answer, body, chat_usage
from tests.support.asking import chat, connect, head, target
from tests.support.gateway import Gateway
from tests.support.provider import Provider, Seen

DOLLAR = 1_000_000_000
CLIENTS, CALLS_EACH = 50, 3
CAP = 5000  # tokens of gpt-4o output: 0.05 USD, so that twenty calls fill the budget
CONFIG: dict[str, Any] = {"budgets": [{"name": "dollar", "limit": "1 USD", "period": "month", "on_exceed": "block"}]}


def spending(seen: Seen) -> Answer | None:
    """Answer with a usage between half of what was asked for and all of it; one in ten fails."""
    chance = random.Random(seen.oracle_id)
    if chance.random() < 0.1:
        return body({"error": {"message": "overloaded", "type": "server_error"}}, status=500)
    output = chance.randint(CAP // 2, CAP)
    usage = {**chat_usage(), "completion_tokens": output}
    choice = {"index": 0, "message": {"role": "assistant", "content": "."}, "finish_reason": "stop"}
    return body({"id": "chatcmpl-x", "object": "chat.completion", "created": 1, "model": "gpt-4o", "choices": [choice], "usage": usage})


async def client(gateway: Gateway, number: int) -> list[int]:
    statuses = []
    for turn in range(CALLS_EACH):
        raw = json.dumps(chat("gpt-4o", max_tokens=CAP)).encode()
        headers = head(more={"x-oracle-id": f"{number}.{turn}"})
        async with await connect(gateway) as connection:
            answer = await connection.request("POST", target("/v1/chat/completions"), headers=headers, pieces=[raw])
        statuses.append(answer.status)
    return statuses


async def test_no_grant_ever_goes_beyond_a_hard_budget(tmp_path: Path) -> None:
    with Provider(tmp_path) as provider, Gateway(tmp_path, provider, config=CONFIG) as gateway:
        provider.script = spending
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(client(gateway, number)) for number in range(CLIENTS)]
        statuses = [status for task in running for status in task.result()]
        rows = gateway.wait_settled(CLIENTS * CALLS_EACH)

        history = gateway.rows("SELECT * FROM budget_history ORDER BY seq")
        (period,) = gateway.rows("SELECT * FROM budget_periods")
    grants = [step for step in history if step["event"] == "hold"]
    assert all(step["spent"] + step["held"] <= step["limit"] == DOLLAR for step in grants)
    assert len(grants) == len(provider.seen) == sum(status != 402 for status in statuses)
    assert statuses.count(402) > 0
    assert statuses.count(200) >= 20
    assert period["held"] == 0
    assert period["spent"] == sum(row["cost_nano"] or 0 for row in rows) <= DOLLAR
    assert sum(row["status"] == 402 for row in rows) == statuses.count(402)
