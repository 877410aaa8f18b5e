"""What Bedrock's answers say, maker by maker, whole, streamed and broken off."""

import json
import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.providers import FORMATS, HeaderedFormat
from metering.reading import ReplyFacts
from metering.usage import Usage
from tests.support.eventstreams import chunk, event, exception

METRICS = "amazon-bedrock-invocationMetrics"


def read(wire_format: str, *pieces: bytes, headers: Mapping[str, str] | None = None) -> ReplyFacts:
    wire = FORMATS[wire_format]
    assert isinstance(wire, HeaderedFormat)
    reader = wire.reader_with(provider="aws.bedrock", content_type=None, headers=headers or {})
    for piece in pieces:
        reader.feed(piece)
    return reader.finish()


def body(wire_format: str, answer: Any, **headers: str) -> ReplyFacts:
    named = {f"x-amzn-bedrock-{name.replace('_', '-')}-token-count": value for name, value in headers.items()}
    return read(wire_format, json.dumps(answer).encode(), headers=named)


def counts(facts: ReplyFacts) -> tuple[int | None, ...]:
    usage = facts.usage or Usage()
    return usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens


@pytest.mark.parametrize(
    ("answer", "images"),
    [
        ({"images": ["aGk=", "aGk="], "error": None}, 2),
        ({"result": "success", "artifacts": [{"base64": "aGk=", "finishReason": "SUCCESS"}]}, 1),
        ({"seeds": [1], "finish_reasons": [None], "images": ["aGk="]}, 1),
    ],
)
def test_pictures_are_counted_off(answer: dict[str, Any], images: int) -> None:
    assert body("bedrock.invoke", answer).usage == Usage(images=images)
    assert body("bedrock.invoke", {"images": []}).usage is None
    assert body("bedrock.invoke", answer, input="5").usage == Usage(input_tokens=5)


# --- Converse ------------------------------------------------------------------------------------------------------------


def converse(**usage: Any) -> dict[str, Any]:
    said = {"message": {"role": "assistant", "content": [{"text": "hello"}]}}
    return {"output": said, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}}


def test_the_cache_is_outside_the_input_of_converse_and_inside_ours() -> None:
    usage = {"inputTokens": 5, "outputTokens": 7, "totalTokens": 342, "cacheReadInputTokens": 100, "cacheWriteInputTokens": 230}
    details = [{"ttl": "1h", "inputTokens": 200}, {"ttl": "5m", "inputTokens": 30}]

    facts = body("bedrock.converse", converse(**usage, cacheDetails=details))

    assert counts(facts) == (335, 7, 100, 230)
    assert facts.usage is not None
    assert facts.usage.cache_write_1h_tokens == 200
    assert facts.complete
    assert facts.output_text == ""


def test_the_other_spelling_of_the_cache_counts_the_same() -> None:
    facts = body("bedrock.converse", converse(inputTokens=5, outputTokens=7, cacheReadInputTokenCount=1, cacheWriteInputTokenCount=2))

    assert counts(facts) == (8, 7, 1, 2)


def test_a_prompt_router_names_the_model_it_chose_and_the_tier_is_the_one_that_served() -> None:
    trace = {"promptRouter": {"invokedModelId": "arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova-lite-v1:0"}}

    facts = body("bedrock.converse", {**converse(inputTokens=1, outputTokens=1), "trace": trace, "serviceTier": {"type": "flex"}})

    assert facts.model == trace["promptRouter"]["invokedModelId"]
    assert facts.service_tier == "flex"


def test_what_an_answer_without_usage_says_is_kept_for_an_estimate() -> None:
    blocks = [
        {"reasoningContent": {"reasoningText": {"text": "think "}}},
        {"text": "say "},
        {"toolUse": {"name": "look ", "input": {"a": 1}}},
        {"citationsContent": {"content": [{"text": " cited"}]}},
    ]

    facts = body("bedrock.converse", {"output": {"message": {"content": blocks}}, "stopReason": "tool_use"})

    assert facts.usage is None
    assert facts.output_text == 'think say look {"a":1} cited'


