"""Streams of events taken apart as their bytes arrive: server-sent events, lines of JSON, arrays of JSON; no I/O, any split."""

import json
from typing import Any

MAX_EVENT = 64 << 20
"""An event that is longer than this is dropped: nothing of it can be read within reason."""


class EventSplitter:
    """Turns bytes into the data of each event (WHATWG HTML, section 9.2.6: LF, CRLF or CR; comments and other fields are left out).

    The cost is linear in the bytes, however they are split.
    """

    __slots__ = ("_after_cr", "_data", "_data_size", "_dropping", "_tail", "_tail_size")

    def __init__(self) -> None:
        self._tail: list[bytes] = []
        self._tail_size = 0
        self._data: list[bytes] = []
        self._data_size = 0
        self._after_cr = False
        self._dropping = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data of the events that these bytes complete."""
        if self._after_cr or b"\r" in data:
            data = self._with_lf(data)
        head, newline, rest = data.rpartition(b"\n")
        if not newline:
            self._keep(data)
            return []
        if self._tail_size:
            head = b"".join((*self._tail, head))
            self._forget_tail()
        lines = head.split(b"\n")
        if self._dropping:
            self._dropping = False
            del lines[0]
        if rest:
            self._keep(rest)
        return self._events(lines)

    def finish(self) -> list[bytes]:
        """Return what the end of the stream left open: the data of an event without its blank line, perhaps cut short."""
        lines = [] if self._dropping or not self._tail else [b"".join(self._tail)]
        self._forget_tail()
        return self._events([*lines, b""])

    def _events(self, lines: list[bytes]) -> list[bytes]:
        events: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                self._take(line[6:] if line.startswith(b"data: ") else line[5:])
            elif not line and self._data:
                events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data = []
                self._data_size = 0
        return events

    def _take(self, value: bytes) -> None:
        self._data_size += len(value)
        if self._data_size <= MAX_EVENT:
            self._data.append(value)

    def _keep(self, rest: bytes) -> None:
        self._tail_size += len(rest)
        if self._tail_size > MAX_EVENT:
            self._forget_tail()
            self._dropping = True
        elif not self._dropping:
            self._tail.append(rest)

    def _forget_tail(self) -> None:
        self._tail = []
        self._tail_size = 0

    def _with_lf(self, data: bytes) -> bytes:
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
            self._after_cr = False
        if data:
            self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


class LineSplitter:
    """Turns bytes into lines that are not blank (NDJSON, JSON Lines: `application/x-ndjson`, `application/stream+json`)."""

    __slots__ = ("_dropping", "_tail", "_tail_size")

    def __init__(self) -> None:
        self._tail: list[bytes] = []
        self._tail_size = 0
        self._dropping = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that these bytes complete."""
        head, newline, rest = data.rpartition(b"\n")
        if not newline:
            self._keep(data)
            return []
        if self._tail:
            head = b"".join((*self._tail, head))
        lines = head.split(b"\n")
        if self._dropping:
            del lines[0]
        self._forget()
        if rest:
            self._keep(rest)
        return [stripped for line in lines if (stripped := line.strip())]

    def finish(self) -> list[bytes]:
        """Return the last line, which may have no end, or be cut short."""
        last = b"" if self._dropping else b"".join(self._tail).strip()
        self._forget()
        return [last] if last else []

    def _keep(self, rest: bytes) -> None:
        self._tail_size += len(rest)
        if self._tail_size > MAX_EVENT:
            self._tail = []
            self._dropping = True
        elif not self._dropping:
            self._tail.append(rest)

    def _forget(self) -> None:
        self._tail = []
        self._tail_size = 0
        self._dropping = False


def array_elements(body: bytes) -> list[Any]:
    """Return the whole elements of a JSON array that broke off (Gemini streams one where it was not asked for events)."""
    text = body.decode("utf-8", "replace")
    decoder = json.JSONDecoder()
    found: list[Any] = []
    at = 1
    while True:
        while at < len(text) and text[at] in ", \r\n\t":
            at += 1
        try:
            element, at = decoder.raw_decode(text, at)
        except (json.JSONDecodeError, RecursionError):
            return found
        found.append(element)
