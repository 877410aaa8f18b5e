"""What OpenAI-shaped requests ask for."""

import json
from typing import Any

import pytest

from metering.providers import FORMATS, RequestFacts


def read(wire_format: str, body: dict[str, Any]) -> RequestFacts:
    return FORMATS[wire_format].read_request(body)


def test_a_chat_request_is_taken_apart() -> None:
    tool = {"type": "function", "function": {"name": "toll", "parameters": {"type": "object"}}}
    facts = read(
        "openai.chat",
        {
            "model": "gpt-4o",
            "stream": True,
            "n": 2,
            "max_tokens": 10,
            "max_completion_tokens": 20,
            "service_tier": "flex",
            "tools": [tool],
            "response_format": {"type": "json_schema", "json_schema": {"name": "s"}},
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
                {
                    "role": "user",
                    "name": "ann",
                    "content": [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": "data:x"}}],
                },
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"function": {"name": "toll", "arguments": "{}"}}],
                    "function_call": None,
                },
                {"role": "tool", "content": "two pence"},
                {"role": "assistant", "function_call": {"name": "old", "arguments": "[]"}},
            ],
        },
    )

    assert (facts.model, facts.streamed, facts.choices, facts.max_output_tokens, facts.service_tier) == ("gpt-4o", True, 2, 20, "flex")
    assert facts.tools == ("toll",)
    assert facts.prompt.system == ("Be brief.", "Be kind.")
    assert facts.prompt.texts == ("What?", "ann", "toll", "{}", "two pence", "old", "[]")
    assert (facts.prompt.messages, facts.prompt.media) == (6, 1)
    assert facts.prompt.tools == json.dumps([tool], separators=(",", ":")).encode() + b'\n{"name":"s"}'


def test_a_responses_body_on_the_chat_path_is_read_as_one() -> None:
    facts = read("openai.chat", {"model": "gpt-5", "input": "hello", "max_output_tokens": 7})

    assert (facts.prompt.texts, facts.max_output_tokens) == (("hello",), 7)


def test_a_completions_body_on_the_chat_path_is_read_as_one() -> None:
    assert read("openai.chat", {"model": "m", "prompt": "hello"}).prompt.texts == ("hello",)


def test_a_responses_request_is_taken_apart() -> None:
    facts = read(
        "openai.responses",
        {
            "model": "gpt-5",
            "instructions": "Be brief.",
            "max_output_tokens": 9,
            "tools": [{"type": "web_search"}, {"type": "function", "name": "toll", "parameters": {}}],
            "text": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
            "prompt": {"id": "p", "variables": {"who": "ann"}},
            "input": [
                {"role": "system", "content": "Be kind."},
                {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": "What?"}, {"type": "input_image", "image_url": "data:"}],
                },
                {"type": "function_call", "name": "toll", "arguments": "{}", "call_id": "c"},
                {"type": "function_call_output", "call_id": "c", "output": "two pence"},
                {"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": "data:"}},
                "bare",
            ],
        },
    )

    assert facts.tools == ("web_search", "toll")
    assert facts.prompt.system == ("Be brief.", "Be kind.")
    assert facts.prompt.texts == ("What?", "toll", "{}", "two pence", "bare", "ann")
    assert (facts.prompt.messages, facts.prompt.media) == (7, 2)
    assert facts.prompt.tools.endswith(b'\n{"type":"object"}')


def test_a_responses_request_may_have_no_input() -> None:
    assert read("openai.responses", {"model": "gpt-5", "previous_response_id": "r"}).prompt.chars == 0


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ("one", ("one",)),
        (["one", "two"], ("one", "two")),
        ([1, 2, 3], (" a a a",)),
        ([[1, 2], [3]], (" a a", " a")),
    ],
)
def test_embedding_inputs_are_texts_or_token_ids(value: object, texts: tuple[str, ...]) -> None:
    facts = read("openai.embeddings", {"model": "text-embedding-3-small", "input": value, "stream": True})

    assert facts.prompt.texts == texts
    assert (facts.max_output_tokens, facts.streamed, facts.prompt.messages) == (0, False, 0)


def test_a_completions_request_counts_its_suffix_and_its_best_of() -> None:
    facts = read("openai.completions", {"model": "m", "prompt": "a", "suffix": "z", "n": 2, "best_of": 5, "max_tokens": 3})

    assert (facts.prompt.texts, facts.choices, facts.max_output_tokens) == (("a", "z"), 5, 3)


def test_a_negative_cap_is_no_cap() -> None:
    assert read("openai.chat", {"messages": [], "max_tokens": -1}).max_output_tokens is None


