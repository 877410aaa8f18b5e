"""Trailers that one side has no place for are dropped, as RFC 9112 (7.1.2) allows: of a chunked body, and of HTTP/2 towards HTTP/1.

On either, mitmproxy raises an error in the middle of an exchange, and both ends wait for each other.
"""
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false
# (mitmproxy and h11 have no typed way in; tests/proxy/test_trailers.py holds what is assumed here)

from typing import Any, cast

import h11
from h11._readers import ChunkedReader
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import _http1
from mitmproxy.proxy.layers.http._events import HttpEvent, RequestTrailers, ResponseTrailers

_TRAILERS = frozenset({RequestTrailers, ResponseTrailers})


class ReaderWithoutTrailers(ChunkedReader):
    """Reads a chunked body; its end says nothing of what stood behind it."""

    def __call__(self, buf: Any) -> Any:  # noqa: ANN401  # as h11's own
        """Return the next part of the body, its end, or None."""
        part = super().__call__(buf)
        return h11.EndOfMessage() if type(part) is h11.EndOfMessage and part.headers else part


def install() -> None:
    """Let the HTTP/1 connections of this process drop trailers."""
    cast("Any", _http1).ChunkedReader = ReaderWithoutTrailers
    for side in (_http1.Http1Server, _http1.Http1Client):
        _drop_before(side)


def _drop_before(side: type[_http1.Http1Connection]) -> None:
    send = side.send

    def send_without(self: Any, event: HttpEvent) -> CommandGenerator[None]:  # noqa: ANN401  # either side
        return _nothing() if type(event) in _TRAILERS else send(self, event)

    side.send = send_without  # type: ignore[method-assign]  # replaced on purpose


def _nothing() -> CommandGenerator[None]:
    yield from ()
