"""A provider on loopback: TLS and plain on one port, every request written down, answers recorded, canned or scripted."""

import asyncio
import contextlib
import json
import os
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import h11
import trustme

from tests.support import answers
from tests.support.answers import Answer

_TLS_HANDSHAKE = 0x16
HOSTS = ("api.openai.com", "api.anthropic.com", "api.groq.com", "provider.test", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request as it reached the provider."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    tls: bool

    @property
    def oracle_id(self) -> str | None:
        """The id that the client gave the request, so that it can be found in the ledger of clients."""
        return self.headers.get("x-oracle-id")


type Script = Callable[[Seen], Answer | None]


class _LeftError(Exception):
    """The client is gone."""


class Provider:
    """Runs in its own thread; a context manager. The gateway reaches it by `proxy.resolve: {"*": provider.address}`."""

    def __init__(self, folder: Path, *, hosts: Sequence[str] = HOSTS) -> None:
        self.seen: list[Seen] = []
        self.connections = 0
        self.script: Script = lambda _: None
        """Asked first for each request; None means the canned answer of the path."""
        self.queue: deque[Answer] = deque()
        """Answers to give before any other, in order."""
        self._log = os.open(folder / "provider.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._authority = trustme.CA()
        self.ca_file = folder / "provider-ca.pem"
        self._authority.cert_pem.write_to_path(self.ca_file)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(*hosts).configure_cert(self._tls)
        self._tls.set_alpn_protocols(["http/1.1"])
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="provider", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait(60)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._listener.close()
        os.close(self._log)

    def release(self) -> None:
        """End every answer that hangs."""
        self._loop.call_soon_threadsafe(self._released.set)

    def step(self) -> None:
        """Let a stepped answer send its next chunk, or end as it is to end."""
        self._loop.call_soon_threadsafe(self._steps.release)

    def forget(self) -> None:
        """Start anew: no request seen, no script."""
        self.seen.clear()
        self.queue.clear()
        self.script = lambda _: None
        self._loop.call_soon_threadsafe(self._released.clear)

    def wait_seen(self, count: int, *, seconds: float = 60) -> list[Seen]:
        """Return the requests once there are `count`; raise TimeoutError when they do not come."""
        deadline = time.monotonic() + seconds
        while len(self.seen) < count:
            if time.monotonic() > deadline:
                msg = f"the provider saw {len(self.seen)} requests in {seconds} s; expected {count}"
                raise TimeoutError(msg)
            threading.Event().wait(0.005)
        return self.seen

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop, self._released, self._steps = asyncio.Event(), asyncio.Event(), asyncio.Semaphore(0)
        self._started.set()
        async with asyncio.TaskGroup() as tasks:
            accepting = tasks.create_task(self._accept(tasks))
            await self._stop.wait()
            accepting.cancel()
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task():
                    task.cancel()

    async def _accept(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            client, _ = await self._loop.sock_accept(self._listener)
            tasks.create_task(self._connection(client))

    async def _connection(self, client: socket.socket) -> None:
        self.connections += 1
        with contextlib.suppress(OSError, _LeftError, h11.RemoteProtocolError, asyncio.IncompleteReadError):
            secure = await self._speaks_tls(client)
            reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(reader)
            transport, _ = await self._loop.connect_accepted_socket(lambda: protocol, client, ssl=self._tls if secure else None)
            writer = asyncio.StreamWriter(transport, protocol, reader, self._loop)
            try:
                await self._talk(reader, writer, secure=secure)
            finally:
                transport.abort()
        client.close()

    async def _speaks_tls(self, client: socket.socket) -> bool:
        readable = self._loop.create_future()
        self._loop.add_reader(client, lambda: readable.done() or readable.set_result(None))
        try:
            await readable
        finally:
            self._loop.remove_reader(client)
        first = client.recv(1, socket.MSG_PEEK)
        return bool(first) and first[0] == _TLS_HANDSHAKE

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, secure: bool) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        while seen := await self._request(connection, reader, secure=secure):
            self._write_down(seen)
            answer = self.queue.popleft() if self.queue else self.script(seen) or answers.live(seen.target, seen.body)
            await self._answer(connection, writer, seen, answer)
            if connection.our_state is not h11.DONE:
                return
            connection.start_next_cycle()

    async def _request(self, connection: h11.Connection, reader: asyncio.StreamReader, *, secure: bool) -> Seen | None:
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await reader.read(1 << 16))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                headers = {name.decode(): value.decode("latin-1") for name, value in request.headers}
                target, method = request.target.decode(), request.method.decode()
                return Seen(method=method, target=target, headers=headers, body=bytes(body), tls=secure)
            else:
                return None

    def _write_down(self, seen: Seen) -> None:
        row = {"method": seen.method, "target": seen.target, "host": seen.headers.get("host"), "id": seen.oracle_id}
        os.write(self._log, json.dumps(row).encode() + b"\n")
        self.seen.append(seen)

    async def _answer(self, connection: h11.Connection, writer: asyncio.StreamWriter, seen: Seen, answer: Answer) -> None:
        if answer.after_chunks == -1:
            return await self._break_off(writer, answer)
        headers = list(answer.headers)
        headers.append(("transfer-encoding", "chunked") if answer.streamed else ("content-length", str(sum(map(len, answer.chunks)))))
        writer.write(connection.send(h11.Response(status_code=answer.status, headers=headers)) or b"")
        for number, chunk in enumerate(answer.chunks if seen.method != "HEAD" else ()):
            if answer.stepped and number:
                await self._steps.acquire()
            if number == answer.after_chunks:
                await self._break_off(writer, answer)
            writer.write(connection.send(h11.Data(data=chunk)) or b"")
            await writer.drain()
            await asyncio.sleep(answer.pace_seconds)
        if answer.then != "end" and answer.after_chunks is None:
            await self._break_off(writer, answer)
        writer.write(connection.send(h11.EndOfMessage()) or b"")
        await writer.drain()
        return None

    async def _break_off(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        await writer.drain()
        if answer.then == "hang":
            await self._released.wait()
            if answer.after_chunks != -1:
                return
        if answer.then == "reset":
            plain: socket.socket = writer.get_extra_info("socket")
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        raise _LeftError
