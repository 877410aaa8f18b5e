"""Pictures, sounds, films and documents in the requests of all formats: what each is, and how large."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import cast

from metering.call import Medium, MediumKind
from metering.image_headers import HEADER, image_size
from metering.providers.shapes import Json, text

_KINDS: Mapping[str, MediumKind] = {
    "image": "image",
    "image_url": "image",
    "input_image": "image",
    "computer_screenshot": "image",
    "audio": "audio",
    "input_audio": "audio",
    "audio_url": "audio",
    "video": "video",
    "video_url": "video",
    "input_video": "video",
    "file": "document",
    "file_url": "document",
    "input_file": "document",
    "document": "document",
    "document_url": "document",
}
MEDIA_TYPES = frozenset(_KINDS)
"""The `type` of content parts that are no text."""

_INSIDE = ("source", "image_url", "input_audio", "audio_url", "file", "file_url", "video_url", "document_url", "image", "document", "video")
_CONTENT = ("data", "bytes", "url", "file_data", "image_url", "file_url", "base64")
_TYPE = ("media_type", "mime_type", "mimeType", "format")
_DEEPEST = 4


def medium_of(part: Json, kind: MediumKind | None = None) -> Medium:
    """Return what a content part holds. `kind` is given where the part itself does not name its type."""
    named = kind or _KINDS.get(text(part.get("type")) or "", "document")
    content = mime = detail = None
    for each in _levels(part, 0):
        content = content or _first(each, _CONTENT)
        mime = mime or _first(each, _TYPE)
        detail = detail or text(each.get("detail"))
    return medium(content, kind=named, mime=mime, detail=detail)


def medium(content: str | None, *, kind: MediumKind, mime: str | None = None, detail: str | None = None) -> Medium:
    """Return what base64 text, a data URL or a plain URL holds; only the first bytes are decoded.

    `mime` (`application/pdf`, `image/png`) corrects `kind` where it is more exact.
    """
    encoded = content or ""
    if encoded[:5].lower() == "data:":
        described, _, encoded = encoded.partition(",")
        mime = described[5:].partition(";")[0] or mime
    elif "://" in encoded[:16]:
        return Medium(kind=_kind(mime) or kind, detail=detail)
    head = _decoded(encoded[: HEADER * 4 // 3])
    size = image_size(head)
    width, height = size or (None, None)
    found = "image" if size else _kind(mime) or kind
    return Medium(kind=found, width=width, height=height, detail=detail, size=len(encoded) * 3 // 4)


def _kind(mime: str | None) -> MediumKind | None:
    main = (mime or "").partition("/")
    if main[0] in {"image", "audio", "video"}:
        return cast("MediumKind", main[0])
    return "document" if main[1] else None


def _levels(part: Json, depth: int) -> Iterator[Json]:
    yield part
    if depth < _DEEPEST:
        for name in _INSIDE:
            inside = part.get(name)
            if isinstance(inside, dict):
                yield from _levels(cast("Json", inside), depth + 1)


def _first(part: Json, names: tuple[str, ...]) -> str | None:
    return next((found for name in names if (found := text(part.get(name)))), None)


def _decoded(encoded: str) -> bytes:
    """Return the bytes of a beginning of base64 text, plain or URL-safe; nothing for what is none."""
    try:
        cleaned = encoded.encode("ascii").translate(_URL_SAFE, b"\r\n ")
        return base64.b64decode(cleaned[: len(cleaned) // 4 * 4])
    except (UnicodeEncodeError, binascii.Error):
        return b""


_URL_SAFE = bytes.maketrans(b"-_", b"+/")
