"""What an HTTP/1 upstream says before its answer (1xx, but for 101) is read and dropped: mitmproxy takes it for the answer."""
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (mitmproxy and h11 have no typed way in; tests/proxy/test_hints.py holds what is assumed here)

from typing import Any, cast

from mitmproxy.proxy import events
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http._http1 import Http1Client

_VERSION = b"HTTP/1.1 1"
_SWITCHES = b"HTTP/1.1 101"


def install() -> None:
    """Let the HTTP/1 upstream connections of this process wait for the answer itself."""
    read_headers = Http1Client.read_headers

    def read_answer(self: Http1Client, event: events.ConnectionEvent) -> CommandGenerator[None]:
        data = cast("Any", self.buf)._data  # noqa: SLF001  # h11's buffer shows what it holds no other way
        while data.startswith(_VERSION) and len(data) >= len(_SWITCHES) and not data.startswith(_SWITCHES):
            if self.request is None or not self.buf.maybe_extract_lines():
                break
            data = cast("Any", self.buf)._data  # noqa: SLF001
        return read_headers(self, event)

    Http1Client.read_headers = read_answer  # type: ignore[method-assign]  # replaced on purpose
