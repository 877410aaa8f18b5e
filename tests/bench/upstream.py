"""The provider of the bench, a process of its own: `python -m tests.bench.upstream [CERT KEY]`; it prints its port.

It answers `/v1/chat/completions` with 2 KB of JSON, or, when asked to stream, with as many paced events as `x-chunks` says.
"""

import asyncio
import json
import ssl
import sys

from tests.support.answers import chat_usage

PACE_SECONDS = 0.002
_TEXT = "It is two pence to cross, and one more for a horse. " * 36
_BASE = {"id": "chatcmpl-bench", "object": "chat.completion", "created": 1_760_000_000, "model": "gpt-4o-mini-2024-07-18"}
_CHOICE = {"index": 0, "message": {"role": "assistant", "content": _TEXT}, "finish_reason": "stop"}
_BODY = json.dumps({**_BASE, "choices": [_CHOICE], "usage": chat_usage()}).encode()
_UNARY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_1\r\ncontent-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: req_1\r\ntransfer-encoding: chunked\r\n\r\n"


def _chunk(payload: object) -> bytes:
    data = b"data: " + (payload if isinstance(payload, bytes) else json.dumps(payload).encode()) + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


_PART = {**_BASE, "object": "chat.completion.chunk", "usage": None}
_EVENT = _chunk({**_PART, "choices": [{"index": 0, "delta": {"content": " pence"}, "finish_reason": None}]})
_LAST = _chunk({**_PART, "choices": [], "usage": chat_usage()}) + _chunk(b"[DONE]") + b"0\r\n\r\n"


class Upstream(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # a stream transport
        self._buffer = bytearray()

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._buffer[:end]).lower() + b"\r\n"
        length = _number(head, b"content-length: ")
        if len(self._buffer) < end + 4 + length:
            return
        del self._buffer[: end + 4 + length]
        if chunks := _number(head, b"x-chunks: "):
            self._transport.write(_STREAM_HEAD + _EVENT)
            asyncio.get_running_loop().call_later(PACE_SECONDS, self._more, chunks - 1)
            return
        self._transport.write(_UNARY)

    def _more(self, left: int) -> None:
        if self._transport.is_closing():
            return
        if left == 0:
            self._transport.write(_LAST)
            return
        self._transport.write(_EVENT)
        asyncio.get_running_loop().call_later(PACE_SECONDS, self._more, left - 1)


def _number(head: bytes, name: bytes) -> int:
    at = head.find(name)
    return 0 if at < 0 else int(head[at + len(name) : head.index(b"\r\n", at)])


async def main(certificate: list[str]) -> None:
    """Serve until the parent closes standard input."""
    loop = asyncio.get_running_loop()
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    server = await loop.create_server(Upstream, "127.0.0.1", 0, ssl=context, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
