"""A running call is ended in the middle: the client is told in the provider's framing, the upstream connection ends, the ledger says so."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import brotli
import orjson
import pytest
import zstandard

from alerting.finding import Action, Refusal, Verdict
from metering.eventstream import MessageSplitter
from tests.support import answers
from tests.support.asking import step_by_step
from tests.support.client import Connection
from tests.support.eventstreams import event
from tests.support.provider import Provider

CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What is the toll?"}]}
STREAM = orjson.dumps({**CHAT, "stream": True, "stream_options": {"include_usage": True}})
VERDICT = Verdict(action=Action.BLOCK, refusal=Refusal.BUDGET, message="Budget 'tiny' has nothing left; raise it", rule_id="tiny")
OPENAI, GOOGLE, BEDROCK = "api.openai.com", "generativelanguage.googleapis.com", "bedrock-runtime.us-east-1.amazonaws.com"
COMPLETIONS = "/v1/chat/completions"
GEMINI = "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
HOSTS = (OPENAI, GOOGLE, BEDROCK, "api.anthropic.com", "api.cohere.com", "ollama.com", "api.groq.com")
BODIES = {
    GOOGLE: orjson.dumps({"contents": [{"role": "user", "parts": [{"text": "What is the toll?"}]}]}),
    BEDROCK: orjson.dumps({"messages": [{"role": "user", "content": [{"text": "What is the toll?"}]}]}),
    "/v1/completions": orjson.dumps({"model": "gpt-3.5-turbo-instruct", "prompt": "The toll", "stream": True}),
    "api.anthropic.com": orjson.dumps({**CHAT, "stream": True, "max_tokens": 100}),
}


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    with Provider(tmp_path, hosts=HOSTS) as provider:
        yield provider


def stream(kind: str, *chunks: bytes, coding: str = "", **more: Any) -> Any:
    headers = [("content-type", kind), *([("content-encoding", coding)] if coding else [])]
    return answers.Answer(**({"headers": headers, "chunks": chunks, "streamed": True, "then": "hang"} | more))


def sse(*events: bytes, **more: Any) -> Any:
    return stream("text/event-stream", *events, **more)


@pytest.fixture
async def house(open_house: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A house in which every stream is followed, as one that holds a lease is, and an event that has begun has all the time to end."""
    monkeypatch.setattr("proxy.cutting._BETWEEN_EVENTS_WITHIN", timedelta(seconds=60))
    house = await open_house()
    house.gate.may_cut = lambda _call_id: True
    opened: list[Connection] = []
    house.opened = opened.append
    yield house
    house.provider.release()
    for connection in opened:
        connection.abort()


def cut(house: Any) -> None:
    (call_id,) = house.proxy.calls.open
    house.gate.on_cut(call_id, VERDICT)


async def begin(
    house: Any, answer: Any, *, path: str = COMPLETIONS, host: str = OPENAI, chunks: int = 1, body: bytes | None = None, wait: bool = True
) -> Any:
    """Ask for a stream and take so many chunks of it; one that is stepped does not send the next."""
    house.provider.script = lambda _: answer
    connection = await house.through(host)
    house.opened(connection)
    await connection.send(
        "POST",
        path,
        headers=[("host", host), ("content-type", "application/json")],
        pieces=[body or BODIES.get(path) or BODIES.get(host, STREAM)],
    )
    return connection, await took(house, connection, answer, chunks=chunks) if wait else None


async def took(house: Any, connection: Any, answer: Any, *, chunks: int) -> Any:
    async with asyncio.timeout(30):
        if answer.stepped:
            return await step_by_step(connection, house.provider, chunks=chunks)
        return await connection.receive(chunks=chunks)


async def rest_of(connection: Any) -> Any:
    return await asyncio.wait_for(connection.receive(), 30)


def data_of(event: bytes) -> Any:
    (line,) = [line for line in event.split(b"\n") if line.startswith(b"data: ")]
    return orjson.loads(line[6:])


async def test_a_cut_stream_is_settled_with_what_passed_and_its_connections_are_sound(house: Any) -> None:
    answer = answers.chat(orjson.loads(STREAM), then="hang", after_chunks=3)
    connection, _ = await begin(house, answer, chunks=3)

    cut(house)
    rest = await rest_of(connection)

    assert rest.whole
    said = data_of(rest.body)["error"]
    assert (said["type"], said["code"], said["tollwatch"]["rule_id"]) == ("insufficient_quota", "tollwatch_budget", "tiny")
    row = await house.row(ending="cut")
    assert (row.status, row.source) == (200, "estimated")
    assert row.output_tokens >= 1
    house.provider.forget()
    assert connection.reusable
    head = [("host", OPENAI), ("content-type", "application/json")]
    again = await connection.request("POST", COMPLETIONS, headers=head, pieces=[orjson.dumps(CHAT)])
    assert (again.status, again.whole) == (200, True)
    assert house.provider.connections == 2  # the first one was closed with its stream


