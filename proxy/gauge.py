"""How much a stream has written so far: what it reports where it reports, and an estimate of the text that came since."""

import binascii
import re
from collections import deque

STEP = 2 << 10
"""Bytes after which they are looked at: some eight events of one token each, or the text of a few hundred tokens."""
_BYTES_PER_TOKEN = 4
_KEPT = 512
"""Bytes of an unfinished event that are looked at again with what follows."""

_TEXTS = re.compile(
    rb'"(?:content|text|thinking|partial_json|arguments|reasoning|reasoning_content|refusal|response|completion|generation|outputText)"'
    rb'\s*:\s*"((?:[^"\\]|\\.)*)"'
)
_DELTAS = re.compile(rb'"delta"\s*:\s*"((?:[^"\\]|\\.)*)"')
_WRAPPED = re.compile(rb'"bytes"\s*:\s*"([A-Za-z0-9+/=]*)"')
_REPORTS = re.compile(
    rb'"(?:completion_tokens|output_tokens|candidatesTokenCount|outputTokens|outputTokenCount|eval_count)"\s*:\s*(\d{1,12})'
)
_THOUGHTS = re.compile(rb'"thoughtsTokenCount"\s*:\s*(\d{1,12})')


class Gauge:
    """Adds up one stream; cheap, since it only looks every so many bytes."""

    __slots__ = ("_parts", "_reported", "_size", "_texts", "_written")

    def __init__(self, wire_format: str | None) -> None:
        self._texts = _DELTAS if wire_format == "openai.responses" else _TEXTS  # its `…done` events say all texts a second time
        self._parts: list[bytes] = []
        self._size = 0
        self._reported = 0
        self._written = 0
        """Bytes of text since the last report; a piece of it is at least one token."""

    @property
    def tokens(self) -> int:
        """Output tokens so far."""
        return self._reported + -(-self._written // _BYTES_PER_TOKEN)

    def hear(self, data: bytes) -> bool:
        """Take what passed; return whether `tokens` has been brought up to date."""
        self._parts.append(data)
        self._size += len(data)
        if self._size < STEP:
            return False
        self._look(b"".join(self._parts))
        return True

    def _look(self, data: bytes) -> None:
        at = self._report(data)
        for found in self._texts.finditer(data, at):
            self._written += _bytes_of(found[1])
            at = found.end()
        for found in _WRAPPED.finditer(data, at):
            self._unwrap(found[1])
            at = found.end()
        rest = data[at:][-_KEPT:]
        self._parts = [rest] if rest else []
        self._size = 0

    def _report(self, data: bytes) -> int:
        """Take over the last number that the provider reports; return where it ends."""
        reports = deque(_REPORTS.finditer(data), maxlen=1)
        if not reports:
            return 0
        last = reports.pop()
        thoughts = _THOUGHTS.findall(data)
        self._reported = max(self._reported, int(last[1]) + (int(thoughts[-1]) if thoughts else 0))
        self._written = 0
        return last.end()

    def _unwrap(self, coded: bytes) -> None:
        try:
            inner = binascii.a2b_base64(coded)
        except binascii.Error:
            return
        begin = self._report(inner)
        self._written += sum(map(_bytes_of, self._texts.findall(inner, begin)))


def _bytes_of(said: bytes) -> int:
    """Return the bytes of a piece of text, as many as a token has where it is shorter."""
    return max(len(said), _BYTES_PER_TOKEN) if said else 0
