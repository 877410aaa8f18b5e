"""Messages of `application/vnd.amazon.eventstream` taken apart as their bytes arrive; no I/O, any split.

A message is, big-endian: total length (4 bytes), length of the headers (4), CRC32 of these eight (4), headers, payload, CRC32 of all
before it (4). A header is: length of the name (1), name, type of the value (1), value.
https://smithy.io/2.0/aws/amazon-eventstream.html
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

MAX_MESSAGE = 24 << 20
"""AWS sends at most 16 MiB in one message; a length beyond this one is none."""
MAX_HEADERS = 128 << 10

_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
_OVERHEAD = _PRELUDE.size + _CRC.size
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Type of a header's value → its length: true, false, byte, short, integer, long, timestamp, UUID. Texts (7) and bytes (6) say theirs."""
_TEXT = 7
_USUAL = 256
"""Bytes of headers that are remembered: all events of a kind have the same."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message. Of its headers only the texts are kept (`:event-type`, `:message-type`, `:exception-type` and their like)."""

    headers: Mapping[str, str]
    payload: bytes


class MessageSplitter:
    """Turns bytes into messages, each checked against its sums. After a fault nothing more is read, for nothing says where to go on."""

    __slots__ = ("_buffer", "_needed", "fault")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._needed = _PRELUDE.size
        self.fault: str | None = None
        """What is wrong with the stream, or None."""

    def feed(self, data: bytes) -> list[Message]:
        """Return the messages that these bytes complete."""
        if self.fault is not None:
            return []
        self._buffer += data
        found: list[Message] = []
        at = 0
        while len(self._buffer) - at >= self._needed:
            if self._needed == _PRELUDE.size:
                self._needed = self._length(at)
            elif message := self._message(at):
                found.append(message)
                at += self._needed
                self._needed = _PRELUDE.size
        del self._buffer[:at]
        return found

    @property
    def midway(self) -> bool:
        """Whether the bytes so far end inside a message."""
        return bool(self._buffer)

    def _fail(self, reason: str) -> int:
        """Give up; return how many bytes would be needed to go on."""
        self.fault = reason
        self._buffer.clear()
        return _PRELUDE.size

    def _length(self, at: int) -> int:
        total, headers, claimed = _PRELUDE.unpack_from(self._buffer, at)
        if crc32(self._buffer[at : at + 8]) != claimed:
            return self._fail("the prelude of a message does not match its CRC32")
        if not _OVERHEAD <= total <= MAX_MESSAGE or headers > min(MAX_HEADERS, total - _OVERHEAD):
            return self._fail(f"a message claims {total} bytes, {headers} of them headers")
        return int(total)

    def _message(self, at: int) -> Message | None:
        whole = bytes(memoryview(self._buffer)[at : at + self._needed])
        end = len(whole) - _CRC.size
        if crc32(memoryview(whole)[:end]) != _CRC.unpack_from(whole, end)[0]:
            self._fail("a message does not match its CRC32")
            return None
        payload_at = _PRELUDE.size + _PRELUDE.unpack_from(whole)[1]
        try:
            block = whole[_PRELUDE.size : payload_at]
            headers = _usual_headers(block) if len(block) <= _USUAL else _headers(block)
        except (IndexError, KeyError, UnicodeDecodeError):
            self._fail("the headers of a message cannot be read")
            return None
        return Message(headers, whole[payload_at:end])


@lru_cache(maxsize=64)
def _usual_headers(data: bytes) -> Mapping[str, str]:
    return _headers(data)


def _headers(data: bytes) -> dict[str, str]:
    """Return the headers that are texts. IndexError for a block cut short, KeyError for a type that does not exist."""
    found: dict[str, str] = {}
    at = 0
    while at < len(data):
        name_ends = at + 1 + data[at]
        name, kind = data[at + 1 : name_ends], data[name_ends]
        at = name_ends + 1
        if kind in {6, _TEXT}:
            size = data[at] << 8 | data[at + 1]
            at += 2
        else:
            size = _FIXED[kind]
        if at + size > len(data):
            raise IndexError(at)
        if kind == _TEXT:
            found[name.decode()] = data[at : at + size].decode()
        at += size
    return found
