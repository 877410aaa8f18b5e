"""Errors as each feed words them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson
from aiohttp import web

FEED_PREFIXES = {"local": "/api/"}
"""Which feed a path belongs to: the longest prefix wins."""

_TEXTS = {404: "not found", 405: "method not allowed", 413: "the body is too large", 429: "too many requests", 500: "internal error"}


@dataclass(eq=False)
class ApiError(Exception):
    """An answer that is no success; the middleware gives it the body of its feed."""

    status: int
    message: str
    fields: Mapping[str, object] = field(default_factory=dict[str, object])
    """More keys of the body."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def json_response(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return an answer whose body is JSON."""
    return web.Response(body=orjson.dumps(body), status=status, headers=headers, content_type="application/json", charset="utf-8")


def feed_of(path: str) -> str | None:
    """Return the feed whose prefix a path has, None for what is around the feeds."""
    owners = [(len(prefix), name) for name, prefix in FEED_PREFIXES.items() if path.startswith(prefix)]
    return max(owners)[1] if owners else None


def error_response(error: ApiError) -> web.Response:
    """Return the answer for an error: `{"error": "text"}` in the local feed and around the feeds."""
    return json_response({"error": error.message, **error.fields}, status=error.status, headers=error.headers)


def from_http(error: web.HTTPException) -> ApiError:
    """Return aiohttp's own refusal (no route, wrong method, too large) in our words; `Allow` survives."""
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    text = _TEXTS.get(error.status, error.reason.lower())
    if headers:
        text = f"{text}: use {headers['Allow'].replace(',', ' or ')}"
    return ApiError(error.status, text, headers=headers)
