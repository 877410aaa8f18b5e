"""Streams that report usage only when asked are asked, and their clients do not notice."""

import asyncio
import gzip
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.providers.catalog import provider_of_host, route
from metering.providers.openai_chat import OPENAI_CHAT
from metering.settings import MeteringSettings
from proxy.ask_for_usage import UsageAsking, asking
from proxy.hide_usage import UsageHider
from tests.support import answers
from tests.support.client import Connection

MESSAGES = [{"role": "user", "content": "What is the toll?"}]
BODY: dict[str, Any] = {"model": "gpt-4o-mini", "messages": MESSAGES, "stream": True}
STREAM = orjson.dumps(BODY)


def as_asked(events: bytes) -> bytes:
    return b"".join(event + b"\n\n" for event in events.split(b"\n\n") if event and b'"choices": []' not in event)


async def test_a_stream_that_does_not_ask_is_asked_and_its_client_does_not_see_it(house: Any) -> None:
    response = await house.post(STREAM, accept_encoding="gzip, br")

    seen = house.provider.seen[0]
    assert orjson.loads(seen.body) == BODY | {"stream_options": {"include_usage": True}}
    assert seen.headers["content-length"] == str(len(seen.body))
    assert seen.headers["accept-encoding"] == "identity"
    whole = b"".join(answers.chat(orjson.loads(seen.body)).chunks)
    assert response.whole
    assert response.body == as_asked(whole)
    assert b'"usage": null' in response.body
    row = await house.row()
    assert (row.source, row.input_tokens, row.output_tokens) == ("provider_reported", answers.INPUT_TOKENS, answers.OUTPUT_TOKENS)


async def test_a_client_that_asks_itself_gets_what_it_asked_for(house: Any) -> None:
    body = orjson.dumps(BODY | {"stream_options": {"include_usage": True}})

    response = await house.post(body, accept_encoding="gzip")

    assert house.provider.seen[0].body == body
    assert house.provider.seen[0].headers["accept-encoding"] == "gzip"
    assert response.body == b"".join(answers.chat(orjson.loads(body)).chunks)


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"include_obfuscation": False}])
async def test_a_client_that_wants_none_is_asked_for_too_and_keeps_its_other_options(house: Any, options: dict[str, bool] | None) -> None:
    response = await house.post(orjson.dumps(BODY | {"stream_options": options}))

    asked = orjson.loads(house.provider.seen[0].body)
    assert asked == BODY | {"stream_options": (options or {}) | {"include_usage": True}}
    assert b'"choices": []' not in response.body
    assert (await house.row()).source == "provider_reported"


async def test_with_it_off_request_and_answer_are_byte_identical(open_house: Any) -> None:
    house = await open_house(metering=MeteringSettings(ask_for_usage=False))

    response = await house.post(STREAM, accept_encoding="gzip")

    assert house.provider.seen[0].body == STREAM
    assert house.provider.seen[0].headers["accept-encoding"] == "gzip"
    assert response.body == b"".join(answers.chat(BODY).chunks)
    assert (await house.row()).source == "estimated"


@pytest.mark.parametrize("header", [{"content_digest": "sha-256=:AA==:"}, {"authorization": "AWS4-HMAC-SHA256 Credential=AK/x"}])
async def test_a_signed_call_is_never_changed(house: Any, header: dict[str, str]) -> None:
    async with await house.through() as connection:
        fields = [("host", "api.openai.com"), *((name.replace("_", "-"), value) for name, value in header.items())]
        await connection.request("POST", "/v1/chat/completions", headers=fields, pieces=[STREAM])

    assert house.provider.seen[0].body == STREAM


async def test_what_is_no_stream_or_compressed_is_not_changed(house: Any) -> None:
    plain = orjson.dumps({"model": "gpt-4o-mini", "messages": MESSAGES})
    house.provider.script = lambda _: answers.chat(BODY)

    await house.post(plain)
    await house.post(gzip.compress(STREAM, mtime=0), content_encoding="gzip")

    assert [seen.body for seen in house.provider.seen] == [plain, gzip.compress(STREAM, mtime=0)]


async def test_a_large_request_is_asked_in_a_thread(house: Any) -> None:
    body = BODY | {"messages": [{"role": "user", "content": "stream_options " * 30_000}]}

    await house.post(orjson.dumps(body))

    assert orjson.loads(house.provider.seen[0].body) == body | {"stream_options": {"include_usage": True}}


