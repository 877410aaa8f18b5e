"""What the short way says of a head is what mitmproxy's own functions say of it, errors included."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy.http import Headers, Request, Response

from proxy import heads

# The functions are compared with the ones that they stand before, which have no public name.
# ruff: noqa: SLF001
# pyright: reportPrivateUsage=false

NAMES = st.sampled_from(
    [b"Content-Length", b"content-length", b"Transfer-Encoding", b"transfer-encoding", b"host", b"X-A", b"x a", b"\xff", b"content-length "]
)
VALUES = st.one_of(
    st.sampled_from(
        [b"0", b"5", b"05", b"+5", b"5,5", b"-1", b"chunked", b"gzip", b"gzip, chunked", b"Chunked", b"identity", b"", b"\xb25"]
    ),
    st.binary(max_size=6),
)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=5)
METHODS = st.sampled_from([b"POST", b"GET", b"HEAD", b"CONNECT", b"post", b"\xff"])
STATUSES = st.sampled_from([100, 101, 200, 204, 304, 404, 500])
LINES = st.lists(st.one_of(st.binary(min_size=1, max_size=12), st.tuples(NAMES, VALUES).map(b": ".join)), max_size=5)


def said(ask: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function answers, or the error's text."""
    try:
        return ask(*arguments)
    except ValueError as error:
        return f"ValueError: {error}"


def request_of(method: bytes, fields: list[tuple[bytes, bytes]]) -> Request:
    return Request("h", 80, method, b"http", b"", b"/", b"HTTP/1.1", Headers(fields), None, None, 0, None)


def response_of(status: int, fields: list[tuple[bytes, bytes]]) -> Response:
    return Response(b"HTTP/1.1", status, b"", Headers(fields), None, None, 0, None)


@given(LINES)
def test_fields_are_read_alike(lines: list[bytes]) -> None:
    assert said(heads.read_headers, lines) == said(heads._read_headers, lines)


@given(FIELDS, METHODS, STATUSES)
def test_a_body_has_the_same_size(fields: list[tuple[bytes, bytes]], method: bytes, status: int) -> None:
    request, answer = request_of(method, fields), response_of(status, fields)

    assert said(heads.expected_size, request) == said(heads._expected_size, request, None)
    assert said(heads.expected_size, request, answer) == said(heads._expected_size, request, answer)


@given(FIELDS, STATUSES)
def test_the_same_heads_are_refused_before_and_after_their_names_are_known(fields: list[tuple[bytes, bytes]], status: int) -> None:
    for message in (request_of(b"POST", fields), response_of(status, fields)):
        expected = said(heads._validate_headers, message)
        assert said(heads.validate_headers, message) == expected
        assert said(heads.validate_headers, message) == expected


def test_names_that_clients_make_up_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "_plain_names", {})
    for number in range(2 * heads._MOST_NAMES):
        heads.validate_headers(request_of(b"POST", [(b"x-%d" % number, b"")]))

    assert len(heads._plain_names) == heads._MOST_NAMES


@given(METHODS)
def test_a_method_is_said_in_capitals(method: bytes) -> None:
    assert heads.method_of(request_of(method, [])) == method.decode("utf-8", "surrogateescape").upper()
