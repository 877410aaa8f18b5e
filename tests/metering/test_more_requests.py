"""What requests to Gemini, Cohere, Ollama, Mistral and for sound, pictures and batches ask for; uploads have one meaning or none."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.providers import FORMATS, FormFormat, RequestFacts
from metering.providers.forms import read_form


def read(wire_format: str, **body: Any) -> RequestFacts:
    return FORMATS[wire_format].read_request(body)


def test_gemini_is_read_in_both_spellings() -> None:
    camel = read(
        "gemini.stream_generate_content",
        systemInstruction={"parts": [{"text": "be brief"}]},
        contents=[{"role": "user", "parts": [{"text": "hi"}, {"inlineData": {"mimeType": "image/png", "data": "aGk="}}]}],
        tools=[{"functionDeclarations": [{"name": "f"}]}, {"googleSearch": {}}],
        generationConfig={"maxOutputTokens": 50, "candidateCount": 2},
        cachedContent="cachedContents/c",
    )
    snake = read(
        "gemini.stream_generate_content",
        system_instruction={"parts": {"text": "be brief"}},
        contents={"role": "user", "parts": [{"text": "hi"}, {"inline_data": {"mime_type": "image/png", "data": "aGk="}}]},
        tools=[{"function_declarations": [{"name": "f"}]}, {"google_search": {}}],
        generation_config={"max_output_tokens": 50, "candidate_count": 2},
        cached_content="cachedContents/c",
    )

    assert (camel.prompt.system, camel.prompt.texts, camel.prompt.media) == (("be brief",), ("hi",), 1)
    assert (camel.max_output_tokens, camel.choices, camel.streamed, camel.prompt.stored) == (50, 2, True, True)
    assert camel.tools == snake.tools == ("f", "googleSearch")
    assert (snake.prompt.system, snake.prompt.texts, snake.prompt.media) == (camel.prompt.system, camel.prompt.texts, camel.prompt.media)
    assert (snake.max_output_tokens, snake.choices) == (50, 2)


def test_gemini_in_two_spellings_at_once_is_refused() -> None:
    with pytest.raises(ValueError, match="are the same member"):
        read("gemini.generate_content", contents="hi", systemInstruction="a", system_instruction="b")


def test_the_calls_of_tools_are_part_of_geminis_prompt() -> None:
    parts = [
        {"functionCall": {"name": "f", "args": {"x": 1}}, "thoughtSignature": "c2ln"},
        {"functionResponse": {"name": "f", "response": {"y": 2}}},
        {"executableCode": {"code": "print()"}},
    ]

    prompt = read("gemini.generate_content", contents=[{"role": "model", "parts": parts}]).prompt

    assert (prompt.calls, prompt.answers, prompt.sealed) == (1, 1, 4)
    assert '"y":2' in "".join(prompt.texts)


def test_what_google_embeds_and_predicts_is_read() -> None:
    batch = read("gemini.embed_content", requests=[{"content": {"parts": [{"text": "a"}]}}, {"content": "b", "title": "t"}])
    predicted = read("vertex.predict", instances=[{"content": "a"}, {"prompt": "b", "image": {"bytesBase64Encoded": "aGk="}}])

    assert batch.prompt.texts == ("a", "t", "b")
    assert (predicted.prompt.texts, predicted.prompt.media, predicted.max_output_tokens) == (("a", "b"), 1, 0)


def test_an_interaction_takes_text_parts_and_turns() -> None:
    plain = read("gemini.interactions", model="g", input="hi", stream=True)
    turns = read(
        "gemini.interactions",
        agent="deep-research",
        input=[{"role": "model", "content": "a"}, {"type": "text", "text": "b"}],
        generation_config={"max_output_tokens": 9},
        previous_interaction_id="i",
        tools=[{"type": "function", "name": "f"}, {"type": "google_search"}],
    )

    assert (plain.model, plain.streamed, plain.prompt.texts) == ("g", True, ("hi",))
    assert (turns.model, turns.prompt.texts, turns.prompt.answers, turns.prompt.stored) == ("deep-research", ("a", "b"), 1, True)
    assert (turns.tools, turns.max_output_tokens) == (("f", "google_search"), 9)


def test_cohere_is_read_in_both_versions() -> None:
    second = read(
        "cohere.chat",
        model="command-a",
        messages=[
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "document", "document": {"data": {"text": "doc"}}}]},
            {"role": "assistant", "tool_plan": "plan", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
        ],
        documents=["one", {"data": {"text": "two"}}],
        response_format={"type": "json_object", "json_schema": {"type": "object"}},
        max_tokens=5,
    )
    first = read(
        "cohere.chat",
        message="hi",
        preamble="be brief",
        chat_history=[{"role": "CHATBOT", "message": "a"}],
        tool_results=[{"outputs": [1]}],
        connectors=[{"id": "web-search"}],
        stream=True,
    )

    assert second.prompt.system == first.prompt.system == ("be brief",)
    assert {"hi", '{"text":"doc"}', "plan", "f", "one"} <= set(second.prompt.texts)
    assert (second.max_output_tokens, second.prompt.tools) == (5, b'{"type":"object"}')
    assert (first.prompt.texts, first.streamed, first.prompt.server_tools) == (("a", "hi", '{"outputs":[1]}'), True, ("connector",))
    assert read("cohere.chat", prompt="hi", num_generations=3).choices == 3


def test_cohere_embeds_texts_images_and_both() -> None:
    both = read("cohere.embed", texts=["a"], images=["data:"], inputs=[{"content": [{"type": "text", "text": "b"}]}])

    assert (both.prompt.texts, both.prompt.media) == (("a", "b"), 1)
    assert read("openai.rerank", model="m", query="q", documents=["a", {"text": "b"}]).prompt.texts == ("q", "a", '{"text":"b"}')


def test_ollama_streams_unless_told_not_to() -> None:
    chat = read(
        "ollama.chat",
        model="q",
        messages=[
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "hi", "images": ["aGk="]},
            {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1}}}]},
        ],
        format={"type": "object"},
        options={"num_predict": 7},
    )
    generate = read("ollama.generate", model="q", prompt="hi", system="be brief", suffix="end", context=[1], stream=False)

    assert (chat.streamed, chat.max_output_tokens, chat.prompt.media, chat.prompt.calls) == (True, 7, 1, 1)
    assert (generate.streamed, generate.prompt.texts, generate.prompt.stored) == (False, ("hi", "end"), True)
    assert read("ollama.embed", input=["a", "b"]).prompt.texts == ("a", "b")


def test_mistral_reads_documents_and_conversations() -> None:
    ocr = read("mistral.ocr", model="mistral-ocr", document={"type": "document_url", "document_url": "https://a/b.pdf"})
    talk = read(
        "mistral.conversations",
        agent_id="ag_1",
        inputs=[{"role": "user", "content": "hi"}],
        instructions="be brief",
        completion_args={"max_tokens": 3},
        tools=[{"type": "web_search"}],
    )

    assert (ocr.prompt.media, ocr.max_output_tokens) == (1, 0)
    assert (talk.model, talk.prompt.system, talk.prompt.texts, talk.max_output_tokens) == ("ag_1", ("be brief",), ("hi",), 3)
    assert (talk.tools, talk.prompt.stored) == (("web_search",), True)
    assert read("mistral.conversations", model="m", inputs="hi").prompt.texts == ("hi",)


def test_a_run_a_batch_and_a_completion_are_read() -> None:
    run = read(
        "openai.runs",
        assistant_id="a",
        instructions="be brief",
        thread={"messages": [{"role": "user", "content": "hi"}]},
        additional_messages=[{"role": "user", "content": "more"}],
        tool_outputs=[{"tool_call_id": "1", "output": "out"}],
    )
    batch = read("batch.create", requests=[{"params": {"model": "claude", "max_tokens": 1}}])

    assert (run.prompt.system, run.prompt.texts, run.prompt.stored) == (("be brief",), ("hi", "more", "out"), True)
    assert (batch.model, batch.models, batch.max_output_tokens, batch.service_tier) == ("claude", (), 0, "batch")
    assert read("anthropic.complete", prompt="hi", max_tokens_to_sample=3).max_output_tokens == 3
    assert read("openai.speech", input="say", instructions="slowly").prompt.system == ("slowly",)
    assert read("openai.images", prompt="a cat", n=2, images=[{"image_url": "u"}]).prompt.media == 1
    assert read("openai.transcriptions", model="w", file_url="https://a/b.mp3").prompt.media == 1
    assert read("xai.videos", model="v", prompt="sea").prompt.texts == ("sea",)


@pytest.mark.parametrize(
    ("wire_format", "body"),
    [
        ("gemini.generate_content", {}),
        ("gemini.embed_content", {"requests": [{}]}),
        ("gemini.interactions", {}),
        ("cohere.chat", {"model": "m"}),
        ("anthropic.complete", {}),
        ("anthropic.batch_results", {"a": 1}),
        ("mistral.ocr", {}),
    ],
)
def test_a_body_without_meaning_is_refused_with_a_reason(wire_format: str, body: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".{15}"):
        FORMATS[wire_format].read_request(body)


_BOUNDARY = "multipart/form-data; boundary=XX"


def upload(*parts: tuple[str, str], end: str = "--XX--\r\n") -> bytes:
    return ("".join(f"--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n" for head, value in parts) + end).encode()


def test_an_upload_is_its_fields_and_files() -> None:
    body = upload(('name="model"', "whisper-1"), ('name="file"; filename="a.mp3"', "\0\1"), ("name=stream", "true"), ('name="n"', "2"))

    form = read_form(b"preamble\r\n" + body, content_type='multipart/form-data; boundary="XX"')
    wire = FORMATS["openai.images"]
    assert isinstance(wire, FormFormat)
    facts = wire.read_form(form.fields, files=form.files)

    assert (form.fields["model"], form.files) == ("whisper-1", 1)
    assert (facts.model, facts.streamed, facts.choices, facts.prompt.media) == ("whisper-1", True, 2, 1)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (upload(('name="a"', "1")), "multipart/form-data"),
        (b"nothing", _BOUNDARY),
        (upload(('name="a"', "1"), ('name="a"', "2")), _BOUNDARY),
        (upload(('filename="a"', "1")), _BOUNDARY),
        (upload(('name="a"', "1"), end=""), _BOUNDARY),
        (upload(('name="a"', "1")).replace(b"1", b"\xff"), _BOUNDARY),
        (b"--XX\r\nContent-Disposition: form-data; name=a\r\n--XX--", _BOUNDARY),
        (upload(('name="a"', "x" * ((1 << 20) + 1))), _BOUNDARY),
        (upload(*((f'name="a{number}"', "") for number in range(1025))), _BOUNDARY),
    ],
)
def test_an_upload_that_reads_in_two_ways_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(ValueError, match=r".{15}"):
        read_form(body, content_type=content_type)


def test_a_count_in_an_upload_is_a_whole_number() -> None:
    wire = FORMATS["openai.images"]
    assert isinstance(wire, FormFormat)

    with pytest.raises(ValueError, match="`n` must be a whole number"):
        wire.read_form({"n": "many"}, files=0)


@given(data=st.binary(max_size=300))
def test_no_bytes_make_the_reading_of_an_upload_fail_but_with_a_reason(data: bytes) -> None:
    with suppress(ValueError):
        assert read_form(b"--XX\r\n" + data, content_type=_BOUNDARY).files >= 0


@pytest.mark.parametrize(
    "requests",
    [
        pytest.param({"requests": [{"params": {"model": name}} for name in ("a", "b", "a", "c")]}, id="anthropic"),
        pytest.param({"requests": [{"body": {"model": name}} for name in ("a", "b", "c")]}, id="mistral"),
        pytest.param({"model": "a", "requests": [{"body": {"model": name}} for name in ("b", "c")]}, id="of the batch too"),
        pytest.param(
            {"batch_requests": [{"batch_request_id": "1", "batch_request": {"chat_get_completion": {"model": name}}} for name in "abc"]},
            id="xai",
        ),
        pytest.param({"batch": {}, "requests": [{"request": {"model": name}} for name in ("a", "b", "c")]}, id="gemini"),
    ],
)
def test_an_order_names_the_models_of_all_its_requests(requests: dict[str, Any]) -> None:
    facts = read("batch.create", **requests)

    assert (facts.model, facts.models) == ("a", ("b", "c"))


def test_an_order_that_leads_to_a_file_names_no_model() -> None:
    assert read("batch.create", input_file_id="file-1", endpoint="/v1/chat/completions").model is None
