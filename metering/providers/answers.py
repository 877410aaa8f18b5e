"""Reads an answer as it passes, whole or streamed: keeps what can matter, and parses it only once the answer has ended."""

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from metering.providers.shapes import Json, load, obj
from metering.reading import ReplyFacts
from metering.streams import EventSplitter, LineSplitter, array_elements

MAX_BODY = 64 << 20
MAX_KEPT = 8 << 20
"""Stream bytes kept to estimate from, in case that no usage comes."""

_ERROR = re.compile(rb'"error"\s*:\s*[{"]')
_BOM = b"\xef\xbb\xbf"
_FIELDS = (b"data", b"event", b"id", b"retry", b":")
_LONGEST_FIELD = max(map(len, _FIELDS))


@cache
def _member(name: str) -> tuple[bytes, re.Pattern[bytes]]:
    quoted = b'"%b"' % name.encode()
    return quoted, re.compile(quoted + rb"\s*:\s*\{")


@dataclass(slots=True)
class Events:
    """What was kept of a stream of events."""

    counted_in: str = "usage"
    """The member that reports usage."""
    opening: list[bytes] = field(default_factory=list[bytes])
    """The first two, then the first that has usage: they name the model."""
    usages: deque[bytes] = field(default_factory=lambda: deque[bytes](maxlen=4))
    """The last ones that report usage."""
    closing: deque[bytes] = field(default_factory=lambda: deque[bytes](maxlen=4))
    """The last ones."""
    error: bytes | None = None
    done: bool = False
    """`[DONE]` was seen."""
    kept: list[bytes] = field(default_factory=list[bytes])
    """All, as far as they fit."""
    size: int = 0

    def add(self, event: bytes) -> None:
        """Sort one event away; nothing is parsed here, since this runs once a chunk."""
        if event == b"[DONE]":
            self.done = True
            return
        if len(self.opening) < 2:
            self.opening.append(event)
        name, member = _member(self.counted_in)
        if name in event and member.search(event):
            if not self.usages:
                self.opening.append(event)
            self.usages.append(event)
        if b'"error"' in event and self.error is None and _ERROR.search(event):
            self.error = event
        self.closing.append(event)
        self.size += len(event)
        if self.size <= MAX_KEPT:
            self.kept.append(event)


def parsed(events: "list[bytes] | deque[bytes]") -> list[Json]:
    """Return the events that are JSON objects."""
    return [found for event in events if (found := obj(load(event)))]


_NO_EVENTS = Events()
"""Of an answer that is no stream."""


class AnswerReader:
    """Reads one answer: `read_body` makes facts of a whole JSON document, `read_events` of a stream of events.

    A stream is server-sent events or, with `lines`, one JSON object a line. `read_body` gets the elements of a JSON array also when the
    array broke off. `counted_in` is the member of an event that reports usage.
    """

    __slots__ = ("_body", "_content_type", "_counted_in", "_events", "_head", "_lines", "_read_body", "_read_events", "_size", "_splitter")

    def __init__(
        self,
        *,
        content_type: str | None,
        read_body: Callable[[object], ReplyFacts],
        read_events: Callable[[Events], ReplyFacts],
        lines: bool = False,
        counted_in: str = "usage",
    ) -> None:
        self._content_type = (content_type or "").lower()
        self._read_body = read_body
        self._read_events = read_events
        self._head = b""
        self._body: list[bytes] | None = None
        self._size = 0
        self._splitter: EventSplitter | LineSplitter | None = None
        self._lines = lines
        self._counted_in = counted_in
        self._events = _NO_EVENTS

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._splitter is not None:
            for event in self._splitter.feed(data):
                self._events.add(event)
        elif self._body is not None:
            self._keep(data)
        else:
            self._begin(data)

    def finish(self) -> ReplyFacts:
        """Return what the answer said."""
        if self._splitter is None and self._body is None:
            self._settle_on(self._head)
        if self._splitter is not None:
            for event in self._splitter.finish():
                self._events.add(event)
            return self._read_events(self._events)
        body = b"".join(self._body or ())
        self._body = []
        return self._read_body(_document(body) if self._size <= MAX_BODY else None)

    def _begin(self, data: bytes) -> None:
        self._head += data
        if len(self._head) < len(_BOM) and _BOM.startswith(self._head):
            return
        self._head = self._head.removeprefix(_BOM).lstrip()
        if len(self._head) >= _LONGEST_FIELD or self._head.startswith(_FIELDS) or not any(name.startswith(self._head) for name in _FIELDS):
            self._settle_on(self._head)

    def _settle_on(self, start: bytes) -> None:
        looks_like_events = start.startswith(_FIELDS)
        if start[:1] in {b"{", b"["} or ("json" in self._content_type and not looks_like_events):
            self._body = []
        else:
            self._splitter, self._events = EventSplitter(), Events(self._counted_in)
        self._head = b""
        if start:
            self.feed(start)

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        if self._body is None or self._size > MAX_BODY:
            return
        self._body.append(data)
        if self._lines and b"\n" in data:
            self._lines = False  # decided now, one way or the other
            body = b"".join(self._body)
            if obj(load(body.partition(b"\n")[0])):
                self._splitter, self._events, self._body = LineSplitter(), Events(self._counted_in), None
                self.feed(body)


def _document(body: bytes) -> object:
    """Return a JSON document, or what there is of an array that broke off."""
    found = load(body)
    return array_elements(body) if found is None and body.startswith(b"[") else found
