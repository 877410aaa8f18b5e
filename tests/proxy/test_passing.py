"""Calls that pass: both doors, streamed and not, whole and unchanged, recorded once."""

import asyncio
import gzip
import http.client
import time
import zlib
from typing import Any

import brotli
import orjson
import pytest
import zstandard

from metering.providers.catalog import PROBE_HOST
from proxy.settings import IdentitySource
from tests.support import answers
from tests.support.client import Connection

CHAT = orjson.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What is the toll?"}]})
STREAM = orjson.dumps(orjson.loads(CHAT) | {"stream": True, "stream_options": {"include_usage": True}})
MESSAGES = orjson.dumps({"model": "claude-sonnet-4-5", "max_tokens": 50, "messages": [{"role": "user", "content": "What is the toll?"}]})


def head(host: str, **more: str) -> list[tuple[str, str]]:
    return [("host", host), ("content-type", "application/json"), *((name.replace("_", "-"), value) for name, value in more.items())]


async def test_a_call_through_the_forward_door_reaches_the_provider_unchanged_and_is_recorded(house: Any) -> None:
    response = await house.post(CHAT)

    assert response.status == 200
    assert [seen.body for seen in house.provider.seen] == [CHAT]
    assert house.provider.seen[0].headers["host"] == "api.openai.com"
    assert house.provider.seen[0].tls
    row = await house.row()
    assert (row.id, row.state, row.ending, row.provider) == (response.call_id, "settled", "completed", "openai")
    assert (row.input_tokens, row.output_tokens) == (answers.INPUT_TOKENS, answers.OUTPUT_TOKENS)


async def test_calls_on_one_connection_share_one_upstream_connection_although_the_address_is_another(house: Any) -> None:
    async with await house.through() as connection:
        for _ in range(3):
            response = await connection.request("POST", "/v1/chat/completions", headers=head("api.openai.com"), pieces=[CHAT])
            assert response.status == 200
            assert connection.reusable

    assert len(house.provider.seen) == 3
    assert house.provider.connections == 1


async def test_a_call_through_the_base_url_door_carries_the_providers_host(house: Any) -> None:
    async with await Connection.to(house.base_url) as connection:
        response = await connection.request("POST", "/openai/chat/completions?a=b", headers=head(house.base_url), pieces=[CHAT])

    assert response.status == 200
    assert [(seen.target, seen.headers["host"]) for seen in house.provider.seen] == [("/chat/completions?a=b", house.provider.address)]
    row = await house.row()
    assert (row.door, row.path, row.id) == ("base_url", "/chat/completions", response.call_id)


async def test_the_base_url_door_speaks_tls_on_the_same_port(house: Any) -> None:
    def ask() -> int:
        connection = http.client.HTTPSConnection("localhost", house.proxy.base_url_address[1], context=house.trust, timeout=60)
        connection.request("POST", "/openai/v1/chat/completions", CHAT, {"content-type": "application/json"})
        status = connection.getresponse().status
        connection.close()
        return status

    assert await asyncio.to_thread(ask) == 200


@pytest.mark.parametrize("path", ["/anthropic/messages", "/anthropic/v1/messages"])
async def test_both_conventions_of_the_anthropic_base_url_lead_to_the_same_path(open_house: Any, provider: Any, path: str) -> None:
    house = await open_house(proxy={"upstreams": {}})
    async with await Connection.to(house.base_url) as connection:
        response = await connection.request("POST", path, headers=head(house.base_url), pieces=[MESSAGES])

    assert response.status == 200
    assert [(seen.target, seen.headers["host"]) for seen in provider.seen] == [("/v1/messages", "api.anthropic.com")]
    assert (await house.row()).provider == "anthropic"


async def test_a_stream_passes_chunk_by_chunk(house: Any) -> None:
    house.provider.script = lambda seen: answers.chat(orjson.loads(seen.body), then="hang", after_chunks=2)
    async with await house.through() as connection:
        await connection.send("POST", "/v1/chat/completions", headers=head("api.openai.com"), pieces=[STREAM])
        first = await asyncio.wait_for(connection.receive(events=2), 30)
        house.provider.release()

    assert first.status == 200
    assert first.body.count(b"data: ") == 2


async def test_a_whole_stream_is_read_on_its_way(house: Any) -> None:
    response = await house.post(STREAM)

    assert response.whole
    assert response.body.endswith(b"data: [DONE]\n\n")
    row = await house.row()
    assert (row.streamed, row.output_tokens, row.response_bytes) == (True, answers.OUTPUT_TOKENS, len(response.body))


CODERS: dict[str, Any] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("coding", CODERS)
async def test_a_coded_answer_passes_as_it_is_and_is_read_decoded(house: Any, coding: str) -> None:
    plain = answers.chat(orjson.loads(CHAT)).chunks[0]
    coded = CODERS[coding](plain)
    pieces = [coded[begin : begin + 7] for begin in range(0, len(coded), 7)]
    headers = [("content-type", "application/json"), ("content-encoding", coding)]
    house.provider.script = lambda _: answers.Answer(headers=headers, chunks=pieces, streamed=True)

    response = await house.post(CHAT)

    assert response.body == coded
    assert (await house.row()).output_tokens == answers.OUTPUT_TOKENS


