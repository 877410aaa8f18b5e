"""Every way a call can break off: one terminal state each, and no hold left behind."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.answers import Answer, rate_limited
from tests.support.answers import chat as answer_chat
from tests.support.asking import ask, chat, connect, head, step_by_step, target
from tests.support.gateway import Gateway, free_ports, listens, poll
from tests.support.provider import Provider

(_DEAD,) = free_ports(1)
CONFIG: dict[str, Any] = {
    "budgets": [{"name": "large", "limit": "1000 USD"}],
    "proxy": {"resolve": {"api.groq.com": f"127.0.0.1:{_DEAD}"}},
}
STREAM = json.dumps(chat(stream=True, max_tokens=50)).encode()
DOORS = pytest.mark.parametrize("door", ["forward", "base_url"])


def ending_of(gateway: Gateway, before: int) -> dict[str, Any]:
    """Return the one call that came since, once it has ended, with nothing held any more."""
    rows = gateway.wait_settled(before + 1)
    assert len(rows) == before + 1
    poll(lambda: gateway.rows("SELECT sum(held) AS held FROM budget_periods")[0]["held"] == 0, what="the release of every hold")
    assert gateway.rows("SELECT id FROM calls WHERE holds IS NOT NULL") == []
    return rows[-1]


@pytest.fixture
def before(gateway: Gateway) -> int:
    return len(gateway.calls())


@DOORS
async def test_a_client_that_leaves_in_mid_stream(gateway: Gateway, provider: Provider, door: str, before: int) -> None:
    provider.queue.append(answer_chat({"stream": True}, texts=["some ", "words ", "came "] * 3, then="hang", after_chunks=7))
    connection = await connect(gateway, door=door)
    await connection.send("POST", target("/v1/chat/completions", door=door), headers=head(door=door), pieces=[STREAM])
    came = await connection.receive(events=5)

    connection.abort()

    row = await asyncio.to_thread(ending_of, gateway, before)
    assert came.status == 200
    assert (row["ending"], row["source"], row["status"]) == ("client_abort", "estimated", 200)
    assert row["output_tokens"] >= 4
    provider.release()


@DOORS
async def test_a_client_that_leaves_before_the_answer(gateway: Gateway, provider: Provider, door: str, before: int) -> None:
    provider.queue.append(Answer(then="hang", after_chunks=-1))
    connection = await connect(gateway, door=door)
    await connection.send("POST", target("/v1/chat/completions", door=door), headers=head(door=door), pieces=[STREAM])
    await asyncio.to_thread(provider.wait_seen, 1)

    connection.abort()

    row = await asyncio.to_thread(ending_of, gateway, before)
    assert (row["ending"], row["source"], row["status"]) == ("client_abort", "billed_unseen", None)
    provider.release()


@DOORS
async def test_an_upstream_that_resets_before_its_answer(gateway: Gateway, provider: Provider, door: str, before: int) -> None:
    provider.queue.append(Answer(then="reset", after_chunks=-1))

    answer = await ask(gateway, STREAM, door=door)

    row = await asyncio.to_thread(ending_of, gateway, before)
    assert answer.status == 502
    assert "error" in json.loads(answer.body)
    assert (row["ending"], row["id"]) == ("upstream_reset", answer.call_id)


@DOORS
async def test_an_upstream_that_resets_in_mid_stream(gateway: Gateway, provider: Provider, door: str, before: int) -> None:
    provider.queue.append(answer_chat({"stream": True}, stepped=True, then="reset", after_chunks=3))
    async with await connect(gateway, door=door) as connection:
        await connection.send("POST", target("/v1/chat/completions", door=door), headers=head(door=door), pieces=[STREAM])
        answer = await step_by_step(connection, provider)

    row = await asyncio.to_thread(ending_of, gateway, before)
    assert (answer.status, answer.whole) == (200, False)
    assert (row["ending"], row["source"], row["status"]) == ("upstream_reset", "estimated", 200)


async def test_an_upstream_that_is_down(gateway: Gateway, before: int) -> None:
    raw = json.dumps(chat("llama-3.1-8b-instant")).encode()
    async with await connect(gateway, door="forward", origin="https://api.groq.com") as connection:
        headers = head(door="forward", host="api.groq.com")
        answer = await connection.request("POST", "/openai/v1/chat/completions", headers=headers, pieces=[raw])

    row = await asyncio.to_thread(ending_of, gateway, before)
    assert answer.status == 502
    assert "message" in json.loads(answer.body)["error"]
    assert (row["ending"], row["source"], row["cost_nano"] or 0) == ("upstream_unreachable", "none", 0)


@DOORS
async def test_a_provider_that_says_429_is_passed_on(gateway: Gateway, provider: Provider, door: str, before: int) -> None:

    provider.queue.append(rate_limited(retry_after="7"))

    answer = await ask(gateway, STREAM, door=door)

    row = await asyncio.to_thread(ending_of, gateway, before)
    assert (answer.status, answer.headers["retry-after"]) == (429, "7")
    assert (row["ending"], row["status"], row["source"]) == ("completed", 429, "none")


async def test_sigterm_lets_running_calls_end_and_settles_all(tmp_path: Path) -> None:
    with Provider(tmp_path) as provider, Gateway(tmp_path, provider, config={"budgets": CONFIG["budgets"]}) as gateway:
        provider.script = lambda _: answer_chat({"stream": True}, then="hang", after_chunks=3)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(ask(gateway, STREAM)) for _ in range(10)]
            await asyncio.to_thread(provider.wait_seen, 10)
            stopping = tasks.create_task(asyncio.to_thread(gateway.stop))
            await asyncio.to_thread(poll, lambda: not listens(gateway.base), what="the end of its listening")
            provider.release()
        rows = gateway.calls()

    assert stopping.result() == 0
    assert len(rows) == 10
    assert {row["state"] for row in rows} == {"settled"}
    assert [task.result().whole for task in running] == [True] * 10


async def test_sigterm_does_not_wait_for_a_call_that_never_ends(tmp_path: Path) -> None:
    with Provider(tmp_path) as provider, Gateway(tmp_path, provider) as gateway:
        provider.script = lambda _: answer_chat({"stream": True}, then="hang", after_chunks=3)
        connection = await connect(gateway)
        await connection.send("POST", target("/v1/chat/completions"), headers=head(), pieces=[STREAM])
        await connection.receive(events=2)
        code = await asyncio.to_thread(gateway.stop)
        connection.abort()
        (row,) = gateway.calls()

    assert code == 0
    assert row["state"] == "settled"
    assert row["source"] == "estimated"
