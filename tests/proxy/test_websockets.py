"""WebSockets to OpenAI: each response is a call, judged before it is sent and metered when it ends."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import openai
import orjson
import pytest
import websockets

from alerting.finding import Action
from alerting.lockout import Lockouts, Who
from alerting.people import People
from alerting.rule_settings import Match, RuleSettings
from alerting.settings import DetectorSettings
from metering.settings import BudgetSettings
from proxy.websockets import WebSockets
from tests.support.answers import INPUT_TOKENS, OUTPUT_TOKENS, TEXT
from tests.support.sockets import SocketProvider

SAID = "".join(TEXT)
HELLO = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What is the toll?"}]}
ITEM = {"type": "conversation.item.create", "item": HELLO}
ASK = {"type": "response.create", "event_id": "mine", "response": {"output_modalities": ["text"]}}
CREATE = {"type": "response.create", "model": "gpt-4o-mini", "input": "What is the toll?", "max_output_tokens": 50}
NO_MODEL = RuleSettings(id="NO-4", title="No gpt-4", match=Match(model="gpt-4-turbo"), action=Action.BLOCK)


@pytest.fixture
async def sockets(tmp_path: Path) -> AsyncIterator[SocketProvider]:
    async with SocketProvider(tmp_path) as provider:
        yield provider


@pytest.fixture
def open_sockets(open_house: Any, sockets: SocketProvider) -> Callable[..., Any]:
    async def build(**more: Any) -> Any:
        proxy = {"resolve": {"*": sockets.secure}, "upstreams": {"openai": f"http://{sockets.plain}"}, "upstream_ca": sockets.ca_file}
        return await open_house(proxy=proxy | more.pop("proxy", {}), **more)

    return build


@asynccontextmanager
async def socket(house: Any, path: str, *, door: str = "base_url", **more: Any) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Open a WebSocket with aiohttp, through either door."""
    url, way = f"ws://{house.base_url}/openai{path}", {}
    if door == "forward":
        url, way = f"wss://api.openai.com{path}", {"proxy": f"http://{house.forward}", "ssl": house.trust}
    headers = {"authorization": "Bearer sk-test"}
    async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=headers, max_msg_size=0, **way, **more) as opened:
        yield opened


async def until(opened: aiohttp.ClientWebSocketResponse, kind: str) -> dict[str, Any]:
    """Return the next event of a kind."""
    while True:
        event: dict[str, Any] = json.loads(await asyncio.wait_for(opened.receive_str(), 30))
        if event["type"] == kind:
            return event


async def settled(house: Any, count: int) -> Sequence[Any]:
    """Return the rows once `count` of them have ended."""
    deadline = time.monotonic() + 60
    while True:
        rows = [row for row in await house.rows() if row.state != "intent"]
        if len(rows) >= count:
            return rows
        if time.monotonic() > deadline:
            raise TimeoutError([(row.operation, row.state) for row in await house.rows()])
        await asyncio.sleep(0.01)


def metered(rows: Sequence[Any]) -> list[Any]:
    return [row for row in rows if row.source != "none"]


def sdk(house: Any, door: str) -> tuple[openai.AsyncOpenAI, dict[str, Any]]:
    if door == "forward":
        base_url, options = "https://api.openai.com/v1", {"proxy": f"http://{house.forward}", "ssl": house.trust}
    else:
        base_url, options = f"http://{house.base_url}/openai/v1", {"proxy": None}
    return openai.AsyncOpenAI(api_key="sk-test", base_url=base_url), options


@pytest.mark.parametrize("door", ["forward", "base_url"])
async def test_the_official_sdk_speaks_realtime_and_each_response_is_metered(open_sockets: Any, door: str) -> None:
    house = await open_sockets()
    client, options = sdk(house, door)
    said = ""
    async with client.realtime.connect(model="gpt-realtime", websocket_connection_options=options) as connection:
        for _ in range(2):
            await connection.conversation.item.create(item=HELLO)  # type: ignore[arg-type]  # a dict is one
            await connection.response.create(response={"output_modalities": ["text"]})
            async for event in connection:
                said += event.delta if event.type == "response.output_text.delta" else ""
                if event.type == "response.done":
                    break
    await client.close()

    assert said == SAID * 2
    rows = await settled(house, 5)
    assert [(row.input_tokens, row.output_tokens, row.cache_read_tokens) for row in metered(rows)] == [(20, 10, 5)] * 2
    assert {(row.operation, row.request_model, row.source, row.door, row.ending) for row in metered(rows)} == {
        ("realtime", "gpt-realtime", "provider_reported", door, "completed")
    }
    assert all(row.cost_nano for row in metered(rows))
    upgrade = next(row for row in rows if row.wire_format == "openai.websocket")
    assert (upgrade.status, upgrade.source, upgrade.request_model) == (101, "none", "gpt-realtime")