@pytest.mark.parametrize("client", ["plain", "tls"])
async def test_the_short_ways_of_chunks_end_too(house: Any, client: str) -> None:
    answer = answers.chat(orjson.loads(STREAM), then="hang", after_chunks=5, stepped=True)
    house.provider.script = lambda _: answer
    host = house.base_url if client == "plain" else OPENAI
    connection = await (Connection.to(house.base_url) if client == "plain" else house.through())
    house.opened(connection)
    path = "/openai" + COMPLETIONS if client == "plain" else COMPLETIONS
    await connection.send("POST", path, headers=[("host", host), ("content-type", "application/json")], pieces=[STREAM])
    await took(house, connection, answer, chunks=5)

    cut(house)
    rest = await rest_of(connection)

    assert rest.whole
    assert chat_error(rest.body) == VERDICT.message
    await house.row(ending="cut")


PART = b'{"candidates": [{"content": {"parts": [{"text": "The \\"to[ll, \\\\"}], "role": "model"}}], "usageMetadata": {}}'


def chat_error(rest: bytes) -> Any:
    assert rest.endswith((b"\n\n", b"\r\n\r\n"))
    return data_of(rest)["error"]["message"]


def responses_error(rest: bytes) -> Any:
    failed, error, _ = rest.split(b"\n\n")
    assert data_of(failed)["type"] == "response.failed"
    assert data_of(failed)["response"]["error"]["message"] == VERDICT.message
    assert error.startswith(b"event: error\n")
    assert data_of(error)["type"] == "error"
    return data_of(error)["error"]["message"]


def anthropic_error(rest: bytes) -> Any:
    assert rest.startswith(b"event: error\ndata: ")
    assert data_of(rest)["error"]["type"] == "billing_error"
    return data_of(rest)["error"]["message"]


def cohere_error(rest: bytes) -> Any:
    assert data_of(rest)["delta"]["finish_reason"] == "ERROR"
    return data_of(rest)["delta"]["error"]


def cohere_v1_error(rest: bytes) -> Any:
    return orjson.loads(rest)["response"]["error"]


def ollama_error(rest: bytes) -> Any:
    assert rest.endswith(b"}\n")
    return orjson.loads(rest)["error"]


CASES: dict[str, tuple[str, str, Any, Callable[[bytes], Any]]] = {
    "chat": (OPENAI, COMPLETIONS, sse(b'data: {"choices":[]}\n\n'), chat_error),
    "a comment": (OPENAI, COMPLETIONS, sse(b": processing\r\n\r\n"), chat_error),
    "completions": (OPENAI, "/v1/completions", sse(b'data: {"choices":[]}\n\n'), chat_error),
    "responses": (OPENAI, "/v1/responses", sse(b'event: response.created\ndata: {"type":"response.created"}\n\n'), responses_error),
    "messages": ("api.anthropic.com", "/v1/messages", sse(b'event: ping\ndata: {"type":"ping"}\n\n'), anthropic_error),
    "gemini events": (GOOGLE, GEMINI + "?alt=sse", sse(b"data: " + PART + b"\r\n\r\n"), chat_error),
    "cohere": ("api.cohere.com", "/v2/chat", sse(b'event: message-start\ndata: {"type":"message-start"}\n\n'), cohere_error),
    "cohere v1": ("api.cohere.com", "/v1/chat", stream("application/stream+json", b'{"is_finished":false}\n'), cohere_v1_error),
    "ollama": ("ollama.com", "/api/chat", stream("application/x-ndjson", b'{"done":false}\n'), ollama_error),
    "unknown": ("api.groq.com", "/openai/v1/other", sse(b"data: {}\r\r"), lambda rest: data_of(rest)["error"]["message"]),
}


@pytest.mark.parametrize("case", CASES)
async def test_each_format_ends_in_its_own_words(house: Any, case: str) -> None:
    host, path, answer, error_of = CASES[case]
    connection, _ = await begin(house, answer, path=path, host=host)

    cut(house)
    rest = await rest_of(connection)

    assert rest.whole
    assert error_of(rest.body) == VERDICT.message
    assert (await house.row(ending="cut")).status == 200


@pytest.mark.parametrize("passed", [b"[" + PART, b"[" + PART + b"\n,\r\n", b"[", b"[" + PART + b",\r\n" + PART, b" "])
async def test_a_json_array_stays_one(house: Any, passed: bytes) -> None:
    answer = stream("application/json; charset=UTF-8", passed)
    connection, first = await begin(house, answer, path=GEMINI, host=GOOGLE)

    cut(house)
    rest = await rest_of(connection)

    assert rest.whole
    *parts, last = orjson.loads(first.body + rest.body)
    assert parts == [orjson.loads(PART)] * passed.count(PART)
    assert (last["error"]["code"], last["error"]["status"]) == (402, "RESOURCE_EXHAUSTED")


