"""The recordings of `../shared/corpus`: real exchanges with providers, each with the usage that the provider reported."""

import base64
import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
MISSING = f"SKIPPED: no recordings at {CORPUS}; put the corpus there to replay it"

UNMETERED_FLAVOURS = frozenset({"count_tokens", "batches"})
"""Answers with numbers that are not the usage of their call: the size of a prompt, and the results of a batch (one recording)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One recorded request with its answer. Bodies are identity-coded; `encoding` is what the provider had put on the wire."""

    number: int
    source: str
    provider: str
    flavour: str
    streamed: bool
    flags: tuple[str, ...]
    notes: tuple[str, ...]
    method: str
    url: SplitResult
    request_headers: Mapping[str, str]
    request_body: bytes
    status: int
    response_headers: Mapping[str, str]
    response_body: bytes
    encoding: str | None
    expected: Mapping[str, Any] | None

    @property
    def metered(self) -> bool:
        """Whether it is of a format whose usage must be read."""
        return self.flavour not in UNMETERED_FLAVOURS

    @property
    def host(self) -> str:
        """The host that the request was for."""
        return self.url.hostname or ""

    @property
    def target(self) -> str:
        """The path with its query, as on the request line."""
        return self.url.path + (f"?{self.url.query}" if self.url.query else "")

    @property
    def name(self) -> str:
        """Provider and flavour, as the corpus' own tables name them."""
        return f"{self.provider}.{self.flavour}"


def _body(part: Mapping[str, Any]) -> bytes:
    if (text := part.get("body_text")) is not None:
        return str(text).encode("utf-8", "surrogatepass")
    return base64.b64decode(part.get("body_b64") or "")


def _sent(record: Mapping[str, Any]) -> bytes:
    """Return the request's body; an upload that the recorder left out is stood in for by one field, so that it is an upload at all."""
    body = _body(record["request"])
    kind, _, boundary = record["request"]["headers"].get("content-type", "").partition("; boundary=")
    if kind != "multipart/form-data" or boundary.encode() in body:
        return body
    field = f'Content-Disposition: form-data; name="model"\r\n\r\n{record["model_request"] or "whisper-1"}'
    return f"--{boundary}\r\n{field}\r\n--{boundary}--\r\n".encode()


def _exchange(number: int, record: Mapping[str, Any]) -> Exchange:
    request, response = record["request"], record["response"]
    return Exchange(
        number=number,
        source=record["source"],
        provider=record["provider"],
        flavour=record["flavour"],
        streamed=bool(record["streaming"]),
        flags=tuple(record["flags"]),
        notes=tuple(record["usage_notes"]),
        method=request["method"],
        url=urlsplit(request["url"]),
        request_headers=request["headers"],
        request_body=_sent(record),
        status=response["status"],
        response_headers=response["headers"],
        response_body=_body(response),
        encoding=response.get("content_encoding_on_wire"),
        expected=record["expected_usage"],
    )


def exchanges(folder: Path = CORPUS) -> Iterator[Exchange]:
    """Return every recording, always in the same order and with the same number."""
    number = 0
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield _exchange(number, json.loads(line))
                number += 1