@pytest.mark.parametrize(
    ("answer", "headers", "error"),
    [
        ({"message": "no"}, {"x-amzn-errortype": "ThrottlingException:http://internal.amazon.com/"}, "ThrottlingException"),
        ({"__type": "com.amazon.coral.service#AccessDeniedException", "Message": "no"}, {}, "AccessDeniedException"),
        ({"message": "no"}, {}, "error"),
    ],
)
@pytest.mark.parametrize("wire_format", ["bedrock.converse", "bedrock.converse_stream", "bedrock.invoke", "bedrock.invoke_stream"])
def test_an_error_says_its_type(wire_format: str, answer: Any, headers: dict[str, str], error: str) -> None:
    facts = read(wire_format, json.dumps(answer).encode(), headers=headers)

    assert facts.usage is None
    assert facts.error == error


@pytest.mark.parametrize("wire_format", ["bedrock.converse", "bedrock.invoke", "bedrock.invoke_stream"])
@pytest.mark.parametrize("data", [b"", b"<html>", b'{"usage"', b"[]", b"null"])
def test_what_is_no_answer_says_nothing(wire_format: str, data: bytes) -> None:
    assert read(wire_format, data) == ReplyFacts()


STREAM = (
    event("messageStart", {"role": "assistant"}),
    event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "think "}}}),
    event("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "hello "}}),
    event("contentBlockStart", {"contentBlockIndex": 2, "start": {"toolUse": {"name": "look ", "toolUseId": "t"}}}),
    event("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '{"a":1}'}}}),
    event("messageStop", {"stopReason": "end_turn"}),
    event("metadata", {"usage": {"inputTokens": 5, "outputTokens": 7, "cacheReadInputTokens": 3}, "serviceTier": {"type": "priority"}}),
)


@given(st.lists(st.integers(1, 200), max_size=40))
def test_any_split_of_a_stream_reads_the_same(sizes: list[int]) -> None:
    data, pieces, at = b"".join(STREAM), list[bytes](), 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size

    facts = read("bedrock.converse_stream", *pieces, data[at:])

    assert counts(facts) == (8, 7, 3, None)
    assert (facts.complete, facts.error, facts.output_text, facts.service_tier) == (True, None, "", "priority")


def test_a_stream_broken_off_before_its_metadata_leaves_its_text() -> None:
    facts = read("bedrock.converse_stream", *STREAM[:5])

    assert (facts.usage, facts.complete) == (None, False)
    assert facts.output_text == 'think hello look {"a":1}'


def test_an_exception_in_a_stream_is_its_error() -> None:
    facts = read("bedrock.converse_stream", *STREAM[:3], exception("modelStreamErrorException", "broke"))

    assert (facts.usage, facts.complete, facts.error) == (None, False, "modelStreamErrorException")
    assert facts.output_text == "think hello "


def test_a_long_stream_is_read_by_its_ends() -> None:
    many = [event("contentBlockDelta", {"delta": {"text": "x" * 400_000}}) for _ in range(30)]

    facts = read("bedrock.converse_stream", STREAM[0], *many, *STREAM[-2:])

    assert counts(facts)[:2] == (8, 7)


def test_damage_after_some_messages_leaves_an_incomplete_answer() -> None:
    damaged = bytearray(b"".join(STREAM))
    damaged[-20] ^= 1

    facts = read("bedrock.converse_stream", bytes(damaged))

    assert facts.usage is None
    assert facts.output_text == 'think hello look {"a":1}'


# --- InvokeModel ---------------------------------------------------------------------------------------------------------

CLAUDE = {"type": "message", "model": "claude-x", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn"}
OPENAI = {"object": "chat.completion", "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}
NOVA = {"output": {"message": {"content": [{"text": "hi"}]}}, "stopReason": "end_turn"}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({**CLAUDE, "usage": {"input_tokens": 3, "output_tokens": 7, "cache_read_input_tokens": 4}}, (7, 7, 4, None)),
        ({"generation": "hi", "prompt_token_count": 5, "generation_token_count": 7, "stop_reason": "stop"}, (5, 7, None, None)),
        ({"inputTextTokenCount": 5, "results": [{"tokenCount": 4, "outputText": "a"}, {"tokenCount": 3}]}, (5, 7, None, None)),
        ({"inputTextTokenCount": 5, "embedding": [0.5]}, (5, None, None, None)),
        ({**NOVA, "usage": {"inputTokens": 5, "outputTokens": 7, "cacheReadInputTokenCount": 2}}, (7, 7, 2, None)),
        ({**OPENAI, "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}}, (5, 7, None, None)),
        ({"data": [], "usage": {"prompt_tokens": 5, "total_tokens": 5}}, (5, None, None, None)),
        ({"id": "c", "usage": {"billed_units": {"input_tokens": 5, "output_tokens": 7}}}, (5, 7, None, None)),
        ({"text": "hi", "meta": {"billed_units": {"input_tokens": 5.0, "output_tokens": 7.0}}}, (5, 7, None, None)),
    ],
)
def test_the_body_of_each_maker_is_read(answer: Any, expected: tuple[int | None, ...]) -> None:
    facts = body("bedrock.invoke", answer)

    assert counts(facts) == expected
    assert facts.complete


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"completion": "hi", "stop_reason": "stop_sequence"}, "hi"),
        ({"outputs": [{"text": "hi", "stop_reason": "stop"}]}, "hi"),
        ({"generations": [{"text": "hi"}]}, "hi"),
        ({"completions": [{"data": {"text": "hi"}}]}, "hi"),
        ({"text": "hi", "chat_history": []}, "hi"),
        ({**NOVA}, "hi"),
        ({**CLAUDE}, "hi"),
        ({**OPENAI}, "hi"),
    ],
)
def test_what_the_body_does_not_count_the_headers_do(answer: Any, text: str) -> None:
    assert body("bedrock.invoke", answer).output_text == text

    facts = body("bedrock.invoke", answer, input="5", output="7", cache_read_input="2", cache_write_input="1")

    assert counts(facts) == (8, 7, 2, 1)
    assert facts.output_text == ""