async def test_an_event_stream_of_amazon_ends_in_an_exception_with_right_sums(house: Any) -> None:
    answer = stream("application/vnd.amazon.eventstream", event("messageStart", {"role": "assistant"}))
    path = "/model/anthropic.claude-3-haiku-20240307-v1:0/converse-stream"
    connection, first = await begin(house, answer, path=path, host=BEDROCK)

    cut(house)
    rest = await rest_of(connection)

    splitter = MessageSplitter()
    _, last = splitter.feed(first.body + rest.body)
    assert splitter.fault is None
    assert not splitter.midway
    assert (last.headers[":message-type"], last.headers[":exception-type"]) == ("exception", "validationException")
    assert orjson.loads(last.payload)["message"] == VERDICT.message


MIDWAY: dict[str, tuple[str, str, str, bytes]] = {
    "events": (OPENAI, COMPLETIONS, "text/event-stream", b'data: {"choices":[]}\n\n'),
    "crlf": (OPENAI, COMPLETIONS, "text/event-stream", b'data: {"choices":[]}\r\n\r\n'),
    "lines": ("ollama.com", "/api/chat", "application/x-ndjson", b'{"message":{"content":"a"},"done":false}\n'),
    "array": (GOOGLE, GEMINI, "application/json", b"[" + PART),
    "messages": (
        BEDROCK,
        "/model/amazon.nova-lite-v1:0/converse-stream",
        "application/vnd.amazon.eventstream",
        event("messageStart", {"role": "assistant"}),
    ),
}


@pytest.mark.parametrize(("kind", "at"), [(kind, at) for kind, one in MIDWAY.items() for at in (2, 14, 58, -1) if at < len(one[-1])])
async def test_an_event_that_is_under_way_is_passed_to_its_end_and_nothing_after(house: Any, kind: str, at: int) -> None:
    host, path, content_type, whole = MIDWAY[kind]
    answer = stream(content_type, whole[:at], whole[at:] + b"never passes", stepped=True)
    connection, first = await begin(house, answer, path=path, host=host)

    cut(house)
    house.provider.step()
    rest = await rest_of(connection)

    assert rest.whole
    assert (first.body + rest.body).startswith(whole)
    assert b"never" not in rest.body
    assert VERDICT.message.encode() in rest.body
    await house.row(ending="cut")


async def test_an_event_that_does_not_end_is_broken_off_so_that_every_client_notices(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.cutting._BETWEEN_EVENTS_WITHIN", timedelta(seconds=0.05))
    connection, _ = await begin(house, sse(b'data: {"choi'))

    cut(house)
    rest = await rest_of(connection)

    assert (rest.whole, rest.body) == (False, b"")
    assert (await house.row(ending="cut")).status == 200


async def test_a_stream_that_ends_by_itself_before_it_can_be_cut_is_complete(house: Any) -> None:
    connection, _ = await begin(house, sse(b'data: {"choices":[]}\n\ndata: [DO', b"NE]", then="end", stepped=True))

    cut(house)
    house.provider.step()
    rest = await rest_of(connection)

    assert (rest.whole, rest.body) == (True, b"NE]")
    await house.row(ending="completed")


@pytest.mark.parametrize("content_type", ["audio/mpeg", "text/plain"])
async def test_a_stream_without_a_place_for_words_is_broken_off(house: Any, content_type: str) -> None:
    connection, _ = await begin(house, stream(content_type, b"abc"))

    cut(house)
    rest = await rest_of(connection)

    assert not rest.whole
    await house.row(ending="cut")


async def test_a_stream_in_a_coding_that_is_not_read_is_broken_off(house: Any) -> None:
    connection, _ = await begin(house, sse(b"abc", coding="compress"))

    cut(house)
    rest = await rest_of(connection)

    assert not rest.whole
    await house.row(ending="cut")


async def test_a_stream_of_a_declared_length_is_broken_off(house: Any) -> None:
    event = b'data: {"choices":[]}\n\n'
    connection, _ = await begin(house, sse(event, event, streamed=False, after_chunks=1))

    cut(house)
    rest = await rest_of(connection)

    assert not rest.whole
    await house.row(ending="cut")


async def test_a_whole_answer_that_is_on_its_way_is_not_cut(house: Any) -> None:
    whole = answers.chat(CHAT)
    answer = answers.Answer(headers=whole.headers, chunks=[whole.chunks[0][:10], whole.chunks[0][10:]], stepped=True)
    connection, _ = await begin(house, answer, body=orjson.dumps(CHAT))

    cut(house)
    house.provider.step()
    rest = await rest_of(connection)

    assert rest.whole
    assert (await house.row(ending="completed")).source == "provider_reported"


@pytest.mark.parametrize(("host", "path"), [(OPENAI, COMPLETIONS), ("api.anthropic.com", "/v1/messages")])
async def test_a_cut_before_the_answer_is_a_plain_refusal(house: Any, host: str, path: str) -> None:
    connection, _ = await begin(house, answers.Answer(then="hang", after_chunks=-1), host=host, path=path, wait=False)
    await asyncio.to_thread(house.provider.wait_seen, 1)

    cut(house)
    answer = await rest_of(connection)

    assert (answer.status, answer.whole, answer.headers["x-should-retry"]) == (402, True, "false")
    assert orjson.loads(answer.body)["error"]["message"] == VERDICT.message
    assert (await house.row(ending="cut")).status == 402


def _zlib(bits: int) -> Any:
    coder = zlib.compressobj(wbits=bits)
    return coder.compress, lambda: coder.flush(zlib.Z_SYNC_FLUSH)


def _brotli() -> Any:
    coder = brotli.Compressor()
    return coder.process, coder.flush


def _zstd() -> Any:
    coder = zstandard.ZstdCompressor().compressobj()
    return coder.compress, lambda: coder.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)


