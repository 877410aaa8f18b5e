"""A provider's WebSockets on loopback: Realtime and Responses, over TLS and plain, every event written down."""

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any, Self

import trustme
from aiohttp import WSMsgType, web

from tests.support import answers
from tests.support.answers import TEXT

REALTIME_USAGE = {
    "total_tokens": 30,
    "input_tokens": 20,
    "output_tokens": 10,
    "input_token_details": {
        "text_tokens": 8,
        "audio_tokens": 12,
        "cached_tokens": 5,
        "cached_tokens_details": {"text_tokens": 2, "audio_tokens": 3},
    },
    "output_token_details": {"text_tokens": 4, "audio_tokens": 6},
}


class SocketProvider:
    """Answers `/v1/realtime` and `/v1/responses`; `hang` stops each response before its end."""

    def __init__(self, folder: Path, *, host: str = "api.openai.com") -> None:
        authority = trustme.CA()
        self.ca_file = folder / "sockets-ca.pem"
        authority.cert_pem.write_to_path(self.ca_file)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(host).configure_cert(self._tls)
        self.events: list[dict[str, Any]] = []
        """What came, in order."""
        self.hang = False
        self.leave = False
        """End the connection without a word after the first delta."""
        self.error: dict[str, Any] | None = None
        """What a `response.create` is answered with."""
        self.closed: asyncio.Event = asyncio.Event()
        self.close_code: int | None = None
        self._number = 0

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/v1/realtime", self._realtime)
        app.router.add_get("/v1/responses", self._responses)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        ports: list[int] = []
        for context in (None, self._tls):
            site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
            await site.start()
            server = site._server  # noqa: SLF001  # aiohttp tells a port of its own choice no other way
            ports.append(server.sockets[0].getsockname()[1])
        self.plain, self.secure = (f"127.0.0.1:{port}" for port in ports)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _each(self, request: web.Request, socket: web.WebSocketResponse) -> Any:
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                event = json.loads(message.data)
                self.events.append(event)
                yield event
        self.close_code = socket.close_code
        self.closed.set()

    async def _realtime(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        model = request.query.get("model", "gpt-realtime")
        started = False
        async for event in self._each(request, socket):
            if not started:
                started = True
                await socket.send_json({"type": "session.created", "event_id": "e1", "session": {"type": "realtime", "model": model}})
            kind = event["type"]
            if kind == "response.create" and self.error:
                await socket.send_json({"type": "error", "event_id": "e2", "error": self.error})
            elif kind == "response.create":
                await self._respond(socket)
            elif kind == "input_audio_buffer.commit":  # as voice detection does it by itself
                await self._respond(socket)
                said = {"type": "conversation.item.input_audio_transcription.completed", "item_id": "i1", "transcript": "the toll"}
                usage = {"type": "tokens", "input_tokens": 9, "output_tokens": 3, "total_tokens": 12}
                await socket.send_json(said | {"usage": usage})
            elif kind == "session.update":
                await socket.send_json({"type": "session.updated", "event_id": "e3", "session": {"model": model, **event["session"]}})
            elif kind == "conversation.item.create":
                await socket.send_json({"type": "conversation.item.added", "event_id": "e4", "item": event["item"]})
        return socket

    async def _respond(self, socket: web.WebSocketResponse) -> None:
        self._number += 1
        response = {"id": f"resp_{self._number}", "object": "realtime.response", "status": "in_progress", "output": [], "usage": None}
        place = {"response_id": response["id"], "item_id": "i", "output_index": 0, "content_index": 0}
        await socket.send_json({"type": "response.created", "event_id": "e5", "response": response})
        await socket.send_json({"type": "response.output_audio.delta", "event_id": "e6", **place, "delta": "UklGRg=="})
        for part in TEXT:
            await socket.send_json({"type": "response.output_text.delta", "event_id": "e7", **place, "delta": part})
            if self.leave:
                request_transport = socket._req.transport  # noqa: SLF001  # a broken connection, not a close
                request_transport.abort()
                return
        if not self.hang:
            done = {**response, "status": "completed", "usage": REALTIME_USAGE}
            await socket.send_json({"type": "response.done", "event_id": "e8", "response": done})

    async def _responses(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        async for event in self._each(request, socket):
            if event["type"] != "response.create":
                await socket.send_json({"type": "error", "status": 500, "error": {"type": "server_error", "message": "broken"}})
                continue
            if self.error:
                await socket.send_json({"type": "error", "status": 400, "error": self.error})
                continue
            chunks = answers.responses({"stream": True, "model": event.get("model")}).chunks
            for chunk in chunks[:-1] if self.hang else chunks:
                await socket.send_str(chunk.partition(b"data: ")[2].strip().decode())
        return socket
