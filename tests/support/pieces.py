"""Bodies cut into pieces of random size, and put into a content encoding, so that no reader can lean on where a piece ends."""

import gzip
import random
import zlib

import brotli
import zstandard

_SIZES = (1, 2, 3, 7, 16, 61, 200, 1024, 4096, 16384)


def cut(body: bytes, *, chance: random.Random) -> list[bytes]:
    """Return `body` in pieces of random size: most small, never more than some hundred."""
    pieces, at = [], 0
    while at < len(body):
        size = max(chance.choice(_SIZES), len(body) // 200)
        pieces.append(body[at : at + size])
        at += size
    return pieces


def encode(body: bytes, encoding: str) -> bytes:
    """Return `body` in a content encoding."""
    if encoding == "gzip":
        return gzip.compress(body, mtime=0)
    if encoding == "br":
        return bytes(brotli.compress(body, quality=4))
    if encoding == "zstd":
        return zstandard.compress(body)
    if encoding == "deflate":
        return zlib.compress(body)
    msg = f"cannot encode as {encoding!r}"
    raise ValueError(msg)
