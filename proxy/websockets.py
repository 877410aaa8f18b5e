"""WebSockets to OpenAI: each response in them is judged, recorded and metered as a call of its own."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# mitmproxy is typed in part only

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

import orjson
from mitmproxy import http
from mitmproxy.websocket import WebSocketMessage

from alerting.finding import Refusal, Verdict
from metering.call import Consumption, Ending
from metering.providers.conversations import Ask, Conversation, conversation
from metering.providers.provider import Dialect
from metering.providers.realtime import TRANSCRIBED
from metering.providers.routes import WEBSOCKET, Route
from metering.providers.shapes import Json, count, load, obj, text
from metering.providers.wire import RequestFacts
from proxy import canonical, refusal, strict_json, unread_websockets, websocket_layer
from proxy.calls import Calls
from proxy.canonical import Canonical, Rejected
from proxy.flows import LiveCall, Passage
from proxy.raw import RawRequest
from proxy.refusal import Problem

_LAST = frozenset({"response.done", "response.completed", "response.incomplete", "response.failed"})
_STREAM = {"content-type": "text/event-stream"}

type Inject = Callable[[http.HTTPFlow, bytes], None]
"""Sends a text message to the client of a flow, after the hook that runs."""


@dataclass(slots=True, kw_only=True)
class _Session:
    """One open WebSocket."""

    raw: RawRequest
    connection_id: str
    conversation: Conversation
    waiting: deque[tuple[str | None, LiveCall]] = field(default_factory=deque[tuple[str | None, LiveCall]])
    """What the client asked for and the provider has not begun, with the ids of the client's events."""
    running: dict[str, LiveCall] = field(default_factory=dict[str, LiveCall])
    """By the ids of the responses."""


