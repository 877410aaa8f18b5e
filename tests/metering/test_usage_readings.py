"""What each provider does differently in its usage, one case each."""

import json
from typing import Any

import pytest

from metering.usage import Usage

_IN, _OUT = 100, 10


def body(usage: object, **more: object) -> bytes:
    return json.dumps({"model": "m", "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": usage, **more}).encode()


def chat(**usage: object) -> dict[str, object]:
    return {"prompt_tokens": _IN, "completion_tokens": _OUT, "total_tokens": _IN + _OUT, **usage}


@pytest.mark.parametrize(
    ("provider", "usage", "model", "expected"),
    [
        pytest.param("openai", chat(), "m", {"input_tokens": 100, "output_tokens": 10}, id="no details"),
        pytest.param(
            "openai", chat(prompt_tokens_details=None, completion_tokens_details=None), "m", {"cache_read_tokens": None}, id="null details"
        ),
        pytest.param(
            "openai",
            chat(completion_tokens_details={"reasoning_tokens": 6}),
            "m",
            {"output_tokens": 10, "reasoning_tokens": 6},
            id="reasoning inside",
        ),
        pytest.param(
            "x_ai",
            chat(total_tokens=130, completion_tokens_details={"reasoning_tokens": 20}),
            "m",
            {"output_tokens": 30},
            id="xAI: reasoning outside",
        ),
        pytest.param(
            "vercel",
            chat(completion_tokens_details={"reasoning_tokens": 7}),
            "google/gemini-2.5",
            {"output_tokens": 17},
            id="Vercel: Gemini's thinking",
        ),
        pytest.param(
            "vercel", chat(completion_tokens_details={"reasoning_tokens": 7}), "openai/gpt-5", {"output_tokens": 10}, id="Vercel: others"
        ),
        pytest.param(
            "gcp.gemini", chat(total_tokens=150), "m", {"output_tokens": 10, "billed_output_tokens": 50}, id="Gemini's OpenAI door"
        ),
        pytest.param(
            "azure.ai.inference", chat(prompt_tokens_details={"cached_tokens": 163}), "m", {"cache_read_tokens": 163}, id="Azure's Grok"
        ),
        pytest.param(
            "mistral_ai",
            chat(total_tokens=485, prompt_tokens_details={"audio_tokens": 375}),
            "m",
            {"input_tokens": 100, "billed_input_tokens": 475, "audio_input_tokens": 375},
            id="Mistral's audio",
        ),
        pytest.param(
            "deepseek", chat(prompt_cache_hit_tokens=64, prompt_cache_miss_tokens=36), "m", {"cache_read_tokens": 64}, id="DeepSeek"
        ),
        pytest.param("together", chat(cached_tokens=12), "m", {"cache_read_tokens": 12}, id="Together"),
        pytest.param(
            "databricks",
            chat(cache_read_input_tokens=5, cache_creation_input_tokens=6),
            "m",
            {"cache_read_tokens": 5, "cache_write_tokens": 6},
            id="Databricks",
        ),
        pytest.param("openai", chat(prompt_token_details={"cached_tokens": 3}), "m", {"cache_read_tokens": 3}, id="singular spelling"),
        pytest.param("openai", chat(prompt_tokens=9.0), "m", {"input_tokens": 9}, id="whole floats"),
        pytest.param("openai", chat(prompt_tokens=9.5, completion_tokens=True), "m", None, id="no counts"),
        pytest.param("openai", chat(prompt_tokens=-4, completion_tokens=10**13), "m", None, id="absurd counts"),
        pytest.param("voyageai", {"total_tokens": 8}, "m", {"input_tokens": 8, "output_tokens": None}, id="Voyage: total alone"),
        pytest.param("openai", {"foo": 1}, "m", None, id="nothing counted"),
        pytest.param("openrouter", chat(server_tool_use_details={"web_search_requests": 3}), "m", {"web_searches": 3}, id="searches"),
    ],
)
def test_chat_usage_is_normalised(read_answer: Any, provider: str, usage: object, model: str, expected: dict[str, Any] | None) -> None:
    found = read_answer("openai.chat", body(usage, model=model), provider=provider).usage

    if expected is None:
        assert found is None or found.input_tokens == _IN + _OUT  # the total stands in for a prompt that is no count
        return
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("provider", "usage", "nano"),
    [
        ("openrouter", chat(cost=0.00028335), 283_350),
        ("openrouter", chat(cost=0.01, is_byok=True, cost_details={"upstream_inference_cost": 0.5}), 510_000_000),
        ("openrouter", chat(cost=0), 0),
        ("vercel", chat(cost=0.0002833), 283_300),
        ("perplexity", chat(cost={"total_cost": 0.006}), 6_000_000),
        ("x_ai", chat(cost_in_usd_ticks=2_488_505), 248_850),
        ("openai", chat(cost=5), None),
        ("openrouter", chat(cost="5"), None),
        ("openrouter", chat(cost=-1), None),
        ("openrouter", chat(cost=True), None),
    ],
)
def test_a_cost_of_the_provider_is_kept_in_nano_dollars(read_answer: Any, provider: str, usage: object, nano: int | None) -> None:
    assert read_answer("openai.chat", body(usage), provider=provider).reported_cost_nano == nano


def sse(*events: object) -> bytes:
    return b"".join(b"data: " + (event if isinstance(event, bytes) else json.dumps(event).encode()) + b"\n\n" for event in events)


def delta(content: object, **more: object) -> dict[str, object]:
    return {"model": "m", "choices": [{"index": 0, "delta": {"content": content, **more}, "finish_reason": None}]}


