"""What requests to Bedrock ask for, in Converse's shape and in those of its makers."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.providers import FORMATS, RequestFacts

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x40\0\0\0\x20" + bytes(30)).decode()


def converse(body: dict[str, Any]) -> RequestFacts:
    return FORMATS["bedrock.converse"].read_request(body)


def invoke(body: dict[str, Any]) -> RequestFacts:
    return FORMATS["bedrock.invoke"].read_request(body)


def asked(*blocks: Any, role: str = "user") -> dict[str, Any]:
    return {"messages": [{"role": role, "content": list(blocks)}]}


def test_the_path_says_whether_an_answer_is_streamed() -> None:
    body = asked({"text": "hi"})

    assert [FORMATS[name].read_request(body).streamed for name in ("bedrock.converse", "bedrock.converse_stream")] == [False, True]
    assert [FORMATS[name].read_request({**body, "stream": True}).streamed for name in ("bedrock.invoke", "bedrock.invoke_stream")] == [
        False,
        True,
    ]


def test_a_converse_request_is_read_whole() -> None:
    tools = [
        {"toolSpec": {"name": "look", "description": "looks", "inputSchema": {"json": {"type": "object"}}}},
        {"systemTool": {"name": "nova_grounding"}},
        {"cachePoint": {"type": "default"}},
    ]

    facts = converse(
        {
            "system": [
                {"text": "be kind"},
                {"guardContent": {"text": {"text": "guarded"}}},
                {"cachePoint": {"type": "default", "ttl": "1h"}},
            ],
            **asked({"text": "hello"}, {"image": {"format": "png", "source": {"bytes": PNG}}}),
            "inferenceConfig": {"maxTokens": 99},
            "toolConfig": {"tools": tools},
            "outputConfig": {"textFormat": {"type": "json_schema"}},
            "serviceTier": {"type": "flex"},
        }
    )

    assert (facts.prompt.system, facts.prompt.texts, facts.prompt.messages) == (("be kind", "guarded"), ("hello",), 1)
    assert (facts.tools, facts.prompt.server_tools) == (("look", "nova_grounding"), ("nova_grounding",))
    assert b'"looks"' in facts.prompt.tools
    assert b"json_schema" in facts.prompt.tools
    assert (facts.max_output_tokens, facts.service_tier, facts.choices, facts.model) == (99, "flex", 1, None)
    assert facts.prompt.media == 1
    assert [(medium.kind, medium.width, medium.height) for medium in facts.prompt.attached] == [("image", 64, 32)]


@pytest.mark.parametrize(
    ("block", "texts", "media"),
    [
        ({"toolUse": {"toolUseId": "t", "name": "look", "input": {"a": 1}}}, ("look", '{"a":1}'), 0),
        ({"toolResult": {"toolUseId": "t", "content": [{"text": "seen"}, {"json": {"b": 2}}]}}, ("seen", '{"b":2}'), 0),
        ({"toolResult": {"toolUseId": "t", "content": [{"json": "bare"}, {"image": {"source": {"bytes": PNG}}}]}}, ("bare",), 1),
        ({"searchResult": {"source": "web", "title": "T", "content": [{"text": "found"}]}}, ("T", "web", "found"), 0),
        ({"reasoningContent": {"reasoningText": {"text": "hm", "signature": "xyz"}}}, ("hm",), 0),
        ({"citationsContent": {"content": [{"text": "said"}], "citations": []}}, ("said",), 0),
        ({"guardContent": {"image": {"format": "png", "source": {"bytes": PNG}}}}, (), 1),
        ({"document": {"format": "txt", "name": "facts", "source": {"text": "true"}, "context": "c"}}, ("facts", "c", "true"), 1),
        ({"document": {"name": "facts", "source": {"content": [{"text": "one"}, {"text": "two"}]}}}, ("facts", "one", "two"), 1),
        ({"video": {"format": "mp4", "source": {"s3Location": {"uri": "s3://b/v"}}}}, (), 1),
        ({"audio": {"format": "mp3", "source": {"bytes": "AAAA"}}}, (), 1),
        ({"cachePoint": {"type": "default"}}, (), 0),
    ],
)
def test_each_kind_of_block_is_read(block: Any, texts: tuple[str, ...], media: int) -> None:
    prompt = converse(asked(block)).prompt

    assert (prompt.texts, prompt.media) == (texts, media)


def test_what_a_count_needs_beside_the_text_is_read() -> None:
    reasoning = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "12345"}}}
    prompt = converse(
        asked(reasoning, {"reasoningContent": {"redactedContent": "678"}}, {"toolUse": {"name": "f"}}, role="assistant")
    ).prompt

    assert (prompt.answers, prompt.calls, prompt.sealed, prompt.stored) == (1, 1, 8, False)


def test_a_stored_prompt_needs_no_messages() -> None:
    facts = converse({"promptVariables": {"topic": {"text": "tolls"}}})

    assert facts.prompt.texts == ("tolls",)
    assert facts.prompt.stored


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": "hi"},
        {"messages": ["hi"]},
        {"messages": [{"role": "user", "content": "hi"}]},
        {"messages": [], "inferenceConfig": 5},
        {"messages": [], "inferenceConfig": {"maxTokens": "many"}},
        {"messages": [], "toolConfig": {"tools": {}}},
        {"messages": [], "system": "be kind"},
        asked({"text": 5}),
    ],
)
def test_a_converse_request_without_a_meaning_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|needs"):
        converse(body)


def test_content_nested_without_end_is_refused() -> None:
    block: dict[str, Any] = {"text": "deep"}
    for _ in range(20):
        block = {"toolResult": {"content": [block]}}

    with pytest.raises(ValueError, match="nested"):
        converse(asked(block))


CLAUDE = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "system": "be kind", **asked({"type": "text", "text": "hello"})}


@pytest.mark.parametrize(
    ("body", "system", "texts", "cap"),
    [
        (CLAUDE, ("be kind",), ("hello",), 9),
        ({"prompt": "hello", "max_tokens_to_sample": 9, "anthropic_version": "bedrock-2023-05-31"}, (), ("hello",), 9),
        ({"schemaVersion": "messages-v1", **asked({"text": "hello"}), "inferenceConfig": {"max_new_tokens": 9}}, (), ("hello",), 9),
        ({**asked({"text": "hello"}), "inferenceConfig": {"maxTokens": 9}, "system": [{"text": "s"}]}, ("s",), ("hello",), 9),
        ({"prompt": "hello", "max_gen_len": 9}, (), ("hello",), 9),
        ({"inputText": "hello", "textGenerationConfig": {"maxTokenCount": 9}}, (), ("hello",), 9),
        ({"inputText": "hello"}, (), ("hello",), 512),
        ({"prompt": "<s>[INST] hello", "max_tokens": 9, "top_k": 1}, (), ("<s>[INST] hello",), 9),
        ({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 9}, (), ("hello",), 9),
        ({"messages": [{"role": "user", "content": "hello"}], "max_completion_tokens": 9, "stream": True}, (), ("hello",), 9),
        (
            {"message": "hello", "chat_history": [{"role": "USER", "message": "before"}], "preamble": "kind", "max_tokens": 9},
            (),
            ("hello", "before", "kind"),
            9,
        ),
        ({"prompt": "hello", "maxTokens": 9, "numResults": 1}, (), ("hello",), 9),
        ({"prompt": "hello"}, (), ("hello",), None),
        ({"texts": ["one", "two"], "input_type": "search_document"}, (), ("one", "two"), 0),
        ({"inputs": [{"content": [{"type": "text", "text": "one"}]}], "input_type": "x"}, (), ("one",), 0),
        ({"inputText": "hello", "dimensions": 256, "normalize": True}, (), ("hello",), 0),
        ({"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": {"text": {"value": "hello"}}}, (), ("hello",), 0),
        ({"taskType": "TEXT_IMAGE", "textToImageParams": {"text": "hello", "negativeText": "no"}}, (), ("hello", "no"), 0),
        ({"query": "hello", "documents": ["one", {"text": "two"}], "api_version": 2}, (), ("hello", "one", "two"), 0),
        ({"text_prompts": [{"text": "hello", "weight": 1}]}, (), ("hello",), None),
        ({"unheard": {"of": "it"}}, (), (), None),
    ],
)
def test_the_body_of_each_maker_is_read(body: dict[str, Any], system: tuple[str, ...], texts: tuple[str, ...], cap: int | None) -> None:
    facts = invoke(body)

    assert (facts.prompt.system, facts.prompt.texts, facts.max_output_tokens) == (system, texts, cap)


@pytest.mark.parametrize(
    ("body", "kinds"),
    [
        ({"prompt": "look", "images": [PNG, PNG]}, ["image", "image"]),
        ({"inputText": "look", "inputImage": PNG}, ["image"]),
        ({"input_type": "image", "inputs": [{"content": [{"image": {"source": {"bytes": PNG}}}]}]}, ["image"]),
        ({"inputs": [{"content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}]}]}, ["image"]),
        ({"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": {"video": {"source": {"s3Location": {"uri": "s3://b/v"}}}}}, ["video"]),
        ({"inputType": "video", "mediaSource": {"base64String": "AAAA"}}, ["video"]),
    ],
)
def test_media_are_counted_and_never_read_as_text(body: dict[str, Any], kinds: list[str]) -> None:
    prompt = invoke(body).prompt

    assert [medium.kind for medium in prompt.attached] == kinds
    assert all(len(text) < 20 for text in prompt.texts)


@pytest.mark.parametrize("name", ["chat_history", "documents"])
def test_prose_nested_without_end_is_refused(name: str) -> None:
    value: Any = "deep"
    for _ in range(20):
        value = [value]

    with pytest.raises(ValueError, match="nested"):
        invoke({"message": "hi", name: value})


def test_tools_and_choices_of_other_makers_are_read() -> None:
    facts = invoke({"message": "hello", "tools": [{"name": "look", "description": "looks"}], "num_generations": 3})

    assert (facts.tools, facts.choices) == (("look",), 3)
    assert b"looks" in facts.prompt.tools


WORDS = """
    messages system content text role toolUse toolResult image document source bytes inferenceConfig toolConfig tools prompt inputText
    images texts message chat_history anthropic_version schemaVersion taskType input json guardContent reasoningContent max_tokens
"""
NAMES = st.sampled_from(WORDS.split())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(NAMES, JSON, max_size=6), st.sampled_from(["bedrock.converse", "bedrock.invoke"]))
def test_any_json_is_read_or_refused_and_nothing_else(body: dict[str, Any], wire_format: str) -> None:
    try:
        facts = FORMATS[wire_format].read_request(body)
    except ValueError:
        return

    assert facts.choices >= 1
    assert facts.max_output_tokens is None or facts.max_output_tokens >= 0
