"""What a provider says when it is asked live: small, true-to-shape answers with usage, streamed and not."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

INPUT_TOKENS = 11
OUTPUT_TOKENS = 7
TEXT = ("The ", "toll ", "is ", "two ", "pence", ".")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer on the wire. `chunks` are written apart; `then` says how it ends; a hang lasts until `Provider.release`."""

    status: int = 200
    headers: Sequence[tuple[str, str]] = (("content-type", "application/json"),)
    chunks: Sequence[bytes] = ()
    streamed: bool = False
    pace_seconds: float = 0.0
    stepped: bool = False
    """Whether each chunk but the first waits for a `Provider.step`: a test that acts between two chunks says when the next one comes."""
    then: Literal["end", "reset", "hang"] = "end"
    after_chunks: int | None = None
    """Where `reset` or `hang` happens; None: after the last chunk. -1: before the status line."""


def body(payload: object, *, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """Return a JSON answer."""
    head = [("content-type", "application/json"), ("request-id", "req_live"), ("x-request-id", "req_live"), *headers]
    return Answer(status=status, headers=head, chunks=[json.dumps(payload).encode()])


def sse(events: Iterable[bytes], **more: Any) -> Answer:
    """Return a stream of server-sent events, one chunk an event."""
    return Answer(headers=[("content-type", "text/event-stream; charset=utf-8")], chunks=list(events), streamed=True, **more)


def _data(payload: object) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def _event(payload: Mapping[str, object]) -> bytes:
    return b"event: " + str(payload["type"]).encode() + b"\n" + _data(payload)


def chat_usage() -> dict[str, Any]:
    """Return the usage that every chat answer reports."""
    return {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS, "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS}


def chat(request: Mapping[str, Any], *, texts: Sequence[str] = TEXT, **more: Any) -> Answer:
    """Answer `/chat/completions`; a stream reports usage only when it was asked to."""
    base = {"id": "chatcmpl-live", "created": 1_760_000_000, "model": request.get("model", "gpt-4o-mini")}
    if not request.get("stream"):
        message = {"role": "assistant", "content": "".join(texts), "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return body({**base, "object": "chat.completion", "choices": [choice], "usage": chat_usage()})
    asked = (request.get("stream_options") or {}).get("include_usage")
    base = {**base, "object": "chat.completion.chunk"} | ({"usage": None} if asked else {})
    events = [_data({**base, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]})]
    events += [_data({**base, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}) for text in texts]
    events.append(_data({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
    if asked:
        events.append(_data({**base, "choices": [], "usage": chat_usage()}))
    return sse([*events, b"data: [DONE]\n\n"], **more)


def completion(request: Mapping[str, Any]) -> Answer:
    """Answer `/completions`."""
    base = {"id": "cmpl-live", "object": "text_completion", "created": 1_760_000_000, "model": request.get("model")}
    if request.get("stream"):
        events = [_data({**base, "choices": [{"index": 0, "text": text, "finish_reason": None, "logprobs": None}]}) for text in TEXT]
        events.append(_data({**base, "choices": [{"index": 0, "text": "", "finish_reason": "stop", "logprobs": None}]}))
        if (request.get("stream_options") or {}).get("include_usage"):
            events.append(_data({**base, "choices": [], "usage": chat_usage()}))
        return sse([*events, b"data: [DONE]\n\n"])
    choice = {"index": 0, "text": "".join(TEXT), "finish_reason": "stop", "logprobs": None}
    return body({**base, "choices": [choice], "usage": chat_usage()})


def _response(request: Mapping[str, Any], status: str) -> dict[str, Any]:
    text = {"type": "output_text", "text": "".join(TEXT), "annotations": []}
    message = {"id": "msg_live", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
    usage = {
        "input_tokens": INPUT_TOKENS,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": OUTPUT_TOKENS,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    }
    done = status == "completed"
    return {
        "id": "resp_live",
        "object": "response",
        "created_at": 1_760_000_000,
        "status": status,
        "model": request.get("model"),
        "output": [message] if done else [],
        "usage": usage if done else None,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
    }


def responses(request: Mapping[str, Any]) -> Answer:
    """Answer `/responses`."""
    if not request.get("stream"):
        return body(_response(request, "completed"))
    place = {"item_id": "msg_live", "output_index": 0, "content_index": 0}
    events = [_event({"type": "response.created", "sequence_number": 0, "response": _response(request, "in_progress")})]
    item = {"id": "msg_live", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    events.append(_event({"type": "response.output_item.added", "sequence_number": 1, "output_index": 0, "item": item}))
    part = {"type": "output_text", "text": "", "annotations": []}
    events.append(_event({"type": "response.content_part.added", "sequence_number": 2, **place, "part": part}))
    for number, text in enumerate(TEXT, 3):
        events.append(_event({"type": "response.output_text.delta", "sequence_number": number, **place, "delta": text, "logprobs": []}))
    last = {"type": "response.completed", "sequence_number": 3 + len(TEXT), "response": _response(request, "completed")}
    return sse([*events, _event(last)])


def embeddings(request: Mapping[str, Any]) -> Answer:
    """Answer `/embeddings`."""
    row = {"object": "embedding", "index": 0, "embedding": [0.25, -0.5, 0.125]}
    usage = {"prompt_tokens": INPUT_TOKENS, "total_tokens": INPUT_TOKENS}
    return body({"object": "list", "data": [row], "model": request.get("model"), "usage": usage})


def messages(request: Mapping[str, Any]) -> Answer:
    """Answer Anthropic's `/v1/messages`."""
    usage = {"input_tokens": INPUT_TOKENS, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    base = {"id": "msg_live", "type": "message", "role": "assistant", "model": request.get("model"), "stop_sequence": None}
    if not request.get("stream"):
        text = [{"type": "text", "text": "".join(TEXT)}]
        return body({**base, "content": text, "stop_reason": "end_turn", "usage": {**usage, "output_tokens": OUTPUT_TOKENS}})
    start = {**base, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    events = [_event({"type": "message_start", "message": start})]
    events.append(_event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}))
    events.append(_event({"type": "ping"}))
    deltas = [{"type": "text_delta", "text": text} for text in TEXT]
    events += [_event({"type": "content_block_delta", "index": 0, "delta": delta}) for delta in deltas]
    events.append(_event({"type": "content_block_stop", "index": 0}))
    ended = {"stop_reason": "end_turn", "stop_sequence": None}
    events.append(_event({"type": "message_delta", "delta": ended, "usage": {**usage, "output_tokens": OUTPUT_TOKENS}}))
    return sse([*events, _event({"type": "message_stop"})])


def rate_limited(*, retry_after: str = "1") -> Answer:
    """Return a provider's own 429."""
    error = {"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded", "param": None}}
    return body(error, status=429, headers=[("retry-after", retry_after)])


def live(path: str, raw: bytes) -> Answer:
    """Answer a request by its path, as the provider would."""
    path = path.partition("?")[0]
    endings = {
        "/chat/completions": chat,
        "/completions": completion,
        "/responses": responses,
        "/embeddings": embeddings,
        "/messages": messages,
    }
    for ending, answer in endings.items():
        if path.endswith(ending):
            return answer(json.loads(raw))
    if path.endswith("/models"):
        return body({"object": "list", "data": [{"id": "gpt-4o-mini", "object": "model", "created": 1, "owned_by": "openai"}]})
    return body({"error": {"message": f"no such path: {path}", "type": "invalid_request_error"}}, status=404)
