"""Streams that go on and on: the live answers of all providers, one event of their text repeated far beyond any budget of a test."""

import json
from dataclasses import replace

from tests.support import bedrock
from tests.support.answers import TEXT, Answer, body, embeddings, live
from tests.support.foreign_answers import foreign
from tests.support.provider import Seen

_VECTOR = [0.25, -0.5]
_COSTS = {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 1, "search_units": 1}}
_SMALL: dict[str, object] = {
    "/images/generations": {"created": 1, "data": [{"b64_json": "aGk="}]},
    ":embedContent": {"embedding": {"values": _VECTOR}},
    ":batchEmbedContents": {"embeddings": [{"values": _VECTOR}]},
    "/v2/embed": {"id": "live", "embeddings": {"float": [_VECTOR]}, "texts": ["a"], "meta": _COSTS},
    "/v2/rerank": {"id": "live", "results": [{"index": 0, "relevance_score": 0.5}], "meta": _COSTS},
    "/api/embed": {"model": "live", "embeddings": [_VECTOR], "prompt_eval_count": 1},
}
"""Answers that are never streamed, by the end of their paths."""
PIECES = 4000
PACE = 0.0005
"""Seconds between two events: what is held of a budget is used up while they come, not after them."""


def endless(seen: Seen) -> Answer:
    """Answer as the provider would, and do not come to an end."""
    answer = whole(seen)
    if not answer.streamed:
        return answer
    at = len(answer.chunks) // 2
    begin, event = [*answer.chunks[:at]], answer.chunks[at]
    if b"usageMetadata" in event:
        return replace(answer, chunks=[*begin, *(_growing(event, number) for number in range(PIECES))], then="hang", pace_seconds=PACE)
    return replace(answer, chunks=[*begin, *[event] * PIECES], then="hang", pace_seconds=PACE)


def whole(seen: Seen) -> Answer:
    """Answer as the provider would."""
    if seen.target.startswith("/model/"):
        return bedrock.live(seen)
    if seen.target.startswith("/api/generate"):
        return _generate(seen)
    if seen.target.endswith("/audio/speech"):
        return Answer(headers=[("content-type", "audio/mpeg")], chunks=[b"sound"])
    path = seen.target.partition("?")[0]
    if path.endswith("/embeddings"):
        return body({"id": "live", **json.loads(embeddings(json.loads(seen.body)).chunks[0])})  # Mistral's has an id, which its SDK wants
    small = next((said for ending, said in _SMALL.items() if path.endswith(ending)), None)
    return body(small) if small else foreign(seen) or live(seen.target, seen.body)


def _growing(event: bytes, number: int) -> bytes:
    """Return an event of Gemini that reports as many tokens as have come."""
    begin, end = event.index(b"{"), event.rindex(b"}") + 1
    part = json.loads(event[begin:end])
    part["usageMetadata"]["candidatesTokenCount"] = number
    return event[:begin] + json.dumps(part).encode() + event[end:]


def _generate(seen: Seen) -> Answer:
    """Answer Ollama's `/api/generate`."""
    asked = json.loads(seen.body)
    base = {"model": asked["model"], "created_at": "2026-11-01T12:00:00Z"}
    end = {"done": True, "done_reason": "stop", "prompt_eval_count": 11, "eval_count": 7}
    if asked.get("stream") is False:
        return body({**base, "response": "".join(TEXT), **end})
    lines = [{**base, "response": text, "done": False} for text in TEXT]
    lines.append({**base, "response": "", **end})
    return Answer(
        headers=[("content-type", "application/x-ndjson")], chunks=[json.dumps(line).encode() + b"\n" for line in lines], streamed=True
    )
