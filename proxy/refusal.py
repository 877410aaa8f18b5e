"""A verdict in the words of the provider: its error shape, its content type, a status no SDK misreads."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson

from alerting.finding import Refusal, Verdict
from metering.call import Call, RpcBody
from metering.providers.provider import Dialect

CALL_HEADER = b"x-tollwatch-call"

STATUSES = {
    Refusal.POLICY: 403,
    Refusal.PROMPT_SIZE: 403,
    Refusal.PROMPT_DRIFT: 403,
    Refusal.UNKNOWN_FORMAT: 403,
    Refusal.LOCKED_OUT: 403,
    Refusal.LAST_DAY: 403,
    Refusal.CERTIFICATE: 403,
    Refusal.BUDGET: 402,
    Refusal.RATE_LIMIT: 429,
    Refusal.UNREADABLE: 400,
    Refusal.TOO_LARGE: 413,
    Refusal.UNSUPPORTED_ENCODING: 415,
    Refusal.DEGRADED: 503,
    Refusal.ONCHAIN: 200,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What the client is told. `code` is ours; the provider's own type follows from the status."""

    status: int
    code: str
    message: str
    call_id: str | None = None
    rule_id: str | None = None
    retry_after: timedelta | None = None
    may_retry: bool = False
    rpc: RpcBody | None = None
    """What was asked, where that is JSON-RPC: its answers name the ids of the requests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response that the gateway gives itself."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def problem_of(
    refusal: Refusal,
    message: str,
    *,
    call_id: str | None,
    rule_id: str | None = None,
    retry_after: timedelta | None = None,
) -> Problem:
    """Return the problem that a refusal is."""
    return Problem(
        status=STATUSES[refusal],
        code=f"tollwatch_{refusal.value}",
        message=message,
        call_id=call_id,
        rule_id=rule_id,
        retry_after=retry_after,
        may_retry=refusal is Refusal.RATE_LIMIT,
    )


def refused(call: Call, verdict: Verdict) -> Problem:
    """Return the problem of a call that the gate refused."""
    return Problem(
        status=STATUSES[kind := verdict.refusal or Refusal.POLICY],
        code=f"tollwatch_{kind.value}",
        message=verdict.message,
        call_id=call.id,
        rule_id=verdict.rule_id,
        retry_after=verdict.retry_after,
        may_retry=kind is Refusal.RATE_LIMIT,
        rpc=call.rpc,
    )


def answer(dialect: Dialect, problem: Problem) -> Answer:
    """Return the response that says `problem` so that the provider's SDK raises its own typed error, once."""
    body = orjson.dumps(shape(dialect, problem))
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if not problem.may_retry:
        headers.append((b"x-should-retry", b"false"))
    if problem.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(problem.retry_after.total_seconds()))))
    if problem.call_id:
        headers.append((CALL_HEADER, problem.call_id.encode()))
    if dialect is Dialect.BEDROCK:
        headers.append((b"x-amzn-errortype", _AMAZON.get(problem.status, "InternalServerException").encode()))
    return Answer(status=problem.status, headers=tuple(headers), body=body)


def shape(dialect: Dialect, problem: Problem) -> Any:  # noqa: ANN401  # a JSON object, or Gemini's array of one
    """Return the error object in which `dialect` says `problem`."""
    return _SHAPES.get(dialect, _openai)(problem)


_OPENAI = {
    400: "invalid_request_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    421: "invalid_request_error",
    429: "rate_limit_error",
}
_ANTHROPIC = _OPENAI | {402: "billing_error", 413: "request_too_large"}
_GOOGLE = {
    400: "INVALID_ARGUMENT",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    415: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
}
_AMAZON = {
    400: "ValidationException",
    402: "ServiceQuotaExceededException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    413: "ValidationException",
    415: "ValidationException",
    429: "ThrottlingException",
    502: "ServiceUnavailableException",
    503: "ServiceUnavailableException",
}
_RPC_CODES = {
    "tollwatch_onchain": -32003,
    "tollwatch_rate_limit": -32005,
    "tollwatch_unreadable": -32600,
    "tollwatch_too_large": -32600,
}
"""EIP-1474: transaction rejected, limit exceeded; JSON-RPC 2.0: invalid request."""
_RPC_OTHER = -32000


def _ours(problem: Problem) -> dict[str, str]:
    said = {"code": problem.code}
    if problem.call_id:
        said["call_id"] = problem.call_id
    if problem.rule_id:
        said["rule_id"] = problem.rule_id
    return said


def _openai(problem: Problem) -> dict[str, object]:
    kind = _OPENAI.get(problem.status, "server_error")
    return {"error": {"message": problem.message, "type": kind, "param": None, "code": problem.code, "tollwatch": _ours(problem)}}


def _anthropic(problem: Problem) -> dict[str, object]:
    kind = _ANTHROPIC.get(problem.status, "api_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": problem.message, "tollwatch": _ours(problem)},
        "request_id": problem.call_id,
    }


def _gemini(problem: Problem) -> dict[str, object]:
    details = [
        {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": problem.code.upper(),
            "domain": "tollwatch",
            "metadata": _ours(problem),
        }
    ]
    status = _GOOGLE.get(problem.status, "INTERNAL")
    return {"error": {"code": problem.status, "message": problem.message, "status": status, "details": details}}


def _bedrock(problem: Problem) -> dict[str, object]:
    return {"message": problem.message, "tollwatch": _ours(problem)}


def _cohere(problem: Problem) -> dict[str, object]:
    return {"id": problem.call_id, "message": problem.message, "tollwatch": _ours(problem)}


def _mistral(problem: Problem) -> dict[str, object]:
    kind = _OPENAI.get(problem.status, "server_error")
    return {"object": "error", "message": problem.message, "type": kind, "param": None, "code": problem.code, "tollwatch": _ours(problem)}


def _ollama(problem: Problem) -> dict[str, object]:
    return {"error": problem.message, "tollwatch": _ours(problem)}


def _plain(problem: Problem) -> dict[str, object]:
    return {"error": problem.code, "message": problem.message, "tollwatch": _ours(problem)}


def _json_rpc(problem: Problem) -> object:
    """Return the error of a request, or of each in a batch. Clients find theirs by its id; only a 200 makes them read it."""
    error = {"code": _RPC_CODES.get(problem.code, _RPC_OTHER), "message": problem.message, "data": _ours(problem)}
    if problem.rpc is None:
        return {"jsonrpc": "2.0", "id": None, "error": error}
    answers = [{"jsonrpc": "2.0", "id": request.id, "error": error} for request in problem.rpc.requests]
    return answers if problem.rpc.batch else answers[0]


_SHAPES: dict[Dialect, Callable[[Problem], object]] = {
    Dialect.OPENAI: _openai,
    Dialect.ANTHROPIC: _anthropic,
    Dialect.GEMINI: _gemini,
    Dialect.GEMINI_ARRAY: lambda problem: [_gemini(problem)],
    Dialect.BEDROCK: _bedrock,
    Dialect.COHERE: _cohere,
    Dialect.MISTRAL: _mistral,
    Dialect.OLLAMA: _ollama,
    Dialect.PLAIN: _plain,
    Dialect.JSON_RPC: _json_rpc,
}
