"""Content codings undone in pieces and under caps, so that a small body can never become a large one unseen."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# brotli ships no types

import zlib
from typing import Protocol

import brotli  # type: ignore[import-untyped]  # it ships no types
import zstandard

CODINGS = ("gzip", "deflate", "br", "zstd")
"""What is read; everything else is refused in requests, and passes unread in answers."""

_FREE_OUTPUT = 1 << 20
_MAX_RATIO = 100
_ZSTD_WINDOW = 1 << 23
"""RFC 9659: the largest window that HTTP allows."""
_ZSTD_STEP = 64
"""Bytes of zstd taken at a time: 128 KiB can come out of four of them, and the library knows no cap on its output."""


class DecodingError(ValueError):
    """The bytes are not what their Content-Encoding says, or become more than they may."""


class TooLargeError(DecodingError):
    """The decoded body is larger than its cap."""


class Decoder(Protocol):
    """Undoes one content coding."""

    def feed(self, data: bytes) -> bytes:
        """Return what the next bytes decode to. Raises DecodingError."""
        ...

    @property
    def done(self) -> bool:
        """Whether the coded data came to its own end, with nothing after it."""
        ...


class _Zlib:
    def __init__(self, wbits: int, cap: int) -> None:
        self._decoder = zlib.decompressobj(wbits)
        self._left = cap

    def feed(self, data: bytes) -> bytes:
        try:
            decoded = self._decoder.decompress(data, self._left + 1)
        except zlib.error as error:
            raise DecodingError(str(error)) from error
        self._left = _less(self._left, decoded)
        return decoded

    @property
    def done(self) -> bool:
        return self._decoder.eof and not self._decoder.unused_data


class _Brotli:
    def __init__(self, cap: int) -> None:
        self._decoder = brotli.Decompressor()
        self._left = cap

    def feed(self, data: bytes) -> bytes:
        parts: list[bytes] = []
        try:
            while True:
                decoded = self._decoder.process(data, output_buffer_limit=65536)
                self._left = _less(self._left, decoded)
                parts.append(decoded)
                if self._decoder.can_accept_more_data():
                    return b"".join(parts)
                data = b""
        except brotli.error as error:
            raise DecodingError(str(error)) from error

    @property
    def done(self) -> bool:
        return bool(self._decoder.is_finished())


class _Zstd:
    def __init__(self, cap: int) -> None:
        self._decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
        self._left = cap
        self._extra = False

    def feed(self, data: bytes) -> bytes:
        parts: list[bytes] = []
        for begin in range(0, len(data), _ZSTD_STEP):
            if self._decoder.eof:
                self._extra = True
                break
            try:
                decoded = self._decoder.decompress(data[begin : begin + _ZSTD_STEP])
            except zstandard.ZstdError as error:
                raise DecodingError(str(error)) from error
            self._left = _less(self._left, decoded)
            parts.append(decoded)
        return b"".join(parts)

    @property
    def done(self) -> bool:
        return self._decoder.eof and not self._extra and not self._decoder.unused_data


def _less(left: int, decoded: bytes) -> int:
    left -= len(decoded)
    if left < 0:
        raise TooLargeError("decodes to more than its cap")
    return left


def decoder(coding: str, *, cap: int) -> Decoder | None:
    """Return a decoder that lets out at most `cap` bytes, or None for a coding that is not read."""
    match coding:
        case "gzip" | "x-gzip":
            return _Zlib(31, cap)
        case "deflate":
            return _Zlib(15, cap)
        case "br":
            return _Brotli(cap)
        case "zstd":
            return _Zstd(cap)
        case _:
            return None


def decode(coding: str, data: bytes, *, cap: int) -> bytes:
    """Return a whole decoded body. Raises DecodingError, also when it breaks off or when anything follows it."""
    bounded = min(cap, max(_FREE_OUTPUT, len(data) * _MAX_RATIO))
    undo = decoder(coding, cap=bounded)
    if undo is None:
        raise DecodingError(f"{coding!r} is not read")
    decoded = undo.feed(data)
    if not undo.done:
        raise DecodingError("the coded body breaks off, or something follows it")
    return decoded