async def test_a_host_that_refuses_the_option_is_not_asked_again(house: Any, caplog: pytest.LogCaptureFixture) -> None:
    error = {"error": {"message": "Unknown parameter: 'stream_options'.", "type": "invalid_request_error"}}
    house.provider.script = lambda seen: answers.body(error, status=400) if b"stream_options" in seen.body else None

    refused = await house.post(STREAM)
    answered = await house.post(STREAM)

    assert refused.status == 400
    assert orjson.loads(refused.body) == error
    assert house.provider.seen[1].body == STREAM
    assert answered.body == b"".join(answers.chat(BODY).chunks)
    assert [record.message.split(":")[0] for record in caplog.records] == ["usage_option_refused host=api.openai.com"]


async def test_another_error_does_not_end_the_asking(house: Any) -> None:
    house.provider.queue.append(answers.body({"error": {"message": "no such model"}}, status=404))

    await house.post(STREAM)
    await house.post(STREAM)

    assert b"include_usage" in house.provider.seen[1].body


async def test_an_answer_with_a_length_gets_shorter(house: Any) -> None:
    whole = b"".join(answers.chat(BODY | {"stream_options": {"include_usage": True}}).chunks)
    house.provider.queue.append(answers.Answer(headers=[("content-type", "text/event-stream")], chunks=[whole]))

    response = await house.post(STREAM)

    assert response.whole
    assert response.body == as_asked(whole)
    assert "content-length" not in response.headers


async def test_a_compressed_or_plain_answer_passes_as_it_is(house: Any) -> None:
    whole = gzip.compress(b"".join(answers.chat(BODY | {"stream_options": {"include_usage": True}}).chunks))
    coded = [("content-type", "text/event-stream"), ("content-encoding", "gzip")]
    house.provider.queue.append(answers.Answer(headers=coded, chunks=[whole], streamed=True))
    house.provider.queue.append(answers.chat(BODY | {"stream": False}))

    first = await house.post(STREAM)
    second = await house.post(STREAM)

    assert first.body == whole
    assert orjson.loads(second.body)["object"] == "chat.completion"
    assert {row.source for row in await house.rows()} == {"provider_reported"}


async def test_a_client_that_leaves_is_still_metered(house: Any) -> None:
    house.provider.script = lambda seen: answers.chat(orjson.loads(seen.body), then="hang", after_chunks=4)
    async with await house.through() as connection:
        await connection.send("POST", "/v1/chat/completions", headers=[("host", "api.openai.com")], pieces=[STREAM])
        partly = await connection.receive(events=3)
        connection.abort()

    assert b"The " in partly.body
    row = await house.row(ending="client_abort")
    assert (row.source, row.output_tokens is not None) == ("estimated", True)
    house.provider.release()


async def test_each_chunk_passes_when_it_comes(house: Any) -> None:
    house.provider.script = lambda seen: answers.chat(orjson.loads(seen.body), then="hang", after_chunks=2)
    async with await house.through() as connection:
        await connection.send("POST", "/v1/chat/completions", headers=[("host", "api.openai.com")], pieces=[STREAM])
        partly = await asyncio.wait_for(connection.receive(events=2), 30)
    house.provider.release()

    assert partly.body.count(b"\n\n") == 2


async def test_one_goes_through_the_base_url_door_and_over_plain_http(house: Any) -> None:
    async with await Connection.to(house.base_url) as connection:
        response = await connection.request("POST", "/openai/v1/chat/completions", headers=[("host", "localhost")], pieces=[STREAM])

    assert b"include_usage" in house.provider.seen[0].body
    assert b'"choices": []' not in response.body
    assert response.body.endswith(b"data: [DONE]\n\n")


# --- the request ---------------------------------------------------------------------------------------------------------


def test_the_option_is_put_in_and_nothing_else_is_touched() -> None:
    body = b' {\n  "model" : "m",  "messages": [ ], "temperature": 1.0e0 }\n'

    assert asking(body) == b' {"stream_options":{"include_usage":true},' + body[2:]


def test_an_option_that_stands_there_is_replaced_where_it_stands() -> None:
    body = '{"messages": ["é"], "stream_options" : {"include_usage" : false} , "model":"m"}'.encode()

    assert asking(body) == body.replace(b'{"include_usage" : false}', b'{"include_usage":true}')


@pytest.mark.parametrize("spelled", ['"stream_options"', '"stream\\u005foptions"', '"\\u0073tream_options"'])
def test_the_option_is_found_however_it_is_spelled(spelled: str) -> None:
    body = f'{{"model":"stream_options","messages":[{{"stream_options":1}}],{spelled}:{{"a":1}},"z":[]}}'.encode()

    asked = asking(body)

    assert asked is not None
    assert orjson.loads(asked)["stream_options"] == {"a": 1, "include_usage": True}
    assert asked.count(b"include_usage") == 1


