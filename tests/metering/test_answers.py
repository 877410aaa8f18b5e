"""Answers are read the same however they are split, and kept within bounds."""

import itertools
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.providers import FORMATS, answers
from metering.reading import ReplyFacts

_CHAT = (
    b': keep-alive\n\ndata: {"id":"1","model":"","choices":[]}\n\n'
    b'data: {"id":"1","model":"gpt-4o","choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}],"usage":null}\n\n'
    b'data: {"id":"1","model":"gpt-4o","choices":[{"index":0,"delta":{"content":"lo \\"usage\\": {\\u00fc}"},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"1","model":"gpt-4o","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}\n\n'
    b"data: [DONE]\n\n"
)
_WHOLE = b'\xef\xbb\xbf \n{"model":"gpt-4o","choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":3,"completion_tokens":1}}'


def read(wire_format: str, *pieces: bytes, content_type: str | None = None) -> ReplyFacts:
    reader = FORMATS[wire_format].reader(provider="openai", content_type=content_type)
    for piece in pieces:
        reader.feed(piece)
    return reader.finish()


@given(stream=st.sampled_from([_CHAT, _CHAT.replace(b"\n", b"\r\n"), _WHOLE]), cuts=st.lists(st.integers(0, 700), max_size=30))
def test_any_split_gives_the_same_facts(stream: bytes, cuts: list[int]) -> None:
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]

    assert read("openai.chat", *pieces) == read("openai.chat", stream)


@given(end=st.integers(0, len(_CHAT)))
def test_a_stream_that_breaks_off_anywhere_is_read_as_far_as_it_came(end: int) -> None:
    facts = read("openai.chat", _CHAT[:end])

    assert facts.usage is None or facts.usage.input_tokens == 9
    assert facts.complete in {True, False}


@given(data=st.binary(max_size=300), wire_format=st.sampled_from(sorted(FORMATS)))
def test_no_bytes_make_a_reader_fail(data: bytes, wire_format: str) -> None:
    facts = read(wire_format, data[:7], data[7:])

    assert facts.usage is None


_KEYS = (
    "usage", "error", "type", "model", "choices", "delta", "message", "content", "prompt_tokens", "completion_tokens", "total_tokens",
    "prompt_tokens_details", "cached_tokens", "input_tokens", "output_tokens", "response", "output", "iterations", "cost", "service_tier",
)  # fmt: skip
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(
    body=st.dictionaries(st.sampled_from(_KEYS), _json, max_size=6), wire_format=st.sampled_from(sorted(FORMATS)), streamed=st.booleans()
)
def test_no_json_makes_a_reader_fail(body: dict[str, object], wire_format: str, streamed: bool) -> None:  # noqa: FBT001  # a parameter of the property
    data = json.dumps(body).encode()

    facts = read(wire_format, b"data: " + data + b"\n\n" if streamed else data)

    if facts.usage:
        assert (facts.usage.input_tokens or 0) >= 0
        assert (facts.usage.output_tokens or 0) >= 0


_REQUEST_KEYS = (
    "model", "messages", "input", "prompt", "role", "content", "type", "text", "source", "data", "tools", "function", "name", "tool_calls",
    "arguments", "response_format", "json_schema", "format", "schema", "stream", "n", "max_tokens", "instructions",
    "system", "suffix", "variables",
)  # fmt: skip
_request_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["text", "image", "message", "system", "document"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_REQUEST_KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(body=st.dictionaries(st.sampled_from(_REQUEST_KEYS), _request_json, max_size=8), wire_format=st.sampled_from(sorted(FORMATS)))
def test_no_json_makes_the_reading_of_a_request_fail_but_with_a_reason(body: dict[str, object], wire_format: str) -> None:
    with suppress(ValueError):
        assert FORMATS[wire_format].read_request(body).choices >= 1


def test_the_first_bytes_decide_over_the_content_type() -> None:
    assert read("openai.chat", _WHOLE, content_type="text/event-stream").usage is not None
    assert read("openai.chat", _CHAT, content_type="application/json").usage is not None
    assert read("openai.chat", b'"a string"', content_type="application/json").complete is False
    assert read("openai.chat", b"<html>", content_type="text/html") == ReplyFacts()
    assert read("openai.chat", b"d") == ReplyFacts()
    assert read("openai.chat") == ReplyFacts()


def test_a_body_beyond_the_limit_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MAX_BODY", 50)

    assert read("openai.chat", _WHOLE).usage is None


def test_text_beyond_the_limit_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MAX_KEPT", 150)

    assert read("openai.chat", _CHAT.partition(b'"finish_reason":"stop"')[0]).output_text == "Hel"
