"""What a stream that may be cut passes through: it says how far the stream is, and shuts between two events."""

from collections.abc import Callable

from proxy.framing import Framing
from proxy.gauge import Gauge

type Progress = Callable[[int], None]
"""Told the output tokens so far."""


class Valve:
    """The valve of one stream.

    Nothing is held back: a stream that is to be cut in the middle of an event goes on to the end of that event, and nothing passes after.
    """

    __slots__ = ("_frame", "_gauge", "_progress", "_then", "give_up", "shut", "words")

    def __init__(self, frame: Framing, *, gauge: Gauge, progress: Progress) -> None:
        self._frame = frame
        self._gauge = gauge
        self._progress = progress
        self.give_up: Callable[[], None] = _nothing
        """Called when what comes can no longer be passed on: the stream must break off."""
        self._then: Callable[[], None] | None = None
        self.shut = False
        """Whether the stream has been ended here, between two events."""
        self.words = b""
        """What is said in place of the rest."""

    @property
    def frame(self) -> Framing:
        """How the stream tells its events apart."""
        return self._frame

    def __call__(self, data: bytes) -> bytes:
        """Return what passes of `data`; nothing is b""."""
        if self.shut:
            return b""
        if self._then is not None:
            taken = self._frame.advance(data, stop=True)
            return data[:taken] if self._shut_between() else data
        self._frame.advance(data, stop=False)
        if self._gauge.hear(data):
            self._progress(self._gauge.tokens)
        return data

    def cut(self, then: Callable[[], None]) -> None:
        """Shut at the end of the event that is under way, at once where none is, and call `then`."""
        if self._then is None:
            self._then = then
            self._shut_between()

    def _shut_between(self) -> bool:
        if self._then is None or not self._frame.between:
            return False
        self.shut = True
        self._then()
        return True


def _nothing() -> None:
    return None
