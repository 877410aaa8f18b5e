"""Between mitmproxy's flows and the words of this product."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# mitmproxy is typed in part only

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

from mitmproxy import http

from alerting.finding import Verdict
from metering.call import Call, Door
from metering.providers.provider import Dialect, Provider
from proxy.peer import Peer
from proxy.raw import Fields, headers_of
from proxy.refusal import Answer
from proxy.tap import Tap

LIMIT = "tollwatch.body_limit"
"""Flow metadata: the most bytes of request body that are kept."""
OVER_LIMIT = "tollwatch.over_limit"
"""Flow metadata: set once the body is larger; the rest of it is read and thrown away, so that the client gets to read its refusal."""

_PASSAGE = "tollwatch"
_SERVES_OTHERS = frozenset({Dialect.BEDROCK, Dialect.GEMINI})
_DIALECTS = {"openai": Dialect.OPENAI, "anthropic": Dialect.ANTHROPIC}
"""By the maker in the name of a wire format."""


@dataclass(slots=True, kw_only=True)
class LiveCall:
    """A call between its admission and its end."""

    call: Call
    connection_id: str
    verdict: Verdict | None = None
    tap: Tap | None = None
    frames: int = 0
    ended: bool = False
    retry_after: timedelta | None = None
    """How long the provider asks to wait, where it answered 429 and says so."""
    finishing: bool = False
    """Whether its end is known, and only its answer is still being read."""
    held_up: bool = False
    """Whether its answer is held up until a budget has more for it."""
    cut: Verdict | None = None
    """Why the call is being ended while it runs, once it is."""


@dataclass(slots=True, kw_only=True)
class Passage:
    """What the addon knows of one flow to a provider."""

    door: Door
    provider: Provider
    headers: dict[bytes, bytes] = field(repr=False)
    repeated: frozenset[bytes]
    names: tuple[str, ...]
    proxy_user: str | None
    limit: int
    peer: Peer | None = None
    wire_format: str | None = None
    live: LiveCall | None = None
    as_events: bool = True
    """Whether the client of a Gemini stream asked for events; without that it reads a JSON array, also of an error."""
    hides_usage: bool = False
    """Whether the gateway asked for a usage chunk that the client did not ask for."""

    @property
    def dialect(self) -> Dialect:
        """Whose error shape the client understands: Amazon and Google also serve the APIs of OpenAI and Anthropic."""
        own = self.provider.dialect
        if self.wire_format == "gemini.stream_generate_content" and not self.as_events:
            return Dialect.GEMINI_ARRAY
        return _DIALECTS.get((self.wire_format or "").partition(".")[0], own) if own in _SERVES_OTHERS else own


def passage_of(flow: http.HTTPFlow) -> Passage | None:
    """Return what `requestheaders` found out, or None for a flow that is no call to a provider."""
    return cast("Passage | None", flow.metadata.get(_PASSAGE))


def live_of(flow: http.HTTPFlow) -> LiveCall | None:
    """Return the call that a flow is, once it was judged."""
    passage = passage_of(flow)
    return None if passage is None else passage.live


def length(headers: Mapping[bytes, bytes]) -> int:
    """Return how long a body is said to be; 0 where nothing is said."""
    value = headers.get(b"content-length", b"")
    return int(value) if value.isdigit() else 0


def set_passage(flow: http.HTTPFlow, passage: Passage) -> None:
    """Remember a passage with its flow."""
    flow.metadata[_PASSAGE] = passage


def request_fields(flow: http.HTTPFlow) -> Fields:
    """Return the header fields of the request as they came."""
    return flow.request.headers.fields


def read_headers(flow: http.HTTPFlow) -> tuple[dict[bytes, bytes], frozenset[bytes]]:
    """Return the request's headers by lower-case name, and the repeated names; HTTP/2's :authority stands in for Host."""
    headers, repeated = headers_of(request_fields(flow))
    if flow.request.authority and b"host" not in headers:
        headers[b"host"] = flow.request.data.authority
    return headers, repeated


def replace_body(flow: http.HTTPFlow, body: bytes) -> None:
    """Send another request body, and ask for an answer that needs no decoding."""
    fields = tuple(field for field in request_fields(flow) if field[0].lower() != b"accept-encoding")
    changed = tuple((name, b"%d" % len(body)) if name.lower() == b"content-length" else (name, value) for name, value in fields)
    flow.request.headers.fields = (*changed, (b"accept-encoding", b"identity"))
    flow.request.raw_content = body


def pass_decoded(flow: http.HTTPFlow) -> None:
    """Say that the answer is not compressed any more."""
    if flow.response is not None:
        flow.response.headers.pop("content-encoding", None)
        leave_length_open(flow)


def leave_length_open(flow: http.HTTPFlow) -> None:
    """Say no longer how long the answer is, since a part of it may be left out."""
    if flow.response is not None and flow.response.headers.pop("content-length", None) is not None and flow.request.is_http11:
        flow.response.headers["transfer-encoding"] = "chunked"


def answer_now(flow: http.HTTPFlow, answer: Answer) -> None:
    """Answer before the body came; what comes of it is dropped."""
    flow.metadata[LIMIT] = 0
    respond(flow, answer)


def respond(flow: http.HTTPFlow, answer: Answer) -> None:
    """Answer a flow here, so that nothing is sent upstream."""
    flow.response = response(answer)


def response(answer: Answer) -> http.Response:
    """Return the response of an answer."""
    return http.Response.make(answer.status, answer.body, http.Headers(answer.headers))
