"""Answers of Gemini, Cohere, Ollama, Mistral, and of sound, pictures, runs and batches: any split, any ending."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.providers import FORMATS
from metering.reading import ReplyFacts
from metering.usage import NO_USAGE, Usage


def dumped(*parts: object, joint: str = "\n", before: str = "", after: str = "") -> bytes:
    return (before + joint.join(json.dumps(part) for part in parts) + after).encode()


def sse(*events: object) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\r\n\r\n" for event in events)


def read(wire_format: str, *pieces: bytes, provider: str = "openai", content_type: str | None = None) -> ReplyFacts:
    reader = FORMATS[wire_format].reader(provider=provider, content_type=content_type)
    for piece in pieces:
        reader.feed(piece)
    return reader.finish()


def _chunk(said: str, last: str | None = None, **usage: int) -> dict[str, Any]:
    candidate = {"content": {"parts": [{"text": said}]}, **({"finishReason": last} if last else {})}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash"}


_GEMINI = (
    _chunk("Hel", promptTokenCount=169, candidatesTokenCount=20, totalTokenCount=189),
    _chunk("lo", promptTokenCount=79),
    _chunk("", "STOP", promptTokenCount=79, candidatesTokenCount=12, thoughtsTokenCount=8, toolUsePromptTokenCount=5, totalTokenCount=104),
)
_COHERE_COUNTS = {
    "billed_units": {"input_tokens": 5, "output_tokens": 1},
    "tokens": {"input_tokens": 505, "output_tokens": 3},
}
_COHERE_V1 = dumped(
    {"event_type": "stream-start"},
    {"event_type": "text-generation", "text": "Hi"},
    {"event_type": "stream-end", "finish_reason": "COMPLETE", "response": {"meta": _COHERE_COUNTS}},
)
_OLLAMA = dumped(
    {"model": "q", "message": {"content": "Hi", "thinking": "hm"}, "done": False},
    {"model": "q", "message": {"content": ""}, "done": True, "prompt_eval_count": 9, "eval_count": 2},
    after="\n",
)
STREAMS = {
    "gemini events": ("gemini.stream_generate_content", sse(*_GEMINI)),
    "gemini array": ("gemini.stream_generate_content", dumped(*_GEMINI, before="[", joint=",\r\n", after="]")),
    "gemini body": ("gemini.generate_content", dumped(_GEMINI[-1])),
    "cohere v1": ("cohere.chat", _COHERE_V1),
    "ollama": ("ollama.chat", _OLLAMA),
    "ollama body": ("ollama.chat", json.dumps(json.loads(_OLLAMA.split(b"\n")[1]), indent=1).encode()),
    "batch": ("anthropic.batch_results", dumped({"result": {"message": {"model": "c", "usage": {"input_tokens": 1, "output_tokens": 2}}}})),
}


@given(name=st.sampled_from(sorted(STREAMS)), cuts=st.lists(st.integers(0, 900), max_size=30))
def test_any_split_gives_the_same_facts(name: str, cuts: list[int]) -> None:
    wire_format, stream = STREAMS[name]
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    pieces = [stream[start:end] for start, end in itertools.pairwise(places)]

    whole = read(wire_format, stream)

    assert whole.usage is not None
    assert whole.complete
    assert read(wire_format, *pieces) == whole


@given(name=st.sampled_from(sorted(STREAMS)), end=st.integers(0, 900))
def test_a_stream_that_breaks_off_is_read_as_far_as_it_came(name: str, end: int) -> None:
    wire_format, stream = STREAMS[name]

    facts = read(wire_format, stream[: min(end, len(stream) - 3)])

    assert facts.running <= (facts.usage is not None)


@pytest.mark.parametrize("name", ["gemini events", "gemini array"])
def test_the_last_chunk_of_gemini_counts_whole(name: str) -> None:
    wire_format, stream = STREAMS[name]

    facts = read(wire_format, stream)

    assert facts.usage == Usage(input_tokens=84, output_tokens=20, reasoning_tokens=8)
    assert (facts.model, facts.complete, facts.running) == ("gemini-2.5-flash", True, False)


@pytest.mark.parametrize("name", ["gemini events", "gemini array"])
def test_a_stream_of_gemini_that_broke_off_has_running_counts_and_its_text(name: str) -> None:
    wire_format, stream = STREAMS[name]
    cut = stream.index(b"finishReason")

    facts = read(wire_format, stream[:cut])

    assert facts.usage == Usage(input_tokens=79)
    assert (facts.complete, facts.running, facts.output_text) == (False, True, "Hello")


def test_modalities_by_number_and_by_name_are_one() -> None:
    def details(audio: object, image: object) -> dict[str, Any]:
        counted = [{"modality": audio, "tokenCount": 30}, {"modality": image, "tokenCount": 4}, {"modality": 99, "tokenCount": 1}]
        return {"promptTokenCount": 40, "candidatesTokenCount": 2, "promptTokensDetails": counted}

    by_number, by_name = (
        read("gemini.generate_content", dumped({"usageMetadata": details(*names)})).usage for names in ((4, 2), ("AUDIO", "IMAGE"))
    )

    assert by_number == by_name == Usage(input_tokens=40, output_tokens=2, audio_input_tokens=30, image_input_tokens=4)


def test_a_prompt_that_was_blocked_says_so() -> None:
    armor = read(
        "gemini.generate_content", dumped({"promptFeedback": {"blockReason": "MODEL_ARMOR"}, "usageMetadata": {"trafficType": "ON_DEMAND"}})
    )
    early = read("gemini.stream_generate_content", sse({"candidates": [{}], "usageMetadata": {"trafficType": "ON_DEMAND"}}))

    assert (armor.usage, armor.error, armor.service_tier) == (NO_USAGE, "MODEL_ARMOR", "standard")
    assert early.usage is None


def test_errors_of_gemini_are_read_in_every_framing() -> None:
    error = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "slow"}}

    framings = (dumped(error), dumped([error]), sse(_GEMINI[0], error))

    assert {read("gemini.stream_generate_content", framing).error for framing in framings} == {"RESOURCE_EXHAUSTED"}


def test_what_gemini_says_without_counts_is_kept_for_an_estimate() -> None:
    parts = [
        {"text": "a"},
        {"functionCall": {"name": "f", "args": {"x": 1}}},
        {"executableCode": {"code": "print()"}},
    ]

    facts = read("gemini.generate_content", dumped({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}))

    assert facts.output_text == 'af{"x":1}print()'


def test_searches_that_ground_an_answer_are_counted_once() -> None:
    grounding = {"groundingMetadata": {"webSearchQueries": ["a", "b", "a"]}}

    facts = read("gemini.generate_content", dumped({"candidates": [grounding], "usageMetadata": {"promptTokenCount": 1}}))

    assert facts.usage is not None
    assert facts.usage.web_searches == 2


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"total_tokens": 17, "total_thought_tokens": 3, "total_tool_use_tokens": 4}, (14, 3)),
        ({"total_tokens": 13, "total_thought_tokens": 3}, (10, 3)),
        ({"total_tokens": 16, "total_thought_tokens": 3}, (10, 6)),
        ({"total_thought_tokens": 3, "total_cached_tokens": 2}, (10, 6)),
    ],
)
def test_the_total_tells_where_thoughts_and_tools_stand(counts: dict[str, int], expected: tuple[int, int]) -> None:
    usage = {"total_input_tokens": 10, "total_output_tokens": 3, **counts}

    facts = read("gemini.interactions", dumped({"id": "i", "status": "completed", "model": "g", "usage": usage}))

    assert facts.usage is not None
    assert (facts.usage.input_tokens, facts.usage.output_tokens) == expected
    assert (facts.job, facts.complete) == ("i", True)


def test_an_interaction_streams_and_runs_in_the_background() -> None:
    usage = {"total_input_tokens": 4, "total_output_tokens": 2}
    done = read(
        "gemini.interactions",
        sse(
            {"event_type": "interaction.start", "interaction": {"id": "i", "status": "in_progress", "model": "g"}},
            {"event_type": "content.delta", "delta": {"type": "text", "text": "Hi"}},
            {"event_type": "interaction.complete", "interaction": {"id": "i", "status": "completed", "usage": usage}},
        ),
    )
    queued = read("gemini.interactions", dumped({"id": "i", "status": "in_progress"}))
    failed = read("gemini.interactions", sse({"event_type": "error", "error": {"code": "internal"}}))

    assert (done.usage, done.model, done.complete) == (Usage(input_tokens=4, output_tokens=2), "g", True)
    assert (queued.deferred, queued.job, queued.complete) == (True, "i", False)
    assert failed.error == "internal"


def test_predictions_count_each_embedding_or_the_whole() -> None:
    embedding = {"embeddings": {"statistics": {"token_count": 3.0}}}
    tokens = {"tokenMetadata": {"inputTokenCount": {"totalTokens": 5}, "outputTokenCount": {"totalTokens": 2}}}

    assert read("vertex.predict", dumped({"predictions": [embedding, embedding]})).usage == Usage(input_tokens=6)
    assert read("vertex.predict", dumped({"predictions": [], "metadata": tokens})).usage == Usage(input_tokens=5, output_tokens=2)
    assert read("vertex.predict", dumped({"predictions": [{"bytesBase64Encoded": "aa"}] * 2})).usage == Usage(images=2)
    assert read("vertex.predict", dumped({"predictions": [{"score": 1}]})).unseen
    assert read("gemini.embed_content", dumped({"embedding": {}})) == ReplyFacts(complete=True)
    assert read("gemini.embed_content", b"data: {}\n\n") == ReplyFacts()


def test_cohere_bills_less_than_it_counts() -> None:
    facts = read("cohere.chat", _COHERE_V1)

    assert facts.usage == Usage(input_tokens=505, output_tokens=3, billed_input_tokens=5, billed_output_tokens=1)
    assert facts.usage is not None
    assert (facts.usage.charged.input_tokens, facts.usage.charged.output_tokens) == (5, 1)


def test_cohere_without_usage_is_estimated_from_what_it_said() -> None:
    call = {"function": {"name": "f", "arguments": "{}"}}
    whole = read("cohere.chat", dumped({"id": "1", "message": {"content": [{"text": "a"}], "tool_plan": "b", "tool_calls": [call]}}))
    generated = read("cohere.chat", dumped({"generations": [{"text": "g"}]}))
    streamed = read(
        "cohere.chat",
        sse(
            {"type": "content-delta", "delta": {"message": {"content": {"text": "a"}}}},
            {"type": "tool-call-start", "delta": {"message": {"tool_calls": call}}},
            {"type": "message-end", "delta": {"finish_reason": "ERROR", "usage": {}, "error": "bad", "error_type": "INVALID"}},
        ),
    )
    refused = read("cohere.chat", dumped({"id": "1", "message": "no such model"}))

    assert (whole.output_text, generated.output_text) == ("abf{}", "g")
    assert (streamed.output_text, streamed.error, streamed.usage) == ("af{}", "INVALID", None)
    assert (refused.error, refused.output_text) == ("error", "")


def test_ollama_without_counts_is_estimated_from_what_it_said() -> None:
    call = {"function": {"name": "f", "arguments": {"x": 1}}}
    broken = read("ollama.chat", dumped({"model": "q", "message": {"content": "Hi", "tool_calls": [call]}, "done": False}, after="\n"))
    failed = read("ollama.generate", dumped({"error": "no such model"}))
    generated = read("ollama.generate", dumped({"model": "q", "response": "Hi", "done": False}, after="\n"))

    assert (broken.usage, broken.complete, broken.output_text) == (None, False, 'Hif{"x":1}')
    assert failed.error == "no such model"
    assert generated.output_text == "Hi"


def test_mistral_reads_pages_and_conversations() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 17, "connector_tokens": 10}
    entry = {"type": "message.output", "model": "m", "content": [{"text": "Hi"}], "arguments": "{}"}
    pages = read("mistral.ocr", dumped({"pages": [], "usage_info": {"pages_processed": 3}, "model": "o"}))
    whole = read("mistral.conversations", dumped({"outputs": [entry], "usage": usage}))
    streamed = read("mistral.conversations", sse(entry, {"type": "conversation.response.done", "usage": usage}))
    failed = read("mistral.conversations", sse({**entry, "content": "Hi"}, {"type": "conversation.response.error", "code": 3000}))

    assert pages.usage == Usage(pages=3)
    assert whole.usage == streamed.usage == Usage(input_tokens=15, output_tokens=2)
    assert whole.model == streamed.model == "m"
    assert (failed.error, failed.output_text) == ("3000", "Hi{}")


def test_sound_and_pictures_report_tokens_seconds_or_nothing() -> None:
    details = {"audio_tokens": 9, "text_tokens": 1}
    tokens = {"type": "tokens", "input_tokens": 10, "output_tokens": 2, "input_token_details": details}

    def heard(answer: object) -> ReplyFacts:
        return read("openai.transcriptions", dumped(answer))

    assert heard({"text": "a", "usage": tokens}).usage == Usage(input_tokens=10, output_tokens=2, audio_input_tokens=9)
    assert heard({"text": "a", "usage": {"type": "duration", "seconds": 6.2}}).usage == Usage(seconds=7)
    assert heard({"text": "a"}).unseen
    assert read("openai.transcriptions", b"1\n00:00 --> 00:03\nHello", content_type="text/plain").unseen
    assert read("openai.speech", b"\xff\xf3", content_type="audio/mpeg").unseen
    streamed = sse({"type": "transcript.text.delta", "delta": "a"}, {"type": "transcript.text.done", "usage": tokens})
    assert read("openai.transcriptions", streamed).complete
    failed = read("openai.images", sse({"type": "error", "error": {"type": "server_error"}}))
    assert (failed.error, failed.complete) == ("server_error", False)


def test_a_price_that_xai_reports_is_taken() -> None:
    picture = read("openai.images", dumped({"data": [], "usage": {"cost_in_usd_ticks": 200_000_000}}), provider="x_ai")
    film = read("xai.videos", dumped({"status": "done", "usage": {"cost_in_usd_ticks": 500_000_000}}))

    assert (picture.reported_cost_nano, picture.unseen) == (20_000_000, False)
    assert film.reported_cost_nano == 50_000_000
    assert read("xai.videos", dumped({"request_id": "r"})).deferred


def test_a_run_reports_when_it_has_ended() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    run = {"id": "run_1", "object": "thread.run", "model": "gpt-4o", "status": "queued", "usage": None}
    step = {"id": "step_1", "object": "thread.run.step", "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    streamed = read("openai.runs", sse(run, step, {**run, "status": "completed", "usage": usage}) + b"data: [DONE]\n\n")
    waiting = read("openai.runs", dumped(run))
    failed = read("openai.runs", sse(run, {"error": {"type": "server_error"}}))

    assert (streamed.usage, streamed.job, streamed.complete) == (Usage(input_tokens=5, output_tokens=2), "run_1", True)
    assert (waiting.deferred, waiting.usage) == (True, None)
    assert (failed.error, failed.deferred) == ("server_error", True)


def test_the_results_of_batches_add_up_by_model() -> None:
    def result(model: str, read_: int, written: int) -> dict[str, Any]:
        usage = {"input_tokens": read_, "output_tokens": written}
        return {"custom_id": "1", "result": {"type": "succeeded", "message": {"model": model, "usage": usage}}}

    lines = dumped(result("a", 1, 2), result("b", 10, 20), result("a", 3, 4), {"custom_id": "2", "result": {"type": "expired"}})
    chat = {"model": "gpt-4o", "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    responses = {"model": "gpt-4o", "usage": {"input_tokens": 6, "output_tokens": 3}}
    openai = dumped(*({"custom_id": "1", "response": {"status_code": 200, "body": body}} for body in (chat, responses)))
    answer = {"response": {"modelVersion": "g", "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 1}}}

    facts = read("anthropic.batch_results", lines)

    assert facts.usage == Usage(input_tokens=4, output_tokens=6, other_models=(("b", Usage(input_tokens=10, output_tokens=20)),))
    assert (facts.model, facts.service_tier) == ("a", "batch")
    assert read("openai.batch_results", openai).usage == Usage(input_tokens=11, output_tokens=5)
    assert read("gemini.batch_results", dumped(answer)).usage == Usage(input_tokens=4, output_tokens=1)
    inlined = {"response": {"inlinedResponses": {"inlinedResponses": [answer, answer]}}}
    assert read("gemini.batch", dumped(inlined)).usage == Usage(input_tokens=8, output_tokens=2)
    outputs = [{"custom_id": "1", "response": {"body": chat}}]
    assert read("mistral.batch", dumped({"outputs": outputs})).usage == Usage(input_tokens=5, output_tokens=2)


@pytest.mark.parametrize("file", [b"", b"\x89PNG\r\n", b'{"model":"m","usage":{"prompt_tokens":5}}', b"[1]", b"not json\n{}"])
def test_a_file_that_is_no_result_counts_nothing(file: bytes) -> None:
    assert read("openai.batch_results", file).usage is None


def test_a_receipt_is_no_usage() -> None:
    assert read("batch.create", dumped({"id": "b", "usage": {"input_tokens": 0}})).deferred
    assert read("batch.create", dumped({"error": {"type": "invalid_request_error"}})).error == "invalid_request_error"


def test_legacy_completions_of_anthropic_are_kept_for_an_estimate() -> None:
    event = {"type": "completion", "completion": "Hi", "stop_reason": None, "model": "claude-2"}
    facts = read("anthropic.complete", sse(event, {**event, "completion": "!", "stop_reason": "stop_sequence"}))

    assert (facts.usage, facts.output_text, facts.complete, facts.model) == (None, "Hi!", True, "claude-2")


def test_a_line_beyond_the_limit_is_dropped_and_the_next_one_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metering.streams.MAX_EVENT", 400)
    first, _, rest = _OLLAMA.partition(b"\n")
    long = first.replace(b"Hi", b"x" * 500)

    facts = read("ollama.chat", first + b"\n", long[:450], long[450:] + b"\n", rest)

    assert facts.usage == Usage(input_tokens=9, output_tokens=2)
