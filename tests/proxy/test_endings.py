"""Each call ends once, whatever ends it, and the client is told in the provider's own shape where it still can be."""

import asyncio
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
import pytest

from metering.settings import BudgetSettings
from tests.support import answers
from tests.support.asking import step_by_step
from tests.support.client import Connection

CHAT = orjson.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What is the toll?"}]})
STREAM = orjson.dumps(orjson.loads(CHAT) | {"stream": True, "stream_options": {"include_usage": True}})
HEAD = [("host", "api.openai.com"), ("content-type", "application/json")]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what nobody announces."""
    for _ in range(12_000):
        if condition():
            return
        await asyncio.sleep(0.005)
    pytest.fail("it did not come true in 60 s")


async def test_a_client_that_leaves_mid_stream_is_settled_with_what_passed(house: Any) -> None:
    house.provider.script = lambda seen: answers.chat(orjson.loads(seen.body), then="hang", after_chunks=4)
    connection = await house.through()
    await connection.send("POST", "/v1/chat/completions", headers=HEAD, pieces=[STREAM])
    await asyncio.wait_for(connection.receive(events=4), 30)
    connection.abort()

    row = await house.row(ending="client_abort")
    assert (row.status, row.source) == (200, "estimated")
    assert row.output_tokens >= 1
    assert row.response_bytes > 0
    house.provider.release()


async def test_a_client_that_leaves_before_the_answer_is_charged_at_the_hold(house: Any) -> None:
    house.provider.script = lambda _: answers.Answer(then="hang", after_chunks=-1)
    connection = await house.through()
    await connection.send("POST", "/v1/chat/completions", headers=HEAD, pieces=[CHAT])
    await asyncio.to_thread(house.provider.wait_seen, 1)
    connection.abort()

    row = await house.row(ending="client_abort")
    assert (row.status, row.source) == (None, "billed_unseen")
    house.provider.release()


async def test_a_client_that_leaves_while_its_call_waits_for_a_budget_is_dropped_and_nothing_is_sent(open_house: Any) -> None:
    house = await open_house(budgets=[BudgetSettings(name="b", limit="9000 tokens", wait="60s")])
    house.provider.script = lambda _: answers.Answer(then="hang", after_chunks=-1)
    first, second = await house.through(), await house.through()
    await first.send("POST", "/v1/chat/completions", headers=HEAD, pieces=[CHAT])
    await asyncio.to_thread(house.provider.wait_seen, 1)
    await second.send("POST", "/v1/chat/completions", headers=HEAD, pieces=[CHAT])
    await until(lambda: house.ledger.waiting == 1)
    second.abort()
    await until(lambda: house.ledger.waiting == 0)

    rows = await house.rows()
    assert [row.state for row in rows].count("intent") == 1
    assert len(house.provider.seen) == 1
    house.provider.release()
    first.abort()


async def test_an_upstream_that_breaks_off_mid_stream_is_settled_with_what_passed(house: Any) -> None:
    house.provider.script = lambda seen: answers.chat(orjson.loads(seen.body), then="reset", after_chunks=4, stepped=True)
    async with await house.through() as connection:
        await connection.send("POST", "/v1/chat/completions", headers=HEAD, pieces=[STREAM])
        response = await step_by_step(connection, house.provider)

    assert not response.whole
    row = await house.row(ending="upstream_reset")
    assert (row.status, row.source) == (200, "estimated")


async def test_an_upstream_that_breaks_off_before_its_answer_is_a_502_in_the_providers_shape(house: Any) -> None:
    house.provider.script = lambda _: answers.Answer(then="reset", after_chunks=-1)

    response = await house.post(CHAT)

    assert (response.status, response.headers["content-type"]) == (502, "application/json")
    assert orjson.loads(response.body)["error"]["code"] == "tollwatch_upstream"
    row = await house.row(ending="upstream_reset")
    assert (row.id, row.status, row.source) == (response.call_id, None, "billed_unseen")


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("host", "path", "shape"),
    [("api.openai.com", "/v1/chat/completions", ["error"]), ("api.anthropic.com", "/v1/messages", ["error", "request_id", "type"])],
)
async def test_an_upstream_that_is_down_costs_nothing_and_is_a_502_in_the_providers_shape(
    open_house: Any, host: str, path: str, shape: list[str]
) -> None:
    house = await open_house(proxy={"resolve": {"*": f"127.0.0.1:{unused_port()}"}})

    response = await house.post(CHAT, host=host, path=path)

    assert (response.status, sorted(orjson.loads(response.body))) == (502, shape)
    row = await house.row(ending="upstream_unreachable")
    assert (row.id, row.source, row.cost_nano) == (response.call_id, "none", row.cost_nano)


async def test_a_connection_is_of_use_after_an_upstream_that_was_down(open_house: Any) -> None:
    port = unused_port()
    house = await open_house(proxy={"upstreams": {"openai": f"http://127.0.0.1:{port}"}})
    async with await Connection.to(house.base_url) as connection:
        for _ in range(2):
            response = await connection.request("POST", "/openai/v1/chat/completions", headers=[("host", house.base_url)], pieces=[CHAT])
            assert response.status == 502
            assert connection.reusable


async def test_an_upstream_with_a_certificate_of_another_authority_never_gets_the_body(open_house: Any) -> None:
    house = await open_house(proxy={"upstream_ca": None})

    response = await house.post(CHAT)

    assert response.status == 502
    assert "ertificate verify failed" in orjson.loads(response.body)["error"]["message"]
    assert house.provider.seen == []


async def test_an_answer_of_the_provider_that_is_an_error_passes_and_costs_nothing(house: Any) -> None:
    house.provider.script = lambda _: answers.rate_limited()

    response = await house.post(CHAT)

    assert (response.status, response.headers["retry-after"]) == (429, "1")
    row = await house.row()
    assert (row.ending, row.status, row.source) == ("completed", 429, "none")


async def test_a_stop_lets_calls_in_flight_finish(house: Any) -> None:
    house.provider.script = lambda seen: answers.chat(orjson.loads(seen.body), then="hang", after_chunks=4)
    connection = await house.through()
    await connection.send("POST", "/v1/chat/completions", headers=HEAD, pieces=[STREAM])
    await asyncio.to_thread(house.provider.wait_seen, 1)

    async def receive() -> Any:
        await until(lambda: house.proxy.addon.stopping)
        house.provider.release()
        return await connection.receive()

    _, response = await asyncio.gather(house.proxy.stop(grace=timedelta(seconds=60)), receive())

    assert response.whole
    assert (await house.row()).ending == "completed"


async def test_a_stop_settles_what_does_not_finish_within_its_grace(house: Any) -> None:
    house.provider.script = lambda seen: answers.chat(orjson.loads(seen.body), then="hang", after_chunks=4)
    connection = await house.through()
    await connection.send("POST", "/v1/chat/completions", headers=HEAD, pieces=[STREAM])
    await asyncio.wait_for(connection.receive(events=4), 30)

    await house.proxy.stop(grace=timedelta(seconds=0.05))

    row = await house.row(ending="client_abort")
    assert row.source == "estimated"
    house.provider.release()
    connection.abort()


async def test_nothing_listens_after_a_stop(house: Any) -> None:
    await house.proxy.stop(grace=timedelta(seconds=1))

    for host, port in (house.proxy.forward_address, house.proxy.base_url_address):
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection(host, port)


async def test_a_new_call_on_an_open_connection_is_refused_while_the_gateway_stops(house: Any) -> None:
    house.provider.script = lambda seen: answers.chat(orjson.loads(seen.body), then="hang", after_chunks=1)
    streaming, waiting = await house.through(), await house.through()
    await streaming.send("POST", "/v1/chat/completions", headers=HEAD, pieces=[STREAM])
    await asyncio.wait_for(streaming.receive(chunks=1), 30)

    async def ask_late() -> Any:
        await until(lambda: house.proxy.addon.stopping)
        response = await waiting.request("POST", "/v1/chat/completions", headers=HEAD, pieces=[CHAT])
        house.provider.release()
        return response

    _, response = await asyncio.gather(house.proxy.stop(grace=timedelta(seconds=60)), ask_late())

    assert (response.status, orjson.loads(response.body)["error"]["code"]) == (503, "tollwatch_stopping")
    assert len(house.provider.seen) == 1
    streaming.abort()
    waiting.abort()
