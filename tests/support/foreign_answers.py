"""What Gemini, Cohere, Ollama and Mistral say when they are asked live, streamed and not; the numbers are those of `answers`."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.support.answers import INPUT_TOKENS, OUTPUT_TOKENS, TEXT, Answer, body, chat, sse
from tests.support.provider import Seen

THOUGHTS = 3
"""Output tokens of Gemini that are thoughts."""
HIDDEN = 400
"""Tokens of a prompt that Cohere counts and does not charge."""
SAID = "".join(TEXT)


def foreign(seen: Seen) -> Answer | None:
    """Answer by host and path; None for what `answers.live` knows."""
    path, _, query = seen.target.partition("?")
    request: dict[str, Any] = json.loads(seen.body) if seen.body else {}
    answers: dict[str, Callable[[], Answer]] = {
        ":generateContent": lambda: body(_gemini(SAID, last=True)),
        ":streamGenerateContent": lambda: _gemini_stream(events="alt=sse" in query),
        "/v2/chat": lambda: _cohere(request),
        "/v1/chat": lambda: _cohere_v1(request),
        "/api/chat": lambda: _ollama(request),
    }
    if seen.headers.get("host") == "api.mistral.ai":  # reports without being asked
        answers["/chat/completions"] = lambda: chat({**request, "stream_options": {"include_usage": True}})
    return next((answer() for ending, answer in answers.items() if path.endswith(ending)), None)


def _gemini(said: str, *, last: bool, written: int = OUTPUT_TOKENS) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": [{"text": said}], "role": "model"}, "index": 0}
    usage = {"promptTokenCount": INPUT_TOKENS, "candidatesTokenCount": written - THOUGHTS, "thoughtsTokenCount": THOUGHTS}
    usage["totalTokenCount"] = INPUT_TOKENS + written
    return {
        "candidates": [candidate | ({"finishReason": "STOP"} if last else {})],
        "usageMetadata": usage,
        "modelVersion": "gemini-2.5-flash",
        "responseId": "live",
    }


def _gemini_stream(*, events: bool) -> Answer:
    """Stream as Gemini does: events with CRLF where they were asked for, else one JSON array."""
    parts = [_gemini(text, last=text == TEXT[-1], written=THOUGHTS + 1 + at) for at, text in enumerate(TEXT)]
    parts[-1]["usageMetadata"] = _gemini("", last=True)["usageMetadata"]
    if events:
        return sse(b"data: " + json.dumps(part).encode() + b"\r\n\r\n" for part in parts)
    texts = [("[" if at == 0 else ",\r\n") + json.dumps(part) for at, part in enumerate(parts)]
    chunks = [text.encode() for text in (*texts, "]")]
    return Answer(headers=[("content-type", "application/json; charset=UTF-8")], chunks=chunks, streamed=True)


def _cohere(request: Mapping[str, Any]) -> Answer:
    usage = {
        "billed_units": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS},
        "tokens": {"input_tokens": INPUT_TOKENS + HIDDEN, "output_tokens": OUTPUT_TOKENS},
        "cached_tokens": 0,
    }
    if not request.get("stream"):
        message = {"role": "assistant", "content": [{"type": "text", "text": SAID}]}
        return body({"id": "live", "message": message, "finish_reason": "COMPLETE", "usage": usage})
    start = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    events: list[dict[str, Any]] = [{"type": "message-start", "id": "live", "delta": {"message": start}}]
    events.append({"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}})
    events += [{"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": text}}}} for text in TEXT]
    events.append({"type": "content-end", "index": 0})
    events.append({"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": usage}})
    return sse(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def _cohere_v1(request: Mapping[str, Any]) -> Answer:
    counts = {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS}
    whole = {"text": SAID, "generation_id": "live", "finish_reason": "COMPLETE", "meta": {"billed_units": counts, "tokens": counts}}
    if not request.get("stream"):
        return body(whole)
    events: list[dict[str, Any]] = [{"is_finished": False, "event_type": "stream-start", "generation_id": "live"}]
    events += [{"is_finished": False, "event_type": "text-generation", "text": text} for text in TEXT]
    events.append({"is_finished": True, "event_type": "stream-end", "finish_reason": "COMPLETE", "response": whole})
    lines = [json.dumps(event).encode() + b"\n" for event in events]
    return Answer(headers=[("content-type", "application/stream+json")], chunks=lines, streamed=True)


def _ollama(request: Mapping[str, Any]) -> Answer:
    base = {"model": request.get("model"), "created_at": "2026-11-01T12:00:00Z"}
    counts = {"total_duration": 9, "prompt_eval_count": INPUT_TOKENS, "eval_count": OUTPUT_TOKENS}
    end = {"done": True, "done_reason": "stop", **counts}
    if request.get("stream") is False:
        return body({**base, "message": {"role": "assistant", "content": SAID}, **end})
    lines: list[dict[str, Any]] = [{**base, "message": {"role": "assistant", "content": text}, "done": False} for text in TEXT]
    lines.append({**base, "message": {"role": "assistant", "content": ""}, **end})
    chunks = [json.dumps(line).encode() + b"\n" for line in lines]
    return Answer(headers=[("content-type", "application/x-ndjson")], chunks=chunks, streamed=True)