CODERS: dict[str, Callable[[], Any]] = {"gzip": lambda: _zlib(31), "deflate": lambda: _zlib(15), "br": _brotli, "zstd": _zstd}


@pytest.mark.parametrize("coding", CODERS)
async def test_a_compressed_stream_that_may_be_cut_is_passed_on_decoded_and_cut_like_any_other(house: Any, coding: str) -> None:
    compress, flush = CODERS[coding]()
    event = b'data: {"choices":[{"delta":{"content":"toll"}}]}\n\n'
    chunks = [compress(event) + flush() for _ in range(3)]
    connection, first = await begin(house, sse(*chunks, coding=coding, stepped=True), chunks=3)

    cut(house)
    rest = await rest_of(connection)

    assert "content-encoding" not in first.headers
    assert first.body == event * 3
    assert rest.whole
    assert chat_error(rest.body) == VERDICT.message
    assert (await house.row(ending="cut")).output_tokens >= 1


async def test_a_compressed_stream_that_is_none_is_broken_off(house: Any) -> None:
    house.provider.script = lambda _: sse(b"this is no gzip", coding="gzip")

    response = await house.post(STREAM)

    assert (response.status, response.whole, response.body) == (200, False, b"")
    await house.row(ending="upstream_reset")


async def test_a_compressed_stream_of_a_call_that_cannot_be_cut_passes_byte_by_byte(house: Any) -> None:
    house.gate.may_cut = lambda _call_id: False
    body = gzip.compress(b'data: {"choices":[]}\n\ndata: [DONE]\n\n')
    house.provider.script = lambda _: sse(body, coding="gzip", then="end")

    response = await house.post(STREAM)

    assert (response.body, response.headers["content-encoding"]) == (body, "gzip")


async def test_a_call_that_has_ended_or_is_unknown_is_left_alone(house: Any) -> None:
    response = await house.post(STREAM)
    assert response.whole

    house.gate.on_cut(response.call_id, VERDICT)
    house.gate.on_cut("nobody", VERDICT)

    assert (await house.row()).ending == "completed"


async def test_the_gate_hears_how_far_a_stream_is_and_may_cut_it_in_the_same_breath(house: Any) -> None:
    heard: list[int] = []

    def progress(call_id: str, *, output_tokens: int) -> None:
        heard.append(output_tokens)
        if output_tokens > 700:
            house.gate.on_cut(call_id, VERDICT)

    house.gate.progress = progress
    texts = ["word " * 100] * 40
    connection, _ = await begin(house, answers.chat(orjson.loads(STREAM), texts=texts, stepped=True), wait=False)

    response = await step_by_step(connection, house.provider)

    assert response.whole
    assert chat_error(response.body.rstrip(b"\n").rpartition(b"\n\n")[2] + b"\n\n") == VERDICT.message
    assert heard == sorted(heard)
    assert 700 < heard[-1] <= 700 + 700
    said = response.body.count(b"word ")
    assert said * 5 // 4 == heard[-1]  # four bytes a token, and words of five
    assert (await house.row(ending="cut")).output_tokens >= said


async def test_a_fault_in_following_a_stream_does_not_harm_it(house: Any) -> None:
    def progress(_call_id: str, **_: int) -> None:
        raise MemoryError

    house.gate.progress = progress
    house.provider.script = lambda seen: answers.chat(orjson.loads(seen.body), texts=["word " * 100] * 40)

    response = await house.post(STREAM)

    assert response.body.endswith(b"data: [DONE]\n\n")
    assert response.body.count(b"word ") == 4000
    assert house.counted("tollwatch_hook_failures_total", hook="tap") == 1
    await house.row(ending="completed")
