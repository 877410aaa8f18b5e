"""What the probe host answers: a small OpenAI-shaped completion, so that `doctor` can prove the whole path without a provider."""

import orjson

from metering.call import Call
from proxy.refusal import CALL_HEADER, Answer


def answer(call: Call) -> Answer:
    """Return the answer to a call to the probe host."""
    body = orjson.dumps(
        {
            "id": f"chatcmpl-{call.id}",
            "object": "chat.completion",
            "created": int(call.started_at.timestamp()),
            "model": call.model or "tollwatch-probe",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "tollwatch"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
    )
    headers = ((b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), (CALL_HEADER, call.id.encode()))
    return Answer(status=200, headers=headers, body=body)
