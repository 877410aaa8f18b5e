"""Uploads taken apart (`multipart/form-data`, RFC 7578): the text of their fields, and what files they bring."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"\r\n]{1,70})"|([^\s";,]{1,70}))', re.IGNORECASE)
_BOUNDARIES = re.compile(r";\s*boundary[\s*\d]*=", re.IGNORECASE)
_NAME = re.compile(rb';\s*name=(?:"((?:[^"\\\r\n]|\\.)*)"|([^\s;"]+))', re.IGNORECASE)
_OTHER_NAME = re.compile(rb";\s*name\*", re.IGNORECASE)
_BEFORE_JSON = b"\xef\xbb\xbf \t\r\n"
_FILE = re.compile(rb";\s*filename\*?=", re.IGNORECASE)
_ENCODED = re.compile(
    rb"content-transfer-encoding:\s*(?!binary|7bit|8bit)|content-type:[^\r\n]*charset=(?![\"']?(?:utf-?8|us-ascii))", re.IGNORECASE
)
"""Parts that some servers decode once more."""
_MOST_PARTS = 1024
_LONGEST_FIELD = 1 << 20


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of an upload by name, and the files in it: their number, their fields, and the contents that may be lines of JSON."""

    fields: Mapping[str, str]
    files: int
    file_names: tuple[str, ...] = ()
    contents: tuple[bytes, ...] = ()


def read_form(body: bytes, *, content_type: str) -> Form:
    """Return what an upload holds; ValueError(reason) for one that could be read in more than one way."""
    match = _BOUNDARY.search(content_type)
    if match is None:
        raise ValueError("the upload names no boundary in its Content-Type")
    if len(_BOUNDARIES.findall(content_type)) > 1:
        raise ValueError("the upload names more than one boundary in its Content-Type")
    delimiter = b"--" + (match[1] or match[2]).encode()
    if body.count(b"\n" + delimiter) != body.count(b"\r\n" + delimiter):
        raise ValueError("a boundary of the upload follows a bare line feed")
    fields: dict[str, str] = {}
    file_names: list[str] = []
    contents: list[bytes] = []
    for head, content in _parts(body, delimiter):
        name, is_file = _named(head)
        if is_file:
            file_names.append(name)
            if content[:64].lstrip(_BEFORE_JSON)[:1] == b"{":
                contents.append(content)
            continue
        if name in fields and not name.endswith("[]"):
            raise ValueError(f"the field {name[:40]!r} stands twice in the upload")
        if len(content) > _LONGEST_FIELD:
            raise ValueError(f"the field {name[:40]!r} is longer than {_LONGEST_FIELD:,} bytes")
        try:
            fields[name] = content.decode()
        except UnicodeDecodeError:
            raise ValueError(f"the field {name[:40]!r} is no UTF-8 text") from None
    return Form(fields, len(file_names), tuple(file_names), tuple(contents))


def _named(head: bytes) -> tuple[str, bool]:
    """Return the name of a part, and whether it is a file; ValueError for headers that servers read in more than one way."""
    lines = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-disposition")]
    if len(lines) > 1 or b"\n" in head.replace(b"\r\n", b""):
        raise ValueError("a part of the upload has headers that can be read in two ways")
    named = _NAME.findall(lines[0]) if lines else []
    if not named:
        raise ValueError("a part of the upload has no name")
    if len(named) > 1 or _OTHER_NAME.search(lines[0]):
        raise ValueError("a part of the upload has more than one name")
    quoted, bare = named[0]
    if b"\\" in quoted:
        raise ValueError("the name of a part of the upload has a backslash")
    is_file = _FILE.search(lines[0]) is not None
    if not is_file and _ENCODED.search(head):
        raise ValueError("a field of the upload is encoded once more; send it as UTF-8 text")
    return (quoted or bare).decode("utf-8", "replace"), is_file


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