def test_a_count_in_the_body_stands_and_the_headers_add_what_it_lacks() -> None:
    facts = body("bedrock.invoke", {**NOVA, "usage": {"inputTokens": 5}}, input="6", output="7")

    assert counts(facts) == (5, 7, None, None)


def test_a_cache_that_only_the_headers_tell_is_not_counted_twice() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 7, "total_tokens": 107}

    facts = body("bedrock.invoke", {**OPENAI, "usage": usage}, input="40", output="7", cache_read_input="60")

    assert counts(facts) == (100, 7, 60, None)


@pytest.mark.parametrize(("said", "whole"), [(100, 100), (40, 100), (45, 105)])
def test_a_cache_that_only_the_events_tell_is_not_counted_twice(said: int, whole: int) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 60}}
    last = {"choices": [], "usage": usage, METRICS: {"inputTokenCount": said, "outputTokenCount": 7}}

    facts = read("bedrock.invoke_stream", chunk({"choices": [{"delta": {"content": "hi"}}]}), chunk(last))

    assert counts(facts) == (whole, 7, 60, None)


@pytest.mark.parametrize("value", ["", "-1", "1.5", "five", "٣", "9" * 30])
def test_a_header_that_is_no_count_counts_nothing(value: str) -> None:
    assert body("bedrock.invoke", {"completion": "hi"}, input=value).usage is None


def test_a_claude_answer_keeps_what_only_its_body_says() -> None:
    usage = {
        "input_tokens": 3,
        "output_tokens": 7,
        "cache_creation_input_tokens": 9,
        "cache_creation": {"ephemeral_1h_input_tokens": 8, "ephemeral_5m_input_tokens": 1},
        "output_tokens_details": {"thinking_tokens": 6},
    }

    facts = body("bedrock.invoke", {**CLAUDE, "usage": usage}, input="3", output="7", cache_write_input="9")

    assert counts(facts) == (12, 7, None, 9)
    assert facts.usage is not None
    assert (facts.usage.cache_write_1h_tokens, facts.usage.reasoning_tokens) == (8, 6)
    assert facts.model == "claude-x"


def metrics(**more: int) -> dict[str, Any]:
    return {METRICS: {"inputTokenCount": 5, "outputTokenCount": 7, "invocationLatency": 1, **more}}


