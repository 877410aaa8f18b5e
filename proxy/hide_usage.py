"""Takes the usage chunk out of a stream whose client did not ask for it, and not a byte more."""

import itertools
import re

from metering.providers.shapes import load, obj

_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
"""The end of a line, and the empty line that ends an event."""
_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_LONGEST = 16 << 10
"""No usage chunk is longer: of an event beyond it, nothing is held back any more."""


class UsageHider:
    """A stream callable: returns what may go on; it never holds back more than the beginning of one event.

    The usage chunk is the event whose `choices` are empty and whose `usage` is an object. `"usage":null` in the others stays: it says
    nothing, and every client reads past it.
    """

    __slots__ = ("_ended_in_cr", "_held", "_hidden", "_long")

    def __init__(self) -> None:
        self._held = b""
        self._long = False
        """Whether the event that is under way is too long to be the usage chunk; what is held of it has passed but for its last bytes."""
        self._ended_in_cr = False
        """Whether the last event ended with the last chunk, in a CR: a LF that follows belongs to it."""
        self._hidden = False
        """Whether the last event was hidden."""

    def __call__(self, chunk: bytes) -> bytes:
        """Return what may go on; an empty chunk is the end."""
        if not chunk:
            return self._finish()
        data = self._held + chunk if self._held else chunk
        kept: list[tuple[int, int]] = []
        begin = 0
        if self._ended_in_cr and data.startswith(b"\n"):
            begin = 1
            if not self._hidden:
                kept.append((0, 1))
        for found in _END.finditer(data, begin):
            end = found.end()
            self._hidden = not self._long and _is_usage(data[begin:end])
            if not self._hidden:
                kept.append((begin, end))
            self._long = False
            begin = end
        self._ended_in_cr = begin == len(data) and data.endswith(b"\r")
        return self._pass(data, kept, begin)

    def _pass(self, data: bytes, kept: list[tuple[int, int]], begin: int) -> bytes:
        """Pass what is kept; hold the rest, from `begin` on."""
        rest = len(data) - begin
        if rest > _LONGEST or self._long:
            self._long = True
            held = 3  # an end of event may have begun in them
            kept.append((begin, max(begin, len(data) - held)))
            begin = kept[-1][1]
        self._held = data[begin:]
        if kept and kept[0][0] == 0 and kept[-1][1] == len(data) and _have_no_gap(kept):
            return data
        return b"".join([data[start:end] for start, end in kept])

    def _finish(self) -> bytes:
        held, self._held = self._held, b""
        return held if self._long or not _is_usage(held) else b""


def _have_no_gap(spans: list[tuple[int, int]]) -> bool:
    return all(left[1] == right[0] for left, right in itertools.pairwise(spans))


def _is_usage(event: bytes) -> bool:
    if b'"usage"' not in event or not _USAGE.search(event):
        return False
    lines = re.split(rb"\r\n|\n|\r", event)
    data = [line[5:] for line in lines if line.startswith(b"data:")]
    found = obj(load(b"\n".join(data)))
    return found.get("choices") == [] and bool(obj(found.get("usage")))
