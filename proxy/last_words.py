"""The last event of a stream that is ended here, in the provider's own words: its client raises its own error, or ends knowing why."""

import struct
from collections.abc import Callable
from zlib import crc32

import orjson

from metering.providers.provider import Dialect
from proxy import framing, refusal
from proxy.framing import Framing
from proxy.refusal import Problem

AMAZON_EXCEPTION = "validationException"
"""Of the exceptions that Bedrock's streams may end with, the one that nobody takes for a reason to ask again."""


def last_words(frame: Framing, *, dialect: Dialect, wire_format: str | None, problem: Problem) -> bytes:
    """Return the event that says `problem` and ends the stream; `frame` stands between two events."""
    match frame:
        case framing.Messages():
            event = _message(orjson.dumps(refusal.shape(Dialect.BEDROCK, problem)))
        case framing.Lines():
            event = orjson.dumps(_cohere_v1(problem) if dialect is Dialect.COHERE else refusal.shape(dialect, problem)) + b"\n"
        case framing.Array():
            event = orjson.dumps(refusal.shape(Dialect.GEMINI, problem))
        case _:
            event = _EVENTS.get(wire_format or "", _BY_DIALECT.get(dialect, _named))(dialect, problem)
    return frame.last(event)


def _data(dialect: Dialect, problem: Problem) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(refusal.shape(dialect, problem))


def _named(dialect: Dialect, problem: Problem) -> bytes:
    return b"event: error\n" + _data(dialect, problem)


def _gemini(_dialect: Dialect, problem: Problem) -> bytes:
    return b"data: %b\r\n\r\n" % orjson.dumps(refusal.shape(Dialect.GEMINI, problem))


def _responses(_dialect: Dialect, problem: Problem) -> bytes:
    """Return `response.failed`, by which agents end, and `error`, which SDKs raise. Both names are in OpenAI's list of events."""
    error = {"code": problem.code, "message": problem.message}
    response: dict[str, object] = {
        "id": f"resp_{problem.call_id or ''}",
        "object": "response",
        "status": "failed",
        "error": error,
        "output": [],
    }
    failed = {"type": "response.failed", "sequence_number": _LATE, "response": response}
    shape = refusal.shape(Dialect.OPENAI, problem)
    last = {"type": "error", "sequence_number": _LATE + 1, **error, "param": None, **shape}
    return b"event: response.failed\ndata: %b\n\nevent: error\ndata: %b\n\n" % (orjson.dumps(failed), orjson.dumps(last))


_LATE = 1 << 30
"""A number in a sequence after all that passed: nobody counted those."""


def _cohere(_dialect: Dialect, problem: Problem) -> bytes:
    """Return the end that Cohere itself gives a stream that failed; its SDK knows no event for an error and passes others over."""
    end = {"type": "message-end", "id": problem.call_id, "delta": {"finish_reason": "ERROR", "error": problem.message}}
    return b"event: message-end\ndata: %b\n\n" % orjson.dumps(end)


def _cohere_v1(problem: Problem) -> dict[str, object]:
    response = {"text": "", "generation_id": problem.call_id, "finish_reason": "ERROR", "error": problem.message}
    return {"is_finished": True, "event_type": "stream-end", "finish_reason": "ERROR", "response": response}


type _Writer = Callable[[Dialect, Problem], bytes]

_EVENTS: dict[str, _Writer] = {
    "openai.chat": _data,
    "openai.completions": _data,
    "openai.responses": _responses,
}
_BY_DIALECT: dict[Dialect, _Writer] = {Dialect.GEMINI: _gemini, Dialect.GEMINI_ARRAY: _gemini, Dialect.COHERE: _cohere}


def _message(payload: bytes) -> bytes:
    """Return an exception in Amazon's event stream (its format is described in `metering.eventstream`)."""
    named = {b":exception-type": AMAZON_EXCEPTION.encode(), b":content-type": b"application/json", b":message-type": b"exception"}
    head = b"".join(struct.pack(">B", len(name)) + name + struct.pack(">BH", 7, len(value)) + value for name, value in named.items())
    lengths = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    message = lengths + struct.pack(">I", crc32(lengths)) + head + payload
    return message + struct.pack(">I", crc32(message))