class WebSockets:
    """Reads the messages of both sides as they pass."""

    def __init__(self, *, calls: Calls, inject: Inject) -> None:
        self._calls = calls
        self._inject = inject
        self._sessions: dict[str, _Session] = {}

    def message(self, flow: http.HTTPFlow, passage: Passage) -> Awaitable[None] | None:
        """Judge a message of the client before it is sent; count one of the provider. None of them is kept."""
        websocket, live = flow.websocket, passage.live
        if websocket is None:
            return None
        message = websocket.messages[-1]
        del websocket.messages[:-1]
        if live is None or message.injected:
            return None
        if not message.from_client:
            live.frames += len(message.content)
        if live.call.wire_format != WEBSOCKET:
            named = message.from_client and unread_websockets.may_name_a_model(message.content)
            return unread_websockets.judge(self._calls, flow, passage, message) if named else None
        session = self._session(flow, passage, live)
        return self._from_client(flow, session, message) if message.from_client else self._from_provider(flow, session, message)

    def end(self, flow: http.HTTPFlow) -> None:
        """End the responses that a closed WebSocket left open."""
        session = self._sessions.pop(flow.id, None)
        if session is None or flow.websocket is None:
            return
        ending = Ending.CLIENT_ABORT if flow.websocket.closed_by_client else Ending.UPSTREAM_RESET
        for live in (*session.running.values(), *(live for _, live in session.waiting)):
            self._calls.end(live, ending, status=101)

    def _session(self, flow: http.HTTPFlow, passage: Passage, live: LiveCall) -> _Session:
        found = self._sessions.get(flow.id)
        if found is None:
            raw = RawRequest(
                door=passage.door,
                provider=passage.provider,
                method=flow.request.method,
                host=flow.request.host,
                path=flow.request.path,
                names=passage.names,
                headers=passage.headers,
                repeated=passage.repeated,
                body=b"",
                proxy_user=passage.proxy_user,
                peer=passage.peer,
            )
            talk = conversation(flow.request.path, live.call.model)
            found = self._sessions[flow.id] = _Session(raw=raw, connection_id=flow.client_conn.id, conversation=talk)
        return found

    # --- the client ------------------------------------------------------------------------------------------------------

    def _from_client(self, flow: http.HTTPFlow, session: _Session, message: WebSocketMessage) -> Awaitable[None] | None:
        if len(message.content) >= canonical.IN_THREAD_FROM:
            return self._read_slowly(flow, session, message)
        return self._judged(flow, session, message, _read(session, message))

    async def _read_slowly(self, flow: http.HTTPFlow, session: _Session, message: WebSocketMessage) -> None:
        if (pending := self._judged(flow, session, message, await asyncio.to_thread(_read, session, message))) is not None:
            await pending

    def _judged(
        self, flow: http.HTTPFlow, session: _Session, message: WebSocketMessage, read: "tuple[Json, Ask | None] | Rejected"
    ) -> Awaitable[None] | None:
        if isinstance(read, Rejected):
            return self._judge(flow, session, message, ({}, Ask(session.conversation.unasked({}), costs=False)), read)
        event, ask = read
        if ask is None:
            session.conversation.sent(event)
            return None
        return self._judge(flow, session, message, (event, ask), canonical.odd_model(ask.facts.model))

    async def _judge(
        self, flow: http.HTTPFlow, session: _Session, message: WebSocketMessage, read: tuple[Json, Ask], rejected: Rejected | None
    ) -> None:
        """Let an event go on once its intent is durable, or tell the client why it does not."""
        event, ask = read
        live, verdict = await self._admit(session, ask.facts, size=len(message.content), costs=ask.costs, rejected=rejected)
        event_id = text(event.get("event_id"))
        if verdict.blocked:
            message.drop()  # type: ignore[no-untyped-call]  # mitmproxy is typed in part
            kind = verdict.refusal or Refusal.POLICY
            problem = refusal.problem_of(
                kind, verdict.message, call_id=live.call.id, rule_id=verdict.rule_id, retry_after=verdict.retry_after
            )
            self._inject(flow, error_event(problem, event_id=event_id))
            return
        if event:
            session.conversation.sent(event)
        if ask.costs:
            session.waiting.append((event_id, live))
        else:
            self._calls.end_with(live, Ending.COMPLETED, None, status=101, sent=True)

    async def _admit(
        self, session: _Session, facts: RequestFacts, *, size: int, costs: bool, rejected: Rejected | None = None
    ) -> tuple[LiveCall, Verdict]:
        operation, endpoint, wire_format = session.conversation.kind
        consumption = Consumption.METERED if costs else Consumption.FREE
        route = Route(operation=operation, endpoint=endpoint, wire_format=wire_format, consumption=consumption)
        call = self._calls.call(session.raw, Canonical(route=route, facts=facts, rejected=rejected), request_bytes=size)
        live = LiveCall(call=call, connection_id=session.connection_id)
        verdict = await self._calls.judge(live, rejected=rejected)
        if costs and not verdict.blocked:
            self._calls.tap(live, status=200, headers=_STREAM)
        return live, verdict

    # --- the provider ----------------------------------------------------------------------------------------------------

    def _from_provider(self, flow: http.HTTPFlow, session: _Session, message: WebSocketMessage) -> Awaitable[None] | None:
        if not message.is_text:
            return None
        event = obj(load(message.content))
        kind = text(event.get("type")) or ""
        session.conversation.heard(event)
        if kind == "error":
            self._fail(session, event, message.content)
            return None
        if kind == TRANSCRIBED:
            return self._unasked(flow, session, event, message)
        if not kind.startswith("response."):
            return None
        live = self._live(session, event)
        if live is None:
            return self._unasked(flow, session, event, message) if _response_id(event) else None
        self._show(flow, session, live, event, message.content)
        return None

    def _live(self, session: _Session, event: Json) -> LiveCall | None:
        """Return the call that an event belongs to: by its response, by its turn, or as the only one."""
        response_id = _response_id(event)
        if response_id is None:
            return next(iter(session.running.values())) if len(session.running) == 1 else None
        if (found := session.running.get(response_id)) is None and session.waiting:
            found = session.running[response_id] = session.waiting.popleft()[1]
        return found

    async def _unasked(self, flow: http.HTTPFlow, session: _Session, event: Json, message: WebSocketMessage) -> None:
        """Record what began without the client's word. It cannot be refused before; when it should have been, the WebSocket closes."""
        live, verdict = await self._admit(session, session.conversation.unasked(event), size=0, costs=True)
        if verdict.blocked:
            websocket_layer.refuse(flow, verdict.message)
            return
        session.running[_response_id(event) or live.call.id] = live
        self._show(flow, session, live, event, message.content)

    def _show(self, flow: http.HTTPFlow, session: _Session, live: LiveCall, event: Json, content: bytes) -> None:
        kind = text(event.get("type")) or ""
        if live.tap is not None and not kind.endswith("audio.delta"):
            live.tap(_framed(content))
        if kind in _LAST or kind == TRANSCRIBED:
            for key in [key for key, running in session.running.items() if running is live]:
                del session.running[key]
            self._calls.end(live, Ending.COMPLETED, status=101)
        elif live.cut is not None:
            self._cut(flow, live, live.cut)

    def _cut(self, flow: http.HTTPFlow, live: LiveCall, verdict: Verdict) -> None:
        """End a response that may not go on: the client is told why, and the WebSocket closes, for nothing else stops the provider."""
        self._calls.end(live, Ending.CUT, status=101)
        kind = verdict.refusal or Refusal.BUDGET
        problem = refusal.problem_of(kind, verdict.message, call_id=live.call.id, rule_id=verdict.rule_id)
        self._inject(flow, error_event(problem, event_id=None))
        websocket_layer.refuse(flow, verdict.message)

    def _fail(self, session: _Session, event: Json, content: bytes) -> None:
        """End what an error is about: the event that it names, else what has waited longest, else what runs."""
        named = text(obj(event.get("error")).get("event_id"))
        refused = next((each for each in session.waiting if named is None or each[0] == named), None)
        if refused is not None:
            session.waiting.remove(refused)
            self._calls.end(refused[1], Ending.COMPLETED, status=count(event.get("status")) or 400)
        elif named is None and session.conversation.kind[0] == "chat":
            for live in (*session.running.values(),):
                if live.tap is not None:
                    live.tap(_framed(content))
                self._calls.end(live, Ending.COMPLETED, status=101)
            session.running.clear()