@pytest.mark.parametrize(
    ("wire_format", "body", "reason"),
    [
        ("openai.chat", {"model": "m"}, "needs `messages`"),
        ("openai.chat", {"messages": "hi"}, "`messages` must be a list"),
        ("openai.chat", {"messages": ["hi"]}, "each of `messages` must be an object"),
        ("openai.chat", {"messages": [{"role": 1}]}, "`role` must be a string"),
        ("openai.chat", {"messages": [{"content": 1}]}, "content must be text"),
        ("openai.chat", {"messages": [], "model": 4}, "`model` must be a string"),
        ("openai.chat", {"messages": [], "stream": "true"}, "`stream` must be true or false"),
        ("openai.chat", {"messages": [], "n": 0}, "`n` must be a whole number of at least 1"),
        ("openai.chat", {"messages": [], "max_tokens": "9"}, "`max_tokens` must be a whole number"),
        ("openai.chat", {"messages": [], "max_tokens": True}, "`max_tokens` must be a whole number"),
        ("openai.chat", {"messages": [], "tools": [1]}, "each of `tools` must be an object"),
        ("openai.chat", {"messages": [], "response_format": 1}, "`response_format` must be an object"),
        ("openai.responses", {"input": 5}, "`input` must be a list"),
        ("openai.responses", {"input": "x", "text": "y"}, "`text` must be an object"),
        ("openai.completions", {"model": "m"}, "needs `prompt`"),
        ("openai.embeddings", {"model": "m"}, "needs `input`"),
        ("anthropic.messages", {"model": "m"}, "needs `messages`"),
        ("anthropic.messages", {"messages": [{"content": 1.5}]}, "content must be text"),
    ],
)
def test_a_body_without_meaning_is_refused_with_the_reason(wire_format: str, body: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read(wire_format, body)


def test_content_that_is_nested_without_end_is_refused() -> None:
    content: Any = "x"
    for _ in range(40):
        content = [content]

    with pytest.raises(ValueError, match="nested more than 32 levels"):
        read("openai.chat", {"messages": [{"role": "user", "content": content}]})


def test_definitions_that_are_nested_without_end_are_refused() -> None:
    schema: Any = {}
    for _ in range(100_000):
        schema = {"a": schema}

    with pytest.raises(ValueError, match="nested too deep"):
        read("openai.chat", {"messages": [], "tools": [{"name": "t", "parameters": schema}]})


def test_numbers_beyond_64_bits_in_a_schema_are_kept() -> None:
    facts = read("openai.chat", {"messages": [], "tools": [{"name": "t", "parameters": {"maximum": 10**30}}]})

    assert b'"maximum":1' + b"0" * 30 in facts.prompt.tools


def test_an_anthropic_request_is_taken_apart() -> None:
    facts = read(
        "anthropic.messages",
        {
            "model": "claude-sonnet-4-5",
            "max_tokens": 64,
            "stream": True,
            "service_tier": "auto",
            "system": [{"type": "text", "text": "Be brief."}],
            "tools": [{"name": "toll", "input_schema": {}}, {"type": "web_search_20250305", "name": "web_search"}],
            "messages": [
                {"role": "user", "content": "What?"},
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "s"},
                        {"type": "tool_use", "id": "i", "name": "toll", "input": {"a": 1}},
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "tool_result",
                            "tool_use_id": "i",
                            "content": [{"type": "text", "text": "two"}, {"type": "image", "source": {}}],
                        }
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "document", "source": {"type": "text", "data": "a page"}},
                        {"type": "document", "source": {"type": "base64", "data": "JVBE"}},
                    ],
                },
                {
                    "role": "user",
                    "content": [{"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a part"}]}}],
                },
            ],
        },
    )

    assert (facts.model, facts.streamed, facts.max_output_tokens, facts.service_tier) == ("claude-sonnet-4-5", True, 64, "auto")
    assert facts.tools == ("toll", "web_search")
    assert facts.prompt.system == ("Be brief.",)
    assert facts.prompt.texts == ("What?", "toll", '{"a":1}', "two", "a page", "a part")
    assert (facts.prompt.messages, facts.prompt.media) == (5, 4)


@pytest.mark.parametrize(
    ("body", "model", "models"),
    [
        (
            {"model": "openai/gpt-4o", "models": ["anthropic/claude-3.5-sonnet", "x/y", "x/y"]},
            "openai/gpt-4o",
            ("anthropic/claude-3.5-sonnet", "x/y"),
        ),
        ({"models": ["a/b", "c/d"]}, "a/b", ("a/b", "c/d")),
        ({"model": "a/b", "providerOptions": {"gateway": {"models": ["c/d"]}}}, "a/b", ("c/d",)),
        ({"model": "a/b", "models": "c/d"}, "a/b", ()),
        ({"model": "a/b", "models": [None, ""]}, "a/b", ()),
        ({"model": "a/b"}, "a/b", ()),
    ],
)
@pytest.mark.parametrize("wire_format", ["openai.chat", "openai.responses"])
def test_the_models_that_a_request_falls_back_to_are_named(
    wire_format: str, body: dict[str, Any], model: str, models: tuple[str, ...]
) -> None:
    facts = read(wire_format, {**body, "messages": [], "input": "hi"})

    assert (facts.model, facts.models) == (model, models)
