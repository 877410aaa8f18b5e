"""Errors as each feed words them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import orjson
from aiohttp import web

type Feed = Literal["org", "local", "entries", "account", "rules"]

FEED_PREFIXES: Mapping[str, Feed] = {
    "/v1": "org",
    "/api": "local",
    "/api/v1": "rules",
    "/api/v1/alerts/entries": "entries",
    "/api/v1/alerts/configs": "entries",
    "/api/v1/detections": "entries",
    "/api/account": "account",
}
"""Which feed a path belongs to: the longest prefix of whole segments wins."""

_ALERTMANAGER = "/alertmanager"
"""Below it an error is a JSON string, which is all that Alertmanager's clients can read."""

_TEXTS = {404: "not found", 405: "method not allowed", 413: "the body is too large", 429: "too many requests", 500: "internal error"}


@dataclass(eq=False)
class ApiError(Exception):
    """An answer that is no success; the middleware gives it the body of its feed."""

    status: int
    message: str
    fields: Mapping[str, object] = field(default_factory=dict[str, object], kw_only=True)
    """More keys of the body."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], kw_only=True)
    code: str | None = field(default=None, kw_only=True)
    """What the feed calls this error, where its general word for the status is not enough."""
    param: str | None = field(default=None, kw_only=True)
    """The parameter or key of the body that is wrong."""


class InvalidError(ApiError):
    """A parameter or a body that does not fit: 400, in the rules feed 422."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(400, message, param=param)


class MissingScopeError(ApiError):
    """A token that may not do this."""

    def __init__(self, message: str) -> None:
        super().__init__(403, message)


class Refused(StrEnum):
    """Why a request has no principal."""

    MISSING = "missing"
    INVALID = "invalid"
    EXPIRED = "expired"


class UnauthorizedError(ApiError):
    """A request whose token is missing or good for nothing."""

    def __init__(self, why: Refused) -> None:
        super().__init__(401, _REFUSED[why], headers={"WWW-Authenticate": "Bearer"})
        self.why = why


_REFUSED = {
    Refused.MISSING: "missing or invalid authorization header",
    Refused.INVALID: "invalid or expired token",
    Refused.EXPIRED: "the token has expired",
}


def json_response(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return an answer whose body is JSON."""
    return web.Response(body=orjson.dumps(body), status=status, headers=headers, content_type="application/json", charset="utf-8")


def _under(path: str, prefix: str) -> bool:
    return f"{path}/".startswith(f"{prefix}/")


def feed_of(path: str) -> Feed | None:
    """Return the feed whose prefix a path has, None for what is around the feeds."""
    owners = [prefix for prefix in FEED_PREFIXES if _under(path, prefix)]
    return FEED_PREFIXES[max(owners, key=len)] if owners else None


def in_texts(path: str) -> bool:
    """Whether an error of a path is a JSON string and nothing more."""
    return _under(path, _ALERTMANAGER)


def error_response(error: ApiError, *, path: str) -> web.Response:
    """Return the answer for an error in the words of the path's feed; around the feeds they are the local feed's."""
    if in_texts(path):
        return json_response(error.message, status=error.status, headers=error.headers)
    status, body = _DIALECTS[feed_of(path) or "local"](error)
    return json_response({**body, **error.fields}, status=status, headers=error.headers)


def from_http(error: web.HTTPException) -> ApiError:
    """Return aiohttp's own refusal (no route, wrong method, too large) in our words; `Allow` survives."""
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    text = _TEXTS.get(error.status, error.reason.lower())
    if headers:
        text = f"{text}: use {headers['Allow'].replace(',', ' or ')}"
    return ApiError(error.status, text, headers=headers)


_ORG_CODES = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "conflict",
    413: "payload_too_large",
    415: "unsupported_media_type",
    421: "misdirected_request",
    422: "invalid_request",
    429: "rate_limited",
    500: "internal_error",
    503: "unavailable",
}


def _org(error: ApiError) -> tuple[int, dict[str, object]]:
    code = _ORG_CODES.get(error.status, "invalid_request") if error.code is None else error.code
    return error.status, {"error": code, "message": error.message}


def _entries(error: ApiError) -> tuple[int, dict[str, object]]:
    return error.status, {"error": error.message}


def _local(error: ApiError) -> tuple[int, dict[str, object]]:
    if isinstance(error, UnauthorizedError) and error.why is not Refused.MISSING:
        return 401, {"error": "invalid or expired session token"}
    return error.status, {"error": error.message}


_ACCOUNT_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
_ACCOUNT_CODES = {400: "invalid_parameter", 422: "invalid_parameter", 429: "rate_limit_exceeded"}
_ACCOUNT_KEYS = {
    Refused.MISSING: "No API key: send it as Authorization: Bearer YOUR_API_KEY",
    Refused.INVALID: "The API key is unknown or was revoked",
    Refused.EXPIRED: "The API key has expired",
}


def _account(error: ApiError) -> tuple[int, dict[str, object]]:
    kind = _ACCOUNT_TYPES.get(error.status, "api_error" if error.status >= 500 else "invalid_request_error")
    code = _ACCOUNT_CODES.get(error.status, _ORG_CODES.get(error.status, "invalid_request")) if error.code is None else error.code
    message = error.message
    if isinstance(error, UnauthorizedError):
        code, message = f"{error.why}_api_key", _ACCOUNT_KEYS[error.why]
    if isinstance(error, MissingScopeError):
        code = "insufficient_scope"
    return error.status, {"error": {"type": kind, "code": code, "message": message, "param": error.param}}


def _rules(error: ApiError) -> tuple[int, dict[str, object]]:
    status = 422 if isinstance(error, InvalidError) else error.status
    code = _ORG_CODES.get(status, "invalid_request") if error.code is None else error.code
    return status, {"detail": error.message, "error": {"code": code.upper(), "message": error.message}}


_DIALECTS: Mapping[Feed, Callable[[ApiError], tuple[int, dict[str, object]]]] = {
    "org": _org,
    "local": _local,
    "entries": _entries,
    "account": _account,
    "rules": _rules,
}
