"""Requests that are refused before anyone asks who sent them: foreign hosts, foreign pages, forms."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from aiohttp import web

from api.errors import ApiError

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::([0-9]{1,5}))?")


def is_ours(authority: str, *, port: int, configured: Sequence[str] = ()) -> bool:
    """Whether a `Host` value names this server: a loopback name with its port, or a configured name.

    A configured `name` is good with the port of this server or without one (a reverse proxy on its own default port);
    a configured `name:port` is good as it stands.
    """
    match = _AUTHORITY.fullmatch(authority.lower())
    if not match:
        return False
    name, given = match[1], int(match[2]) if match[2] else None
    if name in _LOOPBACK:
        return given == port or (given is None and port in {80, 443})
    names = {entry.lower() for entry in configured}
    return authority.lower() in names or (name in names and given == port)


def check_host(request: web.Request, *, port: int, configured: Sequence[str]) -> None:
    """Refuse (421) a request for another host: a page that rebinds its name to this address gets nothing."""
    if not request.raw_path.startswith("/"):
        raise ApiError(421, "this is the API of the gateway, no proxy: send LLM traffic to the forward door (proxy.listen)")
    hosts = request.headers.getall("Host", [])
    if len(hosts) != 1 or not is_ours(hosts[0], port=port, configured=configured):
        raise ApiError(421, f"this host name is not served here: use localhost:{port}, 127.0.0.1:{port} or a name of api.allowed_hosts")


def check_origin(request: web.Request, *, port: int, configured: Sequence[str]) -> None:
    """Refuse (403) what a page of another origin sends."""
    if any(not _own_origin(origin, port, configured) for origin in request.headers.getall("Origin", [])):
        raise ApiError(403, "requests from pages of another origin are refused")
    if "cross-site" in (value.strip().lower() for value in request.headers.getall("Sec-Fetch-Site", [])):
        raise ApiError(403, "cross-site requests are refused")


def check_content_type(request: web.Request, *, media: str) -> None:
    """Refuse (415) a write whose body is not declared as `media`; a browser cannot send JSON across origins unasked.

    A write without a body passes: it carries nothing but its token, which no page of another origin can add unasked either.
    """
    if request.method not in _WRITES or not request.body_exists:
        return
    noun = "JSON" if media == "application/json" else "a form"
    declared = request.headers.getall("Content-Type", [])
    if len(declared) != 1 or request.content_type != media:
        raise ApiError(415, f"send the body as {noun}, with the header Content-Type: {media}")
    if (request.charset or "utf-8").lower() not in {"utf-8", "utf8"}:
        raise ApiError(415, f"send the body as {noun} in UTF-8")


def _own_origin(origin: str, port: int, configured: Sequence[str]) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    bare = not (parts.path or parts.query or parts.fragment)
    return bare and parts.scheme in {"http", "https"} and is_ours(parts.netloc, port=port, configured=configured)
