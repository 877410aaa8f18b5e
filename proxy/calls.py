"""The life of a call: read, judged, ended once."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial

from alerting.finding import Refusal, Verdict
from metering.call import Call, Consumption, Ending, Prompt, Reply
from metering.reading import Reading, ReplyFacts
from metering.retry_after import retry_after
from metering.usage import NO_USAGE
from proxy import canonical, decoding
from proxy.canonical import Canonical
from proxy.flows import LiveCall
from proxy.framing import framing_of
from proxy.gateway import Clock, Gate, Record, Telemetry
from proxy.gauge import Gauge
from proxy.identity import Identity
from proxy.raw import RawRequest
from proxy.tap import Tap
from proxy.valve import Valve
from storage.ids import uuid7_text

_NO_PROMPT = Prompt()


class Calls:
    """Begins and ends calls; needs no proxy, so that another data plane can use it."""

    def __init__(self, *, gate: Gate, identity: Identity, now: Clock, telemetry: Telemetry, record: Record | None = None) -> None:
        self._gate = gate
        self._identity = identity
        self._now = now
        self._telemetry = telemetry
        self._record = record
        self.open: dict[str, LiveCall] = {}
        """The admitted calls that have not ended, by call id."""
        self._judging: dict[str, LiveCall] = {}
        self.idle = asyncio.Event()
        """Set while no call is open."""
        self.idle.set()

    async def meaning(self, raw: RawRequest, *, cap: int) -> Canonical:
        """Return the meaning of a request, read in a thread when it is large."""
        if len(raw.body) >= canonical.IN_THREAD_FROM:
            return await asyncio.to_thread(canonical.canonicalise, raw, cap=cap)
        return canonical.canonicalise(raw, cap=cap)

    def call(self, raw: RawRequest, meaning: Canonical, *, request_bytes: int) -> Call:
        """Return the call that a request is."""
        return call_of(raw, meaning, identity=self._identity, at=self._now(), request_bytes=request_bytes)

    async def judge(self, live: LiveCall, *, rejected: canonical.Rejected | None) -> Verdict:
        """Return the verdict on a call; an allowed one is open from then on."""
        call = live.call
        self._judging[call.id] = live
        try:
            if rejected is None:
                verdict = await self._gate.admit(call)
            else:
                verdict = await self._gate.refuse(call, refusal=rejected.refusal, message=rejected.message)
        finally:
            del self._judging[call.id]
        live.verdict = verdict
        if verdict.blocked:
            live.ended = True
            self._telemetry.call(call.provider, "block", Ending.REFUSED, (self._now() - call.started_at).total_seconds())
            if self._record is not None:
                self._record(call, verdict, Ending.REFUSED, None, None)
        else:
            self.open[call.id] = live
            self.idle.clear()
        return verdict

    def leave(self, connection_id: str) -> None:
        """Let no call wait any longer whose client connection is closed."""
        for live in [*self._judging.values()]:
            if live.connection_id == connection_id:
                self._gate.leave(live.call.id)

    def tap(self, live: LiveCall, *, status: int, headers: Mapping[str, str]) -> Tap:
        """Return the tap for the answer to a call; its headers are looked up by lower-case name."""
        if status == 429:
            live.retry_after = retry_after(headers, at=self._now())
        content_type, coding = headers.get("content-type"), headers.get("content-encoding", "").strip().lower()
        reader = self._gate.reader(live.call, content_type=content_type, headers=headers)
        valve = self._valve(live.call, content_type or "", coding) if status == 200 and self._gate.may_cut(live.call.id) else None
        live.tap = Tap(reader, coding=coding, now=self._now, fail=self._telemetry.hook_failure, valve=valve)
        return live.tap

    def _valve(self, call: Call, content_type: str, coding: str) -> Valve | None:
        """Return the valve of a stream whose events are told apart."""
        if coding not in {"", "identity", *decoding.CODINGS}:
            return None
        frame = framing_of(content_type, gemini=call.wire_format == "gemini.stream_generate_content")
        return None if frame is None else Valve(frame, gauge=Gauge(call.wire_format), progress=partial(self._progress, call.id))

    def _progress(self, call_id: str, tokens: int) -> None:
        self._gate.progress(call_id, output_tokens=tokens)

    def end(self, live: LiveCall, ending: Ending, *, status: int | None, sent: bool = True) -> None:
        """Record the end of a call; only the first end counts."""
        if live.ended or live.finishing:
            return
        facts = None if live.tap is None else live.tap.finish()
        self.end_with(live, ending, facts, status=status, sent=sent)

    async def end_slowly(self, live: LiveCall, ending: Ending, *, status: int | None) -> None:
        """Record the end of a call whose answer takes long to read."""
        if live.tap is None or live.ended or live.finishing:
            return
        live.finishing = True
        facts = await asyncio.to_thread(live.tap.finish)
        self.end_with(live, ending, facts, status=status, sent=True)

    def end_with(self, live: LiveCall, ending: Ending, facts: ReplyFacts | None, *, status: int | None, sent: bool) -> None:
        """Record the end of a call with what its answer said."""
        if live.ended:
            return
        live.ended = True
        self.open.pop(live.call.id, None)
        if not self.open:
            self.idle.set()
        tap = live.tap
        reply = Reply(
            ending=ending,
            status=status,
            first_byte_at=tap.first_byte_at if tap else None,
            ended_at=self._now(),
            response_bytes=tap.passed if tap else live.frames,
            sent=sent,
            retry_after=live.retry_after,
        )
        reading = self._gate.settle(live.call, reply, facts)
        self._count(live, reply, reading)

    def _count(self, live: LiveCall, reply: Reply, reading: Reading) -> None:
        call, verdict = live.call, live.verdict
        took = (reply.ended_at - call.started_at).total_seconds()
        action = verdict.action if verdict else "allow"
        self._telemetry.call(call.provider, action, reply.ending, took, reading.usage, reading.cost_nano)
        if self._record is not None and verdict is not None:
            self._record(call, verdict, reply.ending, reply, reading)


def too_large(limit: int, *, uploads: bool) -> canonical.Rejected:
    """Return the refusal of a body beyond its limit."""
    key = "upload" if uploads else "json"
    return canonical.Rejected(
        Refusal.TOO_LARGE, f"The request body is larger than {limit:,} bytes; send less, or raise proxy.body_limits.{key}"
    )


def _kept(user_agent: bytes | None) -> Mapping[str, str]:
    return {"user-agent": user_agent.decode("latin-1")[:200]} if user_agent else {}


def call_of(raw: RawRequest, meaning: Canonical, *, identity: Identity, at: datetime, request_bytes: int) -> Call:
    """Return the call that a request is."""
    route, facts = meaning.route, meaning.facts
    caller = identity.caller(raw)
    agent = raw.headers.get(b"user-agent")
    call = Call(
        id=uuid7_text(at),
        started_at=at,
        door=raw.door,
        provider=raw.provider.id,
        service=caller.service or raw.provider.name,
        operation=route.operation,
        endpoint=route.endpoint,
        wire_format=route.wire_format,
        consumption=Consumption.UNREAD if meaning.websocket else route.consumption,
        method=raw.method,
        host=raw.host,
        path=raw.path.partition("?")[0],
        model=meaning.model,
        streamed=meaning.websocket or (facts is not None and facts.streamed),
        caller=caller,
        request_bytes=request_bytes,
        prompt=facts.prompt if facts else _NO_PROMPT,
        max_output_tokens=facts.max_output_tokens if facts else None,
        choices=facts.choices if facts else 1,
        tools=facts.tools if facts else (),
        service_tier=facts.service_tier if facts else None,
        rpc=facts.rpc if facts else None,
        models=facts.models if facts else (),
        asked=facts.asked if facts else NO_USAGE,
        variant=facts.variant if facts else None,
        headers=_kept(agent),
        parts=meaning.parts,
    )
    if caller.service is None and identity.names_services and (service := identity.service(call)):
        return replace(call, service=service)
    return call