def test_a_name_in_the_text_alone_is_not_the_option() -> None:
    asked = asking(b'{"messages":["stream_options"],"stream":true}')

    assert asked is not None
    assert orjson.loads(asked) == {"stream_options": {"include_usage": True}, "messages": ["stream_options"], "stream": True}


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages":[],"stream_options":{"include_usage":true}}',
        b'{"messages":[],"stream_options":"yes"}',
        b'{"model":"m","input":"in the shape of the Responses API"}',
        b'{"model":"m","input":"stream_options"}',
    ],
)
def test_what_asks_itself_or_cannot_ask_is_left_alone(body: bytes) -> None:
    assert asking(body) is None


def test_only_hosts_that_are_known_or_configured_are_asked() -> None:
    facts = OPENAI_CHAT.read_request(BODY)
    found = UsageAsking(MeteringSettings(ask_for_usage_hosts=("vllm.*",)))

    def asked(host: str, path: str = "/v1/chat/completions") -> bool:
        provider = provider_of_host(host, ["vllm.*", "other.*"])
        assert provider is not None
        return found.may_ask(provider, host, route(provider, "POST", path), facts, {})

    assert [asked(host) for host in ("api.openai.com", "a.openai.azure.com", "api.groq.com", "vllm.lan")] == [True] * 4
    assert [asked(host) for host in ("api.deepseek.com", "api.perplexity.ai", "openrouter.ai", "other.lan")] == [False] * 4
    assert asked("api.openai.com", "/v1/completions")
    assert not asked("api.openai.com", "/v1/responses")


# --- the answer ----------------------------------------------------------------------------------------------------------

USAGE = b'data: {"id":"x","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}'
OTHERS = (
    b'data: {"choices":[{"delta":{"content":"a"}}],"usage":null}',
    b'data: {"choices":[{"delta":{"content":"b"}}],"usage":{"prompt_tokens":3}}',
    b'data: {"choices":[],"prompt_filter_results":[]}',
    b'data: {"choices":[],"usage":null,"moderation":{}}',
    b'data: {"choices":[{"delta":{"content":"\\"usage\\": {"}}]}',
    b": OPENROUTER PROCESSING",
    b'event: error\ndata: {"error":{}}',
    b'data: not json "usage": {',
    b"data: " + b"x" * (20 << 10),
    b"",
    b"data: [DONE]",
)
ENDS = {"lf": (b"\n", b"\n\n"), "crlf": (b"\r\n", b"\r\n\r\n"), "cr": (b"\r", b"\r\r"), "mixed": (b"\n", b"\r\n\n")}


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, bytes, list[int]]:
    """Return a stream, the same without its usage chunks, and where to cut it."""
    events = draw(st.lists(st.sampled_from((*OTHERS, USAGE, USAGE.replace(b'"usage":', b'"usage" : '))), max_size=8))
    line, end = ENDS[draw(st.sampled_from(sorted(ENDS)))]
    last = draw(st.sampled_from((b"", end)))
    written = [event.replace(b"\n", line) + end for event in events]
    if written:
        written[-1] = written[-1].removesuffix(end) + last
    kept = b"".join(text for text, event in zip(written, events, strict=True) if not event.startswith(USAGE[:30]))
    whole = b"".join(written)
    cuts = draw(st.lists(st.integers(0, len(whole)), max_size=12))
    return whole, kept, sorted(cuts)


@given(streams())
def test_any_split_of_a_stream_passes_all_but_the_usage_chunk(stream: tuple[bytes, bytes, list[int]]) -> None:
    whole, kept, cuts = stream
    hide = UsageHider()
    pieces = [whole[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]

    passed = b"".join(hide(piece) for piece in pieces if piece) + hide(b"")

    assert passed == kept


@pytest.mark.parametrize("name", ENDS)
def test_a_stream_may_be_cut_anywhere(name: str) -> None:
    line, end = ENDS[name]
    events = [event.replace(b"\n", line) + end for event in (OTHERS[0], USAGE, OTHERS[6], USAGE, OTHERS[10])]
    whole, kept = b"".join(events), events[0] + events[2] + events[4]

    for cut in range(len(whole)):
        hide = UsageHider()
        assert b"".join((hide(whole[:cut]) if cut else b"", hide(whole[cut:]), hide(b""))) == kept


@pytest.mark.parametrize("end", ["lf", "crlf", "cr"])
def test_an_event_passes_with_its_last_byte(end: str) -> None:
    line, blank = ENDS[end]
    hide = UsageHider()
    text = OTHERS[6].replace(b"\n", line) + blank

    passed = [hide(bytes([byte])) for byte in text[: len(text) - len(line) + 1]]

    assert b"".join(passed) == text[: len(text) - len(line) + 1]


def test_whole_events_pass_as_the_object_that_came() -> None:
    chunk = OTHERS[0] + b"\n\n" + OTHERS[1] + b"\n\n"

    assert UsageHider()(chunk) is chunk
