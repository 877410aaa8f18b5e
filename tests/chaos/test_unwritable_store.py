"""The ledger cannot be written: monitor mode lets calls pass and keeps them in the spool, enforce mode refuses them."""

import asyncio
import contextlib
import json
import sqlite3
import stat
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

from tests.support.answers import Answer
from tests.support.asking import ask, chat
from tests.support.gateway import Gateway, poll
from tests.support.provider import Provider, Seen

CONFIG: dict[str, Any] = {"mode": "monitor", "budgets": [{"name": "large", "limit": "1000 USD", "period": "month"}]}
SECRET = "my-very-own-prompt"


@contextlib.contextmanager
def unwritable(gateway: Gateway) -> Generator[None]:
    """Hold the lock of the store, as another process would."""
    connection = sqlite3.connect(gateway.database, isolation_level=None, timeout=10)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def spool_of(gateway: Gateway) -> Path:
    return gateway.data_dir / "spool.jsonl"


def lines_of(gateway: Gateway) -> list[dict[str, Any]]:
    path = spool_of(gateway)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def spooled(gateway: Gateway, *, intents: int, settled: int) -> bool:
    lines = lines_of(gateway)
    return (sum("intent" in line for line in lines), sum("settled" in line for line in lines)) == (intents, settled)


def check_budget(gateway: Gateway, rows: list[dict[str, Any]]) -> None:
    """Compare the budget with the calls: each is charged once."""
    (budget,) = gateway.rows("SELECT sum(spent) AS spent, sum(held) AS held FROM budget_periods")
    assert budget["held"] == 0
    assert budget["spent"] == sum(row["hold_nano"] if row["state"] == "unknown" else row["cost_nano"] for row in rows)


async def test_monitor_passes_calls_while_the_store_is_locked_and_the_ledger_has_them_after(tmp_path: Path) -> None:
    with Provider(tmp_path) as provider, Gateway(tmp_path, provider, config=CONFIG) as gateway:
        gateway.token()
        before = await ask(gateway, chat(text=SECRET))
        gateway.wait_settled(1)
        with unwritable(gateway):
            during = [await ask(gateway, chat(text=f"{SECRET} {number}")) for number in range(4)]
            poll(lambda: spooled(gateway, intents=4, settled=4), what="the spool")
            kept = spool_of(gateway).read_text()
            mode = stat.S_IMODE(spool_of(gateway).stat().st_mode)
        poll(lambda: not spool_of(gateway).exists(), what="the end of the spool")
        after = await ask(gateway, chat())
        rows = gateway.wait_settled(6)
        check_budget(gateway, rows)
        [alert] = poll(
            lambda: [one for one in gateway.rows("SELECT * FROM alerts WHERE title LIKE '%: spool'") if one["resolved_at"]],
            what="the alert and its end",
        )
        spool_of(gateway).symlink_to(tmp_path / "elsewhere")
        with unwritable(gateway):
            neither = await ask(gateway, chat())
        spool_of(gateway).unlink()
        log = gateway.log()

    assert neither.status == 503
    assert not (tmp_path / "elsewhere").exists()
    assert log.count("spool_refuses") == 1
    assert [answer.status for answer in (before, *during, after)] == [200] * 6
    assert [row["state"] for row in rows] == ["settled"] * 6
    assert len({row["id"] for row in rows}) == len(provider.seen) == 6
    assert len({row["cost_nano"] for row in rows[1:5]}) == 1
    assert rows[1]["cost_nano"] == rows[0]["cost_nano"] == rows[5]["cost_nano"]
    assert mode == 0o600
    assert SECRET not in kept
    assert "sk-test" not in kept
    assert "calls passed in monitor mode" in alert["message"]


async def test_a_call_that_runs_on_over_the_replay_is_settled_by_the_ledger(tmp_path: Path) -> None:
    ends = threading.Event()

    def slow(_seen: Seen) -> Answer | None:
        ends.wait(60)
        return None

    with Provider(tmp_path) as provider, Gateway(tmp_path, provider, config=CONFIG) as gateway:
        provider.script = slow
        async with asyncio.TaskGroup() as tasks:
            with unwritable(gateway):
                call = tasks.create_task(ask(gateway, chat()))
                await asyncio.to_thread(poll, lambda: spooled(gateway, intents=1, settled=0), what="the spool")
            await asyncio.to_thread(poll, lambda: not spool_of(gateway).exists(), what="the end of the spool")
            [under_way] = gateway.calls()
            ends.set()
        rows = gateway.wait_settled(1)
        check_budget(gateway, rows)

    assert call.result().status == 200
    assert under_way["state"] == "intent"
    assert [row["state"] for row in rows] == ["settled"]
    assert rows[0]["cost_nano"] > 0


async def test_a_kill_with_a_spool_is_made_good_at_the_next_start(tmp_path: Path) -> None:
    with Provider(tmp_path) as provider, Gateway(tmp_path, provider, config=CONFIG) as gateway:
        with unwritable(gateway):
            for _ in range(3):
                assert (await ask(gateway, chat())).status == 200
            poll(lambda: spooled(gateway, intents=3, settled=3), what="the spool")
            gateway.kill()
        whole = spool_of(gateway).read_bytes()
        first, *rest = whole.splitlines(keepends=True)
        last = next(line for line in reversed(rest) if b'"settled"' in line)
        # The last settlement never came to the disk whole.
        spool_of(gateway).write_bytes(whole.replace(last, b"") + last[:40])
        gateway.start()
        rows = gateway.calls()
        check_budget(gateway, rows)
        assert not spool_of(gateway).exists()

    assert first.startswith(b'{"intent"')
    assert sorted(row["state"] for row in rows) == ["settled", "settled", "unknown"]


async def test_enforce_refuses_and_keeps_no_spool(tmp_path: Path) -> None:
    with Provider(tmp_path) as provider, Gateway(tmp_path, provider, config={**CONFIG, "mode": "enforce"}) as gateway:
        with unwritable(gateway):
            answer = await ask(gateway, chat())
        exists = spool_of(gateway).exists()

    assert answer.status == 503
    assert not exists
    assert not provider.seen
