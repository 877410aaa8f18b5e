"""New and changed alerts, and calls as they end, as server-sent events (`/api/stream`)."""

import asyncio
import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Literal

import orjson
from aiohttp import web
from pydantic import Field

from alerting.changes import AlertChange, Position
from api.alert_json import alert_json
from api.authorize import token_of
from api.errors import ApiError, InvalidError
from api.params import Query
from api.route import Ask, Route
from api.scopes import Scope
from api.streams import Listener, Streams, TooManyStreamsError
from api.times import rfc3339
from storage.database import StoreError

_SCOPE: Final = Scope.ALERTS_READ
_BATCH: Final = 100
_FAREWELL_SECONDS: Final = 5.0
"""How long a reader that was dropped has to take what is on its way to it."""
_HEADERS: Final = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}


class End(StrEnum):
    """Why a stream ends; the last event says it."""

    SHUTDOWN = "shutdown"
    TOO_SLOW = "too_slow"
    UNAUTHORIZED = "unauthorized"
    STORE_FAILED = "store_failed"


_TOLD: Final = {
    End.SHUTDOWN: "the gateway is ending: connect again, with the last id",
    End.TOO_SLOW: "events were not taken as fast as they came: connect again with the last id, and read calls from /api/calls",
    End.UNAUTHORIZED: "the token is no longer good",
    End.STORE_FAILED: "the store cannot be read: connect again later, with the last id",
}


class TooSlowError(Exception):
    """The reader takes nothing of what it is sent."""


class StreamQuery(Query):
    """What to stream, and from where on."""

    types: str = Field(default="alerts,calls", pattern="^(alerts|calls)(,(alerts|calls))?$")
    """`alerts`, `calls`, or both with a comma."""
    after: str | None = Field(default=None, max_length=40)
    """The id of the last event that was taken; `0` is the beginning of what is kept. Without it the stream begins now."""


async def get_stream(ask: Ask) -> web.StreamResponse:
    """Answer `GET /api/stream`: events `alert`, `call`, `notice` (a trial of a channel), and `end`, which is the last and says why.

    A stream goes on after the id in `Last-Event-ID`, which counts before `after`. Calls are live only: `/api/calls` has those before.
    """
    query, streams = ask.query_as(StreamQuery), ask.services.streams
    types = frozenset(query.types.split(","))
    position = await _begin(ask, query, streams)
    if ask.request.method == "HEAD":
        return web.Response(headers=_HEADERS)
    try:
        with streams.listen(calls="calls" in types) as listener:
            response = web.StreamResponse(headers=_HEADERS)
            await response.prepare(ask.request)
            await _Stream(ask, response, listener, types=types, position=position).run()
            return response
    except TooManyStreamsError as error:
        raise ApiError(503, str(error), headers={"Retry-After": "10"}) from error


async def _begin(ask: Ask, query: StreamQuery, streams: Streams) -> Position:
    """Return after what the stream begins. Raises InvalidError for an id that was never given."""
    latest = await streams.changes.latest()
    name, given = "Last-Event-ID", ask.request.headers.get("Last-Event-ID")
    if not given:
        name, given = "after", query.after
    if given is None:
        return latest
    try:
        position = Position.parse(given)
    except ValueError as error:
        raise InvalidError(f"invalid {name}: {error}", param=name) from error
    if position.history > latest.history or position.raises > latest.raises:
        raise InvalidError(f"invalid {name}: no event has had this id", param=name)
    return position


