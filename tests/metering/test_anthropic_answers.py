"""Anthropic's usage: what it includes, what a stream adds, what other models used."""

import json
from typing import Any

from metering.usage import Usage


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def start(**usage: object) -> dict[str, Any]:
    counts = {"input_tokens": 702, "output_tokens": 2, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 5, **usage}
    return {"type": "message_start", "message": {"model": "claude-sonnet-4-5", "usage": counts, "content": []}}


_TEXT = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}
_TOOL = {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "name": "toll", "input": {}}}
_ARGUMENTS = {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{}"}}
_STOP = {"type": "message_stop"}


def test_input_includes_cache_reads_and_writes(read_answer: Any) -> None:
    usage = {
        "input_tokens": 3,
        "output_tokens": 7,
        "cache_read_input_tokens": 20,
        "cache_creation_input_tokens": 40,
        "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 10},
        "output_tokens_details": {"thinking_tokens": 4},
        "server_tool_use": {"web_search_requests": 2},
        "service_tier": "standard",
    }

    facts = read_answer("anthropic.messages", json.dumps({"model": "claude", "usage": usage}).encode())

    assert facts.usage == Usage(
        input_tokens=63,
        output_tokens=7,
        cache_read_tokens=20,
        cache_write_tokens=40,
        cache_write_1h_tokens=10,
        reasoning_tokens=4,
        web_searches=2,
    )
    assert (facts.complete, facts.service_tier) == (True, "standard")


def test_cache_writes_by_age_alone_are_added_up(read_answer: Any) -> None:
    usage = {"input_tokens": 3, "output_tokens": 7, "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 10}}

    found = read_answer("anthropic.messages", json.dumps({"usage": usage}).encode()).usage

    assert (found.cache_write_tokens, found.input_tokens) == (40, 43)


def test_the_last_delta_overlays_the_start(read_answer: Any) -> None:
    delta = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"input_tokens": 1591, "output_tokens": 40, "cache_read_input_tokens": None},
    }

    facts = read_answer("anthropic.messages", sse(start(), {"type": "ping"}, _TEXT, delta, _STOP))

    assert (facts.usage.input_tokens, facts.usage.output_tokens, facts.usage.cache_read_tokens) == (1591 + 15, 40, 10)
    assert (facts.model, facts.complete, facts.output_text) == ("claude-sonnet-4-5", True, "")


def test_a_delta_of_old_style_keeps_the_input_of_the_start(read_answer: Any) -> None:
    delta = {"type": "message_delta", "usage": {"output_tokens": 40}}

    usage = read_answer("anthropic.messages", sse(start(), _TEXT, delta, _STOP)).usage

    assert (usage.input_tokens, usage.output_tokens) == (717, 40)


def test_a_stream_that_breaks_off_leaves_its_input_and_its_text(read_answer: Any) -> None:
    facts = read_answer("anthropic.messages", sse(start(), _TEXT, _TOOL, _ARGUMENTS))

    assert (facts.usage.input_tokens, facts.usage.output_tokens) == (717, None)
    assert (facts.output_text, facts.complete) == ("hitoll{}", False)


def test_an_error_event_is_found(read_answer: Any) -> None:
    facts = read_answer("anthropic.messages", sse(start(), {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}))

    assert (facts.error, facts.complete) == ("overloaded_error", False)


def test_other_models_inside_a_call_are_counted_apart(read_answer: Any) -> None:
    iterations = [
        {"type": "message", "input_tokens": 1128, "output_tokens": 110},
        {"type": "advisor_message", "model": "claude-opus-4-8", "input_tokens": 2518, "output_tokens": 22},
        {"type": "advisor_message", "model": "claude-opus-4-8"},
    ]

    usage = read_answer(
        "anthropic.messages", json.dumps({"usage": {"input_tokens": 1128, "output_tokens": 110, "iterations": iterations}}).encode()
    ).usage

    assert usage.other_models == (("claude-opus-4-8", Usage(input_tokens=2518, output_tokens=22)),)


def test_an_answer_without_usage_leaves_its_text(read_answer: Any) -> None:
    content = [{"type": "text", "text": "hi"}, {"type": "tool_use", "name": "toll"}]

    facts = read_answer("anthropic.messages", json.dumps({"content": content}).encode())

    assert (facts.usage, facts.output_text) == (None, "hitoll")


def test_an_empty_stream_says_nothing(read_answer: Any) -> None:
    facts = read_answer("anthropic.messages", b"")

    assert (facts.usage, facts.complete, facts.error) == (None, False, None)
