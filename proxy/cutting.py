"""Ends a running call: at the client in the provider's own framing, and upstream with it."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportPrivateUsage=false, reportPrivateImportUsage=false
# mitmproxy is typed in part only, and offers no public way to end an answer

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from mitmproxy.proxy import layer
from mitmproxy.proxy.layers.http import HttpLayer, HttpStream
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    HttpEvent,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)

from alerting.finding import Refusal, Verdict
from metering.call import Ending
from proxy import flows, holding_up, refusal
from proxy.calls import Calls
from proxy.flows import LiveCall, Passage
from proxy.last_words import last_words
from proxy.refusal import Problem
from proxy.to_stream import Post, ToStream
from proxy.valve import Valve

ENDED = "tollwatch.ended_here"
"""Flow metadata: how the call ended, where the gateway answered a request that was with the provider, or broke off its answer."""

_BETWEEN_EVENTS_WITHIN = timedelta(seconds=2)
"""An upstream that does not end the event it began in this time is broken off in it."""

_WAITING = HttpStream.state_wait_for_response_headers
_STREAMING = HttpStream.state_stream_response_body


@dataclass
class Cut(ToStream):
    """Ends the stream of a call."""

    problem: Problem
    broken: bool
    """Whether it must end without a word: what was sent leaves no place for one."""

    def apply(self, http: HttpLayer, stream: HttpStream, passage: Passage, /) -> layer.CommandGenerator[None]:
        """End it, and its side of the upstream connection before it: the client may ask anew on hearing its end."""
        if stream._paused is not None:  # noqa: SLF001  # its end is being told; or it waits for its upstream, and is cut when that answers
            return
        holding_up.restore(stream)
        last = _last_events(stream, passage, self)
        if last and (server := http.connections.get(stream.context.server)) is not None:
            yield from http.event_to_child(server, RequestProtocolError(stream.stream_id, self.problem.message, ErrorCode.CANCEL))
        for event in last:
            yield from http.event_to_child(stream, event)


class Cutting:
    """Hears which calls to end, and ends them as soon as that can be said."""

    def __init__(self, *, calls: Calls, post: Post, finish: Callable[[LiveCall, Valve], None]) -> None:
        """`finish` lets an answer come to the end of the event that is under way."""
        self._calls = calls
        self._post = post
        self._finish = finish

    def cut(self, call_id: str, verdict: Verdict) -> None:
        """End a running call. One that has ended, or is being ended, stays as it is; so does a whole answer that is on its way."""
        live = self._calls.open.get(call_id)
        if live is None or live.cut is not None:
            return
        loop = asyncio.get_running_loop()
        if live.tap is None:
            live.cut = verdict
            loop.call_soon(self._end_in_words, live)
        elif live.tap.valve is not None:
            live.cut = verdict
            live.tap.valve.cut(partial(_soon, loop, self._end_in_words, live))
            if not live.tap.valve.shut:
                self._finish(live, live.tap.valve)
                loop.call_later(_BETWEEN_EVENTS_WITHIN.total_seconds(), self._too_late, live)
        elif live.call.streamed:
            live.cut = verdict
            loop.call_soon(self._end_without, live)

    def again(self, live: LiveCall) -> None:
        """End a call whose answer begins, if it was to be ended before and could not."""
        if (verdict := live.cut) is not None:
            live.cut = None
            self.cut(live.call.id, verdict)

    def break_off(self, live: LiveCall) -> None:
        """End a call whose answer can no longer be passed on."""
        said = f"{live.call.host} sent what its Content-Encoding is not; ask again, or set budgets to reserve: worst_case"
        problem = Problem(status=502, code="tollwatch_upstream", message=said, call_id=live.call.id)
        asyncio.get_running_loop().call_soon(self._post, live, Cut(live, problem, broken=True))

    def _too_late(self, live: LiveCall) -> None:
        """Break off a stream that did not come to the end of its event."""
        if not live.ended and live.tap is not None and live.tap.valve is not None and not live.tap.valve.shut:
            self._end(live, broken=True)

    def _end_in_words(self, live: LiveCall) -> None:
        self._end(live, broken=False)

    def _end_without(self, live: LiveCall) -> None:
        self._end(live, broken=True)

    def _end(self, live: LiveCall, *, broken: bool) -> None:
        if live.ended or live.cut is None:
            return
        verdict = live.cut
        problem = refusal.problem_of(
            verdict.refusal or Refusal.BUDGET,
            verdict.message,
            call_id=live.call.id,
            rule_id=verdict.rule_id,
            retry_after=verdict.retry_after,
        )
        self._post(live, Cut(live, problem, broken))


def _soon(loop: asyncio.AbstractEventLoop, end: Callable[[LiveCall], None], live: LiveCall) -> None:
    loop.call_soon(end, live)


def _last_events(stream: HttpStream, passage: Passage, cut: Cut) -> list[HttpEvent]:
    """Return what the stream is told as if its upstream had sent it; nothing where it has ended."""
    state, number = getattr(stream.server_state, "__func__", None), stream.stream_id
    if state is _WAITING:
        answer = refusal.answer(passage.dialect, cut.problem)
        stream.flow.metadata[ENDED] = Ending.CUT
        return [
            ResponseHeaders(number, flows.response(answer), end_stream=False),
            ResponseData(number, answer.body),
            ResponseEndOfMessage(number),
        ]
    if state is not _STREAMING:
        return []
    valve = None if cut.live.tap is None else cut.live.tap.valve
    response = stream.flow.response
    if cut.broken or valve is None or response is None or "content-length" in response.headers:
        stream.flow.metadata[ENDED] = Ending.UPSTREAM_RESET if cut.live.cut is None else Ending.CUT
        return [ResponseProtocolError(number, "cut by the gateway", ErrorCode.CANCEL)]
    valve.words = last_words(valve.frame, dialect=passage.dialect, wire_format=passage.wire_format, problem=cut.problem)
    return [ResponseEndOfMessage(number)]
