"""Copies an answer as it passes: never a byte altered, held back or lost, whatever the reading of the copy does.

Only a stream that may be cut is different where it comes compressed: it is passed on as what it decodes to, since nothing can be added
to a compressed one; and a stream that has been cut is shut.
"""

from collections.abc import Callable
from datetime import datetime

from metering.providers.wire import ReplyReader
from metering.reading import ReplyFacts
from proxy import decoding
from proxy.gateway import Clock
from proxy.valve import Valve

READ_AT_MOST = 64 << 20
"""Decoded bytes of one answer that are read; an answer beyond it passes, and its usage is unknown or estimated."""
FINISH_IN_THREAD_FROM = 512 << 10
"""An answer that is read at its end takes long from this size on."""
PASS_AT_MOST = 1 << 40
"""Decoded bytes of one stream that are passed on decoded."""


class Tap:
    """The stream callable of one call."""

    __slots__ = ("_decoder", "_fail", "_now", "_read", "_reader", "_undo", "first_byte_at", "gap", "passed", "valve")

    def __init__(
        self,
        reader: ReplyReader | None,
        *,
        coding: str,
        now: Clock,
        fail: Callable[[str], None],
        valve: Valve | None = None,
    ) -> None:
        self.first_byte_at: datetime | None = None
        self.passed = 0
        """Bytes that went to the client, as they were coded."""
        self.gap: str | None = None
        """Why the copy was not read to its end, or None."""
        self.valve = valve
        """Set where the answer is a stream that may be cut."""
        self._reader = reader
        self._now = now
        self._fail = fail
        self._decoder: decoding.Decoder | None = None
        self._undo: decoding.Decoder | None = None
        self._read = 0
        if coding in {"", "identity"}:
            return
        if valve is not None:
            self._undo = decoding.decoder(coding, cap=PASS_AT_MOST)
        elif reader is not None:
            self._decoder = decoding.decoder(coding, cap=READ_AT_MOST)
            if self._decoder is None:
                self.gap = f"the answer's Content-Encoding {coding[:40]!r} is not read"

    def __call__(self, chunk: bytes) -> bytes | tuple[()]:
        """Pass a chunk on; an empty one is the end, and no chunk at all is what nothing passes of."""
        if not chunk:
            return chunk if self.valve is None or not self.valve.shut else self.valve.words
        if self.first_byte_at is None:
            self.first_byte_at = self._now()
        if self._undo is not None:
            chunk = self._decoded(self._undo, chunk)
        if self._reader is not None and self.gap is None:
            try:
                self._copy(self._reader, chunk)
            except decoding.DecodingError as error:
                self.gap = f"the answer could not be decoded: {error}"
            except BaseException:  # noqa: BLE001  # the bytes came, and go on: only the reading of the copy ends
                self.gap = "the answer could not be read"
                self._reader = None
                self._fail("tap")
        if self.valve is not None:
            chunk = self._through(self.valve, chunk)
        self.passed += len(chunk)
        return chunk or ()

    def _decoded(self, undo: decoding.Decoder, chunk: bytes) -> bytes:
        """Return what a chunk decodes to; a stream that cannot be decoded cannot go on."""
        try:
            return undo.feed(chunk)
        except decoding.DecodingError as error:
            self.gap = f"the answer could not be decoded: {error}"
            if self.valve is not None:
                self.valve.give_up()
            return b""

    def _through(self, valve: Valve, chunk: bytes) -> bytes:
        try:
            return valve(chunk)
        except BaseException:  # noqa: BLE001  # the bytes came, and go on; what they cost stands in the settlement
            self.valve = None
            self._fail("tap")
            return chunk

    def _copy(self, reader: ReplyReader, chunk: bytes) -> None:
        data = chunk if self._decoder is None else self._decoder.feed(chunk)
        self._read += len(data)
        if self._read > READ_AT_MOST:
            self.gap = f"the answer is larger than the {READ_AT_MOST >> 20} MiB that are read"
            return
        if data:
            reader.feed(data)

    @property
    def decodes(self) -> bool:
        """Whether the answer is passed on as what it decodes to."""
        return self._undo is not None

    @property
    def slow_to_finish(self) -> bool:
        """Whether `finish` may take longer than a moment."""
        return self._read >= FINISH_IN_THREAD_FROM

    def finish(self) -> ReplyFacts | None:
        """Return what the answer said, as far as it was read; call it once."""
        reader, self._reader = self._reader, None
        return None if reader is None else reader.finish()
