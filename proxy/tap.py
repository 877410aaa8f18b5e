"""Copies an answer as it passes: never a byte altered, held back or lost, whatever the reading of the copy does."""

from collections.abc import Callable
from datetime import datetime

from metering.providers.wire import ReplyReader
from metering.reading import ReplyFacts
from proxy import decoding
from proxy.gateway import Clock

READ_AT_MOST = 64 << 20
"""Decoded bytes of one answer that are read; an answer beyond it passes, and its usage is unknown or estimated."""
FINISH_IN_THREAD_FROM = 512 << 10
"""An answer that is read at its end takes long from this size on."""


class Tap:
    """The stream callable of one call."""

    __slots__ = ("_decoder", "_fail", "_now", "_read", "_reader", "first_byte_at", "gap", "passed")

    def __init__(self, reader: ReplyReader | None, *, coding: str, now: Clock, fail: Callable[[str], None]) -> None:
        self.first_byte_at: datetime | None = None
        self.passed = 0
        """Bytes that went to the client, as they were coded."""
        self.gap: str | None = None
        """Why the copy was not read to its end, or None."""
        self._reader = reader
        self._now = now
        self._fail = fail
        self._decoder: decoding.Decoder | None = None
        self._read = 0
        if reader is not None and coding not in {"", "identity"}:
            self._decoder = decoding.decoder(coding, cap=READ_AT_MOST)
            if self._decoder is None:
                self.gap = f"the answer's Content-Encoding {coding[:40]!r} is not read"

    def __call__(self, chunk: bytes) -> bytes:
        """Pass a chunk on; an empty one is the end."""
        if not chunk:
            return chunk
        if self.first_byte_at is None:
            self.first_byte_at = self._now()
        self.passed += len(chunk)
        if self._reader is not None and self.gap is None:
            try:
                self._copy(self._reader, chunk)
            except decoding.DecodingError as error:
                self.gap = f"the answer could not be decoded: {error}"
            except BaseException:  # noqa: BLE001  # the bytes came, and go on: only the reading of the copy ends
                self.gap = "the answer could not be read"
                self._reader = None
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
    def slow_to_finish(self) -> bool:
        """Whether `finish` may take longer than a moment."""
        return self._read >= FINISH_IN_THREAD_FROM

    def finish(self) -> ReplyFacts | None:
        """Return what the answer said, as far as it was read; call it once."""
        reader, self._reader = self._reader, None
        return None if reader is None else reader.finish()
