"""A gateway that is killed again and again while alerts come tells each of them: at least once, always with the same id."""

import asyncio
import contextlib
import json
import random
import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.gateway import Gateway
from tests.support.receiver import receiving

SECRET = "whsec_dG9sbHdhdGNoLWV4YW1wbGUtc2VjcmV0LWNoYW5nZS1pdCE="
RULE = {"id": "SEC-003", "title": "No GPT-4", "match": {"model": "gpt-4*"}, "action": "block", "severity": "high"}
ROUNDS, CALLS = 12, 60


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_no_alert_is_lost_however_often_the_gateway_is_killed(tmp_path: Path) -> None:
    chosen = random.Random(7)
    async with receiving() as receiver, aiohttp.ClientSession() as client:
        hook = {"name": "siem", "url": receiver.url, "secret": SECRET}
        gateway = Gateway(tmp_path, config={"rules": [RULE], "notify": {"allowed_networks": ["127.0.0.0/8"], "webhooks": [hook]}})
        for turn in range(ROUNDS):
            await asyncio.to_thread(gateway.start)
            calls = asyncio.gather(*(_refused(client, gateway, f"user-{turn}-{number}") for number in range(CALLS)))
            await asyncio.sleep(chosen.uniform(0.05, 0.6))  # the moment of the kill is what is tried
            await asyncio.to_thread(gateway.kill)
            await calls
        await asyncio.to_thread(gateway.start)
        async with asyncio.timeout(120):
            while _rows(gateway, "SELECT COUNT(*) FROM deliveries WHERE state <> 'delivered'") != [(0,)]:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.2)
        alerts = {row[0] for row in _rows(gateway, "SELECT id FROM alerts WHERE kind = 'policy_violation'")}
        await asyncio.to_thread(gateway.stop)

    heard: defaultdict[str, set[str]] = defaultdict(set)
    for got in receiver.got:
        told = json.loads(got.body)
        heard[told["data"]["id"]].add(got.headers["webhook-id"])
    assert len(alerts) > ROUNDS
    assert alerts <= heard.keys()
    assert {len(ids) for ids in heard.values()} == {1}


async def _refused(client: aiohttp.ClientSession, gateway: Gateway, user: str) -> None:
    """Make a call that a rule refuses; the gateway may be dead."""
    body: Mapping[str, Any] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
    headers = {"x-tollwatch-user": user, "authorization": "Bearer sk-x"}
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        await asyncio.sleep(random.uniform(0, 0.5))
        async with client.post(f"http://{gateway.base}/openai/v1/chat/completions", json=body, headers=headers) as answer:
            await answer.read()


def _rows(gateway: Gateway, question: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(f"file:{gateway.database}?mode=ro", uri=True)) as connection:
        return connection.execute(question).fetchall()
