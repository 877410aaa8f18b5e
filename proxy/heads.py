"""The heads of plain messages are parsed, checked and measured the short way; whatever is not plain is left to mitmproxy's own functions.

mitmproxy asks each head five times for the size of the body, and matches every field's name with an expression: a sixth of what a small
call costs it. Both ways say the same (tests/proxy/test_heads.py holds them against each other).
"""
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# ruff: noqa: SLF001
# (these are mitmproxy's inner parts, and typed in part only)

from collections.abc import Callable
from typing import Any, cast

from mitmproxy.http import Headers, Message, Request, Response
from mitmproxy.net.http import http1, validate
from mitmproxy.net.http.http1 import read
from mitmproxy.proxy.layers import http as layers

_BODILESS = frozenset({204, 304})
_ENCODING, _LENGTH = b"transfer-encoding", b"content-length"
_MOST_NAMES = 1000

_read_headers: Callable[[list[bytes]], Headers] = read._read_headers
_validate_headers = validate.validate_headers
_expected_size = cast("Callable[[Request, Response | None], int | None]", read.expected_http_body_size)
_METHODS = {method.encode(): method for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE")}

_plain_names: dict[bytes, bool] = {}
"""Field names that have passed the check, as they were written; whether it is Content-Length. Bounded: clients make up names."""


def read_headers(lines: list[bytes]) -> Headers:
    """Return the fields of a head without its first line. Raises ValueError as mitmproxy's own does."""
    fields: list[tuple[bytes, bytes]] = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name[0] in b" \t":
            return _read_headers(lines)
        fields.append((name, value.strip()))
    headers = Headers.__new__(Headers)
    headers.fields = tuple(fields)
    return headers


def validate_headers(message: Message) -> None:
    """Check the framing and the names of a head. Raises ValueError as mitmproxy's own does."""
    has_length = False
    for name, value in message.headers.fields:
        length = _plain_names.get(name)
        if length is False:
            continue
        if length is None or has_length or not _is_size(value):
            _validate_and_learn(message)
            return
        has_length = True


def _validate_and_learn(message: Message) -> None:
    _validate_headers(message)
    for name, _value in message.headers.fields:
        lower = name.lower()
        if lower != _ENCODING and len(_plain_names) < _MOST_NAMES:
            _plain_names[name] = lower == _LENGTH


def expected_size(request: Request, response: Response | None = None) -> int | None:
    """Return the size of a body: None is chunked, -1 until the connection ends. Raises ValueError as mitmproxy's own does."""
    if not response:
        fields = request.headers.fields
    else:
        status = response.data.status_code
        if request.data.method != b"POST" or status < 200 or status in _BODILESS:
            return _expected_size(request, response)
        fields = response.headers.fields
    size: bytes | None = None
    for name, value in fields:
        length = len(name)
        if length == len(_LENGTH) and name.lower() == _LENGTH:
            if size is not None or not _is_size(value):
                return _expected_size(request, response)
            size = value
        elif length == len(_ENCODING) and name.lower() == _ENCODING:
            return _expected_size(request, response)
    if size is not None:
        return int(size)
    return -1 if response else 0


def _is_size(value: bytes) -> bool:
    return value.isdigit() and (value[0] != 48 or len(value) == 1)  # 48: no zero before a number


def method_of(request: Request) -> str:
    """Return the method in capitals."""
    written = request.data.method
    return _METHODS.get(written) or written.decode("utf-8", "surrogateescape").upper()


def install() -> None:
    """Read the heads of this process the short way."""
    cast("Any", read)._read_headers = read_headers
    cast("Any", layers).validate_headers = validate_headers
    cast("Any", http1).expected_http_body_size = expected_size
    request = cast("Any", Request)
    request.method = property(method_of, request.method.fset)