@pytest.mark.parametrize("door", ["forward", "base_url"])
async def test_the_official_sdk_speaks_responses_over_a_websocket(open_sockets: Any, door: str) -> None:
    house = await open_sockets()
    client, options = sdk(house, door)
    said = ""
    async with client.responses.connect(websocket_connection_options=options) as connection:
        for _ in range(2):
            await connection.response.create(model="gpt-4o-mini", input="What is the toll?")
            async for event in connection:
                said += event.delta if event.type == "response.output_text.delta" else ""
                if event.type == "response.completed":
                    break
    await client.close()

    assert said == SAID * 2
    rows = metered(await settled(house, 3))
    assert [(row.operation, row.wire_format, row.input_tokens, row.output_tokens) for row in rows] == [
        ("chat", "openai.responses", INPUT_TOKENS, OUTPUT_TOKENS)
    ] * 2


@pytest.mark.parametrize("door", ["forward", "base_url"])
async def test_an_intent_is_durable_before_the_event_is_sent(open_sockets: Any, sockets: SocketProvider, door: str) -> None:
    house = await open_sockets()
    sockets.hang = True
    async with socket(house, "/v1/responses", door=door, compress=15) as opened:
        await opened.send_json(CREATE)
        await until(opened, "response.created")
        running = [row for row in await house.rows() if row.operation == "chat"]

    assert [(row.state, row.request_model, row.hold_nano > 0) for row in running] == [("intent", "gpt-4o-mini", True)]
    row = metered(await settled(house, 2))[0]
    assert (row.source, row.ending) == ("estimated", "client_abort")
    assert row.output_tokens > 0


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/realtime?model=gpt-realtime"])
async def test_a_refused_event_is_not_sent_and_the_client_gets_an_error_event(
    open_sockets: Any, sockets: SocketProvider, path: str
) -> None:
    house = await open_sockets(rules=[NO_MODEL])
    refused = {"type": "response.create", "event_id": "bad", "response": {"model": "gpt-4-turbo", "input": []}}
    async with socket(house, path) as opened:
        await opened.send_json(refused)
        error = await until(opened, "error")
        await opened.send_json(CREATE if path == "/v1/responses" else ASK)
        await until(opened, "response.completed" if path == "/v1/responses" else "response.done")

    assert (error["status"], error["error"]["code"], error["error"]["event_id"]) == (403, "tollwatch_policy", "bad")
    assert "NO-4" in error["message"]
    assert [event["type"] for event in sockets.events] == ["response.create"]
    assert sockets.events[0].get("event_id") != "bad"
    rows = await settled(house, 3)
    assert [(row.state, row.rule_id) for row in rows if row.state == "refused"] == [("refused", "NO-4")]
    assert len(metered(rows)) == 1


async def test_a_session_that_changes_to_a_forbidden_model_is_refused(open_sockets: Any, sockets: SocketProvider) -> None:
    house = await open_sockets(rules=[NO_MODEL])
    async with socket(house, "/v1/realtime?model=gpt-realtime") as opened:
        await opened.send_json({"type": "session.update", "session": {"type": "realtime", "model": "gpt-4-turbo"}})
        error = await until(opened, "error")

    assert error["error"]["code"] == "tollwatch_policy"
    assert sockets.events == []


@pytest.mark.parametrize("query", ["?model=gpt-4-turbo", "?deployment=gpt-4-turbo&api-version=1"])
async def test_the_model_of_the_query_is_judged_at_the_upgrade(open_sockets: Any, query: str) -> None:
    house = await open_sockets(rules=[NO_MODEL])

    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        async with socket(house, f"/v1/realtime{query}"):
            pass


async def test_a_query_with_two_models_has_no_single_meaning(open_sockets: Any) -> None:
    house = await open_sockets()

    with pytest.raises(aiohttp.WSServerHandshakeError, match="400"):
        async with socket(house, "/v1/realtime?model=a&model=b"):
            pass