CLAUDE_STREAM: tuple[dict[str, Any], ...] = (
    {"type": "message_start", "message": {"model": "claude-x", "usage": {"input_tokens": 5, "output_tokens": 1}}},
    {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hello"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
    {"type": "message_stop", **metrics(cacheReadInputTokenCount=2)},
)
STREAMS: dict[str, tuple[dict[str, Any], ...]] = {
    "claude": CLAUDE_STREAM,
    "llama": (
        {"generation": "hel", "prompt_token_count": 5, "generation_token_count": 1},
        {"generation": "lo", "prompt_token_count": None, "generation_token_count": 7, "stop_reason": "stop", **metrics()},
    ),
    "titan": (
        {"outputText": "hello", "index": 0, "totalOutputTextTokenCount": None, "completionReason": None, "inputTextTokenCount": 5},
        {"outputText": "", "index": 0, "totalOutputTextTokenCount": 7, "completionReason": "FINISH", **metrics()},
    ),
    "nova": (
        {"messageStart": {"role": "assistant"}},
        {"contentBlockDelta": {"delta": {"text": "hello"}, "contentBlockIndex": 0}},
        {"messageStop": {"stopReason": "end_turn"}},
        {"metadata": {"usage": {"inputTokens": 5, "outputTokens": 7}}, **metrics()},
    ),
    "cohere": ({"is_finished": False, "text": "hello"}, {"is_finished": True, "finish_reason": "COMPLETE", **metrics()}),
    "mistral": ({"outputs": [{"text": "hello", "stop_reason": None}]}, {"outputs": [{"text": "", "stop_reason": "stop"}], **metrics()}),
    "openai": (
        {"choices": [{"delta": {"content": "hello"}}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}], **metrics()},
    ),
    "claude 2": ({"completion": "hello", "stop_reason": None}, {"completion": "", "stop_reason": "stop_sequence", **metrics()}),
}


@pytest.mark.parametrize("maker", STREAMS)
def test_the_metrics_of_the_last_chunk_have_the_last_word(maker: str) -> None:
    facts = read("bedrock.invoke_stream", *map(chunk, STREAMS[maker]))

    assert counts(facts)[1] == 7
    assert counts(facts)[0] == (7 if maker == "claude" else 5)
    assert (facts.complete, facts.error, facts.output_text) == (True, None, "")


def test_what_the_events_count_otherwise_than_the_metrics_is_kept_beside_them() -> None:
    facts = read("bedrock.invoke_stream", *map(chunk, CLAUDE_STREAM))
    agreeing = read("bedrock.invoke_stream", *map(chunk, STREAMS["llama"]))

    assert counts(facts)[1] == 7
    assert facts.also is not None
    assert facts.also.output_tokens == 9
    assert agreeing.also is None


@pytest.mark.parametrize("maker", STREAMS)
def test_a_stream_without_metrics_leaves_what_its_maker_said(maker: str) -> None:
    facts = read("bedrock.invoke_stream", *map(chunk, STREAMS[maker][:-1]))

    told = facts.usage is not None and facts.usage.output_tokens is not None
    assert told or facts.output_text in {"hello", "hel"}
    assert counts(facts)[0] == (5 if maker in {"claude", "llama", "titan"} else None)


def test_an_exception_ends_a_stream_of_chunks() -> None:
    facts = read("bedrock.invoke_stream", *map(chunk, CLAUDE_STREAM[:2]), exception("throttlingException", "slow down"))

    assert (facts.complete, facts.error) == (False, "throttlingException")
    assert counts(facts)[:2] == (5, None)
    assert facts.output_text == "hello"


@pytest.mark.parametrize("payload", [{"bytes": "!!"}, {"bytes": 5}, {}, {"bytes": "e30="}])
def test_a_chunk_that_cannot_be_read_is_passed_over(payload: dict[str, Any]) -> None:
    facts = read("bedrock.invoke_stream", event("chunk", payload), *map(chunk, STREAMS["llama"]))

    assert counts(facts)[:2] == (5, 7)


def test_damaged_streams_never_raise_and_never_invent_tokens() -> None:
    chance = random.Random(11)
    whole = {
        "bedrock.converse_stream": b"".join(STREAM),
        "bedrock.invoke_stream": b"".join(map(chunk, CLAUDE_STREAM)),
        "bedrock.invoke": json.dumps({**CLAUDE, "usage": {"input_tokens": 3, "output_tokens": 7}}).encode(),
    }
    for number in range(2000):
        wire_format, data = list(whole.items())[number % 3]
        damaged = bytearray(data)
        for _ in range(chance.randint(0, 3)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        pieces = [bytes(damaged[at : at + 50]) for at in range(0, chance.randrange(len(damaged) + 1), 50)]

        facts = read(wire_format, *pieces)

        if wire_format != "bedrock.invoke":
            assert facts.usage is None or (facts.usage.output_tokens or 0) <= 9
