"""Where a stream of events may be ended: the places between two events, found as the bytes pass."""

import re
from typing import Protocol

_SSE_END = re.compile(rb"\r\n\r\n|\n\r?\n|\r\r")
_SSE_ENDS = (b"\n\n", b"\n\r\n", b"\r\r")
_TAIL = 3
_LENGTH = 4
_STRUCTURE = re.compile(rb'[][{}",]')
_STRING = re.compile(rb'["\\]')


class Framing(Protocol):
    """How one kind of stream tells its events apart; sans I/O, any split."""

    @property
    def between(self) -> bool:
        """Whether the bytes so far end where an event ends, and another may begin."""
        ...

    def advance(self, data: bytes, *, stop: bool) -> int:
        """Go on by `data`, or with `stop` only to the first place between two events; return the bytes gone on by."""
        ...

    def last(self, event: bytes) -> bytes:
        """Return `event` with what makes it the last one here."""
        ...


class Events:
    """Server-sent events: each ends with an empty line."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b""

    @property
    def between(self) -> bool:
        """Whether an empty line was the last thing, or nothing was."""
        return not self._tail or self._tail.endswith(_SSE_ENDS)

    def advance(self, data: bytes, *, stop: bool) -> int:
        """Go on."""
        length = len(data)
        if stop and (found := _end_of_event(self._tail, data)) is not None:
            length = found
        self._tail = data[length - _TAIL : length] if length >= _TAIL else (self._tail + data[:length])[-_TAIL:]
        return length

    def last(self, event: bytes) -> bytes:
        """Return the event: nothing stands around it."""
        return event


class Lines:
    """One JSON object a line."""

    __slots__ = ("between",)

    def __init__(self) -> None:
        self.between = True

    def advance(self, data: bytes, *, stop: bool) -> int:
        """Go on."""
        length = data.find(b"\n") + 1 if stop else 0
        length = length or len(data)
        self.between = data[length - 1 : length] == b"\n"
        return length

    def last(self, event: bytes) -> bytes:
        """Return the line: nothing stands around it."""
        return event


class Array:
    """The elements of one JSON array, as Gemini streams it to clients that ask for no events."""

    __slots__ = ("_before", "_depth", "_escaped", "_text")

    def __init__(self) -> None:
        self._depth = 0
        self._text = False
        self._escaped = False
        self._before = b""
        """The bracket or comma that came last."""

    @property
    def between(self) -> bool:
        """Whether no element is open, and the array is."""
        return not self._text and (self._depth == 1 or not self._before)

    def advance(self, data: bytes, *, stop: bool) -> int:
        """Go on."""
        at = 0
        if self._escaped and data:
            self._escaped, at = False, 1
        while found := (_STRING if self._text else _STRUCTURE).search(data, at):
            mark, at = found[0], found.end()
            if mark == b"\\":
                self._escaped = at == len(data)
                at += 1
            elif mark == b'"':
                self._text = not self._text
            elif mark in b"[{":
                self._depth, self._before = self._depth + 1, mark
            elif mark in b"]}":
                self._depth, self._before = self._depth - 1, mark
                if stop and self.between:
                    return at
            else:
                self._before = mark
        return len(data)

    def last(self, event: bytes) -> bytes:
        """Return the event with the comma before it, where one is due, and the end of the array."""
        begin = {b"": b"[", b"[": b"", b",": b""}.get(self._before, b",\r\n")
        return b"%b%b]" % (begin, event)


class Messages:
    """Messages of `application/vnd.amazon.eventstream`: each begins with its length."""

    __slots__ = ("_head", "_left")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0

    @property
    def between(self) -> bool:
        """Whether a message is whole."""
        return not self._left and not self._head

    def advance(self, data: bytes, *, stop: bool) -> int:
        """Go on."""
        at, length = 0, len(data)
        while at < length:
            if self._left:
                step = min(self._left, length - at)
                self._left -= step
            else:
                step = min(_LENGTH - len(self._head), length - at)
                self._head += data[at : at + step]
                if len(self._head) == _LENGTH:
                    self._left = max(int.from_bytes(self._head) - _LENGTH, 0)
                    self._head = b""
            at += step
            if stop and self.between:
                break
        return at

    def last(self, event: bytes) -> bytes:
        """Return the message: nothing stands around it."""
        return event


def _end_of_event(tail: bytes, data: bytes) -> int | None:
    found = _SSE_END.search(tail + data)
    while found is not None and found.end() <= len(tail):
        found = _SSE_END.search(tail + data, found.end())
    return None if found is None else found.end() - len(tail)


def framing_of(content_type: str, *, gemini: bool) -> Framing | None:
    """Return how an answer of this type tells its events apart; None for what is no stream of events."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return Events()
    if kind in {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/stream+json"}:
        return Lines()
    if kind == "application/vnd.amazon.eventstream":
        return Messages()
    return Array() if gemini and kind == "application/json" else None
