"""One meaning: what policies see is what the provider will see, or the request is refused."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from alerting.finding import Refusal
from metering.call import Consumption, Endpoint
from metering.providers import FORMATS, FORMS
from metering.providers.catalog import Provider
from metering.providers.conversations import model_of_query
from metering.providers.forms import read_form
from metering.providers.routes import WEBSOCKET, Route, route
from metering.providers.wire import RequestFacts
from proxy import decoding, strict_json
from proxy.raw import RawRequest

IN_THREAD_FROM = 256 << 10
"""Bodies of this size and more are read in a thread."""
LONGEST_MODEL = 256
"""Characters of a model's name: it stands in every row and alert, and no provider has a longer one."""

_ODD_PATH = re.compile(
    r"""//                                     # an empty segment
      | /\.{1,2}(?:/|$)                        # a step up or to nowhere
      | [\\\#;\x00-\x20\x7f-\U0010ffff]        # what some servers cut off, or read as another sign
      | %(?![0-9A-Fa-f]{2})                    # no escape at all
      | %(?:25|2[DdEe]|3[0-9]|4[1-9A-Fa-f]|5[0-9AaFf]|6[1-9A-Fa-f]|7[0-9AaEe])   # a sign that needs no escape, or one escaped twice
    """,
    re.VERBOSE,
)
_JSON_ENDPOINTS = frozenset({Endpoint.CHAT, Endpoint.RESPONSES, Endpoint.MESSAGES, Endpoint.EMBEDDINGS})
_AGREED_ENCODINGS = ", ".join(decoding.CODINGS)


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why a request has no single meaning, or is not read."""

    refusal: Refusal
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Canonical:
    """The one meaning of a request; when it has none, as much of it as is certain."""

    route: Route
    facts: RequestFacts | None
    rejected: Rejected | None = None
    websocket: bool = False

    @property
    def model(self) -> str | None:
        """The model that the path names (where it does, providers do not look at the body's), else the body's."""
        model = self.route.model or (self.facts.model if self.facts else None)
        return model and model[:LONGEST_MODEL]


def route_of(provider: Provider, method: str, path: str, headers: Mapping[bytes, bytes]) -> Route:
    """Return what method and path alone say (remembered)."""
    return _route(provider, method, path.partition("?")[0], websocket=is_websocket(headers))


@lru_cache(maxsize=2048)
def _route(provider: Provider, method: str, path: str, *, websocket: bool) -> Route:
    return route(provider, method, path, websocket=websocket)


def is_websocket(headers: Mapping[bytes, bytes]) -> bool:
    """Say whether the request asks to become a WebSocket."""
    return headers.get(b"upgrade", b"").lower() == b"websocket"


def takes_json(found: Route) -> bool:
    """Say whether the endpoint takes JSON only, so that its smaller body limit applies; the others take uploads too."""
    if found.wire_format is not None:
        return found.wire_format not in FORMS
    return found.endpoint in _JSON_ENDPOINTS


def canonicalise(raw: RawRequest, *, cap: int) -> Canonical:
    """Return the meaning of a request; it takes longer than a moment from IN_THREAD_FROM bytes on."""
    found = route_of(raw.provider, raw.method, raw.path, raw.headers)
    websocket = is_websocket(raw.headers)
    if rejected := _head(raw):
        return Canonical(route=found, facts=None, rejected=rejected, websocket=websocket)
    if found.wire_format == WEBSOCKET:
        return _upgrade(found, raw.path)
    if found.consumption is not Consumption.METERED or found.wire_format is None or websocket:
        rejected_model = odd_model(found.model)
        return Canonical(route=found, facts=None, rejected=rejected_model, websocket=websocket)
    facts = _body(raw, found.wire_format, cap=cap)
    if isinstance(facts, Rejected):
        return Canonical(route=found, facts=None, rejected=facts)
    return Canonical(route=found, facts=facts, rejected=odd_model(facts.model) or odd_model(found.model))


def _upgrade(found: Route, path: str) -> Canonical:
    """Return the meaning of an upgrade to a WebSocket whose events are read; its model stands in the query."""
    try:
        model = found.model or model_of_query(path)
    except ValueError as error:
        return Canonical(route=found, facts=None, rejected=Rejected(Refusal.UNREADABLE, f"The request has no single meaning: {error}"))
    return Canonical(route=replace(found, model=model), facts=None, rejected=odd_model(model))


def _head(raw: RawRequest) -> Rejected | None:
    for name in raw.names:
        if same_host(name) != same_host(raw.host):
            return Rejected(
                Refusal.UNREADABLE, f"The request goes to {raw.host} but names {name[:100]!r}; CONNECT, SNI and Host must agree"
            )
    if b"host" in raw.repeated:
        return Rejected(Refusal.UNREADABLE, "The request has more than one Host header; send one")
    path = raw.path.partition("?")[0]
    if not path.startswith("/") or _ODD_PATH.search(path):
        return Rejected(
            Refusal.UNREADABLE,
            f"The path {path[:200]!r} can be read in more than one way; send it normalised, without escapes it does not need",
        )
    return None


@lru_cache(maxsize=1024)
def same_host(name: str) -> str:
    """Return a host name in the form in which two of them are compared."""
    return name.lower().rstrip(".")


def _body(raw: RawRequest, wire_format: str, *, cap: int) -> RequestFacts | Rejected:
    data = raw.body
    if coding := raw.headers.get(b"content-encoding"):
        decoded = _decoded(coding, data, repeated=b"content-encoding" in raw.repeated, cap=cap)
        if isinstance(decoded, Rejected):
            return decoded
        data = decoded
    try:
        if (uploads := FORMS.get(wire_format)) and _is_form(content_type := raw.headers.get(b"content-type", b"").decode("latin-1")):
            form = read_form(data, content_type=content_type)
            return uploads.read_form(form.fields, files=form.files)
        return FORMATS[wire_format].read_request(strict_json.parse(data))
    except ValueError as error:
        return Rejected(Refusal.UNREADABLE, f"The request has no single meaning: {error}"[:500])


def _is_form(content_type: str) -> bool:
    return content_type.lower().lstrip().startswith("multipart/form-data")


def _decoded(field: bytes, data: bytes, *, repeated: bool, cap: int) -> bytes | Rejected:
    coding = field.decode("latin-1").strip().lower()
    if coding == "identity" and not repeated:
        return data
    if repeated or coding not in decoding.CODINGS:
        return Rejected(
            Refusal.UNSUPPORTED_ENCODING,
            f"Content-Encoding {coding[:60]!r} is not read; send the body plain, or once encoded with one of: {_AGREED_ENCODINGS}",
        )
    try:
        return decoding.decode(coding, data, cap=cap)
    except decoding.TooLargeError:
        return Rejected(
            Refusal.TOO_LARGE,
            f"The {coding} body decodes to more than it may; the limit is {cap:,} bytes (proxy.body_limits.json) and 100 times its size",
        )
    except decoding.DecodingError as error:
        return Rejected(Refusal.UNREADABLE, f"The body is not what its Content-Encoding {coding!r} says: {error}"[:500])


def odd_model(model: str | None) -> Rejected | None:
    """Return why a model's name is not taken, or None."""
    if model is not None and len(model) > LONGEST_MODEL:
        return Rejected(
            Refusal.UNREADABLE, f"The model name {model[:60]!a}… has {len(model):,} characters; at most {LONGEST_MODEL} are read"
        )
    if model is None or (model.isascii() and model.isprintable() and model.strip() == model):
        return None
    if model.isprintable() and model.strip() == model and unicodedata.normalize("NFKC", model) == model:
        return None
    return Rejected(Refusal.UNREADABLE, f"The model name {model[:60]!a} has signs that look like others or like none; write it plainly")
