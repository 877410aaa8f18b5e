"""Amazon Bedrock on loopback: it takes signed requests and API keys, and answers as its models do."""

import json
from collections.abc import Mapping
from typing import Any

from tests.support import sigv4
from tests.support.answers import INPUT_TOKENS, OUTPUT_TOKENS, TEXT, Answer, body
from tests.support.eventstreams import chunk, event
from tests.support.provider import Seen

HOST = "bedrock-runtime.us-east-1.amazonaws.com"
ACCESS_KEY, SECRET_KEY = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
API_KEY = "bedrock-api-key-of-a-test"
_USAGE = {"inputTokens": INPUT_TOKENS, "outputTokens": OUTPUT_TOKENS, "totalTokens": INPUT_TOKENS + OUTPUT_TOKENS}
_COUNTED = [("x-amzn-bedrock-input-token-count", str(INPUT_TOKENS)), ("x-amzn-bedrock-output-token-count", str(OUTPUT_TOKENS))]


def _refused(kind: str, message: str) -> Answer:
    return body({"message": message}, status=403, headers=[("x-amzn-errortype", kind)])


def _stream(*messages: bytes) -> Answer:
    return Answer(headers=[("content-type", "application/vnd.amazon.eventstream")], chunks=messages, streamed=True)


def _converse() -> Answer:
    message = {"role": "assistant", "content": [{"text": "".join(TEXT)}]}
    return body({"output": {"message": message}, "stopReason": "end_turn", "usage": _USAGE, "metrics": {"latencyMs": 5}})


def _converse_stream() -> Answer:
    deltas = [event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": text}}) for text in TEXT]
    return _stream(
        event("messageStart", {"role": "assistant"}),
        *deltas,
        event("contentBlockStop", {"contentBlockIndex": 0}),
        event("messageStop", {"stopReason": "end_turn"}),
        event("metadata", {"usage": _USAGE, "metrics": {"latencyMs": 5}}),
    )


def _invoke() -> Answer:
    """Answer as Claude 2 does: what was used stands in the headers alone."""
    return body({"completion": "".join(TEXT), "stop_reason": "stop_sequence"}, headers=_COUNTED)


def _invoke_stream() -> Answer:
    last: Mapping[str, Any] = {
        "completion": "",
        "stop_reason": "stop_sequence",
        "amazon-bedrock-invocationMetrics": {"inputTokenCount": INPUT_TOKENS, "outputTokenCount": OUTPUT_TOKENS},
    }
    return _stream(*(chunk({"completion": text, "stop_reason": None}) for text in TEXT), chunk(last))


_ANSWERS = {
    "converse": _converse,
    "converse-stream": _converse_stream,
    "invoke": _invoke,
    "invoke-with-response-stream": _invoke_stream,
}


def live(seen: Seen) -> Answer:
    """Answer a request whose signature or key is right; refuse any other, as Bedrock does."""
    if seen.headers.get("authorization", "").startswith("Bearer "):
        if seen.headers["authorization"] != f"Bearer {API_KEY}":
            return _refused("UnrecognizedClientException", "The API key is not known")
    elif fault := sigv4.fault(seen, secret=SECRET_KEY):
        return _refused("InvalidSignatureException", fault)
    json.loads(seen.body)
    return _ANSWERS[seen.target.partition("?")[0].rpartition("/")[2]]()
