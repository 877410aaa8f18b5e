"""What the body of a request says: read by what its endpoint takes, whatever its Content-Type claims."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, cast

from alerting.finding import Refusal
from metering.call import Consumption, Part, Prompt
from metering.providers import FORMATS, FORMS
from metering.providers.forms import Form, read_form
from metering.providers.provider import Dialect
from metering.providers.routes import Route
from metering.providers.shapes import obj
from metering.providers.wire import RequestFacts
from proxy import decoding, inside, strict_json
from proxy.raw import RawRequest
from proxy.rejected import Rejected
from proxy.spelling import twin_of

BATCH: Final = "batch.create"

_AGREED_ENCODINGS: Final = ", ".join(decoding.CODINGS)
_CHARSET: Final = re.compile(r";\s*charset\s*=\s*[\"']?([^\"';,\s]*)", re.IGNORECASE)
_UTF_8: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_ASCII_BELOW: Final = re.compile(r"(?:iso-?8859-\d{1,2}|latin-?1|windows-125\d|cp125\d)", re.IGNORECASE)
"""Charsets in which ASCII means what it means in UTF-8."""
_NAMES_A_MODEL: Final = re.compile(rb"model|\\u00|\xff\xfe|\xfe\xff|\x00[mM]|[mM]\x00", re.IGNORECASE)
_WHITE: Final = b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n"
NOTHING: Final = RequestFacts(model=None, streamed=False, max_output_tokens=None, choices=1, prompt=Prompt(), tools=(), service_tier=None)


@dataclass(frozen=True, slots=True)
class Content:
    """What a body says, and what else it asks for."""

    facts: RequestFacts | None = None
    parts: tuple[Part, ...] = ()


EMPTY: Final = Content()


def read(raw: RawRequest, found: Route, *, cap: int) -> Content | Rejected:
    """Return what the body of a metered request says."""
    data = plain(raw, cap=cap)
    if isinstance(data, Rejected):
        return data
    content_type = raw.headers.get(b"content-type", b"").decode("latin-1")
    try:
        if (uploads := FORMS.get(found.wire_format or "")) and is_form(content_type):
            form = _form(raw, data, content_type)
            return Content(uploads.read_form(form.fields, files=form.files))
        if b"charset" in raw.headers.get(b"content-type", b"").lower():
            _check_charset(content_type, data)
        body = strict_json.parse(data)
        facts = FORMATS[found.wire_format or ""].read_request(body)
        parts = inside.batch(body, raw.provider) if found.wire_format == BATCH else ()
        if others := inside.other_models(body):
            parts += tuple(Part(model=model) for model in others if model != facts.model)
        if found.model is not None and facts.model is not None and facts.model != found.model and raw.provider.dialect is Dialect.OPENAI:
            parts += _other_than_path(raw, facts.model)
        return Content(facts, parts)
    except ValueError as error:
        return unreadable(error)


def read_unread(raw: RawRequest, found: Route, *, cap: int) -> Content | Rejected:
    """Return what the body of any other request says of a model; refused is what may name one in a way that cannot be told."""
    if not raw.body:
        return EMPTY
    data = plain(raw, cap=cap)
    if isinstance(data, Rejected):
        return data
    try:
        return _unread(raw, found, data)
    except ValueError as error:
        return unreadable(error)


def _unread(raw: RawRequest, found: Route, data: bytes) -> Content:
    content_type = raw.headers.get(b"content-type", b"").decode("latin-1")
    if _holds_requests(content_type) or ("multipart/" in content_type.lower() and b"content-type" in raw.repeated and data[:2] == b"--"):
        raise ValueError("what its Content-Type says can be read in two ways; send one request, or one upload")
    if is_form(content_type):
        return _unread_form(raw, found, _form(raw, data, content_type))
    if _takes_files(found) and inside.looks_like_lines(data):
        return Content(None, inside.lines(data, raw.provider))
    return _unread_json(data, found) if data.lstrip(_WHITE)[:1] in {b"{", b"["} else EMPTY


def _unread_json(data: bytes, found: Route) -> Content:
    try:
        body: object = strict_json.parse(data if data.lstrip()[:1] == b"{" else b'{"":%b}' % data)
    except ValueError:
        if _NAMES_A_MODEL.search(data):
            raise
        return EMPTY
    if found.operation == "files" and str(obj(body).get("purpose")).lower().startswith("batch"):
        raise ValueError("a file for a batch that comes in pieces cannot be judged; send it whole, to /files")
    model, parts = inside.unread(body, prompts=found.consumption is Consumption.UNREAD)
    return EMPTY if model is None and not parts else Content(replace(NOTHING, model=model), parts)


def _unread_form(raw: RawRequest, found: Route, form: Form) -> Content:
    purpose = form.fields.get("purpose", "")
    parts: tuple[Part, ...] = ()
    if purpose.lower().startswith("batch") and len(form.contents) < form.files:
        raise ValueError("a file for a batch does not begin as a line of JSON")
    for content in form.contents:
        if purpose.lower().startswith("batch") or (_takes_files(found) and inside.looks_like_lines(content)):
            parts += inside.lines(content, raw.provider)
    model = next((form.fields[name] for name in inside.MODEL_NAMES if form.fields.get(name)), None)
    for value in form.fields.values():  # a form may hold JSON: the session of a WebRTC call, the metadata of a file
        if value[:1] == "{":
            named, more = inside.unread(strict_json.parse(value.encode()), prompts=False)
            model, parts = model or named, (*parts, *more, *((Part(model=named),) if named else ()))
    return EMPTY if model is None and not parts else Content(replace(NOTHING, model=model), parts)


def _takes_files(found: Route) -> bool:
    return found.operation == "files"


def _other_than_path(raw: RawRequest, model: str) -> tuple[Part, ...]:
    """Azure goes by the deployment in the path alone; of other servers that copied such paths nobody can tell."""
    return () if raw.provider.id == "azure.ai.openai" else (Part(model=model),)


def _form(raw: RawRequest, data: bytes, content_type: str) -> Form:
    if b"content-type" in raw.repeated:
        raise ValueError("the upload has more than one Content-Type")
    form = read_form(data, content_type=content_type)
    for name in (*form.fields, *form.file_names):
        if (meant := twin_of(name)) is not None:
            raise ValueError(f"the field {name[:40]!a} of the upload may be read as {meant!r}; write it so, or leave it out")
    if held := {"model", "prompt", "stream", "n", "purpose"}.intersection(form.file_names):
        raise ValueError(f"the field {min(held)!r} of the upload is a file, and must be text")
    return form


def _holds_requests(content_type: str) -> bool:
    kind = content_type.lower().lstrip()
    return kind.startswith(("multipart/mixed", "application/http"))


def is_form(content_type: str) -> bool:
    """Say whether a body claims to be an upload."""
    return content_type.lower().lstrip().startswith("multipart/form-data")


def unreadable(error: ValueError) -> Rejected:
    """Return the refusal of what has no single meaning."""
    return Rejected(Refusal.UNREADABLE, f"The request has no single meaning: {error}"[:500])


def _check_charset(content_type: str, data: bytes) -> None:
    for charset in _CHARSET.findall(content_type):
        name = cast("str", charset).lower()
        if name in _UTF_8 or (_ASCII_BELOW.fullmatch(name) and data.isascii()):
            continue
        raise ValueError(f"its Content-Type says charset {name[:40]!a}; send JSON in UTF-8")


def plain(raw: RawRequest, *, cap: int) -> bytes | Rejected:
    """Return a body without its content coding."""
    field = raw.headers.get(b"content-encoding")
    if field is None:
        return raw.body
    return _decoded(field, raw.body, repeated=b"content-encoding" in raw.repeated, cap=cap)


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


HEADER_MODELS: Final = (b"x-ms-model-mesh-model-name", b"azureml-model-deployment")


def header_models(headers: Mapping[bytes, bytes]) -> tuple[Part, ...]:
    """Return the models that headers choose (Azure's model mesh does)."""
    return tuple(Part(model=value.decode("latin-1").strip()) for name in HEADER_MODELS if (value := headers.get(name)))
