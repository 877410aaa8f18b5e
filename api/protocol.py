"""What a client is told whose bytes are no HTTP."""

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from api.errors import ApiError, error_response
from api.middleware import SECURITY_HEADERS

LONGEST_LINE = 1 << 18
"""Bytes of the first line of a request: its path and its query."""

_log = structlog.get_logger(__name__)


class Protocol(web.RequestHandler):
    """One connection. What aiohttp would log of a request that it cannot read has the bytes in it, and they may be a token."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's signature: it quotes the bytes
    ) -> web.StreamResponse:
        """Return the answer, as JSON; the connection ends with it."""
        _log.warning("api_no_http", status=status, error=type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("Cannot tell the client what is wrong: its answer has begun")
        text = "a line of the request is too long" if isinstance(exc, LineTooLong) else "the request is no HTTP that can be read"
        response = error_response(ApiError(status, text if status < 500 else "internal error", headers=SECURITY_HEADERS), path=request.path)
        response.force_close()
        return response
