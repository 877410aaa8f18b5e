"""Asks OpenAI-type streams for the usage that they report only when they are asked."""

import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import cast

import orjson

from metering.providers.provider import Provider, host_pattern
from metering.providers.routes import Route
from metering.providers.wire import RequestFacts
from metering.settings import MeteringSettings
from proxy.hide_usage import UsageHider

_log = logging.getLogger(__name__)

_FORMATS = frozenset({"openai.chat", "openai.completions"})
_SIGNATURES = frozenset({b"signature", b"signature-input", b"digest", b"content-digest", b"repr-digest", b"content-md5", b"x-amz-date"})
"""Headers of requests whose bytes nobody may change."""
_NAME = b"stream_options"
_MAY_BE_SPELLED = re.compile(rb"\\u00[5-7]")
"""An escaped letter: only then can a member have this name without showing it."""
_COMPLAINTS = (b"stream_options", b"include_usage")
_REFUSALS = frozenset({400, 404, 422})
_MOST_OF_AN_ERROR = 16 << 10
_MOST_HOSTS = 1000

type Stream = Callable[[bytes], bytes]


class UsageAsking:
    """Decides which calls ask, and remembers the hosts that do not take the option."""

    def __init__(self, settings: MeteringSettings) -> None:
        self._on = settings.ask_for_usage
        self._hosts = tuple(host_pattern(glob) for glob in settings.ask_for_usage_hosts)
        self._refusing: dict[str, None] = {}

    def may_ask(self, provider: Provider, host: str, route: Route, facts: RequestFacts | None, headers: Mapping[bytes, bytes]) -> bool:
        """Say whether a call is a stream to a host that takes the option, in bytes that may be changed."""
        if not self._on or facts is None or not facts.streamed or route.wire_format not in _FORMATS:
            return False
        if host in self._refusing or not (provider.usage_option or any(pattern.fullmatch(host.lower()) for pattern in self._hosts)):
            return False
        if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
            return False
        return _SIGNATURES.isdisjoint(headers) and not headers.get(b"authorization", b"").lstrip().startswith(b"AWS4-")

    def watch(self, host: str, status: int, headers: Mapping[str, str]) -> Stream | None:
        """Return what the answer to a call that was made to ask passes through on its way to the client, or None for as it is."""
        if status in _REFUSALS:
            return _Complaint(lambda: self._refuse(host))
        if headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
            return None
        return UsageHider() if status == 200 and "event-stream" in headers.get("content-type", "").lower() else None

    def _refuse(self, host: str) -> None:
        if host not in self._refusing and len(self._refusing) < _MOST_HOSTS:
            self._refusing[host] = None
            _log.warning("usage_option_refused host=%s: its next streams are sent as they come, and estimated", host)


def through(tap: Callable[[bytes], bytes | tuple[()]], way: Stream) -> Callable[[bytes], bytes | tuple[()]]:
    """Return the stream callable that shows each chunk to the tap, and passes what `way` leaves of it.

    Nothing is passed as no chunk at all: an empty one would be the end of a chunked body.
    """

    def pass_on(chunk: bytes) -> bytes | tuple[()]:
        passed = tap(chunk)
        return way(passed or b"") or () if passed or not chunk else ()

    return pass_on


class _Complaint:
    """Passes an error on, and looks whether it speaks of the option."""

    def __init__(self, refuse: Callable[[], None]) -> None:
        self._refuse = refuse
        self._seen = b""

    def __call__(self, chunk: bytes) -> bytes:
        if len(self._seen) < _MOST_OF_AN_ERROR:
            self._seen += chunk[:_MOST_OF_AN_ERROR]
            if any(word in self._seen for word in _COMPLAINTS):
                self._refuse()
        return chunk


def asking(body: bytes) -> bytes | None:
    """Return the request with `stream_options.include_usage` set, all else byte by byte as it was.

    None when the client asks itself, or when there is no way to ask: a Responses-shaped body, `stream_options` that is no object.
    `body` must be an object without repeated names, as `strict_json.parse` makes sure.
    """
    if _NAME not in body and not _MAY_BE_SPELLED.search(body):
        return None if _is_other_shape(body) else _first_member(body)
    text = body.decode()
    found = _member(text)
    if found is None:
        return None if _is_other_shape(body) else _first_member(body)
    begin, end, value = found
    if value is None:
        value = {}
    if not isinstance(value, dict) or cast("dict[str, object]", value).get("include_usage") is True:
        return None
    asked = {**cast("dict[str, object]", value), "include_usage": True}
    return (text[:begin] + orjson.dumps(asked).decode() + text[end:]).encode()


def _is_other_shape(body: bytes) -> bool:
    """Whether a body may be in the Responses shape, which knows no such option (Cursor posts those to `/chat/completions`)."""
    return b'"messages"' not in body and b'"prompt"' not in body


def _first_member(body: bytes) -> bytes:
    at = body.index(b"{") + 1
    return b'%b"stream_options":{"include_usage":true},%b' % (body[:at], body[at:])


_WHITE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def _member(text: str) -> tuple[int, int, object] | None:
    """Return where the value of the top-level `stream_options` stands, and what it is."""
    at = _after_white(text, text.index("{") + 1)
    while text[at] != "}":
        name, at = cast("tuple[str, int]", _DECODER.raw_decode(text, at))
        begin = _after_white(text, _after_white(text, at) + 1)
        value, end = cast("tuple[object, int]", _DECODER.raw_decode(text, begin))
        if name == _NAME.decode():
            return begin, end, value
        at = _after_white(text, end)
        if text[at] == ",":
            at = _after_white(text, at + 1)
    return None


def _after_white(text: str, at: int) -> int:
    white = _WHITE.match(text, at)
    return white.end() if white else at
