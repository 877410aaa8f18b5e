"""SIGKILL under load: what the provider saw and what the API had told must still be there."""

import asyncio
import json
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.support.answers import Answer
from tests.support.answers import chat as answer_chat
from tests.support.asking import chat, connect, head, target
from tests.support.gateway import Gateway
from tests.support.provider import Provider, Seen

CLIENTS = 40
CONFIG: dict[str, Any] = {
    "budgets": [{"name": "large", "limit": "100000 USD", "period": "month"}],
    "rules": [{"id": "SEC-009", "title": "Not these", "match": {"user": "*-forbidden"}, "action": "block", "severity": "high"}],
}


class Load:
    """Clients that never stop asking, each call under an id of its own: the user in the ledger, a header at the provider."""

    def __init__(self, gateway: Gateway, *, seed: int) -> None:
        self._gateway = gateway
        self._chance = random.Random(seed)
        self._over = asyncio.Event()
        self._next = 0
        self.answered: set[str] = set()
        self.refused: set[str] = set()
        self.alerts: set[str] = set()

    def stop(self) -> None:
        self._over.set()

    async def client(self) -> None:
        while not self._over.is_set():
            try:
                async with await connect(self._gateway) as connection:
                    while not self._over.is_set():
                        await self._call(connection)
                        if not connection.reusable:
                            break
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.02)  # the gateway is down: a client's own pause before it tries again

    async def _call(self, connection: Any) -> None:
        self._next += 1
        forbidden = self._chance.random() < 0.15
        name = f"c{self._next}" + ("-forbidden" if forbidden else "")
        raw = json.dumps(chat(stream=self._chance.random() < 0.5, max_tokens=50)).encode()
        headers = head(more={"x-oracle-id": name, "x-tollwatch-user": name})
        answer = await connection.request("POST", target("/v1/chat/completions"), headers=headers, pieces=[raw])
        if answer.status == 403:
            self.refused.add(name)
        elif answer.status == 200 and answer.whole:
            self.answered.add(name)

    async def reader(self, token: str) -> None:
        """Read the alerts as a person would, and remember each that was shown."""
        while not self._over.is_set():
            try:
                status, answer = await asyncio.to_thread(self._gateway.get, "/api/alerts?limit=50", token=token)
                if status == 200:
                    self.alerts |= {alert["id"] for alert in answer["alerts"]}
            except OSError:
                pass
            await asyncio.sleep(0.05)  # the pace of a poller


def paced(seen: Seen) -> Answer | None:
    request = json.loads(seen.body)
    return answer_chat(request, pace_seconds=0.01) if request.get("stream") else None


async def killed_under_load(folder: Path, *, kills: int, seed: int) -> None:
    with Provider(folder) as provider, Gateway(folder, provider, config=CONFIG) as gateway:
        provider.script = paced
        token, chance = gateway.token(), random.Random(seed)
        load = Load(gateway, seed=seed)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CLIENTS):
                tasks.create_task(load.client())
            tasks.create_task(load.reader(token))
            for _ in range(kills):
                await asyncio.sleep(0.4 + chance.random())  # a random moment under load is the test
                gateway.kill()
                await asyncio.to_thread(gateway.start)
            await asyncio.sleep(0.3)
            load.stop()
        rows = gateway.wait_settled(len(load.answered))
        kept = {alert["id"] for alert in gateway.rows("SELECT 'alert_' || seq AS id FROM alerts")}
        about = {json.loads(row["subject"]).get("user") for row in gateway.rows("SELECT subject FROM alerts")}
        (budget,) = gateway.rows("SELECT sum(held) AS held FROM budget_periods")
        gateway.stop()
    with sqlite3.connect(gateway.database) as store:
        assert store.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    store.close()
    in_ledger = [row["user"] for row in rows]
    seen = {one.oracle_id for one in provider.seen}
    assert len(seen) > 20 * kills
    assert seen - set(in_ledger) == set(), "calls that the provider saw are missing from the ledger"
    assert len(in_ledger) == len(set(in_ledger)), "a call stands in the ledger twice"
    assert not seen & {name for name in seen if name and name.endswith("-forbidden")}, "a refused call was sent"
    assert load.answered <= set(in_ledger)
    assert load.refused <= set(in_ledger)
    assert load.refused <= about, "a refusal was answered before its alert was durable"
    assert load.alerts
    assert load.alerts <= kept, "alerts that the API had returned are lost"
    assert {row["state"] for row in rows} <= {"settled", "refused", "unknown"}
    assert all(row["source"] == "billed_unseen" for row in rows if row["state"] == "unknown")
    assert budget["held"] == 0


async def test_three_kills_lose_no_call_and_no_alert(tmp_path: Path) -> None:
    await killed_under_load(tmp_path, kills=3, seed=11)


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_twenty_kills_lose_no_call_and_no_alert(tmp_path: Path) -> None:
    await killed_under_load(tmp_path, kills=20, seed=23)