class _Stream:
    """One reader's way through the events, at its own pace."""

    def __init__(self, ask: Ask, response: web.StreamResponse, listener: Listener, *, types: frozenset[str], position: Position) -> None:
        self._ask = ask
        self._response = response
        self._listener = listener
        self._types = types
        self._position = position
        self._streams = ask.services.streams
        self._bearer = token_of(ask.request)
        self._spoke = self._asked = self._look_at = time.monotonic()

    async def run(self) -> None:
        """Send events until the reader leaves, lags, or may no longer read, or the gateway ends."""
        try:
            await self._send("ready", {"types": sorted(self._types)}, more="retry: 3000\n")
            while (end := await self._ends()) is None:
                if not (await self._alerts() | await self._calls() | await self._notices()):
                    await self._rest()
        except ConnectionError:
            return  # the reader left
        except TooSlowError:
            end = End.TOO_SLOW
        except StoreError:
            end = End.STORE_FAILED
        await self._farewell(end)

    async def _ends(self) -> End | None:
        if self._ask.request.transport is None:
            raise ConnectionResetError
        if self._streams.closing:
            return End.SHUTDOWN
        if self._listener.lags:
            return End.TOO_SLOW
        now = time.monotonic()
        if now - self._asked >= self._streams.pace.recheck:
            self._asked = now
            if not await self._ask.services.access.still(self._bearer, _SCOPE):
                return End.UNAUTHORIZED
        return None

    async def _alerts(self) -> bool:
        """Send the next changes of alerts; return whether there were any. Calls that end in between are no reason to look more often."""
        now = time.monotonic()
        if "alerts" not in self._types or now < self._look_at:
            return False
        changes = await self._streams.changes.after(self._position, limit=_BATCH)
        for change in changes:
            self._position = change.position
            await self._send("alert", _change_json(change))
        self._look_at = now if len(changes) >= _BATCH else now + self._streams.pace.look
        return bool(changes)

    async def _calls(self) -> bool:
        """Send the calls that ended meanwhile; return whether there were any."""
        waiting = self._listener.calls
        some = [waiting.popleft() for _ in range(min(len(waiting), _BATCH))]
        for call_id in some:
            if (row := await self._streams.ledger.row(call_id)) is not None:
                await self._send("call", row.as_json())
        return bool(some)

    async def _notices(self) -> bool:
        """Send what is no alert and no call (trials of channels); return whether there was any."""
        waiting = self._listener.notices
        some = [waiting.popleft() for _ in range(len(waiting))] if "alerts" in self._types else []
        for notice in some:
            await self._send("notice", notice)
        return bool(some)

    async def _rest(self) -> None:
        """Wait for calls, for the end, or until it is time to look at the alerts again."""
        try:
            async with asyncio.timeout(self._streams.pace.look):
                await self._listener.wake.wait()
        except TimeoutError:
            pass
        self._listener.wake.clear()
        if time.monotonic() - self._spoke >= self._streams.pace.heartbeat:
            await self._write(b": heartbeat\n\n")

    async def _send(self, event: Literal["ready", "alert", "call", "notice"], body: Mapping[str, object], *, more: str = "") -> None:
        await self._write(f"event: {event}\nid: {self._position}\n{more}data: ".encode() + orjson.dumps(body) + b"\n\n")

    async def _write(self, data: bytes) -> None:
        try:
            async with asyncio.timeout(self._streams.pace.patience):
                await self._response.write(data)
        except TimeoutError as error:
            raise TooSlowError from error
        self._spoke = time.monotonic()

    async def _farewell(self, end: End) -> None:
        """Say why it ends; what a slow reader does not take soon is given up."""
        body = orjson.dumps({"reason": end.value, "message": _TOLD[end], "after": str(self._position)})
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._response.write(f"event: end\nid: {self._position}\ndata: ".encode() + body + b"\n\n")
                await self._response.write_eof()
        except (ConnectionError, TimeoutError):
            if (transport := self._ask.request.transport) is not None:
                transport.abort()


def _change_json(change: AlertChange) -> dict[str, object]:
    return {
        "change": change.event,
        "at": rfc3339(change.at),
        "actor": change.actor,
        "feed": change.feed,
        "note": change.note,
        "alert": alert_json(change.alert),
    }


ROUTES = (
    Route(
        method="GET",
        path="/api/stream",
        handler=get_stream,
        scope=_SCOPE,
        query=StreamQuery,
        answers={200: None},
        text_answers=("text/event-stream",),
        summary="Follow alerts and calls as they happen",
    ),
)
