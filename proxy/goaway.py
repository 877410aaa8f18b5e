"""A client that says it will open no more HTTP/2 streams still gets the answers to those that are open (RFC 9113, section 6.8).

AWS's SDK for Node closes its session in this way as soon as the answer to a streaming call begins. The HTTP/2 library takes the whole
connection for closed then, so that the client's next window update is an error and every answer beyond 64 KiB breaks off.
"""

# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false, reportUnknownMemberType=false
# what is patched is mitmproxy's own, and its library's

from typing import Any, cast

from h2.connection import H2Connection
from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame
from mitmproxy.proxy.layers.http._http_h2 import BufferedH2Connection


def install() -> None:
    """Let every HTTP/2 client of this process say so."""
    original = cast("Any", H2Connection)._receive_goaway_frame  # noqa: SLF001  # there is no other place

    def receive_goaway_frame(self: BufferedH2Connection, frame: GoAwayFrame) -> Any:  # noqa: ANN401  # frames and events, as the library's
        if not self.config.client_side and frame.error_code == ErrorCodes.NO_ERROR:
            return [], []
        return original(self, frame)

    cast("Any", BufferedH2Connection)._receive_goaway_frame = receive_goaway_frame  # noqa: SLF001  # as above
