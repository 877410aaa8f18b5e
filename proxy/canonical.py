"""One meaning: what policies see is what the provider will see, or the request is refused."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl, unquote

from alerting.finding import Refusal
from metering.call import Consumption, Endpoint, Part
from metering.providers import FORMS, QUERIED, SOUNDS
from metering.providers.catalog import Provider
from metering.providers.conversations import model_of_query
from metering.providers.routes import JSON_RPC, WEBSOCKET, Route, route
from metering.providers.wire import RequestFacts
from proxy import bodies, json_rpc, model_names
from proxy.bodies import Content
from proxy.hosts import same_host
from proxy.raw import RawRequest
from proxy.rejected import Rejected

IN_THREAD_FROM: Final = 256 << 10
"""Bodies of this size and more are read in a thread."""
LONGEST_MODEL: Final = model_names.LONGEST

_ODD_PATH = re.compile(
    r"""//                                     # an empty segment
      | /\.{1,2}(?:/|$)                        # a step up or to nowhere
      | [\\\#;\x00-\x20\x7f-\U0010ffff]        # what some servers cut off, or read as another sign
      | %(?![0-9A-Fa-f]{2})                    # no escape at all
      | %(?:[01][0-9A-Fa-f]|7[Ff])             # a control character
      | %(?:25|2[DdEe]|3[0-9BbFf]|23|4[1-9A-Fa-f]|5[0-9AaCcFf]|6[1-9A-Fa-f]|7[0-9AaEe])   # needs no escape, or cuts off, or escaped twice
    """,
    re.VERBOSE,
)
_JSON_ENDPOINTS = frozenset({Endpoint.CHAT, Endpoint.RESPONSES, Endpoint.MESSAGES, Endpoint.EMBEDDINGS})
_OTHER_METHOD = (b"x-http-method-override", b"x-http-method", b"x-method-override")
_MODEL_QUERY = frozenset({"model", "model_id", "modelid", "deployment"})
_NESTED_REQUESTS = re.compile(r"/batch(?:/|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Canonical:
    """The one meaning of a request; when it has none, as much of it as is certain."""

    route: Route
    facts: RequestFacts | None
    rejected: Rejected | None = None
    websocket: bool = False
    named: str | None = None
    """The model that path or body name, in its plain form."""
    parts: tuple[Part, ...] = ()
    """What else is asked for."""

    @property
    def model(self) -> str | None:
        """The model that the path names (where it does, providers do not look at the body's), else the body's."""
        model = self.named or self.route.model or (self.facts.model if self.facts else None)
        return model and model[:LONGEST_MODEL]


def route_of(provider: Provider, method: str, path: str, headers: Mapping[bytes, bytes]) -> Route:
    """Return what method and path alone say (remembered)."""
    return _route(provider, method, path.partition("?")[0], websocket=is_websocket(headers))


@lru_cache(maxsize=2048)
def _route(provider: Provider, method: str, path: str, *, websocket: bool) -> Route:
    return route(provider, method, path, websocket=websocket)


def is_websocket(headers: Mapping[bytes, bytes]) -> bool:
    """Say whether the request asks to become a WebSocket."""
    return b"upgrade" in headers and headers[b"upgrade"].lower() == b"websocket"


def takes_json(found: Route) -> bool:
    """Say whether the endpoint takes JSON only, so that its smaller body limit applies; the others take uploads too."""
    if found.wire_format is not None:
        return found.wire_format not in FORMS and found.wire_format not in SOUNDS
    return found.endpoint in _JSON_ENDPOINTS


def canonicalise(raw: RawRequest, *, cap: int) -> Canonical:
    """Return the meaning of a request; it takes longer than a moment from IN_THREAD_FROM bytes on."""
    found = route_of(raw.provider, raw.method, raw.path, raw.headers)
    websocket = is_websocket(raw.headers)
    if rejected := _head(raw):
        return Canonical(route=found, facts=None, rejected=rejected, websocket=websocket)
    if found.wire_format == WEBSOCKET:
        return _upgrade(found, raw.path)
    if found.wire_format == JSON_RPC:
        return _rpc(raw, found, websocket=websocket, cap=cap)
    metered = found.consumption is Consumption.METERED and found.wire_format is not None and not websocket
    if metered and found.wire_format in QUERIED:
        content = _queried(raw, found, cap=cap)
    else:
        content = bodies.read(raw, found, cap=cap) if metered else _unread(raw, found, cap=cap)
    return meaning_of(raw, found, content, websocket=websocket)


def meaning_of(raw: RawRequest, found: Route, content: Content | Rejected, *, websocket: bool = False) -> Canonical:
    """Return the meaning of a request whose body was read."""
    if isinstance(content, Rejected):
        return Canonical(route=found, facts=None, rejected=content, websocket=websocket)
    facts, parts = content.facts, content.parts
    if not raw.headers.keys().isdisjoint(bodies.HEADER_MODELS):
        parts += bodies.header_models(raw.headers)
    named = found.model or (facts.model if facts else None)
    rejected = odd_model(facts.model) if facts else None
    rejected = rejected or odd_model(found.model) or _odd_part(parts)
    plain = None if named is None or rejected else model_names.plain(raw.provider, named)
    if parts:
        parts = tuple(_plain_part(raw.provider, part) for part in parts)
    return Canonical(route=found, facts=facts, rejected=rejected, websocket=websocket, named=plain, parts=parts)


def _plain_part(provider: Provider, part: Part) -> Part:
    return part if part.model is None else replace(part, model=model_names.plain(provider, part.model))


def _odd_part(parts: Iterable[Part]) -> Rejected | None:
    return next((rejected for part in parts if (rejected := odd_model(part.model))), None)


def _unread(raw: RawRequest, found: Route, *, cap: int) -> Content | Rejected:
    """Return what a request says that is not metered: no rule about models is dodged by an endpoint that nobody reads."""
    if found.operation == "telemetry" or (found.consumption is Consumption.RESULT and not raw.body):
        return bodies.EMPTY
    content = bodies.read_unread(raw, found, cap=cap)
    if "?" not in raw.path or isinstance(content, Rejected):
        return content
    asked = _asked_in_query(raw)
    if not asked:
        return content
    if content.facts is None and found.model is None:
        return Content(replace(bodies.NOTHING, model=asked[0].model), (*asked[1:], *content.parts))
    return Content(content.facts, (*content.parts, *asked))


def _asked_in_query(raw: RawRequest) -> tuple[Part, ...]:
    query = parse_qsl(raw.path.partition("?")[2], keep_blank_values=False)
    return tuple(Part(model=value) for name, value in query if name.lower() in _MODEL_QUERY)


def _queried(raw: RawRequest, found: Route, *, cap: int) -> Content | Rejected:
    """Return what a request says whose model stands in its query; its body may be a sound."""
    if found.wire_format in SOUNDS:
        content = _unread(raw, found, cap=cap)
        return (
            content
            if isinstance(content, Rejected)
            else replace(content, facts=replace(content.facts or bodies.NOTHING, max_output_tokens=0))
        )
    content, asked = bodies.read(raw, found, cap=cap), _asked_in_query(raw)
    if isinstance(content, Rejected) or content.facts is None or not asked:
        return content
    return Content(replace(content.facts, model=asked[0].model), (*content.parts, *asked[1:]))


def _rpc(raw: RawRequest, found: Route, *, websocket: bool, cap: int) -> Canonical:
    """Return the meaning of a request to a node or a tool."""
    facts = json_rpc.meaning(raw, websocket=websocket, cap=cap)
    if isinstance(facts, Rejected):
        return Canonical(route=found, facts=None, rejected=facts, websocket=websocket)
    return Canonical(route=found, facts=facts)


def _upgrade(found: Route, path: str) -> Canonical:
    """Return the meaning of an upgrade to a WebSocket whose events are read; its model stands in the query."""
    try:
        model = found.model or model_of_query(path)
    except ValueError as error:
        return Canonical(route=found, facts=None, rejected=bodies.unreadable(error))
    return Canonical(route=replace(found, model=model), facts=None, rejected=odd_model(model))


def _head(raw: RawRequest) -> Rejected | None:
    for name in raw.names:
        if same_host(name) != same_host(raw.host):
            return _no_single(f"The request goes to {raw.host} but names {name[:100]!r}; CONNECT, SNI and Host must agree")
    if b"host" in raw.repeated:
        return _no_single("The request has more than one Host header; send one")
    if (why := _odd_path(raw.provider, raw.method, raw.path.partition("?")[0]) or _other_method(raw)) is not None:
        return _no_single(why)
    if (framing := raw.headers.get(b"transfer-encoding")) is not None and framing.strip().lower() != b"chunked":
        return Rejected(Refusal.UNSUPPORTED_ENCODING, "Of transfer encodings only chunked is read; send the body plain")
    return None


def _other_method(raw: RawRequest) -> str | None:
    """Return why a request may be taken for one of another method, or None."""
    for name in _OTHER_METHOD:
        if name in raw.headers and raw.headers[name].decode("latin-1").strip().upper() != raw.method.upper():
            return f"The header {name.decode()} asks for another method than {raw.method}; send that one"
    if "?" in raw.path and "httpmethod" in raw.path.lower():
        return f"The query asks for another method than {raw.method}; send that one"
    return None


def _no_single(message: str) -> Rejected:
    return Rejected(Refusal.UNREADABLE, message)


@lru_cache(maxsize=2048)
def _odd_path(provider: Provider, method: str, path: str) -> str | None:
    """Return why a path can be read in more than one way, or None."""
    if not path.startswith("/") or _ODD_PATH.search(path):
        return f"The path {path[:200]!r} can be read in more than one way; send it normalised, without escapes it does not need"
    if "%" in path:
        raw, decoded = route(provider, method, path), route(provider, method, unquote(path))
        if (raw.operation, raw.wire_format, raw.model) != (decoded.operation, decoded.wire_format, decoded.model):
            return f"The path {path[:200]!r} is another one once it is decoded; send it without escapes"
    if provider.id in {"gcp.gemini", "gcp.vertex_ai"} and _NESTED_REQUESTS.match(path):
        return "Requests inside of a request are not read; send them one by one"
    return None


def odd_model(model: str | None) -> Rejected | None:
    """Return why a model's name is not taken, or None."""
    if model is None or (why := model_names.oddity(model)) is None:
        return None
    return Rejected(Refusal.UNREADABLE, why)


__all__ = [
    "IN_THREAD_FROM",
    "LONGEST_MODEL",
    "Canonical",
    "Rejected",
    "canonicalise",
    "is_websocket",
    "meaning_of",
    "odd_model",
    "route_of",
    "takes_json",
]