ODD = {
    "twice": '{"type":"input_audio_buffer.clear","type":"response.create"}',
    "case": '{"Type":"response.create","type":"input_audio_buffer.clear"}',
    "no type": "{}",
    "no json": "hello",
    "both": '{"type":"response.create","model":"gpt-4o","input":"a","response":{"model":"gpt-4-turbo"}}',
    "model": '{"type":"response.create","model":"gpt-4\\u200b-turbo","input":"a"}',
}


@pytest.mark.parametrize("name", ODD)
async def test_an_event_without_a_single_meaning_is_refused(open_sockets: Any, sockets: SocketProvider, name: str) -> None:
    house = await open_sockets()
    async with socket(house, "/v1/responses") as opened:
        await opened.send_str(ODD[name])
        error = await until(opened, "error")

    assert (error["status"], error["code"]) == (400, "tollwatch_unreadable")
    assert sockets.events == []


async def test_a_binary_event_is_refused(open_sockets: Any, sockets: SocketProvider) -> None:
    house = await open_sockets()
    async with socket(house, "/v1/realtime?model=gpt-realtime") as opened:
        await opened.send_bytes(orjson.dumps(ASK))
        error = await until(opened, "error")

    assert "binary" in error["message"]
    assert sockets.events == []


async def test_in_monitor_mode_what_would_be_refused_passes(open_sockets: Any, sockets: SocketProvider) -> None:
    house = await open_sockets(mode="monitor", rules=[NO_MODEL])
    async with socket(house, "/v1/responses") as opened:
        await opened.send_json(CREATE | {"model": "gpt-4-turbo"})
        await until(opened, "response.completed")
        await opened.send_str('{"type":"response.create","model":"gpt-4o-mini","input":1}')
        await until(opened, "response.completed")

    assert len(sockets.events) == 2


async def test_a_rate_limit_is_told_with_its_remedy(open_sockets: Any) -> None:
    limits = {"rate_limits": [{"scope": {"model": "gpt-4o-mini"}, "per": "minute", "requests": 1}]}
    house = await open_sockets(detectors=DetectorSettings.model_validate(limits))
    async with socket(house, "/v1/responses") as opened:
        await opened.send_json(CREATE)
        await until(opened, "response.completed")
        await opened.send_json(CREATE)
        error = await until(opened, "error")

    assert (error["status"], error["code"]) == (429, "tollwatch_rate_limit")
    assert int(error["headers"]["retry-after"]) >= 1


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_an_event_in_fragments_is_judged_whole(open_sockets: Any, sockets: SocketProvider, compression: str | None) -> None:
    house = await open_sockets(rules=[NO_MODEL])
    url = f"ws://{house.base_url}/openai/v1/responses"

    def pieces(event: dict[str, Any]) -> list[str]:
        text = json.dumps(event, ensure_ascii=False)
        return [text[at : at + 9] for at in range(0, len(text), 9)]

    async with websockets.connect(url, proxy=None, compression=compression) as opened:
        await opened.send(pieces(CREATE | {"model": "gpt-4-turbo"}))
        refused = json.loads(await asyncio.wait_for(opened.recv(), 30))
        await opened.send(pieces(CREATE | {"input": "Wegezoll für Brücken, 過橋費 und 🌉"}))
        while json.loads(await asyncio.wait_for(opened.recv(), 30))["type"] != "response.completed":
            pass

    assert refused["code"] == "tollwatch_policy"
    assert [event["input"] for event in sockets.events] == ["Wegezoll für Brücken, 過橋費 und 🌉"]


async def test_a_budget_holds_each_response_and_refuses_the_one_that_does_not_fit(open_sockets: Any, sockets: SocketProvider) -> None:
    budget = BudgetSettings.model_validate({"name": "small", "limit": "200 tokens"})
    house = await open_sockets(budgets=[budget])
    async with socket(house, "/v1/responses") as opened:
        await opened.send_json(CREATE)
        await until(opened, "response.completed")
        await opened.send_json(CREATE | {"max_output_tokens": 5000})
        error = await until(opened, "error")

    assert (error["status"], error["code"]) == (402, "tollwatch_budget")
    assert len(sockets.events) == 1
    await settled(house, 3)
    state = (await house.ledger.budgets())[0]
    assert (state.spent, state.held) == (INPUT_TOKENS + OUTPUT_TOKENS, 0)