def _read(session: _Session, message: WebSocketMessage) -> tuple[Json, Ask | None] | Rejected:
    """Return a client's event and what it asks for, or why it has no single meaning."""
    if not message.is_text:
        return Rejected(Refusal.UNREADABLE, "The event has no single meaning: the message is binary, and events are text")
    try:
        event = strict_json.parse(message.content)
        return event, session.conversation.ask(event)
    except ValueError as error:
        return Rejected(Refusal.UNREADABLE, f"The event has no single meaning: {error}"[:500])


def _response_id(event: Json) -> str | None:
    return text(event.get("response_id")) or text(obj(event.get("response")).get("id"))


def _framed(content: bytes) -> bytes:
    """Return an event as a server-sent one; a line break in JSON stands between values only."""
    return b"data: %b\n\n" % content.replace(b"\r", b" ").replace(b"\n", b" ")


def error_event(problem: Problem, *, event_id: str | None) -> bytes:
    """Return a refusal as the `error` event that both protocols know."""
    said = orjson.loads(refusal.answer(Dialect.OPENAI, problem).body)["error"]
    retry = {"retry-after": str(_seconds(problem.retry_after))} if problem.retry_after else {}
    return orjson.dumps(
        {
            "type": "error",
            "event_id": f"event_{problem.call_id}",
            "status": problem.status,
            "code": problem.code,
            "message": problem.message,
            "param": None,
            "sequence_number": 0,
            "error": {**said, "event_id": event_id},
            "headers": {"x-should-retry": "true" if problem.may_retry else "false", **retry},
        }
    )


def _seconds(span: timedelta) -> int:
    return max(1, -(-int(span.total_seconds() * 1000) // 1000))