def test_cumulative_usage_is_not_added_up(read_answer: Any) -> None:
    stream = sse(
        {**delta("a"), "usage": chat(completion_tokens=1)}, {**delta("b"), "usage": chat(completion_tokens=2)}, {**delta(""), "usage": None}
    )

    assert read_answer("openai.chat", stream).usage.output_tokens == 2


def test_groq_reports_under_a_name_of_its_own(read_answer: Any) -> None:
    last = {"model": "m", "choices": [{"delta": {}, "finish_reason": "stop"}], "x_groq": {"id": "r", "usage": chat()}}

    facts = read_answer("openai.chat", sse(delta("a"), last), provider="groq")

    assert (facts.usage, facts.complete) == (Usage(input_tokens=100, output_tokens=10), True)


def test_an_error_inside_a_stream_is_found(read_answer: Any) -> None:
    stream = sse(delta("a")) + b'event: error\ndata: {"error":{"message":"no","type":"invalid_request_error","status_code":400}}\n\n'

    facts = read_answer("openai.chat", stream)

    assert (facts.error, facts.complete, facts.output_text) == ("invalid_request_error", False, "a")


def test_an_error_beside_usage_is_found(read_answer: Any) -> None:
    facts = read_answer("openai.chat", sse({"error": {"code": 502}, "choices": [], "usage": chat()}, b"[DONE]"))

    assert (facts.error, facts.usage.input_tokens) == ("error", 100)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b'{"error":{"type":"invalid_request_error"}}', "invalid_request_error"),
        (b'{"error":{"code":"x"}}', "x"),
        (b'[{"error":{"status":"INVALID_ARGUMENT","code":400}}]', "INVALID_ARGUMENT"),
        (b'{"error":"plain"}', "plain"),
        (b'{"error":null,"choices":[]}', None),
        (b'{"error":7}', None),
    ],
)
def test_the_type_of_an_error_is_read(read_answer: Any, answer: bytes, error: str | None) -> None:
    assert read_answer("openai.chat", answer).error == error


def test_the_text_of_an_answer_without_usage_is_kept(read_answer: Any) -> None:
    stream = sse(
        delta("Hel"),
        delta(None, reasoning_content="hm"),
        delta(None, tool_calls=[{"index": 0, "function": {"name": "toll", "arguments": "{}"}}]),
        delta([{"type": "text", "text": "lo"}, {"type": "thinking", "thinking": [{"type": "text", "text": "so"}]}]),
        {"model": "m", "choices": [{"text": " legacy"}]},
        b"[DONE]",
    )

    facts = read_answer("openai.chat", stream)

    assert (facts.usage, facts.output_text, facts.complete) == (None, "Helhmtoll{}loso legacy", True)


def test_an_answer_to_a_schema_is_text_too(read_answer: Any) -> None:
    facts = read_answer("openai.chat", json.dumps({"choices": [{"message": {"content": {"a": 1}}}]}).encode())

    assert facts.output_text == '{"a":1}'


def test_responses_streams_report_in_their_last_event(read_answer: Any) -> None:
    usage = {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
    }
    response = {
        "model": "gpt-5",
        "status": "completed",
        "usage": usage,
        "service_tier": "default",
        "tool_usage": {"web_search": {"num_requests": 2}},
    }
    stream = sse(
        {"type": "response.created", "response": {"model": "gpt-5", "usage": None}},
        {"type": "response.output_text.delta", "delta": "hi"},
        {"type": "response.completed", "response": response},
    )

    for wire_format in ("openai.responses", "openai.chat"):
        facts = read_answer(wire_format, stream)

        assert facts.usage == Usage(input_tokens=9, output_tokens=5, cache_read_tokens=4, reasoning_tokens=2, web_searches=2)
        assert (facts.model, facts.complete, facts.service_tier, facts.output_text) == ("gpt-5", True, "default", "")


def test_a_responses_stream_that_breaks_off_leaves_its_text(read_answer: Any) -> None:
    stream = sse(
        {"type": "response.created", "response": {"model": "gpt-5", "usage": None}},
        {"type": "response.output_text.delta", "delta": "hi"},
        {"type": "response.function_call_arguments.delta", "delta": "{}"},
    )

    facts = read_answer("openai.responses", stream)

    assert (facts.usage, facts.complete, facts.output_text, facts.model) == (None, False, "hi{}", "gpt-5")


def test_a_failed_response_says_why(read_answer: Any) -> None:
    failed = {"type": "response.failed", "response": {"status": "failed", "error": {"code": "server_error"}, "usage": None}}

    facts = read_answer("openai.responses", sse(failed))

    assert (facts.error, facts.complete) == ("server_error", True)
    assert read_answer("openai.responses", sse({"type": "error", "error": {"type": "overloaded"}})).error == "overloaded"


def test_a_response_in_the_background_is_not_complete(read_answer: Any) -> None:
    facts = read_answer("openai.responses", b'{"object":"response","status":"queued","model":"gpt-5","usage":null}')

    assert (facts.complete, facts.usage) == (False, None)


def test_a_response_body_on_the_chat_path_is_read_as_one(read_answer: Any) -> None:
    output = [
        {"type": "message", "content": [{"type": "output_text", "text": "hi"}]},
        {"type": "function_call", "name": "f", "arguments": "{}"},
        {"type": "reasoning", "summary": [{"text": "so"}]},
    ]

    facts = read_answer("openai.chat", json.dumps({"object": "response", "status": "completed", "output": output}).encode())

    assert (facts.complete, facts.output_text) == (True, "hif{}so")
