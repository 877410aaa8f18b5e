"""Messages of `application/vnd.amazon.eventstream`, written byte by byte from its description."""

import base64
import json
import struct
from collections.abc import Mapping
from typing import Any
from zlib import crc32


def message(headers: Mapping[str, str] | bytes, payload: bytes) -> bytes:
    """Return one message; headers that are bytes are taken as they are."""
    block = headers if isinstance(headers, bytes) else b"".join(map(_header, headers, headers.values()))
    lengths = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    head = lengths + struct.pack(">I", crc32(lengths)) + block + payload
    return head + struct.pack(">I", crc32(head))


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return struct.pack(">B", len(key)) + key + struct.pack(">BH", 7, len(text)) + text


def event(kind: str, payload: bytes | Mapping[str, Any]) -> bytes:
    """Return an event as Bedrock sends it."""
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return message({":event-type": kind, ":content-type": "application/json", ":message-type": "event"}, data)


def chunk(inner: Mapping[str, Any]) -> bytes:
    """Return a `chunk` event of InvokeModelWithResponseStream round a maker's own JSON."""
    return event("chunk", {"bytes": base64.b64encode(json.dumps(inner).encode()).decode(), "p": "abcd"})


def exception(kind: str, text: str) -> bytes:
    """Return the exception that ends a stream."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return message(headers, json.dumps({"message": text}).encode())