@pytest.mark.parametrize("coding", ["gzip", "br", "rot13"])
async def test_an_answer_that_cannot_be_decoded_passes_and_is_a_gap(house: Any, coding: str) -> None:
    headers = [("content-type", "application/json"), ("content-encoding", coding)]
    house.provider.script = lambda _: answers.Answer(headers=headers, chunks=[b"this is", b" nothing of the kind"])

    response = await house.post(CHAT)

    assert response.body == b"this is nothing of the kind"
    row = await house.row()
    assert (row.ending, row.source, row.output_tokens) == ("completed", "billed_unseen", None)


@pytest.mark.parametrize("coding", CODERS)
async def test_a_coded_request_is_read_and_forwarded_as_it_came(house: Any, coding: str) -> None:
    coded = CODERS[coding](CHAT)
    house.provider.script = lambda _: answers.chat(orjson.loads(CHAT))

    response = await house.post(coded, content_encoding=coding)

    assert response.status == 200
    assert [seen.body for seen in house.provider.seen] == [coded]
    assert (await house.row()).request_model == "gpt-4o-mini"


async def test_a_large_body_passes_and_is_read(house: Any) -> None:
    body = orjson.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "word " * 100_000}]})

    response = await house.post(body)

    assert response.status == 200
    assert house.provider.seen[0].body == body
    assert (await house.row()).request_bytes == len(body)


async def test_a_large_answer_is_read_without_losing_its_end(house: Any) -> None:
    house.provider.script = lambda seen: answers.chat(orjson.loads(seen.body), texts=["word " * 200_000])

    response = await house.post(CHAT)

    assert response.whole
    assert (await house.row()).output_tokens == answers.OUTPUT_TOKENS


async def test_who_calls_is_known_and_the_provider_is_not_told(open_house: Any) -> None:
    sources = [
        IdentitySource(proxy_auth=True),
        IdentitySource(header="x-tollwatch-user"),
        IdentitySource(header="X-Team", field="department"),
    ]
    house = await open_house(identity=sources)
    trusted = await Connection.through(
        house.forward, "https://api.openai.com", trust=house.trust, headers={"Proxy-Authorization": "Basic YWRhOg=="}
    )
    async with trusted as connection:
        headers = head("api.openai.com", authorization="Bearer sk-secret", x_tollwatch_user="bob", x_team="engines")
        await connection.request("POST", "/v1/chat/completions", headers=headers, pieces=[CHAT])

    seen = house.provider.seen[0].headers
    assert not {"proxy-authorization", "x-tollwatch-user", "x-team"} & set(seen)
    assert seen["authorization"] == "Bearer sk-secret"
    row = await house.row()
    assert (row.user, row.department) == ("ada", "engines")
    assert row.key_id is not None
    assert "secret" not in row.key_id


async def test_a_free_endpoint_passes_and_stands_in_the_ledger(house: Any) -> None:
    house.provider.script = lambda _: answers.body({"object": "list", "data": []})
    async with await house.through() as connection:
        response = await connection.request("GET", "/v1/models", headers=head("api.openai.com"))

    assert response.status == 200
    row = await house.row()
    assert (row.operation, row.source, row.id) == ("models", "none", response.call_id)


async def test_a_format_that_is_not_read_passes_and_is_recorded_as_unmetered(house: Any) -> None:
    house.provider.script = lambda _: answers.body({"candidates": []})
    response = await house.post(
        b"{any: thing", path="/v1beta/models/gemini-2.5-pro:predictLongRunning", host="generativelanguage.googleapis.com"
    )

    assert response.status == 200
    row = await house.row()
    assert (row.provider, row.request_model, row.source) == ("gcp.gemini", "gemini-2.5-pro", "unmetered")


async def test_a_head_is_answered_cheaply_and_is_no_call(house: Any) -> None:
    async with await Connection.to(house.base_url) as connection:
        began = time.monotonic()
        response = await connection.request("HEAD", "/anthropic", headers=head(house.base_url))

    assert (response.status, response.body) == (200, b"")
    assert time.monotonic() - began < 1
    assert await house.rows() == []
    assert house.provider.seen == []


async def test_a_probe_is_answered_by_the_gateway_itself_and_recorded(house: Any) -> None:
    response = await house.post(CHAT, host=PROBE_HOST)

    assert orjson.loads(response.body)["object"] == "chat.completion"
    assert house.provider.connections == 0
    row = await house.row()
    assert (row.id, row.provider, row.ending, row.output_tokens) == (response.call_id, "tollwatch", "completed", 1)


async def test_the_canary_is_held_and_recorded(house: Any) -> None:
    await house.proxy.canary()

    row = await house.row()
    assert (row.state, row.status) == ("refused", 403)
    assert house.provider.connections == 0


async def test_calls_are_counted(house: Any) -> None:
    await house.post(CHAT)
    await house.row()

    assert house.counted("tollwatch_calls_total", provider="openai", verdict="allow", ending="completed") == 1
    assert house.counted("tollwatch_tokens_total", provider="openai", **{"class": "input"}) == answers.INPUT_TOKENS
    assert house.counted("tollwatch_cost_nanodollars_total", provider="openai") > 0