async def test_an_error_in_the_middle_of_a_response_ends_it(open_sockets: Any, sockets: SocketProvider) -> None:
    house = await open_sockets()
    sockets.hang = True
    async with socket(house, "/v1/responses") as opened:
        await opened.send_json(CREATE)
        await until(opened, "response.output_text.delta")
        await opened.send_json({"type": "fail"})
        await until(opened, "error")
        row = metered(await settled(house, 2))[0]

    assert (row.ending, row.source) == ("completed", "estimated")


async def test_a_large_event_is_read_in_a_thread(open_sockets: Any, sockets: SocketProvider) -> None:
    house = await open_sockets()
    async with socket(house, "/v1/realtime?model=gpt-realtime") as opened:
        await opened.send_json({"type": "input_audio_buffer.append", "audio": "A" * 300_000})
        await opened.send_json({"type": "response.create", "response": {"instructions": "a" * 300_000}})
        await until(opened, "response.done")

    assert [event["type"] for event in sockets.events] == ["input_audio_buffer.append", "response.create"]


async def test_many_events_at_once_keep_their_order(open_sockets: Any, sockets: SocketProvider) -> None:
    house = await open_sockets()
    async with socket(house, "/v1/realtime?model=gpt-realtime") as opened:
        for number in range(20):
            await opened.send_json({"type": "input_audio_buffer.append", "audio": "AAAA", "event_id": f"a{number}"})
            await opened.send_json(ASK | {"event_id": f"b{number}"})
        for _ in range(20):
            await until(opened, "response.done")

    assert [event["event_id"] for event in sockets.events] == [f"{kind}{number}" for number in range(20) for kind in "ab"]
    assert len(metered(await settled(house, 21))) == 20


