"""Uploads taken apart (`multipart/form-data`, RFC 7578): the text of their fields, and how many files they bring."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"\r\n]{1,70})"|([^\s";,]{1,70}))', re.IGNORECASE)
_NAME = re.compile(rb';\s*name=(?:"((?:[^"\\\r\n]|\\.)*)"|([^\s;"]+))', re.IGNORECASE)
_FILE = re.compile(rb";\s*filename\*?=", re.IGNORECASE)
_MOST_PARTS = 1024
_LONGEST_FIELD = 1 << 20


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of an upload by name, and the number of files in it."""

    fields: Mapping[str, str]
    files: int


def read_form(body: bytes, *, content_type: str) -> Form:
    """Return what an upload holds; ValueError(reason) for one that could be read in more than one way."""
    match = _BOUNDARY.search(content_type)
    if match is None:
        raise ValueError("the upload names no boundary in its Content-Type")
    fields: dict[str, str] = {}
    files = 0
    for head, content in _parts(body, b"--" + (match[1] or match[2]).encode()):
        disposition = next((line for line in head.split(b"\r\n") if line.lower().startswith(b"content-disposition:")), b"")
        named = _NAME.search(disposition)
        if named is None:
            raise ValueError("a part of the upload has no name")
        if _FILE.search(disposition):
            files += 1
            continue
        name = (named[1] if named[1] is not None else named[2]).decode("utf-8", "replace")
        if name in fields and not name.endswith("[]"):
            raise ValueError(f"the field {name[:40]!r} stands twice in the upload")
        if len(content) > _LONGEST_FIELD:
            raise ValueError(f"the field {name[:40]!r} is longer than {_LONGEST_FIELD:,} bytes")
        try:
            fields[name] = content.decode()
        except UnicodeDecodeError:
            raise ValueError(f"the field {name[:40]!r} is no UTF-8 text") from None
    return Form(fields, files)


def _parts(body: bytes, delimiter: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield head and content of each part; a boundary stands at the beginning of a line."""
    start = 0 if body.startswith(delimiter) else body.find(b"\r\n" + delimiter) + 2
    if start == 1:
        raise ValueError("the upload does not hold the boundary that its Content-Type names")
    for _ in range(_MOST_PARTS):
        start += len(delimiter)
        if body.startswith(b"--", start):
            return
        head_start = body.find(b"\r\n", start)
        end = body.find(b"\r\n" + delimiter, max(head_start, 0))
        if head_start < 0 or end < 0:
            raise ValueError("the upload is cut short")
        head, gap, content = body[head_start + 2 : end].partition(b"\r\n\r\n")
        if not gap and body[head_start + 2 : head_start + 4] != b"\r\n":
            raise ValueError("a part of the upload has no end to its headers")
        yield head, content
        start = end + 2
    raise ValueError(f"the upload has more than {_MOST_PARTS} parts")