async def test_a_large_prompt_and_sound_count_for_the_hold(open_sockets: Any) -> None:
    house = await open_sockets()
    async with socket(house, "/v1/realtime?model=gpt-realtime") as opened:
        await opened.send_json({"type": "session.update", "session": {"instructions": "Be kind. " * 50_000, "max_output_tokens": "inf"}})
        await opened.send_json({"type": "input_audio_buffer.append", "audio": "A" * 64_000})
        sound = {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": "A" * 64_000, "transcript": "hi"}]}
        await opened.send_json({"type": "conversation.item.create", "item": sound})
        await opened.send_json(ASK)
        await until(opened, "response.done")
        await opened.send_json({"type": "response.create", "response": {"input": [sound], "max_output_tokens": 7}})
        await until(opened, "response.done")

    first, second = metered(await settled(house, 5))
    assert first.estimated_input_tokens > 50_000
    assert first.hold_nano > second.hold_nano > 0


async def test_a_response_that_began_by_voice_is_a_call_and_its_transcription_another(open_sockets: Any) -> None:
    house = await open_sockets()
    async with socket(house, "/v1/realtime?model=gpt-realtime") as opened:
        heard = {"audio": {"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}}}
        await opened.send_json({"type": "session.update", "session": heard})
        await opened.send_json({"type": "input_audio_buffer.append", "audio": "A" * 8000})
        await opened.send_json({"type": "input_audio_buffer.commit"})
        await until(opened, "conversation.item.input_audio_transcription.completed")

    rows = metered(await settled(house, 4))
    assert [(row.request_model, row.input_tokens, row.output_tokens) for row in rows] == [
        ("gpt-realtime", 20, 10),
        ("gpt-4o-mini-transcribe", 9, 3),
    ]


async def test_a_response_by_voice_that_is_refused_closes_the_websocket(open_sockets: Any, sockets: SocketProvider) -> None:
    limits = {"rate_limits": [{"name": "once", "scope": {"model": "gpt-realtime"}, "per": "minute", "requests": 1}]}
    house = await open_sockets(detectors=DetectorSettings.model_validate(limits))
    async with socket(house, "/v1/realtime?model=gpt-realtime") as opened:
        await opened.send_json({"type": "input_audio_buffer.append", "audio": "A" * 8000})
        await opened.send_json({"type": "input_audio_buffer.commit"})
        while (message := await asyncio.wait_for(opened.receive(), 30)).type is aiohttp.WSMsgType.TEXT:
            assert json.loads(message.data)["type"] == "session.created"

    assert message.type is aiohttp.WSMsgType.CLOSE
    assert message.data == 1008
    assert "once" in message.extra
    await asyncio.wait_for(sockets.closed.wait(), 30)
    assert [row.operation for row in await settled(house, 2) if row.state == "refused"] == ["realtime"]


async def test_what_the_provider_refuses_cost_nothing(open_sockets: Any, sockets: SocketProvider) -> None:
    house = await open_sockets()
    sockets.error = {"type": "invalid_request_error", "code": "model_not_found", "message": "no such model", "event_id": "mine"}
    async with socket(house, "/v1/realtime?model=gpt-realtime") as opened:
        await opened.send_json(ASK)
        await until(opened, "error")
        rows = await settled(house, 1)
    async with socket(house, "/v1/responses") as opened:
        await opened.send_json(CREATE | {"event_id": "mine"})
        await until(opened, "error")

    assert [(row.status, row.source, row.ending) for row in rows] == [(400, "none", "completed")]
    assert metered(await settled(house, 4)) == []


async def test_a_provider_that_breaks_off_leaves_an_estimate(open_sockets: Any, sockets: SocketProvider) -> None:
    house = await open_sockets()
    sockets.leave = True
    async with socket(house, "/v1/realtime?model=gpt-realtime") as opened:
        await opened.send_json(ASK)
        while (await asyncio.wait_for(opened.receive(), 30)).type is aiohttp.WSMsgType.TEXT:
            pass

    row = metered(await settled(house, 2))[0]
    assert (row.ending, row.source) == ("upstream_reset", "estimated")


async def test_a_client_that_leaves_before_a_response_began_may_be_billed(open_sockets: Any, sockets: SocketProvider) -> None:
    house = await open_sockets()
    async with socket(house, "/v1/realtime?model=gpt-realtime") as opened:
        sockets.error = {"type": "server_error", "event_id": "another", "message": "about something else"}
        await opened.send_json(ASK)
        await until(opened, "error")

    assert [row.source for row in metered(await settled(house, 2))] == ["billed_unseen"]


async def test_a_message_beyond_the_limit_closes_the_websocket(open_sockets: Any, sockets: SocketProvider) -> None:
    house = await open_sockets(proxy={"body_limits": {"json": "64 KiB"}})
    async with socket(house, "/v1/responses", compress=15) as opened:
        await opened.send_json(CREATE | {"input": "a" * 100_000})
        message = await asyncio.wait_for(opened.receive(), 30)

    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1009)
    assert sockets.events == []


async def test_a_message_that_inflates_without_end_closes_the_websocket(open_sockets: Any, sockets: SocketProvider) -> None:
    house = await open_sockets()
    async with socket(house, "/v1/responses", compress=15) as opened:
        await opened.send_str(json.dumps(CREATE | {"input": "a" * (40 << 20)}))
        message = await asyncio.wait_for(opened.receive(), 30)

    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1009)
    assert sockets.events == []


async def test_a_fault_of_the_gateway_sends_nothing_in_closed_mode(
    open_sockets: Any, sockets: SocketProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await open_sockets()

    def broken(*_: object) -> None:
        raise RecursionError

    async with socket(house, "/v1/responses") as opened:
        monkeypatch.setattr(WebSockets, "message", broken)
        await opened.send_json(CREATE)
        message = await asyncio.wait_for(opened.receive(), 30)

    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1008)
    assert sockets.events == []
    assert house.counted("tollwatch_hook_failures_total", hook="websocket_message") == 1


async def test_a_lock_holds_within_an_open_websocket(open_sockets: Any, sockets: SocketProvider) -> None:
    house = await open_sockets()
    book = house.gate._book  # noqa: SLF001  # the house is built without people
    lockouts = Lockouts(book._database, book, now=lambda: datetime.now(UTC))  # noqa: SLF001  # the same
    house.gate._people = People(lockouts)  # noqa: SLF001  # the same
    async with socket(house, "/v1/responses") as opened:
        await opened.send_json(CREATE)
        await until(opened, "response.completed")
        key_id = (await house.rows())[0].key_id

        await lockouts.lock(Who("key_id", key_id), actor="cli:root", reason="leaked")
        await opened.send_json(CREATE)
        error = await until(opened, "error")

    assert (error["status"], error["error"]["code"]) == (403, "tollwatch_locked_out")
    assert len(sockets.events) == 1
